"""Posterior of the arms' mean outcomes: the result, its rows by regret, its table."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.special

from wavewise.design.spec import Outcome
from wavewise.estimate import (
    BetaBinomial,
    HierarchicalBinomial,
    HierarchicalNormal,
    NormalMeans,
)
from wavewise.estimate.bayes.draws import density_of_draws
from wavewise.report.blocks import Column, Table
from wavewise.report.effects import require_finite, require_share
from wavewise.report.numbers import (
    Scale,
    count,
    fixed,
    outcome_facts,
    percent,
    probability,
    scale_of,
    sentence,
)
from wavewise.shared.results import FloatArray

if TYPE_CHECKING:
    import polars as pl

    ArmPosterior = BetaBinomial | NormalMeans | HierarchicalBinomial | HierarchicalNormal

__all__ = ["OutcomePosterior", "PosteriorRow", "posterior_table", "ranked_posterior"]

DENSITY_POINTS = 161


@dataclass(frozen=True)
class PosteriorRow:
    """One arm after the data; ``successes`` and ``trials`` are None where nothing is counted."""

    arm: str
    mean: float
    low: float
    high: float
    prob_optimal: float
    policy_regret: float
    successes: int | None = None
    trials: int | None = None
    # Posterior mean and standard deviation on the log-odds scale, of models that have it.
    log_odds_mean: float | None = None
    log_odds_sd: float | None = None

    def __post_init__(self) -> None:
        require_finite(self, f"posterior of {self.arm!r}")
        require_share("prob_optimal", self.arm, self.prob_optimal)


@dataclass(frozen=True, eq=False)
class OutcomePosterior:
    """Posterior of the arms on an outcome, with the counts that it rests on.

    Where lower is better the posterior is of the reversed outcome, and is turned back here.
    """

    outcome: Outcome
    posterior: "ArmPosterior"
    totals: "pl.DataFrame | None" = None  # Columns arm, successes, trials; for models of counts.
    learned_on: tuple[str, ...] = ()
    model: str = ""  # One sentence with the prior.
    prob: float = 0.95  # In the credible intervals, which are HPD.

    @property
    def label(self) -> str:
        """What the posterior is of: the outcome, or the gain in it."""
        of_gain = isinstance(self.posterior, HierarchicalNormal)
        return f"gain in {self.outcome.name}" if of_gain else self.outcome.name

    @property
    def _whole(self) -> float:
        """What a reversed value and its original add up to."""
        return 0.0 if isinstance(self.posterior, HierarchicalNormal | NormalMeans) else 1.0

    @cached_property
    def rows(self) -> tuple[PosteriorRow, ...]:
        """One row per arm, in the order of the study file."""
        posterior, totals = self.posterior, self.totals
        counts = {} if totals is None else {r["arm"]: r for r in totals.iter_rows(named=True)}
        mean, interval = _mean(posterior), _interval(posterior, self.prob)
        if not self.outcome.higher_is_better:
            mean, interval = self._whole - mean, self._whole - interval[:, ::-1]
        return tuple(
            PosteriorRow(
                arm=arm,
                mean=float(mean[k]),
                low=float(interval[k, 0]),
                high=float(interval[k, 1]),
                prob_optimal=min(1.0, float(posterior.prob_optimal[k])),
                policy_regret=float(posterior.policy_regret[k]),
                successes=round(counts[arm]["successes"]) if counts else None,
                trials=round(counts[arm]["trials"]) if counts else None,
                **self._log_odds(k),
            )
            for k, arm in enumerate(posterior.arms)
        )

    def _log_odds(self, k: int) -> dict[str, float]:
        """Of an arm, where the model has it: what a later study takes as a prior."""
        if not isinstance(self.posterior, HierarchicalBinomial):
            return {}
        mean, sd = float(self.posterior.mean[k]), float(self.posterior.sd[k])
        return {"log_odds_mean": self.outcome.sign * mean, "log_odds_sd": sd}

    @cached_property
    def densities(self) -> Mapping[str, tuple[FloatArray, FloatArray]]:
        """Grid and density of each arm."""
        grid, density = _densities(self.posterior)
        if not self.outcome.higher_is_better:
            grid, density = self._whole - grid[::-1], density[::-1]
        return {arm: (grid[:, k], density[:, k]) for k, arm in enumerate(self.posterior.arms)}

    def to_dict(self) -> dict[str, Any]:
        """What the report shows, as plain values."""
        return {
            "outcome": outcome_facts(self.outcome) | {"label": self.label},
            "rows": [dict(vars(row)) for row in self.rows],
            "interval_prob": self.prob,
            "interval_kind": "HPD",
            "model": self.model,
            "densities": [
                {"arm": arm, "grid": grid.tolist(), "density": density.tolist()}
                for arm, (grid, density) in self.densities.items()
            ],
            "learned_on": list(self.learned_on),
        }


def _mean(posterior: "ArmPosterior") -> FloatArray:
    """Posterior mean of each arm's success probability, or gain in the score, (n_arms,)."""
    if isinstance(posterior, HierarchicalNormal | NormalMeans):
        return posterior.mean
    return posterior.success_prob


