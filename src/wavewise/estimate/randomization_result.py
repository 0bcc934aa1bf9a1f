"""What a randomization test found."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from wavewise.estimate.effect_table import plain
from wavewise.results import FloatArray, IntArray, Provenance

__all__ = ["RandomizationTest"]


@dataclass(frozen=True, eq=False, kw_only=True)
class RandomizationTest:
    """P values of a randomization test, and Fisher intervals where they were asked for.

    Parameters
    ----------
    arms : tuple of str
        The arms, the control first.
    statistic, p_value, mc_error : float
        Over all arms: the statistic, its p value and the p value's standard error from the number
        of draws (0 where all assignments were listed).
    estimate, arm_p_value : array of float, shape (n_arms - 1,)
        Difference in means from the control, and the p value of the arm against the control.
    intervals : array of float, shape (n_arms - 1, 2), or None
        Constant effects that are not rejected; infinite where no effect is.
    level : float
        Level of the intervals.
    kind : str
        ``studentized`` or ``difference``.
    draws : int
        Re-randomizations.
    exact : bool
        Whether they are all there are.
    n_units : array of int, shape (n_arms,)
        Units with a known outcome.
    provenance : Provenance
    """

    arms: tuple[str, ...]
    statistic: float
    p_value: float
    mc_error: float
    estimate: FloatArray
    arm_p_value: FloatArray
    intervals: FloatArray | None
    level: float
    kind: str
    draws: int
    exact: bool
    n_units: IntArray
    provenance: Provenance

    def to_frame(self) -> pl.DataFrame:
        """One row an arm other than the control; null where no interval was asked for."""
        bounds = (
            np.full((len(self.estimate), 2), np.nan) if self.intervals is None else self.intervals
        )
        return pl.DataFrame(
            {
                "arm": list(self.arms[1:]),
                "estimate": self.estimate,
                "conf_low": bounds[:, 0],
                "conf_high": bounds[:, 1],
                "p_value": self.arm_p_value,
                "n_units": self.n_units[1:],
            }
        ).fill_nan(None)

    def to_dict(self) -> dict[str, Any]:
        """The test as plain values, for JSON."""
        rows = [
            {key: plain(np.array([value]))[0] if isinstance(value, float) else value
             for key, value in row.items()}
            for row in self.to_frame().to_dicts()
        ]  # fmt: skip
        return {
            "version": 1,
            "kind": "randomization test",
            "statistic": self.kind,
            "value": self.statistic,
            "p_value": self.p_value,
            "mc_error": self.mc_error,
            "draws": self.draws,
            "exact": self.exact,
            "level": self.level,
            "control": self.arms[0],
            "rows": rows,
            "provenance": self.provenance.to_dict(),
        }

    def summary(self) -> str:
        """The p value in a sentence, then one line an arm."""
        how = (
            f"from all {self.draws:,} assignments that could have been drawn"
            if self.exact
            else f"from {self.draws:,} re-randomizations (Monte Carlo error {self.mc_error:.4f})"
        )
        lines = [
            f"Randomization test that no arm changes any outcome: p = {self.p_value:.4g}, {how}."
        ]
        for row in self.to_frame().rows(named=True):
            interval = (
                ""
                if row["conf_low"] is None
                else f", {self.level:.0%} Fisher interval {row['conf_low']:.5g} to "
                f"{row['conf_high']:.5g}"
            )
            lines.append(
                f"{row['arm']} against {self.arms[0]}: {row['estimate']:.5g}, p = "
                f"{row['p_value']:.4g}{interval}"
            )
        return "\n".join(lines)
