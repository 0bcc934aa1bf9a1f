"""What another wave is expected to change in the choice, seen from today: normal arm means."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.decide.evidence import Posterior
from wavewise.errors import InputError
from wavewise.shared.results import FloatArray, IntArray

__all__ = [
    "NOTHING",
    "SampleInformation",
    "outcome_variance",
    "sample_information_beta",
    "sample_information_normal",
    "value_draws",
]

_MOST_Z = 37.0  # beyond, a normal tail is smaller than any number
_WIDEST = 14.0  # the gain's density ends within 14 standard deviations above its start
_HALVINGS = 52
_LEAST = 1e-200

TailLaw = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class SampleInformation:
    """Expected effect of another wave on the choice of an arm."""

    # E[max_k E[theta_k | all data]] - max_k E[theta_k | data so far], in units of the outcome.
    regret_reduction: float
    mc_error: float  # Its Monte-Carlo standard error; 0 where it is exact.
    prob_change: float  # Probability that another arm is chosen after the wave.
    prob_change_mc_error: float  # Its Monte-Carlo standard error.


NOTHING: Final = SampleInformation(0.0, 0.0, 0.0, 0.0)


def sample_information_normal(
    gaps: FloatArray,
    covariance: FloatArray,
    noise_variance: FloatArray,
    rng: np.random.Generator,
    n_draws: int,
) -> SampleInformation:
    """Expected fall of the chosen arm's regret, for jointly normal arm means.

    Notes
    -----
    With prior mean mu and covariance C, and with A the arms that get units, the next wave's means
    have the covariance V = C_AA + diag(noise), and the posterior mean moves by z' L^-1 C_A., where
    V = L L' and z is standard normal: the arms' correlations count, what one arm shows moves the
    others. Let d_k be the future lead of rival k over today's choice, normal with mean -gap_k and
    standard deviation s_k. Wanted is E[max_k d_k+]. With z_k = gap_k / s_k the parts are known::

        S = sum_k E[d_k+] = sum_k s_k (phi(z_k) - z_k Phi(-z_k))
        E[max_k d_k+] = S E*[ max_k d_k+ / sum_k d_k+ ]

    where under * a rival j is drawn with probability E[d_j+] / S, its lead from the density in
    proportion to d_j+, and the other leads given that one. The ratio lies between 1 / (n_arms - 1)
    and 1, so that the relative error stays small however rarely the choice would change; for two
    arms the result is exact. The probability of a change is found likewise, from P(d_k > 0).

    References
    ----------
    Frazier, Powell and Dayanik (2009), *INFORMS Journal on Computing* 21, 599-613: the knowledge
    gradient for correlated normal beliefs, here for a whole wave at once.
    """
    later = np.arange(gaps.size) != np.argmin(gaps)
    order = np.lexsort((np.diag(covariance), gaps, later))  # today's choice first, then the nearest
    reach = _reach(covariance[np.ix_(order, order)], noise_variance[order])
    leads = _Leads.of(gaps[order[1:]], reach[:, 1:] - reach[:, :1])
    if leads is None:
        return NOTHING
    pick, normals = rng.random(n_draws), rng.standard_normal((n_draws, leads.direction.shape[0]))
    level = 1.0 - rng.random(n_draws)
    gain = leads.sd * _mean_above(leads.z)
    reduction = _split(leads, gain, _gain_quantile, _largest_part, (pick, level, normals))
    change = _split(leads, special.ndtr(-leads.z), _tail_quantile, _equal_part,
                    (pick, level, normals))  # fmt: skip
    return SampleInformation(*reduction, *change)


def _reach(covariance: FloatArray, noise_variance: FloatArray) -> FloatArray:
    """How each standard normal number moves the arms' posterior means, (n_seen, n_arms)."""
    seen = np.flatnonzero(np.isfinite(noise_variance))
    spread = covariance[np.ix_(seen, seen)] + np.diag(noise_variance[seen])
    return np.asarray(np.linalg.solve(np.linalg.cholesky(spread), covariance[seen]))


