"""``wave open``: randomize a wave's units to its arms, all or none."""

import hashlib
from datetime import datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl

from wavewise.design.canonical import spec_hash
from wavewise.design.shares import planned_shares
from wavewise.design.waves import AllocationRule, UnitsShare, Wave
from wavewise.errors import InputError, StateError
from wavewise.randomize import balance, sample_ratio
from wavewise.store import WaveRow
from wavewise.workflow.assigning import CELL_SEPARATOR, Drawn, Shares, draw, draw_wave
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.frames import UnitData, unit_data, units_of_wave
from wavewise.workflow.policies import frozen_policies
from wavewise.workflow.preview import DeliveryPlan, delivery_plan
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.results import CheckResult

__all__ = ["open_wave", "opening_checks", "shares_of", "window_start"]


def open_wave(study: Study, wave_id: str, *, exploratory: bool = False) -> Done:
    """Assign every unit of a wave to an arm, and write it down with its probability.

    Parameters
    ----------
    study : Study
        An open study.
    wave_id : str
        A wave of the spec that is not open yet.
    exploratory : bool
        Open it although the spec is not registered; this marks everything after it.

    Raises
    ------
    RegistrationError
        If the spec is not registered, or was changed since.
    StateError
        If the wave was opened before, or takes its shares from a decision that is not made yet.
    InputError
        If there are no units for it, or a message lacks a field for some of them.
    """
    wave = study.wave(wave_id)
    _refuse_opened(study, wave_id)
    _refuse_imported(study, wave)
    version = study.require_registered(exploratory=exploratory)
    policies = frozen_policies(study, wave)
    shares = shares_of(study, wave)
    units = _units(study, wave)
    plan = delivery_plan(study, wave, units.ids)
    drawn = draw_wave(study, wave, units, shares, policies)
    checks = opening_checks(study, units, drawn.rows["arm"], shares)
    row = _wave_row(study, wave, version, drawn, shares, checks)
    study.store.open_wave(row, drawn.rows)
    return _told(study, wave, row, drawn, checks, plan)


def shares_of(study: Study, wave: Wave) -> Shares:
    """Shares of a wave's arms: from the spec, or from the decision that the spec asks for.

    Raises
    ------
    StateError
        If that decision was not made yet.
    """
    planned = planned_shares(study.spec, wave)
    if planned is not None:
        return planned
    decided = study.store.latest_result(wave.id, "next-shares")
    if decided is None:
        learned_on = wave.shares.learned_on if isinstance(wave.shares, AllocationRule) else ("",)
        raise StateError(
            f"wave '{wave.id}' takes its shares from what {', '.join(learned_on)} taught, and that "
            f"is not decided yet; run `wavewise decide {study.folder} {learned_on[-1]}` first"
        )
    return {str(arm): float(share) for arm, share in decided.payload["shares"].items()}


def window_start(study: Study, wave: Wave) -> datetime:
    """Beginning of the outcome window, in the study's own time zone."""
    return datetime.combine(wave.starts, time(), tzinfo=ZoneInfo(study.spec.study.time_zone))


def _refuse_opened(study: Study, wave_id: str) -> None:
    row = study.store.wave(wave_id)
    if row is not None:
        raise StateError(
            f"wave '{wave_id}' is {row.state}, opened {row.opened_at:%Y-%m-%d %H:%M} UTC; it is "
            "drawn once; nothing was changed"
        )


def _refuse_imported(study: Study, wave: Wave) -> None:
    if wave.imported is not None:
        raise StateError(
            f"wave '{wave.id}' ran elsewhere: its arms come from a file; run `wavewise wave import "
            f"{study.folder} {wave.id} FILE`, or take `imported` out of the study file"
        )


def _units(study: Study, wave: Wave) -> UnitData:
    """The units that the wave takes, in the order of their ids."""
    units = units_of_wave(study, wave, unit_data(study))
    if not len(units):
        raise InputError(
            f"wave '{wave.id}' has no units; import them with `wavewise people import "
            f"{study.folder} FILE`, or look at the wave's units in the study file"
        )
    if not isinstance(wave.units, UnitsShare):
        return units
    # a share of all units, drawn from those that no earlier wave took
    share = min(1.0, wave.units.share * study.store.n_units() / len(units))
    part = {"in": share, "out": 1.0 - share}
    return units.where(pl.Series(draw(study, wave, "units", units, part).arm == "in"))


