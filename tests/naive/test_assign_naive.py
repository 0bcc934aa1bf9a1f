"""Exact probabilities on tiny designs: every branch of the draw, weighed.

Two oracles: a plain-Python rounding in fractions, written from the definition alone; and our own
inner loop run in plain Python with scripted draws, so that all its outcomes can be listed.
"""

import importlib.util
import math
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import numba
import numpy as np
import pytest

import wavewise.randomize as package

F = Fraction
DESIGNS = {
    "one stratum, halves": ([1], [[F(1, 2), F(1, 2)]]),
    "one stratum, thirds": ([4], [[F(1, 3)] * 3]),
    "pairs of odd strata": ([1, 1, 1], [[F(1, 2), F(1, 2)]] * 3),
    "three arms, three strata": ([5, 4, 2], [[F(1, 2), F(1, 3), F(1, 6)]] * 3),
    "shares differ": (
        [3, 2, 4],
        [[F(1, 4), F(3, 4), F(0)], [F(1, 3)] * 3, [F(0), F(2, 5), F(3, 5)]],
    ),
    "whole cells among others": (
        [4, 3],
        [[F(1, 4), F(1, 2), F(1, 4)], [F(1, 6), F(1, 2), F(1, 3)]],
    ),
    "an arm that nobody gets": ([3, 3], [[F(1, 2), F(0), F(1, 2)]] * 2),
    "four arms": ([1, 2, 3], [[F(2, 5), F(1, 5), F(1, 5), F(1, 5)]] * 3),
}


def cells_of(sizes, shares):
    """Expected counts with the row that makes arm totals whole."""
    rows = [[n * q for q in row] for n, row in zip(sizes, shares, strict=True)]
    balancing = [-sum(column) % 1 for column in zip(*rows, strict=True)]
    return [*rows, balancing]


# --- the slow second implementation -------------------------------------------------------------


def open_cycle(cells):
    """A cycle of cells that are not whole, as (row, column), along rows and columns in turn."""
    rows, columns = range(len(cells)), range(len(cells[0]))
    is_open = {(r, c) for r in rows for c in columns if cells[r][c] % 1}
    if not is_open:
        return []
    r, c = min(is_open)
    walk, along_row = [(r, c)], True
    while True:
        r, c = walk[-1]
        same = [(i, j) for i, j in sorted(is_open) if (i == r if along_row else j == c)]
        step = next(cell for cell in same if cell != (r, c))
        walk.append(step)
        along_row = not along_row
        for start in range(len(walk) - 3):
            # It closes when the next step could lead from the end to an earlier cell.
            part, line = walk[start:], 0 if along_row else 1
            if len(part) % 2 == 0 and part[-1][line] == part[0][line] and part[0] not in part[1:]:
                return part


def outcomes_naive(cells):
    """Probability of every whole table, by all branches of all cycles."""
    cycle = open_cycle(cells)
    if not cycle:
        return {tuple(map(tuple, cells)): F(1)}
    plus, minus = cycle[::2], cycle[1::2]
    up = min([1 - cells[r][c] % 1 for r, c in plus] + [cells[r][c] % 1 for r, c in minus])
    down = min([cells[r][c] % 1 for r, c in plus] + [1 - cells[r][c] % 1 for r, c in minus])
    total = defaultdict(F)
    for shift, probability in ((up, down / (up + down)), (-down, up / (up + down))):
        moved = [list(row) for row in cells]
        for r, c in plus:
            moved[r][c] += shift
        for r, c in minus:
            moved[r][c] -= shift
        for table, p in outcomes_naive(moved).items():
            total[table] += probability * p
    return dict(total)


# --- our inner loop, run in plain Python ---------------------------------------------------------


class ScriptedDraws:
    """Draws that answer from a script and note the odds that they were asked for."""

    def __init__(self, script):
        self.script, self.odds = script, []

    def __getitem__(self, position):
        assert position == len(self.odds)
        return self

    def __lt__(self, odds):
        self.odds.append(float(odds))
        position = len(self.odds) - 1
        return self.script[position] if position < len(self.script) else True


