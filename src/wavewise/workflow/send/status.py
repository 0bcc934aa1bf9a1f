"""``status``: how a study stands, from the outbox, the opt-outs and the events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from wavewise.design.waves import Wave
from wavewise.errors import EstimationError
from wavewise.estimate.effects.instruments import Cace, cace
from wavewise.randomize import sample_ratio
from wavewise.shared.results import CheckResult, NotEstimable
from wavewise.shared.text_tables import text_table
from wavewise.store.deliveries.queries import ARRIVED, OUT
from wavewise.store.rows import from_us
from wavewise.workflow.frames import control_of, outcome_values, wave_data
from wavewise.workflow.intake import CLOCK_SLACK
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.calls import FLASH, VOICE
from wavewise.workflow.send.queue import NO_PROVIDER, messages_of
from wavewise.workflow.study import Study

__all__ = [
    "Delivered",
    "SentMessages",
    "delivered",
    "delivery_table",
    "dose_table",
    "effects_on_reached",
    "failure_table",
    "opt_out_table",
    "ratio_of_delivered",
    "sent_messages",
    "status",
]


# What reached people in a wave: exposures, a ratio check, complier average causal effects.

_NAME = "sample ratio of what was delivered"


@dataclass(frozen=True)
class Delivered:
    """What each unit of a wave received."""

    # One row per unit, in the order of ids: unit_id, arm, n_messages, n_received.
    doses: pl.DataFrame
    by_receipt: tuple[str, ...]  # Channels where received means a receipt of delivery.
    # Channels without any receipt, where it means that the provider took the message.
    by_sending: tuple[str, ...]

    @property
    def meaning(self) -> str:
        """What counts as received, in words."""
        parts = []
        if self.by_receipt:
            parts.append(f"a receipt of delivery ({', '.join(self.by_receipt)})")
        if self.by_sending:
            parts.append(f"taken by the provider, which sends none ({', '.join(self.by_sending)})")
        return "; ".join(parts) or "nothing was sent"


def delivered(study: Study, wave_id: str) -> Delivered:
    """What each unit of a wave received; units without a message received 0."""
    rows = study.store.deliveries.by_unit(wave_id)
    arrived = rows.group_by("channel").agg(pl.col("n_arrived").sum()).sort("channel")
    with_receipts = tuple(arrived.filter(pl.col("n_arrived") > 0)["channel"])
    without = tuple(arrived.filter(pl.col("n_arrived") == 0)["channel"])
    received = pl.when(pl.col("channel").is_in(with_receipts)).then("n_arrived").otherwise("n_out")
    sums = rows.group_by("unit_id").agg(
        pl.col("n_messages").sum(), n_received=received.sum().cast(pl.Int64)
    )
    drawn = study.store.waves.assignment(wave_id).select("unit_id", "arm")
    doses = drawn.join(sums, on="unit_id", how="left", maintain_order="left")
    counts = pl.col("n_messages", "n_received")
    return Delivered(doses.with_columns(counts.fill_null(0)), with_receipts, without)


@dataclass(frozen=True)
class SentMessages:
    """What went out of a wave's messages and what was received, before anything is read from it."""

    text: str  # A sentence or two; empty where no message of the wave is sent from here.
    nothing: bool  # Whether messages were planned, and none of them can have gone out.


def sent_messages(study: Study, wave: Wave) -> SentMessages:
    """What went out of a wave's messages; empty for letters and waves without a schedule."""
    channels = {message.channel for message in messages_of(study, wave)} - {NO_PROVIDER}
    if wave.schedule is None or wave.imported is not None or not channels:
        return SentMessages("", nothing=False)
    counts = study.store.deliveries.counts().filter(wave_id=wave.id)
    n = dict(counts.group_by("state").agg(pl.col("n").sum()).iter_rows())
    n_out, n_unknown = sum(n.get(state, 0) for state in OUT), n.get("unknown", 0)
    text = (
        f"Messages of wave {wave.id}: {sum(n.values()):,} planned so far, {n_out:,} sent, "
        f"{sum(n.get(state, 0) for state in ARRIVED):,} with a receipt of delivery."
    )
    unsent = counts.filter(pl.col("state").is_in(["failed", "unknown", "cancelled"]))
    reasons = unsent.group_by("state", "reason").agg(pl.col("n").sum())
    for state, reason, many in reasons.sort("n", descending=True).head(3).iter_rows():
        text += f" {many:,} {state}: {reason or 'no reason was given'}."
    if n_out or n_unknown:
        return SentMessages(text, nothing=False)
    return SentMessages(
        f"{text} No message of this wave went out, so differences between its arms say nothing "
        "about messages. If they were sent by other means, take `schedule` out of the wave and "
        f"run `wavewise amend {study.folder} --reason TEXT`.",
        nothing=True,
    )


