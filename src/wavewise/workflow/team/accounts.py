"""Accounts: invited, joined by a link that works once, signed in by a password."""

import hashlib
import os
import secrets
import threading
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from wavewise.errors import InputError
from wavewise.shared.text_tables import text_table
from wavewise.store.team.accounts import AccountRow, SessionRow
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study
from wavewise.workflow.team.audit import COMMAND_LINE

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ROLES",
    "Invitation",
    "Role",
    "begin_session",
    "change_role",
    "find_session",
    "hash_token",
    "invite",
    "join",
    "list_accounts",
    "remove_account",
    "verified_account",
]

Role = Literal["owner", "analyst", "field", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)
INVITATION = timedelta(days=7)
SESSION = timedelta(hours=12)
SHORTEST_PASSWORD, LONGEST_PASSWORD, LONGEST_NAME = 12, 1_000, 200
# RFC 9106, section 4, second recommended option: 64 MiB.
COST: dict[str, Any] = {"iterations": 3, "lanes": 4, "memory_cost": 64 * 1024}
_AT_ONCE = threading.BoundedSemaphore(2)  # of such hashes: strangers ask for them


@dataclass(frozen=True, eq=False)
class Invitation(VerbResult):
    """An invitation: the only place where its token stands."""

    name: str
    role: str
    account_id: str
    token: str
    days: int

    def summary(self) -> str:
        """The address to hand over."""
        return (
            f"/join?token={self.token}\nThis is the end of an address of the pages: put it after "
            f"their own, as https://study.example.org/join?token=..., and give it to {self.name} "
            f"({self.role}) alone. It works once, for {self.days} days."
        )


@dataclass(frozen=True, eq=False)
class Accounts(VerbResult):
    """Everybody who was invited."""

    accounts: tuple[dict[str, str | None], ...]  # name, role, state, invited_at, joined_at

    def summary(self) -> str:
        """A table of them."""
        if not self.accounts:
            return "Nobody yet: `wavewise team invite DIR NAME --role owner`."
        rows = [[value or "-" for value in row.values()] for row in self.accounts]
        return text_table(list(self.accounts[0]), rows)

    def _frame(self) -> "pl.DataFrame":
        import polars as pl

        names = ("name", "role", "state", "invited_at", "joined_at")
        return pl.DataFrame(list(self.accounts), schema=dict.fromkeys(names, pl.String))


@dataclass(frozen=True, eq=False)
class ChangedAccount(VerbResult):
    """An account that was changed."""

    name: str
    account_id: str
    change: str

    def summary(self) -> str:
        """What it is now."""
        return f"{self.name} {self.change}; all their sessions have ended."


def invite(study: Study, name: str, role: str, *, by: str = COMMAND_LINE) -> Invitation:
    """A new invitation, or one more for somebody who has not joined."""
    name, role = _name(name), _role(role)
    token, now = secrets.token_urlsafe(32), study.clock()
    made = secrets.token_hex(6)
    until = now + INVITATION
    account_id = study.store.accounts.invite(made, name, role, hash_token(token), now, until)
    _log(study, by, "team_invite", {"account": account_id, "role": role})
    return Invitation(name, role, account_id, token, INVITATION.days)


def list_accounts(study: Study) -> Accounts:
    """Everybody who was invited, joined or removed."""
    rows = study.store.accounts.all()
    return Accounts(
        tuple(
            {
                "name": row.name,
                "role": row.role,
                "state": row.state,
                "invited_at": f"{row.invited_at:%Y-%m-%d}",
                "joined_at": None if row.joined_at is None else f"{row.joined_at:%Y-%m-%d}",
            }
            for row in rows
        )
    )


def change_role(study: Study, name: str, role: str, *, by: str = COMMAND_LINE) -> ChangedAccount:
    """Another role for somebody."""
    row, role = _account(study, name), _role(role)
    study.store.accounts.set_role(row.account_id, role, study.clock())
    _log(study, by, "team_role", {"account": row.account_id, "role": role})
    return ChangedAccount(row.name, row.account_id, f"is {role} now")


def remove_account(study: Study, name: str, *, by: str = COMMAND_LINE) -> ChangedAccount:
    """Close somebody's account."""
    row = _account(study, name)
    study.store.accounts.remove(row.account_id, study.clock())
    _log(study, by, "team_remove", {"account": row.account_id})
    return ChangedAccount(row.name, row.account_id, "may not come in any more")


