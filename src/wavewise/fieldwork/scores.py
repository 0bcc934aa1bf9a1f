"""Scores: rows of a file checked before anything is kept, and which delivery counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

import numpy as np
import polars as pl

from wavewise.design.spec import Reading
from wavewise.errors import Fault, InputError
from wavewise.fieldwork.files.cells import Cells, ColumnRead, kind_of, wrong_number, wrong_text
from wavewise.fieldwork.files.faults import MOST_SHOWN, FaultLog
from wavewise.fieldwork.files.times import read_times
from wavewise.fieldwork.outcomes import window_us

__all__ = [
    "MOST_SCORES",
    "CheckedScores",
    "check_scores",
    "named_by_place",
    "read_score_batch",
    "used_scores",
]

SCORES = {
    "row": pl.Int64,
    "outcome_id": pl.String,
    "unit_id": pl.String,
    "period": pl.String,
    "delivery": pl.String,
    "delivered_at_utc_us": pl.Int64,
    "score": pl.Float64,
}
KEY = ("outcome_id", "unit_id", "period")
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class CheckedScores:
    """The scores of a file, or what is wrong with it."""

    # One row a score: row, outcome_id, unit_id, period, delivery, delivered_at_utc_us, score.
    # Rows without a score are left out. Empty where there is a fault.
    scores: pl.DataFrame
    n_missing: int  # Rows without a score.
    error: InputError | None = None  # Every fault by row and column.
    reads: tuple[ColumnRead, ...] = ()  # How each column was read.

    def raise_if_bad(self) -> None:
        """Raise InputError with the faults where there is one."""
        if self.error is not None:
            raise self.error


def check_scores(
    frame: pl.DataFrame,
    periods: Mapping[str, Sequence[str]],
    *,
    unit_column: str = "unit_id",
    delivered: str | None = None,
    default_time_zone: str = "UTC",
    now_us: int | None = None,
    first_row: int = 2,
    name: str = "scores",
    reading: Reading | None = None,
    separator: str | None = None,
) -> CheckedScores:
    """The scores of a file, with every fault by row and column."""
    log = FaultLog()
    cells = Cells(frame, log, first_row, reading=reading, separator=separator)
    unit = "unit_id" if "unit_id" in frame.columns else unit_column
    needed = [unit, "period", "score"]
    needed += ["delivered"] if delivered is None else []
    needed += ["outcome"] if len(periods) > 1 else []
    scores, n_missing = pl.DataFrame(schema=SCORES), 0
    if cells.has(*needed):
        at, written = _delivered(frame, cells, delivered, default_time_zone, now_us)
        read = pl.DataFrame(
            {
                "row": pl.int_range(first_row, first_row + frame.height, eager=True),
                "outcome_id": _outcome(frame, cells, list(periods)),
                "unit_id": cells.id(unit),
                "period": cells.needed_text("period", "a period"),
                "delivery": _delivery(frame, cells, written),
                "delivered_at_utc_us": at,
                "score": cells.number("score").cast(pl.Float64),
            },
            schema=SCORES,
        )
        _note_periods(read, cells, periods)
        scores = read.filter(pl.col("score").is_not_null())
        n_missing = read.height - scores.height
        _note_contradictions(scores, cells)
    error = log.as_error(name) if log.n else None
    return CheckedScores(scores.clear() if error else scores, n_missing, error, tuple(cells.reads))


def _outcome(frame: pl.DataFrame, cells: Cells, outcomes: list[str]) -> pl.Series:
    if "outcome" not in frame.columns:
        return pl.repeat(outcomes[0], frame.height, dtype=pl.String, eager=True)
    text = cells.needed_text("outcome", "the id of an outcome")
    _note_unknown(cells, text, "outcome", outcomes)
    return text


def _note_periods(read: pl.DataFrame, cells: Cells, periods: Mapping[str, Sequence[str]]) -> None:
    for outcome, names in periods.items():
        mine = read["period"].set(read["outcome_id"] != outcome, None)
        _note_unknown(cells, mine, "period", names)


def _note_unknown(cells: Cells, text: pl.Series, column: str, names: Sequence[str]) -> None:
    unknown = ~text.is_in(list(names)) & (text.str.strip_chars() != "")
    found = [repr(cell) for cell in text.filter(unknown.fill_null(value=False))]
    needed = "one of " + ", ".join(repr(known) for known in names)
    cells.log.add_rows(cells.rows(unknown), column, found, needed)


def _delivered(
    frame: pl.DataFrame, cells: Cells, delivered: str | None, zone: str, now_us: int | None
) -> tuple[pl.Series, pl.Series]:
    """When each row was delivered, and the same as a name: the day, or the moment in UTC."""
    column = "delivered" if "delivered" in frame.columns else None
    kind = None if column is None else frame.schema[column]
    if column is None:
        text = pl.repeat(delivered, frame.height, dtype=pl.String, eager=True)
    elif isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        text = frame[column].dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    else:
        text = cells.needed_text(column, "the date of the delivery").str.strip_chars()
    is_day = text.str.contains(_DAY).fill_null(value=False)
    form = None if column is None else cells.date_format(column)
    whole = text if form else (text + "T12:00").zip_with(is_day, text)
    read = read_times(whole.set(text == "", None), zone, form)
    cells.note_doubt("delivered", read.doubt)
    wrong = read.is_malformed | read.is_ambiguous
    found = [repr(cell) for cell in text.filter(wrong.fill_null(value=False))]
    needed = "a date such as 2021-07-20, or a time such as 2021-07-20T08:30+03:00"
    cells.log.add_rows(cells.rows(wrong), "delivered", found, needed)
    if now_us is not None:
        late = read.at_utc_us > now_us + _DAY_US
        found = [repr(cell) for cell in text.filter(late.fill_null(value=False))]
        cells.log.add_rows(cells.rows(late), "delivered", found, "a date that is not to come")
    moment = read.at_utc_us.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    return read.at_utc_us, text.zip_with(is_day, moment)


def _delivery(frame: pl.DataFrame, cells: Cells, written: pl.Series) -> pl.Series:
    """Name of each row's delivery: as given, else its date."""
    if "delivery" not in frame.columns:
        return written
    return cells.text("delivery").str.strip_chars().fill_null(written)


