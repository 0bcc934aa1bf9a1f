"""The HTTP interface of one study."""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse

from wavewise.errors import InputError, WavewiseError
from wavewise.fieldwork.channels.settings import SECRETS_FILE, Secrets
from wavewise.server import calls, inbound, intake
from wavewise.server.accounts.keeper import Team
from wavewise.server.authentication import App, Settings, settings_of
from wavewise.server.connections import Guesses, Server, UnsignedBytes
from wavewise.server.errors import add_error_handlers
from wavewise.server.openapi import KEYED, SCHEMES, door
from wavewise.server.pages.app import build_pages
from wavewise.server.pages.studies_folder import Door, StudiesFolder
from wavewise.shared.log import log
from wavewise.shared.version import __version__
from wavewise.workflow.contacts.keys import KEY_FILE, find_key_ring
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.health import Pulse, health, metrics
from wavewise.workflow.send.plan import stamp
from wavewise.workflow.send.worker import require_registered_plan, sending
from wavewise.workflow.study import STUDY_FILE, Study, read_study_file
from wavewise.workflow.team.jobs import JobWorker, RunVerb

__all__ = ["Pages", "build_app", "serve"]


def build_app(
    settings: Settings | Callable[[], Settings], pages: Callable[[Guesses], FastAPI] | None = None
) -> FastAPI:
    """An application that any ASGI server can run; settings that change are asked for anew.

    With ``pages``, which share the count of wrong secrets, it shows them at every other address.
    """
    first = settings if isinstance(settings, Settings) else settings()
    app = FastAPI(
        title="Wavewise",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if first.openapi else None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.limits = first.limits
    app.state.guesses = Guesses(first.limits, time.monotonic)
    app.state.unsigned_bytes = UnsignedBytes(first.limits.unsigned_bytes)
    add_error_handlers(app)
    for router in (calls.router, intake.router, inbound.router, push_router, health_router):
        app.include_router(router)
    if pages is not None:
        app.mount("/", pages(app.state.guesses))
    described = app.openapi

    def whole() -> dict[str, Any]:
        made = described()
        made.setdefault("components", {})["securitySchemes"] = SCHEMES
        return made

    app.openapi = whole  # type: ignore[method-assign]
    return app


# ``/v1/push/worker.js``: the service worker with which a web page shows what was pushed.

push_router = APIRouter(prefix="/v1/push")


@push_router.get("/worker.js", **door(None, {200: "text/javascript"}, (500,)))
def worker() -> Response:
    """The script, allowed for every page of the site that passes it on."""
    script = files("wavewise.server").joinpath("static/push-worker.js").read_text(encoding="utf-8")
    headers = {"Service-Worker-Allowed": "/", "Cache-Control": "no-cache"}
    return Response(script, media_type="text/javascript", headers=headers)


# ``/v1/health`` and ``/v1/metrics``: whether a study takes events and sends, and in numbers.

health_router = APIRouter(prefix="/v1")
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


_HEALTH: dict[str, Any] = {"type": "object", "required": ["status", "version"]}


@health_router.get("/health", **door(None, {200: _HEALTH, 503: _HEALTH}, (500,)))
async def is_healthy(request: Request) -> JSONResponse:
    """200 where events can be stored and due messages are being sent; 503 and why not otherwise."""
    study = settings_of(request).study
    wrong = await run_in_threadpool(health, study, _pulse(request))
    body = {"status": "failing" if wrong else "ok", "version": __version__, **wrong}
    return JSONResponse(body, 503 if wrong else 200)


@health_router.get("/metrics", **door(None, {200: "text/plain"}, (*KEYED, 500, 503)))
async def show_metrics(request: Request, settings: App) -> PlainTextResponse:
    """Counts for a monitor, in the text form of Prometheus."""
    text = await run_in_threadpool(metrics, settings.study, _pulse(request))
    return PlainTextResponse(text, media_type=_PROMETHEUS)


def _pulse(request: Request) -> Pulse | None:
    found: Pulse | None = getattr(request.app.state, "pulse", None)
    return found


# ``serve``: the interface on a port, until it is told to stop.


@dataclass(frozen=True, eq=False)
class EndedServer(VerbResult):
    """Where the interface was, until it was stopped."""

    host: str
    port: int

    def summary(self) -> str:
        """That it was stopped."""
        return "Stopped."


def serve(
    study: Study,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    key_file: Path | None = None,
    public_url: str | None = None,
    send: bool = False,
    openapi: bool = False,
    pages: "Pages | None" = None,
) -> EndedServer:
    """Serve a study until SIGTERM or Ctrl-C; what is being answered is answered first."""
    if send:
        require_registered_plan(study)
    shown = None if pages is None else partial(pages.app, study, key_file, public_url)
    app = build_app(CurrentSettings(study, key_file, public_url, openapi=openapi), shown)
    server = Server(app, app.state.limits)
    try:
        listening = socket.create_server((host, port), backlog=2_048)
    except OSError:
        raise InputError(
            f"found {host}:{port} in use or not this machine's; needed a free port; give --port"
        ) from None
    bound = listening.getsockname()[1]
    print(f"Serving {study.folder} at http://{host}:{bound}", flush=True)
    # A server whose worker has ended by itself ends too, with the worker's error.
    end = partial(setattr, server, "should_exit", True)
    steps = nullcontext() if pages is None else pages.worker(study)
    with listening, steps, sending(study, key_file, end) if send else nullcontext() as worker:
        if worker is not None:
            app.state.pulse = worker.pulse
            server.on_stop = worker.stop  # with the signal, not with the last open request
        server.run(sockets=[listening])
    return EndedServer(host, bound)


@dataclass(frozen=True)
class Pages:
    """What the pages of a team need besides the study: the door in Python, and a verb by itself."""

    door: Door
    run: RunVerb

    def app(
        self, study: Study, key_file: Path | None, public_url: str | None, guesses: Guesses
    ) -> FastAPI:
        """The pages; their studies are closed with the study's database."""
        url = _url(study)
        studies = StudiesFolder(self.door, study.folder, study.clock, key_file=key_file, store=url)
        secure = (public_url or "").startswith("https://")
        return build_pages(studies, Team(study, guesses), secure=secure)

    def worker(self, study: Study) -> JobWorker:
        """Whoever takes long steps."""
        return JobWorker(study, _url(study), self.run)


def _url(study: Study) -> str:
    return study.store.engine.url.render_as_string(hide_password=False)


class CurrentSettings:
    """What the interface works with, read anew once it changes: study file, keys, secrets.

    A change that cannot be read is told, and what was read before stays.
    """

    def __init__(
        self, study: Study, key_file: Path | None, public_url: str | None, *, openapi: bool = False
    ) -> None:
        self._study, self._key_file, self._public_url = study, key_file, public_url
        self._openapi = openapi
        names = (key_file or os.environ.get(KEY_FILE), os.environ.get(SECRETS_FILE))
        self._paths = [study.folder / STUDY_FILE, *(Path(name) for name in names if name)]
        self._lock = threading.Lock()
        self._seen = self._look()
        self._settings = self._read(study)

    def __call__(self) -> Settings:
        if (seen := self._look()) != self._seen:
            with self._lock:
                self._take_up(seen)
        return self._settings

    def _take_up(self, seen: tuple[object, ...]) -> None:
        if seen == self._seen:  # another request was first
            return
        self._seen = seen
        try:
            text, spec = read_study_file(self._study.folder)
            self._settings = self._read(replace(self._study, text=text, spec=spec, cache={}))
        except WavewiseError as error:
            log("change not taken up", reason=str(error))
        else:
            log("change taken up")

    def _read(self, study: Study) -> Settings:
        secrets = Secrets.read(os.environ)
        ring = find_key_ring(self._key_file)
        return Settings(study, ring, secrets.get, self._public_url, openapi=self._openapi)

    def _look(self) -> tuple[object, ...]:
        return tuple(stamp(path) for path in self._paths)
