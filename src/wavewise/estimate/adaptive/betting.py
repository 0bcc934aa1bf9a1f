"""Bets on outcomes within bounds: wealth that no true value lets grow, and what it leaves out.

A bet multiplies its wealth by ``1 + stake (p + q delta)``, one factor per outcome. If the mean of
``p + q delta`` over a block is at most 0 in expectation where delta is true, and outcomes of the
block are independent, its wealth has an expectation of at most 1 (docs/methods).
"""

from dataclasses import dataclass

import numpy as np

from wavewise.shared.compiled import compiled
from wavewise.shared.results import BoolArray, FloatArray, IntArray

__all__ = [
    "Bets",
    "Cells",
    "bets_on_blocks",
    "bets_on_means",
    "bets_on_scores",
    "estimates",
    "invert",
    "wealth",
]

# Stakes around the one that is best at the planned size, on either side.
_STAKES = np.array([0.5, 1.0, 2.0])
_MOST_LOST = 0.95  # of the wealth, by any outcome
_GRID = 61  # values of delta on either side of the estimate, dense near it
_HALVINGS = 10


@dataclass(frozen=True, eq=False)
class Cells:
    """Outcomes in [0, 1] counted by block, arm and value; blocks in the order of their waves."""

    block: IntArray  # (n_cells,)
    arm: IntArray  # (n_cells,)
    value: FloatArray  # (n_cells,)
    count: IntArray  # (n_cells,)
    wave: IntArray  # (n_blocks,): Not decreasing.
    stratum: IntArray  # (n_blocks,)
    share: FloatArray  # (n_blocks, n_arms): Propensities, those of all its units.
    baseline: float = 0.5  # Mean that is expected before the first outcome.

    def sums(self) -> FloatArray:
        """Numbers, sums and sums of squares of outcomes, (3, n_blocks, n_arms)."""
        n_blocks, n_arms = self.share.shape
        cell = self.block * n_arms + self.arm
        weights = [self.count, self.count * self.value, self.count * self.value**2]
        found = [np.bincount(cell, one, n_blocks * n_arms) for one in weights]
        return np.array(found, dtype=np.float64).reshape(3, n_blocks, n_arms)


@dataclass(frozen=True, eq=False)
class Bets:
    """What is bet on one contrast or mean: the payoff per outcome, and one stake for each wave."""

    p: FloatArray  # (n_rows,): Rows in the order of their waves.
    q: FloatArray
    count: IntArray
    end: IntArray  # (n_waves,): Where each wave's rows end.
    worst_p: FloatArray  # (n_extremes,): The same for the outcomes 0 and 1, in order of waves.
    worst_q: FloatArray
    worst_end: IntArray
    stake: FloatArray  # (n_waves,): The best at the planned size; 0 for no bet.


def past(cells: Cells) -> tuple[FloatArray, FloatArray]:
    """Means and variances by block and arm as earlier waves tell them, (n_blocks, n_arms) each.

    One outcome at the baseline stands before the first; in later waves a stratum
    counts as five units of all strata's mean and variance.
    """
    sums = cells.sums()
    n_waves, n_strata = int(cells.wave[-1]) + 1, int(cells.stratum.max()) + 1
    before = np.zeros((3, n_waves + 1, n_strata, sums.shape[2]))
    for found, one in zip(before, sums, strict=True):
        np.add.at(found, (cells.wave + 1, cells.stratum), one)
    before = np.cumsum(before, axis=1)
    n, total, squares = before[:, cells.wave].sum(axis=2)
    mean = (total + cells.baseline) / (n + 1)
    least = cells.baseline * (1 - cells.baseline)
    variance = (squares - 2 * mean * total + n * mean**2 + least) / (n + 1)
    n, total, squares = before[:, cells.wave, cells.stratum]
    own = (total + 5 * mean) / (n + 5)
    spread = (squares - 2 * own * total + n * own**2 + 5 * variance) / (n + 5)
    return own, np.maximum(spread, 1e-9)


