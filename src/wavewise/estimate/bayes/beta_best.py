"""Which of several independent beta variables is the largest, and by how much: by quadrature.

``prob_k = int f_k(t) prod_{j != k} F_j(t) dt`` for all arms on one set of panels, where the largest
variable has its mass; what is too rare to be seen there is integrated on panels of its own.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.errors import EstimationError
from wavewise.estimate.numerics.quadrature import (
    GAUSS_WEIGHTS,
    KRONROD_WEIGHTS,
    MAX_HALVINGS,
    halves,
    integrate,
    not_settled,
    panel_nodes,
)
from wavewise.shared.results import BoolArray, FloatArray, IntArray

__all__ = ["EDGE_LEVELS", "TURN_LOGITS", "LogitBetas", "best_of"]


# Beta distributions on the logit scale, exact far into both tails.

Arms = npt.NDArray[np.intp] | IntArray
# Levels z of the panel edges: where log f has fallen by z^2 / 2. Beyond 9 lie about 1e-19.
EDGE_LEVELS = np.array([-9.0, -6.75, -4.5, -2.25, 0.0, 2.25, 4.5, 6.75, 9.0])
# However wide a density (1 / a logits to the left), it turns within this distance of its mode.
TURN_LOGITS = 12.0

_FAR_TAIL = 1e-80  # the incomplete beta function loses all digits near 1e-240
_HIGH_LOGIT = 5.0
_FAR_LOGIT = 690.0  # beyond this exp(-|t|) is near the smallest double
_LAGUERRE_NODES, _LAGUERRE_WEIGHTS = np.polynomial.laguerre.laggauss(20)
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)


def _stirling_error(z: FloatArray) -> FloatArray:
    """Gap of log Gamma(z) from Stirling's (z - 1/2) log z - z + log(2 pi) / 2."""
    small = np.minimum(z, 16.0)
    exact = special.gammaln(small + 1) - (small + 0.5) * np.log(small) + small
    large = np.maximum(z, 16.0)
    series = np.polynomial.polynomial.polyval(large**-2.0, _STIRLING) / large
    return np.asarray(np.where(z < 16.0, exact - 0.5 * np.log(2 * np.pi), series))


