"""Coverage of intervals for the arm that came out best: arms, covariances, gaps and ties.

    python tests/coverage/winner_coverage.py 100000 > docs/evidence/winner-coverage.md

The ends of the one-sided interval depend on the covariance and the rank alone, so that they are
asked from `winner` once a design and compared with many draws.
"""

import sys

import numpy as np

from wavewise import __version__
from wavewise.estimate.adaptive.winner import bootstrap_curse, read_ranked, winner

SEED = 20261201
LEVEL = 0.95
ARMS = (2, 3, 4, 6, 16)


def covariances(n, rng):
    """By name; the last does not satisfy the condition, and takes the projection interval."""
    steps, mixed = np.arange(n), rng.normal(size=(n, n))
    spread = np.geomspace(1, 10, n)
    close = 0.8 ** np.abs(steps[:, None] - steps)
    any_corr = mixed @ mixed.T / n + 0.2 * np.eye(n)
    scale = np.sqrt(np.diag(any_corr))
    yield "equal variances", np.eye(n)
    yield "variances 1 to 10", np.diag(spread)
    yield "variances 1 to 10,000", np.diag(np.geomspace(1, 1e4, n))
    yield "control in common", np.eye(n) + 1.0
    yield "small control in common, variances 1 to 10", np.diag(spread) + 5.0
    yield "neighbours alike, .8", close
    yield "any correlations, equal variances", any_corr / np.outer(scale, scale)
    yield "shock with .9 of the variance", 0.1 * np.eye(n) + 0.9
    yield "negative", np.eye(n) - 0.95 / n
    yield "condition fails", close * np.outer(1 + steps % 2, 1 + steps % 2)


def means(n, sd):
    """Ties and gaps, in standard errors of the arms; with the steep ones in both directions."""
    zero = np.zeros(n)
    for gap in (0.0, 0.5, 1.0, 2.0, 4.0):
        for place in sorted({0, n - 1}):
            ahead = zero.copy()
            ahead[place] = gap * sd[place]
            yield ahead
    yield np.where(np.arange(n) < 2, 2.0 * sd, 0.0)
    yield np.linspace(0, 2, n) * sd
    yield -np.linspace(0, 2, n) * sd
    yield np.where(np.arange(n) == 0, 2.0 * sd[-1], 0.0)


def ends_of(cov, **options):
    """Distances of the ends from the estimate in standard errors, and the kind of interval."""
    found = winner(np.zeros(len(cov)), cov, level=LEVEL, **options)
    kind = found.interval
    return [(found.estimate - found.conf_low) / found.std_error,
            (found.conf_high - found.estimate) / found.std_error, kind]  # fmt: skip


def rows(n_draws):
    """A row a covariance and number of arms: worst coverages over means."""
    for n in ARMS:
        rng = np.random.default_rng([SEED, n])
        for name, cov in covariances(n, rng):
            sd = np.sqrt(np.diag(cov))
            error = rng.normal(size=(n_draws, n)) @ np.linalg.cholesky(cov).T
            low, high, kind = ends_of(cov)
            few = min(3, n)
            joint = [ends_of(cov, rank=r, n_best=few) for r in range(few)]
            middle, second = n // 2, ends_of(cov, rank=n // 2)
            found = []
            for mean in means(n, sd):
                order = np.argsort(-(mean + error), axis=1)
                z = np.take_along_axis(error / sd, order, axis=1)
                best = z[:, 0]
                found.append([
                    np.mean((best <= low) & (best >= -high)),
                    np.mean(np.abs(best) <= 1.959964),
                    np.mean((z[:, middle] <= second[0]) & (z[:, middle] >= -second[1])),
                    np.mean(np.all([(z[:, r] <= joint[r][0]) & (z[:, r] >= -joint[r][1])
                                    for r in range(few)], axis=0)),
                ])  # fmt: skip
            yield n, name, kind, low + high, np.array(found)


def shares(n_draws):
    """Discrete outcomes: shares of 40 units at one half tie at the top again and again."""
    rng = np.random.default_rng([SEED, 0])
    for n in (2, 4, 16):
        share = rng.binomial(40, 0.5, size=(n_draws, n)) / 40
        low, high, _ = ends_of(np.eye(n))
        best, sd = share.max(axis=1), np.sqrt(0.25 / 40)
        tied = np.mean((share == best[:, None]).sum(axis=1) > 1)
        miss = np.mean((best - low * sd > 0.5) | (best + high * sd < 0.5))
        yield n, tied, 1 - miss


