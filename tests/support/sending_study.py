"""A study folder whose messages are due now, sent to a web address."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from wavewise.store import Store
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.study import Study, open_study

STUDY = """
[study]
id = "sending"
title = "Messages due now"
seed = 5
time_zone = "UTC"

[units]
id = "parent_id"
fields = ["child_name"]
{units}

[[messages]]
id = "peers"
channel = "{channel}"
text.en = "Many practise. And {{child_name}}?"

[[messages]]
id = "teacher"
channel = "{channel}"
text.en = "{{child_name}} has homework."
text.es = "{{child_name}} tiene tarea."

[schedules.once]
days = ["{day}"]
at = "{at}"

[[outcomes]]
id = "login"
kind = "any"
event = "login"

[[waves]]
id = "one"
starts = {starts}
window_days = 14
schedule = "once"
arms = ["peers", "teacher"]
"""


def make_sending_study(
    folder: Path,
    n_units: int,
    channels: str,
    *,
    channel: str = "webhook",
    units: str = "",
    more: dict[str, list[str]] | None = None,
    later: str = "",
    store_url: str | None = None,
) -> Path:
    """A study with an open wave, every unit due one message since two minutes ago."""
    folder.mkdir(parents=True, exist_ok=True)
    due = datetime.now(UTC) - timedelta(minutes=2)
    text = STUDY.format(
        channel=channel,
        units=units,
        day=f"{due:%a}".lower(),
        at=f"{due:%H:%M}",
        starts=f"{due:%Y-%m-%d}",
    )
    (folder / "study.toml").write_text(text + later, encoding="utf-8")
    (folder / "channels.toml").write_text(channels, encoding="utf-8")
    frame = {"parent_id": [f"p{i:06d}" for i in range(n_units)], "child_name": ["Ana"] * n_units}
    pl.DataFrame({**frame, **(more or {})}).write_csv(folder / "people.csv")
    with open_study(folder, store_url=store_url) as study:
        register(study)
        import_people(study, folder / "people.csv")
        open_wave(study, "one")
    return folder


def outbox(folder: Path, store_url: str | None = None) -> pl.DataFrame:
    """The outbox's rows."""
    url = store_url or f"sqlite:///{folder / 'study.db'}"
    with Store.open(url) as store:
        return store.deliveries.rows()


def by_state(rows: pl.DataFrame) -> dict[str, int]:
    """Number of messages by state."""
    return dict(rows["state"].value_counts().iter_rows())


__all__ = ["Study", "by_state", "make_sending_study", "outbox"]
