"""Beta-binomial variant: units differ within arm and cluster."""

import math
from dataclasses import dataclass, field

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.binomial.data import Cells, Counts, Rows, collapse
from wavewise.estimate.binomial.importance import PointFit, refine
from wavewise.estimate.binomial.likelihood import compiled, exp_in_place
from wavewise.estimate.binomial.posterior import LogPosterior, bounded
from wavewise.estimate.binomial.priors import BinomialPrior
from wavewise.estimate.binomial.results import BinomialDiagnostics
from wavewise.estimate.numerics.importance import find_peak, importance, lattice, split_t
from wavewise.shared.labels import renumber
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["OverdispersedPosterior", "fit_overdispersed"]

_MOST_TRIALS = 1000
_LEAST_POINTS = 2048


@dataclass(frozen=True, eq=False)
class OverdispersedPosterior(LogPosterior):
    """Log p(beta, log kappa, log odds of rho | data) up to a constant.

    Notes
    -----
    Given its cluster a unit's probability is Beta(theta phi, (1 - theta) phi), with
    rho = 1 / (1 + phi) uniform on (0, 1): the correlation of two trials of one unit. The variance
    of a sum of n trials is 1 + (n - 1) rho times the binomial one.
    """

    # (n_kinds, 3): Distinct units: arm, successes, failures.
    kinds: IntArray = field(default_factory=lambda: np.empty((0, 3), dtype=np.int64))
    # (n_kinds, n_clusters): Units of each kind by cluster, clusters in the order of their labels.
    tally: FloatArray = field(default_factory=lambda: np.empty((0, 0)))

    def values(self, points: FloatArray) -> FloatArray:
        """Log posterior at each point, (n_points,)."""
        out = np.empty(points.shape[0])
        low, high = float(self.span[:, 0].min()), float(self.span[:, 1].max())
        _log_likelihood(
            bounded(points, self.counts.n_arms),
            self.kinds,
            self.tally,
            low,
            high,
            self.counts.blocks[0].info,
            self.coarse,
            out,
        )
        odds = points[:, -1]
        on_rho = -np.logaddexp(0, odds) - np.logaddexp(0, -odds)
        return np.asarray(out + self.prior.log_density(points[:, :-1]) + on_rho)


def fit_overdispersed(
    rows: Rows, cells: Cells, prior: BinomialPrior, n_points: int, rng: np.random.Generator
) -> PointFit:
    """Posterior of (beta, log kappa, log odds of rho) by importance sampling, refined."""
    _refuse_rows(rows, cells)
    kinds, tally = _tally(rows, cells)
    plain = LogPosterior.of(collapse(cells.successes, cells.trials), prior, 6.0)
    posterior = OverdispersedPosterior(
        plain.counts,
        prior,
        plain.span,
        plain.reference,
        plain.coarse / 1.5,
        kinds=kinds,
        tally=tally,
    )
    peak = find_peak(posterior.values, _start(plain.counts))
    n_points = max(n_points, _LEAST_POINTS)
    proposal = split_t(posterior.values, peak)
    found = importance(posterior.values, proposal, lattice(n_points, peak.mode.size, rng))
    diagnostics = BinomialDiagnostics(
        method="importance",
        n_points=n_points,
        ess_share=found.ess_share if found.usable else 0.0,
        pareto_k=found.pareto_k,
        n_nodes=0,
        step_sd=posterior.coarse,
        quadrature_error=0.0,
        n_broken=found.n_broken,
    )
    # once more around the weighted points: the tails that matter are known only then
    shift = np.zeros(plain.counts.n_arms)
    return refine(PointFit(found.x, found.weights, diagnostics, posterior, shift), rng)


def _start(counts: Counts) -> FloatArray:
    failures = counts.arm_trials - counts.arm_successes
    odds = np.log((counts.arm_successes + 0.5) / (failures + 0.5))
    return np.concatenate([odds, [math.log(0.5), -1.5]])