@pytest.fixture(scope="module")
def plain_rounding():
    """The rounding module with nothing compiled."""
    path = Path(package.__file__).with_name("rounding.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wavewise.shared.compiled.compiled", lambda function: function)
        spec = importlib.util.spec_from_file_location("plain_rounding", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    assert not isinstance(module.round_fractions, numba.core.dispatcher.Dispatcher)
    return module


def outcomes_ours(module, cells, row_order, arm_order):
    """Probability of every table of ours, by listing all answers to all draws."""
    whole = math.lcm(*(value.denominator for row in cells for value in row))
    fraction = np.array([[int(value % 1 * whole) for value in row] for row in cells])
    base = np.array([[math.floor(value) for value in row] for row in cells])
    total, scripts = defaultdict(float), [()]
    while scripts:
        script = scripts.pop()
        draws = ScriptedDraws(script)
        up = module.round_fractions(fraction, whole, row_order, arm_order, draws)
        answers = script + (True,) * (len(draws.odds) - len(script))
        weight = math.prod(
            p if yes else 1.0 - p for p, yes in zip(draws.odds, answers, strict=True)
        )
        total[tuple(map(tuple, (base + up).tolist()))] += weight
        scripts += [(*answers[:t], False) for t in range(len(script), len(answers))]
    return dict(total)


def check_exact(cells, outcomes, tolerance):
    """Expectation, floor or ceiling of cells, and both margins, over every outcome."""
    assert float(sum(outcomes.values())) == pytest.approx(1.0, abs=1e-12)
    for r, row in enumerate(cells):
        for c, value in enumerate(row):
            mean = sum(table[r][c] * p for table, p in outcomes.items())
            assert abs(float(mean - value)) <= tolerance
    for table in outcomes:
        for row, drawn in zip(cells, table, strict=True):
            assert sum(row) == sum(drawn)
            assert all(math.floor(x) <= y <= math.ceil(x) for x, y in zip(row, drawn, strict=True))
        real, drawn = zip(*cells[:-1], strict=True), zip(*table[:-1], strict=True)
        for column, counts in zip(real, drawn, strict=True):
            assert math.floor(sum(column)) <= sum(counts) <= math.ceil(sum(column))


@pytest.mark.parametrize("name", DESIGNS)
def test_naive_rounding_is_exact(name):
    cells = cells_of(*DESIGNS[name])
    check_exact(cells, outcomes_naive(cells), tolerance=0.0)


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("seed", range(4))
def test_every_branch_of_ours_is_exact(name, seed, plain_rounding):
    cells = cells_of(*DESIGNS[name])
    rng = np.random.default_rng(seed)
    row_order = rng.permutation(len(cells))
    arm_order = np.array([rng.permutation(len(cells[0])) for _ in cells])
    outcomes = outcomes_ours(plain_rounding, cells, row_order, arm_order)
    check_exact(cells, outcomes, tolerance=1e-12)


def test_same_tables_are_possible(plain_rounding):
    # One stratum of three arms: both ways must give each arm its turn, with the same odds.
    cells = cells_of(*DESIGNS["one stratum, thirds"])
    ours = outcomes_ours(plain_rounding, cells, np.arange(2), np.tile(np.arange(3), (2, 1)))
    naive = outcomes_naive(cells)
    assert {t: pytest.approx(float(p)) for t, p in naive.items()} == ours


def test_compiled_and_plain_agree(plain_rounding):
    from wavewise.randomize.rounding import round_fractions

    rng = np.random.default_rng(5)
    whole, n_rows, n_arms = 60, 30, 7
    fraction = rng.integers(0, whole, (n_rows, n_arms))
    fraction[:, -1] = -fraction[:, :-1].sum(axis=1) % whole
    fraction = np.vstack([fraction, -fraction.sum(axis=0) % whole])
    row_order = rng.permutation(n_rows + 1)
    arm_order = np.array([rng.permutation(n_arms) for _ in range(n_rows + 1)])
    draws = rng.random(fraction.size)
    compiled = round_fractions(fraction, whole, row_order, arm_order, draws)
    plain = plain_rounding.round_fractions(fraction, whole, row_order, arm_order, draws)
    assert (compiled == plain).all()
    assert (compiled.sum(axis=1) * whole == fraction.sum(axis=1)).all()
    assert (compiled.sum(axis=0) * whole == fraction.sum(axis=0)).all()
