"""The forest in words and a table."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from wavewise.estimate.causal_forest import CausalForest

__all__ = ["forest_summary"]

_ASSUMED = (
    "Assumed: arms were drawn with the propensities given, and no unit's outcome depends on "
    "another's arm. Standard errors are for one unit at a time and leave the forest's bias out: "
    "effects are smoothed over neighbouring units, so intervals cover less than they say where "
    "effects change fast. Units picked for large effects need fresh data."
)


def forest_summary(forest: "CausalForest") -> str:
    """Table of the arms, what varies, and what is assumed."""
    width = max(3, *(len(name) for name in forest.arms))
    low, high = np.quantile(forest.effects_oob, [0.1, 0.9], axis=0)
    lines = [f"{'arm':<{width}}  average effect  middle 80% of units"]
    lines += [
        f"{name:<{width}}  {forest.ate[k]:>14.4g}  {low[k]:.4g} to {high[k]:.4g}"
        for k, name in enumerate(forest.arms)
    ]
    return "\n".join([*lines, "", _varies(forest), _grown(forest), _most(forest), _ASSUMED])


def _varies(forest: "CausalForest") -> str:
    if all(share == 0 for share in forest.kept.values()):
        return (
            f"No difference between units was found that predicts outcomes out of bag: every unit "
            f"has the average effects. n = {forest.n_units:,}."
        )
    parts = ", ".join(f"{share:.0%} of what is due to {n}" for n, share in forest.kept.items())
    gain = 1 - forest.loss / forest.loss_of_averages
    return (
        f"Of the forest's differences between units, {parts} was kept; with them the squared error "
        f"out of bag is {gain:.2%} below that of the average effects. n = {forest.n_units:,}."
    )


def _grown(forest: "CausalForest") -> str:
    how = "chosen out of bag" if forest.tuning else "given"
    dropped = f" Left out: {', '.join(forest.dropped)}." if forest.dropped else ""
    return (
        f"{forest.n_trees:,} trees; every leaf holds at least {forest.min_arm_leaf:,} units of "
        f"each arm ({how}).{dropped}"
    )


def _most(forest: "CausalForest") -> str:
    ranked = sorted(forest.variable_importance.items(), key=lambda item: -item[1])[:3]
    named = ", ".join(f"{name} ({share:.0%})" for name, share in ranked)
    return f"Splits sort units most by {named}."
