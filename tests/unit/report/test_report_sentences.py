"""The first screen must not say more than the numbers do."""

from dataclasses import replace

import pytest

from sample_contents import (
    LOGIN,
    Belief,
    checks,
    demo,
    effect,
    effects_on,
    get_out_the_vote,
    pairs,
    posterior,
)
from wavewise.design.spec import Outcome
from wavewise.report import (
    ArmRow,
    DecisionContents,
    EffectRow,
    OutcomePosterior,
    ReportContents,
    WaveContents,
)
from wavewise.report.answers import answers, facts, first_sentence, headline, trust
from wavewise.report.effects import chance_and_loss, flat_posterior
from wavewise.shared.results import NotEstimable


def study(
    *rows: EffectRow,
    after: OutcomePosterior | NotEstimable | None = None,
    decision: DecisionContents | None = None,
    missing: dict[str, str] | None = None,
    higher: bool = True,
    contrast: EffectRow | None = None,
) -> ReportContents:
    outcome = LOGIN.model_copy(update={"higher_is_better": higher})
    effects = effects_on(outcome, rows, reasons=missing or {}, best_minus_next=contrast)
    arms = tuple(ArmRow(row.arm, "a message", 0.1, 100, 100) for row in rows)
    wave = WaveContents("w1", "Wave 1", "closed", arms, posterior=after)
    return ReportContents(
        "Title",
        "id",
        "2024-01-01",
        "parents",
        (wave,),
        registration="version 1",
        effects=(effects,) if rows or missing else (),
        decision=decision,
    )


def said(contents: ReportContents) -> list[tuple[str, str]]:
    return [(_plain(answer.lead), _plain(answer.text)) for answer in answers(contents)]


def _plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u2212", "-")


def beliefs(**probs: float) -> OutcomePosterior:
    return posterior(
        [Belief(arm, round(200 + 10 * p), 1000, p, 0.01 * (1 - p)) for arm, p in probs.items()]
    )


def test_the_four_questions_of_the_demo() -> None:
    works, sure, cost, step = said(demo())
    assert works == (
        "teacher",
        "With teacher, weekly login rate was 24.3 %, against 18.5 % in control: "
        "+5.8 percentage points (95 % confidence interval +4.2 to +7.4).",
    )
    assert sure == (
        "Fairly sure that it is the best arm",
        "The probability that teacher is the best of the 5 arms is 93 %; for parent it is 6.7 %.",
    )
    assert cost[0] == "0.02 percentage points on average"
    assert cost[1].endswith("is 0.02 percentage points: about 2 in 10,000 families.")
    assert step[0] == "Use teacher"
    assert first_sentence(demo()).startswith("teacher: With teacher")
    # 10,000 in each wave; without a count of people, the larger wave
    assert facts(demo()).startswith("10,000 families in two waves \u00b7 6 arms")
    assert facts(replace(demo(), n_units=20_000)).startswith("20,000 families in two waves")
    assert headline(demo()) == "Teacher raised weekly login rate by 5.8\u00a0percentage points"


def test_an_interval_with_zero_shows_nothing() -> None:
    works, _, cost, step = said(study(effect("a", 0.01, 0.01, 100), effect("b", 0.0, 0.01, 100)))
    assert works[0] == "No arm differs significantly from control"
    assert "an interval that includes zero" in works[1]
    # b less a is N(-1, sqrt(2)) points: Phi(-z) and s (phi(z) - z Phi(-z)) with z = .7071
    assert cost[0] == "0.20 percentage points on average"
    assert cost[1].endswith("about 2 in 1,000 parents (normal posterior, flat prior).")
    assert step[0] == "Do not roll out on this evidence"


def test_adjustment_can_take_the_finding_away() -> None:
    row = replace(effect("a", 0.02, 0.009, 100), p_adjusted=0.42)
    works, _, _, step = said(study(row, effect("b", 0.0, 0.009, 100)))
    assert works[0] == "No arm differs significantly from control"
    assert "not significant once adjusted for the number of arms: adjusted p = 0.42" in works[1]
    assert step[0] == "Do not roll out on this evidence"


def test_overlapping_intervals_leave_the_difference_untested() -> None:
    works, sure, cost, step = said(pairs())
    assert works[0] == "teacher+teacher has the best estimate"
    assert sure[0] == "The difference between teacher+teacher and peers+future was not tested"
    assert "difference was not tested" in sure[1]
    assert "The chance that another of the 16 arms is better is" in sure[1]
    assert cost[0].endswith("percentage points on average")
    assert step[1].endswith("First review the check that failed.")


def test_intervals_that_do_not_overlap_are_significant() -> None:
    works, sure, _, step = said(get_out_the_vote())
    assert works[0] == "Neighbors"
    assert sure[0] == "Significantly better than the next best arm"
    assert step[0] == "Consider Neighbors"
    assert step[1].endswith("Exploratory: confirm it on new units before acting on it.")


