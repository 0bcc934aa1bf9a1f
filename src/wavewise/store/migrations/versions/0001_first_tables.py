"""The first tables: versions, units, waves, assignments, events, outcomes, results."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_registry()
    _create_waves()
    _create_observations()
    _create_results()


def downgrade() -> None:
    for table in ("result", "outcome", "event", "assignment", "wave", "unit", "study_version"):
        op.drop_table(table)


def _create_registry() -> None:
    op.create_table(
        "study_version",
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("created_at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("spec_toml", sa.Text, nullable=False),
        sa.Column("spec_json", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("waves_seen_json", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_study_version")),
    )
    op.create_table(
        "unit",
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("cluster", sa.Text),
        sa.Column("time_zone", sa.Text),
        sa.Column("language", sa.Text),
        sa.Column("fields_json", sa.Text, nullable=False),
        sa.Column("imported_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("unit_id", name=op.f("pk_unit")),
    )


def _create_waves() -> None:
    op.create_table(
        "wave",
        sa.Column("wave_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("opened_at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("closed_at_utc_us", sa.BigInteger),
        sa.Column("version", sa.Integer),
        sa.Column("exploratory", sa.Boolean, nullable=False),
        sa.Column("starts_at_utc_us", sa.BigInteger),
        sa.Column("details_json", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("wave_id", name=op.f("pk_wave")),
        sa.ForeignKeyConstraint(
            ["version"], ["study_version.number"], name=op.f("fk_wave_study_version")
        ),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_wave_state")),
    )
    op.create_table(
        "assignment",
        sa.Column("wave_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("stratum", sa.Text, nullable=False),
        sa.Column("arm", sa.Text, nullable=False),
        sa.Column("propensity", sa.Double),
        sa.Column("held_out", sa.Boolean),
        sa.PrimaryKeyConstraint("wave_id", "unit_id", name=op.f("pk_assignment")),
        sa.ForeignKeyConstraint(["wave_id"], ["wave.wave_id"], name=op.f("fk_assignment_wave")),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.unit_id"], name=op.f("fk_assignment_unit")),
        sqlite_with_rowid=False,
    )


def _create_observations() -> None:
    op.create_table(
        "event",
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("item", sa.Text),
        sa.Column("received_at_utc_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event")),
    )
    op.create_index(op.f("ix_event_unit_id"), "event", ["unit_id"])
    op.create_index(op.f("ix_event_kind_at_utc_us"), "event", ["kind", "at_utc_us"])
    op.create_table(
        "outcome",
        sa.Column("wave_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("values_json", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("wave_id", "unit_id", name=op.f("pk_outcome")),
        sa.ForeignKeyConstraint(
            ["wave_id", "unit_id"],
            ["assignment.wave_id", "assignment.unit_id"],
            name=op.f("fk_outcome_assignment"),
        ),
        sqlite_with_rowid=False,
    )


def _create_results() -> None:
    op.create_table(
        "result",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("wave_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("created_at_utc_us", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Integer),
        sa.Column("payload_json", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_result")),
        sa.ForeignKeyConstraint(
            ["version"], ["study_version.number"], name=op.f("fk_result_study_version")
        ),
    )
    op.create_index(op.f("ix_result_kind_wave_id"), "result", ["kind", "wave_id"])
