"""What the report of a study shows: read once from the store, computed from that alone."""

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy
import sqlalchemy

from wavewise.design.shares import planned_shares
from wavewise.design.spec import Model, StudySpec
from wavewise.design.waves import AllocationRule, Arm, SharesByStratum, Wave
from wavewise.errors import EstimationError
from wavewise.report.contents import (
    ArmRow,
    DecisionContents,
    FlowStep,
    FormerOutcomes,
    ReportContents,
    TruthContents,
    WaveContents,
)
from wavewise.report.deliveries import WaveDeliveries
from wavewise.report.documents.spec_sections import clusters_text, prior_text
from wavewise.report.effects import OutcomeEffects
from wavewise.report.evaluation import Evaluation
from wavewise.report.models import AdaptiveWaves
from wavewise.report.posteriors import OutcomePosterior
from wavewise.shared.results import CheckResult, NotEstimable
from wavewise.shared.version import __version__
from wavewise.store import ResultRow, VersionRow, WaveRow
from wavewise.store.waves import ACCEPTED, REOPENED
from wavewise.workflow.frames import ClosedWaves, closed_waves, read_closed
from wavewise.workflow.intake import after_closing
from wavewise.workflow.learn.adaptive import adaptive_waves
from wavewise.workflow.learn.decide import wave_that_learns
from wavewise.workflow.learn.effects import (
    FieldRecords,
    effects_of,
    quality_checks,
    read_field_records,
)
from wavewise.workflow.learn.evaluate import EVALUATION
from wavewise.workflow.learn.frozen_policies import policy_rules
from wavewise.workflow.learn.posteriors import (
    evidence_of,
    model_check,
    posterior_of,
    score_fits,
)
from wavewise.workflow.run.data_check import findings_now
from wavewise.workflow.run.enrol import participants
from wavewise.workflow.run.observe import too_early
from wavewise.workflow.send.status import (
    Delivered,
    SentMessages,
    delivered,
    delivery_table,
    dose_table,
    effects_on_reached,
    failure_table,
    opt_out_table,
    ratio_of_delivered,
    sent_messages,
)
from wavewise.workflow.send.wording import wording_table
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.report.evaluation import PolicyTruth

__all__ = ["SimulatedTruth", "evaluations", "posterior_after", "report_contents"]


@dataclass(frozen=True)
class SimulatedTruth:
    """What is true in a simulated study: of the arms that it ends with, of waves, of policies."""

    study: TruthContents
    waves: Mapping[str, TruthContents]
    policies: "PolicyTruth"


@dataclass(frozen=True)
class Records:
    """All that a report is computed from, as the store has it."""

    spec: StudySpec
    rows: Mapping[str, WaveRow]  # Waves that were opened.
    closed: ClosedWaves
    field: FieldRecords
    late_scores: str
    delivered: Mapping[str, Delivered]  # What each unit of an opened wave received.
    results: Mapping[str, Sequence[ResultRow]]  # By kind, the latest last.
    versions: Sequence[VersionRow]
    sent: Mapping[str, SentMessages]  # Of opened waves.
    participants: Mapping[str, tuple[FlowStep, ...]]  # By wave, from everybody on file.
    accepted: Mapping[str, ResultRow]  # By wave, the last one.
    reopened: Sequence[ResultRow]
    former: Mapping[tuple[str, int], pl.DataFrame]  # By wave and version: outcomes, as they were.
    n_units: int  # Assigned in any wave, each counted once.
    now: datetime

    def result(self, kind: str, wave_id: str) -> Mapping[str, Any] | None:
        """The latest result of a kind for a wave."""
        rows = [row for row in self.results[kind] if row.wave_id == wave_id]
        return rows[-1].payload if rows else None