@pytest.mark.parametrize(
    ("difference", "lead"), [(0.03, "Significantly better"), (0.001, "a and b do not differ")]
)
def test_their_contrast_decides_where_there_is_one(difference: float, lead: str) -> None:
    rows = (effect("a", 0.05, 0.01, 100), effect("b", 0.05 - difference, 0.01, 100))
    contrast = effect("a minus b", difference, 0.005, 200)
    _, sure, cost, _ = said(study(*rows, contrast=contrast))
    assert sure[0].startswith(lead)
    assert cost[0].endswith("percentage points on average")
    assert "the arm that is truly best" in cost[1]


@pytest.mark.parametrize(
    ("prob", "lead"),
    [
        (0.995, "Very sure that it is the best arm"),
        (0.93, "Fairly sure that it is the best arm"),
        (0.75, "It is probably the best arm, but not certainly"),
        (0.55, "Not sure: the leading arms are too close to call"),
    ],
)
def test_sureness_follows_the_probability(prob: float, lead: str) -> None:
    works, sure, _, _ = said(study(after=beliefs(a=prob, b=1 - prob)))
    assert sure[0] == lead
    assert works[0] == ("a" if prob >= 0.7 else "a leads so far")


def test_only_one_arm_is_not_called_best() -> None:
    works, sure, cost, step = said(study(effect("a", 0.05, 0.01, 100)))
    assert works[0] == "a"
    assert sure[0] == "It is the only arm that was compared with control"
    assert "not adjusted" in sure[1]
    assert step[1].startswith("Nothing has been decided yet; it does better than control.")
    _, sure, cost, _ = said(study(after=beliefs(a=1.0)))
    assert sure[0] == "Nothing to compare"
    assert cost[0] == "Not known"


def test_arms_that_all_harm() -> None:
    works, _, _, step = said(study(effect("a", -0.05, 0.01, 9), effect("b", -0.09, 0.01, 9)))
    assert works[0] == "No arm beats control"
    assert step == ("Do not message", "No arm does better than control.")


def test_the_posterior_may_favour_an_arm_that_is_not_shown_to_work() -> None:
    rows = (effect("a", 0.001, 0.01, 100), effect("b", 0.05, 0.01, 100))
    works, _, _, step = said(study(*rows, after=beliefs(a=0.9, b=0.1)))
    assert works[0] == "a leads, but does not differ significantly from control"
    assert "The estimate of b is better still" in works[1]
    assert step == ("Look at the arms again", "a leads, but another arm beats control.")


def test_lower_can_be_better() -> None:
    rows = (effect("a", -0.05, 0.01, 100), effect("b", 0.05, 0.01, 100))
    works, sure, cost, step = said(study(*rows, higher=False))
    assert works[0] == "a"
    assert sure[0] == "Significantly better than the next best arm"
    assert cost[0] == "less than 0.0001 percentage points on average"
    assert step[0] == "Consider a"


def test_a_chosen_arm_that_is_not_the_best_estimate() -> None:
    rows = (effect("a", 0.05, 0.01, 100), effect("b", 0.06, 0.01, 100))
    contents = study(*rows, decision=DecisionContents("lowest cost", "a"))
    works, _, _, step = said(contents)
    assert works[0] == "a"
    assert "The estimate of b is better still: +6.0 percentage points" in works[1]
    assert step[0] == "Use a"


def test_a_contrast_of_other_arms_is_not_used_for_the_chosen_one() -> None:
    rows = (effect("a", 0.02, 0.005, 100), effect("b", 0.06, 0.005, 100))
    contrast = effect("b minus a", 0.04, 0.007, 200)
    contents = study(*rows, contrast=contrast, decision=DecisionContents("lowest cost", "a"))
    _, sure, cost, _ = said(contents)
    assert sure[0] == "b has the better estimate"
    assert sure[1].startswith("Their intervals do not overlap; the difference was not tested")
    assert cost[0] == "4.0 percentage points on average"


def test_registered_effects_speak_before_exploratory_ones() -> None:
    contents = study(effect("a", 0.05, 0.01, 100))
    other = effects_on(LOGIN, (effect("a", 0.5, 0.01, 100),), registered=False)
    contents = replace(contents, effects=(other, *contents.effects))
    assert "+5.0 percentage points" in said(contents)[0][1]


def test_a_chosen_arm_that_is_not_shown_to_work() -> None:
    contents = study(effect("a", 0.01, 0.01, 9), decision=DecisionContents("rule", "a"))
    assert said(contents)[0][0] == "a was chosen, but does not differ significantly from control"
    contents = study(effect("a", -0.05, 0.01, 9), decision=DecisionContents("rule", "a"))
    assert said(contents)[0][0] == "a does worse than control"
    assert "consider no message" in said(contents)[3][1]


