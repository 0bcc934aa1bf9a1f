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
from sqlalchemy import CheckConstraint, Connection, MetaData, inspect

from wavewise.store import Store, schema
from wavewise.store import engine as migrate
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
        assert store.units.count() == 0


def test_older_database_is_migrated_and_keeps_its_rows(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(url) as store:
        store.results.put("w1", "analysis", {"kept": True}, NOW)
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts)
    (scripts / "versions" / "9999_test.py").write_text(LATER)
    monkeypatch.setattr(migrate, "SCRIPTS", scripts)
    monkeypatch.setattr(migrate, "HEAD", "test_later")
    monkeypatch.setattr("wavewise.store.store.HEAD", "test_later")
    with Store.open(url) as store, store.reading() as connection:
        columns = [column["name"] for column in inspect(connection).get_columns("unit")]
        assert migrate.current_revision(connection, url) == "test_later"
    assert "erased_at_utc_us" in columns
    with Store.open(url) as store:
        assert store.results.latest("w1", "analysis").payload == {"kept": True}


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
    with Store.open(url) as store, store.reading() as connection:
        columns = [column["name"] for column in inspect(connection).get_columns("unit")]
    assert "erased_at_utc_us" not in columns


def test_database_of_the_first_tables_gets_the_later_ones(url: str) -> None:
    with connected(url) as connection:
        command.upgrade(configured(connection), "0001")
    with Store.open(url) as store:
        assert store.scores.deliveries().is_empty()
        assert store.scores.frozen("w1").is_empty()


def test_events_of_an_older_database_stay_and_are_known_by_their_ids(url: str) -> None:
    """0007 drops two indexes: what was kept before counts as known after it."""
    old = {"event_id": "e1", "unit_id": "a", "kind": "login", "at_utc_us": 5}
    with connected(url) as connection:
        command.upgrade(configured(connection), "0006")
        row = schema.event.insert().values(**old, received_at_utc_us=6)
        connection.execute(row)
    events = pl.DataFrame([old, {**old, "event_id": "e2"}])
    with Store.open(url) as store, store.reading() as connection:
        assert inspect(connection).get_indexes("event") == []
    with Store.open(url) as store:
        added = store.events.add(events, NOW)
        assert (added.n_new, added.n_repeated) == (1, 1)
        assert store.events.all()["received_at_utc_us"].to_list()[0] == 6


def test_opt_outs_and_contact_details_of_an_older_database_keep_their_rows(url: str) -> None:
    """0009 renames what 0003 and 0006 made: rows, nulls and indexes move along."""
    times = {"at_utc_us": 5, "received_at_utc_us": 6}
    said = [
        {"refusal_id": "r1", "unit_id": "a", "channel": None, "source": "by hand", **times},
        {"refusal_id": "r2", "unit_id": "b", "channel": "sms", "source": "stop keyword", **times},
    ]
    back = {"unit_id": "b", "channel": "sms", "source": "start keyword", "at_utc_us": 7}
    detail = {"unit_id": "a", "channel": "sms", "key_id": "k", "sealed": "x", "lookup": "y"}
    with connected(url) as connection:
        command.upgrade(configured(connection), "0008")
        tables = MetaData()
        tables.reflect(connection)
        old = tables.tables
        connection.execute(old["refusal"].insert(), said)
        connection.execute(
            old["resumption"].insert(), [{"resumption_id": "s1", **back, "received_at_utc_us": 8}]
        )
        connection.execute(
            old["unit"].insert(), [{"unit_id": "a", "fields_json": "{}", "imported_at_utc_us": 1}]
        )
        connection.execute(old["contact"].insert(), [{**detail, "imported_at_utc_us": 2}])
    with Store.open(url) as store:
        rows = store.opt_outs.all().select("opt_out_id", "unit_id", "channel").rows()
        assert rows == [("r1", "a", None), ("r2", "b", "sms")]
        assert store.opt_outs.opt_ins()["opt_in_id"].to_list() == ["s1"]
        assert store.opt_outs.units("sms").to_list() == ["a"]
        assert store.contacts.find()["encrypted"].to_list() == ["x"]
    with Store.open(url) as store, store.reading() as connection:
        names = inspect(connection).get_table_names()
        assert {"opt_out", "opt_in"} <= set(names)
        assert not {"refusal", "resumption"} & set(names)
        assert [i["name"] for i in inspect(connection).get_indexes("opt_out")] == [
            "ix_opt_out_unit_id"
        ]


