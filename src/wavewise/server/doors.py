"""Who may come in: keys of apps, signatures of providers."""

import hmac
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from wavewise.fieldwork.channels.settings import SECRETS_FILE
from wavewise.server.answers import Refusal, body_of
from wavewise.server.settings import Settings
from wavewise.server.signatures import twilio_signature, webhook_fault
from wavewise.workflow.api_keys import is_valid_key

__all__ = ["App", "africas_talking_form", "form_of", "signed_body", "twilio_form"]


def settings_of(request: Request) -> Settings:
    """The settings that the server was started with."""
    found: Settings = request.app.state.settings
    return found


async def key_holder(request: Request) -> Settings:
    """The settings, for callers with a key in force.

    Raises
    ------
    Refusal
        There is no key, or it is not in force.
    """
    settings = settings_of(request)
    bearer = request.headers.get("authorization", "")
    scheme, _, token = bearer.partition(" ")
    key = request.headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
    if not key or not await run_in_threadpool(is_valid_key, settings.study, key.strip()):
        raise Refusal(
            401,
            "Unauthorized",
            "found no key in force; needed the header X-API-Key with one that `wavewise keys make "
            "DIR` printed",
        )
    return settings


App = Annotated[Settings, Depends(key_holder)]


def form_of(body: bytes) -> list[tuple[str, str]]:
    """Fields of a posted form.

    Raises
    ------
    Refusal
        It is no form.
    """
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200)
    except (UnicodeDecodeError, ValueError):
        raise Refusal(400, "NotAForm", "found a body that is no form; needed one") from None


async def twilio_form(request: Request) -> dict[str, str]:
    """Fields of a call that Twilio signed.

    Raises
    ------
    Refusal
        The signature does not fit, or no auth token is set.
    """
    settings = settings_of(request)
    token = _needed(settings, "twilio_auth_token")
    form = form_of(await body_of(request))
    expected = twilio_signature(token, _url(settings, request), form)
    given = request.headers.get("x-twilio-signature", "")
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise _not_signed(
            "signature that does not fit; needed Twilio's own X-Twilio-Signature; if a proxy "
            "stands before the server, give --public-url"
        )
    return dict(form)


async def africas_talking_form(request: Request) -> dict[str, str]:
    """Fields of a call by Africa's Talking, which signs nothing: the callback's address does.

    Raises
    ------
    Refusal
        The token in the address is not the one that is set, or none is.
    """
    token = _needed(settings_of(request), "africas_talking_callback_token")
    given = request.query_params.get("token", "")
    if not hmac.compare_digest(token.encode(), given.encode()):
        raise _not_signed("token that does not fit; needed ?token=... in the callback's address")
    return dict(form_of(await body_of(request)))


async def signed_body(request: Request) -> bytes:
    """Body of a call with ``X-Wavewise-Signature``, not older than the replay window.

    Raises
    ------
    Refusal
        The signature does not fit, is too old, or no secret is set.
    """
    settings = settings_of(request)
    secret = _needed(settings, "webhook_secret")
    body = await body_of(request)
    header = request.headers.get("x-wavewise-signature", "")
    fault = webhook_fault(secret, body, header, settings.study.clock().timestamp())
    if fault is not None:
        raise Refusal(403, "NotSigned", fault)
    return body


def _url(settings: Settings, request: Request) -> str:
    if settings.public_url is None:
        return str(request.url)
    query = f"?{request.url.query}" if request.url.query else ""
    return settings.public_url.rstrip("/") + request.url.path + query


def _needed(settings: Settings, name: str) -> str:
    secret = settings.secret(name)
    if not secret:
        raise Refusal(
            503,
            "NotSetUp",
            f"found no secret '{name}'; needed it to know the sender; set WAVEWISE_{name.upper()}, "
            f"or put it into the file that {SECRETS_FILE} names, and start `wavewise serve` again",
        )
    return secret


def _not_signed(found: str) -> Refusal:
    return Refusal(403, "NotSigned", f"found a {found}; nothing was kept")