def report_contents(
    study: Study,
    *,
    simulated: bool = False,
    truth: "SimulatedTruth | None" = None,
) -> ReportContents:
    """Everything that the report of a study shows, computed anew from the frozen data."""
    records = read_records(study)
    spec, closed = records.spec, records.closed
    true_waves = truth.waves if truth is not None else {}
    return ReportContents(
        title=spec.study.title,
        study_id=spec.study.id,
        generated_on=f"{study.clock():%Y-%m-%d}",
        unit_name=spec.units.name,
        waves=tuple(_wave(records, wave, true_waves.get(wave.id)) for wave in spec.waves),
        abstract=spec.registration.abstract,
        registration=_registration(records.versions),
        effects=pooled_effects(closed),
        adaptive=_last_adaptive(closed),
        score_models=score_fits(closed, closed.ids) if closed.ids else (),
        late_scores=records.late_scores,
        evaluations=evaluations(study, None if truth is None else truth.policies),
        deliveries=_deliveries(study, records),
        data=findings_now(study),
        decision=_decision(records),
        truth=None if truth is None else truth.study,
        provenance=_provenance(records),
        amendments=_amendments(records.versions),
        n_units=records.n_units,
        labels=spec.message_names,
        exploratory=any(row.exploratory for row in records.rows.values()) or not records.versions,
        simulated=simulated,
    )


def read_records(study: Study) -> Records:
    """All that a report is computed from."""
    store, closed = study.store, closed_waves(study)
    rows = {row.wave_id: row for row in store.waves.all()}
    assigned = [store.waves.assignment(wave_id)["unit_id"] for wave_id in rows]
    return Records(
        spec=study.spec,
        rows=rows,
        closed=read_closed(study, closed),
        field=read_field_records(study, closed),
        late_scores=" ".join(after_closing(study)),
        delivered={w.id: delivered(study, w.id) for w in study.spec.waves if w.id in rows},
        results={kind: store.results.all(kind) for kind in ("decision", "next-shares")},
        versions=store.versions.all(),
        sent={w.id: sent_messages(study, w) for w in study.spec.waves if w.id in rows},
        participants={w.id: participants(study, w, rows.get(w.id)) for w in study.spec.waves},
        accepted={row.wave_id: row for row in store.results.all(ACCEPTED)},
        reopened=(reopened := store.results.all(REOPENED)),
        former={
            (row.wave_id, row.payload["version"]): store.waves.outcomes(
                row.wave_id, row.payload["version"]
            )
            for row in reopened
            if row.wave_id in rows
        },
        n_units=pl.concat(assigned).n_unique() if assigned else 0,
        now=study.clock(),
    )


def evaluations(study: Study, truth: "PolicyTruth | None" = None) -> tuple[Evaluation, ...]:
    """The last evaluation of each wave, read back as it was kept, in the order of the waves."""
    latest = {row.wave_id: row.payload for row in study.store.results.all(EVALUATION)}
    return tuple(
        Evaluation.of(
            latest[wave.id],
            study.spec.outcome(latest[wave.id]["outcome"]),
            policy_rules(study, wave.id),
            truth,
        )
        for wave in study.spec.waves
        if wave.id in latest
    )


# One wave: who was in it, whether it went right, what it showed.


def _wave(records: Records, wave: Wave, truth: TruthContents | None) -> WaveContents:
    row = records.rows.get(wave.id)
    is_closed = wave.id in records.closed.waves
    decided = wave_that_learns(records.spec, wave.id)
    shares = records.result("next-shares", decided.id) if decided is not None else None
    return WaveContents(
        id=wave.id,
        title=wave.name,
        state=row.state if row is not None else "planned",
        arms=_arms(records, wave, row),
        starts=str(wave.starts),
        window_days=wave.window_days,
        allocation=_allocation(wave),
        checks=_checks(records, wave, row),
        effects=_shown_effects(records.closed, [wave.id]) if is_closed else (),
        posterior=posterior_after(records.closed, wave.id) if is_closed else None,
        next_shares={} if shares is None else {a: float(s) for a, s in shares["shares"].items()},
        decided={} if shares is None or not {"within", "prior"} & shares.keys() else shares,
        exploratory=row.exploratory if row is not None else False,
        truth=truth,
        sent=records.sent[wave.id].text if is_closed else "",
        nothing_sent=is_closed and records.sent[wave.id].nothing,
        accepted=_accepted(records, wave) if is_closed else (),
        former=tuple(_former(records, wave)) if is_closed else (),
        of_policies=_of_policies(records.spec, wave),
        gives=_gives(records, wave) if is_closed else {},
        early=_early(records, wave) if is_closed else "",
        participants=records.participants[wave.id],
        reached=_reached(records, wave),
    )


