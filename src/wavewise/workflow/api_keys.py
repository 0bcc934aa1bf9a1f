"""Keys for the HTTP interface: shown once, then only their hashes are kept."""

import hashlib
import hmac
import secrets

from wavewise.errors import InputError
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.study import Study

__all__ = ["is_valid_key", "list_keys", "make_key", "revoke_key"]

_PREFIX = "ww"


def make_key(study: Study, name: str) -> Done:
    """A new key; the text is the only place where it stands.

    Raises
    ------
    InputError
        The name is empty.
    """
    if not name.strip():
        raise InputError('found an empty name; needed one that says whose key it is, as "the app"')
    key_id, secret = secrets.token_hex(4), secrets.token_hex(32)
    study.store.add_api_key(key_id, name.strip(), _hash(secret), study.clock())
    key = f"{_PREFIX}_{key_id}_{secret}"
    text = f"{key}\nShown this once: send it as the header X-API-Key. Revoke it by its id {key_id}."
    return Done(text, {"key": key, "key_id": key_id, "name": name.strip()})


def list_keys(study: Study) -> Done:
    """All keys, without their secrets."""
    keys = [
        {**key, "created_at": key["created_at"].isoformat(), "revoked_at": _when(key["revoked_at"])}
        for key in study.store.api_keys()
    ]
    header = ["key_id", "name", "created_at", "revoked_at"]
    table = text_table(header, [[key[name] or "-" for name in header] for key in keys])
    return Done(table if keys else "No keys yet: `wavewise keys make DIR`.", {"keys": keys})


def revoke_key(study: Study, key_id: str) -> Done:
    """Make a key useless from now on.

    Raises
    ------
    InputError
        There is no such key.
    """
    study.store.revoke_api_key(key_id, study.clock())
    return Done(f"Revoked {key_id}.", {"key_id": key_id})


def is_valid_key(study: Study, key: str) -> bool:
    """Whether a key is in force. It holds 256 random bits, so a plain hash of it tells nothing."""
    prefix, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not key_id or not secret:
        return False
    kept = study.store.api_key_hash(key_id)
    return kept is not None and hmac.compare_digest(kept, _hash(secret))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _when(moment: object) -> str | None:
    return None if moment is None else str(moment)
