"""The section on policies: what it says follows from its numbers, and never more."""

import re
from dataclasses import replace

import pytest

from page_reader import read
from sample_contents import LOGIN, demo
from sample_evaluations import curve, evaluation, measured, spending
from wavewise.errors import InputError
from wavewise.report import ReportContents, render
from wavewise.report.evaluation import (
    Evaluation,
    advice,
    contrast_table,
    curve_table,
    evaluation_sentences,
    personalization,
    policy_headline,
    policy_table,
    targeting,
)
from wavewise.report.figures.policies import policies_figure, targeting_figure


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u2212", "-")


def test_a_clear_gain_is_told_with_its_error_and_in_people() -> None:
    lead, text = personalization(evaluation(gain=0.02, std_error=0.003), "parents")
    assert plain(lead) == "Yes: forest beats best by 2.0 percentage points"
    assert "+2.0 percentage points (standard error 0.3, 95 % interval +1.4 to +2.6)" in plain(text)
    assert "different messages to 60.0 % of the parents" in plain(text)
    assert "2 in 100 parents" in text


def test_an_interval_that_includes_zero_is_not_reported_as_a_gain() -> None:
    lead, text = personalization(evaluation(gain=0.004, std_error=0.003), "parents")
    assert lead.startswith("Inconclusive")
    assert "The interval includes 0" in text
    assert "up to +1.0 or cost as much as -0.2 percentage points" in plain(text)
    assert "keep" not in text


def test_a_loss_is_told_as_a_loss() -> None:
    lead, _ = personalization(evaluation(gain=-0.02, std_error=0.003), "parents")
    assert plain(lead) == "No: forest does worse than best, by 2.0 percentage points"
    fewer = evaluation(gain=-0.02, std_error=0.003)
    fewer = replace(fewer, outcome=LOGIN.model_copy(update={"higher_is_better": False}))
    assert personalization(fewer, "parents")[0].startswith("Yes")


def test_policies_that_agree_on_everybody_differ_by_exactly_nothing() -> None:
    same = evaluation(gain=0.0, std_error=0.0, share_differs=0.0)
    lead, text = personalization(same, "voters")
    assert lead == "No: forest and best send everybody the same message"
    assert "exactly 0 (standard error 0)" in text


def test_no_contrast_says_so() -> None:
    assert personalization(replace(evaluation(), contrasts=()), "parents")[0] == "Not tested"


@pytest.mark.parametrize(
    ("difference", "lead"), [(0.02, "Yes"), (0.001, "Inconclusive"), (-0.02, "No")]
)
def test_targeting_is_told_by_its_paired_difference(difference: float, lead: str) -> None:
    shown = replace(evaluation(), spending=spending(difference, 0.002))
    told = targeting(shown, "parents")
    assert told is not None
    assert told[0].startswith(lead)
    assert "chosen by forest" in told[1]
    assert "What forest chooses, sent to everybody, brings" in told[1]


def test_rankings_are_told_by_their_intervals() -> None:
    shown = replace(evaluation(), spending=())
    right, wrong = curve("forest", 0.03), curve("forest", -0.03)
    for row, words in (
        (right, "places those who gain more first"),
        (wrong, "does harm: it places those who gain more last"),
    ):
        told = targeting(replace(shown, curves=(row,)), "parents")
        assert told is not None
        assert words in told[1]
    assert targeting(replace(shown, curves=()), "parents") is None


def test_what_could_not_be_computed_is_a_reason() -> None:
    shown = replace(evaluation(), not_estimable=(("spending", "no arm for all"),))
    assert evaluation_sentences(shown, "parents")[-1] == "Spending: not computed: no arm for all."


def test_the_truth_stands_beside_the_estimates() -> None:
    rows = policy_table(evaluation()).rows
    assert [row[0] for row in rows] == ["forest", "best", "random"]
    assert plain(rows[0][-1]) == "+4.41 (inside)"
    assert "+5.38 percentage points" in plain(policy_table(evaluation()).note)
    bare = replace(
        evaluation(), policies=tuple(replace(p, truth=None) for p in evaluation().policies)
    )
    assert "Truth" not in {column.label for column in policy_table(bare).columns}
    figure = policies_figure("x", evaluation())
    assert figure is not None
    assert "diamonds" in figure.caption


def test_tables_hold_the_numbers() -> None:
    first, second = contrast_table(evaluation()).rows
    assert plain(first[1]) == "+0.40 ± 0.30"
    assert plain(first[2]) == "-0.19 to +0.99"
    assert second[-2] == "\u2013"
    assert "draws by chance" in contrast_table(evaluation()).note
    curves = curve_table(evaluation())
    assert curves is not None
    assert [row[1] for row in curves.rows] == ["causal", "predictive"]


def test_both_widths_of_a_curve_show_the_same_points() -> None:
    figure = targeting_figure("x", evaluation())
    assert figure is not None
    assert figure.wide["data"] == figure.narrow["data"]
    assert len(figure.wide["data"]["values"]) == 2 * 96
    assert "at 25 %" in figure.alt


def page(shown: Evaluation) -> str:
    return render(replace(demo(), evaluations=(shown,))).html


def test_the_page_has_the_section_and_stays_well_formed() -> None:
    rendered = render(replace(demo(), evaluations=(evaluation(),)))
    reader = read(rendered)
    assert "policies" in reader.ids
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert {f"figures/{stem}-phase-2.svg" for stem in ("policies", "targeting")} <= set(
        rendered.files
    )
    assert re.findall(r"https?://", rendered.html) == []
    assert "Does it pay to choose the message for each of the families?" in rendered.html
    assert "policies" not in read(render(demo())).ids


