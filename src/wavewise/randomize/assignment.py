"""What was drawn: each unit's arm and the probability with which it was drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import InputError
from wavewise.randomize.rounding import IntegerShares, integer_shares
from wavewise.randomize.shares import Shares, parse_shares
from wavewise.shared.inputs import aligned, read_labels
from wavewise.shared.labels import (
    Label,
    LabelArray,
    Labels,
    code,
    one_label_for_all,
    order_of_unique,
)
from wavewise.shared.results import (
    FloatArray,
    IntArray,
    Provenance,
    Result,
    StrArray,
    hash_arrays,
    read_only,
)
from wavewise.shared.text_tables import Printed, printed_rows

__all__ = ["Assignment", "Counts", "assign", "code_of_clusters"]


@dataclass(frozen=True, eq=False)
class Counts(Result, kind="counts", tag="AssignedCounts"):
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

    def _frame(self) -> pl.DataFrame:
        """One row per stratum and arm: stratum, arm, expected, drawn, n_units."""
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
        """One row per arm: arm, expected, drawn, n_units, summed over strata."""
        return pl.DataFrame(
            {
                "arm": list(self.arms),
                "expected": self.expected.sum(axis=0),
                "drawn": self.drawn.sum(axis=0),
                "n_units": self.n_units.sum(axis=0),
            }
        )


@dataclass(frozen=True, eq=False)
class Assignment(Result, kind="assignment"):
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

    units: LabelArray
    arms: tuple[str, ...]
    strata: tuple[Label, ...]
    arm_code: npt.NDArray[np.int16]
    stratum_code: IntArray
    share: FloatArray
    drawn: IntArray
    cluster: LabelArray | None = None
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
        turn = _order_of_arms(self.arms, None)
        in_order = {
            "units": pl.Series(self.units).gather(order).to_numpy(),
            "strata": self.stratum_code[order],
            "labels": np.array([str(label) for label in self.strata]),
            "arms": np.array(self.arms)[turn],
            "share": self.share[:, turn],
        }
        if self.cluster is not None:
            in_order["cluster"] = pl.Series(self.cluster).gather(order).to_numpy()
        return Provenance(
            method=f"dependent rounding within strata; {self._scope()}{self.seed_text}",
            data_hash=hash_arrays(**in_order),
            seed=self.seed,
        )

    def _frame(self) -> pl.DataFrame:
        """One row per unit: unit, stratum, arm, propensity, and cluster where there is one."""
        columns = {
            "unit": pl.Series(self.units),
            "stratum": pl.Series(self.strata).gather(self.stratum_code),
            "arm": pl.Series(self.arms).gather(self.arm_code),
            "propensity": pl.Series(self.propensity),
        }
        if self.cluster is not None:
            columns["cluster"] = pl.Series(self.cluster)
        return pl.DataFrame(columns)

    def _facts(self) -> dict[str, Any]:
        return {
            "n_units": len(self),
            "counted": self._counted(),
            "share": self.share,
            "counts": self.counts,
        }

    def _printed(self) -> Printed:
        return printed_rows(self.counts.by_arm(), [self._guarantee()])

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


# Clusters: what must be the same for all units of one.


def code_of_clusters(cluster: Labels, codes: IntArray, what: str, fix: str) -> IntArray:
    """The code that all units of a cluster share; (n_clusters,)."""
    n_clusters = len(cluster.labels)
    of_cluster = np.empty(n_clusters, dtype=np.int64)
    of_cluster[cluster.codes] = codes
    crossing = np.zeros(n_clusters, dtype=bool)
    crossing[cluster.codes[of_cluster[cluster.codes] != codes]] = True
    if crossing.any():
        raise InputError(
            f"cluster: found {int(crossing.sum()):,} of {n_clusters:,} clusters with units in more "
            f"than one {what}, needed each within one; {fix}"
        )
    return of_cluster


# Units to arms: exact randomization within strata, of units or of whole clusters.

_MAX_ARMS = 2**15 - 1


@aligned("units", "strata", "cluster")
def assign(
    units: Any,
    strata: Any,
    shares: Shares,
    rng: np.random.Generator,
    *,
    cluster: Any = None,
    arms: Sequence[str] | None = None,
) -> Assignment:
    """Arm of each unit, drawn within strata with exact shares.

    Parameters
    ----------
    units : (n,) sequence of whole numbers or text
        Unit ids, each once.
    strata : (n,) sequence of whole numbers or text, or None
        Stratum labels; None for one stratum, which is then labelled ``all``.
    shares : {arm: share} or {stratum: {arm: share}}
        Intended shares, in [0, 1], summing to 1 within 1e-9 (they are divided by their sum).
        An arm that a stratum does not name has share 0 there.
    rng : numpy.random.Generator
        Source of the random numbers.
    cluster : (n,) sequence of whole numbers or text, or None
        Cluster labels: all units of a cluster get the same arm. Each cluster lies in one stratum.
    arms : sequence of text, optional
        All arms in the order in which the draw takes them, where that order is part of a plan. By
        default they are taken by name, so that it does not matter how `shares` is ordered.

    Returns
    -------
    Assignment
        ``arm`` and ``propensity`` are in the order of ``units``.

    Raises
    ------
    InputError
        If ids repeat, labels are missing or of another type, lengths differ, shares do not fit,
        or clusters cross strata.

    Notes
    -----
    With n_s units in stratum s and share q_sk of arm k, the count of every cell is floor or
    ceiling of n_s q_sk, every arm's total is floor or ceiling of sum_s n_s q_sk, and each unit's
    probability of arm k is q_sk. Within a stratum all arrangements of the counts are equally
    likely. With clusters the same holds of clusters; counts of units then vary with the clusters'
    sizes, whatever the method.

    The result depends on the set of (unit, stratum, cluster), on the shares by name and on the
    generator, not on the order of rows or of names in `shares`: units are taken in the order of
    their ids (numbers as numbers, text by code point), clusters and strata in that of their labels,
    arms in that of their names or of `arms`.

    References
    ----------
    Cox, L. H. (1987), A constructive procedure for unbiased controlled rounding, JASA 82.
    Gandhi, R., Khuller, S., Parthasarathy, S., Srinivasan, A. (2006), Dependent rounding and its
    applications to approximation algorithms, Journal of the ACM 53.

    Examples
    --------
    Three schools of 5, 5 and 4 children; 14 times 1/4 is 3.5, so each arm has 3 or 4:

    >>> school = ["a"] * 5 + ["b"] * 5 + ["c"] * 4
    >>> shares = {"control": 0.25, "peers": 0.25, "teacher": 0.25, "both": 0.25}
    >>> a = assign(range(14), school, shares, np.random.default_rng(7))
    >>> set(a.counts.by_arm()["drawn"].to_list()) <= {3, 4}
    True
    >>> a.propensity[:3].tolist()
    [0.25, 0.25, 0.25]
    """
    if not isinstance(rng, np.random.Generator):
        raise InputError(
            f"rng: found {type(rng).__name__}, needed a numpy.random.Generator; "
            "give numpy.random.default_rng(seed)"
        )
    ids, labels, groups = _read(units, strata, cluster)
    order = order_of_unique(ids, "units")
    stratum = _code_strata(labels, len(ids))
    table = parse_shares(shares, None if labels is None else stratum.labels)
    if len(table.arms) > _MAX_ARMS:
        raise InputError(f"shares: found {len(table.arms):,} arms, needed at most {_MAX_ARMS:,}")
    seed, seed_text = _seed_of(rng)
    turn = _order_of_arms(table.arms, arms)
    share = table.share[:, turn]
    if groups is None:
        parts, drawn, arm = _draw(stratum, order, share, rng)
    else:
        parts, drawn, arm = _draw_clusters(code(groups), stratum, share, rng)
    back = np.argsort(turn)  # the result names arms as `shares` does
    return Assignment(
        units=_frozen(ids),
        arms=table.arms,
        strata=stratum.labels,
        arm_code=read_only(turn.astype(np.int16)[arm]),
        stratum_code=read_only(stratum.codes),
        share=read_only(parts.share[:, back]),
        drawn=read_only(drawn[:, back]),
        cluster=None if groups is None else _frozen(groups),
        seed=seed,
        seed_text=seed_text,
    )


def _order_of_arms(named: tuple[str, ...], arms: Sequence[str] | None) -> IntArray:
    """Positions of the arms in the order in which they are drawn."""
    if arms is None:
        return np.array(sorted(range(len(named)), key=named.__getitem__), dtype=np.int64)
    if sorted(arms) != sorted(named):
        raise InputError(
            f"arms: found {', '.join(map(str, arms)) or 'none'}; needed those of shares, each "
            f"once: {', '.join(named)}"
        )
    return np.array([named.index(arm) for arm in arms], dtype=np.int64)


def _read(
    units: Any, strata: Any, cluster: Any
) -> tuple[LabelArray, LabelArray | None, LabelArray | None]:
    ids = read_labels(units, "units")
    if len(ids) == 0:
        raise InputError("units: found none, needed at least one; check who is in this wave")
    labels = None if strata is None else read_labels(strata, "strata", len(ids))
    groups = None if cluster is None else read_labels(cluster, "cluster", len(ids))
    return ids, labels, groups


_Drawn: TypeAlias = tuple[IntegerShares, IntArray, npt.NDArray[np.int16]]


def _draw(
    stratum: Labels, order: IntArray | None, share: FloatArray, rng: np.random.Generator
) -> _Drawn:
    """Parts, counts by stratum and arm, and the arm code of each thing that is assigned."""
    from wavewise.randomize.rounding import (  # numba loads on first use
        round_counts,
        shuffle_into_arms,
    )

    n_things = stratum.codes.size
    parts = integer_shares(share, n_things)
    size = np.bincount(stratum.codes, minlength=len(stratum.labels)).astype(np.int64)
    drawn = round_counts(size, parts, rng)
    bits = rng.integers(0, 2**64, size=n_things, dtype=np.uint64)
    canonical = np.empty(0, dtype=np.int64) if order is None else order
    return parts, drawn, shuffle_into_arms(stratum.codes, canonical, drawn, bits)


def _draw_clusters(
    cluster: Labels, stratum: Labels, share: FloatArray, rng: np.random.Generator
) -> _Drawn:
    """The same for clusters, in the order of their labels; each unit gets its cluster's arm."""
    fix = "make strata of whole clusters"
    codes = code_of_clusters(cluster, stratum.codes, "stratum", fix)
    parts, drawn, arm = _draw(Labels(codes, stratum.levels), None, share, rng)
    return parts, drawn, arm[cluster.codes]


def _code_strata(labels: LabelArray | None, n_units: int) -> Labels:
    return one_label_for_all("all", n_units) if labels is None else code(labels)


def _frozen(labels: LabelArray) -> LabelArray:
    """A copy: later changes of the caller's array do not reach us."""
    return read_only(labels.copy()) if isinstance(labels, np.ndarray) else labels


def _seed_of(rng: np.random.Generator) -> tuple[int | None, str]:
    """The integer seed, if this generator comes straight from one; else what can be said of it."""
    sequence = rng.bit_generator.seed_seq
    if not isinstance(sequence, np.random.SeedSequence):
        return None, ""
    fresh = type(rng.bit_generator)(
        np.random.SeedSequence(sequence.entropy, spawn_key=sequence.spawn_key)
    )
    if not isinstance(sequence.entropy, int) or str(fresh.state) != str(rng.bit_generator.state):
        return None, "; generator used before, or without an integer seed"
    spawned = f"; spawn key {tuple(sequence.spawn_key)}" if sequence.spawn_key else ""
    return int(sequence.entropy), spawned
