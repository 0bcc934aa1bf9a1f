"""From what a database driver raises to a named error that says what to do."""

from typing import Literal

from sqlalchemy.exc import DBAPIError

from wavewise.errors import StoreError

__all__ = ["broken_rule", "cause", "store_error"]

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

    Parameters
    ----------
    error : Exception
        From SQLAlchemy or from the driver itself.
    url : str
        The store's URL, without its password.

    Notes
    -----
    The driver's own text is left out: it can hold rows. Its code is given.
    """
    code = _code(error)
    if not code and url.startswith("postgresql"):
        return StoreError(
            f"{url}: no PostgreSQL server answers there, it refused the name or the password, "
            "or the database is not there; start the server, correct the URL, or make the "
            "database (createdb NAME)"
        )
    for starts, advice in _KNOWN:
        if code.startswith(starts):
            return StoreError(f"{url}: {advice}")
    return StoreError(
        f"{url}: the database refused ({code or type(error).__name__}); nothing was written; "
        "check that no other program changes it, then retry"
    )
