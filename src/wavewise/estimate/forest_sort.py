"""Units of a node sorted into its children, without looking at the tree again."""

import numpy as np

from wavewise.estimate.forest_compiled import compiled
from wavewise.estimate.forest_parts import Half, Work

__all__ = ["MOVED", "partition"]

MOVED = 16384  # units of a node from which its rows are moved, not only their places


@compiled
def partition(half: Half, start: int, end: int, c: int, low: int, span: int, work: Work) -> int:
    """Units in bins low to low + span moved to the front, all in their order; the border.

    Of a large node the rows themselves move, so that its children lie together in memory; in a
    small one, which the fast memory holds, only their places do.
    """
    if end - start > MOVED:
        return move_rows(half, start, end, c, low, span, work)
    cells, index, spare = half.cells, half.index, work.spare_index
    front, back, one = np.uint64(start), np.uint64(0), np.uint64(1)
    column, lowest, width = np.uint64(c), np.uint8(low), np.uint8(span)
    n_bytes = np.uint64(8 * half.words.shape[1])
    for j in range(np.uint64(start), np.uint64(end)):
        i = index[j]
        inside = np.uint64(np.uint8(cells[np.uint64(i) * n_bytes + column] - lowest) <= width)
        index[front] = i
        spare[back] = i
        front += inside
        back += one - inside
    border = np.int64(front)
    index[border:end] = spare[:back]
    return border


@compiled
def move_rows(half: Half, start: int, end: int, c: int, low: int, span: int, work: Work) -> int:
    """The same with the rows of a node whose places are still their own."""
    words, cells, payload = half.words, half.cells, half.payload
    spare, spare_payload = work.spare, work.spare_payload
    n_words = words.shape[1]
    front, back, one = np.uint64(start), np.uint64(0), np.uint64(1)
    column, lowest, width = np.uint64(c), np.uint8(low), np.uint8(span)
    n_bytes = np.uint64(8 * n_words)
    for j in range(np.uint64(start), np.uint64(end)):
        inside = np.uint64(np.uint8(cells[j * n_bytes + column] - lowest) <= width)
        held = payload[j]
        payload[front] = held
        spare_payload[back] = held
        if n_words == 2:  # the usual width, without a loop
            first, second = words[j, 0], words[j, 1]
            words[front, 0], words[front, 1] = first, second
            spare[back, 0], spare[back, 1] = first, second
        else:
            for w in range(n_words):
                word = words[j, w]
                words[front, w] = word
                spare[back, w] = word
        front += inside
        back += one - inside
    border = np.int64(front)
    payload[border:end] = spare_payload[:back]
    words[border:end] = spare[:back]
    return border
