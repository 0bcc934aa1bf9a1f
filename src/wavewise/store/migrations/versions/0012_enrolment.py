"""Enrolment before waves, its messages in the outbox; groups that share a phone."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0015"
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def upgrade() -> None:
    # A message is a wave's or an enrolment's.
    with op.batch_alter_table("outbox") as table:
        table.drop_constraint(op.f("fk_outbox_assignment"), type_="foreignkey")
    op.add_column("assignment", sa.Column("randomized_with", sa.Text))
    op.create_table(
        "enrolment",
        _text("enrolment_id"),
        _text("state"),
        sa.Column("opened_at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("closed_at_utc_us", sa.BigInteger),
        sa.Column("version", sa.Integer),
        sa.Column("exploratory", sa.Boolean, nullable=False),
        _text("details_json"),
        sa.PrimaryKeyConstraint("enrolment_id", name=op.f("pk_enrolment")),
        sa.ForeignKeyConstraint(
            ["version"], ["study_version.number"], name=op.f("fk_enrolment_study_version")
        ),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_enrolment_state")),
    )
    op.create_table(
        "enrolment_unit",
        *(_text(name) for name in ("enrolment_id", "unit_id", "status")),
        _text("reason", nullable=True),
        sa.Column("answered", sa.Boolean),
        sa.Column("consented_at_utc_us", sa.BigInteger),
        *(_text(f"consent_{name}", nullable=True) for name in ("proof", "message", "language")),
        sa.PrimaryKeyConstraint("enrolment_id", "unit_id", name=op.f("pk_enrolment_unit")),
        sa.ForeignKeyConstraint(
            ["enrolment_id"],
            ["enrolment.enrolment_id"],
            name=op.f("fk_enrolment_unit_enrolment"),
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.unit_id"], name=op.f("fk_enrolment_unit_unit")),
        sa.CheckConstraint(
            "status IN ('left out', 'invited', 'enrolled')", name=op.f("ck_enrolment_unit_status")
        ),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for name in ("enrolment_unit", "enrolment"):
        op.drop_table(name)
    op.drop_column("assignment", "randomized_with")
    with op.batch_alter_table("outbox") as table:
        table.create_foreign_key(
            op.f("fk_outbox_assignment"),
            "assignment",
            ["wave_id", "unit_id"],
            ["wave_id", "unit_id"],
        )
