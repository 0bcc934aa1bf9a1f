"""Posterior of the hierarchical binomial model as weighted points, with gates and refinement."""

import math
from dataclasses import dataclass, replace

import numpy as np

from wavewise.estimate.bayes import draws as arm_draws
from wavewise.estimate.binomial.data import Counts
from wavewise.estimate.binomial.likelihood import node_count, node_step
from wavewise.estimate.binomial.posterior import LogPosterior
from wavewise.estimate.binomial.priors import BinomialPrior
from wavewise.estimate.binomial.proposal import profile, proposal_of
from wavewise.estimate.binomial.results import BinomialDiagnostics
from wavewise.estimate.numerics.importance import Peak, importance, lattice, pareto_k, split_t
from wavewise.shared.results import FloatArray

__all__ = [
    "DEFAULT_POINTS",
    "LEAST_POINTS",
    "PointFit",
    "fit_points",
    "refine",
]

# the posterior is computed at this many points at least: unless asked, and ever
DEFAULT_POINTS, LEAST_POINTS = 512, 128
# the proposal, which costs little, is drawn at this many at least
_LEAST_PROPOSED = 1024
_N_REFITS = 4
# points of the proposal that is tried again with four times as many before another one is
_MOST_OF_PROFILE, _CLOSE = 65536, 0.9
_N_PROBES = 12
# an error of the log posterior that is not worth finer nodes
_QUADRATURE_GOAL, _N_FINER = 0.01, 2


@dataclass(frozen=True, eq=False)
class PointFit:
    """Weighted points that stand for the posterior.

    Notes
    -----
    `best_shift` is a control variate: the weights hardly vary, so that most of the error of a
    probability of being best is that of the proposal's own, which more of its points take away.
    """

    # (n_points, n_dims): beta of every arm, then log kappa, then what else the model has.
    points: FloatArray
    weights: FloatArray  # (n_points,): Sum to 1.
    diagnostics: BinomialDiagnostics
    posterior: LogPosterior  # With the nodes that were used.
    # (n_arms,): Share of the proposed points at which each arm is best, less that among `points`.
    best_shift: FloatArray

    def prob_optimal(self) -> FloatArray:
        """Posterior probability that the arm is best, (n_arms,); sums to 1."""
        beta = self.points[:, : self.best_shift.size]
        return arm_draws.prob_optimal(beta, self.weights, self.best_shift)


def fit_points(
    counts: Counts, prior: BinomialPrior, n_points: int, rng: np.random.Generator
) -> PointFit:
    """Posterior of (beta, log kappa), refined until the gates are passed or attempts run out."""
    found = profile(counts, prior)
    proposal = proposal_of(found, counts.arm_trials, found.posterior.values)
    n_points = wanted = max(n_points, LEAST_POINTS)
    uniforms = lattice(max(n_points, _LEAST_PROPOSED), counts.n_arms + 1, rng)
    proposed, log_proposal = proposal.points(uniforms)
    points, log_proposal = proposed[:n_points].copy(), log_proposal[:n_points]
    posterior = found.posterior
    fit = _weighted(posterior, points, log_proposal)
    for _ in range(_N_FINER):
        if fit.diagnostics.quadrature_error < _QUADRATURE_GOAL:
            break
        posterior = posterior.finer()
        fit = _weighted(posterior, points, log_proposal)
    # weights that are nearly equal: more of the same points tell tails better than other ones
    is_close = fit.diagnostics.ess_share > _CLOSE
    while (fit.diagnostics.wants_points or fit.diagnostics.faults) and (
        is_close and 4 * n_points <= max(_MOST_OF_PROFILE, 4 * wanted)
    ):
        n_points, n_tried = 4 * n_points, fit.diagnostics.n_refinements + 1
        proposed, log_proposal = proposal.points(lattice(n_points, counts.n_arms + 1, rng))
        fit = _weighted(posterior, proposed, log_proposal)
        fit = replace(fit, diagnostics=replace(fit.diagnostics, n_refinements=n_tried))
    if fit.diagnostics.faults:
        return refine(fit, rng)
    record = replace(fit.diagnostics, from_profile=True)
    shift = _best_shift(proposed[:, :-1], n_points)
    return replace(fit, best_shift=shift, diagnostics=record)


def _best_shift(beta: FloatArray, n_points: int) -> FloatArray:
    """Share of the rows in which each arm is best, less that among the first rows."""
    best, n_arms = beta.argmax(axis=1), beta.shape[1]
    among_all = np.bincount(best, minlength=n_arms) / best.size
    return np.asarray(among_all - np.bincount(best[:n_points], minlength=n_arms) / n_points)


def refine(fit: PointFit, rng: np.random.Generator) -> PointFit:
    """Ever more points, from t distributions around the last ones, with finer nodes if need be."""
    n_points, failed = fit.points.shape[0], fit.diagnostics.faults
    known = fit  # the last fit that has weights
    for attempt in range(1, _N_REFITS + 1):
        posterior = fit.posterior
        if np.isfinite(fit.weights).all():
            known = fit
        if fit.diagnostics.quadrature_error > _QUADRATURE_GOAL:
            posterior = posterior.finer()
        n_points = min(4 * n_points, 32768)
        fit = _around(known, posterior, n_points, rng)
        record = replace(fit.diagnostics, n_refinements=attempt, failed=failed)
        fit = replace(fit, diagnostics=record)
        if not record.faults:
            break
        failed += record.faults
    return fit


