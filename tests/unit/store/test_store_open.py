"""Opening: what is made, what is refused, and what the error says."""

import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event

from wavewise.errors import StoreError
from wavewise.store import Store, engine
from wavewise.store.engine import engine_for
from wavewise.store.schema import HEAD

NOW = datetime(2023, 10, 9, tzinfo=UTC)


def test_new_file_is_made_and_opens_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with Store.open(url) as store:
        store.results.put("w", "analysis", {"a": 1}, NOW)
    with Store.open(url, create=False) as store:
        assert store.results.latest("w", "analysis").payload == {"a": 1}


def test_sqlite_file_is_in_wal_mode_with_foreign_keys(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'study.db'}") as store, store.reading() as connection:
        pragmas = ("journal_mode", "foreign_keys", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in pragmas]
    assert values == ["wal", 1, 5000]


def test_file_at_head_opens_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    Store.open(url).close()
    code = (
        "import sys; from wavewise.store import Store; "
        f"Store.open({url!r}).close(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_empty_shared_database_is_made_by_either_of_two(shared_url: str) -> None:
    code = f"from wavewise.store import Store; Store.open({shared_url!r}).close()"
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    with Store.open(shared_url, create=False) as store:
        assert store.units.count() == 0


def test_missing_file_is_named_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(StoreError, match="found no file there"):
        Store.open(f"sqlite:///{path}", create=False)
    assert not path.exists()


def test_empty_database_is_refused_unless_it_may_be_made(shared_url: str, tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    with pytest.raises(StoreError, match="found an empty database"):
        Store.open(shared_url, create=False)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="a folder that exists"):
        Store.open(f"sqlite:///{tmp_path / 'no' / 'study.db'}")


def test_file_that_is_no_database_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("id,grade\n" + "1,2\n" * 500)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a sound SQLite database"):
        Store.open(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE album (id INTEGER)")
    other.close()
    with pytest.raises(StoreError, match=r"1 tables that are not Wavewise's"):
        Store.open(f"sqlite:///{path}")


def test_newer_database_is_refused(shared_url: str) -> None:
    with Store.open(shared_url) as store, store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=rf"revision '9999'; needed '{HEAD}' or older.*upgrade"):
        Store.open(shared_url)


@pytest.mark.parametrize("url", ["", "study.db", "mysql://root@host/db", "sqlite+aiosqlite:///x"])
def test_wrong_url_is_refused_with_the_two_forms(url: str) -> None:
    with pytest.raises(StoreError, match=r"needed sqlite:///.* or postgresql://"):
        Store.open(url)


def test_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"wavewise\[postgres\]"):
        Store.open("postgresql://name@127.0.0.1/study")


def test_server_that_does_not_answer_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match="no PostgreSQL server answers") as caught:
        Store.open("postgresql://name:secret-word@127.0.0.1:1/study")
    assert "secret-word" not in str(caught.value)


@pytest.mark.system
def test_missing_database_on_the_server_is_named(postgres: str) -> None:
    with pytest.raises(StoreError, match="or the database is not there"):
        Store.open(f"{postgres}/never_made")


def test_password_is_never_shown() -> None:
    pytest.importorskip("psycopg")
    store = Store(engine_for("postgresql://name:secret-word@127.0.0.1/study", create=True))
    assert "secret-word" not in repr(store) + store.url
    store.close()


def test_held_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_LOCK_TIMEOUT_MS", 20)
    path = tmp_path / "study.db"
    Store.open(f"sqlite:///{path}").close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store.open(f"sqlite:///{path}") as store:
        assert store.units.count() == 0  # readers do not wait for a writer
        with pytest.raises(StoreError, match="another process has been writing"):
            store.results.put("w", "analysis", {}, NOW)
        other.execute("ROLLBACK")
        store.results.put("w", "analysis", {}, NOW)
    other.close()


@pytest.mark.system
def test_held_lock_is_named_on_postgresql(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from postgres_server import new_database

    monkeypatch.setattr(engine, "_LOCK_TIMEOUT_MS", 20)
    url = new_database(postgres, "held_lock")
    with Store.open(url) as first, Store.open(url) as second, first.writing() as connection:
        connection.exec_driver_sql("LOCK TABLE result IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreError, match="another process has been writing"):
            second.results.put("w", "analysis", {}, NOW)


def test_read_only_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    Store.open(f"sqlite:///{path}").close()
    url = f"sqlite:///file:{path}?mode=ro&uri=true"
    with Store.open(url) as store, pytest.raises(StoreError, match="read-only"):
        store.results.put("w", "analysis", {}, NOW)


def test_full_disk_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with Store.open(url) as store:
        store.results.put("w", "analysis", {"kept": 1}, NOW)
        store.close()

        @event.listens_for(store._engine, "connect")
        def _small_disk(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA max_page_count = 1")  # cut to the present size

        with pytest.raises(StoreError, match="the disk is full"):
            store.results.put("w", "analysis", {"long": "x" * 1_000_000}, NOW)
        assert store.results.latest("w", "analysis").payload == {"kept": 1}


def test_memory_of_one_store_is_not_anothers() -> None:
    with Store.open("sqlite://") as one, Store.open("sqlite://") as two:
        one.results.put("w", "analysis", {}, NOW)
        assert two.results.latest("w", "analysis") is None


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_broken_bytes_inside_the_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with Store.open(f"sqlite:///{path}") as store:
        store.results.put("w", "analysis", {"text": "x" * 50_000}, NOW)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreError, match="not a sound SQLite database"):
        Store.open(f"sqlite:///{path}")
