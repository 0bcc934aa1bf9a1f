"""``/v1/receipts``: what became of messages, told by their providers."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from wavewise.fieldwork.receipt_forms import (
    News,
    africas_talking_news,
    twilio_news,
    webhook_news,
)
from wavewise.server.answers import Refusal, json_of
from wavewise.server.doors import africas_talking_form, settings_of, signed_body, twilio_form
from wavewise.workflow.receipts import take_news

__all__ = ["router"]

router = APIRouter(prefix="/v1/receipts")

_MOST = 1_000


@router.post("/twilio")
async def twilio(request: Request) -> Response:
    """A status callback of a message sent by Twilio."""
    news = twilio_news(await twilio_form(request), request.query_params.get("message_key"))
    if news is not None:
        await _take(request, news)
    return Response(status_code=204)


@router.post("/africas-talking")
async def africas_talking(request: Request) -> JSONResponse:
    """A delivery report of Africa's Talking."""
    form = await africas_talking_form(request)
    news = africas_talking_news(form, request.query_params.get("message_key"))
    return JSONResponse(await _take(request, news))


@router.post("/webhook")
async def webhook(request: Request) -> JSONResponse:
    """Receipts of a channel of the user's own: one object, or a list of up to 1,000."""
    found = json_of(await signed_body(request))
    objects: list[Any] = found if isinstance(found, list) else [found]
    if len(objects) > _MOST:
        raise Refusal(413, "TooLarge", f"found {len(objects):,} receipts; needed {_MOST:,} at most")
    every = [webhook_news(each) for each in objects]  # all are read before one is kept
    done = [await _take(request, news) for news in every]
    return JSONResponse({key: sum(each[key] for each in done) for key in done[0]} if done else {})


async def _take(request: Request, news: News) -> dict[str, int]:
    settings = settings_of(request)
    return await run_in_threadpool(take_news, settings.study, settings.ring, news)
