"""Accounts and their sessions: of secrets only hashes are kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from wavewise.errors import InputError, StateError
from wavewise.store.engine import Part
from wavewise.store.rows import from_us, to_us
from wavewise.store.schema import account, session

__all__ = ["AccountRow", "Accounts", "SessionRow", "Sessions"]


@dataclass(frozen=True)
class AccountRow:
    """Somebody who was invited, and may have joined."""

    account_id: str
    name: str  # What one signs in with.
    role: str
    password_hash: str | None
    invited_at: datetime
    invitation_until: datetime | None  # None: it was taken up.
    joined_at: datetime | None
    removed_at: datetime | None

    @property
    def state(self) -> str:
        """invited, joined or removed."""
        if self.removed_at is not None:
            return "removed"
        return "invited" if self.joined_at is None else "joined"


@dataclass(frozen=True)
class SessionRow:
    """A browser that is signed in."""

    session_id: str
    account_id: str
    began_at: datetime
    expires_at: datetime


class Accounts(Part):
    """Who may come in, and as what."""

    def invite(
        self, account_id: str, name: str, role: str, token_hash: str, now: datetime, until: datetime
    ) -> str:
        """Invite somebody, or anew who has not joined or was removed; gives the account's id.

        A new invitation ends the former one, and the former password.
        """
        values = {
            "role": role,
            "password_hash": None,
            "subject": None,
            "invited_at_utc_us": to_us(now),
            "invitation_hash": token_hash,
            "invitation_until_utc_us": to_us(until),
            "joined_at_utc_us": None,
            "removed_at_utc_us": None,
        }
        with self._writing() as connection:
            known = connection.execute(select(account).where(account.c.name == name)).one_or_none()
            if known is None:
                row = {"account_id": account_id, "name": name, **values}
                connection.execute(insert(account).values(row))
                return account_id
            if _account(known).state == "joined":
                raise StateError(
                    "found an account of this name that has joined; needed a new name; to give it "
                    "another role, change the role; for a new password, remove it and invite again"
                )
            mine = account.c.account_id == known.account_id
            connection.execute(update(account).where(mine).values(values))
            return str(known.account_id)

    def take_up(self, token_hash: str, password_hash: str, now: datetime) -> AccountRow | None:
        """Join by an invitation, which is used up; None where it is not known, used or over."""
        at = to_us(now)
        with self._writing() as connection:
            query = select(account).where(
                account.c.invitation_hash == token_hash,
                account.c.invitation_until_utc_us > at,
                account.c.removed_at_utc_us.is_(None),
            )
            row = connection.execute(query.with_for_update()).one_or_none()
            if row is None:
                return None
            values = {
                "password_hash": password_hash,
                "invitation_hash": None,
                "invitation_until_utc_us": None,
                "joined_at_utc_us": at,
            }
            mine = account.c.account_id == row.account_id
            connection.execute(update(account).where(mine).values(values))
            return _account(connection.execute(select(account).where(mine)).one())

    def invited(self, token_hash: str, now: datetime) -> AccountRow | None:
        """Who an invitation is for, as long as it can be taken up."""
        query = select(account).where(
            account.c.invitation_hash == token_hash,
            account.c.invitation_until_utc_us > to_us(now),
            account.c.removed_at_utc_us.is_(None),
        )
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _account(row)

    def named(self, name: str) -> AccountRow | None:
        """The account that has joined under a name."""
        query = select(account).where(account.c.name == name, *_JOINED)
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _account(row)

    def of_subject(self, subject: str, name: str, now: datetime) -> AccountRow | None:
        """The account of somebody whom an identity provider vouches for.

        Who was invited under that name joins by it; an account with a password stays apart.
        """
        with self._writing() as connection:
            mine = account.c.subject == subject
            row = connection.execute(select(account).where(mine)).one_or_none()
            if row is None:
                waits = (
                    account.c.name == name,
                    account.c.joined_at_utc_us.is_(None),
                    account.c.removed_at_utc_us.is_(None),
                    account.c.invitation_until_utc_us > to_us(now),
                )
                joined = {
                    "subject": subject,
                    "joined_at_utc_us": to_us(now),
                    "invitation_hash": None,
                    "invitation_until_utc_us": None,
                }
                connection.execute(update(account).where(*waits).values(joined))
                row = connection.execute(select(account).where(mine, *_JOINED)).one_or_none()
        return None if row is None or row.removed_at_utc_us is not None else _account(row)

    def all(self) -> tuple[AccountRow, ...]:
        """All accounts, removed ones too, in the order of names."""
        with self._reading() as connection:
            rows = connection.execute(select(account).order_by(account.c.name)).all()
        return tuple(_account(row) for row in rows)

    def set_password(self, account_id: str, password_hash: str) -> None:
        """Another hash of a password, such as one that costs more to guess."""
        mine = account.c.account_id == account_id
        with self._writing() as connection:
            changed = update(account).where(mine, *_JOINED).values(password_hash=password_hash)
            connection.execute(changed)

    def set_role(self, account_id: str, role: str, now: datetime) -> None:
        """Give an account another role; its sessions end."""
        self._change(account_id, {"role": role}, now, leaves_owner=role == "owner")

    def remove(self, account_id: str, now: datetime) -> None:
        """Close an account; its sessions end, and what it did stays in the audit log."""
        gone = {
            "removed_at_utc_us": to_us(now),
            "password_hash": None,
            "subject": None,
            "invitation_hash": None,
            "invitation_until_utc_us": None,
        }
        self._change(account_id, gone, now, leaves_owner=False)

    def _change(
        self, account_id: str, values: Mapping[str, Any], now: datetime, *, leaves_owner: bool
    ) -> None:
        mine = account.c.account_id == account_id
        with self._writing() as connection:
            # All rows: of two owners who remove each other at once, one stays.
            rows = connection.execute(select(account).with_for_update()).all()
            found = next((row for row in rows if row.account_id == account_id), None)
            if found is None or found.removed_at_utc_us is not None:
                raise InputError(
                    "found no such account; needed one that is not removed; nothing was changed"
                )
            owners = {
                row.account_id
                for row in rows
                if row.role == "owner" and row.joined_at_utc_us and not row.removed_at_utc_us
            }
            if owners == {account_id} and not leaves_owner:
                raise StateError(
                    "found the only owner; needed one owner at least; make somebody else an owner "
                    "first"
                )
            connection.execute(update(account).where(mine).values(dict(values)))
            _end_sessions(connection, now, session.c.account_id == account_id)

    def has_joined(self) -> bool:
        """Whether anybody has joined yet."""
        query = select(func.count()).select_from(account).where(*_JOINED)
        with self._reading() as connection:
            return bool(connection.scalar(query))


class Sessions(Part):
    """Who is signed in."""

    def begin(
        self, session_id: str, account_id: str, token_hash: str, now: datetime, until: datetime
    ) -> bool:
        """Keep a new session; False where the account was removed in the meantime."""
        row = {
            "session_id": session_id,
            "account_id": account_id,
            "token_hash": token_hash,
            "began_at_utc_us": to_us(now),
            "expires_at_utc_us": to_us(until),
        }
        mine = select(account.c.account_id).where(account.c.account_id == account_id, *_JOINED)
        with self._writing() as connection:
            if connection.scalar(mine.with_for_update()) is None:
                return False
            connection.execute(insert(session).values(row))
            return True

    def find(self, token_hash: str, now: datetime) -> tuple[SessionRow, AccountRow] | None:
        """The session of a token with its account; None where it is unknown, over or ended."""
        query = (
            select(session, account)
            .join(account, session.c.account_id == account.c.account_id)
            .where(session.c.token_hash == token_hash, *_is_open(now), *_JOINED)
        )
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (_session(row), _account(row))

    def open(self, now: datetime) -> tuple[SessionRow, ...]:
        """Sessions that have neither ended nor expired, the latest first."""
        query = select(session).where(*_is_open(now)).order_by(session.c.began_at_utc_us.desc())
        with self._reading() as connection:
            return tuple(_session(row) for row in connection.execute(query))

    def end(self, session_id: str, now: datetime) -> bool:
        """End a session: sign out. Whether it was open."""
        with self._writing() as connection:
            return _end_sessions(connection, now, session.c.session_id == session_id) == 1

    def end_all(self, now: datetime, account_id: str | None = None) -> int:
        """End all sessions, or those of one account; gives their number."""
        with self._writing() as connection:
            mine = () if account_id is None else (session.c.account_id == account_id,)
            return _end_sessions(connection, now, *mine)


_JOINED = (account.c.joined_at_utc_us.is_not(None), account.c.removed_at_utc_us.is_(None))


def _is_open(now: datetime) -> tuple[Any, ...]:
    return (session.c.ended_at_utc_us.is_(None), session.c.expires_at_utc_us > to_us(now))


def _end_sessions(connection: Connection, now: datetime, *where: Any) -> int:
    ended = update(session).where(session.c.ended_at_utc_us.is_(None), *where)
    return connection.execute(ended.values(ended_at_utc_us=to_us(now))).rowcount


def _account(row: Row[Any]) -> AccountRow:
    return AccountRow(
        account_id=row.account_id,
        name=row.name,
        role=row.role,
        password_hash=row.password_hash,
        invited_at=from_us(row.invited_at_utc_us),
        invitation_until=_moment(row.invitation_until_utc_us),
        joined_at=_moment(row.joined_at_utc_us),
        removed_at=_moment(row.removed_at_utc_us),
    )


def _session(row: Row[Any]) -> SessionRow:
    began, expires = from_us(row.began_at_utc_us), from_us(row.expires_at_utc_us)
    return SessionRow(row.session_id, row.account_id, began, expires)


def _moment(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
