"""Twilio's and Africa's Talking's doors for asking for calls, on loopback."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import ClassVar
from urllib.parse import parse_qsl

import httpx2

from handler_server import handling
from wavewise.server.authentication import twilio_signature

_TLS = httpx2.create_ssl_context()  # reading all authorities takes longer than a call


class Provider(BaseHTTPRequestHandler):
    """Twilio's and Africa's Talking's doors for asking for calls."""

    asked: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = dict(parse_qsl(body))
        self.asked.append((self.path, form))
        if self.path.endswith("Calls.json"):
            answer = json.dumps({"sid": f"CA{len(self.asked)}"}).encode()
            self.send_response(201)
        else:
            entries = [{"phoneNumber": form["to"], "status": "Queued", "sessionId": "AT1"}]
            answer = json.dumps({"entries": entries, "errorMessage": "None"}).encode()
            self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def provider_running() -> Iterator[str]:
    """Its address; what it is asked is kept in ``Provider.asked``."""
    Provider.asked.clear()
    with handling(Provider) as address:
        yield address


def post(url: str, form: dict[str, str], token: str = "") -> httpx2.Response:
    """As a provider asks, signed where there is a token."""
    headers = {"X-Twilio-Signature": twilio_signature(token, url, form.items())} if token else {}
    return httpx2.post(url, data=form, headers=headers, timeout=60, verify=_TLS)
