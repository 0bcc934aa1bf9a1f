"""Coverage of every interval of the package under adaptive designs, in one table. Resumable.

    python tests/coverage/interval_coverage.py FOLDER [--passes 4] [--jobs 2] [--scheduler ADDRESS]
    python tests/coverage/interval_coverage.py FOLDER --table docs/evidence/interval-coverage

Each task is a design and a pass; what is in FOLDER is not done again. One pass is 20 repetitions (4
with 50,000 units). Tasks run by joblib: on this machine, or on Dask where an address is given.
"""

import argparse
import contextlib
import itertools
import json
from pathlib import Path

import numpy as np

import wavewise as ww
from wavewise.errors import WavewiseError
from wavewise.simulated.adaptive_waves import AdaptiveDesign, simulate_adaptive_waves

SEED = 20261125
LEVEL = 0.95
EFFECTS = {
    "no effect": [0.3, 0.3, 0.3, 0.3],
    "near tie": [0.3, 0.3, 0.38, 0.4],
    "clear winner": [0.3, 0.3, 0.3, 0.5],
}
WAVES, RULES, FLOORS = (2, 4, 10), ("exploration", "thompson"), (0.0, 0.01, 0.1)
CLUSTERS, UNITS = (0, 40), (200, 1000, 5000, 50_000)
CLUSTER_SD = 0.5


def designs():
    """Every design as a mapping of what varies."""
    keys = ("effect", "waves", "rule", "floor", "clusters", "units")
    for values in itertools.product(EFFECTS, WAVES, RULES, FLOORS, CLUSTERS, UNITS):
        yield dict(zip(keys, values, strict=True))


def made(cell):
    """The design of a cell."""
    return AdaptiveDesign(
        np.array(EFFECTS[cell["effect"]]),
        cell["units"],
        cell["waves"],
        cell["rule"],
        cell["floor"],
        n_clusters=cell["clusters"],
        cluster_sd=CLUSTER_SD if cell["clusters"] else 0.0,
    )


def repetition(design, rng):
    """For each interval, whether it holds the truth: mean over contrasts, or of the chosen arm."""
    d = simulate_adaptive_waves(design, rng)
    truth = d.truth[1:] - d.truth[0]
    cluster = d.cluster if design.n_clusters else None
    found = {}

    def keep(name, make, target=truth):
        try:
            bounds = np.asarray(make(), dtype=np.float64)
        except WavewiseError:
            found[name] = None
            return
        known = ~np.isnan(bounds).any(axis=-1)
        holds = (bounds[..., 0] <= target) & (target <= bounds[..., 1])
        found[name] = float(holds[known].mean()) if known.any() else None

    def contrasts(table):
        return table.conf_int()[-3:]

    own = d.propensity
    keep("OLS", lambda: ww.estimate.ate(
        d.outcome, d.arm, control=0, cluster=cluster, se="HC2" if cluster is None else "CR1",
    ).conf_int())  # fmt: skip
    keep("weighted_m", lambda: contrasts(
        ww.estimate.weighted_m(d.outcome, d.arm, own, cluster=cluster)))  # fmt: skip
    given = (d.outcome, d.arm, d.propensities, d.wave)
    for weights in ("two-point", "constant"):
        keep(f"adaptive_aipw {weights}", lambda w=weights: contrasts(
            ww.estimate.adaptive_aipw(*given, weights=w)))  # fmt: skip
    keep("batched_ols", lambda: contrasts(ww.estimate.batched_ols(d.outcome, d.arm, d.wave)))
    looks = None
    with contextlib.suppress(WavewiseError):
        looks = ww.estimate.confidence_sequence(d.outcome, d.arm, d.propensities, d.wave)
    keep("confidence_sequence, last look", lambda: _last(looks))
    found["confidence_sequence, all looks"] = None if looks is None else _all(looks, truth)
    _chosen(d, own, cluster, keep)
    return found


def _last(looks):
    return np.full((3, 2), np.nan) if looks is None else looks.conf_int()[-1, -3:]


def _all(looks, truth):
    """Share of contrasts whose intervals hold at every look."""
    bounds = looks.conf_int()[:, -3:]
    wrong = (bounds[..., 0] > truth) | (bounds[..., 1] < truth)
    return float((~wrong.any(axis=0)).mean())


def _chosen(d, own, cluster, keep):
    """Intervals of the arm whose estimate came out best."""
    for label, stabilizer in (("OLS", "none"), ("weighted_m", "sqrt")):
        try:
            table = ww.estimate.weighted_m(
                d.outcome, d.arm, own, stabilizer=stabilizer, cluster=cluster
            )
        except WavewiseError:
            table = None
        for method in ("usual", "conditional", "projection", "hybrid"):
            if label == "OLS" and method != "usual":
                continue

            def make(table=table, method=method):
                if table is None:
                    raise ww.errors.EstimationError("none")
                if method == "usual":
                    best = int(np.nanargmax(table.arm_estimate))
                    return _about(table.conf_int()[best], d.truth[best])
                w = table.winner(method)
                return _about((w.conf_low, w.conf_high), d.truth[w.arm])

            keep(f"chosen arm, {label}, {method}", make, 0.0)


def _about(conf, truth):
    return np.asarray(conf) - truth


def task(cell, number, folder):
    """One pass of a cell, written whole to its own file."""
    name = "-".join(str(value).replace(" ", "_") for value in cell.values())
    path = Path(folder) / f"{name}-{number}.json"
    if path.exists():
        return
    n = 4 if cell["units"] > 10_000 else 20
    position = list(designs()).index(cell)
    seeds = np.random.SeedSequence([SEED, position, number]).spawn(n)
    rows = [repetition(made(cell), np.random.default_rng(seed)) for seed in seeds]
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps({"cell": cell, "rows": rows}), encoding="utf-8")
    partial.replace(path)


def collected(folder):
    """Rows of the table: one a design and interval."""
    found = {}
    for path in sorted(Path(folder).glob("*.json")):
        part = json.loads(path.read_text("utf-8"))
        key = tuple(part["cell"].values())
        for row in part["rows"]:
            for name, value in row.items():
                found.setdefault((*key, name), []).append(value)
    for (*cell, name), values in found.items():
        known = [value for value in values if value is not None]
        yield (*cell, name, len(values), len(known), float(np.mean(known)) if known else None)


def main():
    """Run what is missing, or write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--scheduler")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.table:
        from interval_coverage_table import write

        write(list(collected(options.folder)), options.table)
        return
    from joblib import Parallel, delayed, parallel_config

    options.folder.mkdir(parents=True, exist_ok=True)
    config = contextlib.nullcontext()
    if options.scheduler:
        from distributed import Client

        Client(options.scheduler)
        config = parallel_config(backend="dask")
    with config:
        for number in range(options.passes):
            cheap_first = sorted(designs(), key=lambda cell: cell["units"])
            tasks = (delayed(task)(cell, number, options.folder) for cell in cheap_first)
            Parallel(n_jobs=options.jobs)(tasks)


if __name__ == "__main__":
    main()
