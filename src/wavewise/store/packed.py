"""JSON objects: one a row from columns and back, and single ones."""

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from wavewise.errors import InputError, StoreError

__all__ = ["packed", "plain_json", "unpack"]


def packed(frame: pl.DataFrame) -> pl.Series:
    """One JSON object a row from all columns of a frame.

    Raises
    ------
    InputError
        A number is not finite: JSON has no such number.

    Examples
    --------
    >>> packed(pl.DataFrame({"a": [1, None], "b": ["x", "y"]})).to_list()
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


def unpack(objects: pl.Series) -> pl.DataFrame:
    """Columns from one JSON object a row; what an object does not hold is null.

    Raises
    ------
    StoreError
        A row is not a JSON object.

    Examples
    --------
    >>> unpack(pl.Series(['{"a":1}', '{"a":null,"b":"x"}'])).rows()
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

    Raises
    ------
    InputError
        It holds something else, or a number that is not finite.

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