def _note_contradictions(scores: pl.DataFrame, cells: Cells) -> None:
    """Two scores, or two dates, of one unit, period and delivery in one file."""
    same = [*KEY, "delivery"]
    names = ("score", "delivered_at_utc_us")
    differs = scores.select(
        pl.any_horizontal(pl.col(name) != pl.col(name).first().over(same) for name in names)
    ).to_series()
    rows = scores["row"].filter(differs.fill_null(value=False)).to_numpy()
    cells.log.add_rows(
        rows.astype(np.int64),
        "score",
        "another score or date than in an earlier row of the same unit, period and delivery",
        "one score for each",
        fix="give a revision its own date",
    )


def used_scores(
    deliveries: pl.DataFrame,
    counts: Mapping[str, Literal["first", "latest"] | date | str],
    time_zone: str = "UTC",
) -> pl.DataFrame:
    """The one score of each outcome, unit and period that counts.

    Examples
    --------
    >>> deliveries = pl.DataFrame(
    ...     {
    ...         "outcome_id": ["reading"] * 2, "unit_id": ["a"] * 2, "period": ["E2"] * 2,
    ...         "delivery": ["late", "early"], "delivered_at_utc_us": [20, 10],
    ...         "score": [62.0, 40.0],
    ...     }
    ... )
    >>> used_scores(deliveries, {"reading": "latest"})["score"].to_list()
    [62.0]
    >>> used_scores(deliveries, {"reading": "first"})["score"].to_list()
    [40.0]
    """
    ordered = deliveries.sort(*KEY, "delivered_at_utc_us", "delivery")
    parts = [_counting(ordered.filter(outcome_id=o), c, time_zone) for o, c in counts.items()]
    columns = [*KEY, "score", "delivery", "delivered_at_utc_us"]
    used = pl.concat([ordered.clear(), *parts])
    return used.select(columns).sort(*KEY)


def _counting(ordered: pl.DataFrame, counts: str | date, time_zone: str) -> pl.DataFrame:
    if isinstance(counts, date):
        _, end = window_us(counts, 1, time_zone)
        ordered = ordered.filter(pl.col("delivered_at_utc_us") < end)
    keep: Literal["first", "last"] = "first" if counts == "first" else "last"
    return ordered.unique(KEY, keep=keep, maintain_order=True)


