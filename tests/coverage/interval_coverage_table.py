"""The table of interval coverage, written from the repetitions that were collected."""

import csv
from pathlib import Path

import numpy as np

from wavewise import __version__

MOST_ERROR, LEAST_REPETITIONS = 0.007, 1000
HEAD = ("part", "design", "interval", "repetitions", "with_interval", "coverage", "mc_error",
        "mean_length")  # fmt: skip
TITLES = {
    "one wave": "One wave with fixed counts",
    "weights": "One wave, sampling weights",
    "adaptive": "Adaptive waves, 95 % intervals of contrasts and of the arm that came out best",
    "adaptive, starved": "Adaptive waves with starved arms, rare outcomes or few clusters",
    "looks": "Confidence sequences",
    "policies": "Policies on fresh data",
    "randomization size": "Randomization test: experiments without effect that are not rejected",
    "fisher": "Fisher intervals by re-running the adaptive assignment",
    "bootstrap": "The chosen arm by the parametric bootstrap, with clusters",
}


def write(tables, seconds, target, keys):
    """``target.csv`` with every row that is sure enough, ``target.md`` with worst and mean."""
    target = Path(target)
    rows, unsure = {}, 0
    for part, found in tables.items():
        n_keys = len(keys[part])
        for row in found:
            cell = _row(part, keys[part], row, n_keys)
            if _is_sure(cell):
                rows.setdefault(part, []).append(cell)
            else:
                unsure += 1
    with target.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        for part in rows.values():
            for cell in sorted(part, key=lambda cell: cell[:3]):
                writer.writerow([*cell[:5], *(_text(x) for x in cell[5:])])
    target.with_suffix(".md").write_text(page(rows, unsure, seconds), encoding="utf-8")


def _row(part, keys, row, n_keys):
    design = ", ".join(
        str(value) if isinstance(value, str) else f"{key} {value:g}"
        for key, value in zip(keys, row[:n_keys], strict=True)
    )
    interval, n, known, rate, spread, length = row[n_keys:]
    error = max(spread / known**0.5, 0.5 / known) if known > 1 else np.nan
    return part, design, interval, n, known, rate, error, length


def _is_sure(cell):
    """Enough repetitions with the interval, and a Monte Carlo error that tells something."""
    return cell[4] >= LEAST_REPETITIONS and cell[6] <= MOST_ERROR


def _text(value):
    return "" if np.isnan(value) else f"{value:.4f}"


def page(rows, unsure, seconds):
    """Each interval by part: its worst design beside its average over designs."""
    parts = [intro(unsure, seconds)]
    for part, title in TITLES.items():
        if part in rows:
            parts += [f"## {title}\n", worst_and_mean(rows[part])]
    return "\n".join(parts)


def intro(unsure, seconds):
    """What was run, and how to go on."""
    used = ", ".join(f"{part} {time:,.0f}" for part, time in seconds.items() if time)
    left = (
        f"{unsure} rows are not printed: fewer than {LEAST_REPETITIONS:,} repetitions with the\n"
        f"interval, or an error above {MOST_ERROR}. Parts of the plan without a section have not\n"
        "been run. The first command goes on with both.\n"
        if unsure
        else ""
    )
    return f"""# Coverage of intervals, the worst design beside the average

95 % intervals. No row has a Monte Carlo error above {MOST_ERROR} or fewer than
{LEAST_REPETITIONS:,} repetitions; where coverage is low, more are needed. *None*:
experiments of the worst design without the interval, which names its reason instead. Every design
by itself is in the CSV. Credible
intervals hold on average over their prior; they stand here for single truths to tell what that
means.

    python tests/coverage/interval_coverage.py FOLDER --jobs 2 [--part NAME] [--scheduler ADDRESS]
    python tests/coverage/interval_coverage.py FOLDER --table docs/evidence/interval-coverage

The plan is `tests/support/coverage_plan.py`: few designs, awkward ones among them. A run goes on
where it stopped.
{left}
Seed 20261125, version {__version__}, December 2026. Processor seconds: {used}.
"""


def worst_and_mean(cells):
    """One line an interval."""
    lines = ["| interval | designs | mean | worst | (error) | none | worst design | mean length |",
             "|---" * 8 + "|"]  # fmt: skip
    for name in sorted({cell[2] for cell in cells}):
        own = [cell for cell in cells if cell[2] == name]
        worst = min(own, key=lambda cell: cell[5])
        lengths = [cell[7] for cell in own if not np.isnan(cell[7])]
        length = f"{np.mean(lengths):.3f}" if lengths else ""
        missing = 1 - worst[4] / worst[3]
        lines.append(
            f"| {name} | {len(own)} | {np.mean([cell[5] for cell in own]):.3f} | {worst[5]:.3f} | "
            f"{worst[6]:.4f} | {f'{missing:.1%}' if missing else ''} | {worst[1]} | {length} |"
        )
    return "\n".join([*lines, ""])
