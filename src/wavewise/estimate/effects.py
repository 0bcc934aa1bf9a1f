"""Effects of arms against the control, and everything that follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from wavewise.errors import InputError
from wavewise.estimate.arm_means import ArmMeans
from wavewise.estimate.contrast_table import contrast_table
from wavewise.estimate.contrasts import effect_weights, pool_weights
from wavewise.estimate.effect_table import EffectTable, Estimate, single_estimate
from wavewise.estimate.effects_text import summary_text
from wavewise.estimate.sandwich import Precision
from wavewise.results import FloatArray, NotEstimable, Provenance

__all__ = ["Effects"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Effects(EffectTable):
    """Intent-to-treat effects of each arm against the control.

    The rows (`names`, `estimate`, `std_error`, `df`, `cov`, ...) are the arms other than the
    control; see `EffectTable`.

    Parameters
    ----------
    control : str
        The control.
    arms : tuple of str
        All arms, the control first.
    arm_counts : mapping of str to int
        Analysed units by arm.
    n_missing : mapping of str to int
        Units by arm left out since their outcome is missing.
    n_excluded : mapping of str to int
        Units by arm left out since their stratum compares nothing (one unit, or no link to the
        control).
    n_strata, n_clusters : int or None
        Strata with effects, clusters of the covariance.
    covariates : tuple of str
        Covariates that were adjusted for.
    interacted : bool
        Whether they were interacted with the arms (Lin 2013).
    weighted : bool
        Whether units were weighted.
    provenance : Provenance
        Method, data hash and version.
    planned : EffectTable or None
        Contrasts that were asked for with the estimates.
    """

    control: str
    arms: tuple[str, ...]
    arm_counts: Mapping[str, int]
    n_missing: Mapping[str, int]
    n_excluded: Mapping[str, int]
    n_strata: int | None
    n_clusters: int | None
    covariates: tuple[str, ...]
    interacted: bool
    weighted: bool
    provenance: Provenance
    planned: EffectTable | None = None
    _means: ArmMeans = field(repr=False)
    _precision: Precision = field(repr=False)
    _estimable: tuple[str, ...] = field(repr=False)

    @property
    def control_mean(self) -> Estimate:
        """Mean outcome of the control, unadjusted."""
        return self._mean(0)

    def means(self) -> pl.DataFrame:
        """Unadjusted mean outcome by arm, the control first; null where there is no number."""
        rows = [self._mean(k).to_dict() for k in range(len(self.arms))]
        return pl.DataFrame(
            {
                "arm": list(self.arms),
                "mean": [row["estimate"] for row in rows],
                "std_error": [row["std_error"] for row in rows],
                "conf_low": [row["conf"][0] for row in rows],
                "conf_high": [row["conf"][1] for row in rows],
                "n_units": [self.arm_counts[arm] for arm in self.arms],
                "n_missing": [self.n_missing[arm] for arm in self.arms],
            },
            schema_overrides=dict.fromkeys(
                ["mean", "std_error", "conf_low", "conf_high"], pl.Float64
            ),
        )

    def contrast(self, weights: Mapping[str, float], name: str | None = None) -> Estimate:
        """A weighted sum of arm means, with its own standard error and degrees of freedom.

        Parameters
        ----------
        weights : mapping of str to float
            Weight of each arm. Where the control is not named it gets what makes the sum zero:
            ``{"a": 1, "b": -1}`` compares `a` with `b`, ``{"a": 0.5, "b": 0.5}`` compares the
            mean of both with the control.
        name : str, optional
            Name of the contrast.
        """
        label = name or _label(weights)
        return self.contrasts({label: weights})[label]

    def pool(
        self,
        arms: Sequence[str],
        weights: Sequence[float] | Mapping[str, float] | None = None,
        name: str | None = None,
    ) -> Estimate:
        """Mean effect of several arms against the control.

        Parameters
        ----------
        arms : sequence of str
            Arms that are pooled.
        weights : sequence or mapping of float, optional
            Weight of each arm, scaled to sum to one; equal by default.
        name : str, optional
            Name of the pooled effect.
        """
        label = name or "mean of " + ", ".join(arms)
        return self.contrast(pool_weights(arms, weights), label)

    def contrasts(self, contrasts: Mapping[str, Mapping[str, float]]) -> EffectTable:
        """Several contrasts with their joint covariance, so that they can be adjusted together.

        Parameters
        ----------
        contrasts : mapping of str to mapping of str to float
            Weights of each contrast by its name; see `contrast`. `pair_margins` makes those of
            the margins of ordered pairs.
        """
        if not contrasts:
            raise InputError("contrasts: found none; needed {name: {arm: weight}}")
        rows = [effect_weights(w, self.arms, str(name)) for name, w in contrasts.items()]
        names = tuple(str(name) for name in contrasts)
        units = [self._units_of(row) for row in rows]
        return contrast_table(
            self,
            self._precision,
            self._estimable,
            names=names,
            weights=np.stack(rows),
            n_units=units,
        )

    def to_frame(self) -> pl.DataFrame:
        """One row an arm other than the control, then the planned contrasts; null for no number."""
        frame = super().to_frame()
        return frame if self.planned is None else frame.vstack(self.planned.to_frame())

    def to_dict(self) -> dict[str, Any]:
        """The effects as plain values, for JSON."""
        return super().to_dict() | {
            "kind": "effects",
            "control": self.control,
            "arms": list(self.arms),
            "rows": EffectTable.to_frame(self).to_dicts(),
            "means": self.means().to_dicts(),
            "control_mean": self.control_mean.to_dict(),
            "n_missing": dict(self.n_missing),
            "n_excluded": dict(self.n_excluded),
            "n_strata": self.n_strata,
            "n_clusters": self.n_clusters,
            "covariates": list(self.covariates),
            "interacted": self.interacted,
            "weighted": self.weighted,
            "contrasts": None if self.planned is None else self.planned.to_dict(),
            "assumptions": list(self.assumptions),
            "provenance": self.provenance.to_dict(),
        }

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the estimates and intervals to mean what they say."""
        unit = "clusters" if self.n_clusters else "units"
        texts = [
            "Intent to treat: every unit counts in the arm that it was assigned to, whether or not "
            "a message reached it.",
            f"Arms were assigned at random to {unit}"
            + (" within strata." if self.n_strata else "."),
            f"The outcome of one of the {unit} does not depend on the arms of others.",
            "Whether an outcome is missing does not depend on the arm and the outcome together.",
        ]
        if self.n_strata and not self.weighted:
            texts.append(
                "Strata count by their units times the product of the arms' shares; this is the "
                "average effect over units where shares are the same in all strata, or effects are."
            )
        return tuple(texts)

    def summary(self) -> str:
        """Table of the effects, what it says in a sentence, and the assumptions."""
        return summary_text(self)

    def _mean(self, k: int) -> Estimate:
        arm = self.arms[k]
        mean, std_error = float(self._means.mean[k]), float(self._means.std_error[k])
        n_units = self.arm_counts[arm]
        if n_units == 0:
            reason = self.not_estimable.get(arm, NotEstimable("it has no units with an outcome"))
            return single_estimate(arm, reason, reason, self.level, n_units)
        if np.isfinite(std_error):
            df = float(self._means.df[k])
            return single_estimate(arm, mean, (std_error, df), self.level, n_units)
        reason = NotEstimable("its outcomes do not vary, or it is a single unit or cluster")
        return single_estimate(arm, mean, reason, self.level, n_units)

    def _units_of(self, weights: FloatArray) -> int:
        involved = [arm for arm, w in zip(self.arms[1:], weights, strict=True) if w]
        if abs(weights.sum()) > 1e-9 * np.abs(weights).sum():
            involved.append(self.control)
        return sum(self.arm_counts[arm] for arm in involved)


def _label(weights: Mapping[str, Any]) -> str:
    parts = [f"{w:+g} {arm}" for arm, w in weights.items() if isinstance(w, int | float)]
    return " ".join(parts) or "contrast"
