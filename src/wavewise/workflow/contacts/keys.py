"""The key file: made, found and read; never inside of the study's folder."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wavewise.errors import InputError
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.shared.files import is_open_to_others, write_private
from wavewise.shared.text_tables import text_table
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "KEY_FILE",
    "find_key_ring",
    "is_valid_key",
    "key_ring",
    "list_keys",
    "make_key",
    "make_key_file",
    "read_key_file",
    "revoke_key",
]

KEY_FILE = "WAVEWISE_KEY_FILE"  # environment: path of the key file
KEYS = "WAVEWISE_KEYS"  # environment: the text of the key file itself


@dataclass(frozen=True, eq=False)
class NewKeyFile(VerbResult):
    """A key file that was made."""

    path: str

    def summary(self) -> str:
        """Where it is, and how it is used."""
        return (
            f"Wrote {self.path}. Keep a copy in a safe place: without it no contact detail can be "
            f"read.\nUse it with --key-file {self.path}, or set {KEY_FILE}."
        )


@dataclass(frozen=True, eq=False)
class NewApiKey(VerbResult):
    """An API key that was made: the only place where it stands."""

    key: str
    key_id: str
    name: str

    def summary(self) -> str:
        """The key."""
        return (
            f"{self.key}\nIt is shown only once. Send it as the header X-API-Key. Revoke it by its "
            f"id {self.key_id}."
        )


@dataclass(frozen=True, eq=False)
class ApiKeys(VerbResult):
    """API keys, without their secrets."""

    keys: tuple[Mapping[str, str | None], ...]  # key_id, name, created_at, revoked_at

    def summary(self) -> str:
        """A table of them."""
        if not self.keys:
            return "No keys yet: `wavewise keys make DIR --name NAME`."
        return text_table(
            list(self.keys[0]), [[x or "-" for x in key.values()] for key in self.keys]
        )

    def _frame(self) -> "pl.DataFrame":
        import polars as pl

        names = ("key_id", "name", "created_at", "revoked_at")
        return pl.DataFrame(list(self.keys), schema=dict.fromkeys(names, pl.String))


@dataclass(frozen=True, eq=False)
class RevokedKey(VerbResult):
    """An API key that is no longer valid."""

    key_id: str

    def summary(self) -> str:
        """Which one."""
        return f"Revoked {self.key_id}."


def make_key_file(path: Path) -> NewKeyFile:
    """A new key file that its owner alone can read."""
    _require_outside_studies(path)
    try:
        write_private(path, KeyRing.new().text())
    except FileExistsError:
        raise InputError(
            f"found {path} there already; needed a new path, since details encrypted with the old "
            "keys would be lost; give another path"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: it cannot be written ({error.strerror}); needed a folder that exists and "
            "may be written to; give another path"
        ) from None
    return NewKeyFile(str(path))


def find_key_ring(path: Path | None = None) -> KeyRing | None:
    """The key ring: of a file, or of the environment; None where there is none."""
    if path is None and (text := os.environ.get(KEYS)):
        return KeyRing.read(text, KEYS)
    named = path or (Path(os.environ[KEY_FILE]) if os.environ.get(KEY_FILE) else None)
    return None if named is None else read_key_file(named)


def key_ring(path: Path | None = None) -> KeyRing:
    """The key ring, which must be there."""
    ring = find_key_ring(path)
    if ring is None:
        raise InputError(
            f"found no key file; needed one to read contact details; give --key-file FILE or set "
            f"{KEY_FILE}; make one with `wavewise contacts make-key FILE`"
        )
    return ring


def read_key_file(path: Path) -> KeyRing:
    """The key ring of a file."""
    _require_outside_studies(path)
    try:
        if is_open_to_others(path):
            raise InputError(
                f"{path}: found a key file that others may read; needed one for its owner alone; "
                f"run chmod 600 {path}"
            )
        return KeyRing.read(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: the key file cannot be read ({type(error).__name__}); needed the file that "
            "`wavewise contacts make-key` wrote; check the path and its permissions"
        ) from None


def _require_outside_studies(path: Path) -> None:
    for folder in path.resolve().parents:
        if (folder / "study.toml").is_file():
            raise InputError(
                f"found the key file inside of the study folder {folder}; needed it elsewhere: "
                "whoever copies the study must not copy the key; move it"
            )


# Keys for the HTTP interface: shown once, then only their hashes are kept.

_PREFIX = "ww"


def make_key(study: Study, name: str) -> NewApiKey:
    """A new key; the text is the only place where it stands."""
    if not name.strip():
        raise InputError('found an empty name; needed one that says whose key it is, as "the app"')
    key_id, secret = secrets.token_hex(4), secrets.token_hex(32)
    study.store.api_keys.add(key_id, name.strip(), _hash(secret), study.clock())
    return NewApiKey(f"{_PREFIX}_{key_id}_{secret}", key_id, name.strip())


def list_keys(study: Study) -> ApiKeys:
    """All keys, without their secrets."""
    return ApiKeys(
        tuple(
            {
                "key_id": key["key_id"],
                "name": key["name"],
                "created_at": key["created_at"].isoformat(),
                "revoked_at": _when(key["revoked_at"]),
            }
            for key in study.store.api_keys.all()
        )
    )


def revoke_key(study: Study, key_id: str) -> RevokedKey:
    """Revoke a key."""
    study.store.api_keys.revoke(key_id, study.clock())
    return RevokedKey(key_id)


def is_valid_key(study: Study, key: str) -> bool:
    """Whether a key is active. It holds 256 random bits, so a plain hash of it tells nothing."""
    prefix, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not key_id or not secret:
        return False
    kept = study.store.api_keys.hash(key_id)
    return kept is not None and hmac.compare_digest(kept, _hash(secret))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _when(moment: object) -> str | None:
    return None if moment is None else str(moment)