def _log(study: Study, by: str, verb: str, arguments: dict[str, Any]) -> None:
    study.store.audit.add(by, verb, "done", study.clock(), arguments=arguments)


def _account(study: Study, name: str) -> AccountRow:
    wanted = _name(name)
    row = next((row for row in study.store.accounts.all() if row.name == wanted), None)
    if row is None:
        raise InputError(
            "found no account of this name; needed one of `wavewise team list`; nothing was changed"
        )
    return row


def _name(given: str) -> str:
    """A name as it is compared: people write their e-mail address in many ways."""
    name = unicodedata.normalize("NFKC", given).strip().casefold()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(
            f"found a name of {len(name)} characters; needed one line of 1 to {LONGEST_NAME}, such "
            "as an e-mail address"
        )
    return name


def _role(given: str) -> str:
    if given not in ROLES:
        raise InputError(f"found the role {given[:40]!r}; needed one of {', '.join(ROLES)}")
    return given


# Passwords: argon2id, and the same time for names that nobody has.


def hash_token(token: str) -> str:
    """What is kept of a token: it holds 256 random bits, so a plain hash of it tells nothing."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def join(study: Study, token: str, password: str) -> AccountRow:
    """Take up an invitation with a password of one's own."""
    store, hashed = study.store, hash_token(token)
    invited = store.accounts.invited(hashed, study.clock())
    if invited is not None:
        _require_strong(password, invited.name)
        invited = store.accounts.take_up(hashed, _hash_password(password), study.clock())
    if invited is None:
        raise InputError(
            "found no invitation of this address that is open; needed one that was not used and is "
            f"at most {INVITATION.days} days old; ask an owner for a new one"
        )
    store.audit.add(invited.account_id, "team_join", "done", study.clock())
    return invited


def verified_account(study: Study, name: str, password: str) -> AccountRow | None:
    """The account of a name and its password; None where one of them is wrong."""
    try:
        row = study.store.accounts.named(_name(name))
    except InputError:
        row = None
    hashed = None if row is None else row.password_hash
    is_right = _is_password(password[:LONGEST_PASSWORD], hashed or _decoy())
    return row if is_right and hashed is not None else None


def _require_strong(password: str, name: str) -> None:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD or len(set(password)) < 5:
        raise InputError(
            f"found a password that is easily guessed; needed one of {SHORTEST_PASSWORD} to "
            f"{LONGEST_PASSWORD} characters, at least 5 of them different, such as four words"
        )
    if password.casefold() in name or name in password.casefold():
        raise InputError("found a password made of the name; needed another one")


def _hash_password(password: str) -> str:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    with _AT_ONCE:
        kdf = Argon2id(salt=os.urandom(16), length=32, **COST)
        return kdf.derive_phc_encoded(_bytes(password))


def _is_password(password: str, hashed: str) -> bool:
    from cryptography.exceptions import InvalidKey
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    with _AT_ONCE:
        try:
            Argon2id.verify_phc_encoded(_bytes(password), hashed)
        except InvalidKey:
            return False
    return True


def _bytes(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


_DECOYS: dict[str, str] = {}


def _decoy() -> str:
    """A hash that no password has: a name that nobody has takes as long to refuse."""
    if "hash" not in _DECOYS:
        _DECOYS["hash"] = _hash_password(secrets.token_urlsafe(32))
    return _DECOYS["hash"]


# Sessions: fixed at sign-in, by a token that nobody had before.


def begin_session(study: Study, account_id: str) -> str | None:
    """A new session's token; None where the account was removed in the meantime."""
    token, now = secrets.token_urlsafe(32), study.clock()
    until = now + SESSION
    begun = study.store.sessions.begin(
        secrets.token_hex(6), account_id, hash_token(token), now, until
    )
    if not begun:
        return None
    study.store.audit.add(account_id, "sign_in", "done", now)
    return token


def find_session(study: Study, token: str) -> tuple[SessionRow, AccountRow] | None:
    """The session of a token with its account; None where there is none that is open."""
    return study.store.sessions.find(hash_token(token), study.clock()) if token else None
