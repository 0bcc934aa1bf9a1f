"""The team: accounts, sessions, an audit log that only grows, jobs, second persons."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0012"
branch_labels = None
depends_on = None

_ROLES = "role IN ('owner', 'analyst', 'field', 'viewer')"
_OUTCOMES = "outcome IN ('asked', 'begun', 'done', 'failed', 'refused', 'cancelled')"
_STATES = "state IN ('queued', 'running', 'done', 'failed', 'cancelled')"
_REFUSAL = "the audit log only grows"


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(f"{name}_utc_us", sa.BigInteger, nullable=nullable)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _key(table: str, column: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(column, name=op.f(f"pk_{table}"))


def _rule(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def _of_account(name: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], ["account.account_id"], name=op.f(f"fk_{name}"))


def upgrade() -> None:
    _accounts()
    _jobs()
    op.create_table(
        "audit_entry",
        sa.Column("entry_id", sa.Integer, nullable=False, autoincrement=False),
        _time("at"),
        *(_text(name) for name in ("actor", "verb", "outcome", "arguments_json")),
        sa.Column("version", sa.Integer),
        *(_text(name) for name in ("reason", "previous_hash", "hash")),
        _key("audit_entry", "entry_id"),
        _rule("audit_entry", "outcome", _OUTCOMES),
    )
    for statement in _only_grows(op.get_bind().dialect.name):
        op.execute(statement)


def _accounts() -> None:
    op.create_table(
        "account",
        *(_text(name) for name in ("account_id", "name", "role")),
        _text("password_hash", nullable=True),
        _text("subject", nullable=True),
        _time("invited_at"),
        _text("invitation_hash", nullable=True),
        *(_time(n, nullable=True) for n in ("invitation_until", "joined_at", "removed_at")),
        _key("account", "account_id"),
        _rule("account", "role", _ROLES),
    )
    for column in ("name", "subject"):
        op.create_index(op.f(f"ix_account_{column}"), "account", [column], unique=True)
    op.create_table(
        "session",
        *(_text(name) for name in ("session_id", "account_id", "token_hash")),
        *(_time(name) for name in ("began_at", "expires_at")),
        _time("ended_at", nullable=True),
        _key("session", "session_id"),
        _of_account("session_account", "account_id"),
    )
    op.create_index(op.f("ix_session_account_id"), "session", ["account_id"])
    op.create_index(op.f("ix_session_token_hash"), "session", ["token_hash"], unique=True)


def _jobs() -> None:
    op.create_table(
        "job",
        _number("job_id"),
        *(_text(name) for name in ("verb", "arguments_json")),
        _text("open_key", nullable=True),
        *(_text(name) for name in ("state", "asked_by")),
        _time("asked_at"),
        *(_time(name, nullable=True) for name in ("begun_at", "ended_at")),
        _number("attempts"),
        _text("lease_owner", nullable=True),
        _time("lease_until", nullable=True),
        sa.Column("cancel_asked", sa.Boolean, nullable=False),
        _text("progress_text"),
        *(_number(name) for name in ("n_done", "n_steps")),
        _text("result_text"),
        _key("job", "job_id"),
        _rule("job", "state", _STATES),
    )
    op.create_index(op.f("ix_job_open_key"), "job", ["open_key"], unique=True)
    op.create_index(op.f("ix_job_state"), "job", ["state"])
    op.create_table(
        "second_person",
        *(_text(name) for name in ("request_id", "step", "verb", "arguments_json")),
        *(_text(name) for name in ("spec_hash", "reason", "asked_by")),
        *(_time(name) for name in ("asked_at", "expires_at")),
        _text("answered_by", nullable=True),
        _time("answered_at", nullable=True),
        _text("answer", nullable=True),
        _key("second_person", "request_id"),
        _of_account("second_person_asked_by", "asked_by"),
        _of_account("second_person_answered", "answered_by"),
        _rule("second_person", "answer", "answer IN ('confirmed', 'declined', 'withdrawn')"),
        _rule("second_person", "two_people", "answer <> 'confirmed' OR answered_by <> asked_by"),
    )


def _only_grows(dialect: str) -> list[str]:
    """Statements by which the database itself refuses to change or delete an entry."""
    if dialect == "postgresql":
        return [
            "CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'restrict_violation'; END $$",
            "CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows()",
        ]
    refused = f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    known = "WHEN EXISTS (SELECT 1 FROM audit_entry WHERE entry_id = NEW.entry_id)"
    return [
        f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit_entry {refused}",
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit_entry {refused}",
        # INSERT OR REPLACE deletes without the trigger above.
        f"CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit_entry {known} {refused}",
    ]


def downgrade() -> None:
    for name in ("second_person", "job", "audit_entry", "session", "account"):
        op.drop_table(name)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_only_grows()")