def opening_checks(
    study: Study, units: UnitData, arm: pl.Series, shares: Shares | None
) -> list["CheckResult"]:
    """Sample ratio and balance of what was drawn; groups count once where they were drawn whole."""
    strata, groups = units.stratum(study.spec), units.groups(study.spec)
    first = (units.ids if groups is None else groups).is_first_distinct()
    checks = []
    if shares is not None:
        ratio = sample_ratio(arm.filter(first), shares, strata=strata.filter(first))
        checks.append(ratio)
    covariates = units.covariates(study.spec)
    if covariates.width:
        checks.append(balance(covariates, arm, strata=strata, cluster=groups))
    return checks


def _wave_row(
    study: Study,
    wave: Wave,
    version: int | None,
    drawn: Drawn,
    shares: Shares,
    checks: list["CheckResult"],
) -> WaveRow:
    details: dict[str, Any] = {
        "shares": {
            key: value if isinstance(value, float) else dict(value) for key, value in shares.items()
        },
        "arms": [arm.id for arm in study.spec.arms_of(wave)],
        "counts": _counts(drawn),
        "seed": study.spec.study.seed,
        "spec_hash": spec_hash(study.spec),
        "assignment_hash": _hash(drawn),
        "checks": [check.to_dict() for check in checks],
    }
    if wave.held_out_share:
        details["held_out_share"] = wave.held_out_share
    return WaveRow(
        wave_id=wave.id,
        opened_at=study.clock(),
        version=version,
        exploratory=version is None or study.is_exploratory,
        starts_at=window_start(study, wave),
        details=details,
    )


def _counts(drawn: Drawn) -> list[dict[str, Any]]:
    """Units of each arm with their expected number; of them those held out, where there are any."""
    counts = drawn.assignment.counts.by_arm()
    halves = pl.col("arm").str.split_exact(CELL_SEPARATOR, 1)
    by_arm = counts.group_by(halves.struct.field("field_0").alias("arm"), maintain_order=True).agg(
        pl.col("n_units").sum(), pl.col("expected").sum()
    )
    if "held_out" not in drawn.rows.columns:
        return by_arm.to_dicts()
    out = drawn.rows.group_by("arm").agg(pl.col("held_out").sum().alias("n_held_out"))
    return by_arm.join(out, on="arm", how="left", maintain_order="left").to_dicts()


def _hash(drawn: Drawn) -> str:
    """SHA-256 of the assignment: unit, arm and, where there are any, half and content."""
    names = [c for c in ("unit_id", "arm", "held_out", "content") if c in drawn.rows.columns]
    frame = drawn.rows.select(names).rename({"unit_id": "unit"}).sort("unit")
    return hashlib.sha256(frame.write_csv().encode()).hexdigest()


def _told(
    study: Study,
    wave: Wave,
    row: WaveRow,
    drawn: Drawn,
    checks: list["CheckResult"],
    plan: DeliveryPlan,
) -> Done:
    counts = row.details["counts"]
    held = any("n_held_out" in count for count in counts)
    rows = [
        [
            count["arm"],
            count["n_units"],
            round(count["expected"], 1),
            *([count["n_held_out"]] if held else []),
        ]
        for count in counts
    ]
    n_strata = len(drawn.assignment.strata)
    mark = " EXPLORATORY: the spec is not registered." if row.exploratory else ""
    heads = ["arm", "assigned", "expected", *(["of them held out"] if held else [])]
    lines = [
        f"Opened wave {wave.id}: {drawn.rows.height:,} {study.spec.units.name} in {n_strata:,} "
        f"{'stratum' if n_strata == 1 else 'strata'}.{mark}",
        text_table(heads, rows),
        *(f"{check.name}: {check.verdict}. {check.text}" for check in checks),
        *plan.lines,
    ]
    facts = {
        "wave": wave.id,
        "n_units": drawn.rows.height,
        "counts": {count["arm"]: count["n_units"] for count in counts},
        "exploratory": row.exploratory,
        "assignment_hash": row.details["assignment_hash"],
        "checks": [check.to_dict() for check in checks],
        "due": list(plan.due),
        "without_address": dict(plan.without_address),
    }
    if held:
        facts["held_out"] = {count["arm"]: count["n_held_out"] for count in counts}
    return Done("\n".join(lines), facts)