def biases(n_draws):
    """Mean error of the usual and the corrected estimate, and how often hybrids exclude X_j."""
    for n in (2, 4, 16):
        for gap in (0.0, 1.0, 4.0):
            rng = np.random.default_rng([SEED, n, int(gap)])
            mean = np.where(np.arange(n) == 0, gap, 0.0)
            x = mean + rng.normal(size=(n_draws, n))
            usual = x.max(axis=1) - mean[x.argmax(axis=1)]
            curse = np.array([bootstrap_curse(read_ranked(row, np.ones(n), 0)) for row in x])
            hybrid = [winner(row, np.ones(n), method="hybrid") for row in x]
            out = np.mean([not h.conf_low <= h.naive_estimate <= h.conf_high for h in hybrid])
            middle = np.array([h.estimate - mean[h.arm] for h in hybrid])
            length = np.mean([h.conf_high - h.conf_low for h in hybrid])
            errors = (usual, usual - curse, middle)
            both = [part for e in errors for part in (e.mean(), np.sqrt((e**2).mean()))]
            low, high, _ = ends_of(np.eye(n))
            yield n, gap, *both, out, length, low + high


def main():
    """Write the page."""
    n_draws = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    error = np.sqrt(LEVEL * (1 - LEVEL) / n_draws)
    print(f"""# Coverage of intervals for the arm that came out best

`winner(..., method="one-sided", level=0.95)`: estimates are normal with the covariance named, 14
sets of true means each: all tied; the first or last arm ahead by .5, 1, 2 or 4 of its standard
errors; two ahead; staircases up and down. {n_draws:,} draws per cell: Monte Carlo error at most
{error:.4f}. *Least*: the worst set of means. *Middle*: the arm at rank n / 2, by itself. *Best
three*: all of the best three (two) arms at once, `n_best=3`.

    python tests/coverage/winner_coverage.py {n_draws} > docs/evidence/winner-coverage.md

Seed {SEED}, version {__version__}, December 2026.
""")
    print("| arms | covariance | interval used | length, s.e. | least | mean | usual, least "
          "| middle, least | best three, least |")  # fmt: skip
    print("|---" * 9 + "|")
    worst = 1.0
    for n, name, kind, length, found in rows(n_draws):
        least, usual, middle, few = found.min(axis=0)
        worst = min(worst, least, middle, few)
        print(f"| {n} | {name} | {kind} | {length:.2f} | {least:.4f} | {found[:, 0].mean():.4f} | "
              f"{usual:.4f} | {middle:.4f} | {few:.4f} |")  # fmt: skip
    print(f"\nThe least of all cells is {worst:.4f}.\n\n## Ties of discrete outcomes\n")
    print("Shares of 40 units, all arms at one half, variances known.\n")
    print("| arms | tied at the top | coverage, one-sided |\n|---|---|---|")
    for n, tied, held in shares(n_draws):
        print(f"| {n} | {tied:.3f} | {held:.4f} |")
    n_small = max(n_draws // 50, 50)
    print(f"""
## Estimates

Independent arms with variance 1, the first ahead by a gap; mean and root mean squared error of the
usual estimate, of the one less its bootstrap curse, and of the hybrid's median-unbiased one;
{n_small:,} experiments (Monte Carlo error of a mean about {1 / n_small**0.5:.3f}). *Excludes*: how
often the hybrid interval excludes the usual estimate.
""")
    print("| arms | gap | usual: mean, rms | corrected: mean, rms | median-unbiased: mean, rms "
          "| excludes | hybrid length | one-sided length |")  # fmt: skip
    print("|---" * 8 + "|")
    for n, gap, a, b, c, d, e, f, out, length, ours in biases(n_small):
        print(f"| {n} | {gap:g} | {a:.2f}, {b:.2f} | {c:.2f}, {d:.2f} | {e:.2f}, {f:.2f} | "
              f"{out:.3f} | {length:.2f} | {ours:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
