"""Checks of a wave's data: those of `wavewise.evaluate.checks` that the study's data allow."""

from collections.abc import Callable, Iterator, Sequence

import polars as pl

from wavewise.errors import EstimationError
from wavewise.evaluate import checks
from wavewise.results import CheckResult
from wavewise.workflow.compared import control_of, outcome_values
from wavewise.workflow.frames import WaveData, wave_data
from wavewise.workflow.scores import score_outcomes
from wavewise.workflow.study import Study

__all__ = ["quality_checks"]

ARRIVED = ("delivered", "read", "answered")


def quality_checks(
    study: Study, data: WaveData, wave_ids: Sequence[str]
) -> tuple[CheckResult, ...]:
    """Missing outcomes and their bounds, scores, drift of the control, dose.

    Parameters
    ----------
    study : Study
        An open study.
    data : WaveData
        Closed waves, stacked.
    wave_ids : sequence of str
        Which they are.
    """
    return (
        *_missing(study, data, wave_ids),
        *_scores(study, data),
        *_late(study, data),
        *_drift(study, wave_ids),
        *_dose(study, data, wave_ids),
    )


def _missing(study: Study, data: WaveData, wave_ids: Sequence[str]) -> Iterator[CheckResult]:
    primary = study.spec.primary
    if primary.id not in data.outcomes.columns:
        scope = f"all {data.arm.n_unique()} arms, {len(data):,} units, outcome {primary.id}"
        yield CheckResult("missing outcomes", scope, None, "No outcome was imported.")
        return
    values = outcome_values(data, primary)
    yield checks.missing_outcomes(
        values.to_numpy(),
        data.arm,
        strata=data.stratum,
        cluster=data.units.groups(study.spec),
    )
    controls = {control_of(study.wave(wave_id)) for wave_id in wave_ids}
    if values.null_count() == 0 or len(controls) > 1 or None in controls:
        return
    low, high = (0.0, 1.0) if primary.scale == "binary" else (None, None)
    yield _or_reason(
        "bounds for missing outcomes",
        f"outcome {primary.id}",
        lambda: checks.attrition_bounds(
            values.to_numpy(), data.arm, controls.pop(), lowest=low, highest=high
        ),
    )


def _scores(study: Study, data: WaveData) -> Iterator[CheckResult]:
    """Heaping and implausible clusters of each score."""
    has_cluster = study.spec.units.error_cluster is not None
    for outcome in study.spec.outcomes:
        if outcome.kind != "score" or outcome.id not in data.outcomes.columns:
            continue
        known = data.outcomes[outcome.id].is_not_null()
        if not known.any():
            continue
        values = data.outcomes[outcome.id].filter(known).cast(pl.Float64).to_numpy()
        cluster = data.units.cluster.filter(known) if has_cluster else None
        yield checks.heaping(values, arm=data.arm.filter(known), cluster=cluster)
        if cluster is not None:
            yield checks.implausible_clusters(values, cluster)


def _late(study: Study, data: WaveData) -> Iterator[CheckResult]:
    """Scores that came after the first delivery of their period, against the others."""
    for outcome in score_outcomes(study):
        kept = study.store.score_deliveries([outcome.id])
        units = pl.DataFrame(
            {"unit_id": data.units.ids, "arm": data.arm, "cluster": data.units.cluster}
        )
        first = kept.sort("delivered_at_utc_us").unique(
            ["unit_id", "period"], keep="first", maintain_order=True
        )
        begun = first.group_by("period").agg(begins=pl.col("delivered_at_utc_us").min())
        rows = first.join(units, on="unit_id", maintain_order="left").join(begun, on="period")
        rows = rows.with_columns(late=pl.col("delivered_at_utc_us") > pl.col("begins"))
        if not rows["late"].any():
            continue
        cluster = rows["cluster"] if study.spec.units.error_cluster else None
        yield checks.late_deliveries(
            rows["score"].to_numpy(),
            rows["arm"],
            rows["late"].to_numpy(),
            period=rows["period"],
            cluster=cluster,
        )


def _drift(study: Study, wave_ids: Sequence[str]) -> Iterator[CheckResult]:
    """The control in these waves and in those that were closed before."""
    order = [wave.id for wave in study.spec.waves]
    so_far = order[: max(order.index(wave_id) for wave_id in wave_ids) + 1]
    rows = {row.wave_id: row for row in study.store.waves()}
    control = control_of(study.wave(wave_ids[0]))
    primary = study.spec.primary
    parts = {
        name: wave_data(study, name)
        for name in so_far
        if name in rows and rows[name].state == "closed" and control_of(study.wave(name)) == control
    }
    parts = {name: data for name, data in parts.items() if primary.id in data.outcomes.columns}
    if control is None or len(parts) < 2:
        return
    wave = pl.concat([pl.repeat(name, len(data), eager=True) for name, data in parts.items()])
    clusters = pl.concat([data.units.cluster for data in parts.values()])
    yield checks.control_drift(
        pl.concat([outcome_values(data, primary) for data in parts.values()]).to_numpy(),
        pl.concat([data.arm for data in parts.values()]),
        wave,
        control,
        cluster=clusters if study.spec.units.error_cluster else None,
    )


def _dose(study: Study, data: WaveData, wave_ids: Sequence[str]) -> Iterator[CheckResult]:
    """Messages due and delivered, where they went out through the outbox."""
    rows = pl.concat([study.store.outbox_rows(wave_id) for wave_id in wave_ids])
    if rows.is_empty():
        return
    arrived = ARRIVED if rows["state"].is_in(ARRIVED).any() else ("sent",)
    each = rows.group_by("unit_id").agg(
        due=pl.len(), delivered=pl.col("state").is_in(arrived).sum()
    )
    units = pl.DataFrame({"unit_id": data.units.ids}).join(
        each, on="unit_id", how="left", maintain_order="left"
    )
    yield checks.dose_by_arm(
        units["delivered"].fill_null(0).to_numpy(),
        units["due"].fill_null(0).to_numpy(),
        data.arm,
        strata=data.stratum,
        cluster=data.units.groups(study.spec),
    )


def _or_reason(name: str, scope: str, check: Callable[[], CheckResult]) -> CheckResult:
    try:
        return check()
    except EstimationError as error:
        return CheckResult(name, scope, None, f"No verdict: {error.message}.")
