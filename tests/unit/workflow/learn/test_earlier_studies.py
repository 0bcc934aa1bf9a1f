"""Priors from earlier studies: read from their results, counted by their weight, told."""

import json
from pathlib import Path

import numpy as np
import pytest

import wavewise as ww
from closed_waves import closed
from memory_study import AFTER, memory_study
from study_folders import STUDY, assignment, close_wave, make_study
from wavewise.design import parse_spec
from wavewise.errors import SpecError
from wavewise.report.documents.analysis_plan import analysis_plan
from wavewise.report.documents.registry_page import registry_markdown
from wavewise.report.page import render
from wavewise.shared.results import Result
from wavewise.workflow.frames import ClosedWaves
from wavewise.workflow.learn.decide import chosen_arm, decide, shares_of_rule
from wavewise.workflow.learn.posteriors import evidence_of, posterior_of, prior_rows
from wavewise.workflow.report.contents import report_contents
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.study import read_study_file

MODEL = '[models.login]\nkind = "beta binomial"\noutcome = "login"\n'
EARLIER = STUDY.replace(
    MODEL,
    MODEL
    + "[models.login.earlier]\nweight = 0.5\nresults = { peers = [60, 100], teacher = [5, 100] }\n",
)
OWN = STUDY.replace(MODEL, MODEL + "arm_priors = { peers = [30, 20] }\n")
CLUSTERED = STUDY.replace(
    MODEL,
    MODEL.replace("beta binomial", "hierarchical binomial")
    + 'cluster = "grade"\n[models.login.earlier]\nresults = { peers = [0.5, 0.3] }\n',
)


@pytest.mark.parametrize("higher", [True, False])
def test_a_beta_prior_adds_the_weighted_counts(higher: bool) -> None:
    text = EARLIER if higher else EARLIER.replace(
        "primary = true", "primary = true\nhigher_is_better = false")  # fmt: skip
    waves = closed(text)
    total = evidence_of(waves, waves.spec.models["login"], ["one", "two"]).wanted.totals()
    successes = [30, 2.5] if higher else [20, 47.5]
    prior = [[1 + y, 1 + 50 - y] for y in successes]
    expected = ww.estimate.beta_binomial(
        total["successes"], total["trials"], prior=prior, arms=["peers", "teacher"]
    )
    found = posterior_of(waves, "login", ["one", "two"])
    assert found.prior == pytest.approx(expected.prior)
    assert found.prob_optimal == pytest.approx(expected.prob_optimal, rel=1e-9)


def test_an_arm_may_have_a_prior_of_its_own() -> None:
    waves = closed(OWN)
    assert posterior_of(waves, "login", ["one"]).prior.tolist() == [[30, 20], [1, 1]]
    half = posterior_of(waves, "login", ["one"], prior_weight=0.5)
    assert half.prior.tolist() == [[15.5, 10.5], [1, 1]]


def test_the_decision_is_made_with_less_of_the_prior() -> None:
    waves = closed(EARLIER)
    rows = prior_rows(waves, "login", ["one", "two"])
    assert [row.weight for row in rows] == [0, 0.5, 1]
    for row in rows:
        one = ww.decide.best_arm(
            posterior_of(waves, "login", ["one", "two"], prior_weight=row.weight)
        )
        assert (row.arm, row.prob_optimal) == (one.arm, one.prob_optimal)
    assert rows[0].arm == "teacher"
    plain = posterior_of(closed(), "login", ["one", "two"])
    assert rows[0].policy_regret == pytest.approx(plain.policy_regret.min())
    plan = waves.spec.decision
    found = chosen_arm(waves, plan, "two", ["one", "two"])
    assert found.facts()["prior_sensitivity"][0]["arm"] == "teacher"
    assert "worth 50.0 parents here" in found.summary()
    wave = waves.spec.wave("two")
    shares = shares_of_rule(waves, wave, wave.shares)
    assert [set(row.shares) for row in shares.prior_rows] == [{"peers", "teacher", "control"}] * 3
    assert list(shares.prior_rows[2].shares.values()) == list(shares.shares.values())
    assert "share of peers" in shares.summary()
    assert Result.from_dict(json.loads(json.dumps(shares.to_dict()))) == shares


def test_without_one_nothing_is_said() -> None:
    waves = closed()
    assert prior_rows(waves, "login", ["one"]) == ()
    found = chosen_arm(waves, waves.spec.decision, "two", ["one", "two"])
    assert "prior" not in found.facts()


