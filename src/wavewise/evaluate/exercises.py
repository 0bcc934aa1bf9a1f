"""Three questions about an adaptive experiment: afterwards, beforehand, and between waves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.estimate.hierarchical_posterior import HierarchicalBinomial
from wavewise.evaluate.sim_design import Design
from wavewise.evaluate.sim_observed import BootstrapTruth, PosteriorTruth
from wavewise.evaluate.sim_result import Comparison, Estimate, Simulated
from wavewise.evaluate.sim_worlds import Truth
from wavewise.evaluate.simulate import compare, simulate
from wavewise.results import FloatArray

__all__ = ["AnotherWave", "ex_ante", "ex_post", "if_another_wave"]


def ex_post(
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    arm: Any,
    cluster: Any,
    first_wave: npt.ArrayLike,
    *,
    shares: Mapping[str, float] | Sequence[float],
    n_second: int,
    n_simulations: int,
    rng: np.random.Generator,
    **how: Any,
) -> Comparison:
    """What the experiment that was run would have shown with other shares in its second wave.

    Parameters
    ----------
    successes, trials : (n_rows,) array of int
        One row a unit, of both waves, the control left out.
    arm, cluster : (n_rows,) array of labels
    first_wave : (n_rows,) array of bool
        Rows that stay as observed.
    shares : mapping or (n_arms,) sequence of float
        Of the adaptive second wave, in sorted order of the arms; they are scaled to sum to 1.
    n_second : int
        Units of the second wave.
    n_simulations : int
    rng : numpy.random.Generator
    **how
        `n_jobs`, `scheduler`, `folder`, `progress`, as for `simulate`.

    Returns
    -------
    Comparison
        The adaptive design first, equal shares second.

    References
    ----------
    Section 6.1 and Table 6 of the Kenya study (2022).
    """
    truth = BootstrapTruth.from_rows(successes, trials, arm, cluster, keep=first_wave, rng=rng)
    names = truth.arms
    given = [shares[name] for name in names] if isinstance(shares, Mapping) else list(shares)
    if len(given) != len(names) or sum(given) <= 0:
        raise InputError(f"shares: found {len(given)}; needed one for each of {', '.join(names)}")
    sizes = np.bincount(np.unique(np.asarray(cluster), return_inverse=True)[1])
    adaptive = Design(
        arms=names,
        waves=(n_second,),
        rule="fixed",
        options={"fixed": np.asarray(given, dtype=np.float64) / sum(given)},
        clusters=sizes,
        trials=int(np.asarray(trials).flat[0]),
        name="adaptive shares",
    )
    equal = adaptive.with_(rule="equal", name="equal shares")
    return compare([adaptive, equal], truth, n_simulations, rng, **how)


def ex_ante(
    design: Design,
    truth: Truth | Mapping[str, Any],
    *,
    n_simulations: int,
    rng: np.random.Generator,
    **how: Any,
) -> Comparison:
    """What an adaptive design gains over equal shares, before anything is known.

    Parameters
    ----------
    design : Design
        Two waves or more.
    truth : mapping or truth
        Parameters that are assumed, or a prior.
    n_simulations : int
    rng : numpy.random.Generator
    **how
        As for `simulate`.

    Returns
    -------
    Comparison
        The design first, equal shares second, with the same first waves.

    References
    ----------
    Section 6.2, Tables 7 and A.5 of the Kenya study (2022).

    Examples
    --------
    >>> import numpy as np
    >>> design = Design(arms=3, waves=(200, 200), rule="exploration")
    >>> both = ex_ante(design, {"rate": [0.1, 0.2, 0.3]}, n_simulations=100,
    ...                rng=np.random.default_rng(1))
    >>> [one.design.rule for one in both]
    ['exploration', 'equal']
    """
    return compare([design, design.with_(rule="equal")], truth, n_simulations, rng, **how)


@dataclass(frozen=True, eq=False)
class AnotherWave:
    """What a further wave is expected to change, seen from the posterior.

    Parameters
    ----------
    simulated : Simulated
        The experiment with the further wave.
    arm : str
        What would be chosen without it.
    regret_now, prob_optimal_now : float
        As the posterior has them.
    """

    simulated: Simulated
    arm: str
    regret_now: float
    prob_optimal_now: float

    @property
    def realized_regret_now(self) -> Estimate:
        """True loss without the wave, over the same draws of the truth."""
        return Estimate.of(self._loss_now())

    @property
    def best_arm_found_now(self) -> Estimate:
        """Share of draws in which today's choice is best."""
        return Estimate.of((self._loss_now() == 0).astype(np.float64))

    @property
    def gain(self) -> Estimate:
        """True loss without the wave minus that with it, in pairs."""
        return Estimate.of(self._loss_now() - self.simulated.values("realized_regret"))

    def medians(self) -> dict[str, float]:
        """Medians of posterior regret and probability of being best, of the chosen arm."""
        names = ("posterior_regret", "prob_optimal")
        return {name: float(np.nanmedian(self.simulated.values(name))) for name in names}

    def summary(self) -> str:
        """Before and after, in words."""
        one, median = self.simulated, self.medians()
        return (
            f"Now: {self.arm}, expected regret {self.regret_now:.2g}, best with probability "
            f"{self.prob_optimal_now:.3f}; over the draws {self.realized_regret_now} and "
            f"{self.best_arm_found_now}.\nWith another wave of {one.design.waves[0]:,}: expected "
            f"regret {one.posterior_regret} (median {median['posterior_regret']:.2g}), best with "
            f"probability {one.prob_optimal} (median {median['prob_optimal']:.3f}); in truth "
            f"regret {one.realized_regret}, best arm found {one.best_arm_found}. Gain {self.gain}."
        )

    def _loss_now(self) -> FloatArray:
        truth = self.simulated.runs["success_prob"]
        place = self.simulated.design.arm_names.index(self.arm)
        return np.asarray(truth.max(axis=1) - truth[:, place])


