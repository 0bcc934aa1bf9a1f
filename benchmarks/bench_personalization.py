"""What personalized rules gain on designs like Peru's, by learner, and their squared errors.

    python benchmarks/bench_personalization.py [--designs NAME ...] [--learners NAME ...]
        [--seeds 4] [--trees 400] [--first-seed 0]

Thirteen covariates; a covariate with many zeros, a binary one, counts. Gains are those of each rule
over no message on 40,000 new units with known effects, in percentage points; squared errors are
those of its effects on the same units over those of the raw averages.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

N_COVARIATES, N_NEW = 13, 40_000


@dataclass(frozen=True)
class Design:
    """A first phase of messages with known effects."""

    n: int
    n_messages: int
    rate: float
    heterogeneity: float  # 0 none, .5 half, 1 strong
    shape: str = "smooth"  # or "step", "pairs" (additive in two messages), "common"

    def covariates(self, n: int, rng: np.random.Generator) -> np.ndarray:
        X = rng.normal(size=(n, N_COVARIATES))
        X[:, 0], X[:, 1] = X[:, 0] > 0, np.round(2 * X[:, 1])
        X[:, 4] = np.maximum(X[:, 4], 0)
        X[:, 5] = rng.poisson(2, n)
        return X

    def averages(self) -> np.ndarray:
        """Average effects in shares: the same list for every seed, up to 1.7 points at 42 %."""
        k = np.arange(self.n_messages)
        return 0.017 * self.scale * ((7 * k + 3) % self.n_messages) / (self.n_messages - 1)

    @property
    def scale(self) -> float:
        """At 2 % effects are a third of those at 42 %."""
        return 1.0 if self.rate > 0.1 else 0.35

    def effects(self, X: np.ndarray) -> np.ndarray:
        """True effects (n, n_messages): standard deviation about 2.8 points where strong."""
        k = np.arange(self.n_messages)
        pieces = np.column_stack(
            [
                np.tanh(X[:, 2]) / 0.63,
                (X[:, 0] - 0.5) * 2,
                np.tanh(X[:, 3] + X[:, 6]) / 0.72,
                (np.minimum(X[:, 5], 5) - 1.97) / 1.3,
                np.sin(X[:, 7] * 1.5) / 0.7,
            ]
        )
        if self.shape == "step":
            pieces = np.sign(pieces)
        if self.shape == "pairs":
            first, second = k // 4, k % 4
            own = pieces[:, first] + pieces[:, (second + 2) % 5]
        else:
            own = pieces[:, k % 5] + pieces[:, (k * 2 + 1) % 5] * np.where(k % 2, 1, -1)
        common = pieces[:, [1]] + pieces[:, [2]]
        if self.shape == "common":
            own = common
        size = 0.021 * self.scale * self.heterogeneity
        return self.averages() + size * (0.85 * own + 0.8 * common)

    def draw(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Covariates, arm codes (0 for no message), binary outcomes."""
        rng = np.random.default_rng([7, seed])
        X = self.covariates(self.n, rng)
        arm = rng.permutation(np.arange(self.n) % (self.n_messages + 1))
        base = self.rate * (1 + 0.4 * np.tanh(X[:, 8]) + 0.2 * np.tanh(X[:, 2]))
        tau = np.column_stack([np.zeros(self.n), self.effects(X)])
        chance = np.clip(base + tau[np.arange(self.n), arm], 0, 1)
        return X, arm, (rng.random(self.n) < chance) * 1.0


DESIGNS = {
    "20,000 16 arms 42 % none": Design(20_000, 16, 0.42, 0.0),
    "20,000 16 arms 42 % half": Design(20_000, 16, 0.42, 0.5),
    "20,000 16 arms 42 % strong": Design(20_000, 16, 0.42, 1.0),
    "20,000 16 arms 42 % strong step": Design(20_000, 16, 0.42, 1.0, "step"),
    "20,000 16 pairs 42 % strong": Design(20_000, 16, 0.42, 1.0, "pairs"),
    "20,000 4 arms 2 % none": Design(20_000, 4, 0.02, 0.0),
    "20,000 4 arms 2 % half": Design(20_000, 4, 0.02, 0.5),
    "20,000 4 arms 2 % strong": Design(20_000, 4, 0.02, 1.0),
    "50,000 16 arms 42 % none": Design(50_000, 16, 0.42, 0.0),
    "50,000 16 arms 42 % half": Design(50_000, 16, 0.42, 0.5),
    "50,000 16 arms 42 % strong": Design(50_000, 16, 0.42, 1.0),
    "50,000 16 arms 42 % strong common": Design(50_000, 16, 0.42, 1.0, "common"),
    "50,000 16 pairs 42 % half": Design(50_000, 16, 0.42, 0.5, "pairs"),
    "50,000 4 arms 2 % strong": Design(50_000, 4, 0.02, 1.0),
    "100,000 16 arms 42 % none": Design(100_000, 16, 0.42, 0.0),
    "100,000 16 arms 42 % strong": Design(100_000, 16, 0.42, 1.0),
}


