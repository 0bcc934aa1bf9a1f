"""Deliveries of a wave: counts, reasons, exposure and effects, as tables and a sentence."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.design.spec import Outcome
from wavewise.errors import InputError
from wavewise.report.blocks import Column, Table
from wavewise.report.numbers import (
    Scale,
    count,
    decimals_for,
    fixed,
    outcome_facts,
    percent,
    scale_of,
    signed,
)
from wavewise.shared.results import NotEstimable

if TYPE_CHECKING:
    from wavewise.estimate.effects.instruments import Cace

__all__ = [
    "COUNTED",
    "Reach",
    "WaveDeliveries",
    "delivery_tables",
    "reach_by_arm",
    "reach_sentence",
]

COUNTED = ("due", "sent", "delivered", "waiting", "failed", "unknown", "refused", "cancelled")
EFFECTS = ("itt", "itt_low", "itt_high", "estimate", "conf_low", "conf_high", "std_error")


@dataclass(frozen=True, eq=False)
class WaveDeliveries:
    """What became of a wave's messages."""

    wave: str  # Id of the wave.
    title: str
    outcome: Outcome  # Of the effects.
    received_means: str  # What counts as received, in words.
    messages: pl.DataFrame  # One row per arm and channel: arm, channel, and each of ``COUNTED``.
    # Both effects of every arm; or why there are none.
    effects: "Cace | NotEstimable"
    # arm, channel, state, reason, n: messages that failed, or whose fate is unknown.
    reasons: pl.DataFrame = field(default_factory=pl.DataFrame)
    opt_outs: pl.DataFrame = field(default_factory=pl.DataFrame)  # arm, source, n_units
    # arm, n_units, mean_messages, mean_received, share_reached; every arm, with or without messages
    exposure: pl.DataFrame = field(default_factory=pl.DataFrame)
    # arm, send (1 is the first), due, received: messages at one send of the schedule
    sends: pl.DataFrame = field(default_factory=pl.DataFrame)
    # message, version (0: none), text, n_messages, n_sent, first_sent, last_sent
    wordings: pl.DataFrame = field(default_factory=pl.DataFrame)
    level: float = 0.95  # Confidence level.

    def __post_init__(self) -> None:
        for row in _rows(self.sends):
            if row["send"] < 1 or not 0 <= row["received"] <= row["due"]:
                raise InputError(
                    f"report: arm {row['arm']!r}: found send {row['send']} with {row['received']} "
                    f"received of {row['due']} due; needed sends from 1 on, and no more received "
                    "than due"
                )

    @property
    def effect_rows(self) -> tuple[dict[str, Any], ...]:
        """Arms with both effects: the columns of ``EFFECTS``, first stage and interval in words."""
        if isinstance(self.effects, NotEstimable):
            return ()
        frame = self.effects.to_frame().select("arm", *EFFECTS, "first_stage", "conf_set")
        return _rows(frame.drop_nulls())

    @property
    def not_estimable(self) -> tuple[tuple[str, str], ...]:
        """Arm, or empty for the wave, and why it has no effects."""
        if isinstance(self.effects, NotEstimable):
            return (("", self.effects.reason),)
        return tuple((arm, why.reason) for arm, why in self.effects.not_estimable.items())

    def to_dict(self) -> dict[str, Any]:
        """What the report shows, as plain values."""
        tables = ("messages", "reasons", "opt_outs", "sends", "wordings")
        return {
            "wave": self.wave,
            "title": self.title,
            "outcome": outcome_facts(self.outcome),
            "received_means": self.received_means,
            **{name: list(_rows(getattr(self, name))) for name in tables},
            "doses": list(_rows(self.exposure)),
            "effects": [
                {name: None if value in {-inf, inf} else value for name, value in row.items()}
                for row in self.effect_rows
            ],
            "not_estimable": [list(pair) for pair in self.not_estimable],
            "level": self.level,
        }


@dataclass(frozen=True)
class Reach:
    """Messages of an arm that were due and received; (send, share received) of each send."""

    arm: str
    due: int
    received: int
    sends: tuple[tuple[int, float], ...]

    @property
    def share(self) -> float:
        """Share of the due messages that were received."""
        return self.received / self.due


def reach_by_arm(item: WaveDeliveries) -> tuple[Reach, ...]:
    """What was received of what was due, by arm and send; nothing for arms with nothing due."""
    due = [row for row in _rows(item.sends) if row["due"]]
    arms = {row["arm"]: [other for other in due if other["arm"] == row["arm"]] for row in due}
    return tuple(
        Reach(
            arm,
            sum(row["due"] for row in rows),
            sum(row["received"] for row in rows),
            tuple(sorted((row["send"], row["received"] / row["due"]) for row in rows)),
        )
        for arm, rows in arms.items()
    )


def reach_sentence(item: WaveDeliveries) -> str:
    """What the figure of sends shows, in a sentence or two; empty if nothing was due."""
    arms = reach_by_arm(item)
    if not arms:
        return ""
    due, received = sum(arm.due for arm in arms), sum(arm.received for arm in arms)
    text = f"Of {count(due)} messages due, {count(received)} ({percent(received / due, 1)})"
    text += " were received"
    if len(arms) > 1:
        text += f": {_spread(arms)}"
    sends = sorted({row["send"] for row in _rows(item.sends) if row["due"]})
    if len(sends) < 2:
        return f"{text}."
    first, last = (_share_at(item, send) for send in (sends[0], sends[-1]))
    return f"{text}. At send {sends[0]} it was {first}, at send {sends[-1]} {last}."


