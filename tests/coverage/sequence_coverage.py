"""Confidence sequences at all looks together: `python tests/coverage/sequence_coverage.py [N]`.

Prints the table of docs/evidence/confidence-sequences.md. Coverage is that of the contrast that
is missed most often, over all looks; lengths are medians at the last look, and as a multiple of
the interval for one look that was fixed before.
"""

import sys
from dataclasses import dataclass

import numpy as np

import wavewise as ww
from wavewise.estimate.adaptive import confidence_sequence as cs
from wavewise.estimate.adaptive.betting import wealth
from wavewise.estimate.adaptive.data import read_observed

SEED = 20261201
METHODS = ("block", "betting", "planned", "asymptotic")


@dataclass(frozen=True)
class Design:
    """Levels by wave (n_waves,), effects of arms, and how they are drawn."""

    level: tuple[float, ...]
    effects: tuple[float, ...]
    n_units: int
    rule: str = "thompson"
    floor: float = 0.05
    outcome: str = "binary"
    cluster_size: int = 1
    n_strata: int = 1
    options: tuple[tuple[str, object], ...] = ()
    methods: tuple[str, ...] = METHODS

    def draw(self, rng):
        """Outcome, arm, propensities, wave, cluster and stratum of every unit."""
        n_waves, n_arms = len(self.level), len(self.effects)
        per_wave = self.n_units // n_waves
        n_drawn = per_wave // self.cluster_size
        good, n = np.ones(n_arms), np.full(n_arms, 2.0)
        parts = []
        for w, level in enumerate(self.level):
            share = self.shares(w, good, n, rng)
            stratum = np.arange(n_drawn) * self.n_strata // n_drawn
            table = np.tile(share, (self.n_strata, 1))
            if self.n_strata == 2 and n_arms == 2:  # strata of different levels and shares
                table = np.array([[1 - 0.2, 0.2], [0.5, 0.5]])
            arm = np.concatenate(
                [self.dealt(table[s], int((stratum == s).sum()), rng) for s in range(self.n_strata)]
            )
            level_of = level + 0.3 * (stratum - 0.5) * (self.n_strata == 2)
            mean = level_of + np.array(self.effects)[arm]
            if self.cluster_size > 1:
                mean = np.clip(mean + rng.uniform(-0.2, 0.2, n_drawn), 0, 1)
            again = np.repeat(np.arange(n_drawn), self.cluster_size)
            y = self.outcomes(mean[again], rng)
            good += np.bincount(arm[again], y, n_arms)
            n += np.bincount(arm[again], minlength=n_arms)
            parts.append(
                (y, arm[again], table[stratum][again], np.full(again.size, w),
                 w * n_drawn + again, stratum[again])
            )  # fmt: skip
        return [np.concatenate(one) for one in zip(*parts, strict=True)]

    def shares(self, w, good, n, rng):
        """Thompson sampling on pooled outcomes, by beta or normal draws, with a floor."""
        n_arms = n.size
        if w == 0 or self.rule == "equal":
            return np.full(n_arms, 1 / n_arms)
        if self.outcome == "binary":
            draws = rng.beta(good, np.maximum(n - good, 0.5), (1000, n_arms))
        else:
            draws = good / n + rng.normal(size=(1000, n_arms)) / np.sqrt(n)
        best = np.bincount(draws.argmax(axis=1), minlength=n_arms) / 1000
        return self.floor + (1 - n_arms * self.floor) * best

    def dealt(self, share, n, rng):
        """Arms in counts within one of their expectation, in random order."""
        points = (np.arange(n) + rng.random()) / n
        return rng.permutation(np.searchsorted(np.cumsum(share)[:-1], points, side="right"))

    def outcomes(self, mean, rng):
        """One outcome per mean."""
        if self.outcome == "normal":
            return mean + rng.normal(size=mean.size)
        if self.outcome == "skewed":
            return mean + rng.exponential(size=mean.size)
        return (rng.random(mean.size) < mean).astype(float)


FLAT = (0.3,) * 10
DRIFT = tuple(np.linspace(0.1, 0.6, 10))
JUMPS = (0.2, 0.6) * 5
DESIGNS = {
    "200 units, .3": Design(FLAT, (0, 0), 200),
    "400 units, .3": Design(FLAT, (0, 0), 400),
    "1,000 units, .3": Design(FLAT, (0, 0), 1000),
    "1,000 units, equal shares, five waves": Design(FLAT[:5], (0, 0.1), 1000, "equal"),
    "1,000 units, .3 .3 .38 .4": Design(FLAT, (0, 0, 0.08, 0.1), 1000),
    "5,000 units, four arms at .02": Design((0.02,) * 10, (0, 0, 0, 0), 5000),
    "the same, baseline .02": Design((0.02,) * 10, (0, 0, 0, 0), 5000,
                                     options=(("baseline", 0.02),), methods=METHODS[:2]),
    "400 units, level .1 to .6": Design(DRIFT, (0, 0), 400),
    "1,000 units, levels .2 and .6 in turn, three arms": Design(JUMPS, (0, 0, 0.1), 1000),
    "1,000 units, two strata, shares .2 and .5": Design(FLAT, (0, 0), 1000, n_strata=2),
    "1,600 units, 160 clusters of 10": Design(FLAT[:8], (0, 0), 1600, cluster_size=10,
                                              methods=METHODS[:3]),
    "800 units, 40 clusters of 20": Design(FLAT[:5], (0, 0), 800, cluster_size=20, floor=0.2,
                                           methods=METHODS[:3]),
    "400 units, normal": Design((0.0,) * 10, (0, 0.2), 400, outcome="normal", methods=METHODS[2:]),
    "800 units, four arms, exponential": Design((0.0,) * 4, (0, 0, 0, 0), 800, outcome="skewed",
                                                methods=METHODS[2:]),
}  # fmt: skip