def learn(name: str, design: Design, data: Any, n_trees: int) -> Any:
    """A learner's result."""
    import wavewise as ww

    X, arm, outcome = data
    if design.shape == "pairs" and name == "forest of pairs":
        labels = [f"{k // 4}+{k % 4}" for k in range(16)]
    else:
        labels = [f"a{k:02d}" for k in range(design.n_messages)]
    names = np.array(["control", *labels])
    shares = dict.fromkeys(names, 1 / names.size)
    rng = np.random.default_rng(1)
    if name == "neighbours":
        return ww.estimate.neighbours(
            X, names[arm], outcome, control="control", propensity=shares, rng=rng
        )
    if name == "stack":
        return ww.estimate.effect_learner(
            X, names[arm], outcome, control="control", propensity=shares, rng=rng, n_trees=n_trees
        )
    options: dict[str, Any] = {"not shrunk": {"shrink": False}}.get(name, {})
    if name == "forest of pairs":
        options = {"pairs": "two-factor"}
    return ww.estimate.causal_forest(
        X, names[arm], outcome, control="control", propensity=shares, rng=rng,
        n_trees=n_trees, **options,
    )  # fmt: skip


def one(name: str, design: Design, seed: int, n_trees: int) -> dict[str, Any]:
    """Gain, squared error over that of raw averages, and seconds of one learner."""
    data = design.draw(seed)
    start = time.process_time()
    model = learn(name, design, data, n_trees)
    found = {"seconds": time.process_time() - start}
    X = design.covariates(N_NEW, np.random.default_rng([8, seed]))
    truth, effects = design.effects(X), np.asarray(model.effects(X))
    _, arm, outcome = data
    means = np.bincount(arm, outcome) / np.bincount(arm)
    raw = means[1:] - means[0]
    rows = np.arange(N_NEW)
    return found | {
        "gain": 100 * truth[rows, effects.argmax(axis=1)].mean(),
        "best_for_all": 100 * truth[:, raw.argmax()].mean(),
        "possible": 100 * truth.max(axis=1).mean(),
        "error": ((effects - truth) ** 2).mean() / ((raw - truth) ** 2).mean(),
        "kept": getattr(model, "weights", None) or getattr(model, "kept", {}),
        "size": getattr(model, "min_arm_leaf", None) or getattr(model, "k", None),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS))
    parser.add_argument("--learners", nargs="+", default=["forest", "not shrunk"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trees", type=int, default=400)
    args = parser.parse_args()
    print("| design | learner | gain | best for all | possible | error | kept | size | s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for label in args.designs:
        for name in args.learners:
            if name == "forest of pairs" and DESIGNS[label].shape != "pairs":
                continue
            seeds = range(args.first_seed, args.first_seed + args.seeds)
            rows = [one(name, DESIGNS[label], seed, args.trees) for seed in seeds]
            mean = {
                key: np.mean([row[key] for row in rows])
                for key in ("gain", "best_for_all", "possible", "error", "seconds")
            }
            spread = np.std([row["gain"] for row in rows]) / np.sqrt(max(len(rows) - 1, 1))
            kept = ", ".join(
                f"{np.mean([row['kept'][part] for row in rows]):.2f}" for part in rows[0]["kept"]
            )
            sizes = " ".join(str(row["size"]) for row in rows)
            print(
                f"| {label} | {name} | {mean['gain']:.2f} ({spread:.2f}) | "
                f"{mean['best_for_all']:.2f} | {mean['possible']:.2f} | {mean['error']:.2f} | "
                f"{kept} | {sizes} | {mean['seconds']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
