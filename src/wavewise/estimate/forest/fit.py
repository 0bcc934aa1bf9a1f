"""From checked units to trees: centred outcomes, tuning, the forest, and its shrinkage."""

from dataclasses import dataclass, replace

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.forest.data import Training
from wavewise.estimate.forest.engine import ArmTrees, Units, apply_trees, grow_trees
from wavewise.estimate.forest.sample import mix
from wavewise.estimate.forest.shrinkage import (
    Shrinkage,
    average_effects,
    fit_shrinkage,
    parts_of_arms,
)
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["Candidate", "Fit", "Plan", "fit_forest", "new_units"]

_TUNING_GROUPS, _LEAST_CENTRE_LEAF = 100, 5


@dataclass(frozen=True)
class Plan:
    """How the forest is grown."""

    n_groups: int  # Groups of two trees, an even number.
    min_arm_leaf: int | None  # None chooses it by the loss out of bag.
    n_tried: int  # Covariates tried at a node.
    shrink: bool  # Whether deviations from the average effects are shrunk.
    centre: bool  # Whether the outcome's mean given covariates is taken off first.
    seed: int
    n_threads: int | None


@dataclass(frozen=True)
class Candidate:
    """One value of min_arm_leaf that was tried, with its loss out of bag."""

    min_arm_leaf: int
    loss: float
    kept: dict[str, float]


@dataclass(frozen=True, eq=False)
class Fit:
    """What was learned, in canonical order."""

    trees: ArmTrees
    min_arm_leaf: int
    tuning: tuple[Candidate, ...]
    shrinkage: Shrinkage
    effects_oob: FloatArray


def new_units(training: Training, outcome: FloatArray) -> Units:
    """Units for the growing of trees, with an outcome of their own."""
    return Units(
        bins=training.bins,
        n_bins=np.array([column.n_bins for column in training.binning.columns]),
        arm=training.arm,
        n_arms=len(training.arms),
        outcome=outcome,
        weight=training.weight,
        part=training.part,
    )


def fit_forest(training: Training, plan: Plan, factor: IntArray | None) -> Fit:
    """Trees, with min_arm_leaf and shrinkage chosen by the loss out of bag unless given."""
    outcome = training.outcome
    if plan.centre:
        outcome = outcome - mean_out_of_bag(training, plan)
    units = new_units(training, outcome)
    parts = parts_of_arms(factor, units.n_arms - 1)
    tuning: tuple[Candidate, ...] = ()
    min_arm_leaf = plan.min_arm_leaf
    if min_arm_leaf is None:
        tuning = tuple(_try(training, units, plan, factor, parts, m) for m in leaf_sizes(training))
        min_arm_leaf = min(tuning, key=lambda c: (c.loss, -c.min_arm_leaf)).min_arm_leaf
    trees, tau = _grow(units, plan, factor, min_arm_leaf, plan.n_groups, stream=1)
    shrinkage = _shrink(training, units, plan, parts, tau)
    effects = shrinkage.effects(tau, average_effects(units).change)
    return Fit(trees, min_arm_leaf, tuning, shrinkage, effects)


def leaf_sizes(training: Training) -> tuple[int, ...]:
    """Candidates: 5, 10, 20, ... up to an eighth of the scarcest arm's estimation half."""
    scarcest = int(np.bincount(training.arm, minlength=len(training.arms)).min()) // 4
    sizes = [5]
    while sizes[-1] * 2 * 4 <= scarcest and len(sizes) < 9:
        sizes.append(sizes[-1] * 2)
    return tuple(size for size in sizes if size * 2 <= scarcest) or (1,)


def mean_out_of_bag(training: Training, plan: Plan) -> FloatArray:
    """Mean outcome given covariates from an honest forest without the unit, (n_units,)."""
    alone = replace(
        new_units(training, training.outcome),
        arm=np.zeros(training.n_units, np.int64),
        n_arms=1,
        weight=np.ones(training.n_units),
    )
    least = max(_LEAST_CENTRE_LEAF, training.n_units // 2500)
    trees = grow_trees(
        alone,
        n_groups=30 if training.n_units > 20_000 else 100,
        min_leaf=least,
        n_tried=plan.n_tried,
        seed=_seed(plan, 0),
        n_threads=plan.n_threads,
    )
    sums = apply_trees(trees, trees.means, training.bins, out_of_bag=True, n_threads=plan.n_threads)
    return np.asarray(sums.mean[:, 0], dtype=np.float64)


def _try(
    training: Training,
    units: Units,
    plan: Plan,
    factor: IntArray | None,
    parts: dict[str, FloatArray],
    min_arm_leaf: int,
) -> Candidate:
    """Loss of a small forest with this leaf size, with its own best shrinkage."""
    n_groups = min(_TUNING_GROUPS, plan.n_groups)
    _, tau = _grow(units, plan, factor, min_arm_leaf, n_groups, stream=2)
    shrinkage = _shrink(training, units, plan, parts, tau)
    return Candidate(min_arm_leaf, shrinkage.loss, shrinkage.parts)


def _grow(
    units: Units, plan: Plan, factor: IntArray | None, min_arm_leaf: int, n_groups: int, stream: int
) -> tuple[ArmTrees, FloatArray]:
    """Trees and the mean of their leaf effects for units out of bag."""
    trees = grow_trees(
        units,
        n_groups=n_groups,
        min_leaf=min_arm_leaf,
        n_tried=plan.n_tried,
        seed=_seed(plan, stream),
        factor=factor,
        n_threads=plan.n_threads,
    )
    effects = trees.means[:, 1:] - trees.means[:, :1]
    sums = apply_trees(trees, effects, units.bins, out_of_bag=True, n_threads=plan.n_threads)
    n_never = int((sums.n_groups == 0).sum())
    if n_never:
        raise EstimationError(
            f"forest: {n_never:,} of {units.n_units:,} units have no tree that leaves them out and "
            "holds every arm; needed one at least; raise n_trees, or give fewer arms or clusters "
            "with more units"
        )
    return trees, sums.mean


def _shrink(
    training: Training, units: Units, plan: Plan, parts: dict[str, FloatArray], tau: FloatArray
) -> Shrinkage:
    fixed = None if plan.shrink else [1.0] * len(parts)
    return fit_shrinkage(tau, units, training.propensity, parts, fixed=fixed)


def _seed(plan: Plan, stream: int) -> int:
    """Seed of one of the forests."""
    return int(mix(np.uint64(plan.seed), stream))
