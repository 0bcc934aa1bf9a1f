"""Shares that are learned within strata: decided, drawn, kept with each unit, estimated with."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import wavewise as ww
from closed_waves import closed
from memory_study import AFTER, memory_study
from study_folders import STUDY, close_wave
from wavewise.design import parse_spec
from wavewise.errors import EstimationError, SpecError
from wavewise.report.documents.analysis_plan import analysis_plan
from wavewise.report.page import render
from wavewise.shared.results import Result
from wavewise.workflow.learn.adaptive import adaptive_waves, rerandomization_test
from wavewise.workflow.learn.analyze import analyze
from wavewise.workflow.learn.decide import decide, shares_of_rule
from wavewise.workflow.learn.posteriors import evidence_of
from wavewise.workflow.report.contents import report_contents
from wavewise.workflow.run.observe import observe
from wavewise.workflow.run.open_wave import open_wave

RULE = 'shares = { rule = "exploration", model = "login", learned_on = ["one"] }'
WITHIN = STUDY.replace(
    RULE,
    'shares = { rule = "tempered Thompson", floor = 0.05, within = "strata", model = "login", '
    'learned_on = ["one"] }',
)
POOLED = WITHIN.replace('kind = "beta binomial"', 'kind = "beta binomial"\npooling = "partial"', 1)


def decided(text: str = WITHIN):
    waves = closed(text, waves=["one"])
    wave = waves.spec.wave("two")
    return waves, shares_of_rule(waves, wave, wave.shares)


@pytest.mark.parametrize("text", [WITHIN, POOLED])
def test_each_stratum_has_the_shares_of_its_own_posterior(text: str) -> None:
    waves, found = decided(text)
    data = waves.data("one")
    assert list(found.strata.shares) == ["no", "yes"]
    y, n = (
        np.array([
            [pl.Series(values).filter((data.stratum == x) & (data.arm == arm)).sum()
             for arm in ("peers", "teacher")]
            for x in ("no", "yes")
        ])
        for values in (data.outcomes["login"], [1] * len(data))
    )  # fmt: skip
    arms = ["peers", "teacher"]
    posteriors = (
        [ww.estimate.beta_binomial(a, b, arms=arms) for a, b in zip(y, n, strict=True)]
        if text == WITHIN
        else [ww.estimate.pooled_beta_binomial(y, n, strata=["no", "yes"]).stratum(x)
              for x in ("no", "yes")]
    )  # fmt: skip
    for row, posterior in zip(found.strata.shares.values(), posteriors, strict=True):
        expected = ww.decide.shares(
            posterior, rule="tempered Thompson", floor=0.05, control_share=0.25
        )
        assert row.shares == pytest.approx(expected, rel=1e-12)
    assert found.strata.n_units == {"no": 80, "yes": 160}
    average = 80 * found.strata.shares["no"].shares + 160 * found.strata.shares["yes"].shares
    assert list(found.shares.values()) == pytest.approx(average / 240)
    assert found.summary().count("units before") == 1
    assert found.to_frame().columns == ["stratum", "arm", "share", "prob_optimal"]
    assert json.loads(json.dumps(found.facts()))["within"] == ["active"]


def logins(arms: dict[str, str], active: dict[str, str]) -> pl.DataFrame:
    """Those who are active follow peers, the others their teacher."""
    best = {"yes": "peers", "no": "teacher"}
    units = [u for i, (u, arm) in enumerate(arms.items()) if arm == best[active[u]] or i % 5 == 0]
    return pl.DataFrame(
        {
            "event_id": [f"e-{unit}" for unit in units],
            "unit_id": units,
            "kind": ["login"] * len(units),
            "at": ["2024-03-05T12:00:00Z"] * len(units),
        }
    )


def test_a_study_draws_by_them_and_keeps_each_probability(tmp_path: Path) -> None:
    with memory_study(tmp_path, WITHIN, n_people=800) as desk:
        study = desk.study
        active = {f"p{i:04d}": "yes" if i % 3 else "no" for i in range(800)}
        open_wave(study, "one")
        desk.clock.now = AFTER
        observe(study, logins(desk.arms, active))
        close_wave(study, "one")
        found = decide(study, "one")
        assert found.strata.shares["yes"].shares[0] > 0.6
        assert found.strata.shares["no"].shares[1] > 0.6
        assert Result.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        opened = open_wave(study, "two", accept_late=True)
        rows = study.store.waves.assignment("two")
        for stratum, one in found.strata.shares.items():
            for arm, share in zip(one.arms, one.shares, strict=True):
                cell = rows.filter(stratum=stratum, arm=arm)
                assert cell["propensity"].to_list() == pytest.approx([share] * cell.height)
                n = rows.filter(stratum=stratum).height
                assert abs(cell.height - share * n) < 1
        assert [check.verdict for check in opened.checks] == ["pass", "pass"]
        desk.clock.now = datetime(2024, 4, 20, tzinfo=UTC)
        close_wave(study, "two")
        table = analyze(study, "two").adaptive.table
        assert "Weighted" in [column.label for column in table.columns]
        assert "Shares of two by stratum" in render(report_contents(study)).html


def test_a_stratum_that_was_not_seen_takes_the_shares_over_all(tmp_path: Path) -> None:
    text = WITHIN.replace("units = { share = 0.5 }", 'units = { where = { active = "yes" } }')
    with memory_study(tmp_path, text, n_people=300) as desk:
        open_wave(desk.study, "one")
        desk.clock.now = AFTER
        close_wave(desk.study, "one")
        found = decide(desk.study, "one")
        assert list(found.strata.shares) == ["yes"]
        open_wave(desk.study, "two", accept_late=True)
        rows = desk.study.store.waves.assignment("two").filter(stratum="no", arm="peers")
        assert rows["propensity"].to_list() == pytest.approx(
            [found.elsewhere["peers"]] * rows.height
        )
        assert "gets the shares over all units" in found.text


def test_waves_are_compared_within_the_strata_of_the_shares() -> None:
    waves = closed(WITHIN)
    table = adaptive_waves(waves, "two").table
    y, arm, stratum, own, wave = (
        np.concatenate([np.asarray(part(waves.data(w)).to_list()) for w in ("one", "two")])
        for part in (
            lambda d: d.outcomes["login"], lambda d: d.arm, lambda d: d.stratum,
            lambda d: d.propensity, lambda d: pl.repeat("w", len(d), eager=True),
        )
    )  # fmt: skip
    expected = ww.estimate.weighted_m(
        y, arm, own, strata=stratum, arms=["peers", "teacher", "control"]
    )
    assert wave.size == 480
    assert table.columns[1].estimate == pytest.approx(expected.arm_estimate)
    assert table.columns[1].std_error ** 2 == pytest.approx(np.diag(expected.arm_cov))


@pytest.mark.parametrize("text", [WITHIN, POOLED])
def test_the_assignment_is_drawn_again_by_the_same_rule(text: str) -> None:
    waves = closed(text, n=120)
    first, again = (rerandomization_test(waves, ["one", "two"], draws=8) for _ in range(2))
    assert first == again
    assert min(first.p_value.values() if isinstance(first.p_value, dict) else [1]) > 0


def test_sizes_that_clusters_are_assumed_to_have() -> None:
    rng = np.random.default_rng(1)
    cluster, arm = np.repeat(np.arange(12), 6), np.tile(["a", "b"], 36)
    y = rng.binomial(90, 0.1 + 0.05 * (cluster > 6) + 0.05 * (arm == "b"))

    def fitted(**how):
        return ww.estimate.hierarchical_binomial(
            y, np.full(72, 90), arm, cluster, rng=np.random.default_rng(2), n_draws=256, **how
        )

    new, sizes = fitted(), np.arange(12.0)
    these = fitted(clusters="these", cluster_sizes=sizes)
    both = fitted(clusters="these", cluster_sizes=sizes, new_units=33.0)
    assert both.success_prob == pytest.approx(
        (66 * these.success_prob + 33 * new.success_prob) / 99, rel=1e-6
    )
    assert "33 units of new ones" in both.summary()


CLUSTERED = (
    WITHIN.replace('kind = "beta binomial"', 'kind = "hierarchical binomial"\ncluster = "grade"')
    .replace('cluster = "grade"', 'cluster = "grade"\nclusters = "these"\ncluster_size = "size"', 1)
    .replace('fields = ["child_name"]', 'fields = ["child_name", "size"]')
)


def test_the_column_of_cluster_sizes_is_read_and_checked() -> None:
    waves = closed(CLUSTERED, waves=["one"])
    model, units = waves.spec.models["login"], waves.data("one").units
    wave = waves.waves["one"]

    def sized(of_unit):
        fields = units.fields.drop("size", strict=False)
        units.__dict__["fields"] = fields.with_columns(size=of_unit)
        return evidence_of(type(waves)(waves.spec, {"one": wave}), model, ["one"])

    assert sized(10 * pl.col("grade")).cluster_sizes.tolist() == [10, 20, 30, 40, 50, 60]
    with pytest.raises(ww.errors.InputError, match="6 of 6 clusters"):
        sized(pl.int_range(pl.len()))


def test_faults_are_named() -> None:
    for change, needed in (
        ('within = "town"', "the name of a column of the strata ('active')"),
        ('within = "strata", rule = "equal"', "a rule that learns, or no `within`"),
    ):
        text = WITHIN.replace('within = "strata"', change)
        text = text.replace('rule = "tempered Thompson", ', "") if "equal" in change else text
        with pytest.raises(SpecError) as error:
            parse_spec(text)
        assert needed in str(error.value)
    with pytest.raises(SpecError, match=r"kind 'beta binomial', or no pooling"):
        parse_spec(CLUSTERED.replace('clusters = "these"', 'pooling = "partial"').replace(
            'cluster_size = "size"\n', ""))  # fmt: skip
    with pytest.raises(SpecError, match="clusters = "):
        parse_spec(CLUSTERED.replace('clusters = "these"\n', ""))


def test_a_stratum_too_small_for_the_model_is_named() -> None:
    text = WITHIN.replace(
        'kind = "beta binomial"', 'kind = "hierarchical binomial"\ncluster = "grade"'
    )
    waves = closed(text, n=24, waves=["one"], rates={"control": 0.2, "peers": 0.0, "teacher": 1.0})
    wave = waves.spec.wave("two")
    with pytest.raises(EstimationError):
        shares_of_rule(waves, wave, wave.shares)


def test_documents_say_so() -> None:
    plan = str(analysis_plan(parse_spec(POOLED)))
    assert "within each stratum of active" in plan
    assert "one beta distribution" in plan
