"""One index of several outcomes: a weighted mean of them in standard deviations of the control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import EstimationError, InputError
from wavewise.shared.inputs import aligned, list_names, read_arms, read_outcomes
from wavewise.shared.labels import label_text
from wavewise.shared.results import (
    BoolArray,
    FloatArray,
    IntArray,
    Provenance,
    Result,
    hash_arrays,
)

__all__ = ["OutcomeIndex", "index"]

# a share of the largest eigenvalue below which outcomes are combinations of one another
_DEPENDENT = 1e-10
# a standard deviation this small, relative to the largest value, is rounding
_CONSTANT = 1e-12


@dataclass(frozen=True, eq=False)
class OutcomeIndex(Result, kind="index of outcomes"):
    """An index of several outcomes. As an array (``numpy.asarray``) it is its `values`."""

    outcomes: tuple[str, ...]  # That it is made of.
    weights: FloatArray  # (n_outcomes,): Weight of each; they sum to 1.
    higher_is_better: tuple[bool, ...]  # Of each; the sign of an outcome is turned where not.
    # (n_outcomes,): Mean and standard deviation in the control, by which outcomes are scaled.
    control_mean: FloatArray
    control_sd: FloatArray
    # (n_outcomes, n_outcomes): Covariance of the scaled outcomes over all units.
    cov: FloatArray
    n_known: IntArray  # (n_outcomes,): Units whose outcome is known.
    # (n_units,): Higher is better, in standard deviations of the control; not-a-number for a unit
    # without any outcome.
    values: FloatArray
    control: str
    registered: bool  # Whether the weights were given, and not estimated from the data.
    provenance: Provenance

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=True if copy is None else copy)

    def of(self, outcomes: Any) -> FloatArray:
        """The same index of other units: same weights, same scale.

        Parameters
        ----------
        outcomes : as in `index`, with the same outcomes
            Of the other units.

        Returns
        -------
        array, shape (n_units,)
            Not-a-number for a unit without any outcome.
        """
        columns = read_outcomes(outcomes)
        if set(columns) != set(self.outcomes):
            raise InputError(
                f"outcomes: found {list_names(tuple(columns))}; needed "
                f"{list_names(self.outcomes)}, which the index is made of"
            )
        raw = np.column_stack([columns[name] for name in self.outcomes])
        return _weighted(_scaled(raw, self), self.weights)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the index means."""
        how = "as given" if self.registered else "by the inverse covariance of the outcomes"
        turned = [n for n, up in zip(self.outcomes, self.higher_is_better, strict=True) if not up]
        negative = [n for n, w in zip(self.outcomes, self.weights, strict=True) if w < 0]
        lines = [
            f"Outcomes in standard deviations of '{self.control}', weighted {how}; higher is "
            "better."
        ]
        if turned:
            lines.append(f"Lower is better for {list_names(turned)}: their sign is turned.")
        if negative:
            lines.append(
                f"The weight of {list_names(negative)} is below 0, since other outcomes hold what "
                "they say: a unit that does better in them has a lower index; give weights, or "
                "leave them out."
            )
        return tuple(lines)

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "outcome": list(self.outcomes),
                "weight": self.weights,
                "higher_is_better": list(self.higher_is_better),
                "control_mean": self.control_mean,
                "control_sd": self.control_sd,
                "n_units": self.n_known,
            },
            schema_overrides={"outcome": pl.String, "higher_is_better": pl.Boolean},
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "control": self.control,
            "registered": self.registered,
            "rows": self._frame(),
            "cov": self.cov,
            "n_units": int((~np.isnan(self.values)).sum()),
            "n_missing": int(np.isnan(self.values).sum()),
            "assumptions": self.assumptions,
        }


