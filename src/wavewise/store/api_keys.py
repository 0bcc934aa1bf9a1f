"""Keys of the HTTP interface: only their hashes are kept."""

from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from wavewise.errors import InputError
from wavewise.store.contact_schema import api_key
from wavewise.store.database import Database
from wavewise.store.rows import from_us, to_us

__all__ = ["ApiKeys"]


class ApiKeys(Database):
    """The table of keys."""

    def add_api_key(self, key_id: str, name: str, hash: str, created_at: datetime) -> None:  # noqa: A002
        """Keep a new key's hash under its id."""
        values = {
            "key_id": key_id,
            "name": name,
            "hash": hash,
            "created_at_utc_us": to_us(created_at),
        }
        with self._writing() as connection:
            connection.execute(insert(api_key).values(values))

    def api_key_hash(self, key_id: str) -> str | None:
        """Hash of a key that may be used; None where there is none, or it was revoked."""
        is_valid = (api_key.c.key_id == key_id) & api_key.c.revoked_at_utc_us.is_(None)
        with self._reading() as connection:
            found: str | None = connection.scalar(select(api_key.c.hash).where(is_valid))
        return found

    def api_keys(self) -> tuple[dict[str, Any], ...]:
        """All keys, the oldest first: key_id, name, created_at, revoked_at (None: in force)."""
        query = select(api_key).order_by(api_key.c.created_at_utc_us, api_key.c.key_id)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return tuple(
            {
                "key_id": row.key_id,
                "name": row.name,
                "created_at": from_us(row.created_at_utc_us),
                "revoked_at": None
                if row.revoked_at_utc_us is None
                else from_us(row.revoked_at_utc_us),
            }
            for row in rows
        )

    def revoke_api_key(self, key_id: str, revoked_at: datetime) -> None:
        """Make a key useless from now on; once more does nothing.

        Raises
        ------
        InputError
            There is no such key.
        """
        with self._writing() as connection:
            known = connection.scalar(select(api_key.c.key_id).where(api_key.c.key_id == key_id))
            if known is None:
                raise InputError(
                    "found no key of this id; needed one of `wavewise keys list`; nothing changed"
                )
            in_force = (api_key.c.key_id == key_id) & api_key.c.revoked_at_utc_us.is_(None)
            connection.execute(
                update(api_key).where(in_force).values(revoked_at_utc_us=to_us(revoked_at))
            )