def test_nothing_is_known() -> None:
    works, sure, cost, step = said(study())
    assert works == ("Not known yet", "No wave has been analysed.")
    assert (sure[0], cost[0], step[0]) == ("Not at all", "Not known", "Finish a wave first")


def test_reasons_are_told() -> None:
    works, *_ = said(study(missing={"a": "no units have an outcome"}))
    assert works == ("Not known yet", "Not estimable: a: no units have an outcome.")
    works, *_ = said(study(after=NotEstimable("no successes were counted")))
    assert works[1] == "Not estimable: no successes were counted."


def test_the_next_wave_is_announced() -> None:
    contents = study(after=beliefs(a=0.6, b=0.4))
    shares = {"a": 0.4616, "b": 0.5384}
    contents = replace(contents, waves=(replace(contents.waves[0], next_shares=shares),))
    step = said(contents)[3]
    assert step == ("Go on learning", "The next wave gives 53.8 % to b, 46.2 % to a.")


def test_many_shares_are_summed_up() -> None:
    contents = study(after=beliefs(a=0.6, b=0.4))
    shares = {f"a{i}": 0.125 for i in range(8)}
    contents = replace(contents, waves=(replace(contents.waves[0], next_shares=shares),))
    assert said(contents)[3][1].endswith("12.5 % to a3, 50.0 % to the other 4.")


def test_failed_checks_come_before_acting() -> None:
    contents = study(effect("a", 0.05, 0.01, 100))
    wave = replace(contents.waves[0], checks=(*checks(False, 10, 2), *checks(False, 10, 2)))
    step = said(replace(contents, waves=(wave,)))[3]
    assert step[1].endswith("First review the 2 checks that failed.")


def test_counts_are_told_in_their_unit() -> None:
    outcome = Outcome(id="minutes", kind="sum", unit="minutes", label="minutes of practice")
    rows = [Belief(arm, 1, 9, p, 0.4) for arm, p in (("a", 0.9), ("b", 0.1))]
    cost = said(study(after=posterior(rows, outcome=outcome)))[2]
    assert cost[0] == "0.40 minutes on average"
    assert cost[1].endswith("is 0.40 minutes for each of the parents.")


def test_arms_that_cannot_be_told_apart_are_never_advised_without_the_stakes() -> None:
    contents = study(effect("a", 0.050, 0.01, 100), effect("b", 0.045, 0.01, 100))
    step = said(contents)[3]
    assert step[0] == "Consider a"
    assert "the chance that another arm is better is 36 %" in step[1]
    assert "using a is expected to lose 0.35 percentage points" in step[1]


def test_chance_and_loss_are_those_of_a_normal_posterior() -> None:
    """Against the closed form over draws of two independent normals, and against scipy."""
    from scipy import integrate, stats

    mean, error = 0.005, 0.01 * 2**0.5
    chance, loss = chance_and_loss(mean, error)
    law = stats.norm(mean, error)
    assert chance == pytest.approx(law.cdf(0), rel=1e-12)
    by_quadrature, _ = integrate.quad(lambda d: -d * law.pdf(d), -0.2, 0)
    assert loss == pytest.approx(by_quadrature, rel=1e-6)
    pair = effects_on(LOGIN, (effect("a", 0.050, 0.01, 100), effect("b", 0.045, 0.01, 100)))
    of_draws = flat_posterior(pair)["a"]
    assert of_draws[0] == pytest.approx(chance, abs=0.005)
    assert of_draws[1] == pytest.approx(loss, rel=0.01)
    assert chance_and_loss(0.01, 0.0) == (0.0, 0.0)


def test_the_chance_of_error_is_calibrated() -> None:
    """With true differences from a wide prior, the arm that is behind is better that often."""
    import numpy as np

    rng = np.random.default_rng(3)
    truth, error = rng.uniform(-10, 10, 40_000), 1.0
    seen = truth + error * rng.standard_normal(truth.size)
    near = np.abs(seen) < 2
    told = np.array([chance_and_loss(abs(d), error)[0] for d in seen[near]])
    wrong = np.sign(seen[near]) != np.sign(truth[near])
    assert abs(wrong.mean() - told.mean()) < 4 * (0.5 / near.sum() ** 0.5)


def test_a_wave_that_was_closed_early_is_told_first() -> None:
    contents = study(effect("a", 0.05, 0.01, 100))
    early = "Wave 1 was closed on 2024-03-05, before the 7 days of waiting were over."
    contents = replace(contents, waves=(replace(contents.waves[0], early=early),))
    assert trust(contents) == ("With care: data may still come", early)
    assert said(contents)[3][1].endswith(early)
    failed = replace(contents.waves[0], checks=checks(False, 10, 2))
    assert trust(replace(contents, waves=(failed,)))[0].startswith("Not before 1 failed check is")
