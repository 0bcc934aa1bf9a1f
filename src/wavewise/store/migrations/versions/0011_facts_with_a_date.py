"""Facts with a date: columns measured again, and what units looked like when a wave was opened."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0014"
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "measurement",
        sa.Column("measurement_id", sa.Integer, nullable=False),
        _text("unit_id"),
        _text("as_of", nullable=True),
        _text("for_wave", nullable=True),
        _text("fields_json"),
        sa.Column("imported_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("measurement_id", name=op.f("pk_measurement")),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.unit_id"], name=op.f("fk_measurement_unit")),
        sa.CheckConstraint(
            "(as_of IS NULL) <> (for_wave IS NULL)", name=op.f("ck_measurement_date")
        ),
    )
    op.create_index(op.f("ix_measurement_unit_id"), "measurement", ["unit_id"])
    op.create_table(
        "frozen_fact",
        *(_text(name) for name in ("wave_id", "unit_id", "values_json")),
        sa.PrimaryKeyConstraint("wave_id", "unit_id", name=op.f("pk_frozen_fact")),
        sa.ForeignKeyConstraint(
            ["wave_id", "unit_id"],
            ["assignment.wave_id", "assignment.unit_id"],
            name=op.f("fk_frozen_fact_assignment"),
        ),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("frozen_fact")
    op.drop_table("measurement")