def ratio_of_delivered(found: Delivered) -> CheckResult:
    """Whether the arms that send reached units in the shares in which they were assigned."""
    sending = found.doses.filter(pl.col("n_messages") > 0)["arm"].unique().sort().to_list()
    scope = f"{len(sending)} arms with messages; received: {found.meaning}"
    if len(sending) < 2:
        return CheckResult(_NAME, scope, None, "found fewer than two arms with messages")
    assigned = found.doses.filter(pl.col("arm").is_in(sending))
    reached = assigned.filter(pl.col("n_received") > 0)["arm"].to_list()
    if not reached:
        return CheckResult(_NAME, scope, None, "nobody was reached yet")
    counts = dict(assigned["arm"].value_counts().iter_rows())
    check = sample_ratio(reached, {arm: counts[arm] / assigned.height for arm in sending})
    return CheckResult(_NAME, scope, check.passed, check.text, check.table)


def effects_on_reached(study: Study, wave: Wave, found: Delivered) -> Cace | NotEstimable:
    """Effects of a closed wave on units that received a message, beside intent to treat.

    A unit counts as reached that received one message or more.
    """
    row, control = study.store.waves.get(wave.id), control_of(wave)
    if row is None or row.state != "closed":
        return NotEstimable("the wave is not closed")
    if control is None:
        return NotEstimable("the wave has no control arm to compare with")
    outcome, data = study.spec.primary, wave_data(study, wave.id)
    if outcome.id not in data.outcomes.columns:
        return NotEstimable(f"outcome '{outcome.id}' was not frozen")
    received = pl.DataFrame({"unit_id": data.units.ids}).join(
        found.doses, on="unit_id", how="left", maintain_order="left"
    )["n_received"]
    try:
        return cace(
            outcome_values(data, outcome).to_numpy(),
            data.condition,
            (received > 0).cast(pl.Float64).fill_null(0).to_numpy().astype(np.float64),
            control=control,
            strata=data.stratum if study.spec.analysis.effects.strata else None,
            cluster=data.units.cluster if study.spec.error_cluster else None,
            level=study.spec.study.level,
        )
    except EstimationError as error:
        return NotEstimable(str(error))


REFUSED = "refused"
_COUNTS = {
    "due": pl.col("n_due"),
    "sent": pl.when(pl.col("state").is_in(OUT)).then("n"),
    "delivered": pl.when(pl.col("state").is_in(ARRIVED)).then("n"),
    "waiting": pl.when(pl.col("state").is_in(["queued", "leased", "sending"])).then("n"),
    "failed": pl.when(pl.col("state") == "failed").then("n"),
    "unknown": pl.when(pl.col("state") == "unknown").then("n"),
    "refused": pl.when((pl.col("state") == "cancelled") & (pl.col("reason") == REFUSED)).then("n"),
    "cancelled": pl.when(
        (pl.col("state") == "cancelled") & pl.col("reason").ne_missing(REFUSED)
    ).then("n"),
}
_BY = ["wave_id", "arm", "channel"]


