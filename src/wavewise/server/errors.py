"""Answers alike everywhere: errors as JSON, with the status of the one table."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from wavewise.errors import WavewiseError, http_status

__all__ = ["MOST_BYTES", "HttpProblem", "add_error_handlers", "body_of", "json_of"]

MOST_BYTES = 4 << 20


class HttpProblem(Exception):  # noqa: N818  (an answer of the protocol, not an error of the program)
    """A request that is turned away, with its status."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


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
        return _answer(error.status, error.kind, error.message)

    async def protocol(_: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        text = {404: "found nothing at this address", 405: "found another method"}
        shown = text.get(error.status_code, str(error.detail))
        return _answer(error.status_code, "HttpError", f"{shown}; see docs/serving.md")

    async def unexpected(_: Request, __: Exception) -> JSONResponse:
        # The error itself goes to the log alone: it can quote what was sent.
        return _answer(500, "InternalError", "something failed here; nothing was stored; try again")

    app.add_exception_handler(WavewiseError, known)
    app.add_exception_handler(HttpProblem, refused)
    app.add_exception_handler(HTTPException, protocol)
    app.add_exception_handler(Exception, unexpected)


def _answer(
    status: int, kind: str, message: str, faults: list[dict[str, str]] | None = None
) -> JSONResponse:
    content = {"error": {"kind": kind, "message": message, "faults": faults or []}}
    headers: Mapping[str, str] = {"Retry-After": "5"} if status == 503 else {}
    return JSONResponse(content, status, headers=dict(headers))


async def body_of(request: Request) -> bytes:
    """The body of a request, refused before it fills the memory."""
    kept = bytearray()
    async for piece in request.stream():
        kept += piece
        if len(kept) > MOST_BYTES:
            raise HttpProblem(
                413,
                "TooLarge",
                f"found a body of over {MOST_BYTES:,} bytes; needed a smaller one; nothing was "
                "kept; cut it into several",
            )
    return bytes(kept)


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
