"""Contact details that people changed: when, and what was there before, sealed."""

from datetime import datetime

import polars as pl
from sqlalchemy import select

from wavewise.store.bulk import ready, scan
from wavewise.store.conflicts import insert_into, n_inserted
from wavewise.store.contact_schema import contact, contact_change
from wavewise.store.contacts import put_contacts
from wavewise.store.database import Database
from wavewise.store.rows import to_us

__all__ = ["ContactChanges"]

_CHANGES = {
    **dict.fromkeys(("change_id", "unit_id", "channel", "source"), pl.String),
    "at_utc_us": pl.Int64,
    **dict.fromkeys(("former_key_id", "former_sealed"), pl.String),
}
_SEALED = dict.fromkeys(("unit_id", "channel", "key_id", "sealed", "lookup"), pl.String)


class ContactChanges(Database):
    """The table of changes of contact details."""

    def change_contact(
        self, sealed: pl.DataFrame, change_id: str, source: str, at: datetime
    ) -> bool:
        """Put one contact detail in the place of another, and keep that it was done.

        Gives whether it was: a change that is known already is not done twice.

        Parameters
        ----------
        sealed : DataFrame
            One row: unit_id, channel, key_id, sealed, lookup.
        change_id : str
            Names the change for good.
        source : str
            Where it came from, such as "call".
        at : datetime
            Now.

        Raises
        ------
        InputError
            The unit was not imported; nothing was written.
        """
        row = ready(sealed, _SEALED).row(0, named=True)
        own = (contact.c.unit_id == row["unit_id"], contact.c.channel == row["channel"])
        with self._writing() as connection:
            former = connection.execute(
                select(contact.c.key_id, contact.c.sealed).where(*own).with_for_update()
            ).one_or_none()
            values = {
                "change_id": change_id,
                "unit_id": row["unit_id"],
                "channel": row["channel"],
                "source": source,
                "at_utc_us": to_us(at),
                "former_key_id": None if former is None else former.key_id,
                "former_sealed": None if former is None else former.sealed,
            }
            statement = insert_into(connection, contact_change).values(values)
            if not n_inserted(connection, statement.on_conflict_do_nothing()):
                return False
            put_contacts(connection, sealed, at)
            return True

    def contact_changes(self, unit_id: str | None = None) -> pl.DataFrame:
        """Changes in the order of time, of one unit or of all.

        Returns
        -------
        DataFrame
            Columns change_id, unit_id, channel, source, at_utc_us, former_key_id, former_sealed.
        """
        query = select(*(contact_change.c[name] for name in _CHANGES))
        if unit_id is not None:
            query = query.where(contact_change.c.unit_id == unit_id)
        with self._reading() as connection:
            return scan(connection, query, _CHANGES).sort("at_utc_us", "change_id")