@dataclass(frozen=True, eq=False)
class StudyStatus(VerbResult):
    """How a study stands."""

    title: str
    units: str  # What the study calls them.
    as_of: datetime
    # wave, arm, channel; due, sent, delivered, waiting, failed, unknown, refused, cancelled
    deliveries: tuple[Mapping[str, Any], ...]
    failures: tuple[Mapping[str, Any], ...]  # wave, arm, channel, state, reason, n
    opt_outs: tuple[Mapping[str, Any], ...]  # wave, arm, source, n_units
    waves: tuple[Mapping[str, Any], ...]  # What reached people, and its effect on them.
    events: Mapping[str, int]  # None are counted where only messages are.
    calls: Mapping[str, int]
    paused: tuple[str, ...]  # Ids of waves; an empty one stands for all.
    # channel, reason, since: whose provider takes nothing now.
    held: tuple[Mapping[str, str], ...] = ()
    n_unknown_opt_outs: int = 0  # Addresses that refuse, of nobody in the study.

    def facts(self) -> dict[str, Any]:
        """All of it, without the title."""
        facts = super().facts() | {"as_of": self.as_of.isoformat()}
        return {name: value for name, value in facts.items() if name not in {"title", "units"}}

    def summary(self) -> str:
        """Tables and sentences."""
        return "\n".join(_lines(self))

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(list(self.deliveries))


def status(study: Study, *, counts_only: bool = False) -> StudyStatus:
    """Messages by wave, arm and channel; failures by reason; opt-outs; exposures; checks; calls.

    Counts alone are read without people's rows: what messages did is left out.
    """
    counts = study.store.deliveries.by_arm(study.clock())
    rows = () if counts_only else study.store.waves.all()
    waves = [_wave(study, row.wave_id, row.state) for row in rows]
    slack = CLOCK_SLACK // timedelta(microseconds=1)
    return StudyStatus(
        title=study.spec.study.title,
        units=study.spec.units.name,
        as_of=study.clock(),
        deliveries=tuple(delivery_table(counts).rename({"wave_id": "wave"}).to_dicts()),
        failures=tuple(failure_table(counts).rename({"wave_id": "wave"}).to_dicts()),
        opt_outs=() if counts_only else tuple(opt_out_table(study).to_dicts()),
        waves=tuple(waves),
        events={} if counts_only else study.store.calls.event_counts(slack, FLASH),
        calls=study.store.calls.counts(VOICE),
        paused=tuple(study.store.outbox.paused_waves()),
        held=tuple(
            {
                "channel": one.channel,
                "reason": one.reason,
                "since": from_us(one.held_at_utc_us).isoformat(),
            }
            for one in study.store.outbox.held()
        ),
        n_unknown_opt_outs=study.store.opt_outs.n_unknown(),
    )


def delivery_table(counts: pl.DataFrame) -> pl.DataFrame:
    """One row per wave, arm and channel: due, sent, delivered, waiting, failed, unknown, ..."""
    sums = [value.fill_null(0).sum().cast(pl.Int64).alias(name) for name, value in _COUNTS.items()]
    return counts.group_by(_BY).agg(sums).sort(_BY)


def failure_table(counts: pl.DataFrame) -> pl.DataFrame:
    """Failed and unknown messages by wave, arm, channel, state and reason."""
    failed = counts.filter(pl.col("state").is_in(["failed", "unknown"]))
    columns = [*_BY, "state", pl.col("reason").fill_null("not known"), "n"]
    return failed.select(columns).sort([*_BY, "state", "reason"])


def opt_out_table(study: Study) -> pl.DataFrame:
    """Units that refuse, by wave, arm and source; a unit of several waves counts in each."""
    refused = study.store.opt_outs.all().select("unit_id", "source")
    parts = [
        study.store.waves.assignment(row.wave_id)
        .join(refused, on="unit_id", how="inner")
        .select("unit_id", "arm", "source", wave=pl.lit(row.wave_id))
        for row in study.store.waves.all()
    ]
    names = ("unit_id", "arm", "source", "wave")
    every = pl.concat([pl.DataFrame(schema=dict.fromkeys(names, pl.String)), *parts])
    by = ["wave", "arm", "source"]
    return every.group_by(by).agg(n_units=pl.col("unit_id").n_unique().cast(pl.Int64)).sort(by)


