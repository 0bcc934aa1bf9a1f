"""Three questions about an adaptive experiment: afterwards, beforehand, and between waves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.errors import InputError
from wavewise.estimate.binomial.data import read_rows, to_cells
from wavewise.estimate.binomial.priors import BinomialPrior
from wavewise.estimate.binomial.results import HierarchicalBinomial
from wavewise.estimate.binomial.success import cluster_effects
from wavewise.evaluate.simulation.compare import compare, simulate
from wavewise.evaluate.simulation.design import Design
from wavewise.evaluate.simulation.results import Comparison, Estimate, Simulated
from wavewise.evaluate.simulation.worlds import Truth, Worlds, success_over_clusters
from wavewise.shared.inputs import aligned, encode, read_numbers
from wavewise.shared.results import FloatArray, IntArray, Result, hash_arrays, read_only

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "AnotherWave",
    "BootstrapTruth",
    "PosteriorTruth",
    "ex_ante",
    "ex_post",
    "if_another_wave",
]


@aligned("successes", "trials", "arm", "cluster")
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
        One row per unit, of both waves, the control left out.
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
    sizes = np.bincount(encode(cluster, "cluster").codes)
    adaptive = Design(
        arms=names,
        waves=(n_second,),
        rule="fixed",
        options={"fixed": np.asarray(given, dtype=np.float64) / sum(given)},
        clusters=sizes,
        trials=int(read_numbers(trials, "trials")[0]),
        name="adaptive shares",
    )
    equal = adaptive.with_(rule="equal", name="equal shares")
    return compare([adaptive, equal], truth, n_simulations=n_simulations, rng=rng, **how)


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
    pair = [design, design.with_(rule="equal")]
    return compare(pair, truth, n_simulations=n_simulations, rng=rng, **how)


@dataclass(frozen=True, eq=False)
class AnotherWave(Result, kind="another wave"):
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

    def _frame(self) -> "pl.DataFrame":
        """One row a quantity: now, with the wave, and the Monte-Carlo error of the latter."""
        import polars as pl

        now = {
            "posterior_regret": self.regret_now,
            "prob_optimal": self.prob_optimal_now,
            "realized_regret": self.realized_regret_now.value,
            "best_arm_found": self.best_arm_found_now.value,
        }
        then: list[Estimate] = [getattr(self.simulated, name) for name in now]
        return pl.DataFrame(
            {
                "quantity": list(now),
                "now": list(now.values()),
                "with_wave": [one.value for one in then],
                "mc_error": [one.mc_error for one in then],
            }
        )

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
        simulated=simulate(design, truth, n_simulations=n_simulations, rng=rng, **how),
        arm=posterior.arms[place],
        regret_now=float(posterior.policy_regret[place]),
        prob_optimal_now=float(posterior.prob_optimal[place]),
    )


# Truths from data: the posterior after a wave, and observed outcomes resampled by cluster.


@dataclass(frozen=True, eq=False)
class PosteriorTruth:
    """Parameters and cluster effects drawn from the posterior after a wave, whose data stay.

    Made by `from_posterior`. The design that is simulated holds the further waves only; its
    clusters are those of the posterior, in sorted order.

    Parameters
    ----------
    beta : (n_draws, n_arms) array of float
    kappa : (n_draws,) array of float
    effects : (n_draws, n_clusters) array of float
        Standard normal a priori.
    successes, trials : (n_clusters, n_arms) array of float
        What was observed.
    belief : (2, n_arms) array of float
        Probability of being best, and expected regret, after it.
    """

    beta: FloatArray
    kappa: FloatArray
    effects: FloatArray
    successes: FloatArray
    trials: FloatArray
    belief: FloatArray

    @classmethod
    def from_posterior(
        cls, posterior: HierarchicalBinomial, rng: np.random.Generator, n_draws: int = 1000
    ) -> "PosteriorTruth":
        """Draws of all parameters, clusters' effects among them.

        Raises
        ------
        InputError
            A posterior of another model, or with overdispersion.
        """
        if getattr(posterior, "overdispersion", "unknown") is not None:
            raise InputError(
                f"posterior: found {type(posterior).__name__}; needed what "
                "ww.estimate.hierarchical_binomial gives without overdispersion"
            )
        picked = rng.choice(posterior.weights.size, size=n_draws, p=posterior.weights)
        points = posterior.points[picked]
        n_arms = len(posterior.arms)
        return cls(
            beta=read_only(points[:, :n_arms]),
            kappa=read_only(np.exp(points[:, n_arms])),
            effects=read_only(cluster_effects(posterior.log_posterior, points, rng)),
            successes=posterior.cells.successes,
            trials=posterior.cells.trials,
            belief=read_only(np.array([posterior.prob_optimal, posterior.policy_regret])),
        )

    def worlds(
        self, n: int, n_arms: int, n_clusters: int | None, rng: np.random.Generator
    ) -> Worlds:
        """So many worlds."""
        _check_shape(self.successes, n_arms, n_clusters)
        pick = rng.integers(0, self.kappa.size, size=n)
        beta, kappa = self.beta[pick], self.kappa[pick]
        shift = kappa[:, None] * self.effects[pick]
        return Worlds(
            success_prob=success_over_clusters(beta, kappa),
            prob=special.expit(beta[:, None, :] + shift[:, :, None]),
            beta=beta,
            first_successes=self.successes,
            first_trials=self.trials,
            first_belief=self.belief,
        )

    def describe(self) -> str:
        """In words."""
        digest = hash_arrays(beta=self.beta, effects=self.effects)[:8]
        return (
            f"drawn from the posterior after {self.trials.sum():,.0f} trials, effects of its "
            f"{self.trials.shape[0]} clusters included (draws {digest})"
        )


@dataclass(frozen=True, eq=False)
class BootstrapTruth:
    """Outcomes of observed units, resampled within cluster and arm.

    Made by `from_rows`, from any experiment of the user's: "what if we had been adaptive?"

    Parameters
    ----------
    pools : (n_clusters, n_arms, most) array of float
        Successes of the observed units of each cell; only the first `sizes` count.
    sizes : (n_clusters, n_arms) array of int
    rate : (n_arms,) array of float
        Success share of each arm over all units: the truth of these worlds.
    first : (2, n_clusters, n_arms) array of float, or None
        Successes and trials of rows that stay as they were observed.
    belief : (2, n_arms) array of float, or None
    n_borrowed : int
        Cells without a unit, which borrow the arm's units of all clusters.

    Notes
    -----
    Footnote 27 of the Kenya study names the weakness: a small arm is resampled more often than a
    large one, so that its noise counts as truth.
    """

    pools: FloatArray
    sizes: IntArray
    rate: FloatArray
    first: FloatArray | None = None
    belief: FloatArray | None = None
    n_borrowed: int = 0
    clusters: tuple[str, ...] = ()
    arms: tuple[str, ...] = field(default=())

    @classmethod
    def from_rows(
        cls,
        successes: npt.ArrayLike,
        trials: npt.ArrayLike,
        arm: Any,
        cluster: Any = None,
        *,
        keep: npt.ArrayLike | None = None,
        prior: BinomialPrior | None = None,
        rng: np.random.Generator | None = None,
    ) -> "BootstrapTruth":
        """From one row per unit.

        Parameters
        ----------
        successes, trials : (n_rows,) array of int
            All units with the same number of trials.
        arm, cluster : (n_rows,) array of labels
        keep : (n_rows,) array of bool, optional
            Rows, such as those of the first wave, that every simulated experiment holds as they
            are; further waves are resampled from all rows.
        prior, rng
            For the posterior of the rows that are kept.

        Raises
        ------
        InputError
            Rows that are wrong, or trials that differ.
        """
        n_rows = np.asarray(successes).size
        one = np.zeros(n_rows, dtype=np.int64) if cluster is None else cluster
        rows = read_rows(successes, trials, arm, one)
        if np.ptp(rows.trials) != 0:
            raise InputError(
                f"trials: found from {rows.trials.min():g} to {rows.trials.max():g} a unit; needed "
                "the same number for all units"
            )
        cells = to_cells(rows)
        pools, sizes, n_borrowed = _pools(rows.successes, rows.cluster.codes, rows.arm.codes)
        first = belief = None
        if keep is not None:
            first, belief = _kept(rows, np.asarray(keep, dtype=bool), prior, rng, cluster is None)
        rate = cells.successes.sum(axis=0) / cells.trials.sum(axis=0)
        return cls(pools, sizes, rate, first, belief, n_borrowed, cells.clusters, cells.arms)

    def worlds(
        self,
        n: int,
        n_arms: int,
        n_clusters: int | None,
        rng: np.random.Generator,  # noqa: ARG002 - every truth is called alike
    ) -> Worlds:
        """So many worlds; they differ only in what is resampled."""
        _check_shape(self.sizes, n_arms, n_clusters)
        return Worlds(
            success_prob=np.tile(self.rate, (n, 1)),
            prob=np.zeros((n, *self.sizes.shape)),
            first_successes=None if self.first is None else self.first[0],
            first_trials=None if self.first is None else self.first[1],
            first_belief=self.belief,
            pools=self.pools,
            pool_sizes=self.sizes,
        )

    def describe(self) -> str:
        """In words."""
        kept = "" if self.first is None else f", {self.first[1].sum():,.0f} trials kept as observed"
        borrowed = (
            f"; {self.n_borrowed} cells without a unit borrow the arm's units of all clusters"
            if self.n_borrowed
            else ""
        )
        digest = hash_arrays(pools=self.pools, sizes=self.sizes)[:8]
        return f"observed outcomes resampled within cluster and arm{kept}{borrowed} (data {digest})"


def _check_shape(table: Any, n_arms: int, n_clusters: int | None) -> None:
    wanted = (1 if n_clusters is None else n_clusters, n_arms)
    if table.shape != wanted:
        raise InputError(
            f"truth: found {table.shape[0]} clusters and {table.shape[1]} arms in the data, "
            f"{wanted[0]} and {wanted[1]} in the design; needed the same: give the design the "
            "clusters' sizes in sorted order of their labels"
        )


def _pools(
    successes: FloatArray, cluster: IntArray, arm: IntArray
) -> tuple[FloatArray, IntArray, int]:
    """Successes of each cell's units, their number, and how many cells borrowed them."""
    n_clusters, n_arms = int(cluster.max()) + 1, int(arm.max()) + 1
    own = [[successes[(cluster == c) & (arm == k)] for k in range(n_arms)]
           for c in range(n_clusters)]  # fmt: skip
    whole = [np.sort(successes[arm == k]) for k in range(n_arms)]
    filled = [[np.sort(cell) if cell.size else whole[k] for k, cell in enumerate(row)]
              for row in own]  # fmt: skip
    sizes = np.array([[cell.size for cell in row] for row in filled], dtype=np.int64)
    pools = np.zeros((n_clusters, n_arms, int(sizes.max())))
    for c, row in enumerate(filled):
        for k, cell in enumerate(row):
            pools[c, k, : cell.size] = cell
    borrowed = sum(cell.size == 0 for row in own for cell in row)
    return pools, sizes, borrowed