@dataclass(frozen=True)
class LogitBetas:
    """Independent beta distributions on the logit scale.

    Notes
    -----
    Each method takes points ``t`` and arm indices ``arm`` that broadcast against each other, and
    returns an array of their common shape. No method subtracts large logarithms: the density is
    computed from its peak by the deviance, so that it keeps 1e-11 at a + b = 1e8 where
    ``a log x + b log(1 - x) - log B(a, b)`` keeps 1e-8.

    References
    ----------
    Loader (2000), *Fast and Accurate Computation of Binomial Probabilities* (deviance form).
    """

    # a, b: (n_arms,): Parameters, above 0.
    a: FloatArray
    b: FloatArray

    @cached_property
    def total(self) -> FloatArray:
        """Sum of both parameters, (n_arms,)."""
        return self.a + self.b

    @cached_property
    def mode(self) -> FloatArray:
        """Logit at which the density on the logit scale is highest, log(a / b)."""
        return np.asarray(np.log(self.a) - np.log(self.b))

    @cached_property
    def _smaller_mean(self) -> FloatArray:
        return np.asarray(np.minimum(self.a, self.b) / self.total)

    @cached_property
    def _sign(self) -> FloatArray:
        # reflected to a mean of at most 1/2, where m d and log(1 + m(e^d - 1)) stay small
        return np.where(self.a <= self.b, 1.0, -1.0)

    @cached_property
    def _log_peak(self) -> FloatArray:
        error = _stirling_error(self.total) - _stirling_error(self.a) - _stirling_error(self.b)
        return np.asarray(0.5 * np.log(self.a / (2 * np.pi) * (self.b / self.total)) + error)

    def _deviance(self, d: FloatArray, arm: Arms) -> FloatArray:
        mean = self._smaller_mean[arm]
        bounded = np.minimum(d, 700.0)  # beyond, the logarithm is linear in d
        rise = np.log1p(mean * np.expm1(bounded)) + (d - bounded)
        return np.asarray(self.total[arm] * (rise - mean * d))

    def log_density(self, t: FloatArray, arm: Arms) -> FloatArray:
        """Log density on the logit scale."""
        d = self._sign[arm] * (t - self.mode[arm])
        return np.asarray(self._log_peak[arm] - self._deviance(d, arm))

    def slope(self, t: FloatArray, arm: Arms) -> FloatArray:
        """Derivative of the log density, a - (a + b) x."""
        return np.asarray(
            self.a[arm] * special.expit(-t) - self.b[arm] * special.expit(np.asarray(t))
        )

    def curvature(self, t: FloatArray, arm: Arms) -> FloatArray:
        """Second derivative of the log density, -(a + b) x (1 - x)."""
        return np.asarray(-self.total[arm] * special.expit(-t) * special.expit(np.asarray(t)))

    def log_cdf(self, t: FloatArray, arm: Arms) -> FloatArray:
        """Log of the distribution function."""
        below, log_tail = self._log_tail(t, arm)
        return np.where(below, log_tail, _log1m_exp(log_tail))

    def log_sf(self, t: FloatArray, arm: Arms) -> FloatArray:
        """Log of the survival function."""
        below, log_tail = self._log_tail(t, arm)
        return np.where(below, _log1m_exp(log_tail), log_tail)

    def _log_tail(self, t: FloatArray, arm: Arms) -> tuple[npt.NDArray[np.bool_], FloatArray]:
        """Whether t lies below the mode, and the log probability of the tail on that side."""
        t, arm = np.broadcast_arrays(t, arm)
        below = t < self.mode[arm]
        tail = self._tail(t, arm, below)
        far = (tail < _FAR_TAIL) | (np.abs(t) > _FAR_LOGIT)
        log_tail = np.log(np.where(far, 1.0, tail))
        if far.any():
            log_tail[far] = self._log_far_tail(t[far], arm[far], below[far])
        return below, log_tail

    def _tail(self, t: FloatArray, arm: Arms, below: npt.NDArray[np.bool_]) -> FloatArray:
        a, b = self.a[arm], self.b[arm]
        first, second = np.where(below, a, b), np.where(below, b, a)
        outward = np.where(below, t, -t)
        tail = np.asarray(special.betainc(first, second, special.expit(outward)))
        # where the argument rounds too near to 1: by its complement (five times slower)
        high = outward > _HIGH_LOGIT
        if high.any():
            small = special.expit(-outward[high])
            tail[high] = special.betaincc(second[high], first[high], small)
        return tail

    def _log_far_tail(self, t: FloatArray, arm: Arms, below: npt.NDArray[np.bool_]) -> FloatArray:
        """Log tail from the density and the integral of its decay beyond t.

        F(t) = f(t) int_0^inf exp(l(t - s) - l(t)) ds, where the exponent is exactly
        -a s - (a + b) log(1 + x (exp(-s) - 1)) and nearly -s l'(t): Laguerre's rule.
        """
        outward = np.where(below, t, -t)
        shape = np.where(below, self.a[arm], self.b[arm])
        x = special.expit(outward)
        rate = np.abs(self.slope(t, arm))
        s = _LAGUERRE_NODES / rate[..., None]
        decay = -shape[..., None] * s - self.total[arm][..., None] * np.log1p(
            x[..., None] * np.expm1(-s)
        )
        ratio = (np.exp(decay + _LAGUERRE_NODES) @ _LAGUERRE_WEIGHTS) / rate
        return np.asarray(self.log_density(t, arm) + np.log(ratio))

    @cached_property
    def edges(self) -> FloatArray:
        """Logits at which the log density has fallen by z^2 / 2, (n_arms, n_levels)."""
        z = EDGE_LEVELS * self._sign[:, None]
        arm = np.arange(self.a.size)[:, None]
        mean, total = self._smaller_mean[:, None], self.total[:, None]
        drop = 0.5 * z**2
        rate = total * np.where(z < 0, mean, 1 - mean)
        d = z / np.sqrt(total * mean * (1 - mean)) + np.sign(z) * drop / rate
        fold = drop / (total * mean)  # upwards the deviance first grows like a(e^d - 1 - d)
        d = np.minimum(d, np.log1p(2 * fold + np.sqrt(8 * fold)))
        logit_mean = np.log(mean) - np.log1p(-mean)
        for _ in range(8):  # Newton's method on a convex function
            x = special.expit(logit_mean + d)
            gap = self._deviance(d, arm) - drop
            d = d - np.divide(gap, total * (x - mean), out=np.zeros_like(d), where=z != 0)
        return np.asarray(self.mode[:, None] + self._sign[:, None] * d)


