"""What the forest is trained on: checked, coded, and in canonical order."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.errors import EstimationError, Fault, InputError
from wavewise.estimate.forest.binning import Binning, Values, read_columns
from wavewise.estimate.forest.sample import mixed
from wavewise.shared.inputs import encode, list_names, read_outcome, read_propensity
from wavewise.shared.labels import label_text
from wavewise.shared.results import BoolArray, FloatArray, IntArray, hash_arrays

__all__ = ["Training", "check_options", "covariates_tried", "read_training"]

MIN_UNITS = 20  # units (or clusters) of an arm below which halves of halves hold too few
_SUM_TOLERANCE, _MISMATCH_SD = 1e-6, 7.0


@dataclass(frozen=True, eq=False)
class Training:
    """Units in canonical order, arms with the control first and then by content."""

    bins: npt.NDArray[np.uint8]  # (n_units, n_covariates)
    binning: Binning
    arms: tuple[str, ...]  # Names by internal code; the control first.
    # arm, part: (n_units,)
    arm: IntArray
    part: IntArray
    outcome: FloatArray  # (n_units,)
    propensity: FloatArray  # (n_units, n_arms): By internal code; rows sum to 1.
    varies: bool  # Whether propensities differ between units.
    clustered: bool
    order: IntArray  # (n_units,): Row of the caller's kept units that stands at each place.
    kept: BoolArray  # (n_rows,): Rows with an outcome whose arm was kept.
    silent: BoolArray  # (n_rows,): Rows of such arms without an outcome.
    silent_bins: npt.NDArray[np.uint8]  # (n_silent, n_covariates)
    dropped: tuple[str, ...]  # Arms left out for want of units.
    data_hash: str

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.arm.size)

    @property
    def weight(self) -> FloatArray:
        """One over the propensity of the unit's own arm, or 1 where propensities do not vary."""
        if not self.varies:
            return np.ones(self.n_units)
        weight: FloatArray = 1.0 / self.propensity[np.arange(self.n_units), self.arm]
        return weight


def read_training(
    X: Any,
    arm: Any,
    outcome: Any,
    *,
    control: str,
    propensity: Any,
    strata: Any,
    cluster: Any,
    unit: Any,
    n_bins: int | None,
    drop_small_arms: bool,
) -> Training:
    """Checked and coded inputs."""
    y = read_outcome(outcome) + 0.0
    labels = encode(arm, "arm", y.size)
    names, control = labels.names, label_text(control)
    if control not in names:
        raise InputError(f"control: found no unit of '{control}'; needed one of {', '.join(names)}")
    clusters = None if cluster is None else encode(cluster, "cluster", y.size).codes
    shares = _propensity(propensity, names, strata, labels.codes)
    _check_match(shares, names, labels.codes, clusters)
    small = _small_arms(labels.codes, names, control, clusters, ~np.isnan(y), drop_small_arms)
    kept_arms = _kept_arms(names, control, small)
    code = np.full(len(names), -1)
    code[kept_arms] = np.arange(len(kept_arms))
    stays = code[labels.codes] >= 0
    kept, silent = stays & ~np.isnan(y), stays & np.isnan(y)
    every, named = _columns(X, y.size)
    columns, unseen = _rows(every, kept), _rows(every, silent)
    binning = Binning.learn(columns, n_bins or default_bins(len(kept_arms)), named)
    bins = np.column_stack([c.bins(columns[c.name]) for c in binning.columns])
    shares = shares[kept][:, kept_arms]
    shares = shares / shares.sum(axis=1, keepdims=True)
    arms = np.asarray(code[labels.codes][kept], np.int64)
    own = shares[np.arange(arms.size), arms]
    numbers = [c.bins(v) if isinstance(v := columns[c.name], list) else v for c in binning.columns]
    part = np.zeros(arms.size, np.int64) if clusters is None else clusters[kept]
    if unit is None:
        rows = row_hash(*numbers, y[kept], np.round(own, 9), part)
    else:
        rows = row_hash(_ids(unit, y.size)[kept])
    by_content = arm_order(arms, len(kept_arms), rows)
    internal = np.argsort(by_content)[arms]
    order = np.argsort(row_hash(rows, internal), kind="stable")
    y = y[kept][order]
    if np.ptp(y) == 0:
        raise EstimationError(f"outcome: found {y[0]:g} for every unit; needed values that differ")
    part = np.arange(y.size) if clusters is None else np.unique(part[order], return_inverse=True)[1]
    shares = shares[order][:, by_content]
    return Training(
        bins=np.ascontiguousarray(bins[order]),
        binning=binning,
        arms=tuple(names[kept_arms[k]] for k in by_content),
        arm=np.ascontiguousarray(internal[order]),
        part=np.asarray(part, np.int64),
        outcome=y,
        propensity=shares,
        varies=bool((np.ptp(shares, axis=0) > 1e-9).any()),
        clustered=clusters is not None,
        order=order,
        kept=kept,
        silent=silent,
        silent_bins=np.column_stack([c.bins(unseen[c.name]) for c in binning.columns]),
        dropped=small,
        data_hash=hash_arrays(
            bins=bins[order],
            outcome=y,
            part=part,
            propensity=shares[:, np.argsort(by_content)],
            arm=arms[order],
            arms=[names[k] for k in kept_arms],
        ),
    )


