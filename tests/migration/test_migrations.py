"""The tables that the code declares are those that the migrations make."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Connection, inspect

from wavewise.store import Store, migrate, schema
from wavewise.store.engine import WRITE, engine_for

NOW = datetime(2023, 10, 9, tzinfo=UTC)

LATER = f"""
import sqlalchemy as sa
from alembic import op

revision = "test_later"
down_revision = "{schema.HEAD}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("unit") as table:
        table.add_column(sa.Column("erased_at_utc_us", sa.BigInteger))
"""


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = engine_for(url, create=True)
    with engine.connect() as plain:
        connection = plain.execution_options(**{WRITE: True})
        with connection.begin():
            yield connection
    engine.dispose()


def configured(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    config.attributes["connection"] = connection
    return config


def test_the_constant_is_the_real_head() -> None:
    assert ScriptDirectory.from_config(configured()).get_heads() == [schema.HEAD]


def test_declared_tables_are_the_migrated_ones(url: str) -> None:
    Store.open(url).close()
    with connected(url) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, schema.metadata) == []


def test_names_and_rules_are_the_same(url: str, tmp_path: Path) -> None:
    """Against tables made from the declaration alone: keys, rules and their names."""
    Store.open(url).close()
    declared_url = f"sqlite:///{tmp_path / 'declared.db'}"
    with connected(url) as migrated, connected(declared_url) as declared:
        schema.metadata.create_all(declared)
        assert rules(migrated) == rules(declared)


def rules(connection: Connection) -> dict[str, object]:
    found = inspect(connection)
    return {
        table.name: (
            found.get_pk_constraint(table.name)["constrained_columns"],
            sorted(
                (k["name"], *k["constrained_columns"]) for k in found.get_foreign_keys(table.name)
            ),
            sorted(check["name"] for check in found.get_check_constraints(table.name)),
            sorted((i["name"], *i["column_names"]) for i in found.get_indexes(table.name)),
            sorted((c["name"], c["nullable"]) for c in found.get_columns(table.name)),
        )
        for table in schema.metadata.sorted_tables
    }


def test_every_rule_has_a_name() -> None:
    for table in schema.metadata.sorted_tables:
        for rule in table.constraints:
            if isinstance(rule, CheckConstraint) or rule.name is None:
                continue
            assert str(rule.name).startswith(("pk_", "fk_", "ck_"))
        assert all(index.name for index in table.indexes)


def test_downgrade_leaves_nothing_behind(url: str) -> None:
    Store.open(url).close()
    with connected(url) as connection:
        command.downgrade(configured(connection), "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    with Store.open(url) as store:
        assert store.n_units() == 0


def test_older_database_is_migrated_and_keeps_its_rows(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(url) as store:
        store.put_result("w1", "analysis", {"kept": True}, NOW)
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts)
    (scripts / "versions" / "9999_test.py").write_text(LATER)
    monkeypatch.setattr(migrate, "SCRIPTS", scripts)
    monkeypatch.setattr(migrate, "HEAD", "test_later")
    monkeypatch.setattr("wavewise.store.store.HEAD", "test_later")
    with Store.open(url) as store, store._reading() as connection:
        columns = [column["name"] for column in inspect(connection).get_columns("unit")]
        assert migrate.current_revision(connection, url) == "test_later"
    assert "erased_at_utc_us" in columns
    with Store.open(url) as store:
        assert store.latest_result("w1", "analysis").payload == {"kept": True}


def test_failed_migration_changes_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(url).close()
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts)
    broken = LATER + "    raise RuntimeError('half-way')\n"
    (scripts / "versions" / "9999_test.py").write_text(broken)
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "SCRIPTS", scripts)
        patched.setattr(migrate, "HEAD", "test_later")
        patched.setattr("wavewise.store.store.HEAD", "test_later")
        with pytest.raises(RuntimeError, match="half-way"):
            Store.open(url)
    with Store.open(url) as store, store._reading() as connection:
        columns = [column["name"] for column in inspect(connection).get_columns("unit")]
    assert "erased_at_utc_us" not in columns


def test_database_of_the_first_tables_gets_the_later_ones(url: str) -> None:
    with connected(url) as connection:
        command.upgrade(configured(connection), "0001")
    with Store.open(url) as store:
        assert store.score_deliveries().is_empty()
        assert store.frozen_scores("w1").is_empty()


def test_events_of_an_older_database_stay_and_are_known_by_their_ids(url: str) -> None:
    """0007 drops two indexes: what was kept before counts as known after it."""
    old = {"event_id": "e1", "unit_id": "a", "kind": "login", "at_utc_us": 5}
    with connected(url) as connection:
        command.upgrade(configured(connection), "0006")
        row = schema.event.insert().values(**old, received_at_utc_us=6)
        connection.execute(row)
    events = pl.DataFrame([old, {**old, "event_id": "e2"}])
    with Store.open(url) as store, store._reading() as connection:
        assert inspect(connection).get_indexes("event") == []
    with Store.open(url) as store:
        added = store.add_events(events, NOW)
        assert (added.n_new, added.n_repeated) == (1, 1)
        assert store.events()["received_at_utc_us"].to_list()[0] == 6
