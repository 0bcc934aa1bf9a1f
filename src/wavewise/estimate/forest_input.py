"""What the forest is trained on: checked, coded, and in canonical order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.errors import EstimationError, Fault, InputError
from wavewise.estimate.forest_covariates import Binning, Values, read_columns
from wavewise.estimate.forest_order import arm_order, row_hash
from wavewise.estimate.labels import encode, label_text
from wavewise.results import BoolArray, FloatArray, IntArray, hash_arrays

__all__ = ["Training", "check_options", "covariates_tried", "read_training"]

MIN_UNITS = 20  # units (or clusters) of an arm below which halves of halves hold too few
_SUM_TOLERANCE, _MISMATCH_SD = 1e-6, 7.0


@dataclass(frozen=True, eq=False)
class Training:
    """Units in canonical order, arms with the control first and then by content.

    Parameters
    ----------
    bins : (n_units, n_covariates) array of uint8
    binning : Binning
    arms : tuple of str
        Names by internal code; the control first.
    arm, part : (n_units,) array of int
    outcome : (n_units,) array of float
    propensity : (n_units, n_arms) array of float
        By internal code; rows sum to 1.
    varies : bool
        Whether propensities differ between units.
    clustered : bool
    order : (n_units,) array of int
        Row of the caller's kept units that stands at each place.
    kept : (n_rows,) array of bool
        Rows whose arm was kept.
    dropped : tuple of str
        Arms left out for want of units.
    data_hash : str
    """

    bins: npt.NDArray[np.uint8]
    binning: Binning
    arms: tuple[str, ...]
    arm: IntArray
    part: IntArray
    outcome: FloatArray
    propensity: FloatArray
    varies: bool
    clustered: bool
    order: IntArray
    kept: BoolArray
    dropped: tuple[str, ...]
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
    """Checked and coded inputs.

    Raises
    ------
    InputError
        Lengths, missing or infinite values, propensities of 0 or that do not match, no control.
    EstimationError
        Arms with too few units, unless they are to be left out; an outcome that does not vary.
    """
    y = _outcome(outcome)
    labels = encode(arm, "arm", y.size)
    names, control = labels.names, label_text(control)
    if control not in names:
        raise InputError(f"control: found no unit of '{control}'; needed one of {', '.join(names)}")
    clusters = None if cluster is None else encode(cluster, "cluster", y.size).codes
    shares = _propensity(propensity, names, strata, labels.codes)
    _check_match(shares, names, labels.codes, clusters)
    small = _small_arms(labels.codes, names, control, clusters, drop_small_arms)
    kept_arms = _kept_arms(names, control, small)
    code = np.full(len(names), -1)
    code[kept_arms] = np.arange(len(kept_arms))
    kept = code[labels.codes] >= 0
    columns, named = _kept_columns(X, kept)
    binning = Binning.learn(columns, n_bins or default_bins(len(kept_arms)), named)
    bins = np.column_stack([c.bins(columns[c.name]) for c in binning.columns])
    shares = shares[kept][:, kept_arms]
    shares = shares / shares.sum(axis=1, keepdims=True)
    arms = np.asarray(code[labels.codes][kept], np.int64)
    own = shares[np.arange(arms.size), arms]
    numbers = [c.bins(v) if isinstance(v := columns[c.name], list) else v for c in binning.columns]
    if unit is None:
        part = np.zeros(arms.size, np.int64) if clusters is None else clusters[kept]
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


def _kept_columns(X: Any, kept: BoolArray) -> tuple[dict[str, Values], bool]:
    """Covariates of the rows that stay; whether names were given."""
    columns, named = read_columns(X)
    n_rows = len(next(iter(columns.values())))
    if n_rows != kept.size:
        raise InputError(f"X: found {n_rows:,} rows for {kept.size:,} outcomes; needed one each")
    if kept.all():
        return columns, named
    return {
        name: [v for v, keep in zip(values, kept, strict=True) if keep]
        if isinstance(values, list)
        else values[kept]
        for name, values in columns.items()
    }, named


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


def _outcome(outcome: Any) -> FloatArray:
    try:
        y = np.asarray(outcome, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("outcome: found what is no array of numbers; needed one a unit") from None
    if y.ndim != 1 or y.size == 0:
        raise InputError(f"outcome: found shape {y.shape}; needed (n_units,)")
    n_bad = int((~np.isfinite(y)).sum())
    if n_bad:
        raise InputError(
            f"outcome: found {n_bad:,} missing or infinite of {y.size:,}; needed finite numbers; "
            "leave those units out"
        )
    return y + 0.0


def _small_arms(
    codes: IntArray, names: tuple[str, ...], control: str, cluster: IntArray | None, drop: bool
) -> tuple[str, ...]:
    """Arms with too few units or clusters for halves of halves."""
    if cluster is None:
        counts, what = np.bincount(codes, minlength=len(names)), "units"
    else:
        pairs = np.unique(np.column_stack([cluster, codes]), axis=0)
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
    if isinstance(propensity, Mapping) and strata is not None:
        shares = _by_stratum(propensity, names, strata, n)
    elif isinstance(propensity, Mapping) or hasattr(propensity, "columns"):
        shares = _by_arm(propensity, names, n)
    else:
        shares = np.asarray(propensity, dtype=np.float64)
        if shares.shape != (n, len(names)):
            raise InputError(
                f"propensity: found shape {shares.shape}; needed ({n:,}, {len(names)}), one column "
                f"an arm in the order {', '.join(names)}, or a mapping of arm to share"
            )
    _check_propensity(shares, names)
    return shares


def _by_stratum(
    propensity: Mapping[Any, Any], names: tuple[str, ...], strata: Any, n: int
) -> FloatArray:
    labels = encode(strata, "strata", n)
    held = {label_text(key): value for key, value in propensity.items()}
    absent = [name for name in labels.names if name not in held]
    if absent:
        raise InputError(f"propensity: found no shares for strata {', '.join(absent)}")
    table = np.concatenate([_by_arm(held[name], names, 1) for name in labels.names])
    return np.asarray(table[labels.codes], dtype=np.float64)


def _by_arm(propensity: Any, names: tuple[str, ...], n: int) -> FloatArray:
    keys = list(propensity.columns) if hasattr(propensity, "columns") else list(propensity)
    held = {label_text(key): propensity[key] for key in keys}
    if set(held) != set(names):
        raise InputError(
            f"propensity: found arms {', '.join(sorted(held))}; needed exactly those of the units, "
            f"{', '.join(names)}, the control among them"
        )
    columns = [np.broadcast_to(np.asarray(held[name], np.float64), (n,)) for name in names]
    return np.column_stack(columns)


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
        raise InputError(f"n_tried: found {n_tried}; needed 1 to {n_covariates} covariates")
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
