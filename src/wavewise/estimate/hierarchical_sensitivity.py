"""The same data under several priors: what of the decision depends on the prior."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.binomial_priors import STUDY_PRIORS, BinomialPrior
from wavewise.estimate.hierarchical_binomial import hierarchical_binomial
from wavewise.estimate.hierarchical_posterior import HierarchicalBinomial
from wavewise.results import NotEstimable

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PriorSensitivity", "prior_sensitivity"]


@dataclass(frozen=True, eq=False)
class PriorSensitivity:
    """Posteriors of the same data under several priors.

    Parameters
    ----------
    priors : (n_priors,) tuple of BinomialPrior
    posteriors : (n_priors,) tuple of HierarchicalBinomial or NotEstimable
        In the order of the priors; where a prior gives no posterior, the reason.
    """

    priors: tuple[BinomialPrior, ...]
    posteriors: tuple[HierarchicalBinomial | NotEstimable, ...]

    @property
    def best_arms(self) -> tuple[str | None, ...]:
        """Arm of lowest expected policy regret under each prior; None without a posterior."""
        return tuple(
            post.arms[int(np.argmin(post.policy_regret))]
            if isinstance(post, HierarchicalBinomial)
            else None
            for post in self.posteriors
        )

    @property
    def agree(self) -> bool:
        """Whether every prior that gives a posterior leads to the same arm."""
        return len({arm for arm in self.best_arms if arm is not None}) <= 1

    def to_frame(self) -> "pl.DataFrame":
        """One row a prior and arm."""
        import polars as pl  # noqa: PLC0415 - half the import time of the package

        return pl.DataFrame([row for block in self._rows() for row in block])

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values, for JSON."""
        return {
            "version": 1,
            "kind": "prior sensitivity",
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

    def fit(prior: BinomialPrior) -> HierarchicalBinomial | NotEstimable:
        same = np.random.default_rng(seed)
        try:
            return hierarchical_binomial(
                successes, trials, arm, cluster, prior=prior, rng=same, n_draws=n_draws, **options
            )
        except EstimationError as error:
            return NotEstimable(str(error))

    return PriorSensitivity(tuple(priors), tuple(fit(prior) for prior in priors))


def _rows_of(prior: str, post: HierarchicalBinomial | NotEstimable) -> list[dict[str, Any]]:
    if isinstance(post, NotEstimable):
        return [{"prior": prior, "not_estimable": post.reason}]
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
