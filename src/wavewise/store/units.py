"""Units: who can be randomized, with what was known of them before."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime
from types import MappingProxyType

import polars as pl
from sqlalchemy import (
    Connection,
    Insert,
    Table,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    update,
)

from wavewise.errors import InputError
from wavewise.store.contacts import put_contacts
from wavewise.store.deliveries.receipts import ERASED, empty_messages
from wavewise.store.engine import Part
from wavewise.store.frames import append, insert_into, ready, scan, staged
from wavewise.store.opt_outs import add_opt_outs
from wavewise.store.outbox import cancel_messages
from wavewise.store.rows import to_us
from wavewise.store.schema import (
    contact,
    contact_change,
    former_unit,
    frozen_fact,
    measurement,
    opt_out,
    unit,
    unknown_opt_out,
)

__all__ = ["WHAT_ERASURE_DOES", "Units"]

_TYPES = {
    "unit_id": pl.String,
    "cluster": pl.String,
    "time_zone": pl.String,
    "language": pl.String,
    "fields_json": pl.String,
}
_MEASURED = {"unit_id": pl.String, "fields_json": pl.String}
_OPTIONAL = ("cluster", "time_zone", "language")


class Units(Part):
    """The units of a study; erased ones stay known as erased."""

    def add(
        self,
        frame: pl.DataFrame,
        imported_at: datetime,
        *,
        replace: bool = False,
        contacts: pl.DataFrame | None = None,
        channels: Sequence[str] = (),
    ) -> None:
        """Add units: all or none."""
        rows = ready(frame, _TYPES, optional=_OPTIONAL)
        n_repeated = rows.height - rows["unit_id"].n_unique()
        if n_repeated:
            raise InputError(f"found {n_repeated} repeated unit ids; needed one row per unit")
        rows = rows.with_columns(imported_at_utc_us=pl.lit(to_us(imported_at), pl.Int64))
        with self._writing() as connection:
            if replace:
                _replace(connection, rows, to_us(imported_at))
            else:
                _refuse_known(connection, rows)
                append(connection, unit, rows)
            if contacts is not None:
                put_contacts(
                    connection, contacts, imported_at, without=channels, of=rows["unit_id"]
                )

    def all(self) -> pl.DataFrame:
        """All units in the order of their ids."""
        types = {**_TYPES, "imported_at_utc_us": pl.Int64}
        with self._reading() as connection:
            frame = scan(connection, select(*(unit.c[name] for name in types)), types)
        return frame.sort("unit_id")

    def ids(self) -> pl.Series:
        """Ids of all units."""
        with self._reading() as connection:
            return scan(connection, select(unit.c.unit_id), {"unit_id": pl.String})["unit_id"]

    def has(self, unit_id: str) -> bool:
        """Whether a unit of this id is known."""
        query = select(unit.c.unit_id).where(unit.c.unit_id == unit_id)
        with self._reading() as connection:
            return connection.scalar(query) is not None

    def languages(self) -> pl.DataFrame:
        """Number of units of each language: language, n."""
        query = select(unit.c.language, func.count().label("n")).group_by(unit.c.language)
        with self._reading() as connection:
            return scan(connection, query, {"language": pl.String, "n": pl.Int64})

    def last_replacement(self) -> int:
        """Number of the last replacement of a unit's row; 0 where none was replaced."""
        with self._reading() as connection:
            return connection.scalar(select(func.max(former_unit.c.former_id))) or 0

    def as_of(self, replacement: int) -> pl.DataFrame:
        """Units that were replaced after that replacement, as they stood at it."""
        names = [*_TYPES, "imported_at_utc_us"]
        types = {**_TYPES, "imported_at_utc_us": pl.Int64, "former_id": pl.Int64}
        query = select(*(former_unit.c[name] for name in (*names, "former_id")))
        with self._reading() as connection:
            later = scan(connection, query.where(former_unit.c.former_id > replacement), types)
        first = later.sort("former_id").unique("unit_id", keep="first", maintain_order=True)
        return first.drop("former_id").sort("unit_id")

    def replaced(self) -> pl.DataFrame:
        """Every row that an import replaced, the first replaced first, with the time of it."""
        types = {**_TYPES, "imported_at_utc_us": pl.Int64, "replaced_at_utc_us": pl.Int64}
        query = select(*(former_unit.c[name] for name in types)).order_by(former_unit.c.former_id)
        with self._reading() as connection:
            return scan(connection, query, types)

    def measure(
        self,
        frame: pl.DataFrame,
        imported_at: datetime,
        *,
        as_of: date | None = None,
        for_wave: str | None = None,
    ) -> None:
        """Add columns of units as they were measured on a day, or for a wave: all or none."""
        rows = ready(frame, _MEASURED).with_columns(
            as_of=pl.lit(None if as_of is None else as_of.isoformat(), pl.String),
            for_wave=pl.lit(for_wave, pl.String),
            imported_at_utc_us=pl.lit(to_us(imported_at), pl.Int64),
        )
        with self._writing() as connection:
            append(connection, measurement, rows)

    def measurements(self) -> pl.DataFrame:
        """Columns that were measured again, the first imported first."""
        types = {
            "measurement_id": pl.Int64,
            **_MEASURED,
            "as_of": pl.String,
            "for_wave": pl.String,
            "imported_at_utc_us": pl.Int64,
        }
        query = select(*(measurement.c[name] for name in types))
        with self._reading() as connection:
            return scan(connection, query, types).sort("measurement_id")

    def time_zones(self) -> set[str]:
        """Time zones that units bring."""
        query = select(unit.c.time_zone).where(unit.c.time_zone.is_not(None)).distinct()
        with self._reading() as connection:
            return set(connection.scalars(query))

    def count(self) -> int:
        """Number of units."""
        with self._reading() as connection:
            return connection.scalar(select(func.count()).select_from(unit)) or 0

    def erase(
        self, unit_id: str, fields_json: str, erased_at: datetime, kept: Collection[str] = ()
    ) -> tuple[int, bool]:
        """Take out a unit's contact details, leave these fields, and refuse messages for it.

        Of its former rows the kept columns are left. Gives the number of contact details gone, and
        whether what the database held of the unit is overwritten.
        """
        values = {
            "opt_out_id": f"{ERASED}:{unit_id}",
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
            own = contact.c.unit_id == unit_id
            lookups = select(contact.c.lookup).where(own)
            connection.execute(delete(unknown_opt_out).where(unknown_opt_out.c.lookup.in_(lookups)))
            gone = connection.execute(delete(contact).where(own)).rowcount
            connection.execute(delete(contact_change).where(contact_change.c.unit_id == unit_id))
            connection.execute(
                update(unit).where(unit.c.unit_id == unit_id).values(fields_json=fields_json)
            )
            for table, key, column in _KEPT_PARTLY:
                _erase_partly(connection, table, key, column, unit_id, kept)
            add_opt_outs(connection, row, erased_at)
            cancel_messages(connection, ERASED, erased_at, unit_ids=[unit_id])
            empty_messages(connection, [unit_id])
        return gone, self._forget_old_rows()

    def erased(self) -> frozenset[str]:
        """Ids of erased units: their contact details are not taken again."""
        query = select(opt_out.c.unit_id).where(opt_out.c.source == ERASED)
        with self._reading() as connection:
            return frozenset(connection.scalars(query))

    def _forget_old_rows(self) -> bool:
        """Overwrite rows as they were: in SQLite's log of changes, among PostgreSQL's dead rows.

        Gives whether it was done: a reader that is still open keeps SQLite's log.
        """
        engine = self._database.engine
        if engine.dialect.name == "sqlite":
            with engine.connect() as plain, closing(plain.connection.cursor()) as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                busy, _, _ = cursor.fetchone() or (0, 0, 0)
                return not busy
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"VACUUM {', '.join(_HOLDING_TEXTS)}")
        return True