def _of_policies(spec: StudySpec, wave: Wave) -> bool:
    return any(arm.policy is not None for arm in spec.arms_of(wave))


def _gives(records: Records, wave: Wave) -> dict[str, dict[str, int]]:
    """What each policy of a wave gives, and to how many of the units randomized to it."""
    data = records.closed.data(wave.id)
    given = pl.DataFrame({"arm": data.arm, "content": data.content}).drop_nulls()
    counts = given.group_by("arm", "content").len().sort("arm", "len", descending=[False, True])
    order = [arm.id for arm in records.spec.arms_of(wave) if arm.policy is not None]
    return {arm: dict(counts.filter(arm=arm).select("content", "len").iter_rows()) for arm in order}


def _early(records: Records, wave: Wave) -> str:
    """That a wave was closed, or is reported, before the registered wait for its data was over."""
    closed_at = records.rows[wave.id].closed_at
    if closed_at is None:
        return ""
    closed = too_early(records.spec, wave, "was closed", closed_at)
    return closed or too_early(records.spec, wave, "is reported", records.now)


def _reached(records: Records, wave: Wave) -> dict[str, int]:
    """Units of each arm with messages that received one or more."""
    found = records.delivered.get(wave.id)
    if found is None:
        return {}
    sending = found.doses.filter(pl.col("n_messages") > 0)["arm"].unique()
    doses = found.doses.filter(pl.col("arm").is_in(sending.implode()))
    by_arm = doses.group_by("arm").agg((pl.col("n_received") > 0).sum())
    return {arm: int(n) for arm, n in by_arm.sort("arm").iter_rows()}


def _accepted(records: Records, wave: Wave) -> tuple[str, ...]:
    """What was accepted when the wave was last closed."""
    row = records.accepted.get(wave.id)
    if row is None or row.created_at != records.rows[wave.id].closed_at:
        return ()
    checks = tuple(f"{one['check']}: {one['text']}" for one in row.payload["checks"])
    return (*checks, f"Reason given: {row.payload['reason']}")


def _former(records: Records, wave: Wave) -> Iterator[FormerOutcomes]:
    """Versions of a wave's outcomes that are no longer used."""
    data, primary = records.closed.data(wave.id), records.spec.primary
    for row in records.reopened:
        before = records.former.get((wave.id, row.payload["version"]))
        if row.wave_id != wave.id or before is None:
            continue
        joined = pl.DataFrame({"unit_id": data.units.ids, "arm": data.arm}).join(
            before, on="unit_id", how="left", maintain_order="left"
        )
        yield FormerOutcomes(
            row.payload["version"],
            str(row.payload["closed_at"])[:10],
            row.payload["reason"],
            tuple(one["text"] for one in row.payload["made_from"]),
            _means(data.arm, joined.get_column(primary.id, default=None)),
            _means(data.arm, data.outcomes.get_column(primary.id, default=None)),
        )


def _means(arm: pl.Series, values: pl.Series | None) -> dict[str, float | None]:
    if values is None:
        return {}
    means = pl.DataFrame([arm.alias("arm"), values.cast(pl.Float64).alias("mean")])
    return dict(means.group_by("arm").agg(pl.col("mean").mean()).iter_rows())


