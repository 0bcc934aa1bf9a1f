"""The tables. Nothing here that PostgreSQL or SQLite alone could run."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

__all__ = [
    "HEAD",
    "assignment",
    "event",
    "metadata",
    "outcome",
    "result",
    "study_version",
    "unit",
    "wave",
]

# The newest migration. A file that is already there opens without loading Alembic.
HEAD = "0008"

# Every constraint has a name, so that a later migration can change it on both databases.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

study_version = Table(
    "study_version",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("created_at_utc_us", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("spec_toml", Text, nullable=False),
    Column("spec_json", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("waves_seen_json", Text, nullable=False),
)

unit = Table(
    "unit",
    metadata,
    Column("unit_id", Text, primary_key=True),
    Column("cluster", Text),
    Column("time_zone", Text),
    Column("language", Text),
    Column("fields_json", Text, nullable=False),
    Column("imported_at_utc_us", BigInteger, nullable=False),
)

wave = Table(
    "wave",
    metadata,
    Column("wave_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("opened_at_utc_us", BigInteger, nullable=False),
    Column("closed_at_utc_us", BigInteger),
    Column("version", Integer, ForeignKey("study_version.number")),
    Column("exploratory", Boolean, nullable=False),
    Column("starts_at_utc_us", BigInteger),
    Column("details_json", Text, nullable=False),
    CheckConstraint("state IN ('open', 'closed')", name="state"),
)

assignment = Table(
    "assignment",
    metadata,
    Column("wave_id", Text, ForeignKey("wave.wave_id"), primary_key=True),
    Column("unit_id", Text, ForeignKey("unit.unit_id"), primary_key=True),
    Column("stratum", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("propensity", Double),  # null: drawn elsewhere, and not known
    Column("held_out", Boolean),
    # where the arm is a policy: the arm that it gives, and the probability with which it gives it
    Column("content", Text),
    Column("content_propensity", Double),
    sqlite_with_rowid=False,  # the key is the table: half the writing
)

event = Table(
    "event",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("value", Double),
    Column("item", Text),
    Column("received_at_utc_us", BigInteger, nullable=False),
    # No other index: waves close by one pass over all events, and each index halves intake.
)

outcome = Table(
    "outcome",
    metadata,
    Column("wave_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("values_json", Text, nullable=False),
    ForeignKeyConstraint(["wave_id", "unit_id"], ["assignment.wave_id", "assignment.unit_id"]),
    sqlite_with_rowid=False,
)

result = Table(
    "result",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("wave_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("created_at_utc_us", BigInteger, nullable=False),
    Column("version", Integer, ForeignKey("study_version.number")),
    Column("payload_json", Text, nullable=False),
    Index(None, "kind", "wave_id"),
)
