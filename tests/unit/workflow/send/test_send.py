"""What is due, to whom, in which words; what a human does to the outbox; how a study stands."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from memory_study import AFTER, memory_study
from study_folders import close_wave, people
from wavewise.errors import InputError
from wavewise.shared.results import Result
from wavewise.workflow.contacts.opt_outs import record_opt_out
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.run.observe import observe
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.send.preview import preview
from wavewise.workflow.send.queue import queue_wave
from wavewise.workflow.send.status import status
from wavewise.workflow.send.worker import address_outbox, send


def _logins(units: list[str]) -> pl.DataFrame:
    ids = [f"e-{unit}" for unit in units]
    return pl.DataFrame({"event_id": ids, "unit_id": units}).with_columns(
        kind=pl.lit("login"), at=pl.lit("2024-03-04T22:45:00Z")
    )


MONDAY = datetime(2024, 3, 4, 22, 30, tzinfo=UTC)  # 17:30 in Lima; in Madrid it is too late.


def test_a_preview_shows_each_message_in_the_units_own_time(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        one = preview(desk.study, "one", "p0001")
        other = preview(desk.study, "one", "p0002")
        with pytest.raises(InputError, match="no unit of this id"):
            preview(desk.study, "one", "nobody")
    assert one.to_frame().select("message", "text").rows() == [
        ("peers", "Many practise. And Ana?"),
        ("teacher", "Your teacher recommends it."),
    ]
    assert (one.time_zone, other.time_zone) == ("America/Lima", "Europe/Madrid")
    assert one.facts()["due"] == ["2024-03-04T17:00:00-05:00", "2024-03-11T17:00:00-05:00"]
    assert "Due:\n  Mon 2024-03-04 17:00" in one.summary()
    assert Result.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_a_missing_field_keeps_a_wave_from_opening(tmp_path: Path) -> None:
    nameless = people(40).with_columns(child_name=pl.lit(None, dtype=pl.String))
    with memory_study(tmp_path) as desk:
        register(desk.study)
        import_people(desk.study, nameless)
        with pytest.raises(InputError, match="nothing was changed"):
            open_wave(desk.study, "one")
        assert desk.study.store.waves.all() == ()


def test_messages_are_queued_once_and_not_for_control_or_who_opted_out(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=400) as desk:
        study = desk.study
        open_wave(study, "one")
        messaged = sorted(unit for unit, arm in desk.arms.items() if arm != "control")
        record_opt_out(study, messaged[0])
        until = MONDAY + timedelta(hours=1)
        assert queue_wave(study, "one", until) == len(messaged)
        assert queue_wave(study, "one", until) == 0
        rows = study.store.deliveries.rows()
        assert sorted(rows["unit_id"]) == messaged
        assert rows.filter(state="cancelled")["unit_id"].to_list() == messaged[:1]


def test_a_human_pauses_resumes_and_cancels(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=400) as desk:
        study = desk.study
        open_wave(study, "one")
        n = queue_wave(study, "one", MONDAY + timedelta(hours=1))
        paused = address_outbox(study, "pause", "one")
        assert paused.facts() == {"paused": "wave one"}
        assert status(study).facts()["paused"] == ("one",)
        assert address_outbox(study, "resume", "one").facts() == {"resumed": True}
        again = address_outbox(study, "resume", "one")
        assert again.summary() == "wave one was not paused."
        assert address_outbox(study, "cancel").facts() == {"n_cancelled": n}
        assert address_outbox(study, "resend").facts() == {"n_queued": 0}
        with pytest.raises(InputError, match="needed one of the study file"):
            address_outbox(study, "pause", "three")


def test_what_is_due_is_sent_once_and_the_status_tells(tmp_path: Path) -> None:
    (tmp_path / "channels.toml").write_text('[push]\nprovider = "file"\n', encoding="utf-8")
    with memory_study(tmp_path, n_people=400) as desk:
        study = desk.study
        open_wave(study, "one")
        desk.clock.now = MONDAY
        run = send(study)
        in_lima = [u for u, arm in desk.arms.items() if arm != "control" and int(u[1:]) % 2]
        assert run.facts()["this_run"] == {"sent": len(in_lima)}
        assert len((tmp_path / "outbox" / "push.ndjson").read_text().splitlines()) == len(in_lima)
        assert send(study).facts()["this_run"] == {}
        told = status(study)
        assert sum(told.to_frame()["sent"]) == len(in_lima)
        assert told.facts()["waves"][0]["effects_on_reached"]["not_estimable"] == (
            "the wave is not closed"
        )
        observe(study, _logins(sorted(desk.arms)[::3]))
        desk.clock.now = AFTER
        close_wave(study, "one")
        told = status(study)
        assert "A small study, as of 2024-03-20 00:00 UTC" in told.summary()
        assert told.facts()["waves"][0]["effects_on_reached"]["not_estimable"] is None


def test_channels_without_settings_send_nothing(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        with pytest.raises(InputError, match="nothing was sent"):
            send(desk.study)
