"""A study of telephone calls that are due now, and what became of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from telephones import write_tone
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.workflow.contacts.contacts import encrypted_contacts
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.study import Study, open_study

STUDY = """
[study]
id = "calls"
title = "Calls due now"
seed = 5
time_zone = "UTC"

[units]
id = "phone_id"
fields = ["level"]
address = {{ voice = "phone" }}

[flows.reading]
start = "greeting"
steps.greeting.prompt = "greeting.wav"
steps.greeting.keys = {{ "1" = "exercise", "2" = "number", "9" = "stop" }}
steps.greeting.timeout_seconds = 3
steps.exercise = {{ prompt = "{{level}}/{{set}}.wav", event = "exercises_started" }}
steps.number = {{ prompt = "greeting.wav", collect = {{ least = 9, most = 12, next = "changed" }} }}
steps.changed = {{ prompt = "greeting.wav", action = "change number" }}
steps.stop = {{ prompt = "greeting.wav", action = "opt out" }}

[[messages]]
id = "T1"
channel = "voice"
flow = "reading"

[[messages]]
id = "T2"
channel = "voice"
flow = "reading"

[schedules.once]
days = ["{day}"]
at = "{at}"
attempts = {{ most = 2, every_hours = 2, call_back = true }}

[[outcomes]]
id = "engaged"
kind = "successes"
event = "exercises_started"
out_of = "sets"

[[waves]]
id = "one"
starts = {starts}
window_days = 3
schedule = "once"
arms = ["T1", "T2"]
"""
SIP = """
[voice]
provider = "sip"
user = "study"
domain = "127.0.0.1"
timeout_seconds = 120
concurrency = 2
ring_seconds = 1.5
sip_port = {sip}
control_port = {control}
rtp_port = {rtp}
"""


@contextmanager
def calling_study(
    folder: Path,
    channels: str,
    *,
    phones: Mapping[str, str] | None = None,
    ring: KeyRing | None = None,
) -> Iterator[Study]:
    """Phones that are due one call each since a minute ago; encrypted numbers if there is a key."""
    phones = phones or {"answers": "+1", "silent": "+1", "stops": "+1"}
    due = datetime.now(UTC) - timedelta(minutes=1)
    values = {"day": f"{due:%a}".lower(), "at": f"{due:%H:%M}", "starts": f"{due:%Y-%m-%d}"}
    (folder / "study.toml").write_text(STUDY.format(**values), encoding="utf-8")
    (folder / "channels.toml").write_text(channels, encoding="utf-8")
    write_tone(folder / "prompts" / "greeting.wav", 440.0, 0.6)
    write_tone(folder / "prompts" / "basic" / "1.wav", 880.0, 0.6)
    people = {
        "phone_id": list(phones),
        "level": ["basic"] * len(phones),
        "phone": list(phones.values()),
    }
    pl.DataFrame(people).write_csv(folder / "people.csv")
    with open_study(folder) as study:
        register(study)
        import_people(study, folder / "people.csv")
        if ring is not None:
            ids = pl.Series(list(phones))
            encrypted = encrypted_contacts(ids, {"voice": pl.Series(list(phones.values()))}, ring)
            study.store.contacts.put(encrypted, study.clock(), channels=["voice"], of=ids)
        open_wave(study, "one")
        yield study


class Book:
    """Addresses of units."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = known

    def addresses(self, channel: str, unit_ids: Sequence[str]) -> dict[str, str]:
        return {unit: self._known[unit] for unit in unit_ids if unit in self._known}


def states(study: Study) -> dict[str, tuple[str, str | None]]:
    rows = study.store.deliveries.rows().select("unit_id", "state", "reason")
    return {unit: (state, reason) for unit, state, reason in rows.iter_rows()}
