"""Contact details that people changed in calls: shown, and put back where one was mistyped."""

from pathlib import Path

import polars as pl

from wavewise.errors import InputError
from wavewise.fieldwork.key_ring import KeyRing
from wavewise.store.rows import from_us, to_us
from wavewise.workflow.contacts import sealed_contacts
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.keys import key_ring
from wavewise.workflow.study import Study

__all__ = ["list_changes", "restore_contact"]

RESTORED = "restored by hand"


def list_changes(study: Study) -> Done:
    """Changes of contact details, without the details."""
    rows = study.store.contact_changes()
    shown = [
        (unit, channel, source, f"{from_us(at):%Y-%m-%d %H:%M}")
        for unit, channel, source, at in rows.select(
            "unit_id", "channel", "source", "at_utc_us"
        ).iter_rows()
    ]
    names = ("unit", "channel", "source", "at")
    text = text_table(list(names), shown) if shown else "No contact detail was changed in a call."
    return Done(text, {"changes": [dict(zip(names, row, strict=True)) for row in shown]})


def restore_contact(
    study: Study, unit_id: str, *, key_file: Path | None = None, ring: KeyRing | None = None
) -> Done:
    """Put back what was there before a unit's last change; this is kept as a change, too.

    Raises
    ------
    InputError
        There is nothing to put back, or no key.
    """
    changes = study.store.contact_changes(unit_id).filter(pl.col("former_sealed").is_not_null())
    if changes.is_empty():
        raise InputError(
            "found no change of this unit's contact details; needed one that `wavewise contacts "
            "changes DIR` lists; nothing was changed"
        )
    keys = ring or key_ring(key_file)
    last = changes.row(-1, named=True)
    channel = last["channel"]
    detail = keys.open(unit_id, channel, last["former_key_id"], last["former_sealed"])
    sealed = sealed_contacts(pl.Series([unit_id]), {channel: pl.Series([detail])}, keys)
    now = study.clock()
    study.store.change_contact(sealed, f"restored:{unit_id}:{to_us(now)}", RESTORED, now)
    when = f"{from_us(last['at_utc_us']):%Y-%m-%d %H:%M} UTC"
    text = f"The {channel} contact detail is again what it was before the change of {when}."
    return Done(text, {"channel": channel, "undone_change": when})
