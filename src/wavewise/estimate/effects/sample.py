"""The analysed units: what went in, checked, coded, and without what cannot inform."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.shared.inputs import (
    MissingRule,
    encode,
    list_names,
    read_arms,
    read_covariates,
    read_outcome,
    read_weights,
)
from wavewise.shared.labels import Labels, compress, label_text
from wavewise.shared.results import BoolArray, FloatArray, IntArray, NotEstimable, hash_arrays

__all__ = ["Sample", "comparable", "comparable_with", "read_sample"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Units with an outcome, one entry a unit."""

    outcome: FloatArray  # (n_units,): Finite outcomes.
    arm: IntArray  # (n_units,): Position in `arms`; 0 is the control.
    arms: tuple[str, ...]  # Arms, the control first.
    # strata, cluster: (n_units,): Codes without gaps.
    strata: IntArray | None
    cluster: IntArray | None
    covariates: FloatArray | None  # (n_units, n_covariates): Covariates as given, not centred.
    covariate_names: tuple[str, ...]  # One name a covariate.
    weights: FloatArray | None  # (n_units,): Positive weights.
    n_missing: IntArray  # (n_arms,): Units left out since their outcome is missing.
    n_excluded: IntArray  # (n_arms,): Units left out since their stratum compares nothing.
    not_estimable: Mapping[str, NotEstimable]  # Arms that cannot be compared with the control.
    data_hash: str  # SHA-256 of everything that went in.

    @property
    def n_units(self) -> int:
        """Units with an outcome that are analysed."""
        return int(self.outcome.size)

    @property
    def counts(self) -> IntArray:
        """Analysed units by arm, shape (n_arms,)."""
        return np.bincount(self.arm, minlength=len(self.arms))


def read_sample(
    outcome: Any,
    arm: Any,
    control: Any,
    *,
    strata: Any,
    covariates: Any,
    cluster: Any,
    weights: Any,
    arms: Sequence[Any] | None,
    missing_covariates: MissingRule,
) -> Sample:
    """Units with an outcome, from arrays as the user has them."""
    numbers = read_outcome(outcome)
    names, codes = _order_arms(arm, numbers.size, label_text(control), arms)
    present = ~np.isnan(numbers)
    kept = None if present.all() else present
    inputs = {
        "strata": None if strata is None else encode(strata, "strata", numbers.size),
        "cluster": None if cluster is None else encode(cluster, "cluster", numbers.size),
    }
    extra = None
    if covariates is not None:
        extra = read_covariates(covariates, numbers.size, kept, missing_covariates)
    weight = None if weights is None else read_weights(weights, numbers.size)
    values = None if extra is None else extra.values
    sample = Sample(
        outcome=numbers if kept is None else numbers[kept],
        arm=codes if kept is None else codes[kept],
        arms=names,
        strata=_kept_codes(inputs["strata"], kept),
        cluster=_kept_codes(inputs["cluster"], kept),
        covariates=values,
        covariate_names=() if extra is None else extra.names,
        weights=weight if kept is None or weight is None else weight[kept],
        n_missing=np.bincount(codes[~present], minlength=len(names)),
        n_excluded=np.zeros(len(names), dtype=np.int64),
        not_estimable={},
        data_hash=_hash(numbers, codes, names, inputs, covariates=values, weights=weight),
    )
    _check_control(sample)
    return sample


def comparable(sample: Sample) -> Sample:
    """Units that can inform a comparison with the control.

    Arms without an outcome, and arms that share no stratum with the control (not even through
    other arms), are marked; their units, and strata of a single unit, are left out and counted.
    A stratum of one unit fits its own outcome exactly, so leaving it out changes no estimate.
    """
    linked = _linked_arms(sample)
    reasons = _reasons(sample, linked)
    if linked.sum() < 2:
        raise EstimationError(
            "no arm can be compared with the control: "
            + "; ".join(f"'{name}': {reason.reason}" for name, reason in reasons.items())
        )
    keep = linked[sample.arm]
    if sample.strata is not None:
        keep &= np.bincount(sample.strata)[sample.strata] > 1
        _check_some_left(keep)
    excluded = np.bincount(sample.arm[~keep], minlength=len(sample.arms))
    return replace(
        sample if keep.all() else _subset(sample, keep), n_excluded=excluded, not_estimable=reasons
    )


