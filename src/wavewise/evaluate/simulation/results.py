"""What simulated experiments show: averages with their Monte-Carlo errors, and differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wavewise.evaluate.simulation.design import Design
from wavewise.shared.results import FloatArray, NotEstimable, Provenance, Result

if TYPE_CHECKING:
    import polars as pl

__all__ = ["METRICS", "Comparison", "Estimate", "Simulated"]

SURE = 0.95


@dataclass(frozen=True, eq=False)
class Estimate(Result, kind="mean over simulations"):
    """A mean over simulations, and its Monte-Carlo standard error.

    Parameters
    ----------
    value, mc_error : float
    """

    value: float
    mc_error: float

    def __getitem__(self, place: Any) -> Any:
        return (self.value, self.mc_error)[place]

    @classmethod
    def of(cls, values: FloatArray) -> "Estimate":
        """Of the simulations that have a value; their error is nan where it is only one."""
        known = values[np.isfinite(values)]
        many = known.size > 1
        error = float(known.std(ddof=1) / np.sqrt(known.size)) if many else float("nan")
        return cls(float(known.mean()), error)

    def summary(self) -> str:
        """The mean and its error."""
        return f"{self.value:.5g} ± {self.mc_error:.2g}"


METRICS: Mapping[str, str] = {
    "best_arm_found": "truly best arm chosen",
    "realized_regret": "loss from the chosen arm, in truth",
    "posterior_regret": "loss from the chosen arm, as believed",
    "prob_optimal": "probability that the chosen arm is best, as believed",
    "chosen_success": "success probability of the chosen arm, in truth",
    "in_sample_outcome": "success probability of the arms that units got, in truth",
    "in_sample_regret": "loss during the experiment, a unit that got an arm",
    "power": "truly best arm chosen with probability .95 or more of being best",
    "power_control": "chosen arm significantly better than the control",
    "coverage": "95% credible intervals that cover, over arms",
    "coverage_chosen": "95% credible intervals of the chosen arm that cover",
    "first_wave_found": "truly best arm ahead after the first wave",
    "first_wave_regret": "loss from the arm that is ahead after the first wave",
}


@dataclass(frozen=True, eq=False)
class Simulated(Result, kind="simulated design"):
    """A design over many simulated experiments.

    Parameters
    ----------
    design : Design
    truth : str
        In words.
    n_simulations : int
    runs : mapping of str to array
        By simulation: ``success_prob``, ``prob_optimal``, ``policy_regret``, ``posterior_mean``,
        ``posterior_sd``, ``covered`` (n, n_arms); ``units`` (n, n_arms + 1); ``chosen``,
        ``first_chosen`` (n,).
    provenance : Provenance

    Notes
    -----
    Simulations in which the estimator found no posterior (under a flat prior, an arm without any
    success) are left out of the averages and counted in `n_not_estimable`.
    """

    design: Design
    truth: str
    n_simulations: int
    runs: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    provenance: Provenance

    @property
    def n_not_estimable(self) -> int:
        """Simulations without a posterior in the end."""
        return int((self.runs["chosen"] < 0).sum())

    def values(self, metric: str) -> FloatArray:
        """The metric in every simulation, (n_simulations,); nan where it has none."""
        return _values(self.runs, metric)

    def estimate(self, metric: str) -> Estimate | NotEstimable:
        """Mean of a metric of `METRICS` with its Monte-Carlo error."""
        return _mean(self.values(metric), metric)

    @property
    def best_arm_found(self) -> Estimate:
        """Share of experiments that chose the truly best arm."""
        return self._known("best_arm_found")

    @property
    def realized_regret(self) -> Estimate:
        """True success probability lost by the chosen arm."""
        return self._known("realized_regret")

    @property
    def posterior_regret(self) -> Estimate:
        """Expected regret of the chosen arm, as the posterior has it."""
        return self._known("posterior_regret")

    @property
    def prob_optimal(self) -> Estimate:
        """Posterior probability that the chosen arm is best."""
        return self._known("prob_optimal")

    @property
    def in_sample_outcome(self) -> Estimate:
        """True mean success probability of the units that got an arm."""
        return self._known("in_sample_outcome")

    @property
    def power(self) -> Estimate:
        """Share of experiments that chose the best arm and were sure of it (.95 or more)."""
        return self._known("power")

    @property
    def power_control(self) -> Estimate | NotEstimable:
        """Share of experiments whose chosen arm is significantly better than the control."""
        return self.estimate("power_control")

    @property
    def coverage(self) -> Estimate | NotEstimable:
        """Share of the arms' 95% credible intervals that cover the truth."""
        return self.estimate("coverage")

    @property
    def coverage_chosen(self) -> Estimate | NotEstimable:
        """The same for the chosen arm alone, after it was chosen."""
        return self.estimate("coverage_chosen")

    @property
    def arm_means(self) -> dict[str, FloatArray]:
        """Averages by arm, (n_arms,): share chosen, probability of being best, regret, mean, sd.

        The standard deviation is that of a new cluster's success probability; without clusters of
        the arm's own.
        """
        known = self.runs["chosen"] >= 0
        n_arms = self.design.n_arms
        chosen = np.bincount(self.runs["chosen"][known], minlength=n_arms) / max(known.sum(), 1)
        names = {"prob_optimal": "prob_optimal", "policy_regret": "policy_regret",
                 "success_prob": "posterior_mean", "success_sd": "posterior_sd"}  # fmt: skip
        means = {key: self.runs[name][known].mean(axis=0) for key, name in names.items()}
        return {"chosen": chosen, **means, "units": self.runs["units"][known].mean(axis=0)}

    def _frame(self) -> "pl.DataFrame":
        """One row a metric: value and Monte-Carlo error, null where it has none."""
        import polars as pl

        return pl.DataFrame(self._rows(), schema_overrides={"value": pl.Float64})

    def _facts(self) -> dict[str, Any]:
        return {
            "design": self.design.to_dict(),
            "truth": self.truth,
            "n_simulations": self.n_simulations,
            "n_not_estimable": self.n_not_estimable,
            "metrics": self._rows(),
        }

    def summary(self) -> str:
        """The averages in words."""
        rows = [
            f"  {METRICS[row['metric']]}: {row['value']:.5g} ± {row['mc_error']:.2g}"
            for row in self._rows()
            if row["value"] is not None
        ]
        lost = self.n_not_estimable
        note = [f"{lost} simulations had no posterior and are left out."] if lost else []
        head = f"{self.design.name}: {self.n_simulations:,} simulations. Truth: {self.truth}."
        return "\n".join([head, *rows, *note])

    def _rows(self) -> list[dict[str, Any]]:
        found = [(metric, self.estimate(metric)) for metric in METRICS]
        return [
            {
                "design": self.design.name,
                "metric": metric,
                "value": None if isinstance(one, NotEstimable) else one.value,
                "mc_error": None if isinstance(one, NotEstimable) else one.mc_error,
            }
            for metric, one in found
        ]

    def _known(self, metric: str) -> Estimate:
        found = self.estimate(metric)
        return Estimate(np.nan, np.nan) if isinstance(found, NotEstimable) else found


