"""From a URL to an engine whose connections behave alike."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from wavewise.errors import StoreError, UnavailableError
from wavewise.shared.files import sync_folder
from wavewise.store.frames import insert_into
from wavewise.store.rows import to_us
from wavewise.store.schema import HEAD, metadata, paused_wave, sending_place

__all__ = [
    "RESTORED",
    "WRITE",
    "Copies",
    "Database",
    "Part",
    "broken_rule",
    "copy_database",
    "current_revision",
    "engine_for",
    "give_large_cache",
    "make_ready",
    "put_back",
]

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
    """An engine for a SQLite file, a SQLite database in memory, or a PostgreSQL database."""
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
    folder = Path(str(url.database)).parent
    if not in_memory and not create and not Path(str(url.database)).is_file():
        raise StoreError(
            f"{shown(url)}: found no file there; needed a study's database; begin the study with "
            f"`wavewise register {folder}`, or put a copy back with `wavewise restore {folder} "
            "FILE`"
        )
    if create and not in_memory:
        _make_private(Path(str(url.database)))
    options: dict[str, Any] = {"connect_args": {"timeout": _LOCK_TIMEOUT_MS / 1000}}
    if in_memory:
        options = {"connect_args": {"check_same_thread": False}, "poolclass": StaticPool}
    engine = create_engine(url, hide_parameters=True, **options)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(path: Path) -> None:
    """A new file for its owner alone: SQLite's own files beside it take the same rights."""
    with contextlib.suppress(OSError):  # it is there, or SQLite says what is wrong
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


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


# Transactions: all of a write or none of it, and named errors.


class Database:
    """A connection pool with one way to read and one way to write."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.url = shown(engine.url)
        path = engine.url.database if engine.dialect.name == "sqlite" else None
        self._file = None if path in {None, "", ":memory:"} else Path(str(path))
        self._identity = _identity(self._file)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def engine(self) -> Engine:
        """The connection pool."""
        return self._engine

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def _require_file(self) -> None:
        """Raise where the file is gone: what is written into it then is lost with it."""
        if self._file is None:
            return
        found = _identity(self._file)
        if self._identity is None:  # it was made by the first connection
            self._identity = found
        elif found != self._identity:
            raise StoreError(
                f"{self.url}: the file was removed or replaced while it was in use; nothing was "
                "written; put it back, or restore a copy with `wavewise restore`, then start again"
            )

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that only reads."""
        self._require_file()
        return _transaction(self._engine, self.url, writes=False)

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that writes: all of it or nothing."""
        self._require_file()
        return _transaction(self._engine, self.url, writes=True)


def _identity(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Part:
    """Tables that belong together, in the database that all parts share."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading, self._writing, self.url = database.reading, database.writing, database.url


@contextmanager
def _transaction(engine: Engine, url: str, *, writes: bool) -> Iterator[Connection]:
    """One transaction: committed at the end, undone whole on any error."""
    driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
    try:
        with engine.connect() as plain:
            connection = plain.execution_options(**{WRITE: writes})
            with connection.begin():
                yield connection
    except (SQLAlchemyError, driver_error) as error:
        raise store_error(error, url) from cause(error)


# Brings a database to the tables of this version of Wavewise.

SCRIPTS = Path(__file__).parent / "migrations"
# Any fixed number does: it names the lock that one migrating process holds.
_LOCK_KEY = 7_288_174


def current_revision(connection: Connection, url: str) -> str | None:
    """The migration that a database stands at; None where it is empty."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision
    if tables:
        raise StoreError(
            f"{url}: found a database with {len(tables)} tables that are not Wavewise's; "
            "needed an empty one or a study's; give another path or database"
        )
    return None


def make_ready(connection: Connection, url: str, *, create: bool) -> None:
    """Make or migrate the tables, in the caller's transaction."""
    _wait_for_others(connection)
    revision = current_revision(connection, url)
    if revision == HEAD:
        return
    if revision is None and not create:
        raise StoreError(
            f"{url}: found an empty database; needed a study's; check the path, "
            "or begin the study first"
        )
    _upgrade(connection, revision, url)


def _wait_for_others(connection: Connection) -> None:
    # SQLite's writer holds the whole file already.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})


