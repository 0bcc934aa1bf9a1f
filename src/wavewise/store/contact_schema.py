"""Tables apart from research data: sealed contact details, refusals, and keys of the interface."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table, Text

from wavewise.store.schema import metadata

__all__ = ["api_key", "contact", "contact_change", "refusal", "resumption"]

contact = Table(
    "contact",
    metadata,
    Column("unit_id", Text, ForeignKey("unit.unit_id"), primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("lookup", Text, nullable=False),
    Column("imported_at_utc_us", BigInteger, nullable=False),
    Index(None, "lookup"),
    sqlite_with_rowid=False,
)

# What a unit changed itself. The former detail stays sealed: a number is easily mistyped.
contact_change = Table(
    "contact_change",
    metadata,
    Column("change_id", Text, primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("former_key_id", Text),
    Column("former_sealed", Text),
    Index(None, "unit_id"),
)

# No foreign key: a refusal outlives whatever happens to its unit's row.
refusal = Table(
    "refusal",
    metadata,
    Column("refusal_id", Text, primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("channel", Text),  # null: all channels
    Column("source", Text, nullable=False),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("received_at_utc_us", BigInteger, nullable=False),
    Index(None, "unit_id"),
)

# A refusal stays; this says from when on it no longer holds on a channel.
resumption = Table(
    "resumption",
    metadata,
    Column("resumption_id", Text, primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("received_at_utc_us", BigInteger, nullable=False),
    Index(None, "unit_id"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at_utc_us", BigInteger, nullable=False),
    Column("revoked_at_utc_us", BigInteger),
)
