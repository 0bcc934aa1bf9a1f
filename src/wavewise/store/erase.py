"""What a unit's erasure takes out of the database."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

import polars as pl
from sqlalchemy import Connection, delete, or_, select, update

from wavewise.errors import InputError
from wavewise.store.contact_schema import contact, contact_change, refusal
from wavewise.store.database import Database
from wavewise.store.outbox import cancel_messages
from wavewise.store.refusals import add_refusals
from wavewise.store.rows import to_us
from wavewise.store.schema import unit
from wavewise.store.schema_outbox import outbox, receipt

__all__ = ["ERASED", "WHAT_ERASURE_DOES", "Erasure"]

ERASED = "erasure"

# Every table that names units, and what becomes of an erased unit's rows; a test knows the schema.
WHAT_ERASURE_DOES: Mapping[str, str] = MappingProxyType(
    {
        "contact": "deleted",
        "contact_change": "deleted",
        "unit": "columns that only messages show are emptied",
        "outbox": "text and the provider's name for the message are emptied; its fate stays",
        "refusal": "stays, so that nothing is sent or imported again",
        "resumption": "stays; it takes back no erasure",
        "assignment": "stays: the comparison needs it",
        "event": "stays: a kind, a time and a number, of which outcomes are made",
        "outcome": "stays: the comparison needs it",
        "score_delivery": "stays: a number and a date, of which outcomes are made",
        "frozen_score": "stays: the outcome of a closed wave is made of it",
    }
)


class Erasure(Database):
    """Erasure of what identifies a unit: :data:`WHAT_ERASURE_DOES`."""

    def erase_unit(self, unit_id: str, fields_json: str, erased_at: datetime) -> int:
        """Take out a unit's contact details, leave these fields, and refuse messages for it.

        Gives the number of contact details that were taken out.

        Raises
        ------
        InputError
            There is no such unit.
        """
        values = {
            "refusal_id": f"{ERASED}:{unit_id}",
            "unit_id": unit_id,
            "channel": None,
            "source": ERASED,
            "at_utc_us": to_us(erased_at),
        }
        row = pl.DataFrame([values], schema_overrides={"channel": pl.String})
        with self._writing() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete = ON")  # freed pages are zeroed
            if connection.scalar(select(unit.c.unit_id).where(unit.c.unit_id == unit_id)) is None:
                raise InputError(
                    "found no unit of this id; needed an imported one; nothing was erased; "
                    "ids are kept exactly as written, with leading zeros"
                )
            gone = connection.execute(delete(contact).where(contact.c.unit_id == unit_id)).rowcount
            connection.execute(delete(contact_change).where(contact_change.c.unit_id == unit_id))
            connection.execute(
                update(unit).where(unit.c.unit_id == unit_id).values(fields_json=fields_json)
            )
            add_refusals(connection, row, erased_at)
            cancel_messages(connection, ERASED, erased_at, unit_ids=[unit_id])
            _empty_messages(connection, unit_id)
        self._forget_old_pages()
        return gone

    def erased_units(self) -> frozenset[str]:
        """Ids of erased units: their contact details are not taken again."""
        query = select(refusal.c.unit_id).where(refusal.c.source == ERASED)
        with self._reading() as connection:
            return frozenset(connection.scalars(query))

    def _forget_old_pages(self) -> None:
        """SQLite's log of changes still holds the rows as they were: empty it."""
        if self._engine.dialect.name != "sqlite":
            return
        with self._engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _empty_messages(connection: Connection, unit_id: str) -> None:
    """Leave of a unit's messages their fate alone; receipts have told theirs already.

    What a provider calls a message leads to its log, and with it to the number.
    """
    own = outbox.c.unit_id == unit_id
    same_name = (outbox.c.channel == receipt.c.channel) & (
        outbox.c.provider_id == receipt.c.provider_id
    )
    same_key = outbox.c.message_key == receipt.c.message_key
    of_unit = select(outbox.c.outbox_id).where(own, or_(same_name, same_key)).exists()
    connection.execute(delete(receipt).where(of_unit))
    connection.execute(update(outbox).where(own).values(content_json="{}", provider_id=None))