@pytest.mark.parametrize("higher", [True, False])
def test_a_log_odds_prior_is_a_normal_one(higher: bool) -> None:
    text = CLUSTERED if higher else CLUSTERED.replace(
        "primary = true", "primary = true\nhigher_is_better = false")  # fmt: skip
    waves = closed(text, waves=["one"])
    found = posterior_of(waves, "login", ["one"])
    mean = 0.5 if higher else -0.5
    assert found.prior.beta["peers"] == ww.estimate.Normal(0.3, mean)
    assert isinstance(found.prior.beta["teacher"], ww.estimate.Flat)
    half = posterior_of(waves, "login", ["one"], prior_weight=0.5)
    assert half.prior.beta["peers"].sd == pytest.approx(0.3 * 2**0.5)
    none = posterior_of(waves, "login", ["one"], prior_weight=0.0)
    assert none.prior == ww.estimate.BinomialPrior()
    sign = 1 if higher else -1
    assert sign * none.mean[0] < sign * half.mean[0] < sign * found.mean[0] < 0.5


def test_results_are_read_from_an_earlier_report_and_registered(tmp_path: Path) -> None:
    earlier = make_study(tmp_path / "earlier", 200)
    with ww.open_study(earlier) as study:
        study.wave_open("one", accept_late=True)
        study.wave_close("one", accept=["event-kinds"], reason="a test")
        study.report()
    text = STUDY.replace(
        MODEL,
        MODEL + '[models.login.earlier]\nfile = "past.json"\narms = { peers = "teacher" }\n',
    )
    folder = tmp_path / "now"
    folder.mkdir()
    (folder / "study.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="cannot be read"):
        read_study_file(folder)
    report = (earlier / "report" / "report.json").read_text(encoding="utf-8")
    (folder / "past.json").write_text(report, encoding="utf-8")
    spec = read_study_file(folder)[1]
    n = assignment(earlier, "one").filter(arm="teacher").height
    assert spec.models["login"].earlier.results == {"peers": (0, n), "teacher": (0, n)}
    assert f"worth {n}.0 parents" in str(analysis_plan(spec))
    assert spec != parse_spec(text)
    for content, needed in (
        ("{}", "one of peers, teacher"),
        ("arm,successes\npeers,3\n", "columns arm, successes, trials"),
    ):
        name = "past.json" if content == "{}" else "past.csv"
        (folder / name).write_text(content, encoding="utf-8")
        (folder / "study.toml").write_text(
            text.replace("past.json", name).replace('arms = { peers = "teacher" }\n', ""), "utf-8"
        )
        with pytest.raises(SpecError) as error:
            read_study_file(folder)
        assert needed in str(error.value)
    (folder / "past.csv").write_text("arm,successes,trials\npeers,3,10\n", encoding="utf-8")
    found = read_study_file(folder)[1].models["login"].earlier
    assert found.results == {"peers": (3.0, 10.0)}


def test_posteriors_by_themselves_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    beta = ww.estimate.beta_binomial([3, 4], [10, 12], arms=["peers", "teacher"])
    y, arm, cluster = rng.binomial(20, 0.3, 40), np.tile(["peers", "teacher"], 20), np.arange(40)
    many = ww.estimate.hierarchical_binomial(
        y, np.full(40, 20), arm, cluster // 4, rng=rng, n_draws=256
    )
    for post, text in ((beta, EARLIER), (many, CLUSTERED)):
        (tmp_path / "past.json").write_text(json.dumps(post.to_dict()), encoding="utf-8")
        lines = ['file = "past.json"' if line.startswith("results") else line
                 for line in text.splitlines()]  # fmt: skip
        (tmp_path / "study.toml").write_text("\n".join(lines), encoding="utf-8")
        found = read_study_file(tmp_path)[1].models["login"].earlier.results["teacher"]
        expected = (4, 12) if post is beta else (many.mean[1], many.sd[1])
        assert found == pytest.approx(expected)


def test_a_study_decides_and_says_so(tmp_path: Path) -> None:
    with memory_study(tmp_path, EARLIER, n_people=200) as desk:
        open_wave(desk.study, "one")
        desk.clock.now = AFTER
        close_wave(desk.study, "one")
        decide(desk.study, "one")
        kept = desk.study.store.results.latest("two", "next-shares").payload
        assert [row["weight"] for row in kept["prior_sensitivity"]] == [0, 0.5, 1]
        page = render(report_contents(desk.study)).html
        assert "Decision after one with less of the prior" in page
        assert "worth 50.0 parents here" in page
    registry = registry_markdown(parse_spec(EARLIER))
    assert "Prior from an earlier study, each of its units counting 0.5" in registry


def test_faults_are_named() -> None:
    for old, new, needed in (
        ("weight = 0.5", "weight = 2", "a share between 0 and 1"),
        ("peers = [60, 100]", "peers = [60, 10]", "[successes, trials]"),
        ("peers = [60, 100]", "nobody = [60, 100]", "the name of an arm"),
        ("results = { peers = [60, 100], teacher = [5, 100] }", "", "what the earlier study found"),
        ('kind = "beta binomial"', 'kind = "beta binomial"\npooling = "partial"', "one of them"),
    ):
        with pytest.raises(SpecError) as error:
            parse_spec(EARLIER.replace(old, new))
        assert needed in str(error.value)
    assert isinstance(closed(EARLIER), ClosedWaves)
