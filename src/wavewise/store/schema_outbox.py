"""The outbox: one row a unit, slot and wave; receipts as they came; what is paused."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
)

from wavewise.store.schema import metadata

__all__ = ["ENDED", "RANK", "STATES", "channel_rate", "outbox", "paused_wave", "receipt"]

# How far a message came; a receipt moves it up, never down.
RANK = {
    "queued": 0,
    "leased": 1,
    "sending": 2,
    "cancelled": 3,
    "unknown": 4,
    "sent": 5,
    "failed": 6,
    "delivered": 7,
    "read": 8,
    "answered": 9,
}
STATES = tuple(RANK)
ENDED = ("cancelled", "unknown", "sent", "failed", "delivered", "read", "answered")

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", Integer, primary_key=True),
    Column("wave_id", Text, nullable=False),
    Column("unit_id", Text, nullable=False),
    Column("slot", Integer, nullable=False),  # 0 for the first send of the schedule
    Column("message_key", Text, nullable=False),  # idempotency key: random, names nobody
    Column("arm", Text, nullable=False),  # what the unit gets: of a policy, the arm that it chose
    Column("message_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("content_json", Text, nullable=False),  # language, title, text, fields, flow
    Column("time_zone", Text, nullable=False),
    Column("due_at_utc_us", BigInteger, nullable=False),  # by the schedule
    Column("next_at_utc_us", BigInteger, nullable=False),  # not before
    Column("expires_at_utc_us", BigInteger),  # not from then on
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False),  # calls of the provider that were begun
    Column("lease_owner", Text),
    Column("lease_until_utc_us", BigInteger),
    Column("provider_id", Text),
    Column("queued_at_utc_us", BigInteger, nullable=False),
    Column("sent_at_utc_us", BigInteger),
    Column("delivered_at_utc_us", BigInteger),
    Column("read_at_utc_us", BigInteger),
    Column("answered_at_utc_us", BigInteger),
    Column("ended_at_utc_us", BigInteger),  # failed, unknown, cancelled
    ForeignKeyConstraint(["wave_id", "unit_id"], ["assignment.wave_id", "assignment.unit_id"]),
    CheckConstraint(f"state IN {STATES}", name="state"),
    Index(None, "wave_id", "unit_id", "slot", unique=True),
    Index(None, "message_key", unique=True),
    Index(None, "channel", "state", "next_at_utc_us"),
    Index(None, "unit_id"),
    Index(None, "provider_id"),
)

# Kept whether or not their message is known yet: a receipt can overtake the provider's answer.
receipt = Table(
    "receipt",
    metadata,
    Column("receipt_id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("provider_id", Text),
    Column("message_key", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("received_at_utc_us", BigInteger, nullable=False),
    CheckConstraint("state IN ('sent', 'failed', 'delivered', 'read', 'answered')", name="state"),
    Index(None, "provider_id"),
    Index(None, "message_key"),
)

# Waves whose messages wait; the empty name stands for all of them.
paused_wave = Table(
    "paused_wave",
    metadata,
    Column("wave_id", Text, primary_key=True),
    Column("paused_at_utc_us", BigInteger, nullable=False),
)

# When a channel may send next; all workers of the study take their turns from here.
channel_rate = Table(
    "channel_rate",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("next_at_utc_us", BigInteger, nullable=False),  # by the database's clock
)
