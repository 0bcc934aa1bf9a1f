"""In which words messages were queued and sent, by version of the plan."""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime

import polars as pl

from wavewise.design.enrolment import ENROLMENT, Enrolment
from wavewise.design.messages import Message
from wavewise.design.parse import parse_spec
from wavewise.design.spec import StudySpec
from wavewise.store.rows import from_us
from wavewise.workflow.study import Study

__all__ = ["REWORDED", "queued_in_old_words", "wording_hash", "wording_table"]


# What names messages that are queued anew.
REWORDED = ("wave_id", "arm", "slot", "message_id", "wording_hash")


def wording_hash(spec: StudySpec, message: Message) -> str:
    """SHA-256 of what a message says: texts, fields, fallbacks, its call flow."""
    unsaid = {"mechanism", "label"}
    flow = spec.flows.get(message.flow or "")
    said = {
        "message": message.model_dump(mode="json", exclude=unsaid, exclude_defaults=True),
        "flow": None if flow is None else flow.model_dump(mode="json", exclude_defaults=True),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def queued_in_old_words(study: Study, spec: StudySpec) -> pl.DataFrame:
    """Queued messages that a plan words otherwise, or does not send: wave, arm, slot, message, n.

    What was queued before wordings were kept is held against the version that is registered now.
    """
    queued = study.store.deliveries.queued_wordings()
    version = study.version
    before = study.spec if version is None else parse_spec(version.spec_toml)
    hashes = {one.id: wording_hash(before, one) for one in before.messages}
    wanted = dict(_wanted(spec, set(queued["wave_id"])))
    is_old = [
        wanted.get((wave, arm, slot % n_of(spec, wave, arm)))
        != (message, known or hashes.get(message))
        for wave, arm, slot, message, known in queued.select(REWORDED).iter_rows()
    ]
    return queued.filter(pl.Series(is_old, dtype=pl.Boolean))


def n_of(spec: StudySpec, wave_id: str, arm_id: str) -> int:
    """Number of messages in the sequence of an arm, or an enrolment; 1 where there is none."""
    sender = spec.sender(wave_id)
    if isinstance(sender, Enrolment):
        return len(sender.messages) or 1
    arms = {arm.id: arm for wave in spec.waves for arm in spec.arms_of(wave)}
    return len(arms[arm_id].sequence) or 1 if arm_id in arms else 1


def _wanted(
    spec: StudySpec, waves: set[str]
) -> Iterator[tuple[tuple[str, str, int], tuple[str, str]]]:
    """Wave, arm and place in its sequence: the message and its wording."""
    messages = {one.id: (one.id, wording_hash(spec, one)) for one in spec.messages}
    arms = {arm.id: arm for wave in spec.waves for arm in spec.arms_of(wave)}
    for wave_id in waves:
        wave = spec.sender(wave_id)
        if isinstance(wave, Enrolment):
            for place, name in enumerate(wave.messages):
                yield (wave_id, ENROLMENT, place), messages[name]
        elif wave is not None and wave.schedule is not None:
            for arm in arms.values():
                for place, name in enumerate(arm.sequence):
                    yield (wave_id, arm.id, place), messages[name]


def wording_table(study: Study, wave_id: str) -> pl.DataFrame:
    """Each wording of a wave's messages: its text, version, numbers and dates of sending.

    Columns message, version (0: none was registered), text, n_messages, n_sent, first_sent,
    last_sent.
    """
    versions = study.store.versions.all()
    numbers = {version.hash: version.number for version in versions}
    texts = {}
    for spec in (study.spec, *(parse_spec(version.spec_toml) for version in versions)):
        for message in spec.messages:
            texts[wording_hash(spec, message)] = _text(message)
    rows = [
        {
            "message": row["message_id"],
            "version": numbers.get(row["spec_hash"], 0),
            "text": texts.get(row["wording_hash"], "(its words were not kept)"),
            "n_messages": row["n"],
            "n_sent": row["n_out"],
            "first_sent": _day(row["first_us"]),
            "last_sent": _day(row["last_us"]),
        }
        for row in study.store.deliveries.wordings(wave_id).iter_rows(named=True)
    ]
    names = ("message", "version", "text", "n_messages", "n_sent", "first_sent", "last_sent")
    number = {"version", "n_messages", "n_sent"}
    schema = {name: pl.Int64 if name in number else pl.String for name in names}
    return pl.DataFrame(rows, schema=schema).sort("message", "version", "text")


def _text(message: Message) -> str:
    if message.flow is not None:
        return f"call flow {message.flow}"
    return " / ".join(f"{language}: {text}" for language, text in message.text.items())


def _day(at_us: int | None) -> str:
    moment: datetime | None = None if at_us is None else from_us(at_us)
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
