"""``serve``: the interface on a port, until it is told to stop."""

import os
import socket
from contextlib import nullcontext
from pathlib import Path

import uvicorn

from wavewise.errors import InputError
from wavewise.fieldwork.channels.settings import Secrets
from wavewise.server.app import build_app
from wavewise.server.settings import Settings
from wavewise.workflow.done import Done
from wavewise.workflow.keys import find_key_ring
from wavewise.workflow.send_thread import sending
from wavewise.workflow.study import Study

__all__ = ["serve"]


def serve(
    study: Study,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    key_file: Path | None = None,
    public_url: str | None = None,
    send: bool = False,
) -> Done:
    """Serve a study until SIGTERM or Ctrl-C; open requests are answered first.

    Parameters
    ----------
    study : Study
        An open study.
    host : str
        Where to listen; loopback by default.
    port : int
        0 takes a free one.
    key_file : Path, optional
        Keys of contact details; by default those of the environment.
    public_url : str, optional
        Address by which providers reach the server.
    send : bool
        Whether a delivery worker runs beside it.

    Raises
    ------
    InputError
        The address cannot be listened on, or the secrets file cannot be used.
    """
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
    return Done("Stopped.", {"host": host, "port": bound})
