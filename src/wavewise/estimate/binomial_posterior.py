"""Log posterior of (beta, log kappa), and its derivatives."""

import math
from dataclasses import dataclass, replace

import numpy as np

from wavewise.estimate.binomial_counts import Counts
from wavewise.estimate.binomial_derivatives import add_derivatives, at_nodes
from wavewise.estimate.binomial_likelihood import add_log_likelihood
from wavewise.estimate.binomial_priors import BinomialPrior
from wavewise.results import FloatArray

__all__ = ["COARSE", "LogPosterior", "Slopes", "bounded"]

# step of the nodes in posterior standard deviations of the narrowest cluster: a relative error of
# about 2 exp(-2 pi^2 / 1.8^2) = 5e-3 in that cluster's likelihood, far less in the others'
COARSE = 1.8
_LARGEST_LOG_KAPPA = 12.0
_FINER = 0.7  # for derivatives: variances are differences of large numbers
# nodes go this many posterior standard deviations beyond each cluster's mean effect
_REACH = 4.2


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
    """

    counts: Counts
    prior: BinomialPrior
    span: FloatArray
    reference: FloatArray
    coarse: float = COARSE

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
        out = inside[:, : c.n_arms] @ c.arm_successes - centers * c.arm_successes.sum()
        for b, block in enumerate(c.blocks):
            add_log_likelihood(
                inside,
                centers,
                block.successes,
                block.trials,
                block.copies,
                self.reference[c.starts[b] : c.starts[b + 1]],
                block.info,
                self.span[b, 0],
                self.span[b, 1],
                self.coarse,
                out,
            )
        return np.asarray(out + self.prior.log_density(points))

    def slopes(self, point: FloatArray) -> Slopes:
        """Log posterior and its derivatives at one point, (n_arms + 1,)."""
        c, n_dims = self.counts, point.size
        grad, hess = np.zeros(n_dims), np.zeros((n_dims, n_dims))
        grad[:-1] = c.arm_successes
        center = float(c.centers(point[None, :])[0])
        value = float(c.arm_successes @ (point[:-1] - center))
        reference, effect = np.empty(c.starts[-1]), np.empty((2, c.starts[-1]))
        for b, block in enumerate(c.blocks):
            place = slice(c.starts[b], c.starts[b + 1])
            nodes = at_nodes(block, point, center, self.span[b], _FINER * self.coarse)
            effect[:, place] = add_derivatives(block, nodes, grad, hess)
            reference[place] = nodes.log_likelihood
            value += float(block.copies @ nodes.log_likelihood)
        hess = np.triu(hess) + np.triu(hess, 1).T
        self._to_log_kappa(point, grad, hess)
        value += float(self.prior.log_density(point[None, :])[0])
        return Slopes(value, grad, hess, reference, effect)

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
        return replace(self, span=span, reference=reference)

    def finer(self) -> "LogPosterior":
        """The same with half the step and a wider span: what the nodes' error is measured by."""
        extra = np.array([-1.5, 1.5])
        return replace(self, span=self.span + extra, coarse=self.coarse / 2)

    @staticmethod
    def reach(effect: FloatArray, common: float) -> tuple[FloatArray, FloatArray]:
        """Least and largest z that matter in each distinct cluster.

        Parameters
        ----------
        effect : (2, n_distinct) array of float
            Mean and standard deviation of each cluster's z at the mode of beta.
        common : float
            Standard deviation of beta's common level, over kappa: as beta rises, z falls, by as
            much times 1 - var(z), the weight of the cluster's data against the prior.
        """
        moved = common * np.maximum(1 - effect[1] ** 2, 0.0)
        width = _REACH * np.sqrt(effect[1] ** 2 + moved**2)
        return effect[0] - width, effect[0] + width

    def _to_log_kappa(self, point: FloatArray, grad: FloatArray, hess: FloatArray) -> None:
        """Add the prior, and turn derivatives in kappa into derivatives in its log."""
        first, second = self.prior.beta.slopes(point[:-1])
        grad[:-1] += first
        hess[np.arange(first.size), np.arange(first.size)] += second
        kappa = math.exp(point[-1])
        on_first, on_second = self.prior.kappa.slopes(np.array(kappa))
        grad[-1] += float(on_first)
        hess[-1, -1] += float(on_second)
        hess[:-1, -1] *= kappa
        hess[-1, :-1] *= kappa
        hess[-1, -1] = hess[-1, -1] * kappa**2 + grad[-1] * kappa
        grad[-1] = grad[-1] * kappa + 1