def test_names_are_escaped() -> None:
    nasty = '<script>alert("1")</script>'
    shown = evaluation()
    first = replace(shown.contrasts[0], first=nasty)
    rows = (replace(shown.policies[0], policy=nasty, rule=nasty), *shown.policies[1:])
    html = page(replace(shown, contrasts=(first,), policies=rows, message=nasty))
    assert "<script>" not in html


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        measured(float("nan"), 0.1)
    with pytest.raises(InputError, match="more than once"):
        replace(evaluation(), contrasts=evaluation().contrasts[:1] * 2)


def test_the_cost_of_withholding_messages_is_reported() -> None:
    told = targeting(evaluation(), "parents")
    assert told is not None
    assert told[1].endswith(
        "more than any smaller share: choose only where messages cost something."
    )
    few = tuple(
        replace(row, targeted=measured(0.05, 0.003)) if row.share == 0.75 else row
        for row in evaluation().spending
    )
    told = targeting(replace(evaluation(), spending=few), "parents")
    assert told is not None
    assert "smaller share" not in told[1]


@pytest.mark.parametrize(
    ("gain", "std_error", "differs", "use", "why"),
    [
        (0.02, 0.003, 0.6, "Use forest", "It beat best"),
        (0.004, 0.003, 0.6, "Use forest, though", "Using forest has a chance of error of 9.1 %"),
        (-0.004, 0.003, 0.6, "Use best, though", "Using best has a chance of error of 9.1 %"),
        (-0.02, 0.003, 0.6, "Use best", "forest did worse"),
        (0.0, 0.0, 0.0, "Use best", "send everybody the same message"),
    ],
)
def test_the_next_step_follows_the_test(
    gain: float, std_error: float, differs: float, use: str, why: str
) -> None:
    shown = evaluation(gain=gain, std_error=std_error, share_differs=differs)
    told = advice(shown, "parents")
    assert told is not None
    assert told[0].startswith(use)
    assert why in plain(told[1])
    undecided = replace(demo(), evaluations=(shown,), decision=None)
    assert use in page_text(undecided)
    assert advice(replace(shown, contrasts=()), "parents") is None


def page_text(contents: ReportContents) -> str:
    return " ".join(read(render(contents)).text)


def test_what_cannot_be_told_apart_comes_with_chance_and_loss() -> None:
    told = advice(evaluation(gain=0.004, std_error=0.003), "parents")
    assert told is not None
    text = plain(told[1])
    assert "is expected to lose 0.01 percentage points, about 13 in 100,000 parents" in text
    assert "using best, 91 % and 0.41 percentage points (normal posterior, flat prior)" in text


def test_a_ranking_that_harms_is_said_as_plainly() -> None:
    """By either measure: here the Qini alone shows it."""
    harmful = replace(
        curve("forest", 0.0), autoc=measured(0.002, 0.004), qini=measured(-0.0022, 0.001)
    )
    for spent in (evaluation().spending, ()):
        told = targeting(replace(evaluation(), curves=(harmful,), spending=spent), "parents")
        assert told is not None
        assert told[0] == "No: do not rank parents by the gain that forest predicts"
        assert "does harm: it places those who gain more last" in told[1]
        assert "Qini -0.2 percentage points" in plain(told[1])
        assert "Choose at random where not everybody can be messaged." in told[1]


def test_policies_that_are_the_same_are_one_row_with_one_value() -> None:
    def row(name: str) -> dict[str, object]:
        return {"policy": name, "estimate": 0.028, "std_error": 0.003, "conf_low": 0.022,
                "conf_high": 0.034}  # fmt: skip

    contrast = {"estimate": 0.0, "std_error": 0.0, "conf_low": 0.0, "conf_high": 0.0,
                "share_differs": 0.0}  # fmt: skip
    facts = {
        "wave": "two", "learned_on": ["one"], "outcome": "login", "n_units": 1000, "level": 0.95,
        "effects": [], "against_nothing": [row("best"), row("neighbours")], "values": [],
        "targeting": {}, "spending": {"not_estimable": "x"},
        "contrasts": [{"first": "neighbours", "second": "best", "doubly_robust": contrast,
                       "paired": {"not_estimable": "the same"}}],
    }  # fmt: skip
    effect = {"estimate": 0.025, "std_error": 0.004, "conf": [0.017, 0.033], "p_value": 0.001}
    kept_now = {**facts, "same": [{"policies": ["best", "neighbours"], "effect": effect}]}
    for kept in (facts, kept_now):
        shown = Evaluation.of(kept, LOGIN, {})
        assert [policy.name for policy in shown.policies] == ["best = neighbours"]
    pooled = Evaluation.of(kept_now, LOGIN, {}).policies[0].randomized
    assert pooled is not None
    assert pooled.estimate == 0.025


def test_the_answer_names_the_policy_its_effect_and_its_rival() -> None:
    lead, text = policy_headline(evaluation(gain=0.02, std_error=0.003), "parents")
    assert plain(lead) == (
        "Messages that forest chose for each of the parents raised weekly login rate by "
        "5.8 percentage points"
    )
    assert "With forest, weekly login rate is 41.8 %, against 36.0 % without messages." in plain(
        text
    )
    assert "doubly robust, on all 100,000 parents of phase-2" in text
    lead, _ = policy_headline(evaluation(gain=0.004, std_error=0.003), "parents")
    assert plain(lead).endswith("by 4.2 percentage points; it is not shown to beat best")
    lead, _ = policy_headline(evaluation(gain=-0.02, std_error=0.003), "parents")
    assert plain(lead) == (
        "best raised weekly login rate by 3.8 percentage points; forest does worse"
    )