def _kept(
    rows: Any,
    keep: npt.NDArray[np.bool_],
    prior: BinomialPrior | None,
    rng: np.random.Generator | None,
    pooled: bool,
) -> tuple[FloatArray, FloatArray]:
    """Counts of the rows that stay, and what they say of the arms."""
    if keep.shape != rows.successes.shape or not keep.any():
        raise InputError(f"keep: found {int(keep.sum())} of {keep.size} rows; needed one per row")
    n_clusters, n_arms = len(rows.cluster.levels), len(rows.arm.levels)
    first = np.zeros((2, n_clusters, n_arms))
    place = (rows.cluster.codes[keep], rows.arm.codes[keep])
    np.add.at(first[0], place, rows.successes[keep])
    np.add.at(first[1], place, rows.trials[keep])
    if pooled:
        from wavewise.estimate.bayes.beta_binomial import beta_binomial

        exact = beta_binomial(first[0, 0], first[1, 0])
        return first, np.array([exact.prob_optimal, exact.policy_regret])
    from wavewise.estimate.binomial.batch import fit_many

    if rng is None:
        raise InputError("rng: found none; needed a numpy.random.Generator for the posterior")
    fitted = fit_many(first[:1], first[1:], prior=prior or BinomialPrior(), rng=rng)
    if fitted.not_estimable:
        raise InputError(f"keep: the rows that stay have no posterior: {fitted.not_estimable[0]}")
    return first, np.array([fitted.prob_optimal[0], fitted.policy_regret[0]])
