"""What was drawn in an adaptive experiment and what came of it, checked."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.shared.inputs import encode, read_arms, read_matrix, read_outcome, read_propensity
from wavewise.shared.labels import label_text
from wavewise.shared.results import BoolArray, FloatArray, IntArray, NotEstimable

__all__ = [
    "Observed",
    "Strata",
    "ordered_waves",
    "parts_of",
    "read_observed",
    "read_own_propensity",
    "read_propensities",
    "read_strata",
    "reasons_of_empty_arms",
    "reasons_of_empty_strata",
]

_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Observed:
    """Arms and outcomes, units with a missing outcome among them."""

    arms: tuple[str, ...]  # All arms, the first one that the others are compared with.
    arm: IntArray  # (n_units,): Position in `arms`.
    outcome: FloatArray  # (n_units,): Not-a-number where it is missing.
    known: BoolArray  # (n_units,): Whether the outcome is known.

    def counts(self, of: BoolArray) -> IntArray:
        """Units of each arm among some, shape (n_arms,)."""
        return np.bincount(self.arm[of], minlength=len(self.arms)).astype(np.int64)


def read_observed(outcome: Any, arm: Any, arms: Sequence[Any] | None = None) -> Observed:
    """Arms and outcomes of the units."""
    values = read_outcome(outcome)
    names, codes = read_arms(arm, values.size, arms)
    known = ~np.isnan(values)
    if not known.any():
        raise EstimationError(f"outcome: found all {values.size:,} missing; needed some")
    if len(names) < 2:
        raise EstimationError(f"arm: found one arm, '{names[0]}'; needed two or more to compare")
    return Observed(names, codes, values, known)


def read_own_propensity(propensity: Any, observed: Observed) -> FloatArray:
    """Probability of the arm that was drawn, in (0, 1), shape (n_units,)."""
    _refuse_none(propensity)
    values = read_matrix(propensity, "propensity")
    if values.shape != observed.arm.shape:
        raise InputError(
            f"propensity: found shape {values.shape}; needed {observed.arm.shape}: the probability "
            "of the arm that each unit drew"
        )
    _refuse(values, observed)
    return values


def read_propensities(propensity: Any, observed: Observed) -> FloatArray:
    """Probability of every arm for every unit, shape (n_units, n_arms)."""
    _refuse_none(propensity)
    values = read_propensity(propensity, observed.arms, observed.arm.size)
    shape = (observed.arm.size, len(observed.arms))
    if values.shape != shape:
        raise InputError(
            f"propensity: found shape {values.shape}; needed {shape}: one column an arm in the "
            f"order {', '.join(observed.arms[:20])}"
        )
    _refuse(values[np.arange(observed.arm.size), observed.arm], observed)
    _refuse_missing(int(np.isnan(values).any(axis=1).sum()), values.shape[0])
    if (values < 0).any() or np.abs(values.sum(axis=1) - 1).max() > _TOLERANCE:
        worst = float(values.sum(axis=1)[np.argmax(np.abs(values.sum(axis=1) - 1))])
        raise InputError(
            f"propensity: found a row that sums to {worst:.6g}; needed 1, none negative"
        )
    return values


def ordered_waves(
    wave: Any, n_units: int, waves: Sequence[Any] | None
) -> tuple[IntArray, list[str]]:
    """Position in time of each unit's wave, and the names of the waves.

    Numbers are ordered by size, text by its parts, numbers in it by size (wave-2, wave-10).
    """
    labels = encode(wave, "wave", n_units)
    names = list(labels.names)
    if waves is not None:
        order = [label_text(name) for name in waves]
        unknown = sorted(set(names) - set(order))
        if unknown:
            raise InputError(f"wave: found {', '.join(unknown)}; `waves` names {', '.join(order)}")
        order = [name for name in order if name in names]
    elif labels.levels.dtype.kind == "O":
        order = sorted(names, key=_natural)
    else:
        order = names
    if len(order) < 2:
        raise EstimationError(
            f"wave: found one wave, '{names[0]}'; needed two or more: with one nothing was "
            "adapted, and `ate` is the estimator"
        )
    position = np.array([order.index(name) for name in names], dtype=np.int64)
    return position[labels.codes], order


def reasons_of_empty_arms(observed: Observed) -> dict[str, NotEstimable]:
    """Arms without a unit, or with all outcomes missing, and why they have no estimate."""
    drawn = observed.counts(np.ones_like(observed.known))
    known = observed.counts(observed.known)
    return {
        name: NotEstimable(
            f"all {drawn[k]:,} outcomes of the arm are missing" if drawn[k] else "it has no units"
        )
        for k, name in enumerate(observed.arms)
        if known[k] == 0
    }


# Strata within which shares differ: what holds for each is averaged by their numbers of units.


@dataclass(frozen=True, eq=False)
class Strata:
    """Stratum of each unit, and the share of all units that a stratum has."""

    names: tuple[str, ...]
    code: IntArray  # (n_units,): Position in `names`.
    weight: FloatArray  # (n_strata,): Sums to 1; units without an outcome count.


def read_strata(strata: Any, n_units: int) -> Strata | None:
    """The strata of the units; None where there are none, or only one."""
    if strata is None:
        return None
    labels = encode(strata, "strata", n_units)
    if len(labels.names) == 1:
        return None
    weight = np.bincount(labels.codes, minlength=len(labels.names)) / n_units
    return Strata(tuple(labels.names), labels.codes, weight)


def parts_of(strata: Strata | None, kept: BoolArray) -> Iterator[tuple[Any, float]]:
    """Rows of each stratum among the units that are kept, and its weight; all rows without any."""
    if strata is None:
        yield slice(None), 1.0
        return
    code = strata.code[kept]
    for x, weight in enumerate(strata.weight.tolist()):
        rows = np.flatnonzero(code == x)
        if rows.size:
            yield rows, weight


def reasons_of_empty_strata(observed: Observed, strata: Strata | None) -> dict[str, NotEstimable]:
    """Arms that some stratum has no known outcome of, so that no average over strata exists."""
    if strata is None:
        return {}
    n_strata = len(strata.names)
    cell = observed.arm * n_strata + strata.code
    known = np.bincount(cell[observed.known], minlength=len(observed.arms) * n_strata)
    empty = known.reshape(len(observed.arms), n_strata) == 0
    return {
        name: NotEstimable(
            f"{int(empty[k].sum()):,} of {n_strata:,} strata have no known outcome of it "
            f"({', '.join(np.array(strata.names)[empty[k]][:3].tolist())}"
            f"{', ...' if empty[k].sum() > 3 else ''}), so that there is no mean over all strata"
        )
        for k, name in enumerate(observed.arms)
        if empty[k].any()
    }


def _refuse_none(propensity: Any) -> None:
    if isinstance(propensity, str):
        raise InputError(
            f"propensity: found {propensity!r}; needed the stored probabilities of waves that were "
            "randomized; for arms that were not, see ww.estimate.propensity"
        )
    if propensity is None:
        raise EstimationError(
            "propensity: found none; needed one per unit; where it was not stored (as by an import "
            "without it) this estimator has nothing to weight with: take `ate` within waves instead"
        )


def _refuse(own: FloatArray, observed: Observed) -> None:
    _refuse_missing(int(np.isnan(own).sum()), own.size)
    if (own < 0).any() or (own > 1).any():
        raise InputError(
            f"propensity: found {own.min():g} to {own.max():g}; needed shares in (0, 1)"
        )
    for value, why in ((0.0, "an arm was drawn that could not be"), (1.0, "no other arm could be")):
        if (own == value).any():
            bad = own == value
            which = ", ".join(observed.arms[k] for k in np.unique(observed.arm[bad]).tolist())
            raise EstimationError(
                f"propensity: found {int(bad.sum()):,} of {own.size:,} units (arm {which}) with a "
                f"probability of {value:g}: {why}; needed probabilities strictly between 0 and 1; "
                "leave those units out and say so, or keep a least share in the next design"
            )


def _refuse_missing(n_missing: int, n_units: int) -> None:
    if n_missing:
        raise EstimationError(
            f"propensity: found {n_missing:,} of {n_units:,} units without one: it was not stored "
            "when the arm was drawn; needed one per unit; import it with the assignment, or "
            "compare arms within waves by `ate`"
        )


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]
