"""What evaluation needs of each unit: its arm, its outcome, the probability of its arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.labels import encode, label_text
from wavewise.results import FloatArray, IntArray

__all__ = ["Drawn", "one_number_a_unit", "read_cluster", "read_drawn"]

_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn and what came of it.

    Parameters
    ----------
    arms : tuple of str
    arm : array of int, shape (n_units,)
        Position in `arms`.
    outcome : array of float, shape (n_units,)
    propensity : array of float, shape (n_units,)
        Probability of the arm that was drawn, in (0, 1].
    possible : array of bool, shape (n_units, n_arms), or None
        Arms that each unit could have drawn; None where only the drawn arm's probability is known.
    """

    arms: tuple[str, ...]
    arm: IntArray
    outcome: FloatArray
    propensity: FloatArray
    possible: Any

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.arm.size)


def read_drawn(arm: Any, outcome: Any, propensity: Any, arms: Sequence[Any] | None = None) -> Drawn:
    """Arms, outcomes and propensities, checked against each other.

    Parameters
    ----------
    arm : array-like, shape (n_units,)
    outcome : array-like, shape (n_units,)
        Finite numbers.
    propensity : mapping of arm to share; frame or array of shape (n_units, n_arms); or (n_units,)
        Shares of all arms; each unit's probability of every arm, a frame's columns named by arm, an
        array's in the order of `arms`; or each unit's probability of the arm that was drawn.
    arms : sequence of labels, optional
        All arms of the design; by default those found or named in `propensity`, sorted.

    Raises
    ------
    InputError
        Where lengths differ, a probability is 0 for an arm that was drawn, or they do not sum to 1.
    """
    numbers = one_number_a_unit(outcome, "outcome", None)
    labels = encode(arm, "arm", numbers.size)
    names = _names(labels.names, propensity, arms)
    unknown = [name for name in labels.names if name not in names]
    if unknown:
        raise InputError(f"arm: found {', '.join(unknown)}; the design's arms are {_list(names)}")
    codes = np.array([names.index(name) for name in labels.names], dtype=np.int64)[labels.codes]
    drawn, possible = _drawn(propensity, names, codes)
    return Drawn(names, codes, numbers, drawn, possible)


def one_number_a_unit(values: Any, name: str, n_units: int | None) -> FloatArray:
    """Finite numbers, one a unit."""
    try:
        numbers = np.asarray(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: found text; needed one finite number a unit") from error
    if numbers.ndim != 1 or numbers.size == 0 or n_units not in {None, numbers.size}:
        needed = "(n_units,)" if n_units is None else f"({n_units},)"
        raise InputError(f"{name}: found shape {numbers.shape}; needed {needed}")
    if not np.isfinite(numbers).all():
        bad = int((~np.isfinite(numbers)).sum())
        raise InputError(
            f"{name}: found {bad:,} of {numbers.size:,} values missing or infinite; needed finite "
            "numbers; leave those units out, and say so"
        )
    found: FloatArray = numbers
    return found


def read_cluster(cluster: Any, n_units: int) -> IntArray | None:
    """Codes of clusters without gaps, or None."""
    if cluster is None:
        return None
    labels = encode(cluster, "cluster", n_units)
    if len(labels.levels) < 2:
        raise InputError("cluster: found one cluster; needed two or more for a standard error")
    return labels.codes


def _names(found: tuple[str, ...], propensity: Any, arms: Sequence[Any] | None) -> tuple[str, ...]:
    if arms is not None:
        return tuple(label_text(arm) for arm in arms)
    if isinstance(propensity, Mapping):
        return tuple(sorted({label_text(arm) for arm in propensity} | set(found)))
    if hasattr(propensity, "columns"):
        return tuple(label_text(name) for name in propensity.columns)
    return found


def _drawn(propensity: Any, names: tuple[str, ...], arm: IntArray) -> tuple[FloatArray, Any]:
    """Probability of the arm that was drawn, and which arms were possible."""
    if isinstance(propensity, Mapping):
        shares = {label_text(name): float(share) for name, share in propensity.items()}
        matrix = np.tile([shares.get(name, 0.0) for name in names], (arm.size, 1))
    else:
        raw = propensity.to_numpy() if hasattr(propensity, "columns") else propensity
        matrix = np.asarray(raw, dtype=np.float64)
    if matrix.shape == (arm.size,):
        _check_range(matrix, "the arm that was drawn")
        return matrix, None
    if matrix.shape != (arm.size, len(names)):
        raise InputError(
            f"propensity: found shape {matrix.shape}; needed ({arm.size}, {len(names)}), a column "
            f"for each of {_list(names)}, or ({arm.size},), or a share for each arm"
        )
    sums = matrix.sum(axis=1)
    worst = sums[np.argmax(np.abs(sums - 1))]
    if not np.isfinite(matrix).all() or matrix.min() < 0 or abs(worst - 1) > _TOLERANCE:
        raise InputError(
            f"propensity: found values from {matrix.min():.4g} and a sum of {worst:.6g} for a "
            "unit; needed probabilities in [0, 1] that sum to 1 over the arms"
        )
    drawn = matrix[np.arange(arm.size), arm]
    bad = sorted({names[code] for code in arm[drawn <= 0]})
    if bad:
        raise InputError(
            f"propensity: found 0 for {int((drawn <= 0).sum()):,} units that drew {_list(bad)}; "
            "an arm that was drawn had a probability above 0; give the stored propensities"
        )
    return drawn, matrix > 0


def _check_range(values: FloatArray, what: str) -> None:
    if not ((values > 0) & (values <= 1)).all():
        bad = int((~((values > 0) & (values <= 1))).sum())
        raise InputError(f"propensity: found {bad:,} values outside (0, 1] for {what}")


def _list(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
