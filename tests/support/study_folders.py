"""Small study folders for tests, and a way to call the command line."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from typer.testing import CliRunner

from wavewise.cli import app
from wavewise.workflow.run import observe
from wavewise.workflow.run.observe import ClosedWave
from wavewise.workflow.study import Study

STUDY = """
[study]
id = "small"
title = "A small study"
seed = 5
time_zone = "America/Lima"

[units]
id = "parent_id"
name = "parents"
strata = ["active"]
levels = { active = ["yes", "no"] }
covariates = ["grade"]
fields = ["child_name"]
time_zone = "zone"

[[messages]]
id = "peers"
channel = "push"
text.en = "Many practise. And {child_name}?"

[[messages]]
id = "teacher"
channel = "push"
text.en = "Your teacher recommends it."

[schedules.weekly]
days = ["mon"]
at = "17:00"
weeks = 2

[[outcomes]]
id = "login"
primary = true
kind = "any"
event = "login"

[[outcomes]]
id = "minutes"
kind = "sum"
event = "session"
value = "minutes"

[models.login]
kind = "beta binomial"
outcome = "login"

[[waves]]
id = "one"
units = { share = 0.5 }
starts = 2024-03-04
window_days = 14
schedule = "weekly"
control_share = 0.25
arms = ["peers", "teacher"]

[[waves]]
id = "two"
units = "rest"
starts = 2024-04-01
window_days = 14
schedule = "weekly"
control_share = 0.25
arms = ["peers", "teacher"]
shares = { rule = "exploration", model = "login", learned_on = ["one"] }

[decision]
model = "login"
learned_on = ["one", "two"]
"""


@dataclass(frozen=True)
class Answer:
    """What a call of the command line gave."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        return json.loads(self.out)


# Waves of these studies lie in the past, and have events of some kinds only.
ALL_THE_SAME = (
    "--accept",
    "event-kinds",
    "--accept",
    "unmatched-ids",
    "--accept",
    "event-dates",
    "--reason",
    "a test",
)


def all_the_same(words: Sequence[object]) -> tuple[object, ...]:
    """The words of a call; waves are opened late and closed whatever events there are."""
    match tuple(words[:2]):
        case ("wave", "open"):
            return (*words, "--accept-late")
        case ("wave", "close") if "--accept" not in words:
            return (*words, *ALL_THE_SAME)
        case _:
            return tuple(words)


def call(*words: object) -> Answer:
    """Call the command line in this process."""
    result = CliRunner().invoke(app, [str(word) for word in all_the_same(words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def done(*words: object) -> Answer:
    """Call the command line; it must succeed."""
    answer = call(*words)
    assert answer.code == 0, answer.err
    return answer


def people(n: int = 400) -> pl.DataFrame:
    """Parents of the small study."""
    return pl.DataFrame(
        {
            "parent_id": [f"p{i:04d}" for i in range(n)],
            "active": ["yes" if i % 3 else "no" for i in range(n)],
            "grade": [1 + i % 6 for i in range(n)],
            "child_name": ["Ana"] * n,
            "zone": ["America/Lima" if i % 2 else "Europe/Madrid" for i in range(n)],
        }
    )


def make_study(folder: Path, n: int = 400, text: str = STUDY) -> Path:
    """A registered study folder with its people imported."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(text, encoding="utf-8")
    people(n).write_csv(folder / "people.csv")
    done("register", folder)
    done("people", "import", folder, folder / "people.csv")
    return folder


def events(folder: Path, assignment: pl.DataFrame, starts: str, name: str) -> Path:
    """A file of events: every second unit of a message logs in, every fourth of control."""
    rows = []
    for i, (unit, arm) in enumerate(assignment.select("unit_id", "arm").sort("unit_id").rows()):
        if i % (4 if arm == "control" else 2) == 0:
            rows.append((f"{name}-{i}-l", unit, "login", f"{starts}T12:00:00Z", None))
            rows.append((f"{name}-{i}-s", unit, "session", f"{starts}T12:05:00Z", 10.0 + i % 7))
    frame = pl.DataFrame(rows, schema=["event_id", "unit_id", "kind", "at", "value"], orient="row")
    path = folder / f"{name}.csv"
    frame.write_csv(path)
    return path


def assignment(folder: Path, wave: str) -> pl.DataFrame:
    """The stored assignment of a wave."""
    from wavewise.store import Store

    with Store.open(f"sqlite:///{folder / 'study.db'}") as store:
        return store.waves.assignment(wave)


def close_wave(study: Study, wave_id: str) -> ClosedWave:
    """Close a wave whatever kinds of events there are."""
    return observe.close_wave(
        study, wave_id, ("event-kinds", "unmatched-ids", "event-dates"), "a test"
    )
