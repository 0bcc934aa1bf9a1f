"""Tables and sentences of the normal model."""

from typing import TYPE_CHECKING

import numpy as np

from wavewise.estimate import arm_draws
from wavewise.estimate.arm_draws import IntervalKind
from wavewise.results import FloatArray

if TYPE_CHECKING:
    import polars as pl

    from wavewise.estimate.hierarchical_normal import HierarchicalNormal

__all__ = ["effect_frame", "missing_frame", "summary_text"]


def effect_frame(post: "HierarchicalNormal", prob: float, kind: IntervalKind) -> "pl.DataFrame":
    """One row a term: the constant, then the arms."""
    import polars as pl  # noqa: PLC0415 - half the import time of the package

    draws = np.column_stack([post.constant_draws, post.draws])
    bounds = arm_draws.cred_int(draws, prob, kind)
    return pl.DataFrame(
        {
            "term": ["(constant)", *post.arms],
            "mean": draws.mean(axis=0),
            "sd": draws.std(axis=0),
            "cred_low": bounds[:, 0],
            "cred_high": bounds[:, 1],
            "interval": [kind] * draws.shape[1],
            "prob_positive": [None, *post.prob_positive.tolist()],
            "prob_optimal": [None, *post.prob_optimal.tolist()],
            "policy_regret": [None, *post.policy_regret.tolist()],
        }
    )


def missing_frame(post: "HierarchicalNormal") -> "pl.DataFrame":
    """One row an arm and period."""
    import polars as pl  # noqa: PLC0415

    n_periods = len(post.periods)
    names = (f"{post.control} or not yet treated", *post.arms)
    observed, missing = post.n_observed.ravel(), post.n_missing.ravel()
    frame = pl.DataFrame(
        {
            "arm": np.repeat(names, n_periods).tolist(),
            "period": list(post.periods) * len(names),
            "n_observed": observed,
            "n_missing": missing,
        }
    )
    rows = pl.col("n_observed") + pl.col("n_missing")
    share = pl.when(rows > 0).then(pl.col("n_observed") / rows)
    return frame.with_columns(observed_share=share)


def summary_text(post: "HierarchicalNormal", pooled: "HierarchicalNormal | None") -> str:
    """The layout of the published table: effects, then the pooled effect, then the sizes."""
    lines = _panel("Pooled treatment effect" if post.pooled else "Treatment effects", post)
    if pooled is not None:
        lines += ["", *_panel("Pooled treatment effect", pooled)]
    lines += [
        "",
        f"Scores {post.n_scores:,}, units {post.n_units:,}, clusters {post.n_clusters:,}, periods "
        f"{len(post.periods)}; missing scores {int(post.n_missing.sum()):,}.",
        _spread(post),
        *(f"{name}: {why}." for name, why in post.not_estimable.items()),
        _best(post),
        *(f"{c.name}: {c.text}." for c in post.checks if c.passed is not True),
        f"Posterior means and 95% HPD intervals; * zero outside. Prior: {post.prior}. Assumed: "
        "effects alike in every period after treatment; unit, cluster and period effects and noise "
        "normal; scores missing at random.",
    ]
    return "\n".join(lines)


def _panel(title: str, post: "HierarchicalNormal") -> list[str]:
    width = max(len("(constant)"), *(len(name) for name in post.arms))
    columns = np.column_stack([post.constant_draws, post.draws])
    rows = zip(("(constant)", *post.arms), columns.T, strict=True)
    return [title, *(_row(name, column, width) for name, column in rows)]


def _row(name: str, column: FloatArray, width: int) -> str:
    low, high = arm_draws.highest_density(column, 0.95)
    star = "*" if low > 0 or high < 0 else " "
    return f"{name:<{width}}  {column.mean():8.2f}{star} [{low:.2f}; {high:.2f}]"


def _spread(post: "HierarchicalNormal") -> str:
    parts = (
        ("clusters", post.cluster_sd_draws),
        ("units", post.unit_sd_draws),
        ("noise", post.noise_sd_draws),
        ("periods", post.period_sd_draws),
    )
    shown = ", ".join(f"{name} {x.mean():.2f} ({x.std():.2f})" for name, x in parts)
    return f"Standard deviations, posterior mean (sd): {shown}."


def _best(post: "HierarchicalNormal") -> str:
    best = int(np.argmin(post.policy_regret))
    above = f"above the control with probability {post.prob_positive[best]:.3f}"
    if len(post.arms) == 1:
        return f"{post.arms[0]} is {above}."
    return (
        f"{post.arms[best]} has the lowest expected regret, {post.policy_regret[best]:.2f}; it is "
        f"best of the arms with probability {post.prob_optimal[best]:.3f} and {above}."
    )
