"""What strangers can hold of a server: connections, time, memory, guesses; and how it stops."""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from uvicorn.server import ServerState

import virtual_time
from field_study import make_field_study
from recording_server import recording_server, times_of
from sending_study import by_state, make_sending_study, outbox
from study_folders import done
from wavewise.server.app import build_app
from wavewise.server.authentication import Settings, sign_webhook
from wavewise.server.connections import Guesses, Limits, server_config
from wavewise.workflow.study import Study, open_study
from web_server import running

HEAD = b"POST /v1/events HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with open_study(make_field_study(tmp_path)[0]) as opened:
        yield opened


@contextmanager
def served(study: Study, **limits: float) -> Iterator[tuple[str, int]]:
    within = Limits(**limits)  # type: ignore[arg-type]
    app = build_app(Settings(study, None, {"webhook_secret": "wh"}.get, limits=within))
    with running(app, within) as url:
        yield url, int(url.rpartition(":")[2])


def connection(port: int, sent: bytes = b"") -> "closing[socket.socket]":
    made = socket.create_connection(("127.0.0.1", port), timeout=30)
    made.sendall(sent)
    return closing(made)


def ended(one: socket.socket) -> bool:
    """Whether the server closes a connection, in a time that no test depends on."""
    try:
        while one.recv(65_536):
            pass
    except ConnectionError:
        return True
    return True


def is_well(url: str) -> bool:
    return httpx2.get(f"{url}/v1/push/worker.js", timeout=30).status_code == 200


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"Content-Length: 3\r\n\r\nab"])
def test_a_request_that_never_ends_is_ended(study: Study, sent: bytes) -> None:
    with served(study, head_seconds=0.3, body_seconds=0.3) as (url, port):
        with connection(port, sent) as one:
            assert ended(one)
        assert is_well(url)


def test_an_answered_connection_may_not_wait_for_ever_either(study: Study) -> None:
    more = b"Content-Length: 9000000\r\n\r\n"  # refused for want of a key before its body
    with served(study, head_seconds=0.3) as (_, port), connection(port, HEAD + more) as one:
        assert b" 401 " in one.recv(4_096)
        assert ended(one)


