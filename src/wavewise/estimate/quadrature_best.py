"""Which of several independent beta variables is the largest, and by how much: by quadrature.

``prob_k = int f_k(t) prod_{j != k} F_j(t) dt`` for all arms on one set of panels, where the largest
variable has its mass; what is too rare to be seen there is integrated on panels of its own.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from wavewise.errors import EstimationError
from wavewise.estimate.quadrature import integrate
from wavewise.estimate.quadrature_beta import TURN_LOGITS, LogitBetas
from wavewise.estimate.quadrature_rare import log_prob_largest, log_shortfall
from wavewise.results import FloatArray, IntArray

__all__ = ["Best", "best_of"]

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

    Parameters
    ----------
    a, b : (n_arms,) array of float
        Parameters, above 0.

    Returns
    -------
    Best
        ``log_prob`` (n_arms,), log P(theta_k = max_j theta_j); ``shortfall`` (n_arms,),
        E[max_j theta_j] - E[theta_k].

    Raises
    ------
    EstimationError
        The quadrature did not reach its accuracy.

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
