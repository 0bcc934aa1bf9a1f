"""From a URL to an engine whose connections behave alike."""

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import StaticPool

from wavewise.errors import StoreError

__all__ = ["WRITE", "engine_for", "give_large_cache", "shown"]

# Execution option of connections that will write.
WRITE = "wavewise_write"

_LOCK_TIMEOUT_MS = 5_000
_CACHE_KIB = 8_192  # a worker's memory stays flat
_LARGE_CACHE_KIB = 65_536  # keys of millions of events do not fit into less
_FORMS = "sqlite:///path/to/study.db or postgresql://name:password@host/database"


def shown(url: URL) -> str:
    """A URL as text, without its password."""
    return url.render_as_string(hide_password=True)


def engine_for(url: str, *, create: bool) -> Engine:
    """An engine for a SQLite file, a SQLite database in memory, or a PostgreSQL database.

    Parameters
    ----------
    url : str
        ``sqlite:///path``, ``sqlite://`` (in memory) or ``postgresql://...``.
    create : bool
        Whether a SQLite file may be made where there is none.

    Raises
    ------
    StoreError
        The URL is of no known form, its driver is missing, or the file is not there.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        return _postgresql(parsed.set(drivername="postgresql+psycopg"))
    return _sqlite(parsed, create=create)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not shown: it can hold a password that could not be told apart.
        raise StoreError(f"found no database URL; needed {_FORMS}") from None
    if parsed.drivername not in {"sqlite", "postgresql", "postgresql+psycopg"}:
        raise StoreError(f"found a URL of {parsed.drivername!r}; needed {_FORMS}")
    return parsed


def _sqlite(url: URL, *, create: bool) -> Engine:
    in_memory = url.database in {None, "", ":memory:"}
    if not in_memory and not create and not Path(str(url.database)).is_file():
        raise StoreError(
            f"{shown(url)}: found no file there; needed a study's database; "
            "check the path, or begin the study first"
        )
    options: dict[str, Any] = {"connect_args": {"timeout": _LOCK_TIMEOUT_MS / 1000}}
    if in_memory:
        options = {"connect_args": {"check_same_thread": False}, "poolclass": StaticPool}
    engine = create_engine(url, hide_parameters=True, **options)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def give_large_cache(connection: Connection) -> None:
    """A cache for millions of rows, as long as the connection lives; SQLite only."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size = -{_LARGE_CACHE_KIB}")


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Transactions begin where we say, not where the driver guesses.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_LOCK_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: a reader that turns writer half-way would fail instead.
    writes = connection.get_execution_options().get(WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(url, hide_parameters=True)
    except ModuleNotFoundError:
        raise StoreError(
            "found no driver for PostgreSQL; needed the package psycopg; "
            "install it with: pip install 'wavewise[postgres]'"
        ) from None
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _set_up_postgresql(connection: Any, _record: object) -> None:
    connection.execute(f"SET lock_timeout = {_LOCK_TIMEOUT_MS}")
    connection.commit()