def bets_on_blocks(cells: Cells, arms: tuple[int, int], planned: float, alpha: float) -> Bets:
    """Within-block bets on the difference of two arms (Turner and Gruenwald)."""
    a, b = arms
    mean, variance = past(cells)
    n = cells.sums()[0]
    both = (n[:, a] > 0) & (n[:, b] > 0)
    size = np.where(both[:, None], n, 1.0)
    part = _parts(cells, np.where(both, n.sum(axis=1), 0.0))
    weight = size / variance
    total = weight[:, a] + weight[:, b]
    slope = np.stack([-weight[:, b], weight[:, a]], axis=1) / total[:, None]
    centre = (weight[:, a] * mean[:, a] + weight[:, b] * mean[:, b]) / total
    # arm a loses with its outcomes and arm b gains: y against centre + slope delta
    gain = np.stack([-part / size[:, a], part / size[:, b]], axis=1)
    kept = ((cells.arm == a) | (cells.arm == b)) & both[cells.block]
    block, side = cells.block[kept], (cells.arm[kept] == b).astype(np.int64)
    p = gain[block, side] * (cells.value[kept] - centre[block])
    q = -(gain * slope)[block, side]
    worst_p = gain[:, :, None] * (np.array([0.0, 1.0]) - centre[:, None, None])
    noise = part**2 * (1 / weight[:, a] + 1 / weight[:, b])
    return _bets(cells, kept, (p, q), (worst_p, -(gain * slope)[:, :, None]), noise, planned, alpha)


def bets_on_means(cells: Cells, arm: int, planned: float, alpha: float) -> Bets:
    """Bets on an arm's mean, each block with its part of the wave."""
    _, variance = past(cells)
    every = cells.sums()[0]
    n = every[:, arm]
    weight = _parts(cells, np.where(n > 0, every.sum(axis=1), 0.0)) / np.maximum(n, 1)
    kept = cells.arm == arm
    block = cells.block[kept]
    worst_p = weight[:, None, None] * np.array([0.0, 1.0])
    noise = n * weight**2 * variance[:, arm]
    pays = (weight[block] * cells.value[kept], -weight[block])
    return _bets(cells, kept, pays, (worst_p, -weight[:, None, None]), noise, planned, alpha)


def bets_on_scores(cells: Cells, arms: tuple[int, ...], planned: float, alpha: float) -> Bets:
    """Bets on doubly robust scores of a mean or of a difference (Waudby-Smith et al.).

    Bounds of the scores come from the wave's own propensities.
    """
    mean, variance = past(cells)
    n = cells.sums()[0].sum(axis=1)
    weight = _parts(cells, n) / n
    sign = np.zeros(cells.share.shape[1])
    sign[list(arms)] = [-1.0, 1.0] if len(arms) == 2 else [1.0]
    base = mean @ sign
    block = cells.block
    ratio = sign / cells.share
    p = base[block] + ratio[block, cells.arm] * (cells.value - mean[block, cells.arm])
    ends = ratio[:, :, None] * (np.array([0.0, 1.0]) - mean[:, :, None])
    ends = np.stack([ends.min(axis=(1, 2)), ends.max(axis=(1, 2))], axis=1) + base[:, None]
    noise = n * weight**2 * (sign**2 * variance / cells.share).sum(axis=1)
    pays = (weight[block] * p, -weight[block])
    every = np.ones(block.size, dtype=bool)
    extremes = (weight[:, None] * ends, -weight[:, None])
    return _bets(cells, every, pays, extremes, noise, planned, alpha)


def _parts(cells: Cells, size: FloatArray) -> FloatArray:
    """Each block's part of its wave, (n_blocks,); 0 in a wave of size 0."""
    total = np.bincount(cells.wave, size)[cells.wave]
    return np.asarray(np.divide(size, total, out=np.zeros_like(total), where=total > 0))


def _bets(
    cells: Cells,
    kept: BoolArray,
    pays: tuple[FloatArray, FloatArray],
    worst: tuple[FloatArray, FloatArray],
    noise: FloatArray,
    planned: float,
    alpha: float,
) -> Bets:
    """Rows and extremes in the order of waves; stakes from what is known before each wave."""
    n_waves = int(cells.wave[-1]) + 1
    per_wave = np.bincount(cells.wave, noise)
    information = np.divide(1.0, per_wave, out=np.zeros(n_waves), where=per_wave > 0)
    units = np.bincount(cells.wave[cells.block], cells.count)
    before = np.cumsum(units) - units
    to_come = np.maximum(planned - before, units) / np.maximum(units, 1)
    final = np.cumsum(information) - information + information * to_come
    best = np.sqrt(2 * np.log(2 * _STAKES.size / alpha) / np.where(final > 0, final, 1.0))
    of_row = cells.wave[cells.block[kept]]
    order = np.argsort(of_row, kind="stable")
    worst_p, worst_q = np.broadcast_arrays(*worst)
    extremes = worst_p[0].size * np.bincount(cells.wave)
    return Bets(
        pays[0][order], pays[1][order], cells.count[kept][order],
        np.cumsum(np.bincount(of_row, minlength=n_waves)),
        worst_p.ravel(), worst_q.ravel(), np.cumsum(extremes), best * information,
    )  # fmt: skip


