"""Growth of honest trees: histograms of packed sums, splits, partition, leaf means.

A tree sees two halves of its subsample. The split half chooses the splits by its outcomes; the
estimation half gives the leaf means, and while the tree grows only its counts by arm are looked at.
"""

import numpy as np
import numpy.typing as npt

from wavewise.estimate.forest.sample import (
    ByteArray,
    Columns,
    Data,
    Half,
    Rules,
    Tree,
    Work,
    choose_covariates,
    deal,
    draw_half,
    list_inside,
    mix,
)
from wavewise.estimate.forest.split import best_split
from wavewise.shared.compiled import compiled_nogil
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["MOVED", "grow_groups", "partition"]

Int32Array = npt.NDArray[np.int32]

_TO_DO = 6  # entries of a node that waits
_CELLS_A_COUNT = 4  # cells subtracted in the time of one count


@compiled_nogil
def add_units(
    histogram: IntArray, columns: Columns, split: Half, start: int, end: int, sign: int
) -> None:
    """Packed values of units added to (or taken from) the histogram of every covariate."""
    cells, value, index = split.cells, split.payload, split.index
    n_bytes, n_lanes = np.uint64(8 * split.words.shape[1]), np.uint64(columns.n_lanes)
    size, one = np.uint64(columns.n_bins * columns.n_lanes), np.uint64(1)
    for j in range(np.uint64(start), np.uint64(end)):
        i = np.uint64(index[j])  # unsigned: no check for negative indices
        v, row = sign * value[i], i * n_bytes
        at = np.uint64(cells[row + n_bytes - one]) * size
        for c in range(np.uint64(columns.bins.size)):
            histogram[at + np.uint64(cells[row + c]) * n_lanes + c] += v


@compiled_nogil
def fewest(n_arms: int, kept: Half, start: int, end: int, count: IntArray) -> int:
    """The smallest number of units that an arm has."""
    cells, index, n_bytes = kept.cells, kept.index, np.uint64(8 * kept.words.shape[1])
    arm = n_bytes - np.uint64(1)
    count[:] = 0
    for j in range(np.uint64(start), np.uint64(end)):
        count[np.uint64(cells[np.uint64(index[j]) * n_bytes + arm])] += 1
    least = count[0]
    for a in range(1, n_arms):
        least = min(least, count[a])
    return least


@compiled_nogil
def any_missing(half: Half, start: int, end: int, c: int) -> bool:
    """Whether one of the units has the covariate missing."""
    for j in range(start, end):
        if half.cells[8 * half.words.shape[1] * half.index[j] + c] == 0:
            return True
    return False


@compiled_nogil
def leaf_means(
    means: FloatArray,
    kept: Half,
    start: int,
    end: int,
    outcome: FloatArray,
    weight: FloatArray,
    total: FloatArray,
) -> None:
    """Weighted mean outcome of each arm among the leaf's units of the estimation half."""
    cells = kept.cells
    index, unit, n_bytes = kept.index, kept.payload, np.uint64(8 * kept.words.shape[1])
    arm = n_bytes - np.uint64(1)
    means[:] = 0.0
    total[:] = 0.0
    for j in range(np.uint64(start), np.uint64(end)):
        row = np.uint64(index[j])
        a, i = np.uint64(cells[row * n_bytes + arm]), np.uint64(unit[row])
        means[a] += weight[i] * outcome[i]
        total[a] += weight[i]
    for a in range(means.size):
        means[a] /= total[a]


@compiled_nogil
def child_histograms(
    free: IntArray,
    n_free: int,
    slot: int,
    may_left: bool,
    may_right: bool,
    split: Half,
    start: int,
    border: int,
    end: int,
    columns: Columns,
    work: Work,
) -> tuple[int, int, int]:
    """Histograms of the children that may be split again: free slots left, slots of both (or -1).

    Only the smaller child is counted; its sibling is the exact difference from their parent, whose
    place it takes.
    """
    if not (may_left or may_right):
        free[n_free] = slot
        return n_free + 1, -1, -1
    left_small = border - start <= end - border
    first, last = (start, border) if left_small else (border, end)
    may_small, may_large = (may_left, may_right) if left_small else (may_right, may_left)
    parent, small, large = work.histograms[slot], -1, -1
    if may_small and may_large:
        n_free -= 1
        small, large = free[n_free], slot
        child = work.histograms[small]
        child[:] = 0
        add_units(child, columns, split, first, last, 1)
        if (last - first) * columns.bins.size * _CELLS_A_COUNT < columns.n_cells:
            add_units(parent, columns, split, first, last, -1)
        else:
            for k in range(child.size):
                parent[k] -= child[k]
    elif may_large:
        large = slot
        add_units(parent, columns, split, first, last, -1)
    else:
        small = slot
        parent[:] = 0
        add_units(parent, columns, split, first, last, 1)
    return (n_free, small, large) if left_small else (n_free, large, small)


