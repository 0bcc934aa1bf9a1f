"""What another wave is expected to change, for independent beta posteriors: exact."""

import numpy as np

from wavewise.decide.foresight import Foresight
from wavewise.results import FloatArray, IntArray

__all__ = ["foresee_beta"]

_NEGLIGIBLE = -100.0  # log probability, against the likeliest outcome, that is left out


def foresee_beta(a: FloatArray, b: FloatArray, trials: IntArray, best: int) -> Foresight:
    """Expected fall of the chosen arm's regret, and how often the choice changes.

    Parameters
    ----------
    a, b : (n_arms,) array of float
        Parameters of the beta posteriors.
    trials : (n_arms,) array of int
        Trials of each arm in the next wave.
    best : int
        Today's choice, an arm of highest mean.

    Returns
    -------
    Foresight
        Without Monte-Carlo error.

    Notes
    -----
    After S_k more successes in m_k trials arm k has the mean M_k = (a_k + S_k) / (a_k + b_k + m_k),
    and S_k is beta-binomial, independent over arms. With h today's choice::

        E[max_k M_k] - E[M_h] = int F_h(x) (1 - prod_{j != h} F_j(x)) dx

    where F_k, the distribution function of M_k, is a step function: a finite sum, in which nothing
    cancels. Outcomes e^-100 times as likely as the likeliest are left out.

    References
    ----------
    Raiffa and Schlaifer (1961), *Applied Statistical Decision Theory*, chapter 5.

    Examples
    --------
    >>> one_trial_each = np.array([1, 1])
    >>> round(foresee_beta(np.ones(2), np.ones(2), one_trial_each, 0).regret_reduction, 6)
    0.083333
    """
    order = np.lexsort((trials, b, a))
    future = {int(k): _FutureMean(a[k], b[k], int(trials[k])) for k in order}
    grid = np.unique(np.concatenate([mean.values for mean in future.values()]))
    leader = future.pop(best)
    rivals = list(future.values())
    above = _some_above(rivals, grid[:-1])
    reduction = float(np.sum(leader.cdf(grid[:-1]) * above * np.diff(grid)))
    change = float(np.sum(leader.prob * _some_above(rivals, leader.values)))
    return Foresight(reduction, 0.0, min(change, 1.0), 0.0)


def _some_above(rivals: "list[_FutureMean]", x: FloatArray) -> FloatArray:
    """Probability that some rival's mean lies above x, 1 - prod_j F_j(x)."""
    log_none = np.zeros(x.size)
    with np.errstate(divide="ignore"):
        for rival in rivals:
            log_none += np.log1p(-rival.sf(x))
    return np.asarray(-np.expm1(log_none))


class _FutureMean:
    """Posterior mean of one arm after `n_trials` more, a discrete variable."""

    def __init__(self, a: float, b: float, n_trials: int) -> None:
        log_prob = _log_beta_binomial(a, b, n_trials)
        kept = np.flatnonzero(log_prob > log_prob.max() + _NEGLIGIBLE)
        prob = np.exp(log_prob[kept])
        self.values: FloatArray = np.asarray((a + kept) / (a + b + n_trials))
        self.prob = prob / prob.sum()
        self._upto = np.concatenate([[0.0], np.cumsum(self.prob)])
        self._beyond = np.append(np.cumsum(self.prob[::-1])[::-1], 0.0)

    def cdf(self, x: FloatArray) -> FloatArray:
        """P(mean <= x)."""
        return np.asarray(np.minimum(self._upto[self._n_upto(x)], 1.0))

    def sf(self, x: FloatArray) -> FloatArray:
        """P(mean > x), a sum of its own."""
        return np.asarray(np.minimum(self._beyond[self._n_upto(x)], 1.0))

    def _n_upto(self, x: FloatArray) -> IntArray:
        return np.searchsorted(self.values, x, side="right")


def _log_beta_binomial(a: float, b: float, n_trials: int) -> FloatArray:
    """Log probability of 0 ... n successes, up to a constant: sums of the logs of its ratios."""
    s = np.arange(n_trials, dtype=np.float64)
    steps = np.log((n_trials - s) / (s + 1)) + np.log((a + s) / (b + n_trials - s - 1))
    log_prob = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(log_prob - log_prob.max())
