"""Who is in which half: draws within strata from counter-based random numbers."""

import numpy as np

from wavewise.estimate.forest_compiled import compiled, mix
from wavewise.estimate.forest_parts import ByteArray, Data, Half, IntArray

__all__ = ["choose_covariates", "deal", "draw_half", "list_inside"]

_HIGH, _ZERO, _ONE = np.uint64(32), np.uint64(0), np.uint64(1)


@compiled
def draw_half(
    key: np.uint64,
    stratum: IntArray,
    n_by_stratum: IntArray,
    among: IntArray,
    n_among: int,
    chosen: ByteArray,
    drawn: IntArray,
) -> int:
    """Half of the listed parts of each stratum, without replacement; how many were drawn.

    The odd part of a stratum is in or out by a coin. Selection in sequence: each part is
    taken with probability (places left) / (parts left), by one number made from key and part.
    """
    n_strata = n_by_stratum.size
    left, need = n_by_stratum.astype(np.uint64), (n_by_stratum // 2).astype(np.uint64)
    for k in range(n_strata):
        need[k] += left[k] & mix(key, k) & _ONE
    n_drawn = _ZERO
    for j in range(n_among):
        part = np.uint64(among[j])  # unsigned, so that no negative index is looked for
        s = np.uint64(stratum[part])
        bits = mix(key, n_strata + among[j]) >> _HIGH
        hit = np.uint64((bits * left[s]) >> _HIGH < need[s])
        left[s] -= _ONE
        need[s] -= hit
        chosen[part] = hit
        drawn[n_drawn] = among[j]
        n_drawn += hit
    return np.int64(n_drawn)


@compiled
def list_inside(
    data: Data,
    chosen: ByteArray,
    parts: IntArray,
    in_stratum: IntArray,
    inside: ByteArray,
    units: IntArray,
) -> tuple[int, int]:
    """The parts chosen, how many in each stratum, and their units; numbers of parts and units."""
    part, stratum = data.part, data.stratum
    in_stratum[:] = 0
    n_parts, n_units = _ZERO, _ZERO
    for k in range(chosen.size):
        parts[n_parts] = k
        n_parts += np.uint64(chosen[k])
        in_stratum[stratum[k]] += chosen[k]
    for i in range(inside.size):
        inside[i] = chosen[np.uint64(part[i])]
        units[n_units] = i
        n_units += np.uint64(inside[i])
    return np.int64(n_parts), np.int64(n_units)


@compiled
def deal(
    data: Data,
    units: IntArray,
    n_units: int,
    half: ByteArray,
    split_half: Half,
    kept_half: Half,
) -> tuple[int, int]:
    """Copies of the listed units: one half to split with, the other kept for the leaf means."""
    words, values, part = data.words, data.value, data.part
    split, value, kept, unit = (
        split_half.words,
        split_half.payload,
        kept_half.words,
        kept_half.payload,
    )
    n_words = words.shape[1]
    n_split, n_kept, one = _ZERO, _ZERO, _ONE
    for j in range(n_units):
        i = np.uint64(units[j])
        value[n_split] = values[i]
        unit[n_kept] = units[j]
        for w in range(n_words):
            split[n_split, w] = words[i, w]
            kept[n_kept, w] = words[i, w]
        to_split = np.uint64(half[np.uint64(part[i])])
        n_split += to_split
        n_kept += one - to_split
    for j in range(n_split):
        split_half.index[j] = j
    for j in range(n_kept):
        kept_half.index[j] = j
    return np.int64(n_split), np.int64(n_kept)


@compiled
def choose_covariates(key: np.uint64, tried: IntArray, n_tried: int) -> None:
    """A random choice without replacement in the first places (Fisher and Yates)."""
    for k in range(tried.size):
        tried[k] = k
    for k in range(n_tried):
        pick = ((mix(key, k) >> _HIGH) * np.uint64(tried.size - k)) >> _HIGH
        other = k + np.int64(pick)
        tried[k], tried[other] = tried[other], tried[k]
