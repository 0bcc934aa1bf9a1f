"""The table of interval coverage, written from the repetitions that were collected."""

import csv
from pathlib import Path

import numpy as np

from wavewise import __version__

KEYS = ("effect", "waves", "rule", "floor", "clusters", "units")
NUMBERS = ("repetitions", "with_interval", "coverage", "mc_error", "mean_length")
HEAD = ("part", *KEYS, "interval", *NUMBERS)
N_KEYS = {"policies": 3}


def write(tables, seconds, target):
    """``target.csv`` with every design, ``target.md`` with the margins."""
    target = Path(target)
    rows = [_padded(part, row) for part, found in tables.items() for row in found]
    with target.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        for row in sorted(rows, key=lambda row: tuple(map(str, row[:8]))):
            *cell, n, known, rate, spread, length = row
            error = spread / known**0.5 if known else np.nan
            writer.writerow([*cell, n, known, *(_text(x) for x in (rate, error, length))])
    text = target.with_suffix(".md")
    findings = _findings(text.read_text("utf-8")) if text.exists() else ""
    text.write_text(page(tables, seconds, findings), encoding="utf-8")


def _findings(text):
    """The section that was written by hand: it stays, and is to be read again with new numbers."""
    start = text.find("## What it shows")
    return "" if start < 0 else "## " + text[start + 3 :].split("\n## ")[0] + "\n"


def _padded(part, row):
    if part != "policies":
        return (part, *row)
    effect, clusters, units, *rest = row
    return (part, effect, "", "", "", clusters, units, *rest)


def _text(value):
    return "" if np.isnan(value) else f"{value:.4f}"


def page(tables, seconds, findings=""):
    """Margins of the adaptive designs, then the costly intervals and those of policies."""
    rows = tables["adaptive"]
    parts = [intro(rows, seconds), findings]
    for plain in (True, False):
        kept = [row for row in rows if (row[4] == 0) == plain]
        if not kept:
            continue
        names = sorted({row[6] for row in kept}, key=_order)
        parts.append(
            f"## {'Units independent' if plain else '40 clusters, sd .5 on the log odds'}\n"
        )
        parts += [margin(kept, names, place) for place in (5, 3, 1, 0, 2)]
        parts.append(lengths(kept, names))
    for part, title in TITLES.items():
        if tables.get(part):
            parts += [title, single(tables[part], N_KEYS.get(part, 6))]
    return "\n".join(parts)


def _order(name):
    """Contrasts first, then models, then the chosen arm; `ate` before all."""
    kind = [name.startswith(start) for start in ("ate", "weighted", "adaptive", "batched", "conf")]
    place = kind.index(True) if any(kind) else 6 if name.startswith("chosen") else 5
    return place, name


TITLES = {
    "bootstrap": """## The chosen arm by the parametric bootstrap, with clusters

The whole adaptive experiment simulated 200 times for each of three sets of true means; 95 %
intervals, four waves, 1,000 units, a stated subset of the designs. More, with normal outcomes and
beside the other intervals: [chosen-arm-coverage.md](chosen-arm-coverage.md).
""",
    "randomization size": """## Size of the randomization test

Share of experiments without effect that are not rejected at 5 %: one minus the size. The adaptive
assignment itself is re-run 99 times an experiment, later waves following the outcomes, on a stated
subset of the designs.
""",
    "fisher": """## Fisher intervals by re-running the adaptive assignment

Two arms, normal outcomes, a constant effect of .5, 120 units in three waves, shares equal or by
Thompson sampling above .1. Each hypothesis that the inversion tries has 99 re-runs of its own. The
usual interval stands beside it.
""",
    "policies": """## Policies on fresh data

One wave, four arms with equal shares, policies fixed before; the policy gives half of the units the
first arm (.05 better there), the rest the best other arm, against that arm for all. The curves of
targeting and cost are in [personalization-coverage.md](personalization-coverage.md).
""",
}


