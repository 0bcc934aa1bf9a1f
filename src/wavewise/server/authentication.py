"""Who may come in: keys of apps, signatures of providers."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from wavewise.fieldwork.channels.settings import SECRETS_FILE
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.fieldwork.files.cells import clean_text
from wavewise.server.connections import Guesses, Limits
from wavewise.server.errors import HttpProblem, body_of
from wavewise.workflow.contacts.keys import is_valid_key
from wavewise.workflow.study import Study

__all__ = [
    "App",
    "Settings",
    "africas_talking_form",
    "query_of",
    "sign_webhook",
    "signed_body",
    "twilio_form",
    "twilio_signature",
    "webhook_fault",
]


# What the server is started with.


@dataclass(frozen=True)
class Settings:
    """An open study and what its interface needs besides."""

    study: Study  # Open for as long as the server runs.
    # Keys of contact details: needed to know whose number or link comes in.
    ring: KeyRing | None = field(default=None, repr=False)
    # From a secret's name to its value, or None: ``twilio_auth_token``,
    # ``africas_talking_callback_token``, ``webhook_inbound_secret``, ``webhook_receipts_secret``.
    secret: Callable[[str], str | None] = field(default=lambda _: None, repr=False)
    # Address by which providers reach this server, where a proxy stands before it.
    public_url: str | None = None
    limits: Limits = field(default_factory=Limits)  # What strangers may take up.
    openapi: bool = False  # Whether /openapi.json describes the interface to everybody.


def settings_of(request: Request) -> Settings:
    """The settings of now: those that the server was started with, or what they have become."""
    found: Settings | Callable[[], Settings] = request.app.state.settings
    return found if isinstance(found, Settings) else found()


async def key_holder(request: Request) -> Settings:
    """The settings, for callers with an active key."""
    settings = settings_of(request)
    bearer = request.headers.get("authorization", "")
    scheme, _, token = bearer.partition(" ")
    key = request.headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
    wrong = HttpProblem(
        401,
        "Unauthorized",
        "found no active key; needed the header X-API-Key with one that `wavewise keys make "
        "DIR --name NAME` printed",
    )
    if not key:
        raise wrong
    with _one_guess(request, key) as guess:
        guess.is_right = await run_in_threadpool(is_valid_key, settings.study, key.strip())
    if not guess.is_right:
        raise wrong
    return settings


@dataclass
class _Guess:
    is_right: bool = False


@contextmanager
def _one_guess(request: Request, secret: str) -> Iterator[_Guess]:
    """What is presented as a secret, looked at unless its sender was wrong too often."""
    guesses: Guesses = request.app.state.guesses
    address = request.client.host if request.client else ""
    proof = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
    if guesses.must_wait(address, proof):
        raise HttpProblem(
            429,
            "TooManyRequests",
            "found too many wrong keys or tokens from this address; nothing was stored; send the "
            "right one in a minute",
            retry_after_seconds=60,
        )
    guess = _Guess()
    yield guess
    guesses.note(address, proof, is_right=guess.is_right)


App = Annotated[Settings, Depends(key_holder)]


def form_of(body: bytes) -> list[tuple[str, str]]:
    """Fields of a posted form."""
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200)
    except (UnicodeDecodeError, ValueError):
        raise HttpProblem(400, "NotAForm", "found a body that is no form; needed one") from None


async def twilio_form(request: Request) -> dict[str, str]:
    """Fields of a call that Twilio signed."""
    settings = settings_of(request)
    token = _needed(settings, "twilio_auth_token")
    form = form_of(await body_of(request, unsigned=True))
    expected = twilio_signature(token, _url(settings, request), form)
    given = request.headers.get("x-twilio-signature", "")
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise _not_signed(
            "signature that does not fit; needed Twilio's own X-Twilio-Signature; if a proxy "
            "stands before the server, give --public-url"
        )
    return _clean(form)


async def africas_talking_form(request: Request) -> dict[str, str]:
    """Fields of a call by Africa's Talking, which signs nothing: the callback's address does."""
    token = _needed(settings_of(request), "africas_talking_callback_token")
    given = request.query_params.get("token", "")
    with _one_guess(request, given) as guess:
        guess.is_right = hmac.compare_digest(token.encode(), given.encode())
    if not guess.is_right:
        raise _not_signed("token that does not fit; needed ?token=... in the callback's address")
    return _clean(form_of(await body_of(request)))


def _clean(form: Iterable[tuple[str, str]]) -> dict[str, str]:
    # What no database holds is taken out: a provider repeats a refused call for ever, and an
    # opt-out must not be lost to a stray character.
    return {name: clean_text(value) for name, value in form}


def query_of(request: Request) -> dict[str, str]:
    """What stands after the question mark of an address, without what no database holds."""
    return _clean(request.query_params.items())


async def signed_body(request: Request, name: str) -> bytes:
    """Body of a call with ``X-Wavewise-Signature``, not older than the replay window.

    `name` is the door's own secret; the one that signs what is sent opens it where it has none.
    """
    settings = settings_of(request)
    secret = settings.secret(name) or _needed(settings, "webhook_secret")
    body = await body_of(request, unsigned=True)
    header = request.headers.get("x-wavewise-signature", "")
    fault = webhook_fault(secret, body, header, settings.study.clock().timestamp())
    if fault is not None:
        raise HttpProblem(403, "NotSigned", fault)
    return body


def _url(settings: Settings, request: Request) -> str:
    if settings.public_url is None:
        return str(request.url)
    query = f"?{request.url.query}" if request.url.query else ""
    return settings.public_url.rstrip("/") + request.url.path + query


def _needed(settings: Settings, name: str) -> str:
    secret = settings.secret(name)
    if not secret:
        raise HttpProblem(
            503,
            "NotSetUp",
            f"found no secret '{name}'; needed it to know the sender; set WAVEWISE_{name.upper()}, "
            f"or put it into the file that {SECRETS_FILE} names, and start `wavewise serve` again",
        )
    return secret


def _not_signed(found: str) -> HttpProblem:
    return HttpProblem(403, "NotSigned", f"found a {found}; nothing was stored")


# Whether a provider's call is the provider's own.

REPLAY_WINDOW_SECONDS = 300


def twilio_signature(token: str, url: str, form: Iterable[tuple[str, str]]) -> str:
    """What Twilio puts into ``X-Twilio-Signature``.

    Notes
    -----
    HMAC-SHA1, in base 64, of the address followed by the form's names and values in the order of
    names. A field that comes several times counts once a value, in the order of values.

    References
    ----------
    Twilio, Webhooks security: the X-Twilio-Signature header.

    Examples
    --------
    >>> form = [("Digits", "1234"), ("To", "+18005551212"), ("From", "+14158675310"),
    ...         ("Caller", "+14158675310"), ("CallSid", "CA1234567890ABCDE")]
    >>> twilio_signature("12345", "https://example.com/myapp.php?foo=1&bar=2", form)
    'L/OH5YylLD5NRKLltdqwSvS0BnU='
    """
    signed = url + "".join(name + value for name, value in sorted(set(form)))
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def sign_webhook(secret: str, body: bytes, at_seconds: int) -> str:
    """The header ``X-Wavewise-Signature`` for a body sent at a time: ``t=SECONDS,v1=HEX``.

    The signature is HMAC-SHA256 of the time, a full stop and the body.
    """
    signed = str(at_seconds).encode() + b"." + body
    return f"t={at_seconds},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def webhook_fault(secret: str, body: bytes, header: str, now_seconds: float) -> str | None:
    """Why a signed call is refused; None where it is sound.

    Examples
    --------
    >>> header = sign_webhook("secret", b"{}", 1_700_000_000)
    >>> webhook_fault("secret", b"{}", header, 1_700_000_010) is None
    True
    >>> webhook_fault("secret", b"{}", header, 1_700_000_400)
    'found a time-stamp 400 seconds away; needed one within 300 seconds'
    """
    parts = dict(part.strip().partition("=")[::2] for part in header.split(","))
    stamp = parts.get("t", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return "found no time-stamp in X-Wavewise-Signature; needed t=SECONDS,v1=HEX"
    expected = sign_webhook(secret, body, int(stamp)).partition("v1=")[2]
    if not hmac.compare_digest(expected.encode(), parts.get("v1", "").encode()):
        return "found a signature that does not fit; needed HMAC-SHA256 of time, full stop and body"
    away = abs(now_seconds - int(stamp))
    if away > REPLAY_WINDOW_SECONDS:
        return (
            f"found a time-stamp {away:.0f} seconds away; needed one within "
            f"{REPLAY_WINDOW_SECONDS} seconds"
        )
    return None
