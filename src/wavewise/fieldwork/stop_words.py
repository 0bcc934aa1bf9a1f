"""Words by which people refuse messages, or want them again, in the studies' languages."""

import re
import unicodedata
from collections.abc import Collection

__all__ = ["START_WORDS", "STOP_WORDS", "is_refusal", "is_resumption"]

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

# Only as the whole message: they bring messages back to somebody who wanted none. YES is among
# them since providers that hear it lift their own block.
START_WORDS: dict[str, tuple[str, ...]] = {
    "en": ("start", "unstop", "yes", "resume", "subscribe", "opt in", "optin"),
    "es": ("iniciar", "comenzar", "empezar", "reanudar", "alta"),
    "qu": ("qallariy",),
    "sw": ("anza", "endelea", "rudisha"),
    "fr": ("commencer", "demarrer", "reprendre"),
    "pt": ("iniciar", "comecar", "retomar"),
    "ar": ("ابدأ", "اشتراك"),
    "hi": ("शुरू", "शुरू करो"),
    "am": ("ጀምር",),
}

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


def is_resumption(text: str, more: Collection[str] = ()) -> bool:
    """Whether a message takes a refusal back: one of the words, and nothing else.

    Parameters
    ----------
    text : str
        The message as it came.
    more : collection of str
        The study's own words.

    Examples
    --------
    >>> is_resumption("Start."), is_resumption("¡Comenzar!"), is_resumption("start tomorrow?")
    (True, True, False)
    """
    plain = _plain(text)
    return bool(plain) and plain in _STARTS | {_plain(word) for word in more}


def _plain(text: str) -> str:
    """Small letters without accents, single blanks, no punctuation."""
    split = unicodedata.normalize("NFKD", text).casefold()
    # Only the accents of Latin letters: in other scripts marks are part of the letter.
    bare = re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", split)
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in bare)
    return " ".join("".join(kept).split())


_WORDS = frozenset(_plain(word) for words in STOP_WORDS.values() for word in words)
_STARTS = frozenset(_plain(word) for words in START_WORDS.values() for word in words)
