"""Copies of a database, made while it is in use, and put back; and what tells that one is older."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path

from sqlalchemy import URL, Connection, make_url, select

from wavewise.errors import StoreError, UnavailableError
from wavewise.shared.files import sync_folder
from wavewise.store.engine import Database, Part, shown
from wavewise.store.frames import insert_into
from wavewise.store.rows import to_us
from wavewise.store.schema import metadata, paused_wave, sending_place

__all__ = ["RESTORED", "Copies", "copy_database", "put_back"]

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
