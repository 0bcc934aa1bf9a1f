"""Addresses in one written form, so that the same one is found however it is written."""

import base64
import hashlib
import hmac
import json
import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache
from typing import Any, Protocol

import polars as pl
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wavewise.errors import InputError
from wavewise.fieldwork.files.cells import BLANKS, is_no_value

__all__ = [
    "AddressBook",
    "KeyRing",
    "address_fault",
    "address_kind",
    "caller_addresses",
    "is_international",
    "normal_address",
    "normal_addresses",
    "written_like",
]

_PHONE_CHANNELS = {"sms", "voice"}
_SIP = re.compile(r"(?:sips?|tel):([^@;?]+)(@[^;?]+)?", re.IGNORECASE)
_PREFIX = re.compile(r"\s*(whatsapp|messenger|rcs|tel|sms):", re.IGNORECASE)
_INTERNATIONAL = re.compile(r"\+[1-9]\d{6,14}")
_SCIENTIFIC = re.compile(r"(\d)(?:[.,](\d+))?[eE]\+?(\d{1,2})")
_LOOKS_LIKE_NUMBER = re.compile(r"\+?[\d\s().\-/\u2010-\u2015]+")


def address_kind(channel: str) -> str:
    """What an address of a channel is: a phone number serves both SMS and voice."""
    return "phone" if channel in _PHONE_CHANNELS else channel


def normal_address(channel: str, address: str, country: str | None = None) -> str:
    """An address in the form in which it is kept, sent to and compared.

    Phone numbers are written in E.164 (+254712345678) where they can be: with 00 for the plus,
    without it, with blanks, ``whatsapp:`` before them or in scientific notation; those without
    the country's code are of ``country``. E-mail addresses lose their case, which no large provider
    tells apart; anything else loses blanks around it.

    Examples
    --------
    >>> normal_address("sms", "00254 (712) 345-678"), normal_address("email", " Ana@Example.org ")
    ('+254712345678', 'ana@example.org')
    >>> normal_address("sms", "whatsapp:0712 345 678", "KE"), normal_address("sms", "0712345678")
    ('+254712345678', '0712345678')
    >>> normal_address("voice", "sip:ana@10.0.0.7:5060")
    'sip:ana@10.0.0.7:5060'
    """
    stripped = address.strip(BLANKS)
    if address_kind(channel) != "phone":
        return stripped.casefold() if channel == "email" else stripped
    bare = _bare_number(stripped)
    if not re.fullmatch(r"\+?\d+", bare):
        return stripped  # a SIP address, whose dots and dashes are its own, or no number at all
    if _INTERNATIONAL.fullmatch(bare) and country is None:
        return bare
    return _phone(bare, country) or bare


def _bare_number(address: str) -> str:
    """The digits of a phone number, with its plus; 00 counts as one."""
    text = unicodedata.normalize("NFKC", _PREFIX.sub("", address))
    if (match := _SCIENTIFIC.fullmatch(text)) and len(match[2] or "") == int(match[3]):
        text = match[1] + (match[2] or "")
    text = text.removesuffix(".0") if re.fullmatch(r"\d+\.0", text) else text
    bare = re.sub(r"[\s().\-/\u2010-\u2015\u200b-\u200f\u202a-\u202e\u2060\ufeff]", "", text)
    return "+" + bare[2:] if bare.startswith("00") else bare


@lru_cache(maxsize=200_000)
def _phone(bare: str, country: str | None) -> str | None:
    """A number in E.164 as the numbering plans have it; None where it is none of them."""
    if not re.fullmatch(r"\+?\d{4,15}", bare):
        return None
    if "+" not in bare and country is None:
        return None
    import phonenumbers

    for text, region in ((bare, country), (f"+{bare.lstrip('+')}", None)):
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        is_foreign = number.country_code != phonenumbers.country_code_for_region(country or "ZZ")
        is_written_so = bare.startswith("+") and is_foreign
        if phonenumbers.is_valid_number(number) or (
            is_written_so and phonenumbers.is_possible_number(number)
        ):
            return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return None


