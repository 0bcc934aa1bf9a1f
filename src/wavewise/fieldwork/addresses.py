"""Addresses in one written form, so that the same one is found however it is written."""

import re

__all__ = ["address_kind", "is_international", "normal_address"]

_PHONE_CHANNELS = {"sms", "voice"}
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
