"""Arms, outcomes and propensities of an experiment that ran elsewhere, read from its file."""

from collections.abc import Mapping

import polars as pl

from wavewise.fieldwork.cells import Cells

__all__ = ["imported_arms", "imported_numbers", "imported_propensity", "imported_yes_no"]

YES = ("yes", "true", "1", "1.0")
NO = ("no", "false", "0", "0.0")


def imported_arms(cells: Cells, column: str, names: Mapping[str, str]) -> pl.Series:
    """Arm of each row; blanks around a value do not count.

    Parameters
    ----------
    cells : Cells
        The file.
    column : str
        Its column of arms.
    names : mapping of str to str
        Value in the file: arm.
    """
    found = _stripped(cells, column)
    arms = found.replace_strict(
        {value.strip(): arm for value, arm in names.items()}, default=None, return_dtype=pl.String
    )
    _note(cells, column, arms.is_null(), found, f"one of {', '.join(sorted(names))}")
    return arms


def imported_yes_no(cells: Cells, column: str) -> pl.Series:
    """A binary outcome as 1 and 0, from yes and no in any of the usual spellings; blank is null."""
    found = _stripped(cells, column)
    lookup = {**dict.fromkeys(YES, 1.0), **dict.fromkeys(NO, 0.0)}
    low = found.str.to_lowercase()
    numbers = low.replace_strict(lookup, default=None, return_dtype=pl.Float64)
    bad = numbers.is_null() & found.is_not_null()
    _note(cells, column, bad, found, "yes or no, 1 or 0, true or false, or nothing")
    return numbers


def imported_numbers(cells: Cells, column: str) -> pl.Series:
    """An outcome as finite numbers; blank is null."""
    found = _stripped(cells, column)
    numbers = found.cast(pl.Float64, strict=False)
    bad = ~numbers.is_finite().fill_null(value=False) & found.is_not_null()
    _note(cells, column, bad, found, "a finite number, or nothing")
    return numbers


def imported_propensity(cells: Cells, column: str) -> pl.Series:
    """Probability with which each row's arm was drawn, above 0 and at most 1."""
    found = _stripped(cells, column)
    numbers = found.cast(pl.Float64, strict=False)
    good = ((numbers > 0.0) & (numbers <= 1.0)).fill_null(value=False)
    _note(cells, column, ~good, found, "a probability above 0 and at most 1")
    return numbers


def _stripped(cells: Cells, column: str) -> pl.Series:
    return cells.text(column).str.strip_chars().replace("", None)


def _note(cells: Cells, column: str, bad: pl.Series, found: pl.Series, needed: str) -> None:
    if bad.any():
        shown = [repr(value) if value else "nothing" for value in found.filter(bad)]
        cells.log.add_rows(cells.rows(bad), column, shown, needed)
