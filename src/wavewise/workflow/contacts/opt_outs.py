"""Opt-outs from any side: kept as data, and what is queued is cancelled with them."""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl

from wavewise.design.enrolment import CONSENT
from wavewise.errors import InputError
from wavewise.fieldwork.channels.settings import CHANNELS_FILE, ChannelSettings
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.fieldwork.receipts import DeliveryReceipt
from wavewise.store.outbox import AT_PROVIDER, START_KEYWORD
from wavewise.store.rows import to_us
from wavewise.workflow.contacts.contacts import ContactBook
from wavewise.workflow.contacts.keys import KEY_FILE, find_key_ring
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

__all__ = [
    "OPT_IN_KEYWORDS",
    "OPT_OUT_KEYWORDS",
    "UNSUBSCRIBE_URL",
    "LinkOf",
    "inbound_message",
    "is_opt_in",
    "is_opt_out",
    "opt_out",
    "opt_out_address",
    "record_opt_out",
    "record_receipts",
    "unit_of_link",
    "unsubscribe",
    "unsubscribe_links",
]


@dataclass(frozen=True, eq=False)
class RecordedOptOut(VerbResult):
    """An opt-out that was recorded by hand."""

    n_new: int
    channel: str | None  # None: all channels.

    def summary(self) -> str:
        """For which channels, and what stays."""
        return (
            f"Opt-out recorded for {self.channel or 'all channels'}; queued messages are "
            "cancelled. Arm and outcomes are kept."
        )


Source = Literal[
    "stop keyword", "provider block", "opt-out call", "unsubscribe link", "by hand", "erasure"
]


def opt_out(
    study: Study,
    unit_ids: Sequence[str],
    source: Source,
    reference: str,
    *,
    channel: str | None = None,
    at: datetime | None = None,
) -> int:
    """Record opt-outs of units and cancel what is queued for them; the number of new ones."""
    now = study.clock()
    at_us = to_us(at) if at is not None else to_us(now)
    if at is None and unit_ids:  # a clock that was set back lets no earlier START undo it
        at_us = max(at_us, study.store.opt_outs.last_opt_in_us(unit_ids))

    def add(named: Mapping[str, str]) -> int:
        rows = pl.DataFrame(
            {
                "opt_out_id": list(named),
                "unit_id": list(named.values()),
                "channel": [channel] * len(named),
                "source": [source] * len(named),
                "at_utc_us": [at_us] * len(named),
            },
            schema_overrides={"unit_id": pl.String, "channel": pl.String, "opt_out_id": pl.String},
        )
        return study.store.opt_outs.add(rows, received_at=now)

    named = {f"{source}:{reference}:{unit}": unit for unit in unit_ids}
    n_new = add(named)
    if n_new < len(named):
        # Told again after it was taken back, under the same id: in doubt, it is meant.
        again = study.store.opt_outs.taken_back(list(named))
        n_new += add({f"{name}:{at_us}": unit for name, unit in again.items()}) if again else 0
    return n_new


def record_opt_out(study: Study, unit_id: str, channel: str | None = None) -> RecordedOptOut:
    """Keep an opt-out that came by another way, such as a word at the school's gate."""
    if not study.store.units.all().filter(unit_id=unit_id).height:
        raise InputError("found no unit of this id; needed an imported one; nothing was changed")
    now = study.clock()
    n_new = opt_out(study, [unit_id], "by hand", f"{to_us(now)}", channel=channel, at=now)
    return RecordedOptOut(n_new, channel)


def opt_out_address(
    study: Study,
    ring: KeyRing,
    channel: str,
    address: str,
    source: Source,
    reference: str,
    *,
    only_channel: bool = False,
) -> dict[str, int]:
    """Keep the opt-out of whoever has an address; gives numbers of units and of new opt-outs.

    That of an address which nobody has is kept too: it may be tomorrow's parent's.
    """
    book = ContactBook(study.store, ring, study.spec.study.country)
    units = book.units_at(channel, address)
    if units:
        refused = channel if only_channel else None
        return {
            "n_units": len(units),
            "n_new": opt_out(study, units, source, reference, channel=refused),
        }
    now, name = study.clock(), f"{source}:{reference}"
    kept = ring.encrypt(name, channel, book.in_form(channel, address))
    row = {
        "opt_out_id": name,
        "channel": channel,
        "only_channel": only_channel,
        **vars(kept),
        "source": source,
        "at_utc_us": to_us(now),
    }
    return {"n_units": 0, "n_new": study.store.opt_outs.add_unknown(row, now)}


