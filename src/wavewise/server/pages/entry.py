"""The way in and out; for one person alone a token that works once, then a signed cookie."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

from starlette.requests import Request

from wavewise.server.pages.forms import Form
from wavewise.server.pages.routes import Answer, Go, Person, Right, Screen, Visit, screen, step

__all__ = ["COOKIE", "Alone", "signed", "unsigned"]

COOKIE = "wavewise_session"
EVERY_RIGHT: frozenset[Right] = frozenset(get_args(Right))
_SECONDS = 12 * 60 * 60


def signed(value: str, key: bytes) -> str:
    """A value with a mark that only this server can make."""
    return f"{value}.{hmac.new(key, value.encode(), hashlib.sha256).hexdigest()}"


def unsigned(text: str, key: bytes) -> str | None:
    """The value, where the mark is right."""
    value, _, _ = text.rpartition(".")
    return value if hmac.compare_digest(signed(value, key).encode(), text.encode()) else None


class Alone:
    """Somebody at their own machine: whoever brings the token first is the owner.

    The token works once; sessions live in this process, and end with it.
    """

    by_token = True

    def __init__(self, name: str = "owner", now: Callable[[], float] = time.time) -> None:
        self._name, self._now = name, now
        self._key = secrets.token_bytes(32)
        self._token: str | None = secrets.token_urlsafe(24)
        self._sessions: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def token(self) -> str:
        """The token, as long as nobody has used it."""
        return self._token or ""

    def who(self, request: Request) -> Person | None:
        """The owner, where the cookie is one that this server gave."""
        session = unsigned(request.cookies.get(COOKIE, ""), self._key)
        with self._lock:
            ends = self._sessions.get(session or "")
        if ends is None or ends < self._now():
            return None
        return Person(self._name, EVERY_RIGHT, "owner")

    def carry_out(self, visit: Visit, verb: str, run: Callable[[], Any]) -> Any:  # noqa: ARG002  (roles and logs need them)
        """The step, at once: there is nobody to ask."""
        return run()

    def sign_in(self, request: Request, form: Form) -> Go | None:  # noqa: ARG002  (accounts need it)
        """A new session for whoever brings the token."""
        given = form.get("token")
        with self._lock:
            right = self._token is not None and hmac.compare_digest(
                given.encode(), self._token.encode()
            )
            if not right:
                return None
            self._token = None
            session = secrets.token_urlsafe(24)
            self._sessions[session] = self._now() + _SECONDS
        return Go("/", cookies={COOKIE: signed(session, self._key)})

    def sign_out(self, request: Request) -> Go:
        """The session ends; only a new start of the program lets anybody in again."""
        session = unsigned(request.cookies.get(COOKIE, ""), self._key)
        with self._lock:
            self._sessions.pop(session or "", None)
        return Go("/sign-in", cookies={COOKIE: ""})


# Screens of the way in and out.


@screen("/enter", "open")
def enter(visit: Visit) -> Answer:
    """The address that the program prints: its token opens the studies, once."""
    token = visit.request.query_params.get("token", "")
    found = visit.keeper.sign_in(visit.request, Form({"token": token}))
    return found or Screen("sign_in.html", {"wrong": True}, 401)


@screen("/sign-in", "open")
def sign_in(_visit: Visit) -> Answer:
    """Who has no session."""
    return Screen("sign_in.html", {"wrong": False})


@step("/sign-in", "open", "", back="/sign-in")
def sign_in_by_form(visit: Visit) -> Answer:
    """The token, or what accounts ask for."""
    found = visit.keeper.sign_in(visit.request, visit.form)
    return found or replace(Screen("sign_in.html", {"wrong": True}), status=401)


@step("/sign-out", "open", "", back="/sign-in")
def sign_out(visit: Visit) -> Answer:
    """The session ends."""
    return visit.keeper.sign_out(visit.request)
