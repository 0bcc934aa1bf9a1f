"""Power of a study file's comparisons, for its design report."""

from collections.abc import Iterator
from typing import Any

from wavewise.design.power import ArmPower, planned_effects
from wavewise.design.spec import StudySpec
from wavewise.evaluate.power import power
from wavewise.evaluate.power_result import Power
from wavewise.results import NotEstimable

__all__ = ["by_size", "powers"]

_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def powers(spec: StudySpec) -> Iterator[tuple[str, Power]]:
    """One comparison a wave and outcome: two policies, or an arm and the control, or two arms."""
    planned = planned_effects(spec)
    if isinstance(planned, NotEstimable) or spec.planning is None:
        return
    done = set()
    for row in planned.rows:
        place = (row.wave, row.outcome)
        if place in done or row.convention != "whole arm" or not isinstance(row.n_units, float):
            continue
        wave = spec.wave(row.wave)
        if wave is None or row.arm == wave.control_id:
            continue
        found = _power(spec, row)
        if found is not None:
            done.add(place)
            yield found


def _power(spec: StudySpec, row: ArmPower, factor: float = 1.0) -> tuple[str, Power] | None:
    wave = spec.wave(row.wave)
    outcome = next(one for one in spec.outcomes if one.id == row.outcome)
    if wave is None or spec.planning is None or isinstance(row.n_units, NotEstimable):
        return None
    deviation = row.baseline_std_dev
    options: dict[str, Any] = {"level": 1 - spec.study.level, "power": spec.planning.power,
                               "n_per_arm": factor * row.n_units}  # fmt: skip
    if outcome.kind == "any" and 0 < row.baseline_mean < 1:
        options["rate"] = row.baseline_mean
    elif isinstance(deviation, float) and deviation > 0:
        options |= {"std_dev": deviation, "mean": row.baseline_mean}
    else:
        return None
    if spec.units.randomize_by is not None and spec.planning.cluster_size:
        options["cluster_size"] = spec.planning.cluster_size
        options["intracluster_correlation"] = spec.planning.intracluster_correlation or 0.0
    if wave.held_out_share:
        options |= {"contrast": "policy", "treated_share": 1 - wave.held_out_share}
        words = f"{wave.name}, {outcome.name}, two policies"
    else:
        control = _control_size(spec, row)
        words = f"{wave.name}, {outcome.name}, an arm and {'the control' if control else 'another'}"
        if control:
            options |= {"contrast": "control", "n_control": factor * control}
    return words, power(**options)


def _control_size(spec: StudySpec, row: ArmPower) -> float | None:
    """Units of the control in a row's wave, where its outcome is observed there."""
    planned = planned_effects(spec)
    if isinstance(planned, NotEstimable):
        return None
    wave = spec.wave(row.wave)
    for other in planned.rows:
        same = (other.wave, other.outcome, other.convention) == (
            row.wave, row.outcome, row.convention)  # fmt: skip
        if same and wave is not None and other.arm == wave.control_id:
            known = isinstance(other.n_units, float) and isinstance(other.std_error, float)
            return float(other.n_units) if known else None  # type: ignore[arg-type]
    return None


def by_size(spec: StudySpec) -> dict[str, list[tuple[float, float]]]:
    """Smallest rise and fall of the first comparison, for a quarter to four times its units."""
    planned = planned_effects(spec)
    if isinstance(planned, NotEstimable):
        return {}
    row = next(
        (row for row in planned.rows if isinstance(row.n_units, float)
         and row.arm != getattr(spec.wave(row.wave), "control_id", None)), None,
    )  # fmt: skip
    curves: dict[str, list[tuple[float, float]]] = {"rise": [], "fall": []}
    for factor in _FACTORS if row is not None else ():
        found = _power(spec, row, factor)  # type: ignore[arg-type]
        if found is None:
            return {}
        for name, value in (("rise", found[1].mde_up), ("fall", found[1].mde_down)):
            if isinstance(value, float):
                curves[name].append((found[1].n_per_arm, value))
    if curves["rise"] == curves["fall"]:
        curves = {"rise or fall": curves["rise"]}
    return {name: points for name, points in curves.items() if len(points) > 1}