def _upgrade(connection: Connection, revision: str | None, url: str) -> None:
    # Alembic costs a quarter of a second: only a file that needs it pays.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreError(
            f"{url}: found a database at revision {revision!r}; needed {HEAD!r} or older; "
            "a newer Wavewise made it: upgrade with pip install --upgrade wavewise"
        )
    command.upgrade(config, HEAD)


# From what a database driver raises to a named error that says what to do.

# SQLite's error names and PostgreSQL's codes, by how they begin: (found, needed, what to do).
_KNOWN: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("SQLITE_NOTADB", "SQLITE_CORRUPT"),
        "found a file that is not a sound SQLite database; needed a Wavewise study's file; "
        "check the path, or restore a copy",
    ),
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03", "40P01"),
        "another process has been writing for over 5 seconds; nothing was written; "
        "wait until it has ended, then run the same command again",
    ),
    (
        ("SQLITE_READONLY", "SQLITE_PERM", "25006", "42501"),
        "found it read-only; needed the right to write; nothing was written; "
        "check the owner and the permissions of the file and of its folder (or the database role)",
    ),
    (
        ("SQLITE_FULL", "53100"),
        "the disk is full; nothing was written; free some space, then run the same command again",
    ),
    (
        ("SQLITE_CANTOPEN",),
        "it cannot be opened; needed a path in a folder that exists and that may be written to",
    ),
    (("SQLITE_IOERR",), "the disk gave an error; nothing was written; check the disk, then retry"),
    (("08", "57P"), "the connection to the server was lost; nothing was written; retry"),
    (
        ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE", "23505"),
        "another process wrote the same rows at the same time; this one wrote nothing; "
        "look at what is there, then run again",
    ),
    (("22021",), "found text that the database cannot hold (a NUL character); take it out"),
)


# A lock, a full disk, a server that starts again: what can be waited for.
_MAY_PASS = (
    *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR"),
    *("08", "40", "53", "55P03", "57P"),
)


def _code(error: Exception) -> str:
    """SQLite's error name or PostgreSQL's SQLSTATE; empty where the driver gives none."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return str(name or "")


def broken_rule(error: Exception) -> Literal["unknown reference", "known key", "other"]:
    """Which rule of the schema a write broke."""
    code = _code(error)
    if code in {"SQLITE_CONSTRAINT_FOREIGNKEY", "23503"}:
        return "unknown reference"
    keys = {"SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE", "23505"}
    return "known key" if code in keys else "other"


def cause(error: Exception) -> Exception | None:
    """The driver's error to chain; None where its text quotes rows (a broken constraint)."""
    return None if _code(error).startswith(("23", "SQLITE_CONSTRAINT")) else error


def store_error(error: Exception, url: str) -> StoreError:
    """The named error for what a driver raised.

    Notes
    -----
    The driver's own text is left out: it can hold rows. Its code is given.
    """
    code = _code(error)
    if not code and url.startswith("postgresql"):
        advice = (
            "no PostgreSQL server answers there, it refused the name or the password, "
            "or the database is not there; start the server, correct the URL, or make the "
            "database (createdb NAME)"
        )
    else:
        other = (
            f"the database refused ({code or type(error).__name__}); nothing was written; "
            "check that no other program changes it, then retry"
        )
        advice = next((text for starts, text in _KNOWN if code.startswith(starts)), other)
    found = StoreError(f"{url}: {advice}")
    found.may_pass = not code or code.startswith(_MAY_PASS)
    return found


# Copies of a database, made while it is in use, and put back; and what tells that one is older.

RESTORED = "restored"  # why all sending is paused after a copy took the database's place
_ALL_WAVES = ""
_NONE_YET = "none yet"
_OTHER = "found a file that is no copy of a study's database; needed what `wavewise backup` wrote"


