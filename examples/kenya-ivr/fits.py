"""Every model of the tables, fitted to the files of one run."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

import wavewise as ww
from wavewise.shared.streams import stream

SEED = 10098
HERE = Path(__file__).parent
SETS = 9
PERIODS = ("E2", "M3", "E3")


@dataclass(frozen=True)
class Study:
    """What the run left behind: people with their calls, scores, decisions, printed figures."""

    people: pl.DataFrame
    scores: pl.DataFrame
    decided: dict[str, dict]
    printed: dict

    @classmethod
    def read(cls, out: Path) -> "Study":
        """From the folder that `run` was given."""
        waves = [pl.read_csv(out / "data" / f"wave-{k}.csv") for k in (1, 2)]
        names = ("wave-1", "wave-2")
        decided = {
            wave: json.loads((out / "study" / f"decided-after-{wave}.json").read_text("utf-8"))
            for wave in names
        }
        with (HERE / "printed.toml").open("rb") as file:
            printed = tomllib.load(file)
        people = pl.concat(waves)
        schools = people.select("phone_id", "school")
        scores = pl.read_csv(out / "data" / "scores.csv").join(schools, on="phone_id")
        return cls(people, scores, decided, printed)

    @property
    def arms(self) -> list[str]:
        """The six call formats."""
        return self.printed["arms"]

    def called(self, *waves: str) -> pl.DataFrame:
        """People who got calls and whose calls are on record."""
        rows = self.people.filter(pl.col("answered").is_not_null())
        return rows.filter(pl.col("wave").is_in(waves or ("wave-1", "wave-2")))


@dataclass(frozen=True)
class CallFits:
    """Posteriors of the call outcomes."""

    wave_1: "ww.estimate.HierarchicalBinomial"
    both: "ww.estimate.HierarchicalBinomial"
    overdispersed: "ww.estimate.HierarchicalBinomial"
    any_engagement: "ww.estimate.HierarchicalBinomial"
    any_second: "ww.estimate.HierarchicalBinomial"
    plain_check: "ww.results.CheckResult"
    overdispersed_check: "ww.results.CheckResult"


@dataclass(frozen=True)
class ReadingFits:
    """Posteriors of the reading scores: by arm and pooled, in two samples, under two priors."""

    balanced: "ww.estimate.HierarchicalNormal"
    balanced_pooled: "ww.estimate.HierarchicalNormal"
    unbalanced: "ww.estimate.HierarchicalNormal"
    unbalanced_pooled: "ww.estimate.HierarchicalNormal"
    scaled: "ww.estimate.HierarchicalNormal"


def fit_calls(study: Study, n_draws: int) -> CallFits:
    """Engagement after each wave, its overdispersed variant, and the two extensive margins."""
    both = study.called()
    sets = both["engaged"].to_numpy()
    plain = _binomial(both, sets, SETS, "both", n_draws)
    loose = _binomial(both, sets, SETS, "overdispersed", n_draws, overdispersion="beta-binomial")
    first = study.called("wave-1")
    return CallFits(
        wave_1=_binomial(first, first["engaged"].to_numpy(), SETS, "wave-1", n_draws),
        both=plain,
        overdispersed=loose,
        any_engagement=_binomial(both, (sets > 0).astype(int), 1, "any", n_draws),
        any_second=_binomial(both, both["answered"].cast(int).to_numpy(), 1, "second", n_draws),
        plain_check=_predicted(plain, both, sets, "plain"),
        overdispersed_check=_predicted(loose, both, sets, "loose"),
    )


def _binomial(
    rows: pl.DataFrame, successes: np.ndarray, trials: int, name: str, n_draws: int, **options: str
) -> "ww.estimate.HierarchicalBinomial":
    return ww.estimate.hierarchical_binomial(
        successes,
        np.full(rows.height, trials),
        arm=rows["arm"].to_list(),
        cluster=rows["school"].to_list(),
        rng=stream(SEED, "fit", name),
        n_draws=n_draws,
        **options,
    )


def _predicted(
    post: "ww.estimate.HierarchicalBinomial", rows: pl.DataFrame, sets: np.ndarray, name: str
) -> "ww.results.CheckResult":
    return ww.estimate.posterior_predictive_check(
        post,
        sets,
        np.full(rows.height, SETS),
        rows["arm"].to_list(),
        rows["school"].to_list(),
        rng=stream(SEED, "predict", name),
    )


def fit_reading(study: Study, n_draws: int) -> ReadingFits:
    """The study's own priors throughout, and scaled ones once for comparison."""
    balanced, unbalanced = _samples(study)
    return ReadingFits(
        balanced=_normal(balanced, "balanced", n_draws),
        balanced_pooled=_normal(balanced, "balanced pooled", n_draws, pooled=True),
        unbalanced=_normal(unbalanced, "unbalanced", n_draws),
        unbalanced_pooled=_normal(unbalanced, "unbalanced pooled", n_draws, pooled=True),
        scaled=_normal(unbalanced, "scaled", n_draws, prior=None),
    )


def _samples(study: Study) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Children with all three scores; children with one before their calls and one after."""
    seen = study.scores.drop_nulls("score")
    treated = pl.col("treated").sum()
    count = seen.group_by("phone_id").agg(n=pl.len(), after=treated, before=pl.len() - treated)
    complete = count.filter(n=len(PERIODS))
    usable = count.filter((pl.col("after") > 0) & (pl.col("before") > 0))
    balanced = seen.join(complete.select("phone_id"), on="phone_id", maintain_order="left")
    unbalanced = seen.join(usable.select("phone_id"), on="phone_id", maintain_order="left")
    return balanced, unbalanced


def sensitivities(study: Study) -> dict[str, "ww.estimate.PriorSensitivity"]:
    """Engagement and reading under every prior that the study tried."""
    both = study.called()
    engagement = ww.estimate.prior_sensitivity(
        both["engaged"].to_numpy(),
        np.full(both.height, SETS),
        both["arm"].to_list(),
        both["school"].to_list(),
        rng=stream(SEED, "priors", "engagement"),
    )
    rows = _samples(study)[1]
    reading = ww.estimate.score_prior_sensitivity(
        rows["score"].to_numpy(), **_columns(rows), rng=stream(SEED, "priors", "reading")
    )
    return {"engagement": engagement, "reading": reading}


def _columns(rows: pl.DataFrame) -> dict:
    return {
        "unit": rows["phone_id"], "cluster": rows["school"], "period": rows["period"],
        "arm": rows["arm"], "treated": rows["treated"], "control": "control", "periods": PERIODS,
    }  # fmt: skip


def _normal(
    rows: pl.DataFrame, name: str, n_draws: int, **options: object
) -> "ww.estimate.HierarchicalNormal":
    return ww.estimate.hierarchical_normal(
        rows["score"].to_numpy(),
        **_columns(rows),
        rng=stream(SEED, "fit", name),
        n_draws=n_draws,
        **({"prior": ww.estimate.study_priors()} | options),
    )