def inbound_message(
    study: Study,
    ring: KeyRing,
    channel: str,
    address: str,
    text: str,
    reference: str,
    *,
    provider_opts_out: bool = False,
    provider_opts_in: bool = False,
) -> dict[str, int]:
    """What becomes of a message from a unit: an opt-out, its end, or an event ``answer``.

    An opt-in keyword of somebody who is being enrolled is an event ``consent``, too.
    """
    words = study.spec.keywords
    if provider_opts_out or is_opt_out(text, words.stop):
        done = opt_out_address(study, ring, channel, address, "stop keyword", reference)
        return {**done, "n_answers": 0, "n_resumed": 0}
    book = ContactBook(study.store, ring, study.spec.study.country)
    units = book.units_at(channel, address)
    if provider_opts_in or is_opt_in(text, words.start):
        if not units:
            lookups = ring.lookups(channel, book.in_form(channel, address))
            study.store.opt_outs.end_unknown(lookups, "stop keyword", study.clock())
        invited = study.store.enrolments.invited_now(units)
        _record_events(study, invited, CONSENT, channel, reference)
        n = _opt_in(study, units, channel, reference, at_provider=provider_opts_in)
        if n is not None:
            return {"n_units": len(units), "n_new": 0, "n_answers": 0, "n_resumed": n}
    n_answers = _record_events(study, units, "answer", channel, reference)
    return {"n_units": len(units), "n_new": 0, "n_answers": n_answers, "n_resumed": 0}


def _record_events(
    study: Study, units: Sequence[str], kind: str, channel: str, reference: str
) -> int:
    """Keep that units wrote, or agreed to take part; gives the number of new events."""
    if not units:
        return 0
    now = study.clock()
    rows = pl.DataFrame(
        {
            "event_id": [f"{kind}:{reference}:{unit}" for unit in units],
            "unit_id": list(units),
            "kind": [kind] * len(units),
            "at_utc_us": [to_us(now)] * len(units),
            "item": [channel] * len(units),
        },
        schema_overrides={"event_id": pl.String, "unit_id": pl.String},
    )
    return study.store.events.add(rows, received_at=now).n_new


def _opt_in(
    study: Study, units: Sequence[str], channel: str, reference: str, *, at_provider: bool
) -> int | None:
    """Keep that units take opt-outs by word back, on one channel; gives the number of new ones.

    What was cancelled stays cancelled. None where nobody there opted out, so that it is an answer.
    """
    refusing = set(study.store.opt_outs.units(channel)) & set(units)
    recorded = set(study.store.opt_outs.opt_ins()["opt_in_id"])
    rows = [
        {
            "opt_in_id": f"start:{reference}:{unit}",
            "unit_id": unit,
            "channel": channel,
            "source": AT_PROVIDER if at_provider else START_KEYWORD,
            "at_utc_us": to_us(study.clock()),
        }
        for unit in units
        if unit in refusing or f"start:{reference}:{unit}" in recorded
    ]
    return study.store.opt_outs.add_opt_ins(pl.DataFrame(rows), study.clock()) if rows else None


def unit_of_link(study: Study, ring: KeyRing, token: str) -> str | None:
    """The unit of an unsubscribe link of this study; None where it is none.

    Links that were sent before they were bound to a study hold for units that are known here.
    """
    unit = ring.unit_of_token(token, study.spec.study.id)
    if unit is not None:
        return unit
    earlier = ring.unit_of_token(token)
    return earlier if earlier is not None and study.store.units.has(earlier) else None


def unsubscribe(study: Study, ring: KeyRing, token: str) -> int | None:
    """Keep the opt-out that a link asks for; None where the link is not ours."""
    unit = unit_of_link(study, ring, token)
    if unit is None:
        return None
    return opt_out(study, [unit], "unsubscribe link", "link")


# Words by which people refuse messages, or want them again, in the studies' languages.