def _log1m_exp(log_p: FloatArray) -> FloatArray:
    """log(1 - exp(log_p)) for log_p <= 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(
            np.where(
                log_p > -0.7, np.log(-np.expm1(np.minimum(log_p, 0.0))), np.log1p(-np.exp(log_p))
            )
        )


_RARE = 1e-10  # below this a probability gets panels of its own
_RELATIVE = 1e-8  # allowed gap between the Gauss and the Kronrod value
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Best:
    """Log probability of each arm that it is the largest, and each arm's expected shortfall."""

    log_prob: FloatArray
    shortfall: FloatArray


def best_of(a: FloatArray, b: FloatArray) -> Best:
    """Probability that each Beta(a_k, b_k) is the largest, and its expected shortfall from it.

    Notes
    -----
    Arms are put in a canonical order first, so that the result does not depend on theirs. With h
    the arm of highest mean, E[max] - E[theta_h] = int F_h (1 - prod_{j != h} F_j) d theta has no
    cancellation, and for the others E[theta_h] - E[theta_k] is added.

    Examples
    --------
    >>> best = best_of(np.array([2.0, 1.0]), np.array([1.0, 1.0]))
    >>> np.exp(best.log_prob).round(6).tolist(), best.shortfall.round(6).tolist()
    ([0.666667, 0.333333], [0.083333, 0.25])
    """
    order = np.lexsort((b, a, a / (a + b)))[::-1]
    best = _best_of_ordered(LogitBetas(a[order], b[order]))
    log_prob, shortfall = np.empty(a.size), np.empty(a.size)
    log_prob[order], shortfall[order] = best.log_prob, best.shortfall
    return Best(log_prob, shortfall)


def _best_of_ordered(betas: LogitBetas) -> Best:
    """As `best_of`, where arm 0 has the highest mean."""
    if betas.a.size == 1:
        return Best(np.zeros(1), np.zeros(1))
    prob, lead = _bulk(betas)
    with np.errstate(divide="ignore"):
        log_prob = np.log(prob)
    rare = np.flatnonzero(prob < _RARE)
    if rare.size:
        log_prob[rare] = log_prob_largest(betas, rare)
    log_prob = _complete(log_prob)
    if lead < _RARE * _sd_of_first(betas):
        lead = float(np.exp(log_shortfall(betas)))
    return Best(log_prob, lead + _mean_gaps(betas))


def _sd_of_first(betas: LogitBetas) -> float:
    a, b, total = float(betas.a[0]), float(betas.b[0]), float(betas.total[0])
    return float(np.sqrt(a / total * (b / total) / (total + 1)))


def _mean_gaps(betas: LogitBetas) -> FloatArray:
    """Mean of arm 0 minus each mean, as a cross product (not from rounded means)."""
    a, b, total = betas.a, betas.b, betas.total
    return np.asarray(np.maximum((a[0] * b - a * b[0]) / (total[0] * total), 0.0))


