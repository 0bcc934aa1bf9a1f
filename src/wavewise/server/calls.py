"""``/v1/calls``: what a call plays next, told to the providers that carry it."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from wavewise.errors import InputError
from wavewise.fieldwork.channels.sip import PROMPTS
from wavewise.fieldwork.voice.answers import reject_twiml
from wavewise.fieldwork.voice.prompts import PromptFolder
from wavewise.server.authentication import (
    africas_talking_form,
    query_of,
    settings_of,
    twilio_form,
)
from wavewise.server.errors import HttpProblem
from wavewise.server.openapi import FORM, SIGNED, TOKEN, door
from wavewise.workflow.send.calls import call_back, call_ended, call_length, next_step

__all__ = ["router"]

router = APIRouter(prefix="/v1/calls")
XML = "application/xml"
Key = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.post("/twilio/inbound", **door(FORM, {200: XML}, SIGNED))
async def twilio_missed_call(request: Request) -> Response:
    """A missed call: nobody answers it, and the next call due to that unit is made immediately."""
    form = await twilio_form(request)
    await _rung(request, form.get("From", ""), form.get("CallSid", ""))
    return Response(reject_twiml(), media_type=XML)


@router.post("/twilio/{key}", **door(FORM, {200: XML}, (403, 404)))
async def twilio_step(request: Request, key: Key) -> Response:
    """The next step of a call by Twilio."""
    form = await twilio_form(request)
    # the first request of a call has no place in its address
    digits = form.get("Digits", "") if "step" in request.query_params else None
    return await _step(request, "twilio", key, form.get("CallSid", ""), digits)


@router.post("/twilio/{key}/status", **door(FORM, {204: None}, (403, 404)))
async def twilio_status(request: Request, key: Key) -> Response:
    """How a call by Twilio ended."""
    form = await twilio_form(request)
    status = form.get("CallStatus", "")
    if status in {"busy", "no-answer", "failed", "canceled"}:
        study = settings_of(request).study
        await run_in_threadpool(call_ended, study, key, status.replace("-", " "))
    elif status == "completed":
        study, told = settings_of(request).study, form.get("CallDuration", "")
        await run_in_threadpool(call_length, study, key, form.get("CallSid") or key, told)
    return Response(status_code=204)


@router.post(
    "/africas-talking",
    **door(FORM, {200: XML, 204: None}, (403, 404, 429), parameters=(TOKEN,)),
)
async def africas_talking_step(request: Request) -> Response:
    """The next step of a call by Africa's Talking, or how it ended."""
    form = await africas_talking_form(request)
    key = query_of(request).get("key") or form.get("clientRequestId", "")
    study = settings_of(request).study
    if form.get("isActive") == "0":
        if form.get("hangupCause", "NORMAL_CLEARING") != "NORMAL_CLEARING":
            await run_in_threadpool(call_ended, study, key, "no answer")
        else:
            told = form.get("durationInSeconds", "")
            await run_in_threadpool(call_length, study, key, form.get("sessionId") or key, told)
        return Response(status_code=204)
    if form.get("direction", "").lower() == "inbound":
        await _rung(request, form.get("callerNumber", ""), form.get("sessionId", ""))
        return Response("<Response><Reject/></Response>", media_type=XML)
    digits = form.get("dtmfDigits", "") if "step" in request.query_params else None
    return await _step(request, "africas-talking", key, form.get("sessionId", ""), digits)


@router.get("/prompts/{name:path}", **door(None, {200: "audio/wav"}, (404, 500)))
async def prompt(request: Request, name: str) -> FileResponse:
    """A prompt's sound, for providers."""
    folder = PromptFolder(settings_of(request).study.folder / PROMPTS)
    try:
        found = folder.read(name)
    except InputError:
        raise HttpProblem(404, "NotFound", "found no such prompt") from None
    return FileResponse(found.path, media_type="audio/wav")


async def _rung(request: Request, caller: str, call_id: str) -> None:
    study, ring = settings_of(request).study, settings_of(request).ring
    await run_in_threadpool(call_back, study, ring, caller, call_id or uuid.uuid4().hex)


async def _step(
    request: Request, provider: Any, key: str, call_id: str, digits: str | None
) -> Response:
    settings = settings_of(request)
    base = (settings.public_url or str(request.base_url)).rstrip("/")
    url = f"{base}{request.url.path}"
    if provider == "africas-talking":
        url += f"?token={query_of(request).get('token', '')}&key={key}"
    row = await run_in_threadpool(settings.study.store.calls.message, key)
    if row is None:
        raise HttpProblem(404, "NotFound", "found no such call")
    text = await run_in_threadpool(
        next_step,
        settings.study,
        row,
        provider=provider,
        call_id=call_id or key,
        query=query_of(request),
        digits=digits,
        url=url,
        prompt_base=f"{base}/v1/calls/prompts",
        ring=settings.ring,
    )
    return Response(text, media_type=XML)