def _refuse_known(connection: Connection, rows: pl.DataFrame) -> None:
    known = scan(connection, select(unit.c.unit_id), {"unit_id": pl.String})
    n_known = rows.join(known, on="unit_id", how="semi").height
    if n_known:
        raise InputError(
            f"found {n_known} of {rows.height} units imported already; needed new ones; "
            "nothing was imported; leave them out, or replace them with --replace"
        )


def _replace(connection: Connection, rows: pl.DataFrame, at: int) -> None:
    with staged(connection, unit) as stage:
        append(connection, stage, rows)
        _keep_former(connection, stage, at)
        connection.execute(_upsert(connection, stage, rows.columns))


def _keep_former(connection: Connection, stage: Table, at: int) -> None:
    """Rows that the stage changes stay as they were, as of the time of their replacement."""
    names = [column.name for column in unit.columns]
    differs = or_(*(stage.c[name].is_distinct_from(unit.c[name]) for name in _TYPES))
    changed = select(*(unit.c[name] for name in names), literal(at)).where(
        stage.c.unit_id == unit.c.unit_id, differs
    )
    target = [*names, "replaced_at_utc_us"]
    connection.execute(insert(former_unit).from_select(target, changed.order_by(unit.c.unit_id)))


def _upsert(connection: Connection, stage: Table, names: list[str]) -> Insert:
    # "WHERE true" keeps SQLite from reading ON CONFLICT as part of a join.
    new_rows = select(*(stage.c[name] for name in names)).where(true())
    statement = insert_into(connection, unit).from_select(names, new_rows)
    changed = {name: statement.excluded[name] for name in names if name != "unit_id"}
    return statement.on_conflict_do_update(index_elements=["unit_id"], set_=changed)


