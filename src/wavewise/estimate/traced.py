"""Numbers that remember whose outcomes they were learned from, or whose outcomes they hold."""

from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.results import FloatArray

__all__ = ["Traced", "traced"]


class Traced(np.ndarray[Any, np.dtype[np.float64]]):
    """A read-only array with fingerprints of units; its columns and rows keep them.

    What is computed from it is a plain array: sums and products have no single origin.

    Parameters
    ----------
    rows : array of uint64, shape (n_rows,), or None
        Fingerprints of the units; see `wavewise.estimate.fingerprints`.
    by_chance : array of uint64, shape (n_rows,), or None
        The same with arms and outcomes moved to other units: what chance alone repeats.
    """

    rows: npt.NDArray[np.uint64] | None
    by_chance: npt.NDArray[np.uint64] | None

    def __array_finalize__(self, other: Any) -> None:
        self.rows = getattr(other, "rows", None)
        self.by_chance = getattr(other, "by_chance", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain


def traced(
    values: FloatArray,
    rows: npt.NDArray[np.uint64],
    by_chance: npt.NDArray[np.uint64] | None = None,
) -> Traced:
    """The values as a read-only array that keeps the fingerprints.

    Examples
    --------
    >>> found = traced(np.ones((2, 3)), np.array([7, 8], dtype=np.uint64))
    >>> found[:, 0].rows.tolist(), type(found + 1).__name__, float(found.mean())
    ([7, 8], 'ndarray', 1.0)
    """
    held = np.asarray(values, dtype=np.float64).view(Traced)
    held.rows, held.by_chance = rows, by_chance
    held.flags.writeable = False
    return held
