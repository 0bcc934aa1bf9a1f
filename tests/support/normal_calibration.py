"""Simulation-based calibration of the hierarchical normal model.

The constant and the arm effects have flat priors, and the likelihood only moves with them, so that
their ranks are uniform at any fixed truth; the standard deviations are drawn from their priors.
"""

from dataclasses import dataclass

import numpy as np

from normal_panels import Shape, simulate
from wavewise.errors import EstimationError
from wavewise.estimate.normal.model import hierarchical_normal
from wavewise.estimate.normal.priors import NormalPriors, SdPrior

PRIORS = NormalPriors(
    cluster=SdPrior(), unit=SdPrior(scale=2.0), noise=SdPrior(), period=SdPrior(scale=0.5),
    relative=False,
)  # fmt: skip
SCALES = np.array([1.0, 2.0, 1.0, 0.5])
SHAPES = {
    "60 units, 8 clusters, 3 periods, 20% missing": (60, 8, 3, (0.5, 1.0), 0.2),
    "40 units, 3 clusters, 2 periods, complete": (40, 3, 2, (0.5,), 0.0),
    "30 units, 30 clusters, 4 periods, 40% missing": (30, 30, 4, (0.5,), 0.4),
}
N_DRAWS = 2000
N_BINS = 20


@dataclass(frozen=True)
class Calibration:
    """Ranks of the truth among the draws, and whether HPD intervals held the arm effects.

    Parameters
    ----------
    ranks : dict of str to array, shape (n_runs,)
        Share of the draws below the truth, in [0, 1].
    covered : dict of float to array, shape (n_runs, n_arms)
        By the interval's probability.
    methods : dict of str to int
        Fits by method.
    """

    ranks: dict
    covered: dict
    methods: dict

    def p_values(self):
        """Chi-square test of uniform ranks, 20 bins, by parameter."""
        from scipy import special

        out = {}
        for name, rank in self.ranks.items():
            counts = np.histogram(rank, bins=N_BINS, range=(0, 1))[0]
            expected = rank.size / N_BINS
            statistic = ((counts - expected) ** 2 / expected).sum()
            out[name] = float(special.chdtrc(N_BINS - 1, statistic))
        return out


def calibrate(name: str, n_runs: int, seed: int) -> Calibration:
    """Data from the prior, fits, ranks."""
    n_units, n_clusters, n_periods, effects, missing = SHAPES[name]
    streams = np.random.SeedSequence(seed).spawn(n_runs)
    ranks, covered, methods = {}, {0.5: [], 0.8: [], 0.95: []}, {}
    for stream in streams:
        rng = np.random.default_rng(stream)
        sds = np.abs(rng.normal(size=4)) * SCALES
        rows = simulate(
            Shape(
                n_units, n_clusters, n_periods, effects, tuple(sds), missing, 0.4,
                int(rng.integers(2**31)), decimals=9,
            )
        )  # fmt: skip
        try:
            post = hierarchical_normal(**rows, prior=PRIORS, rng=rng, n_draws=N_DRAWS)
        except EstimationError:
            methods["refused"] = methods.get("refused", 0) + 1
            continue
        methods[post.diagnostics.method] = methods.get(post.diagnostics.method, 0) + 1
        truth = {"constant": (post.constant_draws, 46.0)}
        for k, effect in enumerate(effects):
            truth[f"effect {k + 1}"] = (post.draws[:, k], effect)
        columns = (
            post.cluster_sd_draws, post.unit_sd_draws, post.noise_sd_draws, post.period_sd_draws,
        )  # fmt: skip
        for part, draws, sd in zip(
            ("cluster", "unit", "noise", "period"), columns, sds, strict=True
        ):
            truth[f"{part} sd"] = (draws, sd)
        for parameter, (draws, true) in truth.items():
            ranks.setdefault(parameter, []).append((draws < true).mean())
        for prob, hits in covered.items():
            low, high = post.cred_int(prob).T
            hits.append((low <= effects) & (effects <= high))
    return Calibration(
        {k: np.array(v) for k, v in ranks.items()},
        {k: np.array(v) for k, v in covered.items()},
        methods,
    )


def page(n_runs: int, seed: int, date: str) -> str:
    """The evidence page: one table of p-values and one of coverage, by shape of the data."""
    import numpy
    import scipy

    from wavewise import __version__

    lines = [
        "# Calibration of the hierarchical normal posterior",
        "",
        "Standard deviations are drawn from the prior, data from the model, and each fit's draws",
        "give the rank of the truth. If the posterior is right, ranks are uniform: chi-square",
        f"test on {N_BINS} bins. Constant and effects have flat priors and enter by location",
        "alone, so that their ranks are uniform at any fixed truth. Coverage: HPD intervals of",
        "the arm effects over the same runs.",
        "",
        f"Runs a shape: {n_runs:,}. Draws a fit: {N_DRAWS:,}. Seed: {seed}. Date: {date}.",
        f"Wavewise {__version__}, NumPy {numpy.__version__}, SciPy {scipy.__version__}.",
        f"Priors: {PRIORS}.",
        "",
        "Made by `PYTHONPATH=tests/support python tests/support/normal_calibration.py "
        f"--runs {n_runs} --seed {seed}`;",
        "a small version of it runs with the tests (`tests/coverage/"
        "test_hierarchical_normal_calibration.py`).",
    ]
    for name in SHAPES:
        found = calibrate(name, n_runs, seed)
        p_values = found.p_values()
        lines += ["", f"## {name}", "", f"Fits by method: {found.methods}.", ""]
        lines += ["| parameter | p of uniform ranks | mean rank (.5) | sd of ranks (.2887) |"]
        lines += ["|---|---|---|---|"]
        for parameter, rank in found.ranks.items():
            p = p_values[parameter]
            lines.append(f"| {parameter} | {p:.3f} | {rank.mean():.4f} | {rank.std():.4f} |")
        lines += ["", "| HPD interval | covers | binomial error |", "|---|---|---|"]
        for prob, hits in found.covered.items():
            error = np.sqrt(prob * (1 - prob) / n_runs)
            shown = ", ".join(f"{share:.4f}" for share in hits.mean(axis=0))
            lines.append(f"| {prob:.0%} | {shown} | {error:.4f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    import argparse
    from datetime import UTC, datetime
    from pathlib import Path

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=21)
    options = parser.parse_args()
    root = Path(__file__).resolve().parents[2]
    text = page(options.runs, options.seed, f"{datetime.now(UTC):%Y-%m-%d}")
    (root / "docs/evidence/hierarchical-normal-calibration.md").write_text(text)


if __name__ == "__main__":
    main()
