"""Answers alike everywhere: errors as JSON, with the status of the one table."""

import asyncio
import json
import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from wavewise.errors import WavewiseError, http_status
from wavewise.server.connections import Limits, UnsignedBytes

__all__ = ["MOST_BYTES", "HttpProblem", "add_error_handlers", "body_of", "json_of"]

MOST_BYTES = 4 << 20
_FREE_BYTES = 16 << 10  # of an unsigned body: what providers send is smaller
_LOG = logging.getLogger("wavewise.server")


class HttpProblem(Exception):  # noqa: N818  (an answer of the protocol, not an error of the program)
    """A request that is turned away, with its status."""

    def __init__(
        self, status: int, kind: str, message: str, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message
        self.retry_after_seconds = retry_after_seconds


def add_error_handlers(app: FastAPI) -> None:
    """Every error leaves as ``{"error": {"kind", "message", "faults"}}``."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        found = error if isinstance(error, WavewiseError) else WavewiseError(str(error))
        faults = [fault.to_dict() for fault in found.faults]
        kind, text = type(found).__name__, found.message
        return _answer(http_status(found), kind, text, faults)

    async def refused(_: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HttpProblem):
            raise error
        return _answer(error.status, error.kind, error.message, again=error.retry_after_seconds)

    async def protocol(_: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        text = {404: "found nothing at this address", 405: "found another method"}
        shown = text.get(error.status_code, str(error.detail))
        answer = _answer(error.status_code, "HttpError", f"{shown}; see docs/serving.md")
        answer.headers.update(error.headers or {})  # such as the methods that are allowed
        return answer

    async def misnamed(_: Request, __: Exception) -> JSONResponse:
        return _answer(404, "NotFound", "found a name of another form; needed one of this study's")

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=400)  # to nobody: who sent half a body has hung up

    async def unexpected(_: Request, __: Exception) -> JSONResponse:
        # The error itself goes to the log alone: it can quote what was sent.
        return _answer(500, "InternalError", "something failed here; nothing was stored; try again")

    app.add_exception_handler(WavewiseError, known)
    app.add_exception_handler(HttpProblem, refused)
    app.add_exception_handler(HTTPException, protocol)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(RequestValidationError, misnamed)
    app.add_exception_handler(Exception, unexpected)


class _Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        # Half a character of a name that is quoted leaves as the escape that it came as.
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _answer(
    status: int,
    kind: str,
    message: str,
    faults: list[dict[str, str]] | None = None,
    again: int | None = None,
) -> JSONResponse:
    content = {"error": {"kind": kind, "message": message, "faults": faults or []}}
    if status >= 500:
        _LOG.error("answered %d: %s: %s", status, kind, message)
    wait = 5 if again is None and status == 503 else again
    return _Json(content, status, headers={} if wait is None else {"Retry-After": str(wait)})


async def body_of(request: Request, *, unsigned: bool = False) -> bytes:
    """The body of a request, refused before it fills the memory or keeps the server for long.

    One that is `unsigned` is read before anybody knows who sends it: smaller, and of the memory
    that all such bodies share.
    """
    limits: Limits = request.app.state.limits
    shared: UnsignedBytes = request.app.state.unsigned_bytes
    most, held, kept = limits.unsigned_body_bytes if unsigned else MOST_BYTES, 0, bytearray()
    loop = asyncio.get_running_loop()
    ends = loop.time() + limits.body_seconds
    try:
        async with asyncio.timeout_at(ends) as patience:
            async for piece in request.stream():
                kept += piece
                patience.reschedule(ends + len(kept) / limits.body_bytes_per_second)
                if len(kept) > most:
                    raise _too_large(most)
                if unsigned and len(kept) > _FREE_BYTES:
                    if not shared.take(len(piece)):
                        raise _too_busy()
                    held += len(piece)
    except TimeoutError:
        raise HttpProblem(
            408,
            "TooSlow",
            f"found half a body after {loop.time() - ends + limits.body_seconds:.0f} seconds; "
            "needed all of it; nothing was stored; send it again",
        ) from None
    finally:
        shared.give_back(held)
    return bytes(kept)


def _too_large(most: int) -> HttpProblem:
    return HttpProblem(
        413,
        "TooLarge",
        f"found a body of over {most:,} bytes; needed a smaller one; nothing was kept; cut it into "
        "several",
    )


def _too_busy() -> HttpProblem:
    return HttpProblem(
        503,
        "TooBusy",
        "found too many bodies of unknown senders at the same time; nothing was stored; send it "
        "again",
        retry_after_seconds=5,
    )


def json_of(body: bytes) -> Any:
    """A body's JSON value."""
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise HttpProblem(
            400,
            "NotJson",
            "found a body that is not JSON; needed JSON in UTF-8; nothing was stored",
        ) from None


def _no_number(name: str) -> float:
    raise ValueError(name)
