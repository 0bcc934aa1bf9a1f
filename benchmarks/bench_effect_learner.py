"""Squared errors of `effect_learner` and its learners on published designs, and its time.

    python benchmarks/bench_effect_learner.py error [--units 500 2000] [--repetitions 20]
        [--designs A B C D eq28 eq29] [--first-seed 0] [--trees 500]
    python benchmarks/bench_effect_learner.py speed [--units 100000] [--arms 16]

Designs: Wager and Athey (2018), eq. 28 and 29; Nie and Wager (2021), section 6, setups A to D. They
are written out in docs/methods/effect-learners.md. Errors are those of the effects of 4,000 new
units; the ratio is the stack's mean error over the least mean error of a single learner.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np

SINGLE = ("forest", "r", "dr", "t")


def steep(x, top, rate, middle):
    return top / (1 + np.exp(-rate * (x - middle)))


def design(name: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Covariates, propensity of treatment, baseline and effect."""
    if name in {"eq28", "eq29"}:
        X = rng.random((n, 10))
        parts = (
            steep(X[:, :2], 2, 12, 1 / 2) if name == "eq29" else 1 + steep(X[:, :2], 1, 20, 1 / 3)
        )
        return X, np.full(n, 0.5), np.zeros(n), parts.prod(axis=1)
    X = rng.random((n, 6)) if name == "A" else rng.normal(size=(n, 6))
    x = X.T
    if name == "A":
        wave = np.sin(np.pi * x[0] * x[1])
        base = wave + 2 * (x[2] - 0.5) ** 2 + x[3] + 0.5 * x[4]
        return X, np.clip(wave, 0.1, 0.9), base, (x[0] + x[1]) / 2
    if name == "B":
        base = np.maximum(np.maximum(x[0] + x[1], x[2]), 0) + np.maximum(x[3] + x[4], 0)
        return X, np.full(n, 0.5), base, x[0] + np.log1p(np.exp(x[1]))
    if name == "C":
        base = 2 * np.log1p(np.exp(x[0] + x[1] + x[2]))
        return X, 1 / (1 + np.exp(x[1] + x[2])), base, np.ones(n)
    u, v = np.maximum(x[0] + x[1] + x[2], 0), np.maximum(x[3] + x[4], 0)
    return X, 1 / (1 + np.exp(-x[0]) + np.exp(-x[1])), (u + v) / 2, u - v


def one(name: str, n: int, seed: int, n_trees: int) -> dict[str, float]:
    """Squared errors of one repetition, and how often 1.96 spreads hold the effect."""
    import wavewise as ww

    rng = np.random.default_rng([19, n, seed])
    X, e, base, tau = design(name, n, rng)
    treated = rng.random(n) < e
    y = base + (treated - 0.5) * tau + rng.normal(size=n)
    arm, shares = np.where(treated, "t", "c"), {"c": 1 - e, "t": e}
    found = ww.estimate.effect_learner(
        X, arm, y, control="c", propensity=shares, rng=rng, n_trees=n_trees
    )
    new, _, _, truth = design(name, 4000, np.random.default_rng([20, n, seed]))
    model = found._model
    alone = model.averages[0] + model.deviations(new)[:, :, 0]
    error = ((alone - truth) ** 2).mean(axis=1)
    stack = found.effects(new)[:, 0] - truth
    return {
        **dict(zip(SINGLE, error.tolist(), strict=True)),
        "stack": float((stack**2).mean()),
        "within": float((np.abs(stack) < 1.96 * found.std_error(new)[:, 0]).mean()),
        "variance": float(y.var()),
        **{f"weight {k}": v for k, v in found.weights.items()},
    }


def errors(names: list[str], units: list[int], repetitions: range, n_trees: int) -> Iterator[str]:
    """Rows of the table."""
    for name in names:
        for n in units:
            start = time.process_time()
            rows = [one(name, n, seed, n_trees) for seed in repetitions]
            mean = {k: np.mean([row[k] for row in rows]) for k in rows[0]}
            best = min(mean[k] for k in SINGLE)
            mc = np.std([row["stack"] for row in rows], ddof=1) / np.sqrt(len(rows))
            cells = [f"{mean[k]:.4f}" for k in SINGLE]
            weights = " ".join(f"{mean[f'weight {k}']:.2f}" for k in SINGLE)
            yield (
                f"| {name} | {n:,} | {' | '.join(cells)} | {mean['stack']:.4f} ({mc:.4f}) | "
                f"{mean['stack'] / best:.2f} | {(mean['stack'] - best) / mean['variance']:.4f} | "
                f"{mean['stack'] / mean['forest']:.2f} | {weights} | {mean['within']:.2f} | "
                f"{(time.process_time() - start) / len(rows):.1f} |"
            )


def speed(n: int, n_arms: int) -> str:
    """Seconds of wall time and of processors, after compilation."""
    import wavewise as ww

    for size in (2000, n):
        rng = np.random.default_rng(1)
        X, arm = rng.normal(size=(size, 13)), rng.integers(0, n_arms + 1, size)
        X[:, 0], X[:, 1] = X[:, 0] > 0, np.round(2 * X[:, 1])
        names = np.array(["control", *(f"a{k:02d}" for k in range(1, n_arms + 1))])
        chance = 0.42 + 0.02 * X[:, 2] * (arm % 4 == 1) + 0.03 * (arm > 0) * (X[:, 0] > 0)
        y = (rng.random(size) < chance) * 1.0
        shares = dict.fromkeys(names, 1 / names.size)
        wall, processors = time.perf_counter(), time.process_time()
        ww.estimate.effect_learner(X, names[arm], y, control="control", propensity=shares, rng=rng)
        wall, processors = time.perf_counter() - wall, time.process_time() - processors
    return f"{n:,} units, {n_arms} arms: {wall:.1f} s, {processors:.1f} s of processors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["error", "speed"])
    parser.add_argument("--designs", nargs="+", default=["eq28", "eq29", "A", "B", "C", "D"])
    parser.add_argument("--units", type=int, nargs="+")
    parser.add_argument("--arms", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trees", type=int, default=500)
    a = parser.parse_args()
    if a.what == "speed":
        print(speed((a.units or [100_000])[0], a.arms))
        return
    print(
        "| design | units | forest | R | DR | T | stack | ratio | excess | to forest "
        "| weights | within 1.96 | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    seeds = range(a.first_seed, a.first_seed + a.repetitions)
    for row in errors(a.designs, a.units or [500, 2000], seeds, a.trees):
        print(row, flush=True)


if __name__ == "__main__":
    main()
