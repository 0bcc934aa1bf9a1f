"""``POST /v1/events``: what units did, one event or a batch."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from wavewise.fieldwork.event_batch import MOST_EVENTS
from wavewise.server.answers import Refusal, body_of, json_of
from wavewise.server.doors import App
from wavewise.workflow.intake import take_batch

__all__ = ["router"]

router = APIRouter()


@router.post("/v1/events")
async def post_events(request: Request, settings: App) -> JSONResponse:
    """Keep events: 200 where all are good, 207 where some are, 422 where none is."""
    objects = _objects(json_of(await body_of(request)))
    if len(objects) > MOST_EVENTS:
        raise Refusal(
            413,
            "TooLarge",
            f"found {len(objects):,} events; needed at most {MOST_EVENTS:,}; nothing was kept; "
            "cut them into several batches",
        )
    kept = await run_in_threadpool(take_batch, settings.study, objects)
    n_good = len(objects) - kept["n_bad"]
    status = 200 if not kept["n_bad"] else 207 if n_good else 422
    return JSONResponse(kept, status)


def _objects(value: Any) -> list[Any]:
    """One event, a list of events, or ``{"events": [...]}``, as a list."""
    if isinstance(value, dict) and "events" in value:
        extra = sorted(str(key)[:40] for key in value.keys() - {"events"})
        if extra:
            raise Refusal(
                422, "InputError", f"found the keys {extra[:5]} beside 'events'; take them out"
            )
        value = value["events"]
    elif isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise Refusal(
            422,
            "InputError",
            'found no events; needed an event, a list of them, or {"events": [...]}; nothing kept',
        )
    return value
