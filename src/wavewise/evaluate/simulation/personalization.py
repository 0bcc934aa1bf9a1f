"""Whether a personalized policy can be shown to beat the best arm for all, with a real forest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from wavewise.errors import InputError
from wavewise.evaluate.power_analysis import power
from wavewise.evaluate.simulation.results import Estimate
from wavewise.shared.parallel import Chunk, Progress, run_chunks, task_hash
from wavewise.shared.renamed import renamed
from wavewise.shared.results import FloatArray, IntArray, NotEstimable, Record, Result, read_only

if TYPE_CHECKING:
    import polars as pl

    from wavewise.estimate.forest.causal_forest import CausalForest

__all__ = ["Assumptions", "PersonalizationPower", "PersonalizationRow", "personalization_power"]

_N_TEST = 20_000
_LEAST = 1e-3  # of a probability


@dataclass(frozen=True, eq=False)
class Assumptions:
    """What is believed of arms and their differences between units, before the first phase.

    Parameters
    ----------
    rate : float
        Of the outcome without a message.
    effects : (n_arms,) array of float
        Average effects on it.
    heterogeneity_sd : float
        Standard deviation between units of an arm's effect. Arms' deviations are independent.
    n_covariates : int
        Standard normal ones. Two of them, others for each arm, carry its differences.
    shape : {"linear", "step"}
        How effects depend on them.
    """

    rate: float
    effects: npt.ArrayLike
    heterogeneity_sd: float
    n_covariates: int = 6
    shape: Literal["linear", "step"] = "linear"

    def __post_init__(self) -> None:
        effects = np.asarray(self.effects, dtype=np.float64)
        if not 0 < self.rate < 1 or effects.ndim != 1 or effects.size < 2:
            raise InputError(
                f"found rate {self.rate} and effects of shape {effects.shape}; needed a rate "
                "between 0 and 1 and two effects or more"
            )
        if not (np.isfinite(self.heterogeneity_sd) and self.heterogeneity_sd >= 0):
            raise InputError(
                f"heterogeneity_sd: found {self.heterogeneity_sd}; needed 0 or more, such as 0.02"
            )
        if self.n_covariates < 2 or self.shape not in {"linear", "step"}:
            raise InputError(
                f"found {self.n_covariates} covariates, shape {self.shape!r}; needed two or more, "
                "and 'linear' or 'step'"
            )
        object.__setattr__(self, "effects", read_only(effects))

    @classmethod
    def from_forest(cls, forest: "CausalForest", rate: float, **changes: Any) -> "Assumptions":
        """From the first phase's data: average effects, and how far the forest's effects spread.

        The spread of shrunken effects is a little below the true one.
        """
        spread = float(np.sqrt(np.asarray(forest.effects_oob).var(axis=0).mean()))
        return replace(cls(rate, forest.ate, spread), **changes)

    @property
    def n_arms(self) -> int:
        """Arms, the control not counted."""
        return int(np.asarray(self.effects).size)

    def tau(self, X: FloatArray) -> FloatArray:
        """True effects of every arm, (n, n_arms)."""
        first = np.arange(self.n_arms) % self.n_covariates
        second = (first + 1 + np.arange(self.n_arms) // self.n_covariates) % self.n_covariates
        index = (X[:, first] + X[:, second]) / np.sqrt(2)
        deviation = np.sign(index) if self.shape == "step" else index
        return np.asarray(self.effects + self.heterogeneity_sd * deviation)

    def base(self, X: FloatArray) -> FloatArray:
        """Rate without a message, (n,): it depends on the first covariate."""
        return np.asarray(special.expit(special.logit(self.rate) + 0.5 * X[:, 0]))


@dataclass(frozen=True)
class PersonalizationRow(Record):
    """What a first phase of so many units leads to."""

    n_first: int  # Units of the first phase.
    # True value of the personalized policy minus that of the best arm for all, on new units.
    gain: Estimate
    gain_sd: float  # Standard deviation of the gain between first phases.
    share_better: Estimate  # Share of first phases after which personalization is truly better.
    power: Estimate  # Probability that the second phase shows it to be better.
    oracle_gain: float  # With perfectly known effects.


@dataclass(frozen=True, eq=False)
class PersonalizationPower(Result, kind="power of personalization"):
    """Power of "personalized beats best" by the size of the first phase.

    Parameters
    ----------
    rows : tuple of PersonalizationRow
    pays_from : float or NotEstimable
        Units of the first phase from which on the expected gain is above 0, by interpolation in
        the logarithm of the size; the smallest size tried where it pays there already.
    n_per_policy : int
    convention : str
        How policies are compared in the second phase.
    std_error : float
    """

    rows: tuple[PersonalizationRow, ...]
    pays_from: float | NotEstimable
    n_per_policy: int
    convention: str
    std_error: float

    def _frame(self) -> "pl.DataFrame":
        """One row a size of the first phase."""
        import polars as pl

        return pl.DataFrame(self._rows())

    def _facts(self) -> dict[str, Any]:
        pays = self.pays_from
        return {
            "rows": self._rows(),
            "pays_from": None if isinstance(pays, NotEstimable) else pays,
            "pays_from_reason": str(pays) if isinstance(pays, NotEstimable) else None,
            "n_per_policy": self.n_per_policy,
            "convention": self.convention,
            "std_error": self.std_error,
        }

    def summary(self) -> str:
        """The rows and the sample from which personalization pays, in words."""
        lines = [
            f"first phase of {row.n_first:,}: gain {row.gain} of {row.oracle_gain:.3g} possible, "
            f"better in {row.share_better.value:.0%} of first phases, power {row.power.value:.2f}"
            for row in self.rows
        ]
        pays = self.pays_from
        if pays == self.rows[0].n_first:
            last = f"Personalization pays at {pays:,.0f} units already, the smallest size tried."
            return "\n".join([*lines, last, f"Second phase, {self.convention}."])
        last = (
            f"Personalization does not begin to pay: {pays.reason}."
            if isinstance(pays, NotEstimable)
            else f"Personalization begins to pay at a first phase of about {pays:,.0f} units."
        )
        return "\n".join([*lines, last, f"Second phase, {self.convention}."])

    def _rows(self) -> list[dict[str, Any]]:
        found = []
        for row in self.rows:
            plain: dict[str, Any] = {"n_first": row.n_first, "gain_sd": row.gain_sd}
            for name in ("gain", "share_better", "power"):
                value: Estimate = getattr(row, name)
                plain |= {name: value.value, f"{name}_mc_error": value.mc_error}
            found.append({**plain, "oracle_gain": row.oracle_gain})
        return found


@dataclass(frozen=True, eq=False)
class _Trials:
    """First phases: chunk i is repetition i % n of size i // n."""

    guess: Assumptions
    sizes: tuple[int, ...]
    n_simulations: int
    n_trees: int
    min_arm_leaf: int | None
    entropy: tuple[int, ...]

    def __call__(self, number: int) -> Chunk:
        place, repetition = divmod(number, self.n_simulations)
        sequence = np.random.SeedSequence([*self.entropy, place, repetition])
        rng = np.random.Generator(np.random.PCG64DXSM(sequence))
        return {"gain": np.array(self._gain(self.sizes[place], rng))}

    def _gain(self, n: int, rng: np.random.Generator) -> tuple[float, float]:
        """Of the policy that a forest learned, and of perfect knowledge."""
        from wavewise.decide.policy import personalize, uniform_best
        from wavewise.estimate.forest.causal_forest import causal_forest

        guess, names = self.guess, [f"a{k:02d}" for k in range(self.guess.n_arms)]
        X = rng.standard_normal((n, guess.n_covariates))
        arm = _dealt(n, guess.n_arms + 1, rng)
        tau = np.column_stack([np.zeros(n), guess.tau(X)])
        prob = np.clip(guess.base(X) + tau[np.arange(n), arm], _LEAST, 1 - _LEAST)
        outcome = (rng.random(n) < prob).astype(np.float64)
        labels = np.array(["control", *names])[arm]
        shares = dict.fromkeys(["control", *names], 1 / (guess.n_arms + 1))
        forest = causal_forest(
            X, labels, outcome, control="control", propensity=shares, rng=rng,
            n_trees=self.n_trees, min_arm_leaf=self.min_arm_leaf, n_threads=1,
        )  # fmt: skip
        fresh = rng.standard_normal((_N_TEST, guess.n_covariates))
        truth, rows = guess.tau(fresh), np.arange(_N_TEST)
        chosen = personalize(forest).assign(fresh)
        best = names.index(str(uniform_best(forest).assign(fresh[:1])[0]))
        place = np.searchsorted(names, chosen)
        known_best = int(np.argmax(np.asarray(guess.effects)))
        oracle = truth.max(axis=1).mean() - truth[:, known_best].mean()
        return float(truth[rows, place].mean() - truth[:, best].mean()), float(oracle)