def _refuse_rows(rows: Rows, cells: Cells) -> None:
    if rows.trials.max() < 2:
        raise EstimationError(
            "overdispersion: found one trial a row at most; needed several trials a unit, since a "
            "yes-or-no outcome has no spread of its own; use overdispersion=None"
        )
    n_cells = int((cells.trials > 0).sum())
    if (rows.trials > 0).sum() == n_cells and n_cells > 1:
        raise EstimationError(
            f"overdispersion: found one row for each of the {n_cells:,} combinations of arm and "
            "cluster; needed one row per unit, since sums over units hide their differences"
        )
    if rows.trials.max() > _MOST_TRIALS:
        raise EstimationError(
            f"overdispersion: found a unit with {rows.trials.max():,.0f} trials; needed at most "
            f"{_MOST_TRIALS:,}"
        )


def _tally(rows: Rows, cells: Cells) -> tuple[IntArray, FloatArray]:
    """Distinct units (arm, successes, failures), and how many of each a cluster has."""
    y, failures = rows.successes.astype(np.int64), (rows.trials - rows.successes).astype(np.int64)
    side = int(rows.trials.max()) + 1
    kind, keys = renumber((rows.arm.codes * side + y) * side + failures)
    kinds = np.column_stack([keys // side // side, keys // side % side, keys % side])
    n_clusters = len(cells.clusters)
    counts = np.bincount(kind * n_clusters + rows.cluster.codes, minlength=keys.size * n_clusters)
    tally = counts.reshape(keys.size, n_clusters).astype(np.float64)
    return kinds.astype(np.int64), np.ascontiguousarray(tally[:, tally.sum(axis=0) > 0])


@compiled
def _kind_logs(kinds: IntArray, theta: FloatArray, phi: float, out: FloatArray) -> None:
    """Log beta-binomial probability of each kind of unit, without its binomial coefficient."""
    most = 0
    for m in range(kinds.shape[0]):
        most = max(most, kinds[m, 1] + kinds[m, 2])
    all_trials, hits, misses = np.zeros(most + 1), np.zeros(most + 1), np.zeros(most + 1)
    for j in range(most):
        all_trials[j + 1] = all_trials[j] + math.log(phi + j)
    for k in range(theta.size):
        for j in range(most):
            hits[j + 1] = hits[j] + math.log(theta[k] * phi + j)
            misses[j + 1] = misses[j] + math.log((1 - theta[k]) * phi + j)
        for m in range(kinds.shape[0]):
            if kinds[m, 0] == k:
                y, failures = kinds[m, 1], kinds[m, 2]
                out[m] = hits[y] + misses[failures] - all_trials[y + failures]


@compiled
def _log_likelihood(
    points: FloatArray,
    kinds: IntArray,
    tally: FloatArray,
    low: float,
    high: float,
    info: float,
    coarse: float,
    out: FloatArray,
) -> None:
    """Log likelihood at each point, cluster effects integrated out by the trapezoid rule."""
    n_arms, (n_kinds, n) = points.shape[1] - 2, tally.shape
    logs, theta = np.empty(n_kinds), np.empty(n_arms)
    power = np.empty(n)
    bits = power.view(np.int64)
    for i in range(points.shape[0]):
        kappa, phi = math.exp(points[i, n_arms]), math.exp(-points[i, n_arms + 1])
        step = coarse / math.sqrt(1 + kappa * kappa * info)
        n_nodes = min(math.ceil((high - low) / step) + 1, 4096)
        step = (high - low) / (n_nodes - 1)
        terms, top, total = np.empty((n_nodes, n)), np.full(n, -np.inf), np.zeros(n)
        for q in range(n_nodes):
            z = low + q * step
            for k in range(n_arms):
                theta[k] = 1 / (1 + math.exp(-points[i, k] - kappa * z))
                theta[k] = min(max(theta[k], 1e-14), 1 - 1e-14)
            _kind_logs(kinds, theta, phi, logs)
            row = terms[q]
            for c in range(n):
                row[c] = -0.5 * z * z
            for m in range(n_kinds):
                for c in range(n):
                    row[c] += tally[m, c] * logs[m]
            for c in range(n):
                top[c] = max(top[c], row[c])
        for q in range(n_nodes):
            row = terms[q]
            for c in range(n):
                row[c] -= top[c]
            exp_in_place(row, power, bits, n)
            for c in range(n):
                total[c] += row[c]
        value = 0.0
        for c in range(n):
            value += math.log(total[c]) + top[c] + math.log(step)
        out[i] = value