def _arms(records: Records, wave: Wave, row: WaveRow | None) -> tuple[ArmRow, ...]:
    counts = row.details.get("counts", ()) if row is not None else ()
    assigned = {str(count["arm"]): int(count["n_units"]) for count in counts}
    with_outcome = _with_outcome(records.closed, wave)
    shares = _shares(records, wave, row, assigned)
    return tuple(
        ArmRow(
            arm=arm.id,
            content=_content(records.spec, arm),
            share=shares.get(arm.id) if row is None else shares.get(arm.id, 0.0),
            n_assigned=assigned.get(arm.id, 0) if row is not None else None,
            n_with_outcome=None if with_outcome is None else with_outcome.get(arm.id, 0),
        )
        for arm in records.spec.arms_of(wave)
    )


def _content(spec: StudySpec, arm: Arm) -> str:
    """The message's text where an arm is one message with a text; else what it is in words."""
    if arm.content == "nothing":
        return "no message"
    message = next((m for m in spec.messages if arm.sequence == (m.id,)), None)
    if message is not None and message.text:
        return message.text.get("en") or next(iter(message.text.values()))
    if message is not None and message.mechanism:
        return message.mechanism
    return arm.label or arm.content


def _with_outcome(closed: ClosedWaves, wave: Wave) -> dict[str, int] | None:
    """Units of each arm whose primary outcome is known; None while the wave is not closed."""
    if wave.id not in closed.waves:
        return None
    data, primary = closed.data(wave.id), closed.spec.primary.id
    if primary not in data.outcomes.columns:
        return {}
    arms = data.arm.filter(data.outcomes[primary].is_not_null())
    return dict(arms.value_counts().iter_rows())


def _shares(
    records: Records, wave: Wave, row: WaveRow | None, assigned: Mapping[str, int]
) -> dict[str, float]:
    """Shares as drawn, decided or planned; where these differ by stratum, those realized."""
    shares = row.details.get("shares") if row is not None else None
    if shares is None:
        decided = records.result("next-shares", wave.id)
        shares = decided["shares"] if decided is not None else planned_shares(records.spec, wave)
    flat: dict[str, Any] = dict(shares or {})
    if shares is not None and all(isinstance(value, float | int) for value in flat.values()):
        return {str(arm): float(share) for arm, share in flat.items()}
    total = sum(assigned.values())
    return {arm: count / total for arm, count in assigned.items()} if total else {}


def _allocation(wave: Wave) -> str:
    rule = wave.shares
    if isinstance(rule, AllocationRule):
        within = " within strata" if rule.within else ""
        return f"{rule.rule} shares, learned on {', '.join(rule.learned_on)}{within}"
    if isinstance(rule, SharesByStratum):
        return "shares that differ by stratum"
    return "equal shares" if rule == "equal" else "fixed shares"


def _checks(records: Records, wave: Wave, row: WaveRow | None) -> tuple[CheckResult, ...]:
    """Checks at the opening, of the data, of the models, of what was delivered."""
    closed, sent = records.closed, records.delivered.get(wave.id)
    opening = row.details.get("checks", ()) if row is not None else ()
    is_closed = wave.id in closed.waves
    return (
        *(_kept_check(facts) for facts in opening),
        *(quality_checks(closed, [wave.id], records.field) if is_closed else ()),
        *(_model_checks(closed, closed.until(wave.id)) if is_closed else ()),
        *(
            (ratio_of_delivered(sent),)
            if sent is not None and sent.doses["n_messages"].sum()
            else ()
        ),
    )


def _kept_check(facts: Mapping[str, Any]) -> CheckResult:
    """A check read back as it was kept when its wave was opened."""
    return CheckResult(
        facts["name"],
        facts["scope"],
        {"pass": True, "fail": False}.get(facts["verdict"]),
        facts["text"],
        tuple(facts["table"]),
        facts.get("number"),
        facts.get("advice", ""),
    )


def _model_checks(closed: ClosedWaves, so_far: tuple[str, ...]) -> tuple[CheckResult, ...]:
    """Whether the models fit what is known after a closed wave, the one that decides first."""
    scores = tuple(
        fit.panels.check
        for fit in score_fits(closed, so_far)
        if not isinstance(fit.panels, NotEstimable) and fit.panels.check is not None
    )
    name = _deciding_model(closed.spec)
    check = None if name is None else model_check(closed, name, so_far)
    return scores if check is None else (check, *scores)