class Copies(Part):
    """What a folder that sends notes here and in a file; the pause after a copy was put back."""

    def advance(
        self,
        place: str,
        read: Callable[[], Collection[str]],
        new: str,
        write: Callable[[Collection[str]], None],
    ) -> bool:
        """Put a new mark in the place of one that the folder's file knows.

        False where the database's mark is none of those: it is an older copy. `read` and `write`
        are of the file, which says which marks may stand in the database. It is written before the
        mark changes, and once more after, so that a crash in between is not taken for a copy.
        """
        where = sending_place.c.place == place
        with self._writing() as connection:  # a row that the next transaction can lock
            first = insert_into(connection, sending_place).values(place=place, mark=_NONE_YET)
            connection.execute(first.on_conflict_do_nothing())
        with self._writing() as connection:
            now = connection.scalar(select(sending_place.c.mark).where(where).with_for_update())
            accepted = read()  # under the lock: another worker of the folder may have gone on
            if now not in (accepted or [_NONE_YET]):
                return False
            write([str(now), new])
            _set_mark(connection, place, new)
        with self._writing() as connection:
            query = select(sending_place.c.mark).where(where).with_for_update()
            write([str(connection.scalar(query))])
        return True

    def trust(self, place: str, new: str, write: Callable[[Collection[str]], None]) -> None:
        """Begin anew with a mark, whatever the database's is."""
        with self._writing() as connection:
            _set_mark(connection, place, new)
            write([new])

    def hold(self, now: datetime) -> None:
        """Pause all sending until somebody says what went out since the copy was made."""
        with self._writing() as connection:
            _hold(connection, to_us(now))

    def is_held(self) -> bool:
        """Whether sending waits for that."""
        query = select(paused_wave.c.wave_id).where(paused_wave.c.reason == RESTORED)
        with self._reading() as connection:
            return connection.scalar(query) is not None


def _set_mark(connection: Connection, place: str, mark: str) -> None:
    statement = insert_into(connection, sending_place).values(place=place, mark=mark)
    key = [sending_place.c.place]
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_={"mark": mark}))


def _hold(connection: Connection, at_us: int) -> None:
    values = {"wave_id": _ALL_WAVES, "paused_at_utc_us": at_us, "reason": RESTORED}
    statement = insert_into(connection, paused_wave).values(values)
    key = [paused_wave.c.wave_id]
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=values))


# Copies: by SQLite's own online copy, and by PostgreSQL's own programs.


def copy_database(database: Database, out: Path) -> None:
    """A copy of a database in use, as one file for its owner alone; all of it or nothing."""
    url = database.engine.url
    with _beside(out) as made:
        if url.get_backend_name() == "postgresql":
            _run("pg_dump", url, "--format=custom", "--no-owner", f"--file={made}")
        else:
            with database.engine.connect() as plain, _opened(made) as target:
                driver = plain.connection.driver_connection
                if not isinstance(driver, sqlite3.Connection):  # SQLAlchemy promises any driver
                    raise StoreError(f"{database.url}: found another driver than SQLite's own")
                driver.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # one file, with none beside it
        made.replace(out)
    sync_folder(out.parent)


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A private file in the same folder, gone at the end unless it was put into its place."""
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}-")
    os.close(handle)  # made for its owner alone
    made = Path(name)
    try:
        yield made
    finally:
        for path in (made, *(Path(f"{name}{end}") for end in ("-wal", "-shm", "-journal"))):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path, *, seconds: float = 5.0) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=seconds)
    try:
        yield connection
    finally:
        connection.close()


def put_back(
    url: str, source: Path, ready: Callable[[str], None], keep: Path | None, now: datetime
) -> None:
    """Put a copy into the place of a database, with all sending paused; all of it or nothing.

    Parameters
    ----------
    url : str
        The database that the copy replaces.
    source : Path
        What :func:`copy_database` wrote.
    ready : callable
        Brings the database of a URL up to date.
    keep : Path, optional
        Where the database as it is now is kept; None where there is none.
    now : datetime
        The time of the pause.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        _put_back_postgresql(parsed, source, now)
        ready(url)
        return
    target = Path(str(parsed.database))
    try:
        _put_back_sqlite(target, source, ready, keep, now)
    except sqlite3.Error as error:
        raise StoreError(
            f"{shown(parsed)}: the copy could not take its place ({error.sqlite_errorname}); "
            "nothing was changed; end the programs that use it, then run the same command again"
        ) from None


