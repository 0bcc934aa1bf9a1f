"""Data that come in: the rows of a file or frame, how they were read, whose they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from wavewise.design.parse import parse_reading
from wavewise.design.spec import Reading
from wavewise.errors import Fault, InputError
from wavewise.fieldwork.files.cells import ColumnRead
from wavewise.fieldwork.files.faults import FaultLog
from wavewise.fieldwork.files.read import Table, as_told, read_table
from wavewise.shared.text_tables import text_table
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

__all__ = [
    "FileRead",
    "Table",
    "column_facts",
    "columns_table",
    "file_read",
    "matched_ids",
    "read_data",
    "reading_of",
    "unmatched_ids",
]

_FRAME = "the data frame"
_MISSING_AS_NAN = ("pandas", "modin", "cudf")  # Where NaN is the usual mark of a missing value.


def reading_of(
    study: Study,
    what: Literal["people", "events", "scores", "contacts", "waves"],
    encoding: str | None = None,
    told: Mapping[str, Any] | None = None,
) -> Reading:
    """How a file is read: by [import] of the study file, and what is told beyond it."""
    base = getattr(study.spec.imports, what).model_dump(by_alias=True, exclude_defaults=True)
    more = {**(told or {}), **({} if encoding is None else {"encoding": encoding})}
    columns = {**base.get("columns", {}), **more.get("columns", {})}
    return parse_reading({**base, **more, **({"columns": columns} if columns else {})})


def read_data(
    data: Any, reading: Reading | None = None, *, columns_needed: tuple[str, ...] = ()
) -> Table:
    """The rows of a file, or of a data frame of any kind."""
    if isinstance(data, str | Path):
        return read_table(data, reading, columns_needed=columns_needed)
    return as_told(Table(_polars_frame(data), _FRAME, 1, reading or Reading()), columns_needed)


@dataclass(frozen=True, eq=False)
class FileRead(VerbResult):
    """How a file was read; nothing was imported."""

    source: str  # The file's name, or that it was a frame.
    n_rows: int
    columns: tuple[Mapping[str, Any], ...]  # column, source, kind, n_empty, examples, note
    notes: tuple[str, ...]
    n_faults: int
    faults: tuple[Mapping[str, Any], ...]
    fault_lines: tuple[str, ...]  # The same faults as sentences.

    def facts(self) -> dict[str, Any]:
        """Columns, notes and faults."""
        facts = {name: x for name, x in super().facts().items() if name != "fault_lines"}
        return {name: list(x) if isinstance(x, tuple) else x for name, x in facts.items()}

    def summary(self) -> str:
        """A table of the columns, what is doubtful, and that nothing was imported."""
        lines = [f"{self.source}: {self.n_rows:,} rows.", columns_table(self.columns)]
        lines += [f"Note: {note}." for note in self.notes]
        if self.n_faults:
            lines += [f"{self.n_faults:,} errors:", *(f"  {line}" for line in self.fault_lines)]
        return "\n".join([*lines, "Nothing was imported: this was a dry run."])

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame([{**c, "examples": "; ".join(c["examples"])} for c in self.columns])


def columns_table(columns: Sequence[Mapping[str, Any]]) -> str:
    """How each column was read, as text."""
    head = ["column", "in the file", "read as", "empty", "examples", "note"]
    rows = [
        [
            c["column"],
            c["source"],
            c["kind"],
            f"{c['n_empty']:,}",
            "; ".join(c["examples"]),
            c["note"],
        ]
        for c in columns
    ]
    return text_table(head, rows)


def column_facts(reads: Sequence[ColumnRead]) -> tuple[dict[str, Any], ...]:
    """How each column was read, as plain values."""
    return tuple({**vars(read), "examples": list(read.examples)} for read in reads)


def file_read(
    table: Table, reads: Sequence[ColumnRead], faults: Sequence[Fault], n_faults: int, *notes: str
) -> FileRead:
    """The result of a dry run."""
    return FileRead(
        source=table.name,
        n_rows=table.frame.height,
        columns=column_facts(reads),
        notes=(*table.notes, *notes),
        n_faults=n_faults,
        faults=tuple(fault.to_dict() for fault in faults),
        fault_lines=tuple(map(str, faults)),
    )


# Ids that match nobody, and why.

_CAUSES: tuple[
    tuple[str, Callable[[pl.Series], pl.Series]], ...
] = (  # what differs, and how an id looks without it
    ("blanks", lambda x: x.str.replace_all(r"\s+", "")),
    ("letter case", lambda x: x.str.to_lowercase()),
    ("Unicode form", lambda x: x.str.normalize("NFKC")),
    ("a fraction .0", lambda x: x.str.replace(r"\.0$", "")),
    ("marks", lambda x: x.str.replace_all(r"[^\p{L}\p{N}]+", "")),
    ("leading zeros", lambda x: x.str.replace(r"^(\p{L}*)0+(.)", "${1}${2}")),
)


def unmatched_ids(ids: pl.Series, known: pl.Series) -> pl.DataFrame:
    """The ids that are none of the known ones, and the one that each may mean.

    Columns: id; n_rows; cause, what the two differ in (``no unit is like it`` where there is none);
    unit, the known id (null where there is none, or several).

    Examples
    --------
    >>> unmatched_ids(pl.Series(["7", "8", "x"]), pl.Series(["007", "8"])).rows()
    [('7', 1, 'leading zeros', '007'), ('x', 1, 'no unit is like it', None)]
    """
    counts = ids.drop_nulls().value_counts(name="n_rows")
    names = ids.name
    found = counts.rename({names: "id"}).filter(~pl.col("id").is_in(known.implode())).sort("id")
    found = found.with_columns(
        n_rows=pl.col("n_rows").cast(pl.Int64),
        cause=pl.lit("no unit is like it"),
        unit=pl.lit(None, pl.String),
    )
    every = ("several of these", _all_alike)
    for cause, change in (*_CAUSES, every) if found.height else ():
        alike = pl.DataFrame({"key": change(known), "like": known}).unique("key", keep="none")
        keyed = found.with_columns(key=change(found["id"]))
        joined = keyed.join(alike, on="key", how="left", maintain_order="left")
        is_new = joined["unit"].is_null() & joined["like"].is_not_null()
        found = joined.with_columns(
            cause=pl.when(is_new).then(pl.lit(cause)).otherwise("cause"),
            unit=pl.when(is_new).then("like").otherwise("unit"),
        ).drop("key", "like")
    return found


def _all_alike(ids: pl.Series) -> pl.Series:
    for _, change in _CAUSES:
        ids = change(ids)
    return ids


def matched_ids(
    ids: pl.Series,
    known: pl.Series,
    table: Table,
    column: str,
    *,
    match_ids: bool = False,
    keep_unmatched: bool = False,
) -> pl.Series:
    """Ids, of which those that are nobody's but much like a unit's are refused or replaced.

    Raises
    ------
    InputError
        Some are like a unit's id, and neither ``match_ids`` (take that unit) nor
        ``keep_unmatched`` (they are others) says what they are.
    """
    like = unmatched_ids(ids, known).filter(pl.col("unit").is_not_null())
    if keep_unmatched or like.is_empty():
        return ids
    if match_ids:
        units = like.select(pl.col("id").alias(ids.name or "id"), "unit")
        return ids.replace(units.to_series(0), units["unit"])
    causes = like.group_by("cause").agg(pl.col("n_rows").sum(), n=pl.len()).sort("cause")
    log = FaultLog()
    for cause, n_rows, n in causes.iter_rows():
        log.add(
            f"column {column!r}",
            f"{n:,} ids in {n_rows:,} rows that no unit has, though for each there is one that "
            f"differs only in {cause}",
            "ids as the people have them",
            "pass --match-ids to take those units, or --keep-unmatched if they are others",
        )
    raise log.as_error(table.name)


def _polars_frame(data: Any) -> pl.DataFrame:
    if isinstance(data, pl.DataFrame):
        return data
    if isinstance(data, pl.LazyFrame):
        return data.collect()
    import narwhals as nw

    try:
        frame = nw.from_native(data, eager_only=True)
    except TypeError:
        raise InputError(
            f"found a {type(data).__name__}; needed the path of a file, or a data frame of polars, "
            "pandas or pyarrow"
        ) from None
    missing = frame.implementation.value in _MISSING_AS_NAN
    return pl.DataFrame([_polars_series(frame[name], missing) for name in frame.columns])


def _polars_series(column: Any, missing_as_nan: bool) -> pl.Series:
    import narwhals as nw

    if column.dtype in {nw.Categorical, nw.Enum, nw.Object, nw.Unknown}:
        # mixed values as they print: what reads them says which are wrong
        values = [None if _is_missing(value) else str(value) for value in column.to_list()]
        return pl.Series(column.name, values, dtype=pl.String)
    values = column.to_list()
    if missing_as_nan:
        values = [None if _is_missing(value) else value for value in values]
    return pl.Series(column.name, values, strict=False)


def _is_missing(value: Any) -> bool:
    """None, NaN, NaT or NA: whatever does not equal itself."""
    if value is None:
        return True
    same = value == value  # noqa: PLR0124
    return not isinstance(same, bool) or not same
