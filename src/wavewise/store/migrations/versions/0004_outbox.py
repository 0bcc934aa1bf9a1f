"""The outbox, receipts, and waves whose messages are paused."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATES = (
    "state IN ('queued', 'leased', 'sending', 'cancelled', 'unknown', 'sent', 'failed', "
    "'delivered', 'read', 'answered')"
)


def upgrade() -> None:
    _create_outbox()
    _create_receipts()
    op.create_table(
        "paused_wave",
        sa.Column("wave_id", sa.Text, nullable=False),
        sa.Column("paused_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("wave_id", name=op.f("pk_paused_wave")),
    )


def downgrade() -> None:
    for table in ("paused_wave", "receipt", "outbox"):
        op.drop_table(table)


def _create_outbox() -> None:
    texts = ("message_key", "arm", "message_id", "channel", "content_json", "time_zone")
    times = ("sent", "delivered", "read", "answered", "ended")
    op.create_table(
        "outbox",
        sa.Column("outbox_id", sa.Integer, nullable=False),
        sa.Column("wave_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("slot", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("due_at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("next_at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("expires_at_utc_us", sa.BigInteger),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until_utc_us", sa.BigInteger),
        sa.Column("provider_id", sa.Text),
        sa.Column("queued_at_utc_us", sa.BigInteger, nullable=False),
        *(sa.Column(f"{name}_at_utc_us", sa.BigInteger) for name in times),
        sa.PrimaryKeyConstraint("outbox_id", name=op.f("pk_outbox")),
        sa.ForeignKeyConstraint(
            ["wave_id", "unit_id"],
            ["assignment.wave_id", "assignment.unit_id"],
            name=op.f("fk_outbox_assignment"),
        ),
        sa.CheckConstraint(STATES, name=op.f("ck_outbox_state")),
    )
    for columns, unique in (
        (["wave_id", "unit_id", "slot"], True),
        (["message_key"], True),
        (["channel", "state", "next_at_utc_us"], False),
        (["unit_id"], False),
        (["provider_id"], False),
    ):
        name = op.f(f"ix_outbox_{'_'.join(columns)}")
        op.create_index(name, "outbox", columns, unique=unique)


def _create_receipts() -> None:
    op.create_table(
        "receipt",
        sa.Column("receipt_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("provider_id", sa.Text),
        sa.Column("message_key", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("received_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("receipt_id", name=op.f("pk_receipt")),
        sa.CheckConstraint(
            "state IN ('sent', 'failed', 'delivered', 'read', 'answered')",
            name=op.f("ck_receipt_state"),
        ),
    )
    for column in ("provider_id", "message_key"):
        op.create_index(op.f(f"ix_receipt_{column}"), "receipt", [column])