def test_waves_and_events_of_an_older_database_have_ways_back(url: str) -> None:
    """0010 adds columns and tables: what was kept before can be withdrawn, reopened, replaced."""
    unit_row = {"unit_id": "a", "fields_json": '{"x":1}', "imported_at_utc_us": 1}
    event_row = {"event_id": "e1", "unit_id": "a", "kind": "login", "at_utc_us": 5}
    wave_row = {
        "wave_id": "w1",
        "state": "closed",
        "opened_at_utc_us": 2,
        "closed_at_utc_us": 9,
        "exploratory": False,
        "details_json": "{}",
    }
    own = {"wave_id": "w1", "unit_id": "a"}
    with connected(url) as connection:
        command.upgrade(configured(connection), "0009")
        tables = MetaData()
        tables.reflect(connection)
        old = tables.tables
        connection.execute(old["unit"].insert(), [unit_row])
        connection.execute(old["event"].insert(), [{**event_row, "received_at_utc_us": 6}])
        connection.execute(old["wave"].insert(), [wave_row])
        connection.execute(old["assignment"].insert(), [{**own, "stratum": "all", "arm": "b"}])
        connection.execute(old["outcome"].insert(), [{**own, "values_json": '{"y":1}'}])
    with Store.open(url) as store:
        assert store.waves.get("w1").outcome_version == 1
        assert store.events.count() == 1
        assert store.events.withdraw(pl.Series(["e1", "e9"]), "why", NOW) == (1, 1)
        assert store.events.withdraw(pl.Series(["e1"]), "why", NOW) == (0, 0)
        assert store.events.add(pl.DataFrame([event_row]), NOW).n_repeated == 1
        assert store.events.all().is_empty()
        corrected = store.events.correct(pl.DataFrame([{**event_row, "unit_id": "b"}]), "x", NOW)
        assert (corrected.n_corrected, corrected.n_new) == (1, 0)
        assert store.events.all()["unit_id"].to_list() == ["b"]
        assert store.corrections.all()["action"].to_list() == ["withdrawn", "corrected"]
        assert store.waves.reopen("w1", NOW, {"reason": "why"}) == 2
        assert store.waves.get("w1").state == "reopened"
        assert store.waves.outcomes("w1").is_empty()
        assert store.waves.outcomes("w1", 1)["y"].to_list() == [1]
        again = pl.DataFrame({"unit_id": ["a"], "values_json": ['{"y":0}']})
        store.waves.close("w1", NOW, again)
        assert (store.waves.get("w1").state, store.waves.get("w1").outcome_version) == ("closed", 2)
        new = pl.DataFrame({"unit_id": ["a"], "fields_json": ['{"x":2}']})
        before = store.units.last_replacement()
        store.units.add(new, NOW, replace=True)
        assert store.units.as_of(before)["fields_json"].to_list() == ['{"x":1}']
        assert store.units.as_of(store.units.last_replacement()).is_empty()
        store.waves.reopen("w1", NOW, {"reason": "why"})
        store.waves.discard("w1", NOW, {"reason": "why"})
        assert store.waves.get("w1") is None
        assert store.results.latest("w1", "discarded").payload == {"reason": "why"}


def test_scores_of_an_older_database_have_ways_back(url: str) -> None:
    key = {"outcome_id": "reading", "unit_id": "a", "period": "p", "delivery": "d"}
    row = {**key, "delivered_at_utc_us": 5, "score": 1.0}
    with connected(url) as connection:
        command.upgrade(configured(connection), "0009")
        tables = MetaData()
        tables.reflect(connection)
        delivered = tables.tables["score_delivery"]
        connection.execute(delivered.insert(), [{**row, "received_at_utc_us": 6}])
    with Store.open(url) as store:
        new = pl.DataFrame([{**row, "score": 2.0, "row": 2}])
        assert store.scores.correct(new, "why", NOW).n_corrected == 1
        assert store.scores.deliveries()["score"].to_list() == [2.0]
        assert store.scores.withdraw(pl.DataFrame([key]), "why", NOW) == (1, 0)
        assert store.scores.deliveries().is_empty()