def _dealt(n: int, n_arms: int, rng: np.random.Generator) -> IntArray:
    """Arms in equal numbers, within one unit."""
    return np.asarray(rng.permutation(np.arange(n) % n_arms))


@renamed(guess="assumptions", level="size")
def personalization_power(
    assumptions: Assumptions,
    *,
    n_first: int | Sequence[int],
    n_per_policy: int,
    treated_share: float = 0.5,
    convention: Literal["whole arm", "treated part"] = "treated part",
    size: float = 0.05,
    n_simulations: int = 50,
    n_trees: int = 200,
    min_arm_leaf: int | None = None,
    rng: np.random.Generator,
    n_jobs: int = 1,
    scheduler: str | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> PersonalizationPower:
    """Power of a second phase to show that a forest's policy beats the best arm for all.

    Parameters
    ----------
    assumptions : Assumptions
        Average effects, their spread between units, the rate; or `Assumptions.from_forest`.
    n_first : int or sequence of int
        Units of the first phase, all arms and the control in equal shares.
    n_per_policy : int
        Units of each policy arm in the second phase.
    treated_share : float
        Part of them that is treated.
    convention : {"whole arm", "treated part"}
        What the second phase compares, as for `ww.evaluate.power`.
    size : float
        Size of its two-sided test.
    n_simulations : int
        First phases of each size.
    n_trees, min_arm_leaf : int
        Of the forest; `min_arm_leaf` None tunes it, as `ww.estimate.causal_forest` does.
    rng : numpy.random.Generator
    n_jobs, scheduler, folder, progress
        As for `simulate`.

    Notes
    -----
    Each simulated first phase trains a causal forest; the policy that it gives has a true gain over
    the arm that looks best on average, known from the truth. Given that gain, the second phase
    finds it with probability ``Phi(gain s / SE - c)``, s the part of the effect that the convention
    shows; averaged over first phases. Without heterogeneity the gain is negative: choosing for each
    unit on noise costs.

    Examples
    --------
    >>> import numpy as np
    >>> found = personalization_power(
    ...     Assumptions(0.36, [0.03, 0.03, 0.02], 0.06), n_first=4_000, n_per_policy=25_000,
    ...     n_simulations=3, n_trees=20, min_arm_leaf=20, rng=np.random.default_rng(1))
    >>> found.rows[0].oracle_gain > 0.02
    True
    """
    sizes = tuple(int(n) for n in np.atleast_1d(np.asarray(n_first)))
    _check(assumptions, sizes, n_simulations)
    base = assumptions.rate + float(np.max(np.asarray(assumptions.effects)))
    second = power(
        rate=min(base, 1 - _LEAST), n_per_arm=n_per_policy, contrast="policy", size=size,
        treated_share=treated_share, convention=convention,
    )  # fmt: skip
    shown = treated_share if convention == "whole arm" else 1.0
    entropy = tuple(int(x) for x in rng.integers(0, 2**63, size=2))
    task = _Trials(assumptions, sizes, n_simulations, n_trees, min_arm_leaf, entropy)
    chunks = run_chunks(
        task, len(sizes) * n_simulations, n_jobs=n_jobs, scheduler=scheduler,
        folder=None if folder is None else Path(folder) / task_hash(task)[:16],
        progress=progress,
    )  # fmt: skip
    gains = np.array([chunk["gain"] for chunk in chunks]).reshape(len(sizes), n_simulations, 2)
    rows = tuple(
        _row(size, gain, shown / second.std_error, second.critical)
        for size, gain in zip(sizes, gains, strict=True)
    )
    return PersonalizationPower(
        rows, _pays_from(rows), n_per_policy, second.convention, second.std_error
    )


def _check(guess: Assumptions, sizes: tuple[int, ...], n_simulations: int) -> None:
    least = 20 * (guess.n_arms + 1)
    if min(sizes) < least:
        raise InputError(
            f"n_first: found {min(sizes):,} units for {guess.n_arms} arms and a control; needed "
            f"{least:,} or more, which are 20 per arm"
        )
    if list(sizes) != sorted(set(sizes)):
        raise InputError(f"n_first: found {sizes}; needed sizes from small to large")
    if n_simulations < 2:
        raise InputError(f"n_simulations: found {n_simulations}; needed 2 or more, such as 50")


def _row(size: int, gains: FloatArray, scale: float, critical: float) -> PersonalizationRow:
    gain, found = gains[:, 0], special.ndtr(gains[:, 0] * scale - critical)
    return PersonalizationRow(
        n_first=size,
        gain=Estimate.of(gain),
        gain_sd=float(gain.std(ddof=1)),
        share_better=Estimate.of((gain > 0).astype(np.float64)),
        power=Estimate.of(found),
        oracle_gain=float(gains[:, 1].mean()),
    )


def _pays_from(rows: tuple[PersonalizationRow, ...]) -> float | NotEstimable:
    """Where the expected gain crosses 0 for the last time."""
    gain = [row.gain.value for row in rows]
    if gain[-1] <= 0:
        return NotEstimable(
            f"with a first phase of {rows[-1].n_first:,} the expected gain is {gain[-1]:.2g}; "
            "larger ones were not tried"
        )
    below = [i for i, value in enumerate(gain) if value <= 0]
    if not below:
        return float(rows[0].n_first)
    last = below[-1]
    low, high = np.log(rows[last].n_first), np.log(rows[last + 1].n_first)
    part = -gain[last] / (gain[last + 1] - gain[last])
    return float(np.exp(low + part * (high - low)))
