"""What a policy gives each unit of its arm, and with which probability."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("assignment", sa.Column("content", sa.Text))
    op.add_column("assignment", sa.Column("content_propensity", sa.Double))


def downgrade() -> None:
    op.drop_column("assignment", "content_propensity")
    op.drop_column("assignment", "content")