# Effects and posteriors.


def _shown_effects(closed: ClosedWaves, wave_ids: Sequence[str]) -> tuple[OutcomeEffects, ...]:
    """Effects with their contrasts; outcomes without any control are left out."""
    plan = closed.spec.analysis
    return tuple(
        item.compared(plan.effects.adjust, plan.contrasts)
        for item in effects_of(closed, wave_ids)
        if not isinstance(item.effects, NotEstimable)
    )


def pooled_effects(closed: ClosedWaves) -> tuple[OutcomeEffects, ...]:
    """Effects of all closed waves of messages together, where there are several."""
    ids = [name for name, wave in closed.waves.items() if not _of_policies(closed.spec, wave.plan)]
    same_arms = len({closed.spec.arms_of(closed.plan(name)) for name in ids}) == 1
    if len(ids) < 2 or not same_arms:
        return ()
    return _shown_effects(closed, ids)


def posterior_after(closed: ClosedWaves, wave_id: str) -> OutcomePosterior | NotEstimable | None:
    """Posterior after a closed wave, from it and those before it; None without a model."""
    name, waves = _deciding_model(closed.spec), closed.until(wave_id)
    if name is None:
        return None
    model = closed.spec.models[name]
    try:
        posterior = posterior_of(closed, name, waves)
    except EstimationError as error:
        return NotEstimable(error.message)
    outcome = closed.spec.outcome(model.outcome)
    of_means = model.kind in {"normal", "hierarchical normal"}
    words = (_model_text(model), prior_text(closed.spec, model), outcome.direction_text)
    return OutcomePosterior(
        outcome,
        posterior,
        totals=None if of_means else evidence_of(closed, model, waves).totals(),
        learned_on=waves,
        model=" ".join(filter(None, words)),
    )


def _deciding_model(spec: StudySpec) -> str | None:
    """The model that decisions learn from, if the study file names one."""
    if spec.decision is not None:
        return spec.decision.model
    rules = [wave.shares for wave in spec.waves]
    return next((rule.model for rule in rules if isinstance(rule, AllocationRule)), None)


def _model_text(model: Model) -> str:
    if model.kind == "beta binomial":
        first, second = model.prior
        return f"Beta-binomial, prior Beta({first:g}, {second:g}), arms independent."
    if model.kind == "normal":
        clustered = f", errors clustered on {model.cluster}" if model.cluster else ""
        return f"Normal means, flat prior, arms independent{clustered}."
    if model.kind == "hierarchical normal":
        return (
            f"Hierarchical normal: gain of each arm against the control, with effects of "
            f"{model.cluster}, unit and period."
        )
    units = ", units overdispersed (beta-binomial)" if model.overdispersion else ""
    return (
        f"Hierarchical binomial{units}: arms share the effects of {model.cluster}; success "
        f"probabilities are means over {clusters_text(model)}."
    )


def _last_adaptive(closed: ClosedWaves) -> AdaptiveWaves | None:
    """The last closed wave whose shares were learned, with the waves it learned on."""
    latest_first = (adaptive_waves(closed, wave_id) for wave_id in reversed(closed.ids))
    return next((item for item in latest_first if item is not None), None)


# Deliveries.


def _deliveries(study: Study, records: Records) -> tuple[WaveDeliveries, ...]:
    """Deliveries of every wave that has messages, in the order of the study file."""
    counts = study.store.deliveries.by_arm(study.clock())
    sending = set(counts["wave_id"])
    if not sending:
        return ()
    opt_outs = opt_out_table(study)
    return tuple(
        _wave_deliveries(
            study,
            wave,
            records.delivered[wave.id],
            counts.filter(wave_id=wave.id),
            opt_outs.filter(wave=wave.id),
        )
        for wave in study.spec.waves
        if wave.id in sending
    )


