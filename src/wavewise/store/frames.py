"""Whole frames in and out, in batches, inside the caller's transaction."""

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import polars as pl
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Insert,
    MetaData,
    Select,
    Table,
    insert,
    literal_column,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable, DropTable

from wavewise.errors import InputError, StoreError

__all__ = [
    "BATCH_ROWS",
    "append",
    "batches",
    "decode_json_rows",
    "encode_json_rows",
    "insert_into",
    "n_inserted",
    "plain_json",
    "ready",
    "scan",
    "staged",
]

BATCH_ROWS, PIECE_ROWS = 50_000, 5_000

Types = Mapping[str, type[pl.DataType]]


def ready(frame: pl.DataFrame, types: Types, *, optional: Sequence[str] = ()) -> pl.DataFrame:
    """A frame's named columns, in order and of the types that the store holds."""
    absent = [name for name in types if name not in frame.columns and name not in optional]
    if absent:
        raise InputError(f"found columns {frame.columns}; needed {absent} too; add them")
    columns = [
        frame[name] if name in frame.columns else pl.repeat(None, frame.height, eager=True)
        for name in types
    ]
    try:
        typed = pl.DataFrame(
            [
                c.cast(kind).alias(name)
                for c, (name, kind) in zip(columns, types.items(), strict=True)
            ]
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(f"found columns of types {frame.schema}; needed {dict(types)}") from error
    empty = [name for name in types if name not in optional and typed[name].null_count()]
    if empty:
        raise InputError(f"found empty values in the columns {empty}; needed a value in each row")
    return typed


def append(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Add the rows of a frame, whose columns carry the table's names."""
    if frame.is_empty():
        return
    empty = [column.name for column in frame if column.null_count() == frame.height]
    if len(empty) < frame.width:
        frame = frame.drop(empty)  # what is left out is null
    write = _copy if connection.dialect.name == "postgresql" else _execute_many
    write(connection, table, frame)


def _execute_many(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    # What is the same in each row is said once: binding a cell costs as much as storing it.
    fixed = [column for column in frame if _is_one_number(column)]
    if len(fixed) == frame.width:
        fixed = []  # at least one cell is bound, or there would be no rows
    values: dict[str, Any] = dict.fromkeys(frame.columns)
    values |= {column.name: literal_column(str(column[0])) for column in fixed}
    statement = insert(table).values(values).compile(dialect=connection.dialect)
    names = [str(name) for name in statement.positiontup or ()]
    # By columns: half the time that iter_rows takes.
    pieces = frame.select(names).iter_slices(BATCH_ROWS)
    rows = chain.from_iterable(zip(*map(pl.Series.to_list, p), strict=True) for p in pieces)
    cursor: Any = connection.connection.cursor()
    cursor.executemany(str(statement), rows)


def _is_one_number(column: pl.Series) -> bool:
    return column.dtype.is_integer() and not column.null_count() and column.min() == column.max()


def _copy(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    # With executemany, PostgreSQL needs three to four times as long.
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(name) for name in frame.columns)
    cursor: Any = connection.connection.cursor()
    with cursor.copy(f"COPY {quote(table.name)} ({columns}) FROM STDIN (FORMAT csv)") as copy:
        for batch in frame.iter_slices(BATCH_ROWS):
            copy.write(batch.write_csv(include_header=False, quote_style="non_numeric"))


@contextmanager
def staged(connection: Connection, table: Table) -> Iterator[Table]:
    """A temporary table with the columns of a table, no rules, and the row's place in ``place``."""
    columns: list[Column[Any]] = [Column(c.name, c.type) for c in table.columns]
    place = Column("place", BigInteger)
    stage = Table(f"staged_{table.name}", MetaData(), place, *columns, prefixes=["TEMPORARY"])
    connection.execute(CreateTable(stage))
    yield stage
    connection.execute(DropTable(stage))


def scan(connection: Connection, query: Select[Any], types: Types) -> pl.DataFrame:
    """The rows of a query as a frame."""
    # The driver's own rows: wrapping each of them costs twice as much as all the rest.
    result = connection.execute(query)
    schema = {name: pl.Int64 if kind == pl.Boolean else kind for name, kind in types.items()}
    found = [pl.DataFrame(schema=schema)]
    while pieces := _pieces(result.cursor, schema):
        found += pieces
    result.close()
    truths = [name for name, kind in types.items() if kind == pl.Boolean]
    return pl.concat(found, rechunk=True).cast(
        dict.fromkeys(truths, pl.Boolean)
    )  # SQLite has 0 and 1


def batches(connection: Connection, query: Select[Any], types: Types) -> Iterator[pl.DataFrame]:
    """The rows of a query, a batch at a time: memory does not grow with them."""
    driver: Any = connection.connection
    # A named cursor stays on PostgreSQL's side; the plain one would fetch every row at once.
    name = {"name": "batches"} if connection.dialect.name == "postgresql" else {}
    cursor = driver.cursor(**name)
    told = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    names = told.positiontup
    cursor.execute(str(told), told.params if names is None else [told.params[n] for n in names])
    try:
        while pieces := _pieces(cursor, types):
            yield pl.concat(pieces)
    finally:
        cursor.close()


def _pieces(cursor: Any, types: Types) -> list[pl.DataFrame]:
    """Some rows of a cursor, in pieces that fit the processor's cache: half the time."""
    pieces, was_collecting = list[pl.DataFrame](), gc.isenabled()
    size = min(PIECE_ROWS, BATCH_ROWS)
    gc.disable()  # it would look at every row again and again
    try:
        while len(pieces) < BATCH_ROWS // size and (rows := cursor.fetchmany(size)):
            columns = zip(types.items(), zip(*rows, strict=True), strict=True)
            # By columns: a third of the time that rows take.
            pieces.append(pl.DataFrame([_column(*of, cells) for of, cells in columns]))
    finally:
        if was_collecting:
            gc.enable()
    return pieces


def _column(name: str, kind: Any, cells: tuple[Any, ...]) -> pl.Series:
    try:
        return pl.Series(name, cells, kind)
    except TypeError:  # PostgreSQL's truths and decimals where whole numbers are wanted
        return pl.DataFrame(zip(cells), schema={name: kind}, orient="row")[name]


# Inserts that say what to do where a row is there already, alike on both databases.


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that can say what to do ON CONFLICT, in the connection's dialect."""
    build = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return build(table)


def n_inserted(connection: Connection, statement: Insert) -> int:
    """Number of rows that an insert added."""
    done = connection.execute(statement, execution_options={"preserve_rowcount": True})
    if done.rowcount < 0 and connection.dialect.name == "sqlite":
        # In a Turkish locale the driver knows no INSERT: a small i has another capital there.
        return int(connection.scalar(text("SELECT changes()")) or 0)
    return done.rowcount


# JSON objects: one per row from columns and back, and single ones.


def encode_json_rows(frame: pl.DataFrame) -> pl.Series:
    """One JSON object a row from all columns of a frame.

    Examples
    --------
    >>> encode_json_rows(pl.DataFrame({"a": [1, None], "b": ["x", "y"]})).to_list()
    ['{"a":1,"b":"x"}', '{"a":null,"b":"y"}']
    """
    floats = [c.name for c in frame.iter_columns() if c.dtype.is_float()]
    wrong = [name for name in floats if not frame[name].is_finite().all()]
    if wrong:
        raise InputError(
            f"found numbers that are not finite in the columns {wrong}; needed finite numbers, "
            "or nothing where one is missing"
        )
    if not frame.columns:
        return pl.repeat("{}", frame.height, eager=True)
    return frame.select(pl.struct(pl.all()).struct.json_encode()).to_series()


def decode_json_rows(objects: pl.Series) -> pl.DataFrame:
    """Columns from one JSON object a row; what an object does not hold is null.

    Examples
    --------
    >>> decode_json_rows(pl.Series(['{"a":1}', '{"a":null,"b":"x"}'])).rows()
    [(1, None), (None, 'x')]
    """
    if objects.is_empty():
        return pl.DataFrame()
    try:
        # Over all rows: a key that first appears late must not be lost.
        return pl.read_ndjson("\n".join(objects).encode(), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise StoreError(
            "found stored values that are not JSON objects; needed one object a row; "
            "the file was changed by another program: restore a copy"
        ) from error


def plain_json(payload: Mapping[str, Any]) -> str:
    """A mapping of plain values as JSON text.

    Examples
    --------
    >>> plain_json({"name": "ñ", "x": [0.1, None]})
    '{"name": "ñ", "x": [0.1, null]}'
    """
    try:
        return json.dumps(dict(payload), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"found values that are not plain JSON ({error}); needed texts, finite numbers, "
            "lists and objects; call the result's to_dict()"
        ) from error
