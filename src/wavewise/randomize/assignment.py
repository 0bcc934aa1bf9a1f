"""What was drawn: each unit's arm and the probability with which it was drawn."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.randomize.labels import Label, Labels
from wavewise.results import FloatArray, IntArray, Provenance, StrArray, hash_arrays, read_only

__all__ = ["Assignment", "Counts"]


@dataclass(frozen=True)
class Counts:
    """Whole counts by stratum and arm, beside what was intended.

    Parameters
    ----------
    strata : tuple of int or str
        Stratum labels, sorted.
    arms : tuple of str
        Arm names.
    expected : (n_strata, n_arms) array
        Size of the stratum times the share, in units, or in clusters when clusters were assigned.
    drawn : (n_strata, n_arms) int array
        What was drawn, counted in the same things; floor or ceiling of ``expected``.
    n_units : (n_strata, n_arms) int array
        Units; the same as ``drawn`` unless clusters were assigned.
    """

    strata: tuple[Label, ...]
    arms: tuple[str, ...]
    expected: FloatArray
    drawn: IntArray
    n_units: IntArray

    def to_frame(self) -> pl.DataFrame:
        """One row a stratum and arm: stratum, arm, expected, drawn, n_units."""
        n_strata, n_arms = self.drawn.shape
        return pl.DataFrame(
            {
                "stratum": pl.Series(self.strata).gather(np.repeat(np.arange(n_strata), n_arms)),
                "arm": pl.Series(self.arms).gather(np.tile(np.arange(n_arms), n_strata)),
                "expected": self.expected.ravel(),
                "drawn": self.drawn.ravel(),
                "n_units": self.n_units.ravel(),
            }
        )

    def by_arm(self) -> pl.DataFrame:
        """One row an arm: arm, expected, drawn, n_units, summed over strata."""
        return pl.DataFrame(
            {
                "arm": list(self.arms),
                "expected": self.expected.sum(axis=0),
                "drawn": self.drawn.sum(axis=0),
                "n_units": self.n_units.sum(axis=0),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain values, for JSON."""
        return {
            "strata": list(self.strata),
            "arms": list(self.arms),
            "expected": self.expected.tolist(),
            "drawn": self.drawn.tolist(),
            "n_units": self.n_units.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Assignment:
    """Each unit's arm, and the probability with which it was drawn.

    Made by :func:`wavewise.randomize.assign`; per-unit quantities are in the order of ``units``.

    Parameters
    ----------
    units : (n,) int array or text series
        Unit ids.
    arms : tuple of str
        Arm names, in the order of the shares.
    strata : tuple of int or str
        Stratum labels, sorted.
    arm_code : (n,) int array
        Position of the unit's arm in ``arms``.
    stratum_code : (n,) int array
        Position of the unit's stratum in ``strata``.
    share : (n_strata, n_arms) array
        Probability of each arm in each stratum, as drawn.
    drawn : (n_strata, n_arms) int array
        Whole counts, of units or of clusters.
    cluster : (n,) int array or text series, or None
        Cluster labels, where clusters were assigned.
    seed_text, seed : str, int or None
        What is known of the generator.
    """

    units: Labels
    arms: tuple[str, ...]
    strata: tuple[Label, ...]
    arm_code: npt.NDArray[np.int16]
    stratum_code: IntArray
    share: FloatArray
    drawn: IntArray
    cluster: Labels | None = None
    seed: int | None = None
    seed_text: str = field(default="", repr=False)

    def __repr__(self) -> str:
        return f"<Assignment of {self._scope()}>"

    def __len__(self) -> int:
        return int(self.arm_code.size)

    @cached_property
    def arm(self) -> StrArray:
        """Arm names; (n,)."""
        return read_only(np.array(self.arms)[self.arm_code])

    @cached_property
    def propensity(self) -> FloatArray:
        """Probability with which the unit's own arm was drawn; (n,)."""
        return read_only(self.share[self.stratum_code, self.arm_code])

    @property
    def propensities(self) -> FloatArray:
        """Probability of every arm for every unit, made anew on each call; (n, n_arms)."""
        return read_only(self.share[self.stratum_code])

    @cached_property
    def counts(self) -> Counts:
        """Counts by stratum and arm."""
        shape = self.share.shape
        cell = self.stratum_code * shape[1] + self.arm_code
        n_units = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
        expected = self.drawn.sum(axis=1, keepdims=True) * self.share
        return Counts(
            self.strata, self.arms, read_only(expected), self.drawn, read_only(n_units, np.int64)
        )

    @cached_property
    def provenance(self) -> Provenance:
        """Method, hash of what went in (whatever the order of rows), and seed where known."""
        order = np.asarray(pl.Series(self.units).arg_sort())
        in_order = {
            "units": pl.Series(self.units).gather(order).to_numpy(),
            "strata": self.stratum_code[order],
            "labels": np.array([str(label) for label in self.strata]),
            "arms": np.array(self.arms),
            "share": self.share,
        }
        if self.cluster is not None:
            in_order["cluster"] = pl.Series(self.cluster).gather(order).to_numpy()
        return Provenance(
            method=f"dependent rounding within strata; {self._scope()}{self.seed_text}",
            data_hash=hash_arrays(**in_order),
            seed=self.seed,
        )

    def to_frame(self) -> pl.DataFrame:
        """One row a unit: unit, stratum, arm, propensity, and cluster where there is one."""
        columns = {
            "unit": pl.Series(self.units),
            "stratum": pl.Series(self.strata).gather(self.stratum_code),
            "arm": pl.Series(self.arms).gather(self.arm_code),
            "propensity": pl.Series(self.propensity),
        }
        if self.cluster is not None:
            columns["cluster"] = pl.Series(self.cluster)
        return pl.DataFrame(columns)

    def to_dict(self) -> dict[str, Any]:
        """Design, counts and provenance as plain values, for JSON; no unit ids."""
        return {
            "version": 1,
            "n_units": len(self),
            "counted": self._counted(),
            "share": self.share.tolist(),
            "counts": self.counts.to_dict(),
            "provenance": self.provenance.to_dict(),
        }

    def summary(self) -> str:
        """Table of intended and drawn counts by arm, with what is guaranteed."""
        width = max(len("arm"), *(len(arm) for arm in self.arms))
        head = f"{'arm':<{width}} {'share':>8} {'expected':>13} {'drawn':>11} {'units':>11}"
        total = max(int(self.drawn.sum()), 1)
        rows = [
            f"{row['arm']:<{width}} {row['expected'] / total:>8.4f} {row['expected']:>13,.2f} "
            f"{row['drawn']:>11,} {row['n_units']:>11,}"
            for row in self.counts.by_arm().iter_rows(named=True)
        ]
        return "\n".join([f"Assignment of {self._scope()}", head, *rows, self._guarantee()])

    def _counted(self) -> str:
        return "units" if self.cluster is None else "clusters"

    def _scope(self) -> str:
        n_strata, n_arms = self.share.shape
        clusters = "" if self.cluster is None else f" in {int(self.drawn.sum()):,} clusters"
        strata = "1 stratum" if n_strata == 1 else f"{n_strata:,} strata"
        return f"{len(self):,} units{clusters}, {strata}, {n_arms} arm{'s' * (n_arms != 1)}"

    def _guarantee(self) -> str:
        text = (
            f"Drawn is expected rounded down or up, in {self._counted()}, for every arm and for "
            "every arm within every stratum."
        )
        if self.cluster is None:
            return text
        return f"{text} Units follow their cluster, so unit counts vary with the clusters' sizes."
