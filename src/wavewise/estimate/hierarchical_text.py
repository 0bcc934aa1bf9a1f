"""The hierarchical binomial posterior in words and tables."""

from typing import TYPE_CHECKING

import numpy as np

from wavewise.results import FloatArray

if TYPE_CHECKING:
    from wavewise.estimate.hierarchical_posterior import HierarchicalBinomial

__all__ = ["summary"]


def summary(post: "HierarchicalBinomial") -> str:
    """Coefficients as in Table 1, decision quantities as in Table 3, a sentence, assumptions."""
    return "\n".join([*_coefficients(post), "", *_decision(post), "", *_sentences(post)])


def _coefficients(post: "HierarchicalBinomial") -> list[str]:
    width = max(3, *(len(name) for name in post.arms))
    bounds = post.cred_int()
    lines = [f"{'Arm':<{width}}  {'Mean':>7}  95% HPD interval of beta (* holds no 0)"]
    lines += [
        f"{name:<{width}}  {mean:>7.2f}{' ' if low < 0 < high else '*'} [{low:.2f}; {high:.2f}]"
        for name, mean, (low, high) in zip(post.arms, post.mean, bounds.tolist(), strict=True)
    ]
    return [*lines, f"{'Rows':<{width}}  {post.cells.n_rows:>7,}"]


def _decision(post: "HierarchicalBinomial") -> list[str]:
    width = max(3, *(len(name) for name in post.arms))
    trials, successes = post.cells.trials.sum(axis=0), post.cells.successes.sum(axis=0)
    head = (
        f"{'Arm':<{width}}  {'Trials':>9}  {'Share':>7}  {'Mean':>6}  {'SD':>5}  "
        f"{'Prob. best':>10}  {'Success':>7}  {'Regret':>7}"
    )
    columns = (
        trials,
        successes / trials,
        post.mean,
        post.sd,
        post.prob_optimal,
        post.success_prob,
        post.policy_regret,
    )
    return [head, *(_row(n, r, width) for n, r in zip(post.arms, np.array(columns).T, strict=True))]


def _row(name: str, row: FloatArray, width: int) -> str:
    trials, share, mean, sd, best, success, regret = row.tolist()
    return (
        f"{name:<{width}}  {trials:>9,.0f}  {share:>7.2%}  {mean:>6.2f}  {sd:>5.2f}  "
        f"{best:>10.2%}  {success:>7.2%}  {regret:>7.2%}"
    )


def _sentences(post: "HierarchicalBinomial") -> list[str]:
    chosen = int(np.argmin(post.policy_regret))
    d = post.diagnostics
    where = {
        "new": "over new clusters, drawn from the same normal distribution",
        "these": "over the clusters of the data, by their sizes",
    }[post.clusters]
    lines = [
        f"{post.arms[chosen]} has the lowest expected policy regret, "
        f"{post.policy_regret[chosen]:.2%} of success probability, and is best with probability "
        f"{post.prob_optimal[chosen]:.4g}.",
        f"Standard deviation of cluster effects (kappa): {post.kappa_mean:.2f}, posterior sd "
        f"{post.kappa_sd:.2f}; {len(post.cells.clusters):,} clusters.",
        f"Success probabilities are means {where}. Priors: {post.prior}.",
        _assumed(post),
        f"Computed by {d.method}: {d.n_points:,} points, equally good as {d.ess:,.0f}"
        + ("" if d.pareto_k is None else f", Pareto k {d.pareto_k:.2f}")
        + ".",
    ]
    lines += [f"Check: {check.text}" for check in post.checks if check.passed is False]
    return lines


def _assumed(post: "HierarchicalBinomial") -> str:
    common = "the same arm effects in every cluster, normal cluster effects on the log-odds scale"
    if post.overdispersion is None:
        return (
            f"Assumed: {common}, and trials of a unit that are independent given its cluster "
            "(posterior_predictive_check tells)."
        )
    rho = float(np.mean(post.rho_draws))
    return f"Assumed: {common}; trials of one unit correlate by rho, posterior mean {rho:.2f}."
