"""Words by which people refuse messages, in the languages of the studies and their neighbours."""

import re
import unicodedata
from collections.abc import Collection

__all__ = ["STOP_WORDS", "is_refusal"]

# Language: words. Single words also refuse at the beginning of a message of up to three words.
STOP_WORDS: dict[str, tuple[str, ...]] = {
    "en": ("stop", "stop all", "stopall", "unsubscribe", "cancel", "end", "quit", "opt out",
           "optout", "revoke", "remove me", "leave me alone"),
    "es": ("alto", "parar", "para", "basta", "baja", "cancelar", "detener", "salir", "no mas",
           "no enviar", "no quiero"),
    "qu": ("sayay", "sayachiy", "amana"),
    "sw": ("acha", "simama", "koma", "sitisha", "ondoa", "toka", "sitaki", "komesha"),
    "fr": ("arret", "arreter", "arretez", "desabonner", "desinscrire", "fin"),
    "pt": ("parar", "pare", "sair", "cancelar", "remover"),
    "ar": ("قف", "توقف", "ايقاف", "الغاء", "إيقاف", "إلغاء"),
    "hi": ("रोको", "बंद", "बंद करो"),
    "am": ("አቁም",),
}  # fmt: skip

_MOST_WORDS = 3
# At the beginning of a longer message these are ordinary words.
_ALONE = {"end", "fin", "para", "pare", "alto", "baja", "toka"}


def is_refusal(text: str, more: Collection[str] = ()) -> bool:
    """Whether a message asks to be sent no more.

    Parameters
    ----------
    text : str
        The message as it came.
    more : collection of str
        The study's own words.

    Notes
    -----
    Case, accents, punctuation and blanks do not count, since phones change them on the way (the GSM
    alphabet has no á and no í). A message refuses if it is one of the words, or has at most three
    words and begins with one. A message that only looks like a refusal costs one unit's messages;
    one that is missed costs its trust.

    Examples
    --------
    >>> is_refusal(" ¡STOP! "), is_refusal("Arrêt"), is_refusal("no más"), is_refusal("stop please")
    (True, True, True, True)
    >>> is_refusal("Thank you"), is_refusal("we will stop by the school on Monday")
    (False, False)
    """
    plain = _plain(text)
    if not plain:
        return False
    words = _WORDS | {_plain(word) for word in more}
    first, *others = plain.split()
    return plain in words or (len(others) < _MOST_WORDS and first in words - _ALONE)


def _plain(text: str) -> str:
    """Small letters without accents, single blanks, no punctuation."""
    split = unicodedata.normalize("NFKD", text).casefold()
    # Only the accents of Latin letters: in other scripts marks are part of the letter.
    bare = re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", split)
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in bare)
    return " ".join("".join(kept).split())


_WORDS = frozenset(_plain(word) for words in STOP_WORDS.values() for word in words)
