"""Transactions: all of a write or none of it, and named errors."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Self

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from wavewise.store.engine import WRITE, shown
from wavewise.store.problems import cause, store_error

__all__ = ["Database"]


class Database:
    """A connection pool with one way to read and one way to write.

    Parameters
    ----------
    engine : Engine
        From :func:`wavewise.store.engine.engine_for`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.url = shown(engine.url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def _reading(self) -> AbstractContextManager[Connection]:
        return _transaction(self._engine, self.url, writes=False)

    def _writing(self) -> AbstractContextManager[Connection]:
        return _transaction(self._engine, self.url, writes=True)


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
