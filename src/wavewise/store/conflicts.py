"""Inserts that say what to do where a row is there already, alike on both databases."""

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["insert_into", "n_inserted"]


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that can say what to do ON CONFLICT, in the connection's dialect."""
    build = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return build(table)


def n_inserted(connection: Connection, statement: Insert) -> int:
    """Number of rows that an insert added."""
    done = connection.execute(statement, execution_options={"preserve_rowcount": True})
    return done.rowcount
