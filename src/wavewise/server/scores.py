"""``POST /v1/scores``: a delivery of scores, kept whole or not at all."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from wavewise.fieldwork.score_batch import MOST_SCORES
from wavewise.server.answers import Refusal, body_of, json_of
from wavewise.server.doors import App
from wavewise.workflow.scores import take_scores

__all__ = ["router"]

router = APIRouter()


@router.post("/v1/scores")
async def post_scores(request: Request, settings: App) -> JSONResponse:
    """Keep a delivery of scores: 200 where all are good, 422 where one is not."""
    value = json_of(await body_of(request))
    rows = value.get("scores") if isinstance(value, dict) else None
    if isinstance(rows, list) and len(rows) > MOST_SCORES:
        raise Refusal(
            413,
            "TooLarge",
            f"found {len(rows):,} scores; needed at most {MOST_SCORES:,}; nothing was kept; cut "
            "them into several batches of the same delivery",
        )
    return JSONResponse(await run_in_threadpool(take_scores, settings.study, value))