def intro(rows, seconds):
    """What was run, with its repetitions by number of units, and its processor time."""
    by_units = {}
    for row in rows:
        if row[6] == "ate HC2":
            by_units.setdefault(row[5], []).append(row[7])
    told = "\n".join(
        f"- {units:,} units: {len(n)} of 108 designs, {min(n)} repetitions each"
        for units, n in sorted(by_units.items())
    )
    times = ", ".join(f"{part} {used:,.0f}" for part, used in seconds.items())
    return f"""# Coverage of every interval under adaptive designs

Four arms, binary outcomes (.3 in the first arm; no effect; near tie .38 and .40; clear winner
.5), equal shares in the first wave, then exploration or Thompson sampling on a beta posterior
that ignores clusters; clipping is the least share. 95 % intervals: of the three contrasts with
the first arm, and of the mean of the arm with the largest estimate. Under no effect one minus
coverage is the size of the test. In brackets the Monte Carlo error, from the spread between
repetitions; "none" is the share of experiments without the interval, which names its reason
instead (a share of exactly 0 or 1, or outcomes that do not vary).

Seed 20261125, version {__version__}, November 2026. The plan asks for 200 repetitions a design, 40
with 50,000 units; it goes on where it stopped. Run so far, with more for the first designs:

{told}

Processor seconds: {times};
together {sum(seconds.values()) / 60:.0f} minutes of one processor, half of that on two.

    python tests/coverage/interval_coverage.py FOLDER --jobs 2 [--scheduler ADDRESS]
    python tests/coverage/interval_coverage.py FOLDER --table docs/evidence/interval-coverage

How to read it: `ate` and `chosen arm, unweighted, usual` are what one would have without
correction (with clusters: `ate HC2` ignores them too). `beta_binomial` and `hierarchical_binomial`
are credible intervals of models: they hold on average over their prior, and stand here for single
truths to tell what that means. Every design by itself is in the CSV.
"""


def margin(rows, names, place):
    """Coverage by one thing that varies, over all others."""
    levels = sorted({row[place] for row in rows}, key=str if place in {0, 2} else float)
    table = [[cell(_of(rows, name, place, level)) for level in levels] for name in names]
    return _table(f"by {KEYS[place]}", levels, names, table)


def lengths(rows, names):
    """Mean length of each interval by number of units, over that of `ate HC2`."""
    levels = sorted({row[5] for row in rows})
    table, names = [], [name for name in names if "all looks" not in name]
    for name in names:
        found = []
        for level in levels:
            own = {row[:6]: row[11] for row in _of(rows, name, 5, level)}
            base = {row[:6]: row[11] for row in _of(rows, "ate HC2", 5, level)}
            ratio = [own[key] / base[key] for key in own if not np.isnan(own[key])]
            found.append(f"{np.mean(ratio):.2f}" if ratio else "")
        table.append(found)
    kept = [(name, row) for name, row in zip(names, table, strict=True) if any(row)]
    return _table(
        "mean length over that of ate HC2, by units", levels, [k for k, _ in kept],
        [row for _, row in kept],
    )  # fmt: skip


def single(rows, n_keys):
    """One line a design and interval."""
    keys = KEYS if n_keys == 6 else ("effect", "clusters", "units")
    lines = ["| " + " | ".join((*keys, "interval", "coverage", "repetitions")) + " |"]
    lines.append("|---" * (n_keys + 3) + "|")
    for row in sorted(rows, key=lambda row: (row[n_keys], *map(str, row[:n_keys]))):
        shown = (*row[: n_keys + 1], cell([_six(row, n_keys)]), row[n_keys + 1])
        lines.append("| " + " | ".join(map(str, shown)) + " |")
    return "\n".join([*lines, ""])


def _six(row, n_keys):
    return (None,) * (6 - n_keys) + tuple(row)


def _of(rows, name, place, level):
    return [row for row in rows if row[place] == level and row[6] == name]


def _table(title, levels, names, table):
    lines = [
        f"| {title} | " + " | ".join(map(str, levels)) + " |",
        "|---" * (len(levels) + 1) + "|",
    ]
    lines += [
        f"| {name} | " + " | ".join(row) + " |" for name, row in zip(names, table, strict=True)
    ]
    return "\n".join([*lines, ""])


def cell(rows):
    """Coverage with its Monte Carlo error, and the share without the interval."""
    n, known = sum(row[7] for row in rows), sum(row[8] for row in rows)
    if not known:
        return "none"
    rate = sum(row[8] * row[9] for row in rows if row[8]) / known
    variance = sum(row[8] * np.nan_to_num(row[10]) ** 2 for row in rows if row[8]) / known
    error = max(np.sqrt(variance / known), 0.5 / known)
    missing = f", none {1 - known / n:.0%}" if known < n else ""
    return f"{rate:.3f} ({error:.3f}{missing})"