def if_another_wave(
    posterior: HierarchicalBinomial,
    n_next: int | Sequence[int],
    *,
    trials: int,
    n_simulations: int,
    rng: np.random.Generator,
    rule: str = "exploration",
    control_share: float = 0.0,
    options: Mapping[str, Any] | None = None,
    cluster_sizes: npt.ArrayLike | None = None,
    **how: Any,
) -> AnotherWave:
    """Whether a further wave pays, with the truth drawn from today's posterior.

    Parameters
    ----------
    posterior : HierarchicalBinomial
    n_next : int or sequence of int
        Units of the further wave, or waves.
    trials : int
        Of one unit.
    n_simulations : int
    rng : numpy.random.Generator
    rule : str
        "fixed" with ``options={"fixed": shares}`` takes shares as they were.
    control_share : float
    options : mapping, optional
    cluster_sizes : (n_clusters,) array of int, optional
        Units of each cluster in sorted order of the labels; by default in proportion to its trials.
    **how
        As for `simulate`.

    References
    ----------
    Section 6.3, Table 8 and Figure 5 of the Kenya study (2022).
    """
    truth = PosteriorTruth.from_posterior(posterior, rng)
    sizes = posterior.cells.trials.sum(axis=1) if cluster_sizes is None else cluster_sizes
    design = Design(
        arms=posterior.arms,
        waves=np.atleast_1d(np.asarray(n_next)).tolist(),
        rule=rule,
        options=dict(options or {}),
        clusters=np.rint(sizes).astype(np.int64),
        control_share=control_share,
        trials=trials,
    )
    place = int(np.argmin(posterior.policy_regret))
    return AnotherWave(
        simulated=simulate(design, truth, n_simulations, rng, **how),
        arm=posterior.arms[place],
        regret_now=float(posterior.policy_regret[place]),
        prob_optimal_now=float(posterior.prob_optimal[place]),
    )