def _complete(log_prob: FloatArray) -> FloatArray:
    """The log probabilities; one above 1/2 from the sum of the others."""
    top = int(np.argmax(log_prob))
    others = float(special.logsumexp(np.delete(log_prob, top)))
    gap = float(np.exp(others) + np.exp(log_prob[top])) - 1.0
    if not abs(gap) <= _TOLERANCE:
        raise EstimationError(
            f"the probabilities of being best sum to 1 {gap:+.1e}, needed 1 within {_TOLERANCE}; "
            "the counts or the prior lie outside the range that the quadrature was made for "
            "(prior from 0.001, trials up to 1e8)"
        )
    if log_prob[top] < np.log(0.5):
        return np.asarray(log_prob - np.log1p(gap))
    completed = log_prob.copy()
    completed[top] = np.log1p(-np.exp(others))
    return completed


def _bulk(betas: LogitBetas) -> tuple[FloatArray, float]:
    """Probabilities to about 1e-14, and the shortfall of arm 0, on panels shared by all arms."""
    floor = np.full(betas.a.size + 1, _RARE)
    floor[-1] *= _sd_of_first(betas)
    edges = _panel_edges(betas)
    total = integrate(lambda t: _integrands(betas, t), edges, _RELATIVE, floor)
    return total[:-1], float(total[-1])


def _integrands(betas: LogitBetas, t: FloatArray) -> FloatArray:
    """f_k prod_{j != k} F_j for each arm, and arm 0's shortfall F_0 (1 - prod_{j > 0} F_j)."""
    arm: IntArray = np.arange(betas.a.size)
    log_f = betas.log_density(t[:, None], arm)
    log_F = betas.log_cdf(t[:, None], arm)
    density = np.exp(log_f + log_F.sum(axis=1, keepdims=True) - log_F)
    jacobian = special.expit(t) * special.expit(-t)
    shortfall = -np.exp(log_F[:, 0]) * np.expm1(log_F[:, 1:].sum(axis=1)) * jacobian
    return np.column_stack([density, shortfall])


def _panel_edges(betas: LogitBetas) -> FloatArray:
    """Edges from where the largest variable, and arm 0, can lie, as fine as the narrowest arm."""
    edges = betas.edges
    start, stop = min(edges[:, 0].max(), edges[0, 0]), edges[:, -1].max()
    relevant = edges[edges[:, -1] > start]
    # the width before the first level is that to its second, the width after the last is free
    ends = np.column_stack([relevant[:, 1], relevant[:, 1:], np.full(len(relevant), np.inf)])
    starts = np.column_stack([np.zeros(len(relevant)), relevant])
    widths = ends - starts
    modes = betas.mode[edges[:, -1] > start]
    rows = np.arange(len(relevant))
    points = [float(start)]
    while points[-1] < stop:
        here = points[-1]
        level = (relevant <= here).sum(axis=1)
        width = np.where(level == 0, relevant[:, 1] - here, widths[rows, level])
        from_turn = np.where(here < modes, 0.5 * (modes - here), here - modes)
        width = np.minimum(width, np.maximum(TURN_LOGITS, from_turn))
        points.append(min(here + float(width.min()), float(stop)))
    return np.array(points)


# Integrals far too small for panels that fit the common case: each on its own panels, in logs.

_DROP = 40.0  # e^-40 of the peak: where the integrand ends
_RARE_RELATIVE = 1e-6  # of the Gauss value; the Kronrod value that is kept is far closer
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
    """Products of one factor a row, f_i dt or S_i d theta, with distribution functions."""

    betas: LogitBetas
    factor: Rows  # (n_rows,): The arm whose density or survival function is the factor.
    below: BoolArray  # (n_rows, n_arms): The arms whose distribution functions are factors.
    # The factor is the survival function and d theta = x (1 - x) dt; else the density and dt.
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
            rough = np.abs(kronrod - gauss) > _RARE_RELATIVE * total[rows]
            if not rough.any():
                return np.asarray(total)
            settled = settled + np.bincount(rows[~rough], kronrod[~rough], n_rows)
            left, right = halves(left[rough], right[rough])
            rows = np.concatenate([rows[rough], rows[rough]])
        raise not_settled(int(rough.sum()))