@compiled_nogil
def grow_tree(
    key: np.uint64,
    split: Half,
    n_split: int,
    kept: Half,
    n_kept: int,
    data: Data,
    columns: Columns,
    rules: Rules,
    tree: Tree,
    work: Work,
) -> tuple[int, int]:
    """One tree; its numbers of nodes and leaves (0 if an arm has no unit to estimate with)."""
    if fewest(rules.n_arms, kept, 0, n_kept, work.arm_units) < 1:
        return 0, 0
    outcome, weight, total = data.outcome, data.weight, work.total
    stack = np.empty((2 * rules.n_slots + 4, _TO_DO), np.int64)
    free = np.arange(rules.n_slots)
    n_free, depth, n_nodes, n_leaves = rules.n_slots - 1, 1, 1, 0
    root = work.histograms[free[n_free]]
    root[:] = 0
    add_units(root, columns, split, 0, n_split, 1)
    stack[0] = np.array([0, 0, n_split, 0, n_kept, free[n_free]])
    while depth > 0:
        depth -= 1
        node, s0, s1, e0, e1, slot = stack[depth]
        c, threshold, side = -1, 0, 0
        if slot >= 0:
            choose_covariates(mix(key, node + 1), work.tried, rules.n_tried)
            c, threshold, side = best_split(
                kept, e0, e1, work.histograms[slot], columns, rules, work
            )
        if c < 0:
            if slot >= 0:
                free[n_free] = slot
                n_free += 1
            leaf_means(tree.means[n_leaves], kept, e0, e1, outcome, weight, total)
            tree.size[n_leaves] = e1 - e0
            write_node(tree.nodes[node], -1, 0, 0, n_leaves)
            n_leaves += 1
            continue
        span = threshold - side
        s = partition(split, s0, s1, c, side, span, work)
        e = partition(kept, e0, e1, c, side, span, work)
        larger_left = s - s0 + e - e0 >= s1 - s + e1 - e
        if (
            side == 1
            and larger_left
            and not (
                columns.missing[c] and (any_missing(split, s, s1, c) or any_missing(kept, e, e1, c))
            )
        ):
            # nobody here has it missing: whoever does later follows the larger child
            side, span = 0, threshold
        write_node(tree.nodes[node], c, side, span, n_nodes)
        may_left = fewest(rules.n_arms, kept, e0, e, work.arm_units) >= 2 * rules.min_leaf
        may_right = fewest(rules.n_arms, kept, e, e1, work.arm_units) >= 2 * rules.min_leaf
        n_free, slot_left, slot_right = child_histograms(
            free, n_free, slot, may_left, may_right, split, s0, s, s1, columns, work
        )
        # the child with fewer units on top, so that few histograms wait
        left, right = depth, depth + 1
        if s - s0 <= s1 - s:
            left, right = right, left
        write_task(stack[left], n_nodes, s0, s, e0, e, slot_left)
        write_task(stack[right], n_nodes + 1, s, s1, e, e1, slot_right)
        depth += 2
        n_nodes += 2
    return n_nodes, n_leaves


@compiled_nogil
def write_node(node: Int32Array, column: int, low: int, span: int, child: int) -> None:
    """One row of `Tree.nodes`."""
    node[0], node[1], node[2], node[3] = column, low, span, child


@compiled_nogil
def write_task(task: IntArray, node: int, s0: int, s1: int, e0: int, e1: int, slot: int) -> None:
    """A node to do: where its split half and its estimation half lie, and its histogram."""
    task[0], task[1], task[2] = node, s0, s1
    task[3], task[4], task[5] = e0, e1, slot


@compiled_nogil
def new_half(n: int, n_words: int) -> Half:
    """Room for the units of a half."""
    words = np.empty((n + 1, n_words), np.uint64)
    return Half(
        words,
        words.reshape(-1).view(np.uint8),
        np.empty(n + 1, np.int64),
        np.empty(n + 1, np.uint32),
    )


