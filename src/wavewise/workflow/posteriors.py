"""What a study's models believe of its arms, from closed waves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from wavewise.decide import best_arm
from wavewise.design.plan import Model
from wavewise.errors import StateError
from wavewise.estimate import beta_binomial, hierarchical_binomial, posterior_predictive_check
from wavewise.results import CheckResult, FloatArray
from wavewise.streams import stream
from wavewise.workflow.frames import wave_data
from wavewise.workflow.score_models import cluster_column, score_posterior
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import BetaBinomial, HierarchicalBinomial, HierarchicalNormal

    ArmPosterior = BetaBinomial | HierarchicalBinomial | HierarchicalNormal

__all__ = ["Evidence", "evidence_of", "model_check", "posterior_of", "require_closed"]

N_DRAWS = 8192  # of posteriors that decide: a probability of 1/2 is then known to .006


@dataclass(frozen=True)
class Evidence:
    """What a model learns from: one row a unit, the control left out.

    Parameters
    ----------
    arms : tuple of str
        All arms of the waves but the control, in the order of the study file.
    rows : polars.DataFrame
        Columns ``arm``, ``successes``, ``trials``, ``cluster``.
    higher_is_better : bool
    """

    arms: tuple[str, ...]
    rows: pl.DataFrame
    higher_is_better: bool = True

    def columns(self) -> tuple[FloatArray, FloatArray, list[str], list[str]]:
        """Successes, trials, arms and clusters of the units, each of length (n_units,)."""
        rows = self.rows
        counts = rows["successes"].to_numpy(), rows["trials"].to_numpy()
        return *counts, rows["arm"].to_list(), rows["cluster"].to_list()

    @property
    def wanted(self) -> "Evidence":
        """The same with failures for successes where fewer successes are wanted."""
        if self.higher_is_better:
            return self
        failures = pl.col("trials") - pl.col("successes")
        return Evidence(self.arms, self.rows.with_columns(successes=failures))

    def totals(self) -> pl.DataFrame:
        """Successes and trials of each arm, zero where it has no units."""
        sums = self.rows.group_by("arm").agg(pl.col("successes", "trials").sum())
        table = pl.DataFrame({"arm": self.arms})
        return table.join(sums, on="arm", how="left", maintain_order="left").fill_null(0.0)


def posterior_of(study: Study, model_name: str, wave_ids: Sequence[str]) -> "ArmPosterior":
    """Posterior of the arms from closed waves, the control left out.

    Where lower is better it is the posterior of the reversed outcome: of failures instead of
    successes, of scores times -1. The best arm is then the one that brings the lowest outcome.

    Parameters
    ----------
    study : Study
        An open study.
    model_name : str
        A model of the study file.
    wave_ids : sequence of str
        Waves that it learns from.

    Raises
    ------
    StateError
        If a wave is not closed.
    """
    model = study.spec.models[model_name]
    if model.kind == "hierarchical normal":
        require_closed(study, wave_ids)
        return score_posterior(study, model_name, wave_ids)
    evidence = evidence_of(study, model, wave_ids)
    if model.kind == "beta binomial":
        total = evidence.wanted.totals()
        counts = total["successes"].to_numpy(), total["trials"].to_numpy()
        a, b = model.prior
        prior = (a, b) if evidence.higher_is_better else (b, a)
        return beta_binomial(*counts, prior=prior, arms=evidence.arms)
    rng = stream(study.spec.study.seed, "posterior", model_name, *wave_ids)
    return _hierarchical(evidence.wanted, model, rng)


def _hierarchical(
    evidence: Evidence, model: Model, rng: np.random.Generator
) -> "HierarchicalBinomial":
    return hierarchical_binomial(
        *evidence.columns(),
        overdispersion=model.overdispersion,
        clusters=model.clusters,
        rng=rng,
        n_draws=N_DRAWS,
    )


def model_check(study: Study, model_name: str, wave_ids: Sequence[str]) -> CheckResult | None:
    """Whether a hierarchical model could have made the data, and what the choice would change.

    None for models that have no such check.
    """
    model = study.spec.models[model_name]
    if model.kind != "hierarchical binomial":
        return None
    rng = stream(study.spec.study.seed, "model check", model_name, *wave_ids)
    evidence = evidence_of(study, model, wave_ids)
    plain = _hierarchical(evidence, model, rng)
    check = posterior_predictive_check(plain, *evidence.columns(), rng=rng)
    if check.passed is not False or model.overdispersion is not None:
        return check
    other = model.model_copy(update={"overdispersion": "beta-binomial"})
    wanted = evidence.wanted
    chosen = plain if wanted is evidence else _hierarchical(wanted, model, rng)
    return replace(check, text=f"{check.text} {_change(chosen, _hierarchical(wanted, other, rng))}")


def _change(plain: "HierarchicalBinomial", other: "HierarchicalBinomial") -> str:
    """What the overdispersed model would decide, beside the plain one."""
    chosen, instead = best_arm(plain), best_arm(other)
    same = "the same arm" if chosen.arm == instead.arm else f"{instead.arm} instead"
    return (
        f"That model chooses {same}: {instead.arm} is best with probability "
        f"{instead.prob_optimal:.3f} and expected to lose {100 * instead.policy_regret:.2f} "
        f"percentage points; in the plain model {chosen.arm} is best with probability "
        f"{chosen.prob_optimal:.3f}."
    )


def evidence_of(study: Study, model: Model, wave_ids: Sequence[str]) -> Evidence:
    """Rows of the units whose outcome is known, over closed waves.

    Raises
    ------
    StateError
        If a wave is not closed.
    """
    require_closed(study, wave_ids)
    waves = [study.wave(wave_id) for wave_id in wave_ids]
    arms = dict.fromkeys(
        arm.id for wave in waves for arm in study.spec.arms_of(wave) if arm.id != wave.control_id
    )
    rows = pl.concat([_rows(study, model, wave.id, wave.control_id) for wave in waves])
    outcome = next(item for item in study.spec.outcomes if item.id == model.outcome)
    return Evidence(tuple(arms), rows, outcome.higher_is_better)


def _rows(study: Study, model: Model, wave_id: str, control: str | None) -> pl.DataFrame:
    data = wave_data(study, wave_id)
    trials = f"{model.outcome}.trials"
    one = pl.repeat(1.0, len(data), eager=True)
    frame = pl.DataFrame(
        {
            "arm": data.arm,
            "successes": data.outcomes[model.outcome].cast(pl.Float64),
            "trials": data.outcomes[trials].cast(pl.Float64) if trials in data.outcomes else one,
            "cluster": cluster_column(data, model),
        }
    )
    return frame.filter(pl.col("successes").is_not_null() & (pl.col("arm") != (control or "")))


def require_closed(study: Study, wave_ids: Sequence[str]) -> None:
    """Refuse where one of the waves is not closed.

    Raises
    ------
    StateError
        With the waves that are not.
    """
    rows = {wave_id: study.store.wave(wave_id) for wave_id in wave_ids}
    waiting = [name for name, row in rows.items() if row is None or row.state != "closed"]
    if waiting:
        raise StateError(
            f"waves {', '.join(waiting)} are not closed; needed the outcomes of "
            f"{', '.join(wave_ids)}; close them first"
        )
