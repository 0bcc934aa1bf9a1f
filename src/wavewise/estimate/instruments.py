"""Two-stage least squares with as many instruments as received doses."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.labels import compress, group_sum
from wavewise.estimate.sample import Sample
from wavewise.results import FloatArray, IntArray

__all__ = ["Instrumented", "instrumented"]

_RANK_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Instrumented:
    """Coefficients of what was received, one an arm.

    Parameters
    ----------
    arms : tuple of str
        The arms, in the order of the arrays.
    effects : array of float, shape (n_arms,)
        Coefficients.
    cov : array of float, shape (n_arms, n_arms)
        Their covariance.
    df : float
        Degrees of freedom of the standard errors.
    se : {'HC1', 'CR1'}
        Kind of the covariance.
    first_stage, first_stage_f : array of float, shape (n_arms,)
        What assignment adds to the arm's dose, and its robust F.
    """

    arms: tuple[str, ...]
    effects: FloatArray
    cov: FloatArray
    df: float
    se: Literal["HC1", "CR1"]
    first_stage: FloatArray
    first_stage_f: FloatArray


def instrumented(sample: Sample, dose: FloatArray) -> Instrumented:
    """Effects of the dose by two-stage least squares, arm indicators as instruments.

    Parameters
    ----------
    sample : Sample
        Comparable units of the control and of arms that reached somebody.
    dose : array of float, shape (n_units,)
        What each unit received.

    Raises
    ------
    EstimationError
        There are fewer units than coefficients, one cluster, or columns that others hold.

    Notes
    -----
    Strata effects are taken out of every column (Frisch-Waugh-Lovell holds for instruments too).
    """
    codes = [k for k in range(1, len(sample.arms)) if (sample.arm == k).any()]
    arms = (sample.arm[:, None] == np.array(codes)).astype(np.float64)
    doses = dose[:, None] if len(codes) == 1 else arms * dose[:, None]
    controls = _controls(sample)
    strata = np.zeros(dose.size, np.int64) if sample.strata is None else compress(sample.strata)[0]
    n_coefficients = int(strata.max()) + 1 + arms.shape[1] + controls.shape[1]
    if dose.size <= n_coefficients:
        raise EstimationError(
            f"found {dose.size:,} units for {n_coefficients:,} coefficients; needed more units"
        )
    weight = np.ones(dose.size) if sample.weights is None else sample.weights
    z, x, y = (
        _within(columns, strata, weight)
        for columns in (
            np.column_stack([arms, controls]),
            np.column_stack([doses, controls]),
            sample.outcome[:, None],
        )
    )
    _check_rank(z)
    cluster = None if sample.cluster is None else compress(sample.cluster)[0]
    scale, df = _small_sample(dose.size, n_coefficients, cluster)
    bread = np.linalg.pinv(z.T @ x)
    beta = bread @ (z.T @ y)[:, 0]
    cov = bread @ _meat(z, y[:, 0] - x @ beta, cluster) @ bread.T * scale
    k = len(codes)
    stage, stage_f = _first_stage(z, x, k, cluster, scale)
    return Instrumented(
        arms=tuple(sample.arms[code] for code in codes),
        effects=beta[:k],
        cov=cov[:k, :k],
        df=df,
        se="HC1" if cluster is None else "CR1",
        first_stage=stage,
        first_stage_f=stage_f,
    )


def _controls(sample: Sample) -> FloatArray:
    if sample.covariates is None:
        return np.empty((sample.n_units, 0))
    means: FloatArray = np.average(sample.covariates, axis=0, weights=sample.weights)
    return sample.covariates - means


def _within(columns: FloatArray, strata: IntArray, weight: FloatArray) -> FloatArray:
    """Deviations from the stratum's weighted mean, scaled by the root of the weight."""
    total = group_sum(strata, weight)
    means = np.column_stack([group_sum(strata, weight * c) / total for c in columns.T])
    scaled: FloatArray = (columns - means[strata]) * np.sqrt(weight)[:, None]
    return scaled


def _check_rank(z: FloatArray) -> None:
    size = np.sqrt((z**2).sum(axis=0))
    if not size.all() or np.linalg.svd(z / size, compute_uv=False)[-1] < _RANK_TOLERANCE:
        raise EstimationError(
            "found arms, strata and covariates that are linear combinations of others; needed "
            "columns that vary by themselves; leave some covariates out, or use coarser strata"
        )


def _small_sample(
    n_units: int, n_coefficients: int, cluster: IntArray | None
) -> tuple[float, float]:
    """Factor of the covariance, and degrees of freedom."""
    if cluster is None:
        return n_units / (n_units - n_coefficients), float(n_units - n_coefficients)
    n_clusters = int(cluster.max()) + 1
    if n_clusters < 2:
        raise EstimationError("found a single cluster; needed two or more")
    factor = n_clusters / (n_clusters - 1) * (n_units - 1) / (n_units - n_coefficients)
    return factor, float(n_clusters - 1)


def _meat(z: FloatArray, residual: FloatArray, cluster: IntArray | None) -> FloatArray:
    scores = z * residual[:, None]
    if cluster is not None:
        scores = np.column_stack([group_sum(cluster, column) for column in scores.T])
    meat: FloatArray = scores.T @ scores
    return meat


def _first_stage(
    z: FloatArray, x: FloatArray, k: int, cluster: IntArray | None, scale: float
) -> tuple[FloatArray, FloatArray]:
    """Coefficient of each arm's own instrument, and its robust F."""
    inverse = np.linalg.inv(z.T @ z)
    stage, f = np.empty(k), np.empty(k)
    for j in range(k):
        pi = inverse @ (z.T @ x[:, j])
        cov = inverse @ _meat(z, x[:, j] - z @ pi, cluster) @ inverse * scale
        stage[j] = pi[j]
        noise = np.finfo(np.float64).eps ** 1.5 * pi[j] ** 2
        f[j] = np.inf if cov[j, j] <= noise else pi[j] ** 2 / cov[j, j]
    return stage, f
