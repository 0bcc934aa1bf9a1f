"""Effects and checks computed from closed waves, against estimators called by hand."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import wavewise as ww
from closed_waves import RATES, closed
from study_folders import STUDY
from wavewise.shared.results import NotEstimable
from wavewise.workflow.frames import outcome_values
from wavewise.workflow.learn.effects import FieldRecords, effects_of, quality_checks

NOTHING_SENT = pl.DataFrame(schema={"unit_id": pl.String, "state": pl.String})


def records(waves, messages: pl.DataFrame = NOTHING_SENT) -> FieldRecords:
    return FieldRecords(dict.fromkeys(waves.ids, messages), {})


def test_the_primary_outcome_and_the_registered_estimator_come_first() -> None:
    found = effects_of(closed(), ["one"])
    assert [(item.outcome.id, item.estimator, item.registered) for item in found] == [
        ("login", "ols", True),
        ("login", "difference in means", False),
        ("minutes", "ols", True),
    ]


def test_effects_are_those_of_the_estimator_within_strata() -> None:
    waves = closed(waves=["one"])
    data = waves.data("one")
    expected = ww.estimate.ate(
        outcome_values(data, waves.spec.primary).to_numpy(),
        data.arm,
        control="control",
        strata=data.stratum,
        arms=["peers", "teacher", "control"],
    )
    assert effects_of(waves, ["one"])[0].effects.to_frame().equals(expected.to_frame())


def test_waves_together_are_compared_within_each() -> None:
    (first, *_) = effects_of(closed(), ["one", "two"])
    assert first.learned_on == ("one", "two")
    assert first.effects.n_strata == 4  # two strata in each of two waves


def test_waves_without_a_common_control_have_a_reason() -> None:
    text = STUDY.replace("control_share = 0.25\n", "", 1)
    waves = closed(text, waves=["one"])
    assert effects_of(waves, ["one"])[0].effects == NotEstimable(
        "the waves have no control arm in common to compare with"
    )
    assert "no control arm" in effects_of(waves, ["one"])[0].text


def test_what_is_printed_for_machines_names_outcome_and_estimator() -> None:
    facts = effects_of(closed(), ["one"])[0].facts()
    assert (facts["outcome"], facts["estimator"], facts["registered"]) == ("login", "ols", True)
    assert {row["arm"] for row in facts["rows"]} == {"peers", "teacher"}


def test_the_drift_of_the_control_needs_an_earlier_wave() -> None:
    waves = closed()
    names = [c.name for c in quality_checks(waves, ["one"], records(waves))]
    assert names == ["missing outcomes"]
    second = {c.name: c for c in quality_checks(waves, ["two"], records(waves))}
    assert "drift of the control between waves" in second
    drifted = closed(rates=RATES)
    late = drifted.waves["two"]
    outcomes = late.data.outcomes.with_columns(
        login=pl.when(late.data.arm == "control").then(1.0).otherwise("login")
    )
    changed = replace(late, data=replace(late.data, outcomes=outcomes))
    drifted = replace(drifted, waves={**drifted.waves, "two": changed})
    (check,) = (
        c
        for c in quality_checks(drifted, ["two"], records(drifted))
        if c.name == "drift of the control between waves"
    )
    assert check.passed is False


def test_missing_outcomes_bring_bounds() -> None:
    waves = closed(waves=["one"])
    data = waves.data("one")
    some = pl.Series(np.arange(len(data)) % 7 == 0)
    outcomes = data.outcomes.with_columns(login=pl.when(some).then(None).otherwise("login"))
    wave = replace(waves.waves["one"], data=replace(data, outcomes=outcomes))
    waves = replace(waves, waves={"one": wave})
    names = [c.name for c in quality_checks(waves, ["one"], records(waves))]
    assert names[:2] == ["missing outcomes", "bounds for missing outcomes"]


@pytest.mark.parametrize(("every", "passed"), [(10, True), (2, False)])
def test_exposure_to_messages_is_compared_between_arms(every: int, passed: bool) -> None:
    waves = closed(n=800, waves=["one"])
    data = waves.data("one")
    sent, arm = (s.filter(data.arm != "control") for s in (data.units.ids, data.arm))
    place = pl.int_range(len(sent), eager=True)
    fails = (place % 10 == 0) | ((arm == "peers") & (place % every == 0))
    state = fails.replace_strict({True: "failed", False: "delivered"})
    messages = pl.DataFrame({"unit_id": sent, "state": state})
    (check,) = (
        c
        for c in quality_checks(waves, ["one"], records(waves, messages))
        if c.name == "exposure by arm"
    )
    assert check.passed is passed
