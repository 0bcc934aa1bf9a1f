"""Events are found by their id alone: two indexes that nothing read cost half of intake."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEXES = (["unit_id"], ["kind", "at_utc_us"])


def upgrade() -> None:
    for columns in INDEXES:
        op.drop_index(op.f(f"ix_event_{'_'.join(columns)}"), "event")


def downgrade() -> None:
    for columns in INDEXES:
        op.create_index(op.f(f"ix_event_{'_'.join(columns)}"), "event", columns)
