"""Beta-binomial posterior of the arms' success probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from wavewise.errors import Fault, InputError
from wavewise.estimate.bayes import beta_intervals as intervals
from wavewise.estimate.bayes.beta_best import best_of
from wavewise.estimate.bayes.beta_intervals import BetaContrast, beta_contrast
from wavewise.shared.inputs import aligned, read_outcome
from wavewise.shared.labels import label_text
from wavewise.shared.renamed import renamed
from wavewise.shared.results import FloatArray, IntArray, Provenance, Result, hash_arrays, read_only
from wavewise.shared.text_tables import listed, tied

if TYPE_CHECKING:
    import polars as pl

__all__ = ["BetaBinomial", "beta_binomial"]

IntervalKind = Literal["hpd", "equal-tailed"]


@dataclass(frozen=True, eq=False)
class BetaBinomial(Result, kind="beta-binomial posterior"):
    """Posterior of each arm's success probability theta_k, independent over arms.

    Parameters
    ----------
    arms : (n_arms,) tuple of str
        Names.
    successes, trials : (n_arms,) array of int
        What was observed.
    prior : (n_arms, 2) array of float
        Parameters of each arm's beta prior.
    log_prob_optimal : (n_arms,) array of float
        Log posterior probability that the arm is best, resolved far below what a number can hold.
    policy_regret : (n_arms,) array of float
        E[max_j theta_j] - E[theta_k]: what choosing the arm is expected to lose.
    provenance : Provenance
        Hash of the data, method, version.
    """

    arms: tuple[str, ...]
    successes: IntArray
    trials: IntArray
    prior: FloatArray
    log_prob_optimal: FloatArray
    policy_regret: FloatArray
    provenance: Provenance

    @property
    def a(self) -> FloatArray:
        """First posterior parameter, prior plus successes, (n_arms,)."""
        return read_only(self.prior[:, 0] + self.successes)

    @property
    def b(self) -> FloatArray:
        """Second posterior parameter, prior plus failures, (n_arms,)."""
        return read_only(self.prior[:, 1] + (self.trials - self.successes))

    @property
    def prob_optimal(self) -> FloatArray:
        """Posterior probability that the arm is best, (n_arms,); sums to 1."""
        return read_only(np.exp(self.log_prob_optimal))

    @property
    def mean(self) -> FloatArray:
        """Posterior mean of the success probability, (n_arms,)."""
        return read_only(self.a / (self.a + self.b))

    @property
    def success_prob(self) -> FloatArray:
        """Posterior mean of the success probability, (n_arms,); the same as `mean`."""
        return self.mean

    @property
    def sd(self) -> FloatArray:
        """Posterior standard deviation of the success probability, (n_arms,)."""
        total = self.a + self.b
        return read_only(np.sqrt(self.a / total * (self.b / total) / (total + 1)))

    def cred_int(self, prob: float = 0.95, kind: IntervalKind = "hpd") -> FloatArray:
        """Credible interval of each success probability, (n_arms, 2): lower, upper.

        Parameters
        ----------
        prob : float
            Posterior probability of each interval, in (0, 1).
        kind : {"hpd", "equal-tailed"}
            Highest posterior density, or equal probability below and above.

        Raises
        ------
        InputError
            `prob` or `kind` is not one of these.
        EstimationError
            Highest density of a posterior that rises to both ends: it is no interval.

        Notes
        -----
        Each interval is for its own arm; the chance that all of them cover is smaller. An interval
        for the arm that was chosen since it looked best covers at its level on average over the
        prior, not at a given truth.
        """
        if kind not in intervals.KINDS:
            raise InputError(f"kind: found {kind!r}; needed one of {', '.join(intervals.KINDS)}")
        interval = intervals.highest_density if kind == "hpd" else intervals.equal_tailed
        return read_only(interval(self.a, self.b, intervals.checked_prob(prob)))

    def contrast(self, arm: str, against: str) -> BetaContrast:
        """Posterior of theta_arm - theta_against.

        Raises
        ------
        InputError
            A name that is not an arm, or the same arm twice.
        """
        if arm == against:
            raise InputError(f"contrast: found arm {arm!r} against itself; needed two arms")
        pair = np.array([self._index(arm), self._index(against)])
        return beta_contrast((arm, against), self.a[pair], self.b[pair])

    def draws(self, n_draws: int, rng: np.random.Generator) -> FloatArray:
        """Independent draws from the posterior, (n_draws, n_arms).

        Parameters
        ----------
        n_draws : int
        rng : numpy.random.Generator

        Notes
        -----
        Not needed for `prob_optimal` and `policy_regret`, which are exact.
        """
        if n_draws < 1:
            raise InputError(f"draws: found n_draws {n_draws}; needed at least 1")
        return read_only(rng.beta(self.a, self.b, size=(n_draws, len(self.arms))))

    def _frame(self, prob: float = 0.95, kind: IntervalKind | None = None) -> "pl.DataFrame":
        """One row per arm: counts, mean, sd, interval, probability of being best, regret.

        Parameters
        ----------
        prob : float
            Posterior probability of each interval.
        kind : {"hpd", "equal-tailed"}, optional
            By default "hpd", or "equal-tailed" if some posterior rises to both ends. The column
            `interval` says which.
        """
        import polars as pl

        kind = kind or self._default_kind()
        bounds = self.cred_int(prob, kind)
        return pl.DataFrame(
            {
                "arm": list(self.arms),
                "successes": self.successes,
                "trials": self.trials,
                "mean": self.mean,
                "sd": self.sd,
                "cred_low": bounds[:, 0],
                "cred_high": bounds[:, 1],
                "interval": [kind] * len(self.arms),
                "prob_optimal": self.prob_optimal,
                "policy_regret": self.policy_regret,
            }
        )

    def _facts(self) -> dict[str, Any]:
        kind = self._default_kind()
        return {
            "arms": self.arms,
            "successes": self.successes,
            "trials": self.trials,
            "prior": self.prior,
            "mean": self.mean,
            "sd": self.sd,
            "cred_int": {"prob": 0.95, "kind": kind, "bounds": self.cred_int(kind=kind)},
            "prob_optimal": self.prob_optimal,
            "log_prob_optimal": self.log_prob_optimal,
            "policy_regret": self.policy_regret,
        }

    def summary(self) -> str:
        """Table of the arms, a sentence, and what is assumed."""
        kind = self._default_kind()
        bounds = self.cred_int(kind=kind)
        width = max(3, *(len(name) for name in self.arms))
        lines = [
            f"{'arm':<{width}}  successes      trials    mean  95% interval      "
            "prob optimal    regret"
        ]
        lines += [self._row(k, bounds[k], width) for k in range(len(self.arms))]
        best = tied((-self.policy_regret).tolist())
        names, regret = listed([self.arms[k] for k in best]), f"{self.policy_regret[best[0]]:.2g}"
        probs = listed([f"{self.prob_optimal[k]:.4g}" for k in best])
        sentence = f"{names} has the lowest expected regret, {regret}; it is best with probability"
        if len(best) > 1:
            sentence = f"{names} have the same lowest expected regret, {regret}; they are best with"
            sentence += " probabilities"
        lines += [
            "",
            f"{sentence} {probs}.",
            f"Interval: {'highest density' if kind == 'hpd' else kind}. Assumed: each trial "
            "succeeds independently with its arm's own probability; arms independent a priori.",
        ]
        return "\n".join(lines)

    def _row(self, k: int, bounds: FloatArray, width: int) -> str:
        return (
            f"{self.arms[k]:<{width}}  {self.successes[k]:>9,}  {self.trials[k]:>10,}  "
            f"{self.mean[k]:.4f}  {bounds[0]:.4f} to {bounds[1]:.4f}  "
            f"{self.prob_optimal[k]:>12.4g}  {self.policy_regret[k]:>8.2g}"
        )

    def _default_kind(self) -> IntervalKind:
        return "equal-tailed" if intervals.two_peaked(self.a, self.b).any() else "hpd"

    def _index(self, name: str) -> int:
        if name not in self.arms:
            raise InputError(f"contrast: found {name!r}; needed one of {', '.join(self.arms)}")
        return self.arms.index(name)


@renamed("prior")
@aligned("successes", "trials")
def beta_binomial(
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    *,
    prior: npt.ArrayLike = (1.0, 1.0),
    arms: Sequence[str] | None = None,
) -> BetaBinomial:
    """Posterior of the arms' success probabilities under independent beta priors.

    Parameters
    ----------
    successes, trials : (n_arms,) array of int
        Successes out of trials, per arm; an arm may have no trials yet.
    prior : (2,) or (n_arms, 2) array of float
        Parameters (a, b) of the beta prior, above 0, for all arms or for each. The default is
        uniform on [0, 1].
    arms : (n_arms,) sequence of str, optional
        Names; by default "1", "2", ...

    Returns
    -------
    BetaBinomial
        With `prob_optimal` to 1e-9 (and to 1e-6 of itself however small), `policy_regret`, `mean`,
        `sd`, intervals, contrasts and draws.

    Raises
    ------
    InputError
        No arms, lengths that differ, counts that are negative, not whole or not finite, more
        successes than trials, a prior not above 0, names that repeat. All faults at once.
    EstimationError
        The quadrature did not reach its accuracy.

    Notes
    -----
    Y_k ~ Binomial(n_k, theta_k) and theta_k ~ Beta(a, b), independent over arms, give theta_k |
    data ~ Beta(a + Y_k, b + n_k - Y_k), and with F_j and f_j its distribution and density::

        prob_optimal_k  = int f_k(x) prod_{j != k} F_j(x) dx
        policy_regret_k = E[max_j theta_j] - E[theta_k]

    Adaptive shares do not change this posterior, since they depend on observed outcomes only. It is
    wrong, and too sure, when the trials of one unit or cluster are alike.

    References
    ----------
    Thompson (1933), *Biometrika* 25, 285-294. Kasy and Sautmann (2021), *Econometrica* 89, 113-132.

    Examples
    --------
    >>> posterior = beta_binomial([139, 624, 324], [867, 3188, 1766], arms=["a", "b", "c"])
    >>> posterior.prob_optimal.round(4).tolist()
    [0.0068, 0.8463, 0.1469]
    >>> round(posterior.contrast("b", "c").prob_greater, 4)
    0.8519
    """
    y, n = _counts("successes", successes), _counts("trials", trials)
    _check_lengths(y, n)
    _check_order(y, n)
    names = _names(arms, y.size)
    pair = _prior(prior, y.size)
    best = best_of(pair[:, 0] + y, pair[:, 1] + (n - y))
    return BetaBinomial(
        arms=names,
        successes=read_only(y),
        trials=read_only(n),
        prior=read_only(pair),
        log_prob_optimal=read_only(best.log_prob),
        policy_regret=read_only(best.shortfall),
        provenance=Provenance(
            method="beta-binomial posterior, quadrature",
            data_hash=hash_arrays(successes=y, trials=n, prior=pair, arms=list(names)),
        ),
    )


def _counts(name: str, values: npt.ArrayLike) -> IntArray:
    """Whole numbers of at least 0, (n_arms,)."""
    array = read_outcome(values, name)
    whole = np.isfinite(array) & (array >= 0) & (array == np.floor(array)) & (array < 2**53)
    faults = [
        Fault(f"{name}[{k}]", f"{array[k]:g}", "a whole number of at least 0")
        for k in np.flatnonzero(~whole)
    ]
    if faults:
        raise InputError(f"{name}: {len(faults)} of {array.size} counts are wrong", faults)
    return array.astype(np.int64)


def _check_lengths(successes: IntArray, trials: IntArray) -> None:
    if successes.size != trials.size:
        raise InputError(
            f"found {successes.size} arms in successes and {trials.size} in trials; needed one "
            "number of each an arm"
        )


def _check_order(successes: IntArray, trials: IntArray) -> None:
    faults = [
        Fault(
            f"successes[{k}]",
            f"{successes[k]:,} of {trials[k]:,} trials",
            "no more successes than trials",
        )
        for k in np.flatnonzero(successes > trials)
    ]
    if faults:
        raise InputError(f"successes: {len(faults)} arms have more than trials", faults)


def _prior(prior: npt.ArrayLike, n_arms: int) -> FloatArray:
    try:
        array = np.asarray(prior, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("prior: found what is no array of numbers; needed (a, b)") from None
    if array.shape not in {(2,), (n_arms, 2)}:
        raise InputError(f"prior: found shape {array.shape}; needed (2,) or ({n_arms}, 2)")
    if not (np.isfinite(array) & (array > 0)).all():
        wrong = array[~(np.isfinite(array) & (array > 0))][0]
        raise InputError(f"prior: found {wrong:g}; needed finite parameters above 0, such as 1")
    return np.array(np.broadcast_to(array, (n_arms, 2)))


def _names(arms: Sequence[str] | None, n_arms: int) -> tuple[str, ...]:
    names = (
        tuple(str(k + 1) for k in range(n_arms)) if arms is None else tuple(map(label_text, arms))
    )
    if len(names) != n_arms:
        raise InputError(f"arms: found {len(names)} names for {n_arms} arms; needed one each")
    counts: Mapping[str, int] = {name: names.count(name) for name in names}
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise InputError(f"arms: found {', '.join(repeated)} more than once; needed unique names")
    return names
