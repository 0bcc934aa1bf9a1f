"""A delivery of scores as a JSON object, read into the frame that files are read into."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from wavewise.errors import Fault, InputError
from wavewise.fieldwork.faults import MOST_SHOWN
from wavewise.fieldwork.json_cells import kind_of, wrong_number, wrong_text

__all__ = ["MOST_SCORES", "ScoreBatch", "named_by_place", "read_score_batch"]

MOST_SCORES = 1_000

_KEYS = {"delivered", "delivery", "scores"}
_TEXTS = ("unit_id", "period", "outcome")
_PLACE = re.compile(r"row (\d+)(?:, column '(\w+)')?")
_FORM = '{"delivered": DATE, "scores": [{"unit_id", "period", "score"}, ...]}'


class ScoreBatch:
    """The rows of a delivery as they came, not checked against the study yet.

    Parameters
    ----------
    frame : DataFrame
        Columns unit_id, period, score; outcome and delivery where they are given.
    delivered : str
        Date of the delivery.
    """

    def __init__(self, frame: pl.DataFrame, delivered: str) -> None:
        self.frame, self.delivered = frame, delivered


def read_score_batch(value: Any, outcomes: Sequence[str]) -> ScoreBatch:
    """A delivery of scores. One that is wrong in any place is refused whole.

    Parameters
    ----------
    value : object
        A JSON object with ``delivered`` (a date, or a time), ``scores`` (a list of objects with
        unit_id, period, score and, where the study has several such outcomes, outcome; a score
        that is null is missing), and perhaps ``delivery`` (its name; by default its date).
    outcomes : sequence of str
        Outcomes of the study whose scores come as deliveries.

    Raises
    ------
    InputError
        With every fault, by its place.

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
    faults = {replace(fault, path=_path(fault.path)): None for fault in error.faults}
    return InputError(error.message, tuple(faults)[:MOST_SHOWN])


def _refused(faults: list[Fault]) -> InputError:
    return InputError(
        f"found {len(faults):,} faults in a delivery of scores; nothing was kept",
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


def _path(path: str) -> str:
    match = _PLACE.fullmatch(path)
    if match is None:
        return path
    if match[2] == "delivered":
        return "delivered"
    return f"scores[{match[1]}]" + (f".{match[2]}" if match[2] else "")
