"""Arm means and contrasts with the first arm, from one joint covariance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.adaptive.winner import Winner, WinnerMethod, winner
from wavewise.estimate.effects.results import table_lines
from wavewise.estimate.effects.table import EffectTable, Estimate, single_estimate
from wavewise.shared.results import FloatArray, IntArray, NotEstimable, Provenance, read_only

__all__ = ["CLUSTERS_SPAN_WAVES", "AdaptiveEstimates", "adaptive_table", "arms_and_contrasts"]

CLUSTERS_SPAN_WAVES = (
    "Clusters that span waves are beyond the theory of these weights; see the evidence."
)


@dataclass(frozen=True, eq=False, kw_only=True)
class AdaptiveEstimates(EffectTable, kind="adaptive estimates"):
    """Arm means, then contrasts with the first arm.

    Parameters
    ----------
    names : tuple of str
        The arms, then ``arm - first arm``.
    arms : tuple of str
        The arms.
    scale : str
        What an arm's estimate is: ``mean`` or ``log odds``.
    n_missing : mapping of str to int
        Units of each arm whose outcome is missing; they are left out.
    assumptions : tuple of str
        What must hold.
    provenance : Provenance
        Method and hash of the data.

    Notes
    -----
    The other fields are those of `EffectTable`; degrees of freedom are infinite and intervals
    normal unless small samples were corrected for. A `contrast` of one's own then takes the least
    degrees of freedom of its arms, which is on the safe side.
    """

    arms: tuple[str, ...]
    scale: str
    n_missing: Mapping[str, int]
    assumptions: tuple[str, ...]
    provenance: Provenance

    @property
    def arm_estimate(self) -> FloatArray:
        """Estimates of the arms, shape (n_arms,)."""
        return self.estimate[: len(self.arms)]

    @property
    def arm_cov(self) -> FloatArray:
        """Their covariance, shape (n_arms, n_arms)."""
        n = len(self.arms)
        return self.cov[:n, :n]

    def contrast(self, weights: Mapping[str, float], name: str | None = None) -> Estimate:
        """A weighted sum of arm means with its own standard error.

        Raises
        ------
        InputError
            Where a weight's arm is unknown.
        """
        unknown = [arm for arm in weights if arm not in self.arms]
        if unknown:
            raise InputError(f"contrast: found {', '.join(unknown)}; arms: {', '.join(self.arms)}")
        label = name or " ".join(f"{w:+g} {arm}" for arm, w in weights.items())
        at = [self.arms.index(arm) for arm in weights]
        w = np.array(list(weights.values()), dtype=np.float64)
        n_units = int(self.n_units[at].sum())
        for arm in weights:
            if arm in self.not_estimable:
                reason = NotEstimable(f"'{arm}': {self.not_estimable[arm].reason}")
                return single_estimate(label, reason, reason, self.level, n_units)
        std_error = float(np.sqrt(w @ self.cov[np.ix_(at, at)] @ w))
        value = float(w @ self.estimate[at])
        df = float(self.df[at].min())
        return single_estimate(label, value, (std_error, df), self.level, n_units)

    def winner(self, method: WinnerMethod = "one-sided", rank: int = 0) -> Winner:
        """`winner` among the arms that have an estimate; its index is into `arms`."""
        from dataclasses import replace

        kept = [k for k, arm in enumerate(self.arms) if arm not in self.not_estimable]
        found = winner(
            self.estimate[kept],
            self.cov[np.ix_(kept, kept)],
            method=method,
            level=self.level,
            rank=rank,
        )
        return replace(found, arm=kept[found.arm])

    def _facts(self) -> dict[str, Any]:
        return super()._facts() | {
            "arms": self.arms,
            "scale": self.scale,
            "n_missing": self.n_missing,
            "assumptions": self.assumptions,
        }

    def summary(self) -> str:
        """Table of arm means and contrasts, then the assumptions."""
        reasons = [f"{name}: {why}" for name, why in self.not_estimable.items()]
        title = f"{self.provenance.method}; {self.scale}, {self.level:.0%} intervals"
        assumed = ["Assumptions:", *(f"- {text}" for text in self.assumptions)]
        return "\n".join([title, "\n".join(table_lines(self._frame())), *reasons, "", *assumed])


def adaptive_table(
    arms: tuple[str, ...],
    estimate: FloatArray,
    cov: FloatArray,
    n_units: IntArray,
    *,
    n_missing: IntArray,
    level: float,
    reasons: Mapping[str, NotEstimable],
    contrasts: tuple[FloatArray, FloatArray] | None = None,
    df: FloatArray | None = None,
    se: str,
    scale: str = "mean",
    assumptions: tuple[str, ...],
    provenance: Provenance,
) -> AdaptiveEstimates:
    """Arm means and contrasts with the first arm."""
    n_arms = len(arms)
    to_all = arms_and_contrasts(n_arms)
    values = np.where(np.isin(arms, list(reasons)), 0.0, estimate)
    known = np.nan_to_num(cov)
    joint, joint_cov = to_all @ values, to_all @ known @ to_all.T
    if contrasts is not None:
        joint[n_arms:], joint_cov[n_arms:, n_arms:] = contrasts
        joint_cov[:n_arms, n_arms:] = joint_cov[n_arms:, :n_arms] = np.nan
    names = (*arms, *(f"{arm} - {arms[0]}" for arm in arms[1:]))
    why = _with_contrasts(arms, reasons)
    bad = np.isin(names, list(why))
    joint[bad] = np.nan
    joint_cov[bad, :] = joint_cov[:, bad] = np.nan
    pairs = n_units[1:] + n_units[0]
    return AdaptiveEstimates(
        names=names,
        estimate=read_only(joint),
        cov=read_only(joint_cov),
        df=read_only(np.where(bad, np.nan, np.inf if df is None else df)),
        n_units=read_only(np.concatenate([n_units, pairs]), np.int64),
        level=level,
        se=se,
        not_estimable=why,
        arms=arms,
        scale=scale,
        n_missing=dict(zip(arms, n_missing.tolist(), strict=True)),
        assumptions=assumptions,
        provenance=provenance,
    )


def arms_and_contrasts(n_arms: int) -> FloatArray:
    """Weights of the arms themselves, then of ``arm - first arm``, shape (2 n_arms - 1, n_arms)."""
    own = np.eye(n_arms)
    return np.vstack([own, own[1:] - own[0]])


def _with_contrasts(
    arms: tuple[str, ...], reasons: Mapping[str, NotEstimable]
) -> dict[str, NotEstimable]:
    """Reasons of the arms, and of the contrasts that need them."""
    every = dict(reasons)
    for arm in arms[1:]:
        name = f"{arm} - {arms[0]}"
        lacking = next((one for one in (arm, arms[0]) if one in reasons), None)
        if lacking is not None and name not in every:
            every[name] = NotEstimable(f"'{lacking}': {reasons[lacking].reason}")
    return every
