"""What a report shows of a study, from a database in memory."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from closed_waves import closed
from study_folders import STUDY, people
from wavewise.design import parse_spec
from wavewise.report import OutcomePosterior, render
from wavewise.shared.results import NotEstimable
from wavewise.store import Store
from wavewise.store.frames import encode_json_rows
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.report.contents import (
    pooled_effects,
    posterior_after,
    report_contents,
)
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.study import Study

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def study() -> Iterator[Study]:
    """The small study before its first wave, in memory."""
    with Store.open("sqlite://") as store:
        yield Study(Path("nowhere"), STUDY, parse_spec(STUDY), store, lambda: NOW)


@pytest.fixture
def opened(study: Study) -> Study:
    """The same with its first wave open."""
    import_people(study, people(200))
    open_wave(study, "one", exploratory=True)
    return study


def test_a_study_that_has_not_begun_shows_its_plan(study: Study) -> None:
    contents = report_contents(study)
    assert [wave.state for wave in contents.waves] == ["planned", "planned"]
    assert contents.waves[0].shares["control"] == 0.25
    assert contents.waves[1].shares == {}  # not decided
    assert contents.exploratory
    assert contents.deliveries == ()
    assert "Not known yet" in render(contents).html


def test_an_open_wave_shows_who_was_assigned_and_its_checks(opened: Study) -> None:
    first, second = report_contents(opened).waves
    assert sum(row.n_assigned or 0 for row in first.arms) == 100
    assert [row.n_with_outcome for row in first.arms] == [None] * 3
    assert {check.name for check in first.checks} >= {"sample ratio"}
    assert first.effects == ()
    assert second.state == "planned"


def test_what_was_opened_is_told_to_people_and_machines(study: Study) -> None:
    import_people(study, people(200))
    found = open_wave(study, "one", exploratory=True)
    facts = found.facts()
    assert facts["n_units"] == sum(facts["counts"].values()) == 100
    assert facts["exploratory"]
    assert found.summary().startswith("Opened wave one: 100 parents in 2 strata. EXPLORATORY")
    kept = study.store.waves.get("one")
    assert kept.details["assignment_hash"] == facts["assignment_hash"]


def test_closed_waves_are_frozen_into_effects_and_a_posterior(opened: Study) -> None:
    frame = opened.store.waves.assignment("one")
    logs_in = (frame["arm"] == "teacher") ^ (pl.int_range(frame.height, eager=True) % 5 == 0)
    outcomes = pl.DataFrame({"login": logs_in.cast(pl.Float64)})
    rows = frame.select("unit_id").with_columns(values_json=encode_json_rows(outcomes))
    opened.store.waves.close("one", NOW, rows)
    contents = report_contents(opened)
    wave = contents.waves[0]
    (registered, comparison) = wave.effects
    assert registered.registered
    assert not comparison.registered
    estimates = {row.arm: row.estimate for row in registered.rows}
    assert estimates["teacher"] == pytest.approx(0.6, abs=0.3)
    assert abs(estimates["peers"]) < 0.3
    assert isinstance(wave.posterior, OutcomePosterior)
    assert contents.effects == ()  # one wave has nothing to pool
    assert contents.provenance[2][0] == "Assignment of one, SHA-256"
    assert len(dict(contents.provenance)["Outcomes of one, SHA-256"]) == 64


def test_waves_with_the_same_arms_are_pooled() -> None:
    assert pooled_effects(closed(waves=["one"])) == ()
    assert pooled_effects(closed())[0].learned_on == ("one", "two")


def test_a_posterior_needs_a_model_and_counts() -> None:
    waves = closed()
    after = posterior_after(waves, "two")
    assert after.learned_on == ("one", "two")
    assert after.model.startswith("Beta-binomial, prior Beta(1, 1)")
    assert [row.trials for row in after.rows] == [180, 180]
    bare = waves.spec.model_copy(update={"decision": None, "waves": waves.spec.waves[:1]})
    assert posterior_after(replace(waves, spec=bare), "one") is None
    clustered = STUDY.replace('kind = "beta binomial"', 'kind = "hierarchical binomial"')
    nobody = closed(clustered.replace('outcome = "login"', 'outcome = "login"\ncluster = "grade"'),
                    rates=dict.fromkeys(("control", "peers", "teacher"), 0.0))  # fmt: skip
    assert isinstance(posterior_after(nobody, "two"), NotEstimable)
