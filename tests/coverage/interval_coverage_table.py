"""The table of interval coverage, written from the repetitions that were collected."""

import csv
from pathlib import Path

import numpy as np

from wavewise import __version__

KEYS = ("effect", "waves", "rule", "floor", "clusters", "units")
HEAD = (*KEYS, "interval", "repetitions", "with_interval", "coverage")
CHOSEN = "chosen arm"


def write(rows, target):
    """``target.csv`` with every design, ``target.md`` with the margins."""
    target = Path(target)
    with target.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        for row in sorted(rows, key=lambda row: tuple(map(str, row))):
            writer.writerow([*row[:-1], "" if row[-1] is None else f"{row[-1]:.4f}"])
    target.with_suffix(".md").write_text(page(rows), encoding="utf-8")


def page(rows):
    """Coverage by interval, over all designs that share one value."""
    names = list(dict.fromkeys(row[6] for row in rows))
    parts = [intro(rows)]
    for plain in (True, False):
        kept = [row for row in rows if (row[4] == 0) == plain]
        if not kept:
            continue
        parts.append(
            f"## {'Units independent' if plain else '40 clusters, sd .5 on the log odds'}\n"
        )
        for place in (0, 1, 2, 3, 5):
            parts.append(margin(kept, names, place))
    return "\n".join(parts)


def intro(rows):
    """What was run, with its repetitions by number of units."""
    by_units = {}
    for row in rows:
        if row[6] == "OLS":
            by_units.setdefault(row[5], []).append(row[7])
    told = "; ".join(
        f"{units:,} units: {len(n)} of 108 designs, {min(n)} repetitions each or more"
        for units, n in sorted(by_units.items())
    )
    return f"""# Coverage of every interval under adaptive designs

Four arms, binary outcomes (.3 in the first arm; no effect; near tie .38 and .40; clear winner
.5), equal shares in the first wave, then exploration or Thompson sampling on a beta posterior
that ignores clusters; clipping is the least share. 95 % intervals: of the three contrasts with
the first arm, and of the mean of the arm with the largest estimate. Under no effect one minus
coverage is the size of the test. "none" is the share of experiments without the interval (a share
of exactly 0 or 1, which the weighted estimators refuse).

Seed 20261125, version {__version__}, November 2026. Run: {told}. The repetitions that the full
plan asks for (200 a design, 40 with 50,000 units) were not all run; the error of a margin is
printed beside it, that of a single design in the CSV is large. Run on a machine with other work
on both processors, so no times.

    python tests/coverage/interval_coverage.py FOLDER --passes 10 [--scheduler ADDRESS]
    python tests/coverage/interval_coverage.py FOLDER --table docs/evidence/interval-coverage

How to read it: `OLS` and `chosen arm, OLS, usual` are what one would have without correction.
"""


def margin(rows, names, place):
    """Coverage by one thing that varies, over all others."""
    levels = sorted({row[place] for row in rows}, key=str if place in {0, 2} else float)
    lines = [
        f"| by {KEYS[place]} | " + " | ".join(map(str, levels)) + " |",
        "|---" * (len(levels) + 1) + "|",
    ]
    for name in names:
        cells = []
        for level in levels:
            kept = [row for row in rows if row[place] == level and row[6] == name]
            cells.append(cell(kept))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def cell(rows):
    """Coverage with its standard error, and the share without the interval."""
    n, known = sum(row[7] for row in rows), sum(row[8] for row in rows)
    if not known:
        return "none"
    rate = sum(row[8] * row[9] for row in rows if row[9] is not None) / known
    error = np.sqrt(max(rate * (1 - rate), 0.25 / known) / known)
    missing = f", none {1 - known / n:.0%}" if known < n else ""
    return f"{rate:.3f} ({error:.3f}{missing})"