def _around(
    fit: PointFit, posterior: LogPosterior, n_points: int, rng: np.random.Generator
) -> PointFit:
    """Points from a split t around the weighted points of an earlier fit."""
    proposal = split_t(posterior.values, _centre(fit.points, _flattened(fit.weights)))
    found = importance(posterior.values, proposal, lattice(n_points, fit.points.shape[1], rng))
    diagnostics = BinomialDiagnostics(
        method="importance",
        n_points=n_points,
        ess_share=found.ess_share if found.usable else 0.0,
        pareto_k=found.pareto_k,
        n_nodes=_n_nodes(posterior, fit.points[np.argmax(fit.weights)]),
        step_sd=posterior.coarse,
        quadrature_error=quadrature_error(posterior, found.x, found.weights),
        n_broken=found.n_broken,
        sd_ess=sd_ess(found.x[:, : posterior.counts.n_arms], found.weights),
    )
    return PointFit(
        found.x, found.weights, diagnostics, posterior, np.zeros(posterior.counts.n_arms)
    )


def _centre(points: FloatArray, weights: FloatArray) -> Peak:
    """Mean and root of the covariance of weighted points."""
    mean = np.einsum("i,ij->j", weights, points)
    away = points - mean
    covariance = np.einsum("ij,ik->jk", away * weights[:, None], away)
    ridge = 1e-9 * np.trace(covariance) + 1e-12
    return Peak(mean, math.nan, np.linalg.cholesky(covariance + ridge * np.eye(mean.size)))


def _flattened(weights: FloatArray) -> FloatArray:
    """Weights to a power that leaves at least 100 equally good points, to learn moments from."""
    for power in (1.0, 0.5, 0.25, 0.1, 0.03):
        flat = weights**power
        flat /= flat.sum()
        if 1 / (flat**2).sum() > min(100, 0.2 * weights.size):
            return flat
    return np.full(weights.size, 1 / weights.size)


def _weighted(posterior: LogPosterior, points: FloatArray, log_proposal: FloatArray) -> PointFit:
    """Weights of points from a normalized proposal, and the gates."""
    values = posterior.values(points)
    log_weight = values - log_proposal
    broken = np.isnan(log_weight) | (log_weight == np.inf)
    log_weight = np.where(broken, -np.inf, log_weight)
    raw = np.exp(log_weight - log_weight.max())
    weights = raw / raw.sum()
    diagnostics = BinomialDiagnostics(
        method="importance",
        n_points=weights.size,
        ess_share=float(1 / (weights.size * (weights**2).sum())),
        pareto_k=pareto_k(log_weight),
        n_nodes=_n_nodes(posterior, points[0]),
        step_sd=posterior.coarse,
        quadrature_error=quadrature_error(posterior, points, weights, values),
        n_broken=int(broken.sum()),
        sd_ess=sd_ess(points[:, : posterior.counts.n_arms], weights),
    )
    return PointFit(points, weights, diagnostics, posterior, np.zeros(posterior.counts.n_arms))


def sd_ess(beta: FloatArray, weights: FloatArray) -> float:
    """Independent normal draws whose standard deviations would be as good, at the worst arm.

    Notes
    -----
    The relative variance of a standard deviation is ``sum w^2 (z^2 - 1)^2 / 4``, that of n normal
    draws ``1 / (2 n)``. Weights' own tails say nothing of it where the posterior's are heavy.
    """
    away = beta - np.einsum("i,ij->j", weights, beta)
    square = away**2
    ratio = square / np.einsum("i,ij->j", weights, square) - 1
    return float(2 / np.einsum("i,ij->j", weights**2, ratio**2).max())


def quadrature_error(
    posterior: LogPosterior,
    points: FloatArray,
    weights: FloatArray,
    values: FloatArray | None = None,
) -> float:
    """Largest change of the log posterior over a few points when the nodes are refined.

    A change that all points share does not matter; what is left is measured from their median.
    `values` are the log posterior at the points, where that is known.
    """
    likely = np.flatnonzero(weights > 0.05 / weights.size)
    if likely.size == 0:
        return math.inf
    at = likely[:: max(likely.size // _N_PROBES, 1)][:_N_PROBES]
    known = posterior.values(points[at]) if values is None else values[at]
    change = posterior.finer().values(points[at]) - known
    return float(np.abs(change - np.median(change)).max())


def _n_nodes(posterior: LogPosterior, point: FloatArray) -> int:
    kappa = math.exp(point[posterior.counts.n_arms])
    step = node_step(kappa, posterior.counts.blocks[0].info, posterior.coarse)
    return node_count(posterior.span[0, 0], posterior.span[0, 1], step)
