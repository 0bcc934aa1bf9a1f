"""Requests that nobody would send in good faith, to every door of a served study.

``python tests/support/fuzz_doors.py N SEED [STORE_URL]`` sends N of them to a server in a process
of its own, and prints the statuses and the memory of that process.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from wavewise.fieldwork.contact_details import KeyRing
from wavewise.server.authentication import sign_webhook, twilio_signature

SECRETS = {
    "twilio_auth_token": "tw" * 8,
    "africas_talking_callback_token": "at" * 8,
    "webhook_secret": "wh" * 8,
}
NASTY = [
    *("", " ", "\0", "a\0b", "\ud800", "x\udfff", "\x01\x1b[31m", "\u202e", "é" * 200, "x" * 400),
    *("x" * 40_000, "-1", "1e999", "NaN", "null", "007", "p0003", "+5199900" + "0003", "STOP"),
    *("START", "stop \0", "²", "١٢", "\ufeff7", "=1+1", "../../etc/passwd", "{}", "[]", "'; --"),
    *("2024-03-05T10:00:00Z", "03/04/2024", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z"),
    *("2024-02-30", "24:00", "#N/A", "🦉" * 150, "delivered", "failed", "sms", "email", "E1"),
]
VALUES = [None, True, 0, -7, 10**30, 10**400, 1.5, -1e308, [], {}, [[]], {"a": {}}]
KEYS = ("event_id", "unit_id", "kind", "at", "value", "item", "events", "id", "channel", "state")
MORE_KEYS = ("message_key", "provider_id", "reason", "refused", "from", "text", "scores", "score")
FORM_NAMES = (
    *("From", "To", "Body", "MessageSid", "MessageStatus", "ErrorCode", "OptOutType", "CallSid"),
    *("Digits", "CallStatus", "from", "to", "text", "id", "status", "failureReason", "phoneNumber"),
    *("senderId", "isActive", "direction", "callerNumber", "sessionId", "dtmfDigits"),
    *("clientRequestId", "hangupCause"),
)
FORM_DOORS = (
    *("/v1/inbound/twilio", "/v1/receipts/twilio", "/v1/calls/twilio/inbound"),
    *(f"/v1/calls/twilio/{'0a' * 16}", f"/v1/calls/twilio/{'0a' * 16}/status"),
    *("/v1/inbound/africas-talking", "/v1/inbound/africas-talking/opt-out"),
    *("/v1/receipts/africas-talking", "/v1/calls/africas-talking"),
)
OTHER_DOORS = (
    *("/v1/health", "/v1/metrics", "/openapi.json", "/docs", "/v1/push/worker.js", "/u/", "/u/x"),
    *("/v1/calls/prompts/", "/v1/calls/prompts/%00", "/v1/calls/prompts/..%2F..%2Fstudy.toml"),
    *("/v1/calls/prompts/" + "a" * 3_000, "/u/" + "A" * 60, "//", "/v1/%ff", "/%00"),
)


@dataclass
class Fuzz:
    """Requests by one seed, and what was answered."""

    client: httpx2.AsyncClient
    key: str
    ring: KeyRing | None
    rng: random.Random
    statuses: Counter[int] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    async def send(self) -> None:
        """One request; an answer of 500, or none, is kept."""
        method, path, headers, body = self._request()
        try:
            answer = await self.client.request(method, path, headers=headers, content=body)
        except httpx2.HTTPError as error:
            self.bad.append(f"{method} {path[:80]}: {type(error).__name__}")
            return
        self.statuses[answer.status_code] += 1
        if answer.status_code == 500 or answer.elapsed.total_seconds() > 30:
            self.bad.append(f"{method} {path[:80]} {body[:300]!r}: {answer.status_code}")

    def _request(self) -> tuple[str, str, dict[str, str], bytes]:
        kind = self.rng.choice(("events", "events", "scores", "webhook", "form", "form", "other"))
        if kind == "events":
            body = _json(self._events())
            return "POST", "/v1/events", self._keyed(), body
        if kind == "scores":
            return "POST", "/v1/scores", self._keyed(), _json(self._value(3))
        if kind == "webhook":
            path = self.rng.choice(("/v1/inbound/webhook", "/v1/receipts/webhook"))
            body = _json([self._value(2)] if self.rng.random() < 0.3 else self._object(2))
            signed = sign_webhook(SECRETS["webhook_secret"], body, int(time.time()))
            return "POST", path, {"X-Wavewise-Signature": self._mostly(signed)}, body
        if kind == "form":
            return self._form()
        method = self.rng.choice(("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"))
        path = self.rng.choice(OTHER_DOORS)
        if self.ring is not None and self.rng.random() < 0.3:
            path = f"/u/{self.ring.unsubscribe_token('p0001')[: self.rng.choice((None, -1, 5))]}"
        return method, path, {"Accept-Language": "\\" * self.rng.randrange(9)}, b""

    def _form(self) -> tuple[str, str, dict[str, str], bytes]:
        door = self.rng.choice(FORM_DOORS)
        names = self.rng.sample(FORM_NAMES, self.rng.randrange(1, 12))
        fields = [(name, self._text()) for name in names]
        pairs = (f"{quote(n)}={quote(v.encode('utf-8', 'surrogatepass'))}" for n, v in fields)
        body = "&".join(pairs).encode()
        query = f"?step={quote(self._text()[:99].encode('utf-8', 'replace'))}"
        query += f"&message_key={quote(self._text()[:99].encode('utf-8', 'replace'))}"
        if "twilio" not in door:
            token = self._mostly(SECRETS["africas_talking_callback_token"])
            return "POST", f"{door}{query}&token={quote(token)}", {}, body
        from urllib.parse import parse_qsl

        url = f"{self.client.base_url}".rstrip("/") + door + query
        form = parse_qsl(body.decode(), keep_blank_values=True)
        signed = twilio_signature(SECRETS["twilio_auth_token"], url, form)
        return "POST", door + query, {"X-Twilio-Signature": self._mostly(signed)}, body

    def _events(self) -> Any:
        return [self._event() for _ in range(self.rng.randrange(1, 8))]

    def _event(self) -> Any:
        i = self.rng.randrange(10**9)
        event: dict[str, Any] = {
            "event_id": f"e{i}",
            "unit_id": f"p{i % 40:04d}",
            "kind": "login",
            "at": "2024-03-05T10:00:00Z",
        }
        for _ in range(self.rng.randrange(3)):
            event[self.rng.choice(KEYS)] = self._value(1)
        return event if self.rng.random() < 0.95 else self._value(1)

    def _value(self, depth: int) -> Any:
        r = self.rng.random()
        if r < 0.55:
            return self._text()
        if r < 0.85 or not depth:
            return self.rng.choice(VALUES)
        if r < 0.92:
            return [self._value(depth - 1) for _ in range(self.rng.randrange(4))]
        return self._object(depth - 1)

    def _object(self, depth: int) -> dict[str, Any]:
        keys = (*KEYS, *MORE_KEYS, "delivered", "delivery", "period", "outcome", *NASTY[:8])
        return {self.rng.choice(keys): self._value(depth) for _ in range(self.rng.randrange(9))}

    def _text(self) -> str:
        if self.rng.random() < 0.8:
            return self.rng.choice(NASTY)
        points = (self.rng.choice((0, 9, 10, 32, 65, 233, 0x4E2D, 0xD83D, 0x1F989)) for _ in "1234")
        return "".join(map(chr, points))

    def _keyed(self) -> dict[str, str]:
        return {"X-API-Key": self.key} if self.rng.random() < 0.95 else {"X-API-Key": "ww_00_ff"}

    def _mostly(self, secret: str) -> str:
        return secret if self.rng.random() < 0.95 else self.rng.choice(("", "x", "t=1,v1=2", "~"))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()


async def fuzz(
    url: str, key: str, ring: KeyRing | None, n: int, seed: int, at_once: int = 8
) -> Fuzz:
    """Send so many requests, a few at a time."""
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        made = Fuzz(client, key, ring, random.Random(seed))

        async def some() -> None:
            for _ in range(n // at_once):
                await made.send()

        await asyncio.gather(*(some() for _ in range(at_once)))
    return made


@contextmanager
def served(folder: Path, key_file: Path) -> Iterator[tuple[str, int]]:
    """URL and process id of `wavewise serve`; the store is the environment's."""
    environment = {f"WAVEWISE_{name.upper()}": value for name, value in SECRETS.items()}
    command = "from wavewise.cli import main; main()"
    options = ["serve", str(folder), "--port", "0", "--key-file", str(key_file)]
    with subprocess.Popen(
        [sys.executable, "-c", command, *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().rpartition(" ")[2], process.pid
        finally:
            process.terminate()


def resident_mib(pid: int) -> float:
    """Memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(n: int, seed: int) -> None:
    """The long run."""
    from field_study import make_field_study
    from study_folders import done

    folder, key_file = make_field_study(Path(tempfile.mkdtemp()))
    key = done("keys", "make", folder, "--name", "app", "--json").facts["key"]
    ring = KeyRing.read(key_file.read_text(), "key")
    with served(folder, key_file) as (url, pid):
        for part in range(10):
            began = time.monotonic()
            made = asyncio.run(fuzz(url, key, ring, n // 10, seed + part))
            rate = n / 10 / (time.monotonic() - began)
            print(dict(made.statuses), f"{resident_mib(pid):.0f} MiB, {rate:.0f}/s", flush=True)
            for line in made.bad[:20]:
                print(line)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        os.environ["WAVEWISE_STORE"] = sys.argv[3]
    main(int(sys.argv[1]), int(sys.argv[2]))