def _spread(arms: tuple[Reach, ...]) -> str:
    low, high = (pick(arms, key=lambda arm: arm.share) for pick in (min, max))
    if low.share == high.share:
        return "the same share in every arm"
    return f"from {percent(low.share, 1)} ({low.arm}) to {percent(high.share, 1)} ({high.arm})"


def _share_at(item: WaveDeliveries, send: int) -> str:
    rows = [row for row in _rows(item.sends) if row["send"] == send]
    return percent(sum(row["received"] for row in rows) / sum(row["due"] for row in rows), 1)


def delivery_tables(item: WaveDeliveries, unit_name: str) -> tuple[Table, ...]:
    """Messages, reasons, opt-outs, exposure and both effects; without those that are empty."""
    return tuple(table for table in _tables(item, unit_name) if table.rows)


def _tables(item: WaveDeliveries, unit_name: str) -> Iterator[Table]:
    messages, units = _rows(item.messages), Column(unit_name.capitalize())
    yield Table(
        "Messages",
        (*_texts("Arm", "Channel"), *(Column(name.capitalize()) for name in COUNTED)),
        tuple((r["arm"], r["channel"], *(count(r[name]) for name in COUNTED)) for r in messages),
        total=("All", "", *(count(sum(r[name] for r in messages)) for name in COUNTED)),
        note="Sent: accepted by the provider. Delivered: confirmed by a receipt. Unknown: may have "
        "gone out, and was not sent again. Refused: cancelled because the unit opted out.",
    )
    yield Table(
        "Failed and unknown, by reason",
        (*_texts("Arm", "Channel", "State", "Reason"), Column("Messages")),
        tuple(
            (r["arm"], r["channel"], r["state"], r["reason"], count(r["n"]))
            for r in _rows(item.reasons)
        ),
    )
    yield Table(
        "Words of the messages",
        (*_texts("Message", "Version of the plan", "Text", "First sent (UTC)", "Last sent (UTC)"),
         Column("Messages"), Column("Sent")),
        tuple(
            (r["message"], str(r["version"] or "none"), r["text"], r["first_sent"], r["last_sent"],
             count(r["n_messages"]), count(r["n_sent"]))
            for r in _rows(item.wordings)
        ),
        note="The version under which messages were queued; in its words they were sent.",
    )  # fmt: skip
    yield Table(
        "Opt-outs",
        (*_texts("Arm", "How"), units),
        tuple((r["arm"], r["source"], count(r["n_units"])) for r in _rows(item.opt_outs)),
        note="They stay in their arm and in every comparison.",
    )
    yield Table(
        "Exposure to messages",
        (*_texts("Arm"), units, Column("Messages per unit"), Column("Received per unit"),
         Column("Reached")),
        tuple(
            (r["arm"], count(r["n_units"]), fixed(r["mean_messages"], 2),
             fixed(r["mean_received"], 2), percent(r["share_reached"], 1))
            for r in _rows(item.exposure)
        ),
        note=f"Reached: received at least one message. Received: {item.received_means}.",
    )  # fmt: skip
    yield _effects(item)


def _effects(item: WaveDeliveries) -> Table:
    scale, rows = scale_of(item.outcome), item.effect_rows
    decimals = max((decimals_for(scale.factor * row["std_error"]) for row in rows), default=2)
    level, unit = percent(item.level, 0), scale.unit_in_brackets()
    columns = (
        *_texts("Arm"),
        Column(f"Intent to treat{unit}"),
        Column(f"{level} conf. interval"),
        Column("Compliers"),
        Column(f"Effect on compliers{unit}"),
        Column(f"{level} conf. interval"),
    )
    cells = tuple(
        (
            row["arm"],
            signed(scale.factor * row["itt"], decimals),
            scale.interval(row["itt_low"], row["itt_high"], decimals),
            percent(row["first_stage"], 1),
            signed(scale.factor * row["estimate"], decimals),
            _interval(item, row, scale, decimals),
        )
        for row in rows
    )
    note = (
        "Intent to treat compares all units as assigned. The complier average causal effect uses "
        "assignment as an instrument for receiving a message: it is valid if a message that did "
        "not arrive changed nothing. Compliers: units that receive a message because of their "
        "assignment."
    )
    return Table(f"Both effects on {item.outcome.name}", columns, cells, note=note)


def _interval(item: WaveDeliveries, row: dict[str, Any], scale: Scale, decimals: int) -> str:
    """The effects that are not rejected; in words where they are no interval."""
    if isinstance(item.effects, NotEstimable) or isfinite(row["conf_high"] - row["conf_low"]):
        return scale.interval(row["conf_low"], row["conf_high"], decimals)
    found = item.effects.anderson_rubin()[row["arm"]]
    if found.kind == "line":
        return "any number: too few were reached because of their assignment"
    low, high = scale.bounds(found.low, found.high, decimals)
    return f"up to {low}, or {high} and more"


def _texts(*labels: str) -> tuple[Column, ...]:
    return tuple(Column(label, numeric=False) for label in labels)


def _rows(frame: pl.DataFrame) -> tuple[dict[str, Any], ...]:
    return tuple(frame.iter_rows(named=True))
