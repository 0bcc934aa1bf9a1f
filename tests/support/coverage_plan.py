"""The plan of the coverage table: parts, their designs, and repetitions in numbered chunks."""

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
    cells : tuple of tuple
        The designs: a value of each key.
    repetition : callable
        Of a design and a generator: rows by name, each whether it holds and its length.
    passes : int
        Chunks of each design in the full plan.
    each : int
        Repetitions a chunk.
    """

    name: str
    keys: tuple[str, ...]
    cells: tuple[tuple, ...]
    repetition: Callable
    passes: int
    each: int = 50

    def designs(self):
        """Every design as a mapping of what varies."""
        return [dict(zip(self.keys, each, strict=True)) for each in self.cells]


KEYS = ("effect", "waves", "rule", "floor", "clusters", "units")
_EXPLORE, _THOMPSON = "exploration", "thompson"

# few designs, awkward ones among them: small first waves, many waves, two arms, clusters
_ADAPTIVE = (
    ("no effect", 4, _THOMPSON, 0.1, 0, 200),
    ("two arms, no effect", 10, _THOMPSON, 0.05, 0, 200),
    ("near tie", 4, _EXPLORE, 0.1, 0, 1000),
    ("no effect", 4, _THOMPSON, 0.1, 40, 1000),
)
# starved arms, rare and frequent outcomes, few clusters
_STARVED = (
    ("no effect", 10, _THOMPSON, 0.01, 0, 200),
    ("clear winner", 4, _THOMPSON, 0.01, 0, 1000),
    ("rare, no effect", 4, _THOMPSON, 0.05, 0, 5000),
    ("frequent, near tie", 4, _EXPLORE, 0.1, 0, 1000),
    ("no effect", 4, _THOMPSON, 0.1, 12, 600),
)
_FIXED = tuple((name,) for name in cheap.FIXED if "weights" not in name)
_WEIGHTED = tuple((name,) for name in cheap.FIXED if "weights" in name)

PARTS = (
    Part("one wave", ("design",), _FIXED, cheap.one_wave, 40),
    Part("weights", ("design",), _WEIGHTED, cheap.one_wave, 40),
    Part("policies", ("effect", "clusters", "units"), (
        ("near tie", 0, 500), ("no effect", 40, 500), ("near tie", 10, 500), ("no effect", 0, 80),
    ), costly.policies, 30),
    Part("adaptive", KEYS, _ADAPTIVE, cheap.repetition, 40),
    Part("adaptive, starved", KEYS, _STARVED, cheap.repetition, 40),
    Part("looks", KEYS, (*_ADAPTIVE[:3], *_STARVED[:4]), cheap.looks, 40),
    Part("randomization size", KEYS, (
        ("no effect", 4, _THOMPSON, 0.01, 0, 200), ("two arms, no effect", 4, _EXPLORE, 0.1, 0, 60),
    ), costly.test_size, 30),
    Part("fisher", KEYS, (("constant .5", 3, _THOMPSON, 0.1, 0, 120),), costly.fisher, 30),
    Part("bootstrap", KEYS, (("near tie", 4, _THOMPSON, 0.1, 40, 1000),), costly.bootstrap, 40, 25),
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