def comparable_with(sample: Sample, columns: FloatArray) -> tuple[Sample, FloatArray]:
    """Comparable units, and what further columns (n_units, n_columns) say of them."""
    own = sample.covariates
    together = columns if own is None else np.column_stack([own, columns])
    carried = comparable(replace(sample, covariates=together))
    inner = carried.covariates
    if inner is None:
        raise InputError("found no units; needed some")
    n_own = 0 if own is None else own.shape[1]
    return replace(carried, covariates=None if own is None else inner[:, :n_own]), inner[:, n_own:]


def _order_arms(
    arm: Any, n_units: int, control: str, arms: Sequence[Any] | None
) -> tuple[tuple[str, ...], IntArray]:
    """Arm names with the control first, and codes into them."""
    planned, codes = read_arms(arm, n_units, arms)
    if control not in planned:
        raise InputError(
            f"control: found no arm '{control}'; the arms are {list_names(planned)}; name one of "
            "them"
        )
    names = (control, *(name for name in planned if name != control))
    return names, np.array([names.index(name) for name in planned], dtype=np.int64)[codes]


def _kept_codes(labels: Labels | None, kept: BoolArray | None) -> IntArray | None:
    if labels is None:
        return None
    return labels.codes if kept is None else compress(labels.codes[kept])[0]


def _hash(
    outcome: FloatArray,
    codes: IntArray,
    names: tuple[str, ...],
    inputs: Mapping[str, Labels | None],
    *,
    covariates: FloatArray | None,
    weights: FloatArray | None,
) -> str:
    arrays: dict[str, Any] = {"outcome": outcome, "arm": codes, "arms": np.array(names)}
    arrays |= {"covariates": covariates, "weights": weights}
    for name, labels in inputs.items():
        if labels is not None:
            arrays[name] = labels.codes
            arrays[f"{name} levels"] = labels.levels
    return hash_arrays(**arrays)


def _check_control(sample: Sample) -> None:
    counts = sample.counts
    if counts[0] == 0:
        raise EstimationError(
            f"control '{sample.arms[0]}': found no unit with an outcome "
            f"({sample.n_missing[0]:,} with a missing one); needed at least two"
        )
    if len(sample.arms) < 2:
        raise EstimationError(
            f"found the arm '{sample.arms[0]}' alone; needed an arm beside the control"
        )


def _linked_arms(sample: Sample) -> BoolArray:
    """Arms that a chain of shared strata joins to the control, shape (n_arms,)."""
    n_arms = len(sample.arms)
    if sample.strata is None:
        return np.asarray(sample.counts > 0)
    present = np.zeros((int(sample.strata.max()) + 1, n_arms), dtype=bool)
    present[sample.strata, sample.arm] = True
    linked = np.arange(n_arms) == 0
    for _ in range(n_arms):
        linked |= present[present[:, linked].any(axis=1)].any(axis=0)
    return np.asarray(linked)


def _reasons(sample: Sample, linked: BoolArray) -> dict[str, NotEstimable]:
    reasons = {}
    for code, name in enumerate(sample.arms):
        if linked[code]:
            continue
        if sample.counts[code]:
            text = f"its {sample.counts[code]:,} units share no stratum with the control"
        elif sample.n_missing[code]:
            text = f"the outcome is missing for all of its {sample.n_missing[code]:,} units"
        else:
            text = "it has no units"
        reasons[name] = NotEstimable(text)
    return reasons


def _check_some_left(keep: BoolArray) -> None:
    if not keep.any():
        raise EstimationError(
            f"strata: found {keep.size:,} strata of one unit; needed strata of two units or more "
            "in different arms; use coarser strata, or strata=None"
        )


def _subset(sample: Sample, keep: BoolArray) -> Sample:
    return replace(
        sample,
        outcome=sample.outcome[keep],
        arm=sample.arm[keep],
        strata=None if sample.strata is None else compress(sample.strata[keep])[0],
        cluster=None if sample.cluster is None else compress(sample.cluster[keep])[0],
        covariates=None if sample.covariates is None else sample.covariates[keep],
        weights=None if sample.weights is None else sample.weights[keep],
    )
