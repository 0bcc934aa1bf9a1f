"""Encrypted contact details: what the database cannot read, and nothing else of the unit."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, and_, bindparam, delete, func, select, true, update
from sqlalchemy.exc import SQLAlchemyError

from wavewise.errors import InputError
from wavewise.store.deliveries.receipts import ERASED
from wavewise.store.engine import Part, broken_rule
from wavewise.store.frames import append, insert_into, n_inserted, ready, scan, staged
from wavewise.store.opt_outs import apply_unknown
from wavewise.store.rows import to_us
from wavewise.store.schema import contact, contact_change, opt_out, unknown_opt_out

__all__ = ["Contacts", "put_contacts"]

_KEY = ("unit_id", "channel")
_TYPES = dict.fromkeys((*_KEY, "key_id", "encrypted", "lookup"), pl.String)
_FORMER = dict.fromkeys(
    ("change_id", "unit_id", "channel", "former_key_id", "former_encrypted"), pl.String
)
_IDS_A_QUERY = 500


class Contacts(Part):
    """Encrypted contact details, and their changes."""

    def put(
        self,
        frame: pl.DataFrame,
        imported_at: datetime,
        *,
        channels: Sequence[str] = (),
        of: pl.Series | None = None,
    ) -> None:
        """Add contact details, or put them in the place of those of the same unit and channel."""
        with self._writing() as connection:
            put_contacts(connection, frame, imported_at, without=channels, of=of)

    def find(
        self, channel: str | None = None, unit_ids: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Encrypted contact details, in the order of units and channels."""
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

    def units(self, channel: str) -> pl.Series:
        """Ids of the units that have an address on a channel, in no order."""
        query = select(contact.c.unit_id).where(contact.c.channel == channel)
        with self._reading() as connection:
            return scan(connection, query, {"unit_id": pl.String})["unit_id"]

    def imported(self, unit_ids: Sequence[str]) -> pl.DataFrame:
        """When the newest contact detail of units came: unit_id, imported_at_utc_us."""
        types = {"unit_id": pl.String, "imported_at_utc_us": pl.Int64}
        query = select(contact.c.unit_id, func.max(contact.c.imported_at_utc_us))
        query = query.group_by(contact.c.unit_id)
        with self._reading() as connection:
            parts = [
                scan(connection, query.where(contact.c.unit_id.in_(ids)), types)
                for ids in _parts(list(unit_ids))
            ]
        return pl.concat([pl.DataFrame(schema=types), *parts])

    def shared(self) -> pl.DataFrame:
        """Units at contact details of several (unit_id, channel, detail); they stay closed."""
        keys = (contact.c.channel, contact.c.lookup)
        several = select(*keys).group_by(*keys).having(func.count() > 1).subquery()
        query = select(contact.c.unit_id, contact.c.channel, contact.c.lookup.label("detail")).join(
            several, and_(*(key == several.c[key.name] for key in keys))
        )
        with self._reading() as connection:
            return scan(connection, query, dict.fromkeys((*_KEY, "detail"), pl.String))

    def at(self, lookups: Sequence[str]) -> pl.DataFrame:
        """Units and channels whose blind index is one of these: columns unit_id, channel."""
        query = select(*(contact.c[name] for name in _KEY))
        with self._reading() as connection:
            found = scan(
                connection,
                query.where(contact.c.lookup.in_(list(lookups))),
                {name: _TYPES[name] for name in _KEY},
            )
        return found.sort(_KEY)

    def reencrypt(self, reencrypt_rows: Callable[[pl.DataFrame], pl.DataFrame]) -> int:
        """Write all contact details anew in one transaction; gives their number."""
        with self._writing() as connection:
            types = {**_TYPES, "imported_at_utc_us": pl.Int64}
            rows = scan(connection, select(*(contact.c[name] for name in types)), types)
            # Only what was encrypted changes: the day of the import stays.
            reencrypted = reencrypt_rows(rows.select(list(_TYPES)))
            whole = reencrypted.with_columns(rows["imported_at_utc_us"])
            connection.execute(delete(contact))
            append(connection, contact, whole.sort(_KEY))
            _reencrypt_former(connection, reencrypt_rows)
            _reencrypt_unknown(connection, reencrypt_rows)
        return rows.height

    def counts(self) -> dict[str, int]:
        """Number of contact details by channel."""
        query = select(contact.c.channel)
        with self._reading() as connection:
            found = scan(connection, query, {"channel": pl.String})
        return dict(sorted(found["channel"].value_counts().iter_rows()))

    def change(self, encrypted: pl.DataFrame, change_id: str, source: str, at: datetime) -> bool:
        """Put one contact detail in the place of another, and keep that it was done.

        Gives whether it was: a change that is known already is not done twice.
        """
        row = ready(encrypted, _ENCRYPTED).row(0, named=True)
        own = (contact.c.unit_id == row["unit_id"], contact.c.channel == row["channel"])
        with self._writing() as connection:
            former = connection.execute(
                select(contact.c.key_id, contact.c.encrypted).where(*own).with_for_update()
            ).one_or_none()
            values = {
                "change_id": change_id,
                "unit_id": row["unit_id"],
                "channel": row["channel"],
                "source": source,
                "at_utc_us": to_us(at),
                "former_key_id": None if former is None else former.key_id,
                "former_encrypted": None if former is None else former.encrypted,
            }
            statement = insert_into(connection, contact_change).values(values)
            if not n_inserted(connection, statement.on_conflict_do_nothing()):
                return False
            put_contacts(connection, encrypted, at)
            return True

    def changes(self, unit_id: str | None = None) -> pl.DataFrame:
        """Changes in the order of time, of one unit or of all."""
        query = select(*(contact_change.c[name] for name in _CHANGES))
        if unit_id is not None:
            query = query.where(contact_change.c.unit_id == unit_id)
        with self._reading() as connection:
            return scan(connection, query, _CHANGES).sort("at_utc_us", "change_id")


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
    erased = select(opt_out.c.unit_id).where(opt_out.c.source == ERASED)
    without_address = scan(connection, erased, {"unit_id": pl.String})
    rows = rows.join(
        without_address, on="unit_id", how="anti"
    )  # whoever asks: an erased unit has no address
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
        apply_unknown(connection, imported_at)
    except (SQLAlchemyError, connection.dialect.loaded_dbapi.Error) as error:
        if broken_rule(error) != "unknown reference":
            raise
        raise InputError(
            "found contact details of units that are not known; needed imported units only; "
            "nothing was written; import the people first"
        ) from None


