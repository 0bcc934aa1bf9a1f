"""Units to arms: exact randomization within strata, of units or of whole clusters."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.randomize.assignment import Assignment
from wavewise.randomize.clusters import code_of_clusters
from wavewise.randomize.labels import Coded, Labels, as_labels, code, order_of_unique, same_length
from wavewise.randomize.parts import Parts, whole_parts
from wavewise.randomize.shares import Shares, parse_shares
from wavewise.results import FloatArray, IntArray, read_only

__all__ = ["assign"]

_MAX_ARMS = 2**15 - 1


def assign(
    units: Any, strata: Any, shares: Shares, rng: np.random.Generator, *, cluster: Any = None
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

    The result depends on the set of (unit, stratum, cluster) and on the generator, not on the
    order of rows: units are taken in the order of their ids (numbers as numbers, text by code
    point), clusters in the order of their labels.

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
    if groups is None:
        parts, drawn, arm = _draw(stratum, order, table.share, rng)
    else:
        parts, drawn, arm = _draw_clusters(code(groups), stratum, table.share, rng)
    return Assignment(
        units=_frozen(ids),
        arms=table.arms,
        strata=stratum.labels,
        arm_code=read_only(arm),
        stratum_code=read_only(stratum.codes),
        share=read_only(parts.share),
        drawn=read_only(drawn),
        cluster=None if groups is None else _frozen(groups),
        seed=seed,
        seed_text=seed_text,
    )


def _read(units: Any, strata: Any, cluster: Any) -> tuple[Labels, Labels | None, Labels | None]:
    ids = as_labels(units, "units")
    labels = None if strata is None else as_labels(strata, "strata")
    groups = None if cluster is None else as_labels(cluster, "cluster")
    if len(ids) == 0:
        raise InputError("units: found none, needed at least one; check who is in this wave")
    same_length(len(ids), strata=labels, cluster=groups)
    return ids, labels, groups


_Drawn: TypeAlias = tuple[Parts, IntArray, npt.NDArray[np.int16]]


def _draw(
    stratum: Coded, order: IntArray | None, share: FloatArray, rng: np.random.Generator
) -> _Drawn:
    """Parts, counts by stratum and arm, and the arm code of each thing that is assigned."""
    from wavewise.randomize.dealing import deal  # noqa: PLC0415 - numba loads on first use
    from wavewise.randomize.rounding import round_counts  # noqa: PLC0415

    n_things = stratum.codes.size
    parts = whole_parts(share, n_things)
    size = np.bincount(stratum.codes, minlength=len(stratum.labels)).astype(np.int64)
    drawn = round_counts(size, parts, rng)
    bits = rng.integers(0, 2**64, size=n_things, dtype=np.uint64)
    canonical = np.empty(0, dtype=np.int64) if order is None else order
    return parts, drawn, deal(stratum.codes, canonical, drawn, bits)


def _draw_clusters(
    cluster: Coded, stratum: Coded, share: FloatArray, rng: np.random.Generator
) -> _Drawn:
    """The same for clusters, in the order of their labels; each unit gets its cluster's arm."""
    fix = "make strata of whole clusters"
    codes = code_of_clusters(cluster, stratum.codes, "stratum", fix)
    parts, drawn, arm = _draw(Coded(codes, stratum.labels), None, share, rng)
    return parts, drawn, arm[cluster.codes]


def _code_strata(labels: Labels | None, n_units: int) -> Coded:
    return Coded(np.zeros(n_units, dtype=np.int64), ("all",)) if labels is None else code(labels)


def _frozen(labels: Labels) -> Labels:
    return read_only(labels) if isinstance(labels, np.ndarray) else labels


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
