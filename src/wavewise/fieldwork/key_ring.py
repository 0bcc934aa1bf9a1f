"""Keys that seal contact details: they live outside of the study's database."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wavewise.errors import InputError
from wavewise.fieldwork.addresses import address_kind, normal_address

__all__ = ["KeyRing", "Sealed"]

FORM = "wavewise keys 1"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_LINK = "unsubscribe"


@dataclass(frozen=True)
class Sealed:
    """One contact detail as the database keeps it.

    Parameters
    ----------
    key_id : str
        Name of the key that it was sealed with.
    sealed : str
        Nonce, ciphertext and tag in base 64.
    lookup : str
        Blind index: equal for equal addresses, and nothing can be read from it without the key.
    """

    key_id: str
    sealed: str
    lookup: str


@dataclass(frozen=True)
class KeyRing:
    """The key in force, those before it, and the one that signs unsubscribe links.

    Parameters
    ----------
    active : str
        Name of the key that seals.
    keys : mapping of str to bytes
        Keys by name, 32 bytes each.
    link_key : bytes
        32 bytes. It outlives rotations: links in messages of last year must still work.

    Notes
    -----
    From each key HKDF-SHA256 makes two: one for AES-256-GCM with a random nonce of 96 bits, and one
    for HMAC-SHA256, the blind index. Associated data are the unit, the channel and the key's name,
    so that a sealed value moved to another row does not open.

    Examples
    --------
    >>> ring = KeyRing.new()
    >>> kept = ring.seal("007", "sms", "+51 999 000 111")
    >>> ring.open("007", "sms", kept.key_id, kept.sealed)
    '+51 999 000 111'
    >>> kept.lookup in ring.lookups("voice", "0051999000111")
    True
    """

    active: str
    keys: Mapping[str, bytes] = field(repr=False)
    link_key: bytes = field(repr=False)

    @classmethod
    def new(cls) -> "KeyRing":
        """A ring with one new key."""
        name = secrets.token_hex(4)
        return cls(name, {name: secrets.token_bytes(_KEY_BYTES)}, secrets.token_bytes(_KEY_BYTES))

    @classmethod
    def read(cls, text: str, name: str) -> "KeyRing":
        """A ring from its file's text; ``name`` is what errors call it.

        Raises
        ------
        InputError
            The text is no key ring. It is not shown.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            keys = {str(k): base64.b64decode(v, validate=True) for k, v in raw["keys"].items()}
            ring = cls(str(raw["active"]), keys, base64.b64decode(raw["link"], validate=True))
            sound = raw["form"] == FORM and ring.active in keys
        except (ValueError, KeyError, TypeError, AttributeError):
            sound = False
        if not sound or any(len(k) != _KEY_BYTES for k in (*ring.keys.values(), ring.link_key)):
            raise InputError(
                f"{name}: found no key ring; needed what `wavewise contacts make-key` writes; "
                "restore it from its copy: without it, contact details cannot be read"
            )
        return ring

    def text(self) -> str:
        """The ring as its file holds it."""
        coded = {name: base64.b64encode(key).decode() for name, key in self.keys.items()}
        link = base64.b64encode(self.link_key).decode()
        whole = {"form": FORM, "active": self.active, "keys": coded, "link": link}
        return json.dumps(whole, indent=1) + "\n"

    def rotated(self) -> "KeyRing":
        """The same ring with a new key in force; the others still open."""
        new = KeyRing.new()
        return replace(self, active=new.active, keys={**self.keys, **new.keys})

    def only_active(self) -> "KeyRing":
        """The ring without the keys that are not in force."""
        return replace(self, keys={self.active: self.keys[self.active]})

    def seal(self, unit_id: str, channel: str, address: str) -> Sealed:
        """A contact detail, bound to its unit and channel."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        bound = _bound(unit_id, channel, self.active)
        cipher, index = self._made[self.active]
        body = cipher.encrypt(nonce, address.encode(), bound)
        return Sealed(
            self.active,
            base64.b64encode(nonce + body).decode(),
            _index(index, channel, address),
        )

    def open(self, unit_id: str, channel: str, key_id: str, sealed: str) -> str:
        """The contact detail that was sealed for this unit and channel.

        Raises
        ------
        InputError
            The key is not in the ring, or the value was changed or moved.
        """
        if key_id not in self.keys:
            raise InputError(
                f"found contact details sealed with the key {key_id!r}, which the key file does "
                "not hold; needed the file that they were sealed with; give that one"
            )
        cipher, _ = self._made[key_id]
        try:
            raw = base64.b64decode(sealed, validate=True)
            bound = _bound(unit_id, channel, key_id)
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound).decode()
        except (InvalidTag, ValueError):
            raise InputError(
                "found a contact detail that does not open; needed one as it was sealed for this "
                "unit and channel; it was changed or moved: import the people again"
            ) from None

    def lookups(self, channel: str, address: str) -> tuple[str, ...]:
        """Blind indexes of an address, one a key."""
        return tuple(_index(index, channel, address) for _, index in self._made.values())

    def unsubscribe_token(self, unit_id: str) -> str:
        """An unguessable token for one unit's unsubscribe link; it does not show the unit."""
        nonce = hmac.digest(self.link_key, unit_id.encode(), "sha256")[:_NONCE_BYTES]
        body = self._link_cipher.encrypt(nonce, unit_id.encode(), _LINK.encode())
        return base64.urlsafe_b64encode(nonce + body).decode().rstrip("=")

    def unit_of_token(self, token: str) -> str | None:
        """The unit of an unsubscribe token; None where this ring did not make it."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
            unit = self._link_cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _LINK.encode())
        except (InvalidTag, ValueError):
            return None
        return unit.decode()

    @cached_property
    def _made(self) -> dict[str, tuple[AESGCM, bytes]]:
        return {
            name: (AESGCM(_derived(key, b"contact seal")), _derived(key, b"contact look-up"))
            for name, key in self.keys.items()
        }

    @cached_property
    def _link_cipher(self) -> AESGCM:
        return AESGCM(_derived(self.link_key, b"unsubscribe link"))


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"wavewise " + purpose).derive(key)


def _bound(*parts: str) -> bytes:
    # JSON, so that no two lists of parts give the same bytes.
    return json.dumps(["wavewise contact 1", *parts]).encode()


def _index(key: bytes, channel: str, address: str) -> str:
    kind, normal = address_kind(channel), normal_address(channel, address)
    return hmac.new(key, f"{kind}\x1f{normal}".encode(), hashlib.sha256).hexdigest()
