"""The tables of scores: every delivery as it came, and what each closed wave used of them."""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Table, Text

from wavewise.store.schema import metadata

__all__ = ["frozen_score", "score_delivery"]

score_delivery = Table(
    "score_delivery",
    metadata,
    Column("outcome_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("delivery", Text, primary_key=True),
    Column("delivered_at_utc_us", BigInteger, nullable=False),
    Column("score", Double, nullable=False),
    Column("received_at_utc_us", BigInteger, nullable=False),
    Index(None, "unit_id"),
    sqlite_with_rowid=False,
)

frozen_score = Table(
    "frozen_score",
    metadata,
    Column("wave_id", Text, ForeignKey("wave.wave_id"), primary_key=True),
    Column("outcome_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("score", Double, nullable=False),
    Column("delivery", Text, nullable=False),
    Column("delivered_at_utc_us", BigInteger, nullable=False),
    Index(None, "unit_id"),
    sqlite_with_rowid=False,
)
