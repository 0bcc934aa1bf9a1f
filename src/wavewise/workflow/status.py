"""``status``: how a study stands, from the outbox, the refusals and the events."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl

from wavewise.estimate.cace import Cace
from wavewise.results import NotEstimable
from wavewise.store.doses import ARRIVED, OUT
from wavewise.workflow.calls import VOICE
from wavewise.workflow.deliveries import (
    Delivered,
    delivered,
    effects_on_reached,
    ratio_of_delivered,
)
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.intake import CLOCK_SLACK
from wavewise.workflow.rings import FLASH
from wavewise.workflow.study import Study

__all__ = ["delivery_table", "dose_table", "failure_table", "refusal_table", "status"]

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


def status(study: Study) -> Done:
    """Messages by wave, arm and channel; failures by reason; refusals; doses; checks; calls.

    Parameters
    ----------
    study : Study
        An open study.
    """
    counts = study.store.delivery_counts(study.clock())
    waves = [_wave(study, row.wave_id, row.state) for row in study.store.waves()]
    slack = CLOCK_SLACK // timedelta(microseconds=1)
    facts: dict[str, Any] = {
        "as_of": study.clock().isoformat(),
        "deliveries": delivery_table(counts).rename({"wave_id": "wave"}).to_dicts(),
        "failures": failure_table(counts).rename({"wave_id": "wave"}).to_dicts(),
        "refusals": refusal_table(study).to_dicts(),
        "waves": waves,
        "events": study.store.event_counts(slack, FLASH),
        "calls": study.store.call_counts(VOICE),
        "paused": list(study.store.paused_waves()),
    }
    return Done("\n".join(_lines(study, facts)), facts)


def delivery_table(counts: pl.DataFrame) -> pl.DataFrame:
    """One row a wave, arm and channel: due, sent, delivered, waiting, failed, unknown, ..."""
    sums = [value.fill_null(0).sum().cast(pl.Int64).alias(name) for name, value in _COUNTS.items()]
    return counts.group_by(_BY).agg(sums).sort(_BY)


def failure_table(counts: pl.DataFrame) -> pl.DataFrame:
    """Failed and unknown messages by wave, arm, channel, state and reason."""
    failed = counts.filter(pl.col("state").is_in(["failed", "unknown"]))
    columns = [*_BY, "state", pl.col("reason").fill_null("not known"), "n"]
    return failed.select(columns).sort([*_BY, "state", "reason"])


def refusal_table(study: Study) -> pl.DataFrame:
    """Units that refuse, by wave, arm and source; a unit of several waves counts in each."""
    refused = study.store.refusals().select("unit_id", "source")
    parts = [
        study.store.assignment(row.wave_id)
        .join(refused, on="unit_id", how="inner")
        .select("unit_id", "arm", "source", wave=pl.lit(row.wave_id))
        for row in study.store.waves()
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
        "ratio": ratio_of_delivered(found).to_dict(),
        "effects_on_reached": _effects(effects),
    }


def dose_table(found: Delivered) -> pl.DataFrame:
    """One row an arm: units, messages and received messages a unit, share that was reached."""
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
    frame = effects.to_frame()
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    plain = frame.with_columns(pl.when(pl.col(c).is_finite()).then(c) for c in floats)
    reasons = {name: why.reason for name, why in effects.not_estimable.items()}
    return {"not_estimable": None, "rows": plain.to_dicts(), "reasons": reasons}


def _lines(study: Study, facts: dict[str, Any]) -> Iterator[str]:
    yield f"{study.spec.study.title}, as of {study.clock():%Y-%m-%d %H:%M} UTC"
    if facts["deliveries"]:
        yield "\nMessages (sent and delivered count those that went further too):"
        yield _table(facts["deliveries"])
    else:
        yield "No messages are queued."
    if facts["paused"]:
        yield f"Paused: {', '.join(name or 'everything' for name in facts['paused'])}."
    if facts["failures"]:
        yield "\nFailed and unknown, by reason:"
        yield _table(facts["failures"])
    if facts["refusals"]:
        yield f"\nRefusals ({study.spec.units.name}; all stay in their arm):"
        yield _table(facts["refusals"])
    for wave in facts["waves"]:
        yield from _wave_lines(wave)
    calls, events = facts["calls"], facts["events"]
    if calls["n_messages"] or events["n_flashes"]:
        yield (
            f"\nCalls: {calls['n_calls']:,} begun for {calls['n_messages']:,} messages; messages "
            f"answered: {calls['n_answered']:,}; times that people rang: {events['n_flashes']:,}."
        )
    yield (
        f"\nEvents: {events['n']:,} kept, {events['n_unknown_unit']:,} of units that were not "
        f"imported, {events['n_future']:,} dated after they came."
    )


def _wave_lines(wave: dict[str, Any]) -> Iterator[str]:
    yield f"\nWave {wave['wave']} ({wave['state']}); received: {wave['received_means']}."
    yield _table(wave["doses"])
    ratio: dict[str, Any] = wave["ratio"]
    yield f"{ratio['name']}: {ratio['verdict']}. {ratio['text']}"
    effects = wave["effects_on_reached"]
    if effects["not_estimable"]:
        yield f"Effect on those reached: not estimable, {effects['not_estimable']}."
        return
    names = ["arm", "estimate", "conf_low", "conf_high", "itt", "itt_low", "itt_high"]
    yield "Effect on those reached (one message or more), beside intent to treat:"
    yield text_table(names, [[row[name] for name in names] for row in effects["rows"]])
    yield from (f"  {name}: {reason}" for name, reason in effects["reasons"].items())


def _table(rows: list[dict[str, Any]]) -> str:
    return text_table(list(rows[0]), [list(row.values()) for row in rows])
