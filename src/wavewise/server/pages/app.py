"""The pages as an application, and ``app``: the pages of a folder for one person alone."""

import socket
import threading
import time
import webbrowser
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from wavewise.errors import InputError, WavewiseError, http_status
from wavewise.server.connections import Limits, Server
from wavewise.server.pages import screens
from wavewise.server.pages.entry import Alone
from wavewise.server.pages.forms import Form, is_own_form, read_form
from wavewise.server.pages.languages import COOKIE as LANGUAGE
from wavewise.server.pages.languages import N_, language_of, speak, word
from wavewise.server.pages.languages import gettext as _
from wavewise.server.pages.render import render
from wavewise.server.pages.routes import (
    ROUTES,
    Answer,
    Doorkeeper,
    File,
    Go,
    Instead,
    Page,
    Person,
    Route,
    Screen,
    Visit,
)
from wavewise.server.pages.studies_folder import Door, StudiesFolder
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Clock, utc_now

__all__ = ["STRICT", "build_pages", "serve_pages"]

STRICT = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# The report is one page that holds its styles; nothing in it runs.
REPORT = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_STATIC = {
    "style.css": "text/css; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_NOBODY = Person("", frozenset({"open"}))
_A_YEAR = 365 * 24 * 60 * 60
_SAID = "wavewise_said"  # What was done, told once on the next screen.


def build_pages(studies: StudiesFolder, keeper: Doorkeeper, *, secure: bool = False) -> FastAPI:
    """The pages of a folder of studies: every declared address, each behind its right.

    With ``secure`` cookies go over TLS alone, also where a proxy speaks it for us.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        yield
        studies.close()

    app = FastAPI(
        title="Wavewise", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.state.studies, app.state.keeper, app.state.secure = studies, keeper, secure
    screens.load()
    for name, kind in _STATIC.items():
        app.add_route(f"/static/{name}", _static(name, kind), methods=["GET"])
    for route in ROUTES:
        app.add_route(route.path, _endpoint(app, route), methods=[route.method])
    app.add_exception_handler(404, _missing(app))
    app.add_exception_handler(500, _failed(app))
    app.middleware("http")(_with_headers)
    return app


async def _with_headers(
    request: Request, call: Callable[[Request], Awaitable[Response]]
) -> Response:
    speak(language_of(request))
    answer = await call(request)
    answer.headers.setdefault("Content-Security-Policy", STRICT)
    for name, value in _HEADERS.items():
        answer.headers[name] = value
    if not request.url.path.startswith("/static/"):
        answer.headers["Cache-Control"] = "no-store"
    return answer


def _static(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = files("wavewise.server.pages").joinpath(f"static/{name}").read_bytes()

    async def give(_: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "max-age=3600"})

    return give


def _endpoint(app: FastAPI, route: Route) -> Callable[[Request], Awaitable[Response]]:
    """An address: who asks, whether they may, whether the form is ours, then the answer."""

    async def answer(request: Request) -> Response:
        studies, keeper = app.state.studies, app.state.keeper
        person = await run_in_threadpool(keeper.who, request)
        visit = Visit(
            request, route, person or _NOBODY, studies, keeper, dict(request.path_params), Form()
        )
        if route.right != "open" and person is None:
            return RedirectResponse("/sign-in", 303)
        if not visit.may(route.right):
            return _shown(visit, _problem(403, _("You may not do this"), _may_not(visit)))
        if route.method == "POST":
            if not is_own_form(request):
                return _shown(visit, _problem(403, _("This form is not from here"), _(_FOREIGN)))
            try:
                visit.form = await read_form(request)
            except InputError as error:
                visit.error = error
                return _shown(visit, _problem(413, _("The form cannot be read"), error.message))
        return await run_in_threadpool(_respond, visit)

    return answer


_FOREIGN = N_("Forms are taken from these pages only; open the page again and send it from there.")


def _may_not(visit: Visit) -> str:
    text = _("Your role (%(role)s) has no right to “%(right)s”.")
    return text % {"role": word(visit.person.role) or _("none"), "right": visit.route.right}


def _respond(visit: Visit) -> Response:
    """The answer to somebody who may have it."""
    if "study" in visit.names:
        visit.listed = visit.studies.find(visit.names["study"])
        if visit.listed is None:
            missing = _problem(404, _("There is no such study"), _("It may have been moved."))
            return _shown(visit, missing)
    visit.said = unquote(visit.request.cookies.get(_SAID, ""))
    try:
        answer = _as_response(visit, visit.route.answer(visit))
    except Instead as waits:
        return _as_response(visit, waits.go)
    except WavewiseError as error:
        visit.error = error
        return _told(visit, error)
    if visit.said and isinstance(answer, HTMLResponse):
        answer.delete_cookie(_SAID)
    return answer


def _told(visit: Visit, error: WavewiseError) -> Response:
    """A step that was not taken: the screen that it came from, with the reason on top."""
    back = next((r for r in ROUTES if r.method == "GET" and r.path == visit.route.back), None)
    if back is None:
        return _shown(visit, _problem(http_status(error), _("This cannot be shown"), error.message))
    visit.route = replace(back)
    try:
        shown = back.answer(visit)
    except WavewiseError:
        shown = _problem(http_status(error), _("This cannot be done"), error.message)
    if isinstance(shown, Screen):
        return _shown(visit, replace(shown, status=http_status(error)))
    return _as_response(visit, shown)


def _problem(status: int, title: str, text: str) -> Screen:
    return Screen("problem.html", {"heading": title, "text": text}, status)


def _as_response(visit: Visit, found: Answer) -> Response:
    if isinstance(found, Go):
        answer: Response = RedirectResponse(found.path, 303)
        said = {_SAID: quote(found.said[:800])} if found.said else {}
        for name, value in {**said, **found.cookies}.items():
            answer.set_cookie(
                name,
                value,
                httponly=True,
                samesite="strict",
                secure=visit.request.app.state.secure or visit.request.url.scheme == "https",
                max_age=_A_YEAR if name == LANGUAGE else None if value else 0,
            )
        return answer
    if isinstance(found, Page):
        policy = {"Content-Security-Policy": REPORT} if found.is_report else {}
        return HTMLResponse(found.html, headers=policy)
    if isinstance(found, File):
        kept = {"Content-Disposition": f'attachment; filename="{found.name}"'}
        if isinstance(found.path, bytes):
            return Response(found.path, media_type=found.media_type, headers=kept)
        return FileResponse(found.path, media_type=found.media_type, filename=found.name)
    return _shown(visit, found)


def _shown(visit: Visit, shown: Screen) -> Response:
    return HTMLResponse(render(visit, shown), shown.status)


def _missing(app: FastAPI) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, _error: Exception) -> Response:
        visit = _stray(app, request)
        missing = _problem(404, _("There is no such page"), _("The address may be old."))
        return _shown(visit, missing)

    return answer


def _failed(app: FastAPI) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, _error: Exception) -> Response:
        text = _("Something failed here; nothing half-done is kept. Go back and try again.")
        page = _shown(_stray(app, request), _problem(500, _("Something failed"), text))
        page.headers["Content-Security-Policy"] = STRICT
        return page

    return answer


def _stray(app: FastAPI, request: Request) -> Visit:
    """A request of an address that is none, or of one that failed: of nobody in particular."""
    route = Route("GET", "/", "open", "", lambda _visit: Go("/"))
    return Visit(request, route, _NOBODY, app.state.studies, app.state.keeper, {}, Form())


# ``app``: on the loopback address, until it is told to stop.


@dataclass(frozen=True, eq=False)
class EndedPages(VerbResult):
    """Where the pages were, until they were stopped."""

    folder: str
    port: int

    def summary(self) -> str:
        """That they were stopped."""
        return "Stopped."


def serve_pages(
    door: Door,
    folder: Path,
    *,
    port: int = 0,
    browser: bool = True,
    key_file: Path | None = None,
    store: str | None = None,
    clock: Callable[[], datetime] | Clock | None = None,
) -> EndedPages:
    """Serve the pages of a folder to one person at this machine."""
    keeper = Alone()
    studies = StudiesFolder(door, folder, clock or utc_now, key_file=key_file, store=store)
    app = build_pages(studies, keeper)
    try:
        listening = socket.create_server(("127.0.0.1", port), backlog=128)
    except OSError:
        raise InputError(f"found port {port} in use; needed a free one; give --port") from None
    bound = listening.getsockname()[1]
    url = f"http://127.0.0.1:{bound}/enter?token={keeper.token}"
    print(f"Wavewise is at {url}\nThe address works once. Stop with Ctrl-C.", flush=True)
    server = Server(app, Limits())
    if browser:
        threading.Thread(target=partial(_open_once_up, server, url), daemon=True).start()
    with listening:
        server.run(sockets=[listening])
    return EndedPages(str(folder), bound)


def _open_once_up(server: Server, url: str) -> None:
    """Show the page as soon as it can be shown."""
    while not server.started:
        time.sleep(0.02)
    webbrowser.open(url)
