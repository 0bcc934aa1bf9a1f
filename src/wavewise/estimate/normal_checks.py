"""Checks that ride along with the normal model: gates, and what the effects rest on."""

import numpy as np

from wavewise.estimate.normal_fit import Diagnostics
from wavewise.estimate.normal_panel import Panel
from wavewise.results import BoolArray, CheckResult, IntArray

__all__ = ["checks_of"]


def checks_of(panel: Panel, diagnostics: Diagnostics) -> tuple[CheckResult, ...]:
    """Gates of the sampler; arms told from periods; units seen before and after treatment."""
    return (_gates(diagnostics), _told_apart(panel), _switchers(panel))


def _gates(diagnostics: Diagnostics) -> CheckResult:
    d = diagnostics
    tail = (
        f"split R-hat {d.split_r_hat:.3f}" if d.pareto_k is None else f"Pareto k {d.pareto_k:.2f}"
    )
    return CheckResult(
        name="sampler",
        scope=f"standard deviations, {d.n_points:,} points by {d.method} sampling",
        passed=not d.faults(),
        text=(
            f"effective sample size {d.ess:,.0f} ({d.ess_share:.0%} of the points), {tail}, "
            f"{d.n_refinements} refinements"
        ),
        table=(d.to_dict(),),
    )


def _told_apart(panel: Panel) -> CheckResult:
    """Arms and periods that no shared cell joins differ by the prior of the period effects alone.

    Arms (with the control) and periods are nodes, cells with scores are edges: with one component
    every difference of arms has a comparison within periods.
    """
    groups = _groups(panel.n_observed > 0)
    n_groups = np.unique(groups).size
    names = (panel.control, *panel.arms)
    apart = [name for name, g in zip(names, groups, strict=True) if g != groups[0]]
    text = (
        "every arm can be compared with the control within periods, if need be through other arms"
        if n_groups == 1
        else f"no period joins {', '.join(apart)} to the control: those effects rest on the prior "
        "of the period effects"
    )
    scope = f"all {len(panel.arms)} arms, {len(panel.periods)} periods"
    return CheckResult("arms told from periods", scope, n_groups == 1, text)


def _groups(present: BoolArray) -> IntArray:
    """Component of each arm in the graph of arms and periods, (1 + n_arms,)."""
    group = np.arange(present.shape[0])
    for _ in range(present.shape[0]):
        by_period = np.where(present, group[:, None], present.shape[0]).min(axis=0)
        group = np.where(present, by_period, present.shape[0]).min(axis=1)
    return np.asarray(group, dtype=np.int64)


def _switchers(panel: Panel) -> CheckResult:
    n = panel.n_switchers
    scope = f"all {panel.n_units:,} units"
    if n:
        text = f"{n:,} units have a score both before treatment and after it"
        return CheckResult("units seen before and after", scope, True, text)
    text = (
        "no unit has a score both before treatment and after it, so that effects compare units "
        "alone; if arm holds the assignment, give treated= to say when it began"
    )
    return CheckResult("units seen before and after", scope, None, text)
