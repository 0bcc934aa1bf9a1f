"""Unsubscribe links: a page for people, one click for mail programs (RFC 8058)."""

from html import escape

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from wavewise.server.doors import settings_of
from wavewise.workflow.refusals import unsubscribe

__all__ = ["router"]

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


@router.get("/u/{token}")
async def ask(request: Request, token: str) -> HTMLResponse:
    """A page with one button: programs that look at links must not unsubscribe anybody."""
    settings, language = settings_of(request), _language(request)
    question, button, _, broken = _TEXTS[language]
    if settings.ring is None or settings.ring.unit_of_token(token) is None:
        return _page(language, broken, 404)
    form = f'<form method="post"><button>{escape(button)}</button></form>'
    return _page(language, question, 200, form)


@router.post("/u/{token}")
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
