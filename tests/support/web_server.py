"""The real HTTP interface on loopback, in a thread of the tests' own."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from wavewise.server.connections import Limits, server_config


@contextmanager
def running(app: Any, limits: Limits | None = None) -> Iterator[str]:
    """Base URL of an application, served as `serve` does until the block ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = server_config(app, limits or Limits())
    config.log_level = "critical"
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()