@dataclass(frozen=True)
class _Leads:
    """Future leads of the rivals over today's choice: -gap + sd (direction' normals)."""

    gap: FloatArray
    sd: FloatArray
    direction: FloatArray

    @classmethod
    def of(cls, gap: FloatArray, move: FloatArray) -> "_Leads | None":
        """Of the rivals that may ever lead; None if there is none."""
        sd = np.sqrt((move**2).sum(axis=0))
        able = sd * _MOST_Z > gap
        if not able.any():
            return None
        return cls(gap[able], sd[able], move[:, able] / sd[able])

    @property
    def z(self) -> FloatArray:
        """Standard deviations by which each rival is behind."""
        return np.asarray(self.gap / self.sd)


def _split(
    leads: _Leads,
    parts: FloatArray,
    quantile: TailLaw,
    share: Callable[[FloatArray], FloatArray],
    drawn: tuple[FloatArray, FloatArray, FloatArray],
) -> tuple[float, float]:
    """Sum of the rivals' parts times the mean share of it that counts, and its standard error."""
    pick, level, normals = drawn
    total = float(parts.sum())
    rival = np.minimum(
        np.searchsorted(np.cumsum(parts) / total, pick, side="right"), parts.size - 1
    )
    along = leads.direction[:, rival].T
    height = quantile(leads.z[rival], level)
    shift = height - np.einsum("ij,ij->i", along, normals)
    lead = (normals + along * shift[:, None]) @ leads.direction * leads.sd - leads.gap
    rows = np.arange(rival.size)
    ahead = np.maximum(height - leads.z[rival], _LEAST)
    lead[rows, rival] = ahead * leads.sd[rival]  # above 0 whatever the rounding
    counted = share(np.maximum(lead, 0.0))
    if parts.size == 1:
        return total, 0.0
    unseen = 1 / counted.size  # several rivals ahead at once may be too rare to be drawn at all
    error = np.hypot(counted.std() / np.sqrt(counted.size), unseen)
    return total * float(counted.mean()), total * float(error)


def _largest_part(lead: FloatArray) -> FloatArray:
    return np.asarray(lead.max(axis=1) / lead.sum(axis=1))


def _equal_part(lead: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (lead > 0).sum(axis=1))


def _mean_above(z: FloatArray) -> FloatArray:
    """E[(t - z)+] for a standard normal t."""
    return np.asarray(np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * _rest(z, z))


def _rest(t: FloatArray, z: FloatArray) -> FloatArray:
    """1 - z Phi(-t) / phi(t): the integral of (v - z) phi(v) from t on, over phi(t)."""
    mills = np.sqrt(np.pi / 2) * special.erfcx(t / np.sqrt(2))
    return np.asarray(np.maximum(1.0 - z * mills, 0.0))


def _tail_quantile(z: FloatArray, level: FloatArray) -> FloatArray:
    """Point above z that a standard normal exceeds with `level` times its probability beyond z."""
    return np.asarray(-special.ndtri_exp(np.log(level) + special.log_ndtr(-z)))


def _gain_quantile(z: FloatArray, level: FloatArray) -> FloatArray:
    """The same for the density in proportion to (t - z)+ phi(t): by halving."""
    low, high = z, z + _WIDEST
    whole = _rest(z, z)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        beyond = np.exp(0.5 * (z - middle) * (z + middle)) * _rest(middle, z)
        above = beyond > level * whole
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(high)


# What another wave is expected to change, for independent beta posteriors: exact.

_NEGLIGIBLE = -100.0  # log probability, against the likeliest outcome, that is left out