def _put_back_sqlite(
    target: Path, source: Path, ready: Callable[[str], None], keep: Path | None, now: datetime
) -> None:
    with _beside(target) as made:
        _sound_copy(source, made)
        ready(f"sqlite:///{made}")
        with _opened(made) as copy, copy:
            at = to_us(now)
            copy.execute("DELETE FROM paused_wave WHERE wave_id = ''")
            copy.execute("INSERT INTO paused_wave VALUES ('', ?, ?)", (at, RESTORED))
        if keep is not None and not _copied(target, keep):
            keep = None
            for end in ("", "-wal", "-shm"):  # no sound database: kept as it is
                path = Path(f"{target}{end}")
                if path.exists():
                    path.replace(f"{target}.broken-{at}{end}")
        if keep is None:
            made.replace(target)
            sync_folder(target.parent)
            return
        # Into the file itself: whoever has it open sees the copy, and no old log is left beside it.
        with _opened(made) as copy, _opened(target) as live:
            copy.backup(live)


def _sound_copy(source: Path, made: Path) -> None:
    try:
        with _opened(source) as copy, _opened(made) as target:
            copy.execute("SELECT version_num FROM alembic_version").fetchone()
            if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise StoreError(
                    f"{source}: found a damaged copy; needed a sound one; take another"
                )
            copy.backup(target)
    except sqlite3.Error:
        raise StoreError(f"{source}: {_OTHER}; nothing was changed") from None


def _copied(target: Path, keep: Path) -> bool:
    """Whether a database could be kept as a copy; one that is no database cannot."""
    try:
        with _beside(keep) as made:
            with _opened(target) as live, _opened(made) as copy:
                live.execute("SELECT count(*) FROM sqlite_master").fetchone()
                live.backup(copy)
            made.replace(keep)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname in {"SQLITE_NOTADB", "SQLITE_CORRUPT"}:
            return False
        raise
    return True


def _put_back_postgresql(url: URL, source: Path, now: datetime) -> None:
    script = _run("pg_restore", None, "--no-owner", "--file=-", str(source))
    names = [table.name for table in metadata.sorted_tables]
    drops = "".join(
        f"DROP TABLE IF EXISTS public.{n} CASCADE;\n" for n in [*names, "alembic_version"]
    )
    drops += "DROP FUNCTION IF EXISTS public.audit_only_grows() CASCADE;\n"
    # In the same transaction: no worker sees the copy without the pause.
    held = (
        "\nDO $$ BEGIN IF to_regclass('public.paused_wave') IS NOT NULL THEN\n"
        "DELETE FROM public.paused_wave WHERE wave_id = '';\n"
        "INSERT INTO public.paused_wave (wave_id, paused_at_utc_us) VALUES "
        f"('', {to_us(now)});\nEND IF; END $$;\n"
    )
    whole = f"SET lock_timeout = '5s';\n{drops}{script}{held}"
    options = ("--single-transaction", "--set=ON_ERROR_STOP=1", "--quiet", "--no-psqlrc")
    _run("psql", url, *options, "--file=-", text=whole)


def _run(program: str, url: URL | None, *options: str, text: str | None = None) -> str:
    """What one of PostgreSQL's programs prints; the password goes by the environment."""
    if shutil.which(program) is None:
        raise UnavailableError(
            f"found no program {program}; needed PostgreSQL's own to copy its databases; install "
            "the package postgresql-client"
        )
    command, environment = [program, *options], {**os.environ, "PGCONNECT_TIMEOUT": "10"}
    if url is not None:
        plain = url.set(drivername="postgresql")
        environment |= {"PGPASSWORD": plain.password} if plain.password else {}
        bare = URL.create(
            "postgresql", plain.username, None, plain.host, plain.port, plain.database, plain.query
        )
        command.append(f"--dbname={bare.render_as_string(hide_password=False)}")
    run = subprocess.run(  # noqa: S603  (a fixed program, and no shell)
        command, input=text, capture_output=True, text=True, env=environment, check=False
    )
    if run.returncode:
        place = shown(url) if url is not None else options[-1]
        lines = run.stderr.strip().splitlines()
        said = next((one for one in lines if "ERROR" in one), lines[-1] if lines else "no reason")
        raise StoreError(
            f"{place}: {program} ended with an error ({said[:200]}); nothing was changed"
        )
    return run.stdout
