"""What another wave is expected to change in the choice, seen from today: normal arm means."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special

from wavewise.results import FloatArray

__all__ = ["NOTHING", "Foresight", "foresee_normal"]

_MOST_Z = 37.0  # beyond, a normal tail is smaller than any number
_WIDEST = 14.0  # the gain's density ends within 14 standard deviations above its start
_HALVINGS = 52
_LEAST = 1e-200

TailLaw = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class Foresight:
    """Expected effect of another wave on the choice of an arm.

    Parameters
    ----------
    regret_reduction : float
        E[max_k E[theta_k | all data]] - max_k E[theta_k | data so far], in units of the outcome.
    mc_error : float
        Its Monte-Carlo standard error; 0 where it is exact.
    prob_change : float
        Probability that another arm is chosen after the wave.
    prob_change_mc_error : float
        Its Monte-Carlo standard error.
    """

    regret_reduction: float
    mc_error: float
    prob_change: float
    prob_change_mc_error: float


NOTHING: Final = Foresight(0.0, 0.0, 0.0, 0.0)


def foresee_normal(
    gaps: FloatArray,
    covariance: FloatArray,
    noise_variance: FloatArray,
    rng: np.random.Generator,
    n_draws: int,
) -> Foresight:
    """Expected fall of the chosen arm's regret, for jointly normal arm means.

    Parameters
    ----------
    gaps : (n_arms,) array of float
        What each arm's posterior mean lacks to the highest one, 0 for that one (the first of them
        is today's choice).
    covariance : (n_arms, n_arms) array of float
        Posterior covariance of the arms' means.
    noise_variance : (n_arms,) array of float
        Variance of the next wave's mean outcome of each arm about its true mean; infinite for an
        arm without units.
    rng : numpy.random.Generator
    n_draws : int

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
    return Foresight(*reduction, *change)


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
