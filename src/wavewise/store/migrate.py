"""Brings a database to the tables of this version of Wavewise."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from wavewise.errors import StoreError
from wavewise.store.schema import HEAD

__all__ = ["SCRIPTS", "current_revision", "make_ready"]

SCRIPTS = Path(__file__).parent / "migrations"

# Any fixed number does: it names the lock that one migrating process holds.
_LOCK_KEY = 7_288_174


def current_revision(connection: Connection, url: str) -> str | None:
    """The migration that a database stands at; None where it is empty.

    Raises
    ------
    StoreError
        The database holds tables of some other program.
    """
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
    """Make or migrate the tables, in the caller's transaction.

    Raises
    ------
    StoreError
        The database is empty and ``create`` is False, is newer than this version of Wavewise,
        or is another program's.
    """
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
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

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