def _reencrypt_former(
    connection: Connection, reencrypt_rows: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    """Encrypt what was there before changes with another key, in the caller's transaction."""
    query = select(*(contact_change.c[name] for name in _FORMER)).where(
        contact_change.c.former_encrypted.is_not(None)
    )
    rows = scan(connection, query, _FORMER)
    if rows.is_empty():
        return
    old = rows.select(
        "unit_id",
        "channel",
        key_id="former_key_id",
        encrypted="former_encrypted",
        lookup=pl.lit(""),
    )
    new = reencrypt_rows(old).select("key_id", "encrypted").rows()
    values = [
        {"row": change, "key": key_id, "text": encrypted}
        for change, (key_id, encrypted) in zip(rows["change_id"], new, strict=True)
    ]
    statement = update(contact_change).where(contact_change.c.change_id == bindparam("row"))
    connection.execute(
        statement.values(former_key_id=bindparam("key"), former_encrypted=bindparam("text")), values
    )


def _reencrypt_unknown(
    connection: Connection, reencrypt_rows: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    """Encrypt the addresses that nobody has with another key, in the caller's transaction."""
    table = unknown_opt_out
    names = {"opt_out_id": "unit_id", **dict.fromkeys(("channel", "key_id", "encrypted", "lookup"))}
    query = select(*(table.c[name].label(label or name) for name, label in names.items()))
    rows = scan(connection, query, _TYPES)
    if rows.is_empty():
        return
    values = [
        {"row": one["unit_id"], **{f"new_{n}": one[n] for n in ("key_id", "encrypted", "lookup")}}
        for one in reencrypt_rows(rows).iter_rows(named=True)
    ]
    if values:
        new: dict[str, Any] = {
            name: bindparam(f"new_{name}") for name in ("key_id", "encrypted", "lookup")
        }
        connection.execute(
            update(table).where(table.c.opt_out_id == bindparam("row")).values(new), values
        )


def _parts(ids: list[str]) -> list[list[str]]:
    return [ids[i : i + _IDS_A_QUERY] for i in range(0, len(ids), _IDS_A_QUERY)]


# Contact details that people changed: when, and what was there before, encrypted.

_CHANGES = {
    **dict.fromkeys(("change_id", "unit_id", "channel", "source"), pl.String),
    "at_utc_us": pl.Int64,
    **dict.fromkeys(("former_key_id", "former_encrypted"), pl.String),
}
_ENCRYPTED = dict.fromkeys(("unit_id", "channel", "key_id", "encrypted", "lookup"), pl.String)
