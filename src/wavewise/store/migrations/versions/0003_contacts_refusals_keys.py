"""Apart from research data: encrypted contact details, opt-outs, keys of the HTTP interface."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "contact",
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("lookup", sa.Text, nullable=False),
        sa.Column("imported_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("unit_id", "channel", name=op.f("pk_contact")),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.unit_id"], name=op.f("fk_contact_unit")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_contact_lookup"), "contact", ["lookup"])
    op.create_table(
        "refusal",
        sa.Column("refusal_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("received_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("refusal_id", name=op.f("pk_refusal")),
    )
    op.create_index(op.f("ix_refusal_unit_id"), "refusal", ["unit_id"])
    op.create_table(
        "api_key",
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("created_at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("revoked_at_utc_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_key")),
    )


def downgrade() -> None:
    op.drop_table("api_key")
    op.drop_table("refusal")
    op.drop_table("contact")
