"""Log posterior of (beta, log kappa), and its derivatives."""

from dataclasses import dataclass, field, replace

import numpy as np

from wavewise.estimate.binomial_counts import Counts
from wavewise.estimate.binomial_likelihood import (
    add_log_likelihood,
    add_log_likelihood_single,
)
from wavewise.estimate.binomial_priors import BinomialPrior
from wavewise.estimate.binomial_slopes import Problem, empty_scratch, slopes_at
from wavewise.results import FloatArray

__all__ = ["COARSE", "REACH", "LogPosterior", "Slopes", "bounded"]

# step of the nodes in posterior standard deviations of the narrowest cluster: a relative error of
# about 2 exp(-2 pi^2 / 1.8^2) = 5e-3 in that cluster's likelihood, far less in the others'
COARSE = 1.8
_LARGEST_LOG_KAPPA = 12.0
_FINER = 0.85  # for derivatives: variances are differences of large numbers
# nodes go this many posterior standard deviations beyond each cluster's mean effect
REACH = 4.2


def bounded(points: FloatArray, n_arms: int) -> FloatArray:
    """Points with log kappa at most 12: beyond, clusters succeed always or never anyway."""
    out = np.array(points, dtype=np.float64, order="C")
    out[:, n_arms] = np.minimum(out[:, n_arms], _LARGEST_LOG_KAPPA)
    return out


@dataclass(frozen=True, eq=False)
class Slopes:
    """Log posterior at one point, with derivatives.

    Parameters
    ----------
    value : float
    grad : (n_arms + 1,) array of float
        In beta and log kappa.
    hess : (n_arms + 1, n_arms + 1) array of float
    reference : (n_clusters,) array of float
        Log likelihood of each distinct cluster.
    effect : (2, n_clusters) array of float
        Posterior mean and standard deviation of each distinct cluster's z.
    """

    value: float
    grad: FloatArray
    hess: FloatArray
    reference: FloatArray
    effect: FloatArray


@dataclass(frozen=True, eq=False)
class LogPosterior:
    """Log p(beta, log kappa | data) up to a constant.

    Parameters
    ----------
    counts : Counts
    prior : BinomialPrior
    span : (n_blocks, 2) array of float
        First and last node in z, by block of clusters.
    reference : (n_distinct,) array of float
        Log likelihood of each distinct cluster near the mode.
    coarse : float
        Step of the nodes, in posterior standard deviations of a block's narrowest cluster.
    is_single : bool
        Whether the sums over nodes are in single precision.
    """

    counts: Counts
    prior: BinomialPrior
    span: FloatArray
    reference: FloatArray
    coarse: float = COARSE
    is_single: bool = field(default=False, kw_only=True)

    @classmethod
    def of(cls, counts: Counts, prior: BinomialPrior, wide: float = 5.5) -> "LogPosterior":
        """Log posterior with nodes from -wide to wide, to be moved to what is found."""
        span = np.tile([-wide, wide], (len(counts.blocks), 1))
        return cls(counts, prior, span, np.zeros(counts.starts[-1]))

    def values(self, points: FloatArray) -> FloatArray:
        """Log posterior at each point, (n_points,).

        Parameters
        ----------
        points : (n_points, n_arms + 1) array of float
        """
        c = self.counts
        inside = bounded(points, c.n_arms)
        centers = c.centers(inside)
        out = np.zeros(points.shape[0])  # around the centres, the linear part sums to 0
        for b, block in enumerate(c.blocks):
            reference = self.reference[c.starts[b] : c.starts[b + 1]]
            nodes = (block.info, self.span[b, 0], self.span[b, 1], self.coarse)
            if self.is_single:
                add_log_likelihood_single(
                    inside, centers, *c.single[b], block.copies, reference, *nodes, out
                )
            else:
                add_log_likelihood(
                    inside,
                    centers,
                    block.successes,
                    block.trials,
                    block.copies,
                    reference,
                    *nodes,
                    out,
                )
        return np.asarray(out + self.prior.log_density(points))

    @property
    def problem(self) -> Problem:
        """The same for compiled code, with the finer nodes that derivatives need."""
        return Problem(self.counts, self.span, _FINER * self.coarse, self.prior.code)

    def slopes(self, point: FloatArray) -> Slopes:
        """Log posterior and its derivatives at one point, (n_arms + 1,)."""
        out = empty_scratch(self.problem)
        return Slopes(slopes_at(self.problem, point, out), *out)

    def around(self, reference: FloatArray, low: FloatArray, high: FloatArray) -> "LogPosterior":
        """The same, with nodes between bounds and likelihoods relative to a reference.

        Parameters
        ----------
        reference, low, high : (n_distinct,) array of float
            Log likelihood, and the least and largest z that matter, of each distinct cluster.
        """
        starts = self.counts.starts[:-1]
        span = np.column_stack(
            [np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)]
        )
        return replace(self, span=span, reference=reference, is_single=self.counts.is_moderate)

    def finer(self) -> "LogPosterior":
        """The same with half the step and a wider span: what the nodes' error is measured by."""
        extra = np.array([-1.5, 1.5])
        return replace(self, span=self.span + extra, coarse=self.coarse / 2)