def held_by(method, units, names, truth, options):
    """Whether the truth of each contrast stays inside at all looks: the tests that are inverted."""
    n_contrasts = truth.size
    if method == "planned":
        cells, planned = cs._cells(units, names, method, 0.5), units.drawn.astype(float)
        bound = cs.obrien_fleming(np.cumsum(planned), 0.05)
        is_binary = np.isin(units.outcome, (0.0, 1.0)).all()
        weight, scale = np.sqrt(planned), np.sqrt(np.cumsum(planned))
        z = [
            cs.scores_of_waves(cells, (0, k + 1), is_binary)(np.full(1, truth[k]))[0] * weight
            for k in range(n_contrasts)
        ]
        return np.array([(np.abs(np.cumsum(one)) / scale <= bound).all() for one in z])
    cells = cs._cells(units, names, method, options.get("baseline", 0.5))
    make = cs.bets_on_blocks if method == "block" else cs.bets_on_scores
    bets = [make(cells, (0, k + 1), float(units.arm.size), 0.05) for k in range(n_contrasts)]
    found = [wealth(one, np.full(1, d))[0].max() for one, d in zip(bets, truth, strict=True)]
    return np.array(found) < np.log(20)


def run(design, n, rng):
    """By method: coverage of the worst contrast and of all; lengths, from the first 100."""
    n_contrasts, n_waves = len(design.effects) - 1, len(design.level)
    held = {m: np.zeros(n_contrasts) for m in design.methods}
    none = dict.fromkeys(design.methods, 0.0)
    length = {m: [] for m in design.methods}
    ratio = {m: [] for m in design.methods}
    truth = np.array(design.effects, dtype=float)[1:] - design.effects[0]
    names, options = [str(w) for w in range(n_waves)], dict(design.options)
    for number, one in enumerate(rng.spawn(n)):
        y, arm, share, wave, cluster, stratum = design.draw(one)
        groups = {"cluster": cluster} if design.cluster_size > 1 else {}
        groups |= {"strata": stratum} if design.n_strata > 1 else {}
        observed = read_observed(y, arm, range(n_contrasts + 1))
        units = cs._units(observed, share, wave, groups.get("strata"), groups.get("cluster"))
        if number < 100:
            fixed = ww.estimate.ate(y, arm, control=0, **groups).conf_int()[-n_contrasts:]
        for method in design.methods:
            ends = None
            if number < 100 or method == "asymptotic":
                given = options | (groups if method != "asymptotic" else {})
                found = ww.estimate.confidence_sequence(
                    y, arm, share, wave, method=method, arms=range(n_contrasts + 1), **given
                )
                ends = found.conf_int()[:, -n_contrasts:]
                missed = (ends[..., 0] > truth) | (ends[..., 1] < truth)
                inside = ~missed.any(axis=0)
                none[method] += np.isnan(ends[-1]).any() / (n if method == "asymptotic" else 100)
            if method != "asymptotic":
                exact = held_by(method, units, names, truth, options)
                assert ends is None or (inside >= exact).all()  # intervals are rounded outwards
                inside = exact
            held[method] += inside
            if number < 100 and not np.isnan(ends[-1]).any():
                last = ends[-1, :, 1] - ends[-1, :, 0]
                length[method].append(last)
                ratio[method].append(last / (fixed[:, 1] - fixed[:, 0]))
    return {
        m: (held[m].min() / n, held[m].mean() / n, np.median(length[m]) if length[m] else np.nan,
            np.median(ratio[m]) if ratio[m] else np.nan, none[m])
        for m in design.methods
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    picked = sys.argv[2:] or list(DESIGNS)
    print("| design | method | worst contrast | error | mean | length | of fixed | none |")
    print("|---|---|---|---|---|---|---|---|")
    for name in picked:
        rng = np.random.default_rng([SEED, list(DESIGNS).index(name)])
        for method, (worst, mean, length, ratio, none) in run(DESIGNS[name], n, rng).items():
            error = np.sqrt(max(worst * (1 - worst), 1 / n) / n)
            print(
                f"| {name} | {method} | {worst:.3f} | {error:.3f} | {mean:.3f} | {length:.3f} "
                f"| {ratio:.2f} | {none:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
