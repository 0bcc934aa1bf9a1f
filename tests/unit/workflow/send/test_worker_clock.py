"""A worker's time is the database's; a clock that jumps is told of."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memory_study import memory_study
from wavewise.workflow.send import health
from wavewise.workflow.send.health import WorkerClock

NOW = datetime(2024, 3, 4, 22, 30, tzinfo=UTC)


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]


def test_a_jump_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with memory_study(tmp_path) as desk:
        monkeypatch.setattr(health, "REAL_CLOCK", desk.clock)
        desk.clock.now = NOW
        clock = WorkerClock(desk.study)
        clock.set_right()
        assert told(capsys) == []
        desk.clock.now = NOW - timedelta(hours=1)
        clock.set_right()
        clock.set_right()
        assert told(capsys) == ["the clock was set back"]
        desk.clock.now = NOW + timedelta(days=3)
        clock.set_right()
        assert told(capsys) == ["the clock was set forward (or the machine slept)"]


def test_a_server_says_what_time_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with memory_study(tmp_path) as desk:
        monkeypatch.setattr(health, "REAL_CLOCK", desk.clock)
        desk.clock.now = NOW - timedelta(minutes=20)
        monkeypatch.setattr(desk.study.store, "server_time", lambda: NOW, raising=False)
        clock = WorkerClock(desk.study)
        assert clock() == NOW
        assert told(capsys) == ["the clock differs from the database's, which counts"]


def test_a_clock_that_a_test_sets_stays(tmp_path: Path) -> None:
    with memory_study(tmp_path) as desk:
        assert WorkerClock(desk.study)() == desk.clock.now