def address_fault(channel: str, address: str, country: str | None = None) -> str:
    """What is wrong with an address, without it; nothing where it may be one."""
    bare = normal_address(channel, address, country)
    if address_kind(channel) == "phone":
        return _phone_fault(bare, country)
    if channel == "email":
        return "" if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", bare) else "no e-mail address"
    return "an error value, or a word for nothing" if is_no_value(bare) else ""


def _phone_fault(bare: str, country: str | None) -> str:
    if _INTERNATIONAL.fullmatch(bare):
        sound = country is None or _phone(bare, country)
        return "" if sound else "a phone number that cannot exist"
    if bare.lower().startswith(("sip:", "sips:")):
        return ""
    if re.search(r"\d[eE]\+?\d", bare):
        return "a phone number that lost digits to scientific notation"
    n_digits = sum(c.isdigit() for c in bare)
    is_one = _LOOKS_LIKE_NUMBER.fullmatch(bare) and 4 <= n_digits <= 15 and len(set(bare)) > 1
    if is_one and country is None:
        return ""
    return f"no phone number of {country}" if is_one else "no phone number"


def normal_addresses(channel: str, cells: pl.Series, country: str | None = None) -> pl.DataFrame:
    """Addresses as they are sent to and what is wrong with them: address, fault; null if empty.

    Letters of e-mail addresses keep their case, which only comparisons drop. Numbers in E.164 of
    the country's mobile and fixed plans are told at once, the others singly.
    """
    text = cells.cast(pl.String).str.strip_chars(BLANKS)
    text = text.set(text == "", None)
    is_phone = address_kind(channel) == "phone"
    address = _of_plan(text, country) if is_phone else text.set(text != "", None)
    fault = pl.repeat("", len(text), dtype=pl.String, eager=True)
    is_other = text.is_not_null() & address.is_null()
    if not is_other.any():
        return pl.DataFrame({"address": address, "fault": fault})
    others = text.filter(is_other).to_list()
    found = {
        a: (
            normal_address(channel, a, country) if is_phone else a,
            address_fault(channel, a, country),
        )
        for a in dict.fromkeys(others)
    }
    places = is_other.arg_true()
    addresses, faults = ([found[a][i] for a in others] for i in (0, 1))
    return pl.DataFrame(
        {"address": address.scatter(places, addresses), "fault": fault.scatter(places, faults)}
    )


def _of_plan(text: pl.Series, country: str | None) -> pl.Series:
    """Numbers that are plainly of the country's numbering plan, in E.164; null for the others."""
    if country is None:
        return text.set(~text.str.contains(rf"^{_INTERNATIONAL.pattern}$"), None)
    code, pattern, prefix = _plan(country)
    bare = text.str.replace_all(r"[ ().\-]", "").str.replace("^00", "+")
    national = bare.str.extract(rf"^{prefix}({pattern})$", 1)
    national = national.set(national.str.starts_with(str(code)), None)  # or is that the code?
    abroad = bare.str.extract(rf"^\+{code}({pattern})$", 1)
    return f"+{code}" + abroad.fill_null(national)


@cache
def _plan(country: str) -> tuple[int, str, str]:
    """Code of a country, pattern of its mobile and fixed numbers, and of the prefix before them."""
    import phonenumbers

    plan = phonenumbers.PhoneMetadata.metadata_for_region(country, None)
    if plan is None:
        raise InputError(f"found the country {country!r}; needed one that has phone numbers")
    kinds = filter(None, (plan.mobile, plan.fixed_line))
    parts = [kind.national_number_pattern for kind in kinds]
    pattern = f"(?:{'|'.join(filter(None, parts))})"
    code = phonenumbers.country_code_for_region(country)
    is_simple = plan.national_prefix_for_parsing in {None, plan.national_prefix}
    prefix = f"(?:{plan.national_prefix})?" if plan.national_prefix else ""
    return code, pattern, prefix if is_simple else r"[^\d\D]"


def is_international(address: str) -> bool:
    """Whether a phone number is written with its country's code.

    Examples
    --------
    >>> is_international("+254 712 345678"), is_international("0712 345678")
    (True, False)
    """
    return _INTERNATIONAL.fullmatch(normal_address("sms", address)) is not None