def test_who_hangs_up_half_way_leaves_no_trace_and_a_fault_of_ours_does(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = logged.append  # type: ignore[method-assign]
    key = done("keys", "make", study.folder, "--name", "app", "--json").facts["key"]
    head = HEAD + f"X-API-Key: {key}\r\n".encode()

    def broken(*_: object) -> None:
        raise KeyError("the text of an event")

    with served(study) as (url, port):
        logging.getLogger("uvicorn.error").addHandler(handler)
        try:
            with connection(port, head + b"Content-Length: 50\r\n\r\n["):
                time.sleep(0.2)
            assert is_well(url)
            assert logged == []
            monkeypatch.setattr("wavewise.server.intake.ingest_events", broken)
            with connection(port, head + b"Content-Length: 2\r\n\r\n{}") as one:
                found = one.recv(4_096)
            assert b" 500 " in found
            assert b"the text of an event" not in found
            assert len(logged) == 1
        finally:
            logging.getLogger("uvicorn.error").removeHandler(handler)


def test_a_slow_body_is_told_so(study: Study) -> None:
    key = done("keys", "make", study.folder, "--name", "app", "--json").facts["key"]
    head = HEAD + f"X-API-Key: {key}\r\nContent-Length: 50\r\n\r\n[".encode()
    with served(study, body_seconds=0.3) as (_, port), connection(port, head) as one:
        assert b" 408 " in one.recv(4_096)


def test_who_waits_longest_goes_first_where_connections_run_out(study: Study) -> None:
    with served(study, n_connections=20) as (url, port), ExitStack() as open_ones:
        waiting = [open_ones.enter_context(connection(port, HEAD)) for _ in range(60)]
        assert is_well(url)
        assert ended(waiting[0])
        assert is_well(url)


def test_who_does_not_read_is_let_go() -> None:
    ended_at: list[float] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        config = server_config(lambda: None, Limits(answer_seconds=30.0))
        made = config.http(config=config, server_state=ServerState(), app_state={}, _loop=loop)
        transport = SimpleNamespace(
            get_extra_info=lambda _: None, abort=lambda: ended_at.append(loop.time())
        )
        made.connection_made(transport)
        made._end_wait_for_head()
        made.pause_writing()
        await asyncio.sleep(29.0)
        made.resume_writing()
        await asyncio.sleep(29.0)
        assert ended_at == []
        made.pause_writing()
        await asyncio.sleep(31.0)
        assert len(ended_at) == 1

    virtual_time.run(run())


def test_unsigned_bodies_share_little_memory_and_small_calls_pass(study: Study) -> None:
    small = json.dumps({"channel": "sms", "from": "+19", "text": "hello", "id": "1"}).encode()
    headers = {"X-Wavewise-Signature": sign_webhook("wh", small, int(time.time()))}

    async def flood(url: str) -> tuple[list[int], int]:
        async def body() -> Iterator[bytes]:
            for _ in range(12):
                yield b"x" * 65_536
            await asyncio.sleep(1.0)
            yield b"x"

        async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
            path = "/v1/receipts/webhook"
            tasks = [
                asyncio.create_task(client.post(path, content=body()))  # type: ignore[arg-type]
                for _ in range(40)
            ]
            await asyncio.sleep(0.5)
            passed = await client.post("/v1/inbound/webhook", content=small, headers=headers)
            answers = await asyncio.gather(*tasks, return_exceptions=True)
        found = [one.status_code for one in answers if isinstance(one, httpx2.Response)]
        return found, passed.status_code

    with served(study, unsigned_bytes=2 << 20) as (url, _):
        found, passed = asyncio.run(flood(url))
        assert passed == 503  # no key file: it was heard, and is asked for again
        assert set(found) <= {403, 503}
        assert found.count(403) <= 3  # as many as the shared memory holds
        large = httpx2.post(f"{url}/v1/inbound/webhook", content=b"x" * (2 << 20), timeout=30)
        assert large.status_code == 413


def test_wrong_keys_make_an_address_wait_but_not_a_key_that_was_right(study: Study) -> None:
    key = done("keys", "make", study.folder, "--name", "app", "--json").facts["key"]
    event = {"event_id": "1", "unit_id": "p0001", "kind": "login", "at": "2024-03-05T10:00:00Z"}
    with served(study, n_wrong=5) as (url, _), httpx2.Client(base_url=url) as client:

        def status(with_key: str) -> int:
            answer = client.post("/v1/events", json=event, headers={"X-API-Key": with_key})
            if answer.status_code == 429:
                assert answer.headers["Retry-After"] == "60"
            return answer.status_code

        assert status(key) == 200
        assert [status(f"ww_00000000_{i}") for i in range(8)] == [401] * 5 + [429] * 3
        assert status(key) == 200
        assert client.post("/v1/events", json=event).status_code == 401


def test_guesses_are_forgotten_and_bounded() -> None:
    now = [0.0]
    guesses = Guesses(Limits(n_wrong=2, wrong_seconds=60), lambda: now[0])
    for _ in range(2):
        guesses.note("a", b"x", is_right=False)
    assert guesses.must_wait("a", b"y")
    assert not guesses.must_wait("b", b"y")
    now[0] = 61.0
    assert not guesses.must_wait("a", b"y")
    guesses.note("a", b"x", is_right=False)
    assert not guesses.must_wait("a", b"y")
    for i in range(20_000):
        guesses.note(str(i), b"x", is_right=False)
    assert len(guesses._wrong) == 10_000


def test_a_signal_ends_sending_and_the_process_whatever_strangers_do(tmp_path: Path) -> None:
    """One unfinished request and one slow provider; nothing more goes out after the signal."""
    log = tmp_path / "log"

    def taken() -> list[float]:
        return [float(line) for line in times_of(log).read_text().split()] if log.exists() else []

    with recording_server(log, 0.1) as provider:
        channels = (
            f'[webhook]\nprovider = "webhook"\nbase_url = "{provider}"\nrate_per_second = 20\n'
        )
        folder = make_sending_study(tmp_path / "study", 300, channels)
        command = "from wavewise.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", command, "serve", str(folder), "--port", "0", "--send"],
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        assert process.stdout is not None
        with process.stdout:
            port = int(process.stdout.readline().strip().rpartition(":")[2])
            while len(taken()) < 5:
                assert process.poll() is None
                time.sleep(0.05)
            with connection(port, HEAD + b"Content-Length: 50\r\n\r\n["):
                time.sleep(0.3)
                process.send_signal(signal.SIGTERM)
                told = time.monotonic()
                process.wait(30)
                assert time.monotonic() - told < 5.0
        assert [at for at in taken() if at > told + 1.0] == []
        assert 5 <= len(taken()) < 300
        assert by_state(outbox(folder)).keys() <= {"sent", "queued"}
