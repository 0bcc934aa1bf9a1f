"""Contact details that people changed, and opt-outs that they reversed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "contact_change",
        sa.Column("change_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("former_key_id", sa.Text),
        sa.Column("former_sealed", sa.Text),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_contact_change")),
    )
    op.create_index(op.f("ix_contact_change_unit_id"), "contact_change", ["unit_id"])
    op.create_table(
        "resumption",
        sa.Column("resumption_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("received_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("resumption_id", name=op.f("pk_resumption")),
    )
    op.create_index(op.f("ix_resumption_unit_id"), "resumption", ["unit_id"])


def downgrade() -> None:
    op.drop_table("resumption")
    op.drop_table("contact_change")
