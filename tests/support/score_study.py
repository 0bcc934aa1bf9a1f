"""A small study with scores by period: two waves, two messages, a control, eight schools."""

from pathlib import Path

import numpy as np
import polars as pl

from study_folders import assignment, done

STUDY = """
[study]
id = "scores"
title = "Scores that come late"
seed = 11
time_zone = "Africa/Nairobi"

[units]
id = "phone_id"
name = "children"
strata = ["school"]
cluster = "school"

[[messages]]
id = "calls"
channel = "push"
text.en = "Read."

[[messages]]
id = "texts"
channel = "push"
text.en = "Read a text."

[schedules.weekly]
days = ["mon"]
at = "17:00"
weeks = 4

[[outcomes]]
id = "reading"
label = "reading fluency"
primary = true
kind = "score"
unit = "words a minute"
periods = ["E2", "M3", "E3"]
delivery = "latest"

[models.reading]
kind = "hierarchical normal"
outcome = "reading"
cluster = "school"

[[waves]]
id = "one"
units = { share = 0.5 }
starts = 2021-05-11
window_days = 30
schedule = "weekly"
control_share = 0.25
arms = ["calls", "texts"]

[[waves]]
id = "two"
units = "rest"
starts = 2021-06-14
window_days = 30
schedule = "weekly"
control_share = 0.25
arms = ["calls", "texts"]
shares = { rule = "exploration", model = "reading", learned_on = ["one"] }

[decision]
model = "reading"
learned_on = ["one", "two"]
"""
EFFECTS = {"calls": 6.0, "texts": 2.0, "control": 0.0}
STARTS = {"one": 1, "two": 2}
PERIODS = ("E2", "M3", "E3")


def make_score_study(folder: Path, n: int = 480, text: str = STUDY) -> Path:
    """A registered study folder with its people imported and its first wave open."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(text, encoding="utf-8")
    ids = [f"c{i:04d}" for i in range(n)]
    people = pl.DataFrame({"phone_id": ids, "school": [f"s{i % 8}" for i in range(n)]})
    people.write_csv(folder / "people.csv")
    done("register", folder)
    done("people", "import", folder, folder / "people.csv")
    done("wave", "open", folder, "one")
    return folder


def scores(folder: Path, wave: str, periods: tuple[str, ...] = PERIODS) -> pl.DataFrame:
    """True scores of a wave's units, a tenth of them missing; the same ones at every call."""
    drawn = assignment(folder, wave).sort("unit_id")
    rows = []
    for unit, arm in drawn.select("unit_id", "arm").iter_rows():
        rng = np.random.default_rng([3, int(unit[1:])])
        level = 45 + 5 * np.sin(int(unit[1:]) % 8) + rng.normal(0, 9)
        for place, period in enumerate(PERIODS):
            gain = EFFECTS[arm] if place >= STARTS[wave] else 0.0
            score = round(float(level + place + gain + rng.normal(0, 4)), 1)
            missing = rng.random() < 0.1
            if period in periods:
                rows.append((unit, period, None if missing else score))
    return pl.DataFrame(rows, schema=["phone_id", "period", "score"], orient="row")