@dataclass(frozen=True, eq=False)
class Comparison(Result, Sequence[Simulated], kind="comparison of designs"):
    """Several designs in the same worlds, with the same first waves where they share them.

    Parameters
    ----------
    results : tuple of Simulated
        In the order of the designs; the comparison itself is a sequence of them.
    """

    results: tuple[Simulated, ...]

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, place: Any) -> Any:
        return self.results[place]

    def difference(self, metric: str, first: int = 1, second: int = 0) -> Estimate | NotEstimable:
        """Paired mean of the first design's metric minus the second's, with its error."""
        gap = self.results[first].values(metric) - self.results[second].values(metric)
        return _mean(gap, metric)

    def told_apart(self, metric: str, first: int = 1, second: int = 0) -> bool:
        """Whether the difference is more than two Monte-Carlo errors from 0."""
        found = self.difference(metric, first, second)
        if isinstance(found, NotEstimable):
            return False
        return abs(found.value) > 2 * found.mc_error

    def _frame(self) -> "pl.DataFrame":
        """One row a design and metric: value, error, and the paired difference from the first."""
        import polars as pl

        return pl.DataFrame(self._rows(), infer_schema_length=None)

    def _facts(self) -> dict[str, Any]:
        return {"designs": self.results, "rows": self._rows()}

    def summary(self) -> str:
        """Regret and best arms of every design, and which cannot be told apart from the first."""
        width = max(len(one.design.name) for one in self.results)
        lines = [f"{'design':<{width}}  best arm found   realized regret"]
        for i, one in enumerate(self.results):
            found, regret = one.best_arm_found, one.realized_regret
            note = "" if i == 0 or self.told_apart("realized_regret", i) else "  (not told apart)"
            lines.append(
                f"{one.design.name:<{width}}  {found.value:.4f} ± {found.mc_error:.4f}  "
                f"{regret.value:.3e} ± {regret.mc_error:.1e}{note}"
            )
        return "\n".join([*lines, f"Truth: {self.results[0].truth}."])

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for i, one in enumerate(self.results):
            for row in one._rows():
                gap = self.difference(row["metric"], i, 0)
                known = i > 0 and not isinstance(gap, NotEstimable)
                rows.append({
                    **row,
                    "difference": gap.value if known else None,  # type: ignore[union-attr]
                    "difference_mc_error": gap.mc_error if known else None,  # type: ignore[union-attr]
                })  # fmt: skip
        return rows


def _mean(values: FloatArray, metric: str) -> Estimate | NotEstimable:
    if not np.isfinite(values).any():
        return NotEstimable(f"{metric} has no value in any simulation of this design")
    return Estimate.of(values)


def _values(runs: Mapping[str, npt.NDArray[Any]], metric: str) -> FloatArray:
    truth, chosen = runs["success_prob"], runs["chosen"]
    rows, known = np.arange(chosen.size), chosen >= 0
    pick = np.maximum(chosen, 0)
    if metric.startswith("first_wave"):
        ahead = np.maximum(runs["first_chosen"], 0)
        loss, known = truth.max(axis=1) - truth[rows, ahead], runs["first_chosen"] >= 0
    else:
        loss = truth.max(axis=1) - truth[rows, pick]
    in_sample = _in_sample(runs)
    values: dict[str, Any] = {
        "best_arm_found": loss == 0,
        "realized_regret": loss,
        "posterior_regret": runs["policy_regret"][rows, pick],
        "prob_optimal": runs["prob_optimal"][rows, pick],
        "chosen_success": truth[rows, pick],
        "in_sample_outcome": in_sample,
        "in_sample_regret": truth.max(axis=1) - in_sample,
        "power": (loss == 0) & (runs["prob_optimal"][rows, pick] >= SURE),
        "power_control": runs["chosen_found"],
        "coverage": runs["covered"].mean(axis=1),
        "coverage_chosen": runs["covered"][rows, pick],
        "first_wave_found": loss == 0,
        "first_wave_regret": loss,
    }
    return np.where(known, np.asarray(values[metric], dtype=np.float64), np.nan)


def _in_sample(runs: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
    units = runs["units"][:, :-1]
    total = np.maximum(units.sum(axis=1), 1)
    return np.asarray((units * runs["success_prob"]).sum(axis=1) / total)