@aligned("outcomes", "arm")
def index(
    outcomes: Any,
    arm: Any,
    *,
    control: Any = "control",
    weights: Mapping[str, float] | Sequence[float] | None = None,
    higher_is_better: Mapping[str, bool] | bool = True,
) -> OutcomeIndex:
    """Index of several outcomes, in standard deviations of the control, higher being better.

    Parameters
    ----------
    outcomes : mapping or frame, name to array (n_units,); or array, shape (n_units, n_outcomes)
        Outcomes; not-a-number where one is missing.
    arm : array-like, shape (n_units,)
        Label of each unit's arm.
    control : label
        The arm whose mean and standard deviation scale the outcomes.
    weights : mapping of str to float, or sequence, shape (n_outcomes,); optional
        Weight of each outcome (not of each unit), 0 or more, scaled to sum to 1; how much an
        outcome counts, not which way. By default the inverse covariance of the outcomes decides.
    higher_is_better : mapping of str to bool, or bool
        False for outcomes of which the programme wants less: their sign is turned. Outcomes that
        are not named are better when higher.

    Returns
    -------
    OutcomeIndex
        The index of each unit in ``values``; give it to :func:`wavewise.estimate.ate`.

    Raises
    ------
    InputError
        Where arrays do not fit together, a name is unknown, or weights are negative or sum to 0.
    EstimationError
        Where an outcome does not vary in the control, or outcomes are combinations of one another.

    Notes
    -----
    ``z_ij = s_j (y_ij - m_j) / d_j`` with m_j and d_j the mean and standard deviation (n - 1) in
    the control and s_j the sign. The index is ``sum_j w_j z_ij``, ``w = S^-1 1 / (1'S^-1 1)``,
    S the covariance of z over all units, each entry over the units with both outcomes. So an
    outcome counts less the more the others already say what it says. Of a unit without some of the
    outcomes the index is the weighted mean of the others. Effects on the index are in standard
    deviations of the outcomes, not of the index.

    References
    ----------
    Anderson (2008), section 3.2.1; Kling, Liebman and Katz (2007), equal weights.

    Examples
    --------
    >>> arm = ["control"] * 4 + ["sms"] * 4
    >>> outcomes = {"logins": [0, 1, 2, 3, 2, 3, 4, 5], "days": [9, 7, 8, 6, 6, 7, 5, 6]}
    >>> found = index(outcomes, arm, higher_is_better={"days": False})
    >>> found.weights.round(3)
    array([0.067, 0.933])
    """
    columns = read_outcomes(outcomes)
    names, raw = tuple(columns), np.column_stack(list(columns.values()))
    arms, codes = read_arms(arm, len(raw), None)
    label = label_text(control)
    if label not in arms:
        raise InputError(
            f"control: found no arm '{label}'; the arms are {list_names(arms)}; name one of them"
        )
    upward = _upward(higher_is_better, names)
    given = None if weights is None else _given(weights, names)
    mean, sd = _scale(raw, codes == arms.index(label), names, label)
    cov = _pairwise_cov(np.where(upward, 1.0, -1.0) * (raw - mean) / sd)
    found = OutcomeIndex(
        outcomes=names,
        weights=_inverse(cov, names) if given is None else given,
        higher_is_better=tuple(map(bool, upward)),
        control_mean=mean,
        control_sd=sd,
        cov=cov,
        n_known=(~np.isnan(raw)).sum(axis=0),
        values=np.zeros(0),
        control=label,
        registered=given is not None,
        provenance=Provenance(
            "index, registered weights" if given is not None else "index, inverse covariance",
            hash_arrays(outcomes=raw, arm=codes, arms=np.array(arms)),
        ),
    )
    values = _weighted(_scaled(raw, found), found.weights)
    return OutcomeIndex(**{**vars(found), "values": values})


def _upward(higher_is_better: Mapping[str, bool] | bool, names: tuple[str, ...]) -> BoolArray:
    if isinstance(higher_is_better, bool | np.bool_):
        return np.full(len(names), bool(higher_is_better))
    given = {str(name): up for name, up in higher_is_better.items()}
    _refuse_unknown(given, names, "higher_is_better")
    return np.array([bool(given.get(name, True)) for name in names])


def _refuse_unknown(given: Mapping[str, Any], names: tuple[str, ...], what: str) -> None:
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InputError(
            f"{what}: found {list_names(unknown)}; needed outcomes ({list_names(names)})"
        )