def wealth(bets: Bets, delta: FloatArray, last: IntArray | None = None) -> FloatArray:
    """Log of the mixture's wealth after each wave, (n_values, n_waves); up to wave `last` only."""
    if last is None:
        last = np.full(delta.size, bets.end.size - 1)
    stakes = np.concatenate([-_STAKES[::-1], _STAKES])
    logs = _log_wealth(
        bets.p, bets.q, bets.count, bets.end, bets.worst_p, bets.worst_q, bets.worst_end,
        bets.stake, stakes, np.ascontiguousarray(delta), last,
    )  # fmt: skip
    return np.asarray(np.logaddexp.reduce(logs, axis=1) - np.log(stakes.size))


@compiled
def _log_wealth(
    p: FloatArray,
    q: FloatArray,
    count: IntArray,
    end: IntArray,
    worst_p: FloatArray,
    worst_q: FloatArray,
    worst_end: IntArray,
    stake: FloatArray,
    stakes: FloatArray,
    delta: FloatArray,
    last: IntArray,
) -> FloatArray:
    """Log wealth of every stake after each wave, (n_values, n_stakes, n_waves)."""
    found = np.zeros((delta.size, stakes.size, end.size))
    for d in range(delta.size):
        for j in range(stakes.size):
            total, first, first_worst = 0.0, 0, 0
            for w in range(last[d] + 1):
                limit = 0.0  # largest loss per unit of stake
                for e in range(first_worst, worst_end[w]):
                    pays = worst_p[e] + worst_q[e] * delta[d]
                    limit = max(limit, -pays if stakes[j] > 0 else pays)
                bet = abs(stakes[j]) * stake[w]
                if limit * bet > _MOST_LOST:
                    bet = _MOST_LOST / limit
                if stakes[j] < 0:
                    bet = -bet
                product, held = 1.0, 0
                for i in range(first, end[w]):
                    factor = 1 + bet * (p[i] + q[i] * delta[d])
                    if count[i] > 1:
                        total += count[i] * np.log(factor)
                        continue
                    product *= factor
                    held += 1
                    if held == 40:
                        total += np.log(product)
                        product, held = 1.0, 0
                total += np.log(product)
                first, first_worst = end[w], worst_end[w]
                found[d, j, w] = total
    return found


def estimates(bets: Bets) -> FloatArray:
    """After each wave the value at which all outcomes so far pay nothing, (n_waves,)."""
    sums = [np.diff(np.cumsum(np.append(0.0, bets.count * one))[np.append(0, bets.end)])
            for one in (bets.p, bets.q)]  # fmt: skip
    total, slope = (np.cumsum(bets.stake * one) for one in sums)
    none = np.full(total.size, np.nan)
    return np.asarray(np.divide(total, -slope, out=none, where=slope < 0))


def invert(bets: Bets, bounds: tuple[float, float], alpha: float) -> FloatArray:
    """Values with wealth below one over alpha after each wave, (n_waves, 2); (nan, nan) for none.

    Ends are rounded outwards, by less than a five thousandth of their distance from the estimate.
    """
    low, high = bounds
    centres = np.clip(np.nan_to_num(estimates(bets), nan=(low + high) / 2), low, high)
    middle, near = centres[-1], np.geomspace(1e-4, 1.0, _GRID)
    grid = np.concatenate([low + (1 - near) * (middle - low), middle + near * (high - middle)])
    grid = np.unique(np.concatenate([grid, centres, [low, high]]))
    limit = -np.log(alpha)
    inside = wealth(bets, grid) < limit
    looks = np.arange(inside.shape[1])
    ends = np.empty((looks.size, 2))
    for side in range(2):
        first = np.argmax(inside if side == 0 else inside[::-1], axis=0)
        first = first if side == 0 else grid.size - 1 - first
        kept, out = grid[first], grid[np.clip(first + 2 * side - 1, 0, grid.size - 1)]
        for _ in range(_HALVINGS):
            half = (out + kept) / 2
            held = wealth(bets, half, looks)[looks, looks] < limit
            kept, out = np.where(held, half, kept), np.where(held, out, half)
        ends[:, side] = out
    return np.where(inside.any(axis=0)[:, None], ends, np.nan)