def _wave(study: Study, wave_id: str, state: str) -> dict[str, Any]:
    found = delivered(study, wave_id)
    wave = study.spec.wave(wave_id)
    effects = (
        NotEstimable("the wave is not in the study file")
        if wave is None
        else effects_on_reached(study, wave, found)
        if found.doses["n_messages"].sum()
        else NotEstimable("no message of the wave was queued here")
    )
    return {
        "wave": wave_id,
        "state": state,
        "received_means": found.meaning,
        "doses": dose_table(found).to_dicts(),
        "ratio": ratio_of_delivered(found).facts(),
        "effects_on_reached": _effects(effects),
    }


def dose_table(found: Delivered) -> pl.DataFrame:
    """One row per arm: units, messages and received messages per unit, share that was reached."""
    reached = (pl.col("n_received") > 0).mean()
    groups = found.doses.group_by("arm").agg(
        n_units=pl.len().cast(pl.Int64),
        mean_messages=pl.col("n_messages").mean(),
        mean_received=pl.col("n_received").mean(),
        share_reached=reached,
    )
    return groups.sort("arm")


def _effects(effects: Cace | NotEstimable) -> dict[str, Any]:
    if isinstance(effects, NotEstimable):
        return {"not_estimable": effects.reason, "rows": []}
    frame = effects.to_frame("polars")
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    plain = frame.with_columns(pl.when(pl.col(c).is_finite()).then(c) for c in floats)
    reasons = {name: why.reason for name, why in effects.not_estimable.items()}
    return {"not_estimable": None, "rows": plain.to_dicts(), "reasons": reasons}


def _lines(found: StudyStatus) -> Iterator[str]:
    yield f"{found.title}, as of {found.as_of:%Y-%m-%d %H:%M} UTC"
    if found.deliveries:
        yield "\nMessages (sent and delivered count those that went further too):"
        yield _table(found.deliveries)
    else:
        yield "No messages are queued."
    if found.paused:
        yield f"Paused: {', '.join(name or 'everything' for name in found.paused)}."
    for one in found.held:
        yield f"Held: {one['channel']}, since {one['since'][:16]} UTC: {one['reason']}."
    if found.failures:
        yield "\nFailed and unknown, by reason:"
        yield _table(found.failures)
    if found.opt_outs:
        yield f"\nOpt-outs ({found.units}; all stay in their arm):"
        yield _table(found.opt_outs)
    if found.n_unknown_opt_outs:
        yield (
            f"\n{found.n_unknown_opt_outs:,} addresses of nobody in the study opted out: kept, "
            "encrypted, for whoever is imported with one of them."
        )
    for wave in found.waves:
        yield from _wave_lines(wave)
    calls, events = found.calls, found.events
    if not events:
        return
    if calls["n_messages"] or events["n_missed_calls"]:
        yield (
            f"\nCalls: {calls['n_calls']:,} begun for {calls['n_messages']:,} messages; messages "
            f"answered: {calls['n_answered']:,}; missed calls: {events['n_missed_calls']:,}."
        )
    yield (
        f"\nEvents: {events['n']:,} kept, {events['n_unknown_unit']:,} of units that were not "
        f"imported, {events['n_future']:,} dated after they came."
    )


def _wave_lines(wave: Mapping[str, Any]) -> Iterator[str]:
    yield f"\nWave {wave['wave']} ({wave['state']}); received: {wave['received_means']}."
    yield _table(wave["doses"])
    ratio: dict[str, Any] = wave["ratio"]
    yield f"{ratio['name']}: {ratio['verdict']}. {ratio['text']}"
    effects = wave["effects_on_reached"]
    if effects["not_estimable"]:
        yield f"Complier average causal effect: not estimable, {effects['not_estimable']}."
        return
    names = ["arm", "estimate", "conf_low", "conf_high", "itt", "itt_low", "itt_high"]
    yield "Complier average causal effect (one message or more), beside intent to treat:"
    yield text_table(names, [[row[name] for name in names] for row in effects["rows"]])
    yield from (f"  {name}: {reason}" for name, reason in effects["reasons"].items())
    for row in effects["rows"]:
        if row["estimate"] is not None and None in (row["conf_low"], row["conf_high"]):
            yield f"  {row['arm']}: effects that are not rejected: {row['conf_set']}"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    return text_table(list(rows[0]), [list(row.values()) for row in rows])
