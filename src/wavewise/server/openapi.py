"""What the interface says of itself in OpenAPI: bodies, answers and errors of each door.

Bodies are read by hand, so that one wrong entry refuses no other; so they are described by hand,
and a test holds the description against what the server answers.
"""

from typing import Any

from wavewise.fieldwork.events import MOST_EVENTS
from wavewise.fieldwork.files.cells import MOST_CHARACTERS
from wavewise.fieldwork.receipts import STATES
from wavewise.fieldwork.scores import MOST_SCORES

__all__ = [
    "ASKED_BY_TOKEN",
    "EVENTS",
    "FORM",
    "INBOUND",
    "KEYED",
    "RECEIPTS",
    "SCHEMES",
    "SCORES",
    "SIGNED",
    "TOKEN",
    "door",
    "told",
]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS}
_ID: Schema = {"anyOf": [_TEXT, {"type": "integer"}]}
_MAYBE_TEXT: Schema = {"anyOf": [_TEXT, {"type": "null"}]}
_NUMBER: Schema = {
    "anyOf": [{"type": "number", "minimum": -1e300, "maximum": 1e300}, {"type": "null"}]
}


def _object(needed: tuple[str, ...], **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(needed),
        "additionalProperties": False,
    }


_EVENT = _object(
    ("event_id", "unit_id", "kind", "at"),
    event_id=_ID,
    unit_id=_ID,
    kind=_TEXT,
    at={"type": "string", "format": "date-time"},
    value=_NUMBER,
    item=_MAYBE_TEXT,
)
_EVENT_LIST: Schema = {
    "type": "array",
    "items": _EVENT,
    "minItems": 1,
    "maxItems": MOST_EVENTS,
}
EVENTS: Schema = {"anyOf": [_EVENT, _EVENT_LIST, _object(("events",), events=_EVENT_LIST)]}
SCORES = _object(
    ("delivered", "scores"),
    delivered={"type": "string", "minLength": 10},
    delivery=_MAYBE_TEXT,
    scores={
        "type": "array",
        "items": _object(
            ("unit_id", "period"), unit_id=_ID, period=_TEXT, outcome=_MAYBE_TEXT, score=_NUMBER
        ),
        "minItems": 1,
        "maxItems": MOST_SCORES,
    },
)
_RECEIPT: Schema = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "channel", "message_key", "provider_id", "reason"), _TEXT),
        "state": {"enum": list(STATES)},
        "refused": {"type": "boolean"},
        "at": {"type": "string", "format": "date-time"},
    },
    "required": ["id", "channel", "state"],
    "anyOf": [{"required": ["message_key"]}, {"required": ["provider_id"]}],
}
RECEIPTS: Schema = {"anyOf": [_RECEIPT, {"type": "array", "items": _RECEIPT, "maxItems": 1_000}]}
INBOUND: Schema = {
    "type": "object",
    "properties": {**dict.fromkeys(("channel", "from", "id"), _TEXT), "text": {"type": "string"}},
    "required": ["channel", "from", "id"],
}
FORM: Schema = {"type": "object", "additionalProperties": {"type": "string"}}  # a provider's own

_FAULT: Schema = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("path", "found", "needed", "fix")},
    "required": ["path", "found", "needed", "fix"],
}
_ERROR: Schema = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "kind": {"type": "string"},
                "message": {"type": "string"},
                "faults": {"type": "array", "items": _FAULT},
            },
            "required": ["kind", "message", "faults"],
        }
    },
    "required": ["error"],
}
_MEANING = {
    400: "the body is not of the form that is needed; nothing was stored",
    401: "no active key",
    403: "the sender could not be told; nothing was stored",
    404: "nothing there",
    408: "the body took too long; nothing was stored",
    409: "the study is not at a point where this is taken",
    413: "the body is too large; nothing was stored",
    422: "nothing of it could be taken",
    429: "too many wrong keys or tokens from this address",
    500: "a fault of the program; nothing was stored",
    503: "not now: nothing was stored; send it again after Retry-After seconds",
}
TOKEN: Schema = {"name": "token", "in": "query", "schema": {"type": "string"}}
# Errors of every door that reads a body, and those of the ways to tell who sends it.
_BODY = (400, 408, 409, 413, 422, 500, 503)
SCHEMES: Schema = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
KEYED, SIGNED, ASKED_BY_TOKEN = (401, 429), (403,), (403, 429)


def told(*names: str) -> Schema:
    """An answer of counts, with the faults of entries where there can be any."""
    counts = {name: {"type": "integer"} for name in names if name != "faults"}
    faults = {"faults": {"type": "array", "items": _FAULT}} if "faults" in names else {}
    return {"type": "object", "properties": {**counts, **faults}, "required": list(names)}


def door(
    body: Schema | None = None,
    answers: dict[int, Schema | str | None] | None = None,
    errors: tuple[int, ...] = (),
    *,
    parameters: tuple[Schema, ...] = (),
) -> dict[str, Any]:
    """What a route says of itself, as arguments of its decorator.

    `answers` has by status the schema of JSON, the media type of what is none, or nothing.
    """
    codes = sorted({*errors, *(_BODY if body is not None else ())})
    responses: dict[int | str, dict[str, Any]] = {
        code: {"description": _MEANING[code], "content": {"application/json": {"schema": _ERROR}}}
        for code in codes
    }
    for code, answer in (answers or {}).items():
        media = "application/json" if isinstance(answer, dict) else answer
        schema = answer if isinstance(answer, dict) else {"type": "string"}
        if code in codes and media == "application/json":
            schema = {"anyOf": [schema, _ERROR]}
        responses[code] = {"description": _MEANING.get(code, "taken")}
        if media is not None:
            responses[code]["content"] = {media: {"schema": schema}}
    extra: dict[str, Any] = {"parameters": list(parameters)} if parameters else {}
    if body is not None:
        media = "application/x-www-form-urlencoded" if body is FORM else "application/json"
        extra["requestBody"] = {"required": True, "content": {media: {"schema": body}}}
    if set(KEYED) <= set(errors):
        extra["security"] = [{"key": []}, {"bearer": []}]
    return {"responses": responses, "openapi_extra": extra}
