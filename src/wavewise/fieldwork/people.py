"""People: who can be randomized, checked row by row before anything is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from wavewise.design.messages import Derived
from wavewise.design.spec import Reading
from wavewise.errors import Fault, InputError
from wavewise.fieldwork.files.cells import BLANKS, Cells, ColumnRead
from wavewise.fieldwork.files.faults import FaultLog
from wavewise.shared.results import IntArray, read_only

__all__ = ["People", "check_people", "derived_fields"]

_UNITS = dict.fromkeys(("unit_id", "cluster", "time_zone", "language", "fields_json"), pl.String)


@dataclass(frozen=True)
class People:
    """The units of a people file, and what is wrong with the rest."""

    # One row a good row of the file, in its order: unit_id, cluster, time_zone, language,
    # fields_json. Empty where a fault is of the file as a whole, such as a missing column.
    units: pl.DataFrame
    faults: tuple[Fault, ...]  # The first faults, at most 50.
    n_faults: int  # Number of all faults.
    # (n_bad_rows,): Numbers of the rows that are left out of ``units``: those with a fault, all
    # rows of a repeated id, and all of a group that lies in several strata.
    bad_rows: IntArray
    n_rows: int  # Number of rows of the file.
    left_out: tuple[str, ...] = ()  # Columns that the study does not name; not kept.
    # Each covariate as it was read: ``number`` or ``text``.
    kinds: Mapping[str, str] = field(default_factory=dict)
    # What may surprise, such as a column of numbers that holds a word.
    notes: tuple[str, ...] = ()
    reads: tuple[ColumnRead, ...] = ()  # How each column was read.
    _error: InputError | None = None

    def raise_if_bad(self) -> None:
        """Raise InputError with the faults where there is one."""
        if self._error is not None:
            raise self._error

    def summary(self) -> str:
        """Sentences on what was read, what was left out and how covariates were read."""
        lines = [
            f"{self.units.height:,} of {self.n_rows:,} rows are good; {self.n_faults:,} errors."
        ]
        if self.kinds:
            kinds = ", ".join(f"{column} ({kind})" for column, kind in self.kinds.items())
            lines.append(f"Covariates: {kinds}.")
        if self.left_out:
            lines.append(f"Not kept, as the study does not name them: {', '.join(self.left_out)}.")
        lines += [f"Note: {note}." for note in self.notes]
        return "\n".join(lines)


def check_people(
    frame: pl.DataFrame,
    *,
    id: str,  # noqa: A002  (the study file's own word)
    strata: Sequence[str] = (),
    covariates: Sequence[str] = (),
    fields: Sequence[str] = (),
    cluster: str | None = None,
    randomize_by: str | None = None,
    time_zone: str | None = None,
    language: str | None = None,
    others: Sequence[str] = (),
    levels: Mapping[str, Sequence[str]] | None = None,
    default_time_zone: str | None = None,
    first_row: int = 2,
    name: str = "people",
    reading: Reading | None = None,
    separator: str | None = None,
) -> People:
    """The units of a people file, with every fault by row and column.

    Notes
    -----
    A column named twice is kept once, under the first of: strata, covariates, the rest. The units'
    ids never appear in a fault: a repeated id is named by its two rows.
    """
    log = FaultLog()
    cells = Cells(frame, log, first_row, reading=reading, separator=separator)
    named = [*strata, *covariates, *fields, *others]
    single = [c for c in (id, cluster, randomize_by, time_zone, language) if c is not None]
    units, kept = pl.DataFrame(schema=_UNITS), dict[str, pl.Series]()
    if cells.has(*single, *named):
        kept = _kept(cells, strata, covariates, [*fields, *others], levels or {})
        columns = {"unit_id": _unique_ids(cells, id)}
        columns |= _own_columns(cells, cluster, time_zone, language, default_time_zone)
        if cluster is not None:
            kept.setdefault(cluster, columns["cluster"])
        if randomize_by is not None:
            groups = _groups(cells, randomize_by, [kept[c] for c in strata])
            kept.setdefault(randomize_by, groups)
        units = _units(columns, kept, frame.height)
    if not len(cells):
        log.add(f"row {first_row}", "no rows", "one row per unit", row=first_row)
    return People(
        units=units.clear() if log.is_fatal else _without(units, log.rows - first_row),
        faults=log.faults,
        n_faults=log.n,
        bad_rows=read_only(log.rows),
        n_rows=frame.height,
        left_out=tuple(c for c in frame.columns if c not in {*named, *single}),
        kinds={c: _kind(kept[c]) for c in covariates if c in kept},
        notes=(*cells.notes, *_suspects(kept, [*strata, *covariates])),
        reads=tuple(cells.reads),
        _error=log.as_error(name) if log.n else None,
    )


def _suspects(kept: Mapping[str, pl.Series], columns: Sequence[str]) -> list[str]:
    """A sentence on each column whose labels may be the same one, written differently."""
    found = []
    for column in dict.fromkeys(columns):
        if column in kept and not kept[column].dtype.is_numeric():
            groups = near_labels(kept[column])
            shown = "; ".join(" and ".join(map(repr, group)) for group in groups[:5])
            more = f"; and {len(groups) - 5:,} more" if len(groups) > 5 else ""
            if groups:
                found.append(
                    f"column {column!r} has labels that differ only by blanks, case or Unicode "
                    f"form, and may be the same: {shown}{more}"
                )
    return found


def near_labels(labels: pl.Series) -> list[list[str]]:
    """Groups of labels that differ only by blanks, case or Unicode form.

    Examples
    --------
    >>> near_labels(pl.Series(["I.E. 7", "i.e.  7", "I.E. 8"]))
    [['I.E. 7', 'i.e.  7']]
    """
    known = labels.drop_nulls().unique(maintain_order=True)
    key = known.str.normalize("NFKC").str.to_lowercase().str.normalize("NFKC")
    key = key.str.replace_all(f"[{BLANKS}]+", " ").str.strip_chars(" ")
    groups = pl.DataFrame({"label": known, "key": key}).group_by("key", maintain_order=True)
    lists = groups.agg("label").filter(pl.col("label").list.len() > 1)["label"].to_list()
    return [list(group) for group in lists]


def _kind(column: pl.Series) -> str:
    return "number" if column.dtype.is_numeric() else "text"


def _kept(
    cells: Cells,
    strata: Sequence[str],
    covariates: Sequence[str],
    texts: Sequence[str],
    levels: Mapping[str, Sequence[str]],
) -> dict[str, pl.Series]:
    """Columns for the units' fields, in the study's order."""
    kept = {c: cells.level(c, list(levels.get(c, ()))) for c in dict.fromkeys(strata)}
    kept |= {c: cells.covariate(c) for c in dict.fromkeys(covariates) if c not in kept}
    return kept | {c: cells.text(c) for c in dict.fromkeys(texts) if c not in kept}


def _own_columns(
    cells: Cells,
    cluster: str | None,
    time_zone: str | None,
    language: str | None,
    default_time_zone: str | None,
) -> dict[str, pl.Series]:
    """Columns that the store holds as such, besides the id."""
    columns = dict[str, pl.Series]()
    if cluster is not None:
        columns["cluster"] = cells.needed_text(cluster, "the unit's group")
    if time_zone is not None:
        has_default = default_time_zone is not None
        columns["time_zone"] = cells.time_zone(time_zone, has_default=has_default)
    if language is not None:
        columns["language"] = cells.text(language, "language").str.strip_chars(BLANKS)
    return columns


def _unique_ids(cells: Cells, column: str) -> pl.Series:
    ids = cells.id(column)
    is_repeated = ids.is_duplicated() & ids.is_not_null() & ~ids.is_first_distinct()
    first = _first_rows(ids, is_repeated, cells)
    found = [f"the same id as row {row}" for row in first]
    cells.log.add_rows(cells.rows(is_repeated), column, found, "each id once")
    # Which of the rows is right is not ours to say.
    cells.log.also_bad(cells.rows(ids.is_duplicated() & ids.is_not_null()))
    return ids


def _first_rows(values: pl.Series, where: pl.Series, cells: Cells) -> list[int]:
    """For each true place of a mask, the first row that holds the same value."""
    if not where.any():
        return []
    every = cells.rows(pl.repeat(True, len(values), dtype=pl.Boolean, eager=True))
    rows = pl.DataFrame({"value": values, "row": every})
    firsts = rows.with_columns(pl.col("row").first().over("value"))
    return firsts.filter(where)["row"].to_list()


def _groups(cells: Cells, column: str, strata: list[pl.Series]) -> pl.Series:
    """The groups that are randomized together; notes those that lie in several strata."""
    groups = cells.needed_text(column, "the unit's group")
    if not strata:
        return groups
    stratum = pl.DataFrame([s.alias(f"s{i}") for i, s in enumerate(strata)]).to_struct("stratum")
    frame = pl.DataFrame({"group": groups, "stratum": stratum})
    first = frame.select(pl.col("stratum").first().over("group")).to_series()
    differs = (stratum != first) & groups.is_not_null()
    rows = _first_rows(groups, differs, cells)
    cells.log.add_rows(
        cells.rows(differs),
        column,
        [f"another stratum than row {row} of the same group" for row in rows],
        "each group in one stratum, as it is randomized together",
    )
    cells.log.also_bad(cells.rows(groups.is_in(groups.filter(differs).unique().to_list())))
    return groups


def _units(
    columns: Mapping[str, pl.Series], kept: Mapping[str, pl.Series], n_rows: int
) -> pl.DataFrame:
    fields = pl.repeat("{}", n_rows, eager=True)
    if kept:
        values = pl.DataFrame([column.alias(c) for c, column in kept.items()])
        fields = values.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    empty = pl.repeat(None, n_rows, dtype=pl.String, eager=True)
    every = {**columns, "fields_json": fields}
    return pl.DataFrame({name: every.get(name, empty) for name in _UNITS})


def _without(units: pl.DataFrame, places: IntArray) -> pl.DataFrame:
    is_good = np.ones(units.height, dtype=bool)
    is_good[places] = False
    return units.filter(pl.Series(is_good))


# Per-unit fields made by rule from another one, such as a level from a score.

MEDIAN = " median"  # "class median": the median among the units with the same value of `class`


def derived_fields(rules: Mapping[str, Derived], fields: pl.DataFrame) -> pl.DataFrame:
    """The derived fields of units that are cut; a fact of events from its own column.

    Notes
    -----
    A value belongs to the cut with the largest lower bound that it reaches. So a median of 29.5
    falls to 0-29 where the next cut begins at 30, a value above all cuts to the highest, and one
    below all of them to the lowest.

    Examples
    --------
    >>> level = Derived.model_validate(
    ...     {
    ...         "from": "score",
    ...         "cut": {"basic": (0, 29), "intermediate": (30, 64), "advanced": (65, 85)},
    ...         "missing": ("class median", "intermediate"),
    ...     }
    ... )
    >>> units = pl.DataFrame({"class": ["a", "a", "b"], "score": ["70", None, None]})
    >>> derived_fields({"level": level}, units)["level"].to_list()
    ['advanced', 'advanced', 'intermediate']
    """
    made = [
        _derived(rule, fields[rule.from_ or name], fields).alias(name)
        for name, rule in rules.items()
    ]
    return pl.DataFrame(made) if made else pl.DataFrame()


def _derived(rule: Derived, column: pl.Series, fields: pl.DataFrame) -> pl.Series:
    source = column.cast(pl.Float64, strict=False).fill_nan(None)
    found = _cut(rule, source)
    for way in rule.missing:
        if way.endswith(MEDIAN) and way not in rule.cut:
            group = fields[way.removesuffix(MEDIAN)]
            table = pl.DataFrame({"group": group, "source": source})
            median = table.select(
                pl.when(pl.col("group").is_not_null()).then(pl.col("source").median().over("group"))
            ).to_series()
            found = _filled(found, _cut(rule, median))
        else:
            found = found.fill_null(way)
    return found


def _cut(rule: Derived, source: pl.Series) -> pl.Series:
    ordered = sorted(rule.cut.items(), key=lambda item: item[1][0])
    value = pl.col("value")
    chosen: pl.Expr = pl.when(value.is_not_null()).then(pl.lit(ordered[0][0]))
    for name, (low, _) in ordered[1:]:
        chosen = pl.when(value >= low).then(pl.lit(name)).otherwise(chosen)
    return pl.DataFrame({"value": source}).select(chosen.alias("found"))["found"]


def _filled(found: pl.Series, other: pl.Series) -> pl.Series:
    return found.zip_with(found.is_not_null(), other)
