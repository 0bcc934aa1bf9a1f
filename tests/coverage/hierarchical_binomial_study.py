"""Simulation-based calibration of the hierarchical binomial model.

    python tests/coverage/hierarchical_binomial_study.py [n_sims]

Parameters are drawn from the prior, data from the model, and the place of the true value in its
posterior is recorded: uniform if and only if the posterior is right on average over the prior
(Talts et al. 2018; Cook, Gelman and Rubin 2006). Writes docs/evidence/, and is what the tests run.
"""

import sys
from pathlib import Path

import numpy as np
from scipy import stats

from wavewise.errors import EstimationError
from wavewise.estimate.binomial.model import hierarchical_binomial
from wavewise.estimate.binomial.priors import BinomialPrior, HalfNormal, HalfT, Normal

SHAPES = {
    # name: (arms, clusters, units per cluster, trials a unit, prior, overdispersed)
    "few clusters": (2, 4, 12, 2, BinomialPrior(Normal(1.5), HalfNormal(1)), False),
    "schools": (3, 30, 9, 9, BinomialPrior(Normal(1.5), HalfNormal(1)), False),
    "yes or no": (2, 20, 10, 1, BinomialPrior(Normal(1.5), HalfNormal(1)), False),
    "rare": (2, 10, 20, 1, BinomialPrior(Normal(3), HalfT(3, 1)), False),
    "overdispersed": (2, 12, 12, 6, BinomialPrior(Normal(1.5), HalfNormal(1)), True),
}
QUANTITIES = ("beta", "contrast", "kappa", "success_prob")


def draw_kappa(prior, rng):
    if isinstance(prior, HalfNormal):
        return abs(rng.normal(0, prior.scale))
    return abs(prior.scale * rng.standard_t(prior.df))


def one(shape, rng):
    """Truth, and the rows of one data set."""
    n_arms, n_clusters, n_units, n_trials, prior, overdispersed = shape
    beta, kappa = rng.normal(0, prior.beta.sd, n_arms), draw_kappa(prior.kappa, rng)
    rho = rng.random() if overdispersed else None
    arm = np.tile(np.arange(n_units) % n_arms, n_clusters)
    cluster = np.repeat(np.arange(n_clusters), n_units)
    prob = 1 / (1 + np.exp(-(beta[arm] + kappa * rng.normal(size=n_clusters)[cluster])))
    if overdispersed:
        phi = (1 - rho) / rho
        prob = rng.beta(np.maximum(prob * phi, 1e-12), np.maximum((1 - prob) * phi, 1e-12))
    rows = rng.binomial(n_trials, prob), np.full(arm.size, n_trials), arm, cluster
    return (beta, kappa, rho), rows


def success_prob(beta, kappa):
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    return np.sum(weights / (1 + np.exp(-beta - kappa * nodes))) / weights.sum()


def places(name, n_sims, seed):
    """Place of the truth in its posterior, by quantity, and cover of the 90% HPD interval."""
    shape = SHAPES[name]
    rng = np.random.default_rng(seed)
    out = {quantity: [] for quantity in QUANTITIES}
    covered, failed = [], 0
    for _ in range(n_sims):
        (beta, kappa, rho), rows = one(shape, rng)
        options = {"overdispersion": "beta-binomial"} if shape[5] else {}
        try:
            post = hierarchical_binomial(*rows, prior=shape[4], rng=rng, n_draws=512, **options)
        except EstimationError:  # counted: a study that hides failures proves nothing
            failed += 1
            continue
        w, points = post.weights, post.points
        n_arms = len(post.arms)
        out["beta"].append(w @ (points[:, 0] < beta[0]))
        out["contrast"].append(w @ (points[:, 1] - points[:, 0] < beta[1] - beta[0]))
        out["kappa"].append(w @ (points[:, n_arms] < np.log(kappa)))
        truth = success_prob(beta[0], kappa)
        out["success_prob"].append(w @ (post.point_success_prob[:, 0] < truth))
        if rho is not None:
            place = w @ (points[:, n_arms + 1] < np.log(rho / (1 - rho)))
            out.setdefault("rho", []).append(place)
        low, high = post.cred_int(0.9)[0]
        covered.append(low <= beta[0] <= high)
    return {q: np.array(v) for q, v in out.items()}, np.mean(covered), failed


def main():
    n_sims = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = 20_260_101
    lines = [
        f"| shape | {' | '.join([*QUANTITIES, 'rho'])} | 90% HPD of beta covers | not fitted |",
        "|---|" + "---|" * 7,
    ]
    for name in SHAPES:
        found, covers, failed = places(name, n_sims, seed)
        cells = [
            f"{stats.kstest(found[q], 'uniform').pvalue:.3f}" if q in found else ""
            for q in [*QUANTITIES, "rho"]
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {covers:.3f} | {failed} |")
        print(lines[-1], flush=True)
    table = "\n".join(lines)
    page = Path(__file__).parents[2] / "docs" / "evidence" / "hierarchical-binomial-calibration.md"
    head, _, tail = page.read_text().partition("<!-- table -->")
    _, _, tail = tail.partition("<!-- end -->")
    page.write_text(f"{head}<!-- table -->\n{table}\n<!-- end -->{tail}")


if __name__ == "__main__":
    main()