# Language: words. Single words also refuse at the beginning of a message of up to three words.
OPT_OUT_KEYWORDS: dict[str, tuple[str, ...]] = {
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
OPT_IN_KEYWORDS: dict[str, tuple[str, ...]] = {
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
# Anywhere in a message of up to four words, or with letters repeated or apart: "please stop".
_STRONG = {"stop", "stopall", "unsubscribe", "optout", "arretez", "desabonner", "basta", "sitaki"}
_MOST_AROUND = 4
# Anywhere in a message of any length.
_PHRASES = (
    *("stop sending", "stop texting", "stop messaging", "stop calling", "stop these messages"),
    *("stop the messages", "stop messages", "no more messages", "no more texts", "do not text"),
    *("dont text", "do not contact", "dont contact", "do not message", "dont message"),
    *("don t text", "don t contact", "don t message", "don t send"),
    *("take me off", "remove my number", "no mas mensajes", "dejen de enviar", "deje de enviar"),
    *("no me envien mas", "no envien mas", "acheni kutuma", "msinitumie", "usinitumie"),
    *("ne plus recevoir", "arretez de m envoyer", "plus de messages", "pare de enviar"),
)
# At the beginning of a longer message these are ordinary words.
_ALONE = {"end", "fin", "para", "pare", "alto", "baja", "toka"}


def is_opt_out(text: str, more: Collection[str] = ()) -> bool:
    """Whether a message asks to be sent no more.

    Notes
    -----
    Case, accents, punctuation and blanks do not count, since phones change them on the way (the GSM
    alphabet has no á and no í). A message refuses if it is one of the words, or has at most
    three words and begins with one, or at most four and holds one that means nothing else, also
    with letters repeated or apart, or if it asks to stop sending in so many words. A message
    that only looks like an opt-out costs one unit's messages; one that is missed costs its
    trust.

    Examples
    --------
    >>> is_opt_out(" ¡STOP! "), is_opt_out("Arrêt"), is_opt_out("no más"), is_opt_out("stop please")
    (True, True, True, True)
    >>> is_opt_out("Please stop"), is_opt_out("s t o p"), is_opt_out("STOPPP")
    (True, True, True)
    >>> is_opt_out("Thank you"), is_opt_out("we will stop by the school on Monday")
    (False, False)
    """
    plain = _plain(text)
    if not plain:
        return False
    words = _WORDS | {_plain(word) for word in more}
    first, *others = plain.split()
    if plain in words or (len(others) < _MOST_WORDS and first in words - _ALONE):
        return True
    said = {_squeezed(word) for word in (first, *others, plain.replace(" ", ""))}
    if len(others) < _MOST_AROUND and said & set(map(_squeezed, _STRONG)):
        return True
    return any(f" {phrase} " in f" {plain} " for phrase in _PHRASES)


def _squeezed(word: str) -> str:
    return re.sub(r"(.)\1+", r"\1", word)


def is_opt_in(text: str, more: Collection[str] = ()) -> bool:
    """Whether a message takes an opt-out back: one of the words, and nothing else.

    Examples
    --------
    >>> is_opt_in("Start."), is_opt_in("¡Comenzar!"), is_opt_in("start tomorrow?")
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


_WORDS = frozenset(_plain(word) for words in OPT_OUT_KEYWORDS.values() for word in words)
_STARTS = frozenset(_plain(word) for words in OPT_IN_KEYWORDS.values() for word in words)


# Receipts of providers: kept, applied to the outbox, and heard where they are opt-outs.

_COLUMNS = ("receipt_id", "channel", "provider_id", "message_key", "state", "reason")


def record_receipts(study: Study, ring: KeyRing | None, receipt: DeliveryReceipt) -> dict[str, int]:
    """Keep one receipt. Repeated and reordered ones do no harm."""
    now = study.clock()
    row = {name: getattr(receipt, name) for name in _COLUMNS}
    row["at_utc_us"] = to_us(receipt.at or now)
    frame = pl.DataFrame(
        [row], schema={**dict.fromkeys(_COLUMNS, pl.String), "at_utc_us": pl.Int64}
    )
    added = study.store.receipts.add(frame, received_at=now)
    n_refused = _refused(study, ring, receipt) if receipt.is_opt_out else 0
    return {**vars(added), "n_refused": n_refused}


def _refused(study: Study, ring: KeyRing | None, receipt: DeliveryReceipt) -> int:
    units = study.store.opt_outs.units_of_message(
        receipt.channel, receipt.provider_id, receipt.message_key
    )
    if not units and ring is not None and receipt.address:
        units = ContactBook(study.store, ring, study.spec.study.country).units_at(
            receipt.channel, receipt.address
        )
    if not units:
        return 0
    return opt_out(
        study, units, "provider block", receipt.receipt_id, channel=receipt.channel, at=receipt.at
    )


# Unsubscribe links for outgoing messages: one per unit, made while it is sent and nowhere kept.

UNSUBSCRIBE_BASE = "unsubscribe_base"  # in channels.toml: where people reach `wavewise serve`
UNSUBSCRIBE_URL = "unsubscribe_url"  # the field that a channel finds the unit's link in

LinkOf: TypeAlias = Callable[[str], str]


def unsubscribe_links(
    settings: Mapping[str, ChannelSettings], key_file: Path | None, study_id: str
) -> dict[str, LinkOf]:
    """Channel: what gives the link of a unit; only channels that say where links lead."""
    bases = {
        name: one.option(UNSUBSCRIBE_BASE).rstrip("/")
        for name, one in settings.items()
        if UNSUBSCRIBE_BASE in one.options
    }
    if not bases:
        return {}
    for name, base in bases.items():
        if not base.startswith(("https://", "http://")):
            raise InputError(
                f"{CHANNELS_FILE}: found a {UNSUBSCRIBE_BASE} in [{name}] that is no URL; needed "
                "the public address of `wavewise serve`, such as https://study.example.org"
            )
    ring = find_key_ring(key_file)
    if ring is None:
        raise InputError(
            f"found no key file; needed one to sign unsubscribe links; give --key-file FILE or set "
            f"{KEY_FILE}, or take {UNSUBSCRIBE_BASE} out of {CHANNELS_FILE}"
        )

    def links_at(base: str) -> LinkOf:
        return lambda unit_id: f"{base}/u/{ring.unsubscribe_token(unit_id, study_id)}"

    return {name: links_at(base) for name, base in bases.items()}
