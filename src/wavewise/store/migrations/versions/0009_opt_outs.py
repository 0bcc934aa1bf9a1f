"""Names from the field: opt-outs, opt-ins, encrypted contact details."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Old table, new table, whether the channel may be null (all channels).
_TABLES = (("refusal", "opt_out", True), ("resumption", "opt_in", False))
_COLUMNS = (
    ("contact", "sealed", "encrypted"),
    ("contact_change", "former_sealed", "former_encrypted"),
)


def _copy(old: str, new: str, *, channel_may_be_null: bool) -> None:
    """A new table with the rows of the old one: constraints and indexes get their names too."""
    op.create_table(
        new,
        sa.Column(f"{new}_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=channel_may_be_null),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("received_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(f"{new}_id", name=op.f(f"pk_{new}")),
    )
    rest = ("unit_id", "channel", "source", "at_utc_us", "received_at_utc_us")
    source = sa.table(old, sa.column(f"{old}_id"), *map(sa.column, rest))
    target = sa.table(new, sa.column(f"{new}_id"), *map(sa.column, rest))
    op.execute(target.insert().from_select([f"{new}_id", *rest], sa.select(*source.c)))
    op.drop_table(old)
    op.create_index(op.f(f"ix_{new}_unit_id"), new, ["unit_id"])


def upgrade() -> None:
    for old, new, may_be_null in _TABLES:
        _copy(old, new, channel_may_be_null=may_be_null)
    for table, old, new in _COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def downgrade() -> None:
    for table, old, new in _COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
    for old, new, may_be_null in _TABLES:
        _copy(new, old, channel_may_be_null=may_be_null)