def caller_addresses(caller: str, country: str | None = None) -> tuple[str, ...]:
    """Ways in which the address of somebody who rings may be kept: as it came, and as a number.

    Providers write +254712345678 as such, as ``sip:+254712345678@host`` or without its plus.

    Examples
    --------
    >>> caller_addresses("sip:254712345678@sip.example.org;user=phone")
    ('sip:254712345678@sip.example.org', '254712345678', '+254712345678')
    >>> caller_addresses("0712 345678"), caller_addresses("")
    (('0712 345678',), ())
    """
    found = _SIP.fullmatch(caller.partition(";")[0].strip())
    names = [caller.strip()] if found is None else [found[0], found[1]]
    number = normal_address("voice", names[-1], country)
    if number.isdigit() and is_international("+" + number):
        names.append("+" + number)
    return tuple(dict.fromkeys(name for name in names if name))


def written_like(number: str, former: str | None, country: str | None = None) -> str:
    """A number that was typed on a telephone, with the country's code of the one before it.

    Who types a number knows neither + nor the form that providers need: a leading 0 stands for the
    country of the former number, if both are equally long without it.

    Examples
    --------
    >>> written_like("0712345678", "+254700000001"), written_like("254712345678", "+254700000001")
    ('+254712345678', '+254712345678')
    >>> written_like("00254712345678", None), written_like("12345", "+254700000001")
    ('+254712345678', '12345')
    """
    typed = normal_address("voice", number, country)
    if is_international(typed) or former is None or not is_international(former):
        return typed
    known = normal_address("voice", former)
    code = known[: len(known) - len(typed) + 1]
    if typed.startswith("0") and 2 <= len(code) <= 4:
        return code + typed[1:]
    if len(typed) == len(known) - 1 and typed[:2] == known[1:3]:
        return "+" + typed
    return typed


# Where addresses come from, as a protocol: the worker asks for a batch, and keeps none.


class AddressBook(Protocol):
    """Addresses of units, opened only to send."""

    def addresses(self, channel: str, unit_ids: Sequence[str]) -> Mapping[str, str]:
        """Address of each unit on a channel; a unit without one is left out."""
        ...


class ListedAddresses:
    """Addresses held in memory: for dry runs and tests.

    Examples
    --------
    >>> ListedAddresses({"sms": {"a": "+15550100"}}).addresses("sms", ["a", "b"])
    {'a': '+15550100'}
    """

    def __init__(self, listed: Mapping[str, Mapping[str, str]]) -> None:
        self._listed = listed

    def addresses(self, channel: str, unit_ids: Sequence[str]) -> dict[str, str]:
        """Address of each unit on a channel; a unit without one is left out."""
        known = self._listed.get(channel, {})
        return {unit: known[unit] for unit in unit_ids if unit in known}


# Keys that encrypt contact details: they live outside of the study's database.

FORM = "wavewise keys 1"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_LINK = "unsubscribe"


@dataclass(frozen=True)
class Encrypted:
    """One contact detail as the database keeps it."""

    key_id: str  # Name of the key that it was encrypted with.
    encrypted: str  # Nonce, ciphertext and tag in base 64.
    # Blind index: equal for equal addresses, and nothing can be read from it without the key.
    lookup: str