def _interval(posterior: "ArmPosterior", prob: float) -> FloatArray:
    """HPD interval of each arm's success probability, or gain in the score, (n_arms, 2)."""
    if isinstance(posterior, BetaBinomial | HierarchicalNormal | NormalMeans):
        return posterior.cred_int(prob, kind="hpd")
    return posterior.cred_int(prob, kind="hpd", of="success_prob")


def _densities(posterior: "ArmPosterior") -> tuple[FloatArray, FloatArray]:
    """Grid and density, (n_points, n_arms) each, where the density is not negligible."""
    if isinstance(posterior, HierarchicalNormal):
        return density_of_draws(posterior.draws, None, DENSITY_POINTS)
    if isinstance(posterior, NormalMeans):
        steps = np.linspace(-4, 4, DENSITY_POINTS)[:, None]
        density = np.exp(-(steps**2) / 2) / (np.sqrt(2 * np.pi) * posterior.sd)
        return posterior.mean + steps * posterior.sd, density
    if not isinstance(posterior, BetaBinomial):
        return density_of_draws(posterior.point_success_prob, posterior.weights, DENSITY_POINTS)
    wide = posterior.cred_int(0.9999, kind="equal-tailed")
    grid = np.linspace(wide[:, 0].min(), wide[:, 1].max(), DENSITY_POINTS)
    inside = np.clip(grid, 1e-12, 1 - 1e-12)
    a, b = posterior.a[:, None], posterior.b[:, None]
    log_density = scipy.special.xlogy(a - 1, inside) + scipy.special.xlog1py(b - 1, -inside)
    density = np.exp(log_density - scipy.special.betaln(a, b))
    return np.tile(grid[:, None], (1, len(density))), density.T


def ranked_posterior(item: OutcomePosterior) -> tuple[PosteriorRow, ...]:
    """Arms from lowest to highest expected regret; ties by probability and name."""
    return tuple(sorted(item.rows, key=lambda row: (row.policy_regret, -row.prob_optimal, row.arm)))


def posterior_table(item: OutcomePosterior, best: str | None) -> Table:
    """Posterior of the arms, lowest expected regret first."""
    scale = scale_of(item.outcome)
    ranked = ranked_posterior(item)
    counts = any(row.trials is not None for row in ranked)
    decimals = max((scale.decimals((row.high - row.low) / 4, 2) for row in ranked), default=2)
    level = f" ({scale.level_unit})" if scale.level_unit else ""
    columns = (
        Column("Arm", numeric=False),
        *((Column("Successes"), Column("Trials")) if counts else ()),
        Column(f"Mean{level}"),
        Column(f"{percent(item.prob, 0)} cred. interval"),
        Column("Prob. best"),
        Column("Expected regret"),
    )
    rows = tuple(
        (
            row.arm,
            *((count(row.successes), count(row.trials)) if counts else ()),
            fixed(scale.factor * row.mean, decimals),
            " to ".join(fixed(scale.factor * end, decimals) for end in (row.low, row.high)),
            probability(row.prob_optimal),
            _short_amount(scale, row.policy_regret),
        )
        for row in ranked
    )
    waves = f" Data of {', '.join(item.learned_on)}." if item.learned_on else ""
    note = f"{sentence(item.model)}{waves}".strip()
    return Table(f"Posterior of {item.label}", columns, rows, marked=best, note=note)


def _short_amount(scale: Scale, value: float) -> str:
    return scale.amount(value).replace(scale.effect_unit, scale.short_unit)
