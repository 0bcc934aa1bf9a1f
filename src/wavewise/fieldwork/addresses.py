"""Addresses in one written form, so that the same one is found however it is written."""

import re

__all__ = ["address_kind", "caller_addresses", "is_international", "normal_address", "written_like"]

_PHONE_CHANNELS = {"sms", "voice"}
_SIP = re.compile(r"(?:sips?|tel):([^@;?]+)(@[^;?]+)?", re.IGNORECASE)
_INTERNATIONAL = re.compile(r"\+[1-9]\d{6,14}")


def address_kind(channel: str) -> str:
    """What an address of a channel is: a phone number serves both SMS and voice."""
    return "phone" if channel in _PHONE_CHANNELS else channel


def normal_address(channel: str, address: str) -> str:
    """An address in the form in which two of them are compared.

    Phone numbers lose all but their digits and the leading plus (00 counts as one); e-mail
    addresses lose their case, which no large provider tells apart; anything else loses blanks
    around it.

    Examples
    --------
    >>> normal_address("sms", "00254 (712) 345-678"), normal_address("email", " Ana@Example.org ")
    ('+254712345678', 'ana@example.org')
    """
    stripped = address.strip()
    if address_kind(channel) == "phone":
        bare = re.sub(r"[\s().\-/\u2010-\u2015]", "", stripped)
        return "+" + bare[2:] if bare.startswith("00") else bare
    return stripped.casefold() if channel == "email" else stripped


def is_international(address: str) -> bool:
    """Whether a phone number is written with its country's code.

    Examples
    --------
    >>> is_international("+254 712 345678"), is_international("0712 345678")
    (True, False)
    """
    return _INTERNATIONAL.fullmatch(normal_address("sms", address)) is not None


def caller_addresses(caller: str) -> tuple[str, ...]:
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
    number = normal_address("voice", names[-1])
    if number.isdigit() and is_international("+" + number):
        names.append("+" + number)
    return tuple(dict.fromkeys(name for name in names if name))


def written_like(number: str, former: str | None) -> str:
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
    typed = normal_address("voice", number)
    if former is None or not is_international(former):
        return typed
    known = normal_address("voice", former)
    code = known[: len(known) - len(typed) + 1]
    if typed.startswith("0") and 2 <= len(code) <= 4:
        return code + typed[1:]
    if len(typed) == len(known) - 1 and typed[:2] == known[1:3]:
        return "+" + typed
    return typed
