"""Integrals far too small for panels that fit the common case: each on its own panels, in logs.

Every integrand here is a product of a density or survival function and of distribution functions
of log-concave variables, hence log-concave on the logit scale: one mode, no hidden second peak. So
the mode is found first, then panels outwards from it, halved until two rules agree.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.estimate.quadrature import (
    GAUSS_WEIGHTS,
    KRONROD_WEIGHTS,
    MAX_HALVINGS,
    halves,
    not_settled,
    panel_nodes,
)
from wavewise.estimate.quadrature_beta import LogitBetas
from wavewise.results import BoolArray, FloatArray

__all__ = ["Products", "log_prob_largest", "log_shortfall"]

_DROP = 40.0  # e^-40 of the peak: where the integrand ends
_RELATIVE = 1e-6  # of the Gauss value; the Kronrod value that is kept is far closer
_NEWTON_STEPS = 150
_FIRST_EDGES = np.array([-3.0, 0.0, 3.0])

Rows = npt.NDArray[np.intp]


def log_prob_largest(betas: LogitBetas, arms: Rows) -> FloatArray:
    """Log probability that each of `arms` is the largest, log int f_k prod_{j != k} F_j dt."""
    below = np.ones((arms.size, betas.a.size), dtype=bool)
    below[np.arange(arms.size), arms] = False
    return Products(betas, arms, below, is_shortfall=False).log_integrals()


def log_shortfall(betas: LogitBetas) -> float:
    """Log of E[max_j theta_j] - E[theta_0], log int F_0 (1 - prod_{j > 0} F_j) d theta.

    Notes
    -----
    The factor in brackets telescopes into sum_i S_i prod_{0 < j < i} F_j, so that each term is
    positive and log-concave.
    """
    n_arms = betas.a.size
    arms = np.arange(1, n_arms)
    below = np.arange(n_arms) < arms[:, None]
    logs = Products(betas, arms, below, is_shortfall=True).log_integrals()
    return float(special.logsumexp(logs))


@dataclass(frozen=True)
class Products:
    """Products of one factor a row, f_i dt or S_i d theta, with distribution functions.

    Parameters
    ----------
    betas : LogitBetas
    factor : (n_rows,) array of int
        The arm whose density or survival function is the factor.
    below : (n_rows, n_arms) array of bool
        The arms whose distribution functions are factors.
    is_shortfall : bool
        The factor is the survival function and d theta = x (1 - x) dt; else the density and dt.
    """

    betas: LogitBetas
    factor: Rows
    below: BoolArray
    is_shortfall: bool

    def log_integrals(self) -> FloatArray:
        """Log of each row's integral over the whole line, (n_rows,)."""
        mode, scale = self._modes()
        peak = self._log_values(np.arange(self.factor.size), mode[:, None])[:, 0]
        rows, left, right = self._first_panels(mode, scale, peak)
        return np.asarray(peak + np.log(self._refined(rows, left, right, peak)))

    def _log_values(self, rows: Rows, t: FloatArray) -> FloatArray:
        """Log integrand of each row at its points, (n_points, n_nodes)."""
        factor = self.factor[rows][:, None]
        if self.is_shortfall:
            jacobian = special.log_expit(t) + special.log_expit(-t)
            values = self.betas.log_sf(t, factor) + jacobian
        else:
            values = self.betas.log_density(t, factor)
        point, node, arm = self._active(rows, t)
        logs = self.betas.log_cdf(t[point, node], arm)
        flat = point * t.shape[1] + node
        return np.asarray(values + np.bincount(flat, logs, t.size).reshape(t.shape))

    def _active(self, rows: Rows, t: FloatArray) -> tuple[Rows, Rows, Rows]:
        """Where a distribution function differs from 1: point, node and arm of each place."""
        top = self.betas.edges[:, -2]  # 6.75 levels up: above lie 1e-11
        arms = np.flatnonzero(top > t.min())
        active = self.below[rows][:, None, arms] & (t[:, :, None] < top[arms])
        point, node, column = np.nonzero(active)
        return point, node, arms[column]

    def _derivatives(self, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of every row's log integrand at one point each."""
        betas, factor = self.betas, self.factor
        slope, curvature = betas.slope(t, factor), betas.curvature(t, factor)
        if self.is_shortfall:
            hazard = np.exp(betas.log_density(t, factor) - betas.log_sf(t, factor))
            slope, curvature = -hazard, -hazard * (slope + hazard)
            slope = slope - np.tanh(t / 2)
            curvature = curvature - 2 * special.expit(t) * special.expit(-t)
        row, _, arm = self._active(np.arange(factor.size), t[:, None])
        at = t[row]
        rate = np.exp(betas.log_density(at, arm) - betas.log_cdf(at, arm))
        bend = rate * (betas.slope(at, arm) - rate)
        slope = slope + np.bincount(row, rate, factor.size)
        return slope, curvature + np.bincount(row, bend, factor.size)

    def _modes(self) -> tuple[FloatArray, FloatArray]:
        """Each row's mode and the width 1 / sqrt(-curvature) there: Newton within a bracket."""
        edges = self.betas.edges
        low = np.full(self.factor.size, edges[:, 0].min())
        high = np.full(self.factor.size, edges[:, -1].max())
        t = 0.5 * (low + high)
        for step in range(_NEWTON_STEPS):
            slope, curvature = self._derivatives(t)
            curvature = np.minimum(curvature, -1e-200)
            if (np.abs(slope) <= 1e-3 * np.sqrt(-curvature)).all():
                break
            low, high = np.where(slope > 0, t, low), np.where(slope > 0, high, t)
            newton = t - slope / curvature
            inside = (newton > low) & (newton < high) & (step % 3 < 2)  # every third step bisects
            t = np.where(inside, newton, 0.5 * (low + high))
        return t, 1 / np.sqrt(-curvature)

    def _reach(self, mode: FloatArray, step: FloatArray, peak: FloatArray) -> FloatArray:
        """`step`, doubled until the integrand has fallen by e^-40 at that distance."""
        step = step.copy()
        rows = np.arange(mode.size)
        while rows.size:
            values = self._log_values(rows, (mode + step)[rows, None])[:, 0]
            rows = rows[values > peak[rows] - _DROP]
            step[rows] *= 2
        return step

    def _first_panels(
        self, mode: FloatArray, scale: FloatArray, peak: FloatArray
    ) -> tuple[Rows, FloatArray, FloatArray]:
        left = self._reach(mode, -9 * scale, peak)
        right = self._reach(mode, 9 * scale, peak)
        middle = scale[:, None] * _FIRST_EDGES
        edges = mode[:, None] + np.column_stack([left, middle, right])
        rows = np.repeat(np.arange(mode.size), edges.shape[1] - 1)
        return rows, edges[:, :-1].ravel(), edges[:, 1:].ravel()

    def _refined(
        self, rows: Rows, left: FloatArray, right: FloatArray, peak: FloatArray
    ) -> FloatArray:
        """Integrals relative to the peak, panels halved until Gauss and Kronrod agree."""
        n_rows = self.factor.size
        settled = np.zeros(n_rows)
        for _ in range(MAX_HALVINGS):
            nodes, half = panel_nodes(left, right)
            values = np.exp(self._log_values(rows, nodes) - peak[rows][:, None])
            kronrod, gauss = half * (values @ KRONROD_WEIGHTS), half * (values @ GAUSS_WEIGHTS)
            total = settled + np.bincount(rows, kronrod, n_rows)
            rough = np.abs(kronrod - gauss) > _RELATIVE * total[rows]
            if not rough.any():
                return np.asarray(total)
            settled = settled + np.bincount(rows[~rough], kronrod[~rough], n_rows)
            left, right = halves(left[rough], right[rough])
            rows = np.concatenate([rows[rough], rows[rough]])
        raise not_settled(int(rough.sum()))
