"""Messages from units: opt-outs above all. The text itself is never kept."""

import hashlib
from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse

from wavewise.fieldwork.contact_details import KeyRing
from wavewise.fieldwork.files.cells import clean_text, text_fault
from wavewise.server.authentication import (
    africas_talking_form,
    settings_of,
    signed_body,
    twilio_form,
)
from wavewise.server.errors import HttpProblem, json_of
from wavewise.server.openapi import ASKED_BY_TOKEN, FORM, INBOUND, SIGNED, TOKEN, door, told
from wavewise.workflow.contacts.opt_outs import (
    inbound_message,
    opt_out_address,
    unit_of_link,
    unsubscribe,
)

# Unsubscribe links: a page for people, one click for mail programs (RFC 8058).

router = APIRouter()
# Language: (question, button, done, not our link)
_TEXTS = {
    "en": (
        "Do you want no more messages from this programme?",
        "No more messages",
        "Done. You will get no more messages.",
        "This link is not complete. Please open it again from your message.",
    ),
    "es": (
        "¿No quiere recibir más mensajes de este programa?",
        "No recibir más mensajes",
        "Listo. No recibirá más mensajes.",
        "Este enlace no está completo. Ábralo otra vez desde su mensaje.",
    ),
    "sw": (
        "Hutaki kupokea ujumbe zaidi kutoka kwa mpango huu?",
        "Sitaki ujumbe zaidi",
        "Tayari. Hutapokea ujumbe zaidi.",
        "Kiungo hiki hakijakamilika. Tafadhali kifungue tena kutoka kwa ujumbe wako.",
    ),
    "fr": (
        "Ne voulez-vous plus recevoir de messages de ce programme ?",
        "Ne plus recevoir de messages",
        "C'est fait. Vous ne recevrez plus de messages.",
        "Ce lien n'est pas complet. Ouvrez-le de nouveau depuis votre message.",
    ),
}
_PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{title}</title>
<style>body{{font:1.2rem/1.5 sans-serif;max-width:32rem;margin:3rem auto;padding:0 1rem}}
button{{font:inherit;padding:.7rem 1.2rem}}</style></head>
<body><main><p>{text}</p>{form}</main></body></html>
"""
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
}


_PAGES: dict[int, Any] = dict.fromkeys((200, 404), "text/html")
_HEARD = told("n_units", "n_new", "n_answers", "n_resumed")


@router.get("/u/{token}", **door(None, _PAGES, (500, 503)))
async def ask(request: Request, token: str) -> HTMLResponse:
    """A page with one button: programs that look at links must not unsubscribe anybody."""
    settings, language = settings_of(request), _language(request)
    question, button, _, broken = _TEXTS[language]
    unit = None
    if settings.ring is not None:
        unit = await run_in_threadpool(unit_of_link, settings.study, settings.ring, token)
    if unit is None:
        return _page(language, broken, 404)
    form = f'<form method="post"><button>{escape(button)}</button></form>'
    return _page(language, question, 200, form)


@router.post("/u/{token}", **door(None, _PAGES, (500, 503)))
async def unsubscribe_now(request: Request, token: str) -> HTMLResponse:
    """Unsubscribe: the button of the page, or a mail program's one click."""
    settings, language = settings_of(request), _language(request)
    _, _, done, broken = _TEXTS[language]
    found = None
    if settings.ring is not None:
        found = await run_in_threadpool(unsubscribe, settings.study, settings.ring, token)
    return _page(language, done, 200) if found is not None else _page(language, broken, 404)


def _language(request: Request) -> str:
    wanted = request.headers.get("accept-language", "")
    codes = (part.split(";")[0].split("-")[0].strip().lower() for part in wanted.split(","))
    return next((code for code in codes if code in _TEXTS), "en")


def _page(language: str, text: str, status: int, form: str = "") -> HTMLResponse:
    page = _PAGE.format(language=language, title=escape(text), text=escape(text), form=form)
    return HTMLResponse(page, status, headers=_HEADERS)


_NOTHING_TO_SAY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


@router.post("/v1/inbound/twilio", **door(FORM, {200: "application/xml"}, SIGNED))
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


@router.post(
    "/v1/inbound/africas-talking",
    **door(FORM, {200: _HEARD}, ASKED_BY_TOKEN, parameters=(TOKEN,)),
)
async def africas_talking(request: Request) -> JSONResponse:
    """An SMS that Africa's Talking took in."""
    form = await africas_talking_form(request)
    text = form.get("text", "")
    done = await _take(request, "sms", _field(form, "from"), text, _field(form, "id"))
    return JSONResponse(done)


@router.post(
    "/v1/inbound/africas-talking/opt-out",
    **door(FORM, {200: told("n_units", "n_new")}, ASKED_BY_TOKEN, parameters=(TOKEN,)),
)
async def africas_talking_opt_out(request: Request) -> JSONResponse:
    """A number that left the sender's bulk messages at Africa's Talking."""
    form = await africas_talking_form(request)
    number = _field(form, "phoneNumber")
    settings = settings_of(request)
    # The provider gives no id: the number itself, unreadable, tells a repeated call.
    reference = hashlib.sha256(f"opt-out {form.get('senderId')} {number}".encode()).hexdigest()[:32]
    done = await run_in_threadpool(
        opt_out_address,
        settings.study,
        _ring(settings.ring),
        "sms",
        number,
        "provider block",
        reference,
        only_channel=True,
    )
    return JSONResponse(done)


@router.post("/v1/inbound/webhook", **door(INBOUND, {200: _HEARD}, SIGNED))
async def webhook(request: Request) -> JSONResponse:
    """A message from a channel of the user's own: JSON with channel, from, text and id."""
    found = json_of(await signed_body(request, "webhook_inbound_secret"))
    form = found if isinstance(found, dict) else {}
    done = await _take(
        request,
        _field(form, "channel"),
        _field(form, "from"),
        clean_text(str(form.get("text", ""))),
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
        provider_opts_out=provider_said == "STOP",
        provider_opts_in=provider_said == "START",
    )


def _field(form: dict[str, Any], name: str) -> str:
    value = form.get(name)
    if not isinstance(value, str) or not value.strip():
        raise HttpProblem(422, "InputError", f"found no '{name}'; needed it; nothing was stored")
    if (fault := text_fault(value)) is not None:
        found = f"found {fault} in '{name}'; needed text without it; nothing was stored"
        raise HttpProblem(422, "InputError", found)
    return value


def _ring(ring: KeyRing | None) -> KeyRing:
    # 503, so that the provider tries again: an opt-out must not be lost.
    if ring is None:
        raise HttpProblem(
            503,
            "NotSetUp",
            "found no key file, without which a number names nobody; start with --key-file FILE",
        )
    return ring
