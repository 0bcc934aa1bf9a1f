"""What comes in: events, scores, and receipts of providers, which tell what became of messages."""

from collections import Counter
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from wavewise.errors import Fault, InputError
from wavewise.fieldwork.events import MOST_EVENTS
from wavewise.fieldwork.files.faults import MOST_SHOWN
from wavewise.fieldwork.receipts import (
    DeliveryReceipt,
    africas_talking_receipt,
    twilio_receipt,
    webhook_receipt,
)
from wavewise.fieldwork.scores import MOST_SCORES
from wavewise.server.authentication import (
    App,
    africas_talking_form,
    query_of,
    settings_of,
    signed_body,
    twilio_form,
)
from wavewise.server.errors import HttpProblem, body_of, json_of
from wavewise.server.openapi import (
    ASKED_BY_TOKEN,
    EVENTS,
    FORM,
    KEYED,
    RECEIPTS,
    SCORES,
    SIGNED,
    TOKEN,
    door,
    told,
)
from wavewise.workflow.contacts.opt_outs import record_receipts
from wavewise.workflow.intake import ingest_events, ingest_scores

router = APIRouter(prefix="/v1")


_KEPT = ("n_new", "n_repeated", "n_conflicting", "n_unknown_unit")
_RECEIVED = told("n_new", "n_repeated", "n_unmatched", "n_moved", "n_refused")
_EVENTS_TOLD = told(*_KEPT, "n_future", "n_bad", "faults")
_SCORES_TOLD = told("n_new", "n_repeated", "n_unknown_unit", "n_missing")
_MANY_TOLD = told(
    *("n_new", "n_repeated", "n_unmatched", "n_moved", "n_refused", "n_bad", "faults")
)


@router.post("/scores", **door(SCORES, {200: _SCORES_TOLD}, KEYED))
async def post_scores(request: Request, settings: App) -> JSONResponse:
    """Keep a delivery of scores: 200 where all are good, 422 where one is not."""
    value = json_of(await body_of(request))
    rows = value.get("scores") if isinstance(value, dict) else None
    if isinstance(rows, list) and len(rows) > MOST_SCORES:
        raise HttpProblem(
            413,
            "TooLarge",
            f"found {len(rows):,} scores; needed at most {MOST_SCORES:,}; nothing was stored; cut "
            "them into several batches of the same delivery",
        )
    return JSONResponse(await run_in_threadpool(ingest_scores, settings.study, value))


@router.post("/events", **door(EVENTS, dict.fromkeys((200, 207, 422), _EVENTS_TOLD), KEYED))
async def post_events(request: Request, settings: App) -> JSONResponse:
    """Keep events: 200 where all are good, 207 where some are, 422 where none is."""
    objects = _objects(json_of(await body_of(request)))
    if len(objects) > MOST_EVENTS:
        raise HttpProblem(
            413,
            "TooLarge",
            f"found {len(objects):,} events; needed at most {MOST_EVENTS:,}; nothing was stored; "
            "cut them into several batches",
        )
    kept = await run_in_threadpool(ingest_events, settings.study, objects)
    n_good = len(objects) - kept["n_bad"]
    status = 200 if not kept["n_bad"] else 207 if n_good else 422
    return JSONResponse(kept, status)


def _objects(value: Any) -> list[Any]:
    """One event, a list of events, or ``{"events": [...]}``, as a list."""
    if isinstance(value, dict) and "events" in value:
        extra = sorted(str(key)[:40] for key in value.keys() - {"events"})
        if extra:
            raise HttpProblem(
                422, "InputError", f"found the keys {extra[:5]} beside 'events'; take them out"
            )
        value = value["events"]
    elif isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise HttpProblem(
            422,
            "InputError",
            'found no events; needed an event, a list of them, or {"events": [...]}; nothing kept',
        )
    return value


_MOST = 1_000


@router.post("/receipts/twilio", **door(FORM, {204: None}, SIGNED))
async def twilio(request: Request) -> Response:
    """A status callback of a message sent by Twilio."""
    receipt = twilio_receipt(await twilio_form(request), query_of(request).get("message_key"))
    if receipt is not None:
        await _take(request, receipt)
    return Response(status_code=204)


@router.post(
    "/receipts/africas-talking",
    **door(FORM, {200: _RECEIVED}, ASKED_BY_TOKEN, parameters=(TOKEN,)),
)
async def africas_talking(request: Request) -> JSONResponse:
    """A delivery report of Africa's Talking."""
    form = await africas_talking_form(request)
    receipt = africas_talking_receipt(form, query_of(request).get("message_key"))
    return JSONResponse(await _take(request, receipt))


@router.post(
    "/receipts/webhook",
    **door(RECEIPTS, dict.fromkeys((200, 207, 422), _MANY_TOLD), SIGNED),
)
async def webhook(request: Request) -> JSONResponse:
    """Receipts of a channel of the user's own: one, or up to 1,000; a wrong one stops no other."""
    found = json_of(await signed_body(request, "webhook_receipts_secret"))
    objects: list[Any] = found if isinstance(found, list) else [found]
    if len(objects) > _MOST:
        raise HttpProblem(
            413, "TooLarge", f"found {len(objects):,} receipts; needed {_MOST:,} at most"
        )
    faults: list[dict[str, str]] = []
    told: Counter[str] = Counter(n_new=0, n_repeated=0, n_unmatched=0, n_moved=0, n_refused=0)
    for i, each in enumerate(objects):
        try:
            receipt = webhook_receipt(each)
        except InputError as error:
            found, _, needed = error.message.removeprefix("found ").partition("; needed ")
            faults.append(Fault(f"receipts[{i}]", found, needed).to_dict())
        else:
            told.update(await _take(request, receipt))
    n_bad = len(faults)
    status = 200 if not n_bad else 207 if n_bad < len(objects) else 422
    return JSONResponse({**told, "n_bad": n_bad, "faults": faults[:MOST_SHOWN]}, status)


async def _take(request: Request, receipt: DeliveryReceipt) -> dict[str, int]:
    settings = settings_of(request)
    return await run_in_threadpool(record_receipts, settings.study, settings.ring, receipt)
