"""The plan and its people: init, check, register, amend, history, people import."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from memory_study import AFTER, memory_study
from study_folders import STUDY, people
from wavewise.design.parse import parse_spec
from wavewise.errors import InputError, RegistrationError
from wavewise.shared.results import Result
from wavewise.workflow.frames import wave_data
from wavewise.workflow.prepare.init_check import check, init, schema
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import amend, register, show_history
from wavewise.workflow.run.open_wave import open_wave

LONGER = STUDY.replace("window_days = 14", "window_days = 21", 1)


def test_a_new_study_is_sound_and_makes_no_database(tmp_path: Path) -> None:
    made = init(tmp_path / "new", "peru-summer")
    assert made.summary().startswith(f"Wrote {made.study_file} from template peru-summer.")
    sound = check(tmp_path / "new")
    assert sound.facts()["faults"] == []
    assert [wave["id"] for wave in sound.facts()["waves"]] == ["phase-1", "phase-2"]
    assert sound.to_frame().columns[:2] == ["wave", "starts"]
    assert not (tmp_path / "new" / "study.db").exists()
    with pytest.raises(InputError, match="needed a folder without a study"):
        init(tmp_path / "new", "peru-summer")
    found = json.loads((tmp_path / "new" / "study.schema.json").read_text(encoding="utf-8"))
    assert found == schema().facts()


def test_the_plan_is_frozen_once_and_then_amended(tmp_path: Path) -> None:
    with memory_study(tmp_path) as desk:
        study = desk.study
        with pytest.raises(RegistrationError, match="not registered"):
            amend(study, "a reason")
        first = register(study)
        assert first.facts() == {"version": 1, "hash": first.hash, "waves_seen": []}
        assert first.summary() == (
            f"Registered version 1 on 2024-02-01 00:00 UTC.\nSHA-256 {first.hash}"
        )
        with pytest.raises(RegistrationError, match="stands at version 1"):
            register(study)
        with pytest.raises(RegistrationError, match="the same as version 1"):
            amend(study, "nothing")
        edited = replace(study, text=LONGER, spec=parse_spec(LONGER))
        with pytest.raises(InputError, match="blank reason"):
            amend(edited, "  ")
        second = amend(edited, "the holidays ")
        assert second.facts()["n_changes"] == 1
        assert "  Wave one: window days: 14 -> 21" in second.summary()
        assert second.hash != first.hash


def test_history_tells_versions_changes_and_reasons(tmp_path: Path) -> None:
    with memory_study(tmp_path) as desk:
        assert show_history(desk.study, export=False).summary() == "The study is not registered."
        register(desk.study)
        edited = replace(desk.study, text=LONGER, spec=parse_spec(LONGER))
        amend(edited, "the holidays")
        told = show_history(edited, export=True)
    assert [row["reason"] for row in told.facts()["versions"]] == ["registration", "the holidays"]
    assert told.to_frame().select("field", "before", "after").rows() == [
        ("waves['one'].window_days", "14", "21")
    ]
    assert all(Path(page).is_file() for page in told.written)
    assert told.summary().endswith(f"Wrote {', '.join(told.written)}.")
    assert Result.from_dict(json.loads(json.dumps(told.to_dict()))) == told


def test_bad_rows_import_nothing_unless_they_are_skipped(tmp_path: Path) -> None:
    bad = people(10).with_columns(
        parent_id=pl.when(pl.col("parent_id") == "p0003").then(pl.lit("")).otherwise("parent_id")
    )
    with memory_study(tmp_path) as desk:
        with pytest.raises(InputError, match="nothing was imported") as caught:
            import_people(desk.study, bad)
        assert len(caught.value.faults) == 1
        assert desk.study.store.units.count() == 0
        done = import_people(desk.study, bad, skip_bad=True)
        assert (done.n_imported, done.n_bad, done.facts()["n_faults"]) == (9, 1, 1)
        assert "Left out 1 bad rows:\n  row 4" in done.summary()


def test_units_that_were_randomized_keep_their_strata(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        before = wave_data(desk.study, "one")
        other = people(40).with_columns(active=pl.lit("no"))
        told = import_people(desk.study, other, replace=True)
        assert "those waves keep what they were drawn with" in told.summary()
        after = wave_data(desk.study, "one")
        assert after.units.fields["active"].equals(before.units.fields["active"])
        assert after.stratum.equals(before.stratum)
        desk.clock.now = AFTER
        again = import_people(desk.study, people(40), replace=True)
        assert again.n_imported == 40