def sample_information_beta(
    a: FloatArray, b: FloatArray, trials: IntArray, best: int
) -> SampleInformation:
    """Expected fall of the chosen arm's regret, and how often the choice changes.

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
    >>> once = np.array([1, 1])
    >>> round(sample_information_beta(np.ones(2), np.ones(2), once, 0).regret_reduction, 6)
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
    return SampleInformation(reduction, 0.0, min(change, 1.0), 0.0)


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


# Posterior draws of the arms' mean outcomes, in the scale in which regret is counted.

_NAMES = ("value_draws", "success_prob_draws", "draws")
_FEWEST = 100
_STD_ERRORS = 8.0


def value_draws(posterior: Posterior, draws: npt.ArrayLike | None = None) -> FloatArray:
    """The arms' mean outcomes in each posterior draw, (n_draws, n_arms).

    Notes
    -----
    The scale is tested, not believed: the mean of max_j value_j - value_k over the draws must be
    the posterior's `policy_regret`, within Monte-Carlo error.
    """
    values = np.asarray(_own_draws(posterior) if draws is None else draws, dtype=np.float64)
    n_arms = len(posterior.arms)
    if values.ndim != 2 or values.shape[1] != n_arms or values.shape[0] < _FEWEST:
        raise InputError(
            f"draws: found shape {values.shape}; needed (n_draws, {n_arms}) with at least "
            f"{_FEWEST} draws"
        )
    if not np.isfinite(values).all():
        raise InputError("draws: found values that are not finite; needed finite mean outcomes")
    _check_scale(values, np.asarray(posterior.policy_regret))
    return values


def _own_draws(posterior: Posterior) -> npt.ArrayLike:
    for name in _NAMES:
        values = getattr(posterior, name, None)
        if isinstance(values, np.ndarray):
            return values
    raise InputError(
        f"posterior: found {type(posterior).__name__} without draws; needed {' or '.join(_NAMES)}, "
        "(n_draws, n_arms), or the argument draws"
    )


def _check_scale(values: FloatArray, regret: FloatArray) -> None:
    loss = values.max(axis=1, keepdims=True) - values
    allowed = _STD_ERRORS * loss.std(axis=0) / np.sqrt(loss.shape[0]) + 1e-9 * regret.max()
    off = int(np.argmax(np.abs(loss.mean(axis=0) - regret) - allowed))
    if abs(loss.mean(axis=0)[off] - regret[off]) > allowed[off]:
        raise InputError(
            f"draws: found that arm {off + 1} loses {loss.mean(axis=0)[off]:.3g} on average in "
            f"them, and {regret[off]:.3g} by the posterior's policy_regret; needed draws of the "
            "mean outcomes in the same scale (not of coefficients): give them as draws"
        )


def outcome_variance(
    posterior: Posterior, outcome_sd: npt.ArrayLike | None, trials_per_unit: float = 1.0
) -> FloatArray:
    """Variance of one observation of each arm about the arm's mean, (n_arms,).

    Notes
    -----
    p (1 - p) for a success; with units that are overdispersed, whose trials correlate by rho, times
    1 + (m - 1) rho for m trials a unit, so that m observations weigh as many as they are worth. For
    a score unit and noise variance together: one score of a unit without an earlier one, which
    teaches less than a change would.
    """
    n_arms = len(posterior.arms)
    if outcome_sd is None and hasattr(posterior, "noise_sd_draws"):
        return np.full(n_arms, _score_variance(posterior))
    if outcome_sd is None:
        return _binomial_variance(posterior) * _inflation(posterior, trials_per_unit)
    sd = np.asarray(outcome_sd, dtype=np.float64)
    if sd.shape not in {(), (n_arms,)} or not (np.isfinite(sd) & (sd > 0)).all():
        raise InputError(
            f"outcome_sd: found {sd.tolist()}; needed one number above 0, or {n_arms} of them"
        )
    return np.broadcast_to(sd**2, (n_arms,))


def _binomial_variance(posterior: Posterior) -> FloatArray:
    mean = getattr(posterior, "success_prob", None)
    if mean is None:
        raise InputError(
            f"outcome_sd: found none, and {type(posterior).__name__} has no success_prob to tell "
            "it; needed the standard deviation of one observation about its arm's mean"
        )
    prob = np.asarray(mean, dtype=np.float64)
    if not ((prob > 0) & (prob < 1)).all():
        raise InputError(
            "success_prob: found a probability that is not between 0 and 1; give outcome_sd"
        )
    return np.asarray(prob * (1 - prob))


def _score_variance(posterior: Any) -> float:
    return float(np.mean(posterior.noise_sd_draws**2 + posterior.unit_sd_draws**2))


def _inflation(posterior: Any, trials_per_unit: float) -> float:
    """What correlated trials of a unit multiply the variance of their mean by."""
    if getattr(posterior, "overdispersion", None) is None:
        return 1.0
    return float(1 + max(trials_per_unit - 1, 0.0) * np.mean(posterior.rho_draws))