def _kept_arms(names: tuple[str, ...], control: str, small: tuple[str, ...]) -> list[int]:
    """Codes of the arms that stay, the control first."""
    others = [k for k, name in enumerate(names) if name != control and name not in small]
    if not others:
        raise EstimationError("arm: found no arm beside the control; needed at least one")
    return [names.index(control), *others]


def _columns(X: Any, n_units: int) -> tuple[dict[str, Values], bool]:
    """Covariates of all rows; whether names were given."""
    columns, named = read_columns(X)
    n_rows = len(next(iter(columns.values())))
    if n_rows != n_units:
        raise InputError(f"X: found {n_rows:,} rows for {n_units:,} outcomes; needed one each")
    return columns, named


def _rows(columns: dict[str, Values], which: BoolArray) -> dict[str, Values]:
    if which.all():
        return columns
    return {
        name: [v for v, keep in zip(values, which, strict=True) if keep]
        if isinstance(values, list)
        else values[which]
        for name, values in columns.items()
    }


def default_bins(n_arms: int) -> int:
    """Bins of a covariate: the more arms share the units, the fewer; 255 for two, 32 for 17."""
    return int(np.clip(544 // n_arms, 32, 255))


def _ids(unit: Any, n_units: int) -> IntArray:
    """Codes of ids, each of which stands once."""
    labels = encode(unit, "unit", n_units)
    n_repeats = n_units - len(labels.levels)
    if n_repeats:
        raise InputError(
            f"unit: found {n_repeats:,} repeats among {n_units:,} ids; needed each once; use "
            "cluster for what holds several rows"
        )
    return labels.codes


def _small_arms(
    codes: IntArray,
    names: tuple[str, ...],
    control: str,
    cluster: IntArray | None,
    known: BoolArray,
    drop: bool,
) -> tuple[str, ...]:
    """Arms with too few units or clusters with an outcome for halves of halves."""
    if cluster is None:
        counts, what = np.bincount(codes[known], minlength=len(names)), "units"
    else:
        pairs = np.unique(np.column_stack([cluster, codes])[known], axis=0)
        counts, what = np.bincount(pairs[:, 1], minlength=len(names)), "clusters"
    small = [k for k in range(len(names)) if counts[k] < MIN_UNITS]
    if small and (not drop or names.index(control) in small):
        raise EstimationError(
            f"arm: {len(small)} arms have too few {what} for an honest split, which takes half of "
            "a half",
            [
                Fault(
                    f"arm '{names[k]}'",
                    f"{counts[k]:,} {what}",
                    f"at least {MIN_UNITS}",
                    "" if names[k] == control else "leave it out with drop_small_arms=True",
                )
                for k in small
            ],
        )
    return tuple(names[k] for k in small)


def _propensity(
    propensity: Any, names: tuple[str, ...], strata: Any, codes: IntArray
) -> FloatArray:
    """Probability of every arm for every unit, (n_units, n_arms), in the order of the names."""
    n = codes.size
    shares = read_propensity(propensity, names, n, strata)
    if shares.ndim == 1:
        raise InputError(
            f"propensity: found shape {shares.shape}; needed ({n:,}, {len(names)}), one column an "
            f"arm in the order {list_names(names)}, or a mapping of arm to share"
        )
    _check_propensity(shares, names)
    return shares


def _check_propensity(shares: FloatArray, names: tuple[str, ...]) -> None:
    if not (np.isfinite(shares) & (shares > 0) & (shares < 1)).all():
        bad = [n for n, c in zip(names, shares.T, strict=True) if not ((c > 0) & (c < 1)).all()]
        raise InputError(
            f"propensity: found values outside (0, 1) for {', '.join(bad)}; needed probabilities "
            "above 0 and below 1; leave out units that could not have been given every arm"
        )
    total = shares.sum(axis=1)
    worst = float(total[np.argmax(np.abs(total - 1))])
    if abs(worst - 1) > _SUM_TOLERANCE:
        raise InputError(f"propensity: found a sum over arms of {worst:.6g}; needed 1")


def _check_match(
    shares: FloatArray, names: tuple[str, ...], codes: IntArray, cluster: IntArray | None
) -> None:
    """The propensities could have produced these arms: expected against realized counts."""
    expected = shares.sum(axis=0)
    found = np.bincount(codes, minlength=len(names))
    sd = np.sqrt((shares * (1 - shares)).sum(axis=0))
    if cluster is not None:  # drawn together, so counts vary more
        sd *= np.sqrt((np.bincount(cluster) ** 2.0).sum() / codes.size)
    faults = [
        Fault(
            f"arm '{names[k]}'",
            f"{found[k]:,} units",
            f"about {expected[k]:,.0f}",
            "give the probabilities that the arms were drawn with, in the right order",
        )
        for k in np.flatnonzero(np.abs(found - expected) > _MISMATCH_SD * np.maximum(sd, 1))
    ]
    if faults:
        raise InputError("propensity: found probabilities that do not match the arms", faults)


def covariates_tried(n_tried: int | None, n_covariates: int) -> int:
    """Covariates tried at a node: as given, or all up to 21, else their root plus 20."""
    if n_tried is None:
        return min(n_covariates, int(np.ceil(np.sqrt(n_covariates) + 20)))
    if not 1 <= n_tried <= n_covariates:
        raise InputError(f"mtry: found {n_tried}; needed 1 to {n_covariates} covariates")
    return n_tried


def check_options(
    n_trees: int,
    min_arm_leaf: int | None,
    pairs: str | None,
    n_bins: int | None,
    n_threads: int | None,
) -> None:
    """Nothing, if the forest's settings can be used; InputError names the first that cannot."""
    if n_trees < 4:
        raise InputError(f"n_trees: found {n_trees}; needed at least 4, better 2,000")
    if min_arm_leaf is not None and min_arm_leaf < 1:
        raise InputError(f"min_arm_leaf: found {min_arm_leaf}; needed at least 1, or None")
    if pairs not in {None, "two-factor"}:
        raise InputError(f"pairs: found {pairs!r}; needed 'two-factor' or None")
    if n_bins is not None and not 2 <= n_bins <= 255:
        raise InputError(f"n_bins: found {n_bins}; needed 2 to 255")
    if n_threads is not None and n_threads < 1:
        raise InputError(f"n_threads: found {n_threads}; needed at least 1, or None")


# An order of units and arms that depends on what they are, not on where they stand or on names.

HashArray = npt.NDArray[np.uint64]


def row_hash(*columns: npt.NDArray[np.generic]) -> HashArray:
    """64 bits of each row's contents, (n_units,)."""
    total = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        total = mixed(total ^ _bits(column))
    return total


def arm_order(arm: IntArray, n_arms: int, rows: HashArray) -> IntArray:
    """Arms in an order free of their names: control (code 0) first, then by size and contents."""
    sums = np.zeros(n_arms, np.uint64)
    np.add.at(sums, arm, rows)
    counts = np.bincount(arm, minlength=n_arms)
    others = np.arange(1, n_arms)
    order = np.lexsort((others, sums[1:], counts[1:]))
    return np.concatenate([[0], others[order]])


def _bits(column: npt.NDArray[np.generic]) -> HashArray:
    """Values as 64 bits, equal for equal values."""
    if column.dtype.kind == "f":
        values: FloatArray = np.where(np.isnan(column), np.nan, column.astype(np.float64) + 0.0)
        return np.ascontiguousarray(values).view(np.uint64)
    return column.astype(np.int64).view(np.uint64)
