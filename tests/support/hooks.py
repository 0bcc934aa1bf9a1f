"""A web address on loopback that answers as told, now and after its answer is changed."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hook:
    """What came in, and what to answer: by the body, and by how often its key came."""

    def __init__(self, answer: Callable[[dict[str, object], int], int]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, object]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["content-length"])
                body = json.loads(self.rfile.read(size))
                hook.bodies.append(body)
                status = hook.answer(body, sum(b["key"] == body["key"] for b in hook.bodies))
                self.send_response(status)
                self.send_header("content-length", "0")
                if status == 429:
                    self.send_header("retry-after", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Hook":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def keys(self) -> list[str]:
        """Keys of the requests, in the order in which they came."""
        return [str(body["key"]) for body in self.bodies]

    def channels(self, **more: object) -> str:
        """The channel's table."""
        url = f"http://127.0.0.1:{self._server.server_port}/"
        lines = {"base_url": url, "backoff_seconds": 0.01, "timeout_seconds": 30.0, **more}
        text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in lines.items())
        return f'[webhook]\nprovider = "webhook"\n{text}\n'