@dataclass(frozen=True)
class KeyRing:
    """The active key, those before it, and the one that signs unsubscribe links.

    Notes
    -----
    From each key HKDF-SHA256 makes two: one for AES-256-GCM with a random nonce of 96 bits, and one
    for HMAC-SHA256, the blind index. Associated data are the unit, the channel and the key's name,
    so that an encrypted value moved to another row does not open.

    Examples
    --------
    >>> ring = KeyRing.new()
    >>> kept = ring.encrypt("007", "sms", "+51 999 000 111")
    >>> ring.open("007", "sms", kept.key_id, kept.encrypted)
    '+51 999 000 111'
    >>> kept.lookup in ring.lookups("voice", "0051999000111")
    True
    """

    active: str  # Name of the key that encrypts.
    keys: Mapping[str, bytes] = field(repr=False)  # Keys by name, 32 bytes each.
    # 32 bytes. It outlives rotations: links in messages of last year must still work.
    link_key: bytes = field(repr=False)

    @classmethod
    def new(cls) -> "KeyRing":
        """A ring with one new key."""
        name = secrets.token_hex(4)
        return cls(name, {name: secrets.token_bytes(_KEY_BYTES)}, secrets.token_bytes(_KEY_BYTES))

    @classmethod
    def read(cls, text: str, name: str) -> "KeyRing":
        """A ring from its file's text; ``name`` is what errors call it."""
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
        """The same ring with a new active key; the others still open."""
        new = KeyRing.new()
        return replace(self, active=new.active, keys={**self.keys, **new.keys})

    def only_active(self) -> "KeyRing":
        """The ring without the keys that are not active."""
        return replace(self, keys={self.active: self.keys[self.active]})

    def encrypt(self, unit_id: str, channel: str, address: str) -> Encrypted:
        """A contact detail, bound to its unit and channel."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        bound = _bound(unit_id, channel, self.active)
        cipher, index = self._made[self.active]
        body = cipher.encrypt(nonce, address.encode(), bound)
        return Encrypted(
            self.active,
            base64.b64encode(nonce + body).decode(),
            _index(index, channel, address),
        )

    def open(self, unit_id: str, channel: str, key_id: str, encrypted: str) -> str:
        """The contact detail that was encrypted for this unit and channel."""
        if key_id not in self.keys:
            raise InputError(
                f"found contact details encrypted with the key {key_id!r}, which is not in "
                "the key file; needed the key file that they were encrypted with; pass that one"
            )
        cipher, _ = self._made[key_id]
        try:
            raw = base64.b64decode(encrypted, validate=True)
            bound = _bound(unit_id, channel, key_id)
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound).decode()
        except (InvalidTag, ValueError):
            raise InputError(
                "found a contact detail that cannot be decrypted; needed it as it was encrypted "
                "for this unit and channel; it was changed or moved: import the people again"
            ) from None

    def lookups(self, channel: str, address: str) -> tuple[str, ...]:
        """Blind indexes of an address, one a key."""
        return tuple(_index(index, channel, address) for _, index in self._made.values())

    def unsubscribe_token(self, unit_id: str, study_id: str | None = None) -> str:
        """An unguessable token for one unit's unsubscribe link; it does not show the unit.

        It is bound to the study: one that shares the key file has other links. Without a study, it
        is as links were made before.
        """
        text = unit_id.encode()
        # Another study, another nonce: one nonce for two tags would give the key away.
        named = text if study_id is None else json.dumps([study_id, unit_id]).encode()
        nonce = hmac.digest(self.link_key, named, "sha256")[:_NONCE_BYTES]
        body = self._link_cipher.encrypt(nonce, text, _link(study_id))
        return base64.urlsafe_b64encode(nonce + body).decode().rstrip("=")

    def unit_of_token(self, token: str, study_id: str | None = None) -> str | None:
        """The unit of an unsubscribe token; None where this ring did not make it, or for another.

        Examples
        --------
        >>> ring = KeyRing.new()
        >>> token = ring.unsubscribe_token("007", "reading")
        >>> ring.unit_of_token(token, "reading"), ring.unit_of_token(token, "saving")
        ('007', None)
        """
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
            nonce, body = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
            unit = self._link_cipher.decrypt(nonce, body, _link(study_id))
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


def _link(study_id: str | None) -> bytes:
    return _LINK.encode() if study_id is None else json.dumps([_LINK, study_id]).encode()


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"wavewise " + purpose).derive(key)


def _bound(*parts: str) -> bytes:
    # JSON, so that no two lists of parts give the same bytes.
    return json.dumps(["wavewise contact 1", *parts]).encode()


def _index(key: bytes, channel: str, address: str) -> str:
    kind, normal = address_kind(channel), normal_address(channel, address)
    return hmac.new(key, f"{kind}\x1f{normal}".encode(), hashlib.sha256).hexdigest()
