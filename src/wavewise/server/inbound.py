"""Messages from units: refusals above all. The text itself is never kept."""

import hashlib
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from wavewise.fieldwork.key_ring import KeyRing
from wavewise.server.answers import Refusal, json_of
from wavewise.server.doors import africas_talking_form, settings_of, signed_body, twilio_form
from wavewise.workflow.refusals import inbound_message, refuse_address

__all__ = ["router"]

router = APIRouter(prefix="/v1/inbound")

_NOTHING_TO_SAY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


@router.post("/twilio")
async def twilio(request: Request) -> Response:
    """An SMS that Twilio took in."""
    form = await twilio_form(request)
    await _take(
        request,
        "sms",
        _field(form, "From"),
        form.get("Body", ""),
        _field(form, "MessageSid"),
        provider_said=form.get("OptOutType", "").upper(),
    )
    return Response(_NOTHING_TO_SAY, media_type="application/xml")


@router.post("/africas-talking")
async def africas_talking(request: Request) -> JSONResponse:
    """An SMS that Africa's Talking took in."""
    form = await africas_talking_form(request)
    text = form.get("text", "")
    done = await _take(request, "sms", _field(form, "from"), text, _field(form, "id"))
    return JSONResponse(done)


@router.post("/africas-talking/opt-out")
async def africas_talking_opt_out(request: Request) -> JSONResponse:
    """A number that left the sender's bulk messages at Africa's Talking."""
    form = await africas_talking_form(request)
    number = _field(form, "phoneNumber")
    settings = settings_of(request)
    # The provider gives no id: the number itself, unreadable, tells a repeated call.
    reference = hashlib.sha256(f"opt-out {form.get('senderId')} {number}".encode()).hexdigest()[:32]
    done = await run_in_threadpool(
        refuse_address,
        settings.study,
        _ring(settings.ring),
        "sms",
        number,
        "provider block",
        reference,
        only_channel=True,
    )
    return JSONResponse(done)


@router.post("/webhook")
async def webhook(request: Request) -> JSONResponse:
    """A message from a channel of the user's own: JSON with channel, from, text and id."""
    found = json_of(await signed_body(request))
    form = found if isinstance(found, dict) else {}
    done = await _take(
        request,
        _field(form, "channel"),
        _field(form, "from"),
        str(form.get("text", "")),
        _field(form, "id"),
    )
    return JSONResponse(done)


async def _take(
    request: Request,
    channel: str,
    address: str,
    text: str,
    reference: str,
    *,
    provider_said: str = "",
) -> dict[str, int]:
    settings = settings_of(request)
    return await run_in_threadpool(
        inbound_message,
        settings.study,
        _ring(settings.ring),
        channel,
        address,
        text,
        reference,
        provider_refuses=provider_said == "STOP",
        provider_resumes=provider_said == "START",
    )


def _field(form: dict[str, Any], name: str) -> str:
    value = form.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Refusal(422, "InputError", f"found no '{name}'; needed it; nothing was kept")
    return value


def _ring(ring: KeyRing | None) -> KeyRing:
    # 503, so that the provider tries again: a refusal must not be lost.
    if ring is None:
        raise Refusal(
            503,
            "NotSetUp",
            "found no key file, without which a number names nobody; start with --key-file FILE",
        )
    return ring
