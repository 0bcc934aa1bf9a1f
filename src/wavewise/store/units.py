"""Units: who can be randomized, with what was known of them before."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Insert, Table, func, select, true

from wavewise.errors import InputError
from wavewise.store.bulk import append, ready, scan, staged
from wavewise.store.conflicts import insert_into
from wavewise.store.contacts import put_contacts
from wavewise.store.database import Database
from wavewise.store.rows import to_us
from wavewise.store.schema import unit

__all__ = ["Units"]

_TYPES = {
    "unit_id": pl.String,
    "cluster": pl.String,
    "time_zone": pl.String,
    "language": pl.String,
    "fields_json": pl.String,
}
_OPTIONAL = ("cluster", "time_zone", "language")


class Units(Database):
    """The units' table."""

    def add_units(
        self,
        frame: pl.DataFrame,
        imported_at: datetime,
        *,
        replace: bool = False,
        contacts: pl.DataFrame | None = None,
        channels: Sequence[str] = (),
    ) -> None:
        """Add units: all or none.

        Parameters
        ----------
        frame : DataFrame
            Columns unit_id, fields_json and, where there are any, cluster, time_zone, language;
            one row a unit.
        imported_at : datetime
            When they were imported.
        replace : bool
            Whether units that are there already take the new row; the others stay.
        contacts : DataFrame, optional
            Their sealed contact details, as :meth:`Store.put_contacts` takes them: written with the
            units, or not at all.
        channels : sequence of str
            Channels that the file speaks of: what it leaves empty there is taken out.

        Raises
        ------
        InputError
            An id is repeated, or is there already and ``replace`` is False.
        """
        rows = ready(frame, _TYPES, optional=_OPTIONAL)
        n_repeated = rows.height - rows["unit_id"].n_unique()
        if n_repeated:
            raise InputError(f"found {n_repeated} repeated unit ids; needed one row a unit")
        rows = rows.with_columns(imported_at_utc_us=pl.lit(to_us(imported_at), pl.Int64))
        with self._writing() as connection:
            if replace:
                _replace(connection, rows)
            else:
                _refuse_known(connection, rows)
                append(connection, unit, rows)
            if contacts is not None:
                put_contacts(
                    connection, contacts, imported_at, without=channels, of=rows["unit_id"]
                )

    def units(self) -> pl.DataFrame:
        """All units in the order of their ids.

        Returns
        -------
        DataFrame
            Columns unit_id, cluster, time_zone, language, fields_json, imported_at_utc_us.
            :func:`wavewise.store.packed.unpack` opens the fields.
        """
        types = {**_TYPES, "imported_at_utc_us": pl.Int64}
        with self._reading() as connection:
            frame = scan(connection, select(*(unit.c[name] for name in types)), types)
        return frame.sort("unit_id")

    def time_zones(self) -> set[str]:
        """Time zones that units bring."""
        query = select(unit.c.time_zone).where(unit.c.time_zone.is_not(None)).distinct()
        with self._reading() as connection:
            return set(connection.scalars(query))

    def n_units(self) -> int:
        """Number of units."""
        with self._reading() as connection:
            return connection.scalar(select(func.count()).select_from(unit)) or 0


def _refuse_known(connection: Connection, rows: pl.DataFrame) -> None:
    known = scan(connection, select(unit.c.unit_id), {"unit_id": pl.String})
    n_known = rows.join(known, on="unit_id", how="semi").height
    if n_known:
        raise InputError(
            f"found {n_known} of {rows.height} units imported already; needed new ones; "
            "nothing was imported; leave them out, or replace them on purpose"
        )


def _replace(connection: Connection, rows: pl.DataFrame) -> None:
    with staged(connection, unit) as stage:
        append(connection, stage, rows)
        connection.execute(_upsert(connection, stage, rows.columns))


def _upsert(connection: Connection, stage: Table, names: list[str]) -> Insert:
    # "WHERE true" keeps SQLite from reading ON CONFLICT as part of a join.
    new_rows = select(*(stage.c[name] for name in names)).where(true())
    statement = insert_into(connection, unit).from_select(names, new_rows)
    changed = {name: statement.excluded[name] for name in names if name != "unit_id"}
    return statement.on_conflict_do_update(index_elements=["unit_id"], set_=changed)
