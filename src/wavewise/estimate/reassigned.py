"""Sums by drawn and by re-drawn arm: all that a randomization test needs of the outcomes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from wavewise.errors import InputError
from wavewise.estimate.labels import Labels, encode
from wavewise.results import FloatArray, IntArray

__all__ = ["Coder", "Reassigned", "sums_of_draw"]

_MIXER = 0x9E3779B97F4A7C15


@dataclass(frozen=True, eq=False)
class Reassigned:
    """Sums over units by re-drawn arm g and drawn arm z, for each re-randomization.

    Parameters
    ----------
    n, s, q : arrays of float, shape (n_draws, n_arms, n_arms)
        Units, sum of outcomes, sum of squared outcomes.

    Notes
    -----
    If arms add constants tau to the outcome, the outcome under a re-drawn assignment is
    ``y - tau_z + tau_g``, so that means and variances at any tau follow from these sums: a
    confidence interval by inversion needs no second pass over the units.
    """

    n: FloatArray
    s: FloatArray
    q: FloatArray

    def moments(self, tau: FloatArray, arms: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Units, means and variances of re-drawn arms at effects tau; (n_draws, n_chosen) each."""
        n, s, q = self.n[:, arms], self.s[:, arms], self.q[:, arms]
        shift = tau[arms][:, None] - tau
        size = n.sum(axis=2)
        total = (s + n * shift).sum(axis=2)
        squares = (q + 2 * shift * s + n * shift**2).sum(axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / size
            variance = (squares - size * mean**2) / (size - 1)
        return size, mean, np.maximum(variance, 0.0)


def sums_of_draw(redrawn: IntArray, drawn: IntArray, y: FloatArray, n_arms: int) -> FloatArray:
    """Units, sums and sums of squares of one re-randomization; (3, n_arms, n_arms)."""
    cell, size = redrawn * n_arms + drawn, n_arms * n_arms
    parts = (
        np.bincount(cell, minlength=size),
        np.bincount(cell, weights=y, minlength=size),
        np.bincount(cell, weights=y * y, minlength=size),
    )
    return np.stack(parts).reshape(3, n_arms, n_arms).astype(np.float64, copy=False)


class Coder:
    """Codes of labels that a re-randomization gives, by the labels of the experiment.

    Text of fixed width is compared by a hash of its characters, which is several times faster than
    comparing it letter by letter; the few hashes are checked to differ first.
    """

    def __init__(self, labels: Labels) -> None:
        self._names = labels.names
        self._levels = labels.levels
        keys = _hashed(np.array(self._names))
        self._order = np.argsort(keys)
        self._keys = keys[self._order]
        self._hashable = np.unique(keys).size == keys.size

    def codes(self, arms: Any, n_units: int) -> IntArray:
        """Position of each label among the experiment's.

        Raises
        ------
        InputError
            Where the number of arms differs, or one is not an arm of the experiment.
        """
        array = arms if isinstance(arms, np.ndarray | pl.Series) else np.asarray(arms)
        if array.shape != (n_units,):
            raise InputError(
                f"reassign: found arms of shape {array.shape}; needed ({n_units},), one a unit in "
                "the same order"
            )
        if isinstance(array, np.ndarray) and array.dtype.kind == "U" and self._hashable:
            return self._located(_hashed(array), self._keys, self._order)
        both = (array.dtype, self._levels.dtype) if isinstance(array, np.ndarray) else ()
        if both and all(dtype.kind in "biuf" for dtype in both):
            return self._located(array, self._levels, np.arange(self._levels.size))
        found = encode(array, "reassign", n_units)
        unknown = sorted(set(found.names) - set(self._names))
        if unknown:
            raise _unknown(len(unknown), self._names)
        place = np.array([self._names.index(name) for name in found.names], dtype=np.int64)
        return place[found.codes]

    def _located(self, values: Any, levels: Any, order: Any) -> IntArray:
        at = np.minimum(np.searchsorted(levels, values), levels.size - 1)
        wrong = int((levels[at] != values).sum())
        if wrong:
            raise _unknown(wrong, self._names)
        codes: IntArray = order[at]
        return codes


def _hashed(text: Any) -> Any:
    width = text.dtype.itemsize // 4
    letters = np.ascontiguousarray(text).view(np.uint32).reshape(text.size, width)
    factor = np.cumprod(np.full(max(width, 1), _MIXER, dtype=np.uint64))
    key = np.zeros(text.size, dtype=np.uint64)
    for place in range(width):
        key += letters[:, place] * factor[place]
    return key


def _unknown(n: int, names: tuple[str, ...]) -> InputError:
    return InputError(
        f"reassign: found {n:,} labels that are no arm of the experiment; its arms are "
        f"{', '.join(names[:20])}"
    )
