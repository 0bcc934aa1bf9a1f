"""Opt-outs of numbers that nobody is known by, and what tells an older copy of a database."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0011"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def upgrade() -> None:
    op.create_table(
        "unknown_opt_out",
        *(_text(name) for name in ("opt_out_id", "channel")),
        sa.Column("only_channel", sa.Boolean, nullable=False),
        *(_text(name) for name in ("key_id", "encrypted", "lookup", "source")),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("at_utc_us", "received_at_utc_us")
        ),
        sa.Column("ended_at_utc_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("opt_out_id", name=op.f("pk_unknown_opt_out")),
    )
    op.create_index(op.f("ix_unknown_opt_out_lookup"), "unknown_opt_out", ["lookup"])
    op.create_table(
        "sending_place",
        _text("place"),
        _text("mark"),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_sending_place")),
    )
    op.add_column("paused_wave", sa.Column("reason", sa.Text))


def downgrade() -> None:
    op.drop_column("paused_wave", "reason")
    op.drop_table("sending_place")
    op.drop_table("unknown_opt_out")
