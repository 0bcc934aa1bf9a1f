"""Sealed contact details: what the database cannot read, and nothing else of the unit."""

from collections.abc import Callable, Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, bindparam, delete, select, true, update
from sqlalchemy.exc import SQLAlchemyError

from wavewise.errors import InputError
from wavewise.store.bulk import append, ready, scan, staged
from wavewise.store.conflicts import insert_into
from wavewise.store.contact_schema import contact, contact_change
from wavewise.store.database import Database
from wavewise.store.problems import broken_rule
from wavewise.store.rows import to_us

__all__ = ["Contacts", "put_contacts"]

_KEY = ("unit_id", "channel")
_TYPES = dict.fromkeys((*_KEY, "key_id", "sealed", "lookup"), pl.String)
_FORMER = dict.fromkeys(
    ("change_id", "unit_id", "channel", "former_key_id", "former_sealed"), pl.String
)
_IDS_A_QUERY = 500


class Contacts(Database):
    """The table of contact details."""

    def put_contacts(
        self,
        frame: pl.DataFrame,
        imported_at: datetime,
        *,
        channels: Sequence[str] = (),
        of: pl.Series | None = None,
    ) -> None:
        """Add contact details, or put them in the place of those of the same unit and channel.

        Parameters
        ----------
        frame : DataFrame
            Columns unit_id, channel, key_id, sealed, lookup; one row a unit and channel.
        imported_at : datetime
            When they were imported.
        channels : sequence of str
            With ``of``: details of these channels that the frame does not hold are taken out.
        of : polars.Series, optional
            The units that ``channels`` is about.

        Raises
        ------
        InputError
            A unit was not imported; nothing was written.
        """
        with self._writing() as connection:
            put_contacts(connection, frame, imported_at, without=channels, of=of)

    def contacts(
        self, channel: str | None = None, unit_ids: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Sealed contact details, in the order of units and channels.

        Returns
        -------
        DataFrame
            Columns unit_id, channel, key_id, sealed, lookup.
        """
        query = select(*(contact.c[name] for name in _TYPES))
        if channel is not None:
            query = query.where(contact.c.channel == channel)
        with self._reading() as connection:
            if unit_ids is None:
                return scan(connection, query, _TYPES).sort(_KEY)
            parts = [
                scan(connection, query.where(contact.c.unit_id.in_(ids)), _TYPES)
                for ids in _parts(list(unit_ids))
            ]
        return pl.concat([pl.DataFrame(schema=_TYPES), *parts]).sort(_KEY)

    def contacted_units(self, channel: str) -> pl.Series:
        """Ids of the units that have an address on a channel, in no order."""
        query = select(contact.c.unit_id).where(contact.c.channel == channel)
        with self._reading() as connection:
            return scan(connection, query, {"unit_id": pl.String})["unit_id"]

    def contacts_at(self, lookups: Sequence[str]) -> pl.DataFrame:
        """Units and channels whose blind index is one of these: columns unit_id, channel."""
        query = select(*(contact.c[name] for name in _KEY))
        with self._reading() as connection:
            found = scan(
                connection,
                query.where(contact.c.lookup.in_(list(lookups))),
                {name: _TYPES[name] for name in _KEY},
            )
        return found.sort(_KEY)

    def reseal_contacts(self, reseal: Callable[[pl.DataFrame], pl.DataFrame]) -> int:
        """Write all contact details anew in one transaction; gives their number.

        Parameters
        ----------
        reseal : callable
            From the rows as :meth:`contacts` gives them to the same rows sealed with another key.
        """
        with self._writing() as connection:
            types = {**_TYPES, "imported_at_utc_us": pl.Int64}
            rows = scan(connection, select(*(contact.c[name] for name in types)), types)
            # Only what was sealed changes: the day of the import stays.
            resealed = reseal(rows.select(list(_TYPES)))
            whole = resealed.with_columns(rows["imported_at_utc_us"])
            connection.execute(delete(contact))
            append(connection, contact, whole.sort(_KEY))
            _reseal_former(connection, reseal)
        return rows.height

    def n_contacts(self) -> dict[str, int]:
        """Number of contact details by channel."""
        query = select(contact.c.channel)
        with self._reading() as connection:
            found = scan(connection, query, {"channel": pl.String})
        return dict(sorted(found["channel"].value_counts().iter_rows()))


def put_contacts(
    connection: Connection,
    frame: pl.DataFrame,
    imported_at: datetime,
    *,
    without: Sequence[str] = (),
    of: pl.Series | None = None,
) -> None:
    """Add or replace contact details in the caller's transaction.

    Where ``of`` is given, the details of these units on the channels ``without`` that the frame
    does not hold are taken out: the new file leaves them empty.
    """
    rows = ready(frame, _TYPES)
    if of is not None and without:
        for ids in _parts(of.to_list()):
            gone = contact.c.unit_id.in_(ids) & contact.c.channel.in_(list(without))
            connection.execute(delete(contact).where(gone))
    rows = rows.with_columns(imported_at_utc_us=pl.lit(to_us(imported_at), pl.Int64)).sort(_KEY)
    try:
        with staged(connection, contact) as stage:
            append(connection, stage, rows)
            names = rows.columns
            new_rows = select(*(stage.c[name] for name in names)).where(true())
            statement = insert_into(connection, contact).from_select(names, new_rows)
            changed = {name: statement.excluded[name] for name in names if name not in _KEY}
            connection.execute(
                statement.on_conflict_do_update(index_elements=list(_KEY), set_=changed)
            )
    except (SQLAlchemyError, connection.dialect.loaded_dbapi.Error) as error:
        if broken_rule(error) != "unknown reference":
            raise
        raise InputError(
            "found contact details of units that are not known; needed imported units only; "
            "nothing was written; import the people first"
        ) from None


def _reseal_former(connection: Connection, reseal: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Seal what was there before changes with another key, in the caller's transaction."""
    query = select(*(contact_change.c[name] for name in _FORMER)).where(
        contact_change.c.former_sealed.is_not(None)
    )
    rows = scan(connection, query, _FORMER)
    if rows.is_empty():
        return
    old = rows.select(
        "unit_id", "channel", key_id="former_key_id", sealed="former_sealed", lookup=pl.lit("")
    )
    new = reseal(old).select("key_id", "sealed").rows()
    values = [
        {"row": change, "key": key_id, "text": sealed}
        for change, (key_id, sealed) in zip(rows["change_id"], new, strict=True)
    ]
    statement = update(contact_change).where(contact_change.c.change_id == bindparam("row"))
    connection.execute(
        statement.values(former_key_id=bindparam("key"), former_sealed=bindparam("text")), values
    )


def _parts(ids: list[str]) -> list[list[str]]:
    return [ids[i : i + _IDS_A_QUERY] for i in range(0, len(ids), _IDS_A_QUERY)]
