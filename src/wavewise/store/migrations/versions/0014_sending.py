"""What a message was worded by, calls of doubtful fate, channels that are held."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0010"
branch_labels = None
depends_on = None

# Added without a copy of the table: messages can be millions.
_COLUMNS = (
    ("outbox", "spec_hash", sa.Text),
    ("outbox", "wording_hash", sa.Text),
    ("outbox", "doubt_at_utc_us", sa.BigInteger),
    ("outbox", "looked_up_at_utc_us", sa.BigInteger),
    ("channel_rate", "at_utc_us", sa.BigInteger),
)


def upgrade() -> None:
    for table, name, kind in _COLUMNS:
        op.add_column(table, sa.Column(name, kind))
    op.create_table(
        "held_channel",
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("needs_person", sa.Boolean, nullable=False),
        sa.Column("held_at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("n_probes", sa.Integer, nullable=False),
        sa.Column("next_probe_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("channel", name=op.f("pk_held_channel")),
    )
    op.create_table(
        "heartbeat",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_heartbeat")),
    )


def downgrade() -> None:
    op.drop_table("heartbeat")
    op.drop_table("held_channel")
    for table, name, _ in _COLUMNS:
        op.drop_column(table, name)
