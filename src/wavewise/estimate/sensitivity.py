"""The same data under several priors: what of the decision depends on the prior."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.binomial.model import hierarchical_binomial
from wavewise.estimate.binomial.priors import STUDY_PRIORS, BinomialPrior
from wavewise.estimate.binomial.results import HierarchicalBinomial
from wavewise.estimate.normal.model import HierarchicalNormal, hierarchical_normal
from wavewise.estimate.normal.priors import NormalPriors, tried_priors
from wavewise.shared.inputs import aligned
from wavewise.shared.results import NotEstimable, Result

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PriorSensitivity", "prior_sensitivity", "score_prior_sensitivity"]

Prior = BinomialPrior | NormalPriors
Fit = HierarchicalBinomial | HierarchicalNormal
P = TypeVar("P")
F = TypeVar("F")


@dataclass(frozen=True, eq=False)
class PriorSensitivity(Result, kind="prior sensitivity"):
    """Posteriors of the same data under several priors.

    Parameters
    ----------
    priors : (n_priors,) tuple of BinomialPrior, or of NormalPriors
    posteriors : (n_priors,) tuple of HierarchicalBinomial, HierarchicalNormal or NotEstimable
        In the order of the priors; where a prior gives no posterior, the reason.
    """

    priors: tuple[Prior, ...]
    posteriors: tuple[Fit | NotEstimable, ...]

    @property
    def best_arms(self) -> tuple[str | None, ...]:
        """Arm of lowest expected policy regret under each prior; None without a posterior."""
        return tuple(
            None
            if isinstance(post, NotEstimable)
            else post.arms[int(np.argmin(post.policy_regret))]
            for post in self.posteriors
        )

    @property
    def agree(self) -> bool:
        """Whether every prior that gives a posterior leads to the same arm."""
        return len({arm for arm in self.best_arms if arm is not None}) <= 1

    def _frame(self) -> "pl.DataFrame":
        """One row a prior and arm."""
        import polars as pl

        return pl.DataFrame([row for block in self._rows() for row in block])

    def _facts(self) -> dict[str, Any]:
        return {
            "agree": self.agree,
            "priors": [
                {"prior": str(prior), "best_arm": best, "arms": rows}
                for prior, best, rows in zip(self.priors, self.best_arms, self._rows(), strict=True)
            ],
        }

    def summary(self) -> str:
        """One line a prior: the arm of lowest regret and the probability that each arm is best."""
        lines = []
        for prior, post, best in zip(self.priors, self.posteriors, self.best_arms, strict=True):
            if isinstance(post, NotEstimable):
                lines.append(f"{prior}: {post}")
                continue
            probs = ", ".join(
                f"{a} {p:.2%}" for a, p in zip(post.arms, post.prob_optimal, strict=True)
            )
            lines.append(f"{prior}: lowest regret {best}; best with probability {probs}")
        same = "the same arm" if self.agree else "different arms"
        return "\n".join([*lines, f"The priors lead to {same}."])

    def _rows(self) -> list[list[dict[str, Any]]]:
        return [
            _rows_of(str(prior), post)
            for prior, post in zip(self.priors, self.posteriors, strict=True)
        ]


@aligned("successes", "trials", "arm", "cluster")
def prior_sensitivity(
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    arm: Any,
    cluster: Any,
    *,
    priors: Sequence[BinomialPrior] = STUDY_PRIORS,
    rng: np.random.Generator,
    n_draws: int = 1024,
    **options: Any,
) -> PriorSensitivity:
    """Posteriors of the same data under several priors.

    Parameters
    ----------
    successes, trials, arm, cluster
        As in `hierarchical_binomial`.
    priors : sequence of BinomialPrior
        By default the study's prior and every alternative that it tried: on beta normal with
        variance 100 or 1 and Student t with 1 degree of freedom and scale 10 or 1; on kappa
        half-normal with variance 100, inverse chi-square and half-t with 1 degree of freedom.
    rng : numpy.random.Generator
        All priors use the same quasi-random points, so that differences are the priors' own.
    n_draws : int
    **options
        Further options of `hierarchical_binomial`.

    Raises
    ------
    InputError
        No priors; and as `hierarchical_binomial`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> arm, cluster = np.tile(["a", "b"], 20), np.repeat(np.arange(20), 2)
    >>> y = rng.binomial(50, np.tile([0.2, 0.3], 20))
    >>> prior_sensitivity(y, np.full(40, 50), arm, cluster, rng=rng).agree
    True
    """
    if not priors:
        raise InputError("priors: found none; needed at least one BinomialPrior")
    seed = int(rng.integers(2**63))

    def fit(prior: BinomialPrior) -> HierarchicalBinomial:
        same = np.random.default_rng(seed)
        return hierarchical_binomial(
            successes, trials, arm, cluster, prior=prior, rng=same, n_draws=n_draws, **options
        )

    return PriorSensitivity(tuple(priors), tuple(_reason(fit, prior) for prior in priors))


def score_prior_sensitivity(
    score: Any,
    *,
    priors: Sequence[NormalPriors] | None = None,
    rng: np.random.Generator,
    **options: Any,
) -> PriorSensitivity:
    """Posteriors of the same scores under several priors.

    Parameters
    ----------
    score : array-like of float, shape (n_rows,)
        As in `hierarchical_normal`.
    priors : sequence of NormalPriors, optional
        By default `tried_priors()`: the scaled default, the study's, and the families that it tried
        on effects and on standard deviations.
    rng : numpy.random.Generator
        All priors use the same random numbers, so that differences are the priors' own.
    **options
        `unit`, `cluster`, `period`, `arm` and further options of `hierarchical_normal`.

    Raises
    ------
    InputError
        No priors; and as `hierarchical_normal`.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> unit, period = np.tile(np.arange(200), 2), np.repeat([1, 2], 200)
    >>> arm = np.where((period == 2) & (unit % 2 == 1), "calls", "control")
    >>> score = rng.normal(40, 12, 200)[unit] + 5.0 * (arm == "calls") + rng.normal(0, 6, 400)
    >>> told = score_prior_sensitivity(
    ...     score, unit=unit, cluster=unit // 20, period=period, arm=arm, rng=rng, n_draws=2_000
    ... )
    >>> told.agree, len(told.priors)
    (True, 9)
    """
    chosen = tried_priors() if priors is None else tuple(priors)
    if not chosen:
        raise InputError("priors: found none; needed at least one NormalPriors")
    seed = int(rng.integers(2**63))

    def fit(prior: NormalPriors) -> HierarchicalNormal:
        return hierarchical_normal(score, prior=prior, rng=np.random.default_rng(seed), **options)

    return PriorSensitivity(chosen, tuple(_reason(fit, prior) for prior in chosen))


def _reason(fit: Callable[[P], F], prior: P) -> F | NotEstimable:
    try:
        return fit(prior)
    except EstimationError as error:
        return NotEstimable(str(error))


def _rows_of(prior: str, post: Fit | NotEstimable) -> list[dict[str, Any]]:
    if isinstance(post, NotEstimable):
        return [{"prior": prior, "not_estimable": post.reason}]
    if isinstance(post, HierarchicalNormal):
        sd = float(post.cluster_sd_draws.mean())
        rows = post._frame().slice(1).drop("interval").rename({"term": "arm"}).to_dicts()
        return [{"prior": prior, **row, "cluster_sd_mean": sd} for row in rows]
    columns = zip(post.arms, post.prob_optimal, post.success_prob, post.policy_regret, strict=True)
    return [
        {
            "prior": prior,
            "arm": arm,
            "prob_optimal": float(best),
            "success_prob": float(success),
            "policy_regret": float(regret),
            "kappa_mean": post.kappa_mean,
        }
        for arm, best, success, regret in columns
    ]
