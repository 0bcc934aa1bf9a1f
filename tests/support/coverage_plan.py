"""The plan of the coverage table: parts, their designs, and repetitions in numbered chunks."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import coverage_costly as costly
import coverage_intervals as cheap

SEED = 20261125


@dataclass(frozen=True)
class Part:
    """One table: its designs, and what is computed in each repetition.

    Parameters
    ----------
    name : str
    keys : tuple of str
        What varies.
    values : tuple of tuple
        The values of each; all combinations are designs.
    repetition : callable
        Of a design and a generator: rows by name, each whether it holds and its length.
    passes : int
        Chunks of each design in the full plan.
    each : int
        Repetitions a chunk.
    """

    name: str
    keys: tuple[str, ...]
    values: tuple[tuple, ...]
    repetition: Callable
    passes: int
    each: int = 20

    def designs(self):
        """Every design as a mapping of what varies."""
        return [dict(zip(self.keys, each, strict=True)) for each in itertools.product(*self.values)]


KEYS = ("effect", "waves", "rule", "floor", "clusters", "units")
EFFECTS, RULES = tuple(cheap.EFFECTS), ("exploration", "thompson")
_MAIN = (EFFECTS, (2, 4, 10), RULES, (0.0, 0.01, 0.1), (0, 40))
_NONE, _RULE = ("no effect",), ("thompson",)

PARTS = (
    Part("adaptive", KEYS, (*_MAIN, (200, 1000, 5000)), cheap.repetition, 10),
    Part("adaptive", KEYS, (*_MAIN, (50_000,)), cheap.repetition, 10, 4),
    Part(
        "bootstrap", KEYS, (EFFECTS, (4,), RULES, (0.1,), (40,), (1000,)), costly.bootstrap, 12, 5,
    ),
    Part(
        "randomization size", KEYS, (_NONE, (4,), RULES, (0.01,), (0,), (200, 1000)),
        costly.test_size, 10,
    ),
    Part(
        "fisher", KEYS, (("constant .5",), (3,), ("equal", "thompson"), (0.1,), (0,), (120,)),
        costly.fisher, 20, 5,
    ),
    Part("policies", ("effect", "clusters", "units"), (EFFECTS, (0, 40), (500, 2000)),
         costly.policies, 10),
)  # fmt: skip


@dataclass(frozen=True)
class Chunk:
    """A chunk's place in the plan: its part, design and pass."""

    part: int
    design: int
    number: int


def chunks(passes=None, parts=PARTS):
    """All chunks, those of the first pass over all designs first."""
    longest = max(part.passes for part in parts) if passes is None else passes
    return [
        Chunk(p, d, number)
        for number in range(longest)
        for p, part in enumerate(parts)
        if number < part.passes
        for d in range(len(part.designs()))
    ]


@dataclass(frozen=True)
class Work:
    """The task of `run_chunks`: what it gives depends on the number alone."""

    order: tuple[Chunk, ...]
    parts: tuple[Part, ...] = PARTS

    def __call__(self, number):
        """Rows of one chunk: names, and holds and lengths of shape (n_repetitions, n_rows)."""
        at, start = self.order[number], time.process_time()
        part = self.parts[at.part]
        cell = part.designs()[at.design]
        # the stream is named by the design itself, so that it does not change with the plan
        key = [SEED, *"|".join(map(str, (part.name, *cell.values()))).encode(), at.number]
        seeds = np.random.SeedSequence(key).spawn(part.each)
        found = [part.repetition(cell, np.random.default_rng(seed)) for seed in seeds]
        names = list(dict.fromkeys(name for rows in found for name in rows))
        none = (np.nan, np.nan)
        values = np.array([[rows.get(name, none) for name in names] for rows in found])
        return {
            "names": np.array(names),
            "holds": values[..., 0],
            "length": values[..., 1],
            "seconds": np.array(time.process_time() - start),
        }


def collected(order, found, parts=PARTS):
    """Rows by part: (design values..., interval, repetitions, with interval, coverage, length)."""
    cells, seconds = {}, dict.fromkeys((part.name for part in parts), 0.0)
    for at, chunk in zip(order, found, strict=True):
        part = parts[at.part]
        seconds[part.name] += float(chunk["seconds"])
        key = tuple(part.designs()[at.design].values())
        for k, name in enumerate(chunk["names"].tolist()):
            own = cells.setdefault((part.name, key, name), [])
            own.append((chunk["holds"][:, k], chunk["length"][:, k]))
    tables = {part.name: [] for part in parts}
    for (name, key, interval), pieces in cells.items():
        holds, length = (np.concatenate(piece) for piece in zip(*pieces, strict=True))
        known = ~np.isnan(holds)
        spread = float(holds[known].std(ddof=1)) if known.sum() > 1 else np.nan
        mean = np.nan if np.isnan(length).all() else float(np.nanmean(length))
        rate = float(holds[known].mean()) if known.any() else np.nan
        row = (*key, interval, holds.size, int(known.sum()), rate, spread, mean)
        tables[name].append(row)
    return tables, seconds
