"""The HTTP interface of one study."""

import os
import socket
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import uvicorn
from fastapi import APIRouter, FastAPI, Response

from wavewise.errors import InputError
from wavewise.fieldwork.channels.settings import Secrets
from wavewise.server import calls, inbound, intake
from wavewise.server.authentication import Settings
from wavewise.server.errors import add_error_handlers
from wavewise.shared.version import __version__
from wavewise.workflow.contacts.keys import find_key_ring
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.worker import sending
from wavewise.workflow.study import Study

__all__ = ["build_app", "serve"]


def build_app(settings: Settings) -> FastAPI:
    """An application that any ASGI server can run."""
    app = FastAPI(title="Wavewise", version=__version__, docs_url=None, redoc_url=None)
    app.state.settings = settings
    add_error_handlers(app)
    for router in (calls.router, intake.router, inbound.router, push_router):
        app.include_router(router)

    @app.get("/v1/health")
    def health() -> dict[str, str]:
        """Whether the study's database answers."""
        settings.study.store.units.count()
        return {"status": "ok", "version": __version__}

    return app


# ``/v1/push/worker.js``: the service worker with which a web page shows what was pushed.

push_router = APIRouter(prefix="/v1/push")


@push_router.get("/worker.js")
def worker() -> Response:
    """The script, allowed for every page of the site that passes it on."""
    script = files("wavewise.server").joinpath("static/push-worker.js").read_text(encoding="utf-8")
    headers = {"Service-Worker-Allowed": "/", "Cache-Control": "no-cache"}
    return Response(script, media_type="text/javascript", headers=headers)


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
) -> EndedServer:
    """Serve a study until SIGTERM or Ctrl-C; open requests are answered first."""
    secrets = Secrets.read(os.environ)
    settings = Settings(study, find_key_ring(key_file), secrets.get, public_url)
    # The path of an unsubscribe link is a secret: requests are not logged.
    config = uvicorn.Config(
        build_app(settings), access_log=False, log_level="warning", server_header=False
    )
    try:
        listening = socket.create_server((host, port), backlog=512)
    except OSError:
        raise InputError(
            f"found {host}:{port} in use or not this machine's; needed a free port; give --port"
        ) from None
    bound = listening.getsockname()[1]
    print(f"Serving {study.folder} at http://{host}:{bound}", flush=True)
    with listening, sending(study, key_file) if send else nullcontext():
        uvicorn.Server(config).run(sockets=[listening])
    return EndedServer(host, bound)
