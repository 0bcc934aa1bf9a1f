"""A wave from its draw to its frozen outcomes, and what leaves a study."""

import json
from pathlib import Path

import polars as pl
import pytest

from memory_study import AFTER, DURING, memory_study
from study_folders import STUDY, close_wave, people
from wavewise.errors import InputError, RegistrationError, StateError
from wavewise.shared.results import Result
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.run.export import erase, export
from wavewise.workflow.run.import_wave import import_wave
from wavewise.workflow.run.observe import observe
from wavewise.workflow.run.open_wave import open_wave

RAN_ELSEWHERE = """
[waves.imported]
arm = "group"
outcomes = { login = "came", minutes = "time" }

[[waves]]
id = "two"
"""
IMPORTED = (
    STUDY.replace('\n[[waves]]\nid = "two"\n', RAN_ELSEWHERE)
    .replace("units = { share = 0.5 }", 'units = "all"')
    .replace('units = "rest"', 'units = "all"')
    .replace('schedule = "weekly"\n', "", 1)
)


def _logins(units: list[str], at: str = "2024-03-05T12:00:00Z") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "event_id": [f"e-{unit}" for unit in units],
            "unit_id": units,
            "kind": ["login"] * len(units),
            "at": [at] * len(units),
        }
    )


def test_a_wave_is_drawn_once_whole_and_the_same_each_time(tmp_path: Path) -> None:
    hashes = set()
    for _ in range(2):
        with memory_study(tmp_path, n_people=400) as desk:
            opened = open_wave(desk.study, "one")
            hashes.add(opened.assignment_hash)
            arms = pl.Series(list(desk.arms.values()))
            assert opened.facts()["counts"] == dict(arms.value_counts().iter_rows())
            assert opened.n_units == 200
            assert [check.verdict for check in opened.checks] == ["pass", "pass"]
            assert opened.to_frame().columns == ["arm", "n_units", "expected"]
            with pytest.raises(StateError, match="it is drawn once"):
                open_wave(desk.study, "one")
            assert Result.from_dict(json.loads(json.dumps(opened.to_dict()))) == opened
    assert len(hashes) == 1


def test_without_registration_a_wave_is_exploratory(tmp_path: Path) -> None:
    with memory_study(tmp_path) as desk:
        import_people(desk.study, people(40))
        with pytest.raises(RegistrationError, match="--exploratory"):
            open_wave(desk.study, "one")
        opened = open_wave(desk.study, "one", exploratory=True)
        assert opened.exploratory
        assert "EXPLORATORY" in opened.summary()


def test_events_count_once_and_strange_ones_are_counted(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        desk.clock.now = DURING
        first = observe(desk.study, _logins(["p0001", "p0002", "nobody"]))
        assert [column["kind"] for column in first.columns] == ["label", "id", "id", "time"]
        assert {k: v for k, v in first.facts().items() if k.startswith("n_")} == {
            "n_new": 3,
            "n_repeated": 0,
            "n_conflicting": 0,
            "n_unknown_unit": 1,
            "n_future": 0,
        }
        again = observe(desk.study, _logins(["p0001", "p0002"]))
        assert (again.n_new, again.n_repeated) == (0, 2)
        other = observe(desk.study, _logins(["p0001"], at="2025-01-01T00:00:00Z"))
        assert (other.n_conflicting, other.n_future) == (1, 1)
        assert first.summary().startswith("the data frame: 3 new events, 0 known already")
        with pytest.raises(InputError, match="--kind scores"):
            observe(desk.study, _logins(["p0001"]), delivered="2024-03-05")


def test_outcomes_are_frozen_after_the_window_by_arm(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=400) as desk:
        with pytest.raises(StateError, match="not open yet"):
            close_wave(desk.study, "one")
        open_wave(desk.study, "one")
        members = sorted(desk.arms)
        desk.clock.now = DURING
        observe(desk.study, _logins(members[:50]))
        with pytest.raises(StateError, match="not ended"):
            close_wave(desk.study, "one")
        desk.clock.now = AFTER
        closed = close_wave(desk.study, "one")
        came = [desk.arms[unit] for unit in members[:50]]
    for row in closed.facts()["arms"]:
        assert row["mean"] == pytest.approx(came.count(row["arm"]) / row["n_units"])
    assert "Events of its units: 50 in the window" in closed.summary()
    assert closed.to_frame()["n_with_outcome"].sum() == 200


def test_a_wave_that_ran_elsewhere_brings_its_people(tmp_path: Path) -> None:
    rows = people(40).with_columns(
        group=pl.Series(["peers", "teacher", "control", "teacher"] * 10),
        came=pl.Series([1, 0] * 20),
        time=pl.Series([3.5, None] * 20),
    )
    with memory_study(tmp_path, IMPORTED) as desk:
        with pytest.raises(StateError, match="wave import"):
            open_wave(desk.study, "one", exploratory=True)
        done = import_wave(desk.study, "one", rows, exploratory=True)
        assert done.facts()["counts"] == {"control": 10, "peers": 10, "teacher": 20}
        assert done.facts()["n_units"] == desk.study.store.units.count() == 40
        assert done.summary().startswith("Imported wave one from the data frame: 40 parents.")
    with (
        memory_study(tmp_path, IMPORTED) as desk,
        pytest.raises(InputError, match="nothing was imported") as caught,
    ):
        import_wave(desk.study, "one", rows.with_columns(group=pl.lit("x")), exploratory=True)
    assert "row 1" in str(caught.value)


def test_export_has_no_contact_details_and_erasing_keeps_the_comparison(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        before = desk.arms
        unit = sorted(before)[0]
        gone = erase(desk.study, unit)
        facts = gone.facts()
        assert (facts["n_contacts"], facts["kept_columns"]) == (0, ["active", "grade"])
        assert "Copies are not erased" in facts["left"][0]
        assert desk.arms == before
        written = export(desk.study, tmp_path / "out")
        assert dict(written.to_frame().iter_rows())["units"] == 40
        assert "child_name" not in (tmp_path / "out" / "units.csv").read_text(encoding="utf-8")
        with pytest.raises(InputError, match="needed a new or an empty folder"):
            export(desk.study, tmp_path / "out")
