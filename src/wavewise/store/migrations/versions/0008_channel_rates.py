"""When a channel may send next: its rate holds for all workers together."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "channel_rate",
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("next_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("channel", name=op.f("pk_channel_rate")),
    )


def downgrade() -> None:
    op.drop_table("channel_rate")
