"""A wave whose outcomes have days of their own, from the draw to the report."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from memory_study import AFTER, DURING, memory_study
from study_folders import STUDY, close_wave
from wavewise.errors import StateError
from wavewise.report.effects import over_time_table
from wavewise.report.figures.intervals import persistence_figure
from wavewise.workflow.learn.analyze import analyze
from wavewise.workflow.run.observe import observe, reopen_wave
from wavewise.workflow.run.open_wave import open_wave

OUTCOMES = """
[[outcomes]]
id = "weekly"
kind = "count"
event = "login"
to_day = 28
unit_of_time = "week"

[[outcomes]]
id = "first"
kind = "days to first"
event = "login"
higher_is_better = false

[[outcomes]]
id = "left"
kind = "any"
event = "opt-out"
higher_is_better = false

[analysis.effects]
false_discovery = "sharpened"
"""
STARTS = datetime(2024, 3, 4, 17, tzinfo=UTC)  # noon in Lima
LATER = datetime(2024, 4, 20, tzinfo=UTC)


def logins(arms: dict[str, str]) -> pl.DataFrame:
    """One in four of the control comes each week; of the others more at first, then as many."""
    rows = [
        (unit, STARTS + timedelta(days=7 * week + place % 5))
        for place, (unit, arm) in enumerate(sorted(arms.items()))
        for week in range(6)
        if place % 4 == week % 4 or (arm != "control" and week < 2 + place % 2)
    ]
    return pl.DataFrame(
        {
            "event_id": [f"e{k}" for k in range(len(rows))],
            "unit_id": [unit for unit, _ in rows],
            "kind": ["login"] * len(rows),
            "at": [at.isoformat() for _, at in rows],
        }
    )


def opt_outs(units: list[str]) -> pl.DataFrame:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    at = (STARTS + timedelta(days=3) - epoch) // timedelta(microseconds=1)
    return pl.DataFrame(
        [(f"o-{unit}", unit, None, "test", at) for unit in units],
        schema={
            "opt_out_id": pl.String,
            "unit_id": pl.String,
            "channel": pl.String,
            "source": pl.String,
            "at_utc_us": pl.Int64,
        },
        orient="row",
    )


def test_a_wave_closes_without_what_is_not_over_and_takes_it_in_later(tmp_path: Path) -> None:
    with memory_study(tmp_path, STUDY + OUTCOMES, n_people=400) as desk:
        open_wave(desk.study, "one")
        desk.clock.now = DURING
        observe(desk.study, logins(desk.arms))
        messaged = [unit for unit, arm in desk.arms.items() if arm == "peers"][:9]
        desk.study.store.opt_outs.add(opt_outs(messaged), DURING)
        desk.clock.now = AFTER
        first = close_wave(desk.study, "one")
        assert "weekly is left out, since its window ends with 2024-03-31" in first.summary()
        early = analyze(desk.study, "one")
        assert {item.outcome.id for item in early.effects} == {"login", "minutes", "first", "left"}
        left = next(item for item in early.effects if item.outcome.id == "left")
        n_peers = list(desk.arms.values()).count("peers")
        assert left.effects["peers"].estimate == pytest.approx(9 / n_peers, abs=0.02)
        desk.clock.now = LATER
        reopen_wave(desk.study, "one", reason="weeks after the messages")
        assert "left out" not in close_wave(desk.study, "one").summary()
        found = analyze(desk.study, "one")
        weekly = next(item for item in found.effects if item.outcome.id == "weekly")
        assert weekly.curve.periods == tuple(f"week {k}" for k in range(1, 5))
        assert weekly.curve.n_during == 2
        assert weekly.curve.estimate[0, 1] > 0.2 > abs(weekly.curve.estimate[0, 3])
        assert set(weekly.q_values) == {"peers", "teacher"}
        facts = weekly.facts()
        assert facts["curve"]["kind"] == "persistence"
        assert "Q values over all outcomes" in found.summary()
    assert over_time_table(weekly).caption == "Effects on weekly over time"
    assert "week 3" in persistence_figure("curve", weekly).to_svg()


def test_what_decides_must_be_over(tmp_path: Path) -> None:
    text = STUDY.replace('event = "login"\n', 'event = "login"\nto_day = 20\n', 1)
    with memory_study(tmp_path, text, n_people=40) as desk:
        open_wave(desk.study, "one")
        desk.clock.now = datetime(2024, 3, 19, tzinfo=UTC)  # after the wave's window
        with pytest.raises(StateError, match="amend to_day"):
            close_wave(desk.study, "one")