def _given(weights: Mapping[str, float] | Sequence[float], names: tuple[str, ...]) -> FloatArray:
    if isinstance(weights, Mapping):
        by_name = {str(name): weight for name, weight in weights.items()}
        _refuse_unknown(by_name, names, "weights")
        values = np.array([float(by_name.get(name, 0.0)) for name in names])
    else:
        values = np.asarray(weights, dtype=np.float64)
    if values.shape != (len(names),):
        raise InputError(
            f"weights: found shape {values.shape}; needed one weight for each of the "
            f"{len(names)} outcomes, not one per unit"
        )
    if not np.isfinite(values).all() or (values < 0).any():
        raise InputError(
            f"weights: found {values.tolist()}; needed numbers of 0 or more; which way an outcome "
            "counts is said by higher_is_better"
        )
    if not values.sum() > 0:
        raise InputError("weights: found weights that sum to 0; needed a weight above 0")
    return np.asarray(values / values.sum())


def _scale(
    raw: FloatArray, in_control: BoolArray, names: tuple[str, ...], control: str
) -> tuple[FloatArray, FloatArray]:
    """Means and standard deviations in the control; refused where one does not vary."""
    of_control = raw[in_control]
    n_known = (~np.isnan(of_control)).sum(axis=0)
    few = [name for name, n in zip(names, n_known, strict=True) if n < 2]
    if few:
        raise EstimationError(
            f"outcomes: found less than two units of '{control}' with {list_names(few)}; needed "
            "two or more, to scale by their standard deviation; leave the outcome out"
        )
    mean, sd = np.nanmean(of_control, axis=0), np.nanstd(of_control, axis=0, ddof=1)
    flat = sd <= _CONSTANT * np.nanmax(np.abs(of_control), axis=0)
    if flat.any():
        wrong = [name for name, constant in zip(names, flat, strict=True) if constant]
        raise EstimationError(
            f"outcomes: found {list_names(wrong)} without variation in '{control}'; needed a "
            "standard deviation to scale by; leave the outcome out"
        )
    return mean, sd


def _pairwise_cov(scaled: FloatArray) -> FloatArray:
    """Covariances over the units with both outcomes; deviations are from each outcome's mean.

    Not-a-number for two outcomes that fewer than two units have both.
    """
    known = ~np.isnan(scaled)
    deviation = np.where(known, scaled - np.nanmean(scaled, axis=0), 0.0)
    pairs = known.T.astype(np.float64) @ known
    cov: FloatArray = deviation.T @ deviation / np.where(pairs > 1, pairs - 1, np.nan)
    return cov


def _inverse(cov: FloatArray, names: tuple[str, ...]) -> FloatArray:
    """``S^-1 1 / (1'S^-1 1)``, weights of the best linear combination (generalized least squares).

    The covariance is scaled to correlations first, so that the check knows no units.
    """
    apart = np.argwhere(np.isnan(cov))
    if len(apart):
        first, second = apart[0]
        raise EstimationError(
            f"outcomes: found less than two units with both '{names[first]}' and "
            f"'{names[second]}'; needed two or more; leave one of them out, or give weights"
        )
    size = np.sqrt(np.diag(cov))
    values, vectors = np.linalg.eigh(cov / np.outer(size, size))
    if values[0] < _DEPENDENT * values[-1]:
        part = np.abs(vectors[:, 0])
        alike = [name for name, share in zip(names, part, strict=True) if share > 1e-3]
        raise EstimationError(
            f"outcomes: found {list_names(alike)} to be linear combinations of one another over "
            "the units with both; needed outcomes that differ; leave one out, or give weights"
        )
    rows = (vectors / values) @ (vectors.T @ (1 / size)) / size
    return np.asarray(rows / rows.sum())


def _scaled(raw: FloatArray, made: OutcomeIndex) -> FloatArray:
    sign = np.where(made.higher_is_better, 1.0, -1.0)
    scaled: FloatArray = sign * (raw - made.control_mean) / made.control_sd
    return scaled


def _weighted(scaled: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted mean of what is known of each unit; not-a-number where that has no weight."""
    known = ~np.isnan(scaled)
    total = np.where(known.all(axis=1), 1.0, known @ weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, scaled, 0.0) @ weights / total
    return np.asarray(np.where(known.any(axis=1) & (total > 0), mean, np.nan))
