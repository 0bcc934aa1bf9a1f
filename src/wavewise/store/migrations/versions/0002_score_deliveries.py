"""Scores: every delivery, and what each closed wave used."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "score_delivery",
        sa.Column("outcome_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("delivery", sa.Text, nullable=False),
        sa.Column("delivered_at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("received_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "outcome_id", "unit_id", "period", "delivery", name=op.f("pk_score_delivery")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_score_delivery_unit_id"), "score_delivery", ["unit_id"])
    op.create_table(
        "frozen_score",
        sa.Column("wave_id", sa.Text, nullable=False),
        sa.Column("outcome_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("delivery", sa.Text, nullable=False),
        sa.Column("delivered_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "wave_id", "outcome_id", "unit_id", "period", name=op.f("pk_frozen_score")
        ),
        sa.ForeignKeyConstraint(["wave_id"], ["wave.wave_id"], name=op.f("fk_frozen_score_wave")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_frozen_score_unit_id"), "frozen_score", ["unit_id"])


def downgrade() -> None:
    op.drop_table("frozen_score")
    op.drop_table("score_delivery")
