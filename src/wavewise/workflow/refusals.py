"""Refusals from any side: kept as data, and what is queued is cancelled with them."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import polars as pl

from wavewise.errors import InputError, UnavailableError
from wavewise.fieldwork.key_ring import KeyRing
from wavewise.fieldwork.stop_words import is_refusal, is_resumption
from wavewise.store.resumptions import AT_PROVIDER, START_WORD
from wavewise.store.rows import to_us
from wavewise.workflow.contacts import ContactBook
from wavewise.workflow.done import Done
from wavewise.workflow.keys import KEY_FILE, find_key_ring
from wavewise.workflow.study import Study

__all__ = [
    "Source",
    "inbound_message",
    "needed_ring",
    "refuse",
    "refuse_address",
    "refuse_by_hand",
    "unsubscribe",
]

Source = Literal[
    "stop keyword", "provider block", "opt-out call", "unsubscribe link", "by hand", "erasure"
]


def refuse(
    study: Study,
    unit_ids: Sequence[str],
    source: Source,
    reference: str,
    *,
    channel: str | None = None,
    at: datetime | None = None,
) -> int:
    """Keep the refusals of units and cancel what is queued for them; gives the number of new ones.

    Parameters
    ----------
    study : Study
        An open study.
    unit_ids : sequence of str
        Units, such as all of a household that share a number.
    source : str
        Where the refusal came from.
    reference : str
        The provider's id of the message or call; the same one counts once.
    channel : str, optional
        The channel that is refused. None, as for everything that a person says, refuses all.
    at : datetime, optional
        When it was said; now by default.
    """
    moment = study.clock() if at is None else at
    rows = pl.DataFrame(
        {
            "refusal_id": [f"{source}:{reference}:{unit}" for unit in unit_ids],
            "unit_id": list(unit_ids),
            "channel": [channel] * len(unit_ids),
            "source": [source] * len(unit_ids),
            "at_utc_us": [to_us(moment)] * len(unit_ids),
        },
        schema_overrides={"unit_id": pl.String, "channel": pl.String, "refusal_id": pl.String},
    )
    return study.store.add_refusals(rows, received_at=study.clock())


def refuse_by_hand(study: Study, unit_id: str, channel: str | None = None) -> Done:
    """Keep a refusal that came by another way, such as a word at the school's gate.

    Raises
    ------
    InputError
        There is no such unit.
    """
    if not study.store.units().filter(unit_id=unit_id).height:
        raise InputError("found no unit of this id; needed an imported one; nothing was changed")
    now = study.clock()
    n_new = refuse(study, [unit_id], "by hand", f"{to_us(now)}", channel=channel, at=now)
    scope = channel or "all channels"
    text = f"Refusal kept for {scope}; what was queued is cancelled. Its arm and outcomes stay."
    return Done(text, {"n_new": n_new, "channel": channel})


def needed_ring(key_file: Path | None = None) -> KeyRing:
    """The key ring, without which an address says nothing.

    Raises
    ------
    UnavailableError
        There is none.
    """
    ring = find_key_ring(key_file)
    if ring is None:
        raise UnavailableError(
            f"found no key file; needed one to know whose number or link this is; start with "
            f"--key-file FILE or set {KEY_FILE}"
        )
    return ring


def refuse_address(
    study: Study,
    ring: KeyRing,
    channel: str,
    address: str,
    source: Source,
    reference: str,
    *,
    only_channel: bool = False,
) -> dict[str, int]:
    """Keep the refusal of whoever has an address; gives numbers of units and of new refusals."""
    units = ContactBook(study.store, ring).units_at(channel, address)
    refused = channel if only_channel else None
    n_new = refuse(study, units, source, reference, channel=refused) if units else 0
    return {"n_units": len(units), "n_new": n_new}


def inbound_message(
    study: Study,
    ring: KeyRing,
    channel: str,
    address: str,
    text: str,
    reference: str,
    *,
    provider_refuses: bool = False,
    provider_resumes: bool = False,
) -> dict[str, int]:
    """What becomes of a message from a unit: a refusal, its end, or an event ``answer``.

    Parameters
    ----------
    study : Study
        An open study.
    ring : KeyRing
        The keys.
    channel, address : str
        Where it came from.
    text : str
        What it says; never kept.
    reference : str
        The provider's id of it: the same message counts once.
    provider_refuses : bool
        Whether the provider took it for a refusal already.
    provider_resumes : bool
        Whether the provider took it for the end of one, and lifted its own block.
    """
    words = study.spec.keywords
    if provider_refuses or is_refusal(text, words.stop):
        done = refuse_address(study, ring, channel, address, "stop keyword", reference)
        return {**done, "n_answers": 0, "n_resumed": 0}
    units = ContactBook(study.store, ring).units_at(channel, address)
    if provider_resumes or is_resumption(text, words.start):
        n = _resume(study, units, channel, reference, at_provider=provider_resumes)
        if n is not None:
            return {"n_units": len(units), "n_new": 0, "n_answers": 0, "n_resumed": n}
    now = study.clock()
    rows = pl.DataFrame(
        {
            "event_id": [f"answer:{reference}:{unit}" for unit in units],
            "unit_id": list(units),
            "kind": ["answer"] * len(units),
            "at_utc_us": [to_us(now)] * len(units),
            "item": [channel] * len(units),
        },
        schema_overrides={"event_id": pl.String, "unit_id": pl.String},
    )
    known = study.store.add_events(rows, received_at=now) if units else None
    n_answers = known.n_new if known else 0
    return {"n_units": len(units), "n_new": 0, "n_answers": n_answers, "n_resumed": 0}


def _resume(
    study: Study, units: Sequence[str], channel: str, reference: str, *, at_provider: bool
) -> int | None:
    """Keep that units take refusals by word back, on one channel; gives the number of new ones.

    What was cancelled stays cancelled. None where nobody there refuses, so that it is an answer.
    """
    refusing = set(study.store.refused_units(channel)) & set(units)
    known = set(study.store.resumptions()["resumption_id"])
    rows = [
        {
            "resumption_id": f"start:{reference}:{unit}",
            "unit_id": unit,
            "channel": channel,
            "source": AT_PROVIDER if at_provider else START_WORD,
            "at_utc_us": to_us(study.clock()),
        }
        for unit in units
        if unit in refusing or f"start:{reference}:{unit}" in known
    ]
    return study.store.add_resumptions(pl.DataFrame(rows), study.clock()) if rows else None


def unsubscribe(study: Study, ring: KeyRing, token: str) -> int | None:
    """Keep the refusal that a link asks for; None where the link is not ours."""
    unit = ring.unit_of_token(token)
    if unit is None:
        return None
    return refuse(study, [unit], "unsubscribe link", "link")