def _wave_deliveries(
    study: Study, wave: Wave, sent: Delivered, counts: pl.DataFrame, opt_outs: pl.DataFrame
) -> WaveDeliveries:
    return WaveDeliveries(
        wave=wave.id,
        title=wave.name,
        outcome=study.spec.primary,
        received_means=sent.meaning,
        messages=delivery_table(counts).drop("wave_id"),
        effects=effects_on_reached(study, wave, sent),
        reasons=failure_table(counts).drop("wave_id"),
        opt_outs=opt_outs.drop("wave"),
        exposure=dose_table(sent),
        wordings=wording_table(study, wave.id),
        sends=_sends(study.store.deliveries.by_send(wave.id, study.clock()), sent),
        level=study.spec.study.level,
    )


def _sends(counts: pl.DataFrame, sent: Delivered) -> pl.DataFrame:
    """Due and received messages by arm and send; received means what it means for exposure."""
    by_receipt = pl.col("channel").is_in(sent.by_receipt)
    received = pl.when(by_receipt).then("n_arrived").otherwise("n_out")
    by = ["arm", (pl.col("slot") + 1).alias("send")]
    sums = counts.group_by(by).agg(due=pl.col("n_due").sum(), received=received.sum())
    return sums.sort("arm", "send")


# Decision, registration, provenance.


def _decision(records: Records) -> DecisionContents | None:
    decided = records.results["decision"]
    if not decided:
        return None
    names = ("rule", "arm", "prob_optimal", "policy_regret", "runner_up")
    last = decided[-1]
    former = [
        f"It was made from version {row.payload['version']} of the outcomes of wave {row.wave_id}, "
        "which have been made anew since: decide again."
        for row in records.reopened
        if last.id in {one["id"] for one in row.payload["made_from"]}
    ]
    return DecisionContents(
        **{name: last.payload[name] for name in names},
        made_from_former=" ".join(former),
        prior=last.payload.get("prior", ""),
        prior_rows=tuple(last.payload.get("prior_sensitivity", ())),
    )


def _registration(versions: Sequence[VersionRow]) -> str:
    if not versions:
        return ""
    last = versions[-1]
    addenda = sum(version.is_addendum for version in versions)
    text = f"version {last.number}, registered {last.created_at:%Y-%m-%d}"
    if addenda:
        text += f"; {addenda} {'addendum' if addenda == 1 else 'addenda'}"
    return text


def _amendments(versions: Sequence[VersionRow]) -> tuple[str, ...]:
    return tuple(
        f"Version {version.number}, {version.created_at:%Y-%m-%d}: {version.reason}"
        + (f" (addendum: after data of {', '.join(version.waves_seen)} were seen)"
           if version.is_addendum else "")
        for version in versions[1:]
    )  # fmt: skip


def _provenance(records: Records) -> tuple[tuple[str, str], ...]:
    versions = (
        f"wavewise {__version__}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"polars {pl.__version__}, sqlalchemy {sqlalchemy.__version__}, "
        f"Python {platform.python_version()}"
    )
    registered = records.versions[-1].hash if records.versions else "not registered"
    return (
        ("Spec, SHA-256 of its canonical form", registered),
        ("Seed", str(records.spec.study.seed)),
        *(
            (f"Assignment of {row.wave_id}, SHA-256", str(row.details.get("assignment_hash", "")))
            for row in records.rows.values()
        ),
        *(
            (f"Outcomes of {row.wave_id}, SHA-256", _outcome_hash(records.closed, row.wave_id))
            for row in records.rows.values()
            if row.wave_id in records.closed.waves
        ),
        ("Versions", versions),
    )


def _outcome_hash(closed: ClosedWaves, wave_id: str) -> str:
    data = closed.data(wave_id)
    frame = pl.DataFrame([data.units.ids, *data.outcomes.iter_columns()])
    return hashlib.sha256(frame.write_csv().encode()).hexdigest()
