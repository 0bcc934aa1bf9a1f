"""Ways back: corrected and withdrawn observations, reopened waves, units as they were before."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Added without a copy of the table: events can be millions.
_COLUMNS = (
    ("event", "withdrawn_at_utc_us", sa.BigInteger),
    ("score_delivery", "withdrawn_at_utc_us", sa.BigInteger),
    ("wave", "reopened_at_utc_us", sa.BigInteger),
    ("wave", "outcome_version", sa.Integer),
)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _time(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def upgrade() -> None:
    for table, name, kind in _COLUMNS:
        op.add_column(table, sa.Column(name, kind))
    op.create_table(
        "former_unit",
        sa.Column("former_id", sa.Integer, nullable=False),
        _text("unit_id"),
        *(_text(name, nullable=True) for name in ("cluster", "time_zone", "language")),
        _text("fields_json"),
        _time("imported_at_utc_us"),
        _time("replaced_at_utc_us"),
        sa.PrimaryKeyConstraint("former_id", name=op.f("pk_former_unit")),
    )
    op.create_index(op.f("ix_former_unit_unit_id"), "former_unit", ["unit_id"])
    op.create_table(
        "correction",
        sa.Column("correction_id", sa.Integer, nullable=False),
        *(_text(n) for n in ("observation", "action", "unit_id", "former_json", "reason")),
        _time("at_utc_us"),
        sa.PrimaryKeyConstraint("correction_id", name=op.f("pk_correction")),
        sa.CheckConstraint(
            "observation IN ('event', 'score')", name=op.f("ck_correction_observation")
        ),
        sa.CheckConstraint(
            "action IN ('corrected', 'withdrawn')", name=op.f("ck_correction_action")
        ),
    )
    op.create_table(
        "former_outcome",
        _text("wave_id"),
        sa.Column("version", sa.Integer, nullable=False),
        _text("unit_id"),
        _text("values_json"),
        sa.PrimaryKeyConstraint("wave_id", "version", "unit_id", name=op.f("pk_former_outcome")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "former_score",
        _text("wave_id"),
        sa.Column("version", sa.Integer, nullable=False),
        *(_text(name) for name in ("outcome_id", "unit_id", "period")),
        sa.Column("score", sa.Double, nullable=False),
        _text("delivery"),
        _time("delivered_at_utc_us"),
        sa.PrimaryKeyConstraint(
            *("wave_id", "version", "outcome_id", "unit_id", "period"),
            name=op.f("pk_former_score"),
        ),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("former_score", "former_outcome", "correction", "former_unit"):
        op.drop_table(table)
    for table, name, _ in _COLUMNS:
        op.drop_column(table, name)