# What a unit's erasure takes out of the database.

# Every table that names units, and what becomes of an erased unit's rows; a test knows the schema.
WHAT_ERASURE_DOES: Mapping[str, str] = MappingProxyType(
    {
        "contact": "deleted",
        "contact_change": "deleted",
        "unit": "columns that only messages show are emptied",
        "former_unit": "columns that only messages show are emptied",
        "measurement": "columns that only messages show are emptied",
        "frozen_fact": "columns that only messages show are emptied",
        "outbox": "text and the provider's name for the message are emptied; its fate stays",
        "opt_out": "stays, so that nothing is sent or imported again",
        "opt_in": "stays; it takes back no erasure",
        "assignment": "stays: the comparison needs it",
        "enrolment_unit": "stays: who was asked, and who agreed, without a word of theirs",
        "event": "stays: a kind, a time and a number, of which outcomes are made",
        "outcome": "stays: the comparison needs it",
        "score_delivery": "stays: a number and a date, of which outcomes are made",
        "frozen_score": "stays: the outcome of a closed wave is made of it",
        "former_outcome": "stays: an earlier version of the outcomes of a wave",
        "former_score": "stays: an earlier version of the outcomes is made of it",
        "correction": "stays: what an event or a score said before it was corrected",
    }
)


_HOLDING_TEXTS = (
    "contact", "contact_change", "unit", "former_unit", "measurement", "frozen_fact", "outbox",
    "receipt",
)  # fmt: skip


# Tables of which an erased unit keeps some columns: the key beside its id, the JSON column.
_KEPT_PARTLY = (
    (former_unit, "former_id", "fields_json"),
    (measurement, "measurement_id", "fields_json"),
    (frozen_fact, "wave_id", "values_json"),
)


def _erase_partly(
    connection: Connection, table: Table, key: str, column: str, unit_id: str, kept: Collection[str]
) -> None:
    own = table.c.unit_id == unit_id
    query = select(table.c[key], table.c[column]).where(own)
    for which, text in connection.execute(query).all():
        left = {name: x if name in kept else None for name, x in json.loads(text).items()}
        connection.execute(
            update(table)
            .where(own, table.c[key] == which)
            .values({column: json.dumps(left, ensure_ascii=False)})
        )
