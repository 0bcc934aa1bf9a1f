"""How long a text message is: letters, encoding and segments.

References
----------
3GPP TS 23.038 (the 7-bit alphabet and its extension), TS 23.040 (concatenated messages: a header
of 6 octets leaves 153 seven-bit or 67 sixteen-bit letters).
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["SmsLength", "sms_length"]

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")
_LIMITS = {"GSM-7": (160, 153), "UCS-2": (70, 67)}


@dataclass(frozen=True)
class SmsLength:
    """Length of a text message.

    Parameters
    ----------
    encoding : {'GSM-7', 'UCS-2'}
        One letter outside the 7-bit alphabet makes the whole message UCS-2.
    n_letters : int
        Seven-bit septets, or 16-bit units.
    n_segments : int
        Messages that are billed.
    foreign : str
        The letters that do not fit the 7-bit alphabet, each once.
    """

    encoding: Literal["GSM-7", "UCS-2"]
    n_letters: int
    n_segments: int
    foreign: str = ""


def sms_length(text: str) -> SmsLength:
    """Letters, encoding and segments of a text.

    Examples
    --------
    >>> sms_length("a" * 160).n_segments, sms_length("a" * 161).n_segments
    (1, 2)
    >>> sms_length("¿Practicó hoy?")
    SmsLength(encoding='UCS-2', n_letters=14, n_segments=1, foreign='ó')
    """
    foreign = "".join(dict.fromkeys(c for c in text if c not in _BASIC and c not in _EXTENDED))
    encoding: Literal["GSM-7", "UCS-2"] = "UCS-2" if foreign else "GSM-7"
    if foreign:
        sizes = [2 if ord(c) > 0xFFFF else 1 for c in text]
    else:
        sizes = [2 if c in _EXTENDED else 1 for c in text]
    whole, part = _LIMITS[encoding]
    n_letters = sum(sizes)
    n_segments = 1 if n_letters <= whole else _parts(sizes, part)
    return SmsLength(encoding, n_letters, n_segments, foreign)


def _parts(sizes: list[int], room: int) -> int:
    """Parts that letters fill, where a letter of two units is never cut."""
    n, left = 1, room
    for size in sizes:
        if size > left:
            n, left = n + 1, room
        left -= size
    return n