@compiled_nogil
def new_work(n: int, n_words: int, columns: Columns, rules: Rules) -> Work:
    """Memory of one thread."""
    p, n_arms, size = columns.bins.size, rules.n_arms, columns.n_bins * columns.n_lanes
    return Work(
        np.empty(n_arms),
        np.empty(n_arms),
        np.empty((2, size)),
        np.empty(size, np.int64),
        np.empty(columns.n_lanes, np.int64),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size),
        np.empty((rules.n_margins, size)),
        np.empty((2, columns.n_lanes)),
        np.empty((rules.n_tried, 5)),
        np.empty(n_arms * columns.n_bins, np.int32),
        np.arange(p),
        np.empty(n_arms),
        np.empty(n_arms, np.int64),
        np.empty((n + 1, n_words), np.uint64),
        np.empty(n + 1, np.int64),
        np.empty(n + 1, np.uint32),
        np.empty((rules.n_slots, columns.n_cells), np.int64),
    )


@compiled_nogil
def grow_groups(
    seed: np.uint64, first: int, n_groups: int, data: Data, columns: Columns, rules: Rules
) -> tuple[Int32Array, FloatArray, Int32Array, IntArray, IntArray, ByteArray]:
    """Groups of two trees, each group on one half of the parts, from group `first` (even) on."""
    n, n_words = data.words.shape
    # a copy for each thread: counts of references to shared arrays would be fought over
    columns = Columns(
        columns.bins.copy(),
        columns.missing.copy(),
        columns.n_bins,
        columns.n_lanes,
        columns.n_cells,
    )
    work = new_work(n, n_words, columns, rules)
    room = 2 * rules.max_leaves
    nodes, size = np.empty((2 * room, 4), np.int32), np.empty(room, np.int32)
    means = np.empty((room, rules.n_arms))
    n_nodes, n_leaves = np.zeros(2 * n_groups, np.int64), np.zeros(2 * n_groups, np.int64)
    inside = np.empty((n_groups, n), np.uint8)
    n_parts = data.stratum.size
    chosen, half = np.empty(n_parts, np.uint8), np.zeros(n_parts, np.uint8)
    parts, spare = np.empty(n_parts + 1, np.int64), np.empty(n_parts + 1, np.int64)
    every, in_stratum = np.arange(n_parts), np.empty_like(data.n_by_stratum)
    split, kept = new_half(n, n_words), new_half(n, n_words)
    members = np.empty(n + 1, np.int64)
    node, leaf = 0, 0
    for g in range(n_groups):
        key = mix(seed, first + g)
        if g % 2 == 0:
            draw_half(mix(key, 0), data.stratum, data.n_by_stratum, every, n_parts, chosen, spare)
        else:
            chosen = np.uint8(1) - chosen  # the half that the group before left out
        n_drawn, n_inside = list_inside(data, chosen, parts, in_stratum, inside[g], members)
        for t in range(2):
            tree_key = mix(key, 1 + t)
            draw_half(mix(tree_key, 0), data.stratum, in_stratum, parts, n_drawn, half, spare)
            n_split, n_kept = deal(data, members, n_inside, half, split, kept)
            if leaf + rules.max_leaves > size.size:
                room = 2 * size.size
                nodes, means = longer(nodes, node, 2 * room), longer(means, leaf, room)
                size = longer_line(size, leaf, room)
            tree = Tree(nodes[node:], means[leaf:], size[leaf:])
            made = grow_tree(
                tree_key, split, n_split, kept, n_kept, data, columns, rules, tree, work
            )
            n_nodes[2 * g + t], n_leaves[2 * g + t] = made
            node += made[0]
            leaf += made[1]
    return nodes[:node].copy(), means[:leaf].copy(), size[:leaf].copy(), n_nodes, n_leaves, inside


@compiled_nogil
def longer(array: FloatArray, used: int, length: int) -> FloatArray:
    """A copy with more rows."""
    copy = np.empty((length, array.shape[1]), array.dtype)
    copy[:used] = array[:used]
    return copy


@compiled_nogil
def longer_line(array: Int32Array, used: int, length: int) -> Int32Array:
    """A copy with more elements."""
    copy = np.empty(length, array.dtype)
    copy[:used] = array[:used]
    return copy


# Units of a node sorted into its children, without looking at the tree again.

MOVED = 16384  # units of a node from which its rows are moved, not only their places


@compiled_nogil
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


@compiled_nogil
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