# A delivery of scores as a JSON object, read into the frame that files are read into.

MOST_SCORES = 1_000

_KEYS = {"delivered", "delivery", "scores"}
_TEXTS = ("unit_id", "period", "outcome")
_FORM = '{"delivered": DATE, "scores": [{"unit_id", "period", "score"}, ...]}'


class ScoreBatch:
    """The rows of a delivery as they came, not checked against the study yet."""

    def __init__(self, frame: pl.DataFrame, delivered: str) -> None:
        self.frame, self.delivered = frame, delivered


def read_score_batch(value: Any, outcomes: Sequence[str]) -> ScoreBatch:
    """A delivery of scores. One that is wrong in any place is refused whole.

    Examples
    --------
    >>> sent = {"delivered": "2021-07-20", "scores": [{"unit_id": 7, "period": "E2", "score": 31}]}
    >>> read_score_batch(sent, ["reading"]).frame.rows()
    [('7', 'E2', 31.0)]
    """
    faults = _wrong_head(value)
    if faults:
        raise _refused(faults)
    rows = value["scores"]
    for i, found in enumerate(rows):
        if (wrong := _wrong(found)) is not None:
            faults.append(replace(wrong, path=f"scores[{i}]{wrong.path}"))
    if faults:
        raise _refused(faults)
    frame = pl.DataFrame(
        {
            "unit_id": [str(row["unit_id"]) for row in rows],
            "period": [str(row["period"]) for row in rows],
            "score": [row.get("score") for row in rows],
        },
        schema={"unit_id": pl.String, "period": pl.String, "score": pl.Float64},
        strict=False,
    )
    if len(outcomes) > 1 or any("outcome" in row for row in rows):
        lone = outcomes[0] if len(outcomes) == 1 else None
        frame = frame.with_columns(outcome=pl.Series([row.get("outcome", lone) for row in rows]))
    if value.get("delivery") is not None:
        frame = frame.with_columns(delivery=pl.lit(str(value["delivery"])))
    return ScoreBatch(frame, str(value["delivered"]))


def named_by_place(error: InputError) -> InputError:
    """An error whose faults name rows from 0, with places such as ``scores[3].period`` instead."""
    faults = {replace(fault, path=_path(fault)): None for fault in error.faults}
    return InputError(error.message, tuple(faults)[:MOST_SHOWN])


def _refused(faults: list[Fault]) -> InputError:
    return InputError(
        f"found {len(faults):,} errors in a delivery of scores; nothing was stored",
        tuple(faults[:MOST_SHOWN]),
    )


def _wrong_head(value: Any) -> list[Fault]:
    if not isinstance(value, dict):
        return [Fault("", f"a JSON {kind_of(value)}", _FORM)]
    faults = []
    if unknown := value.keys() - _KEYS:
        shown = sorted(str(key)[:40] for key in unknown)[:5]
        faults.append(Fault("", f"the unknown keys {shown}", f"only {', '.join(sorted(_KEYS))}"))
    for key, needed in (("delivered", True), ("delivery", False)):
        if (wrong := wrong_text(key, value.get(key), needed=needed)) is not None:
            faults.append(replace(wrong, path=key))
    rows = value.get("scores")
    if not isinstance(rows, list) or not rows:
        faults.append(Fault("scores", f"a JSON {kind_of(rows)} without scores", "a list of them"))
    return faults


def _wrong(found: Any) -> Fault | None:
    """What is wrong with the form of one score; None where it is sound. No content is shown."""
    if not isinstance(found, dict):
        return Fault("", f"a JSON {kind_of(found)}", "an object with unit_id, period and score")
    if unknown := found.keys() - {*_TEXTS, "score"}:
        shown = sorted(str(key)[:40] for key in unknown)[:5]
        return Fault("", f"the unknown keys {shown}", f"only {', '.join(_TEXTS)}, score")
    texts = (wrong_text(key, found.get(key), needed=key != "outcome") for key in _TEXTS)
    return next(filter(None, texts), None) or wrong_number("score", found.get("score"))


def _path(fault: Fault) -> str:
    if fault.row is None:
        return fault.path
    if fault.column == "delivered":
        return "delivered"
    return f"scores[{fault.row}]" + (f".{fault.column}" if fault.column else "")
