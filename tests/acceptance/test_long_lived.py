"""Processes that stay follow the world, and are alive or at an end."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from hooks import Hook
from sending_study import by_state, make_sending_study, outbox
from study_folders import call, done
from wavewise.server.authentication import sign_webhook
from wavewise.store import Store

MAIN = "from wavewise.cli import main; main()"
BROKEN = """
import wavewise.workflow.send.worker as worker
def broken(*_):
    raise RuntimeError("a fault of the program")
worker._prepare = broken
"""
PATIENCE_SECONDS = 90


@dataclass
class Server:
    url: str
    process: "subprocess.Popen[str]"
    log: Path

    def events(self) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]


@contextmanager
def serving(folder: Path, *words: str, code: str = MAIN, ends: int = 0) -> Iterator[Server]:
    """`serve --send` as a process of its own; ended by SIGTERM at the end of the block."""
    command = [sys.executable, "-c", code, "serve", str(folder), "--port", "0", "--send", *words]
    log = folder.parent / "serve.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            url = process.stdout.readline().split()[-1]
            yield Server(url, process, log)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == ends
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.1)


def states(folder: Path) -> dict[str, int]:
    return by_state(outbox(folder))


PHONES = 'address = { sms = "phone" }'


@pytest.mark.full
def test_keys_words_and_files_that_change_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "study.key"
    monkeypatch.setenv("WAVEWISE_KEY_FILE", str(key))
    monkeypatch.setenv("WAVEWISE_WEBHOOK_SECRET", "secret")
    done("contacts", "make-key", key)
    phones = [f"+2547000000{i:02d}" for i in range(20)]
    folder = make_sending_study(
        tmp_path / "study",
        20,
        '[sms]\nprovider = "file"\nbackoff_seconds = 0.2\n',
        channel="sms",
        units=PHONES,
        more={"phone": phones},
    )
    done("outbox", "pause", folder)
    with serving(folder) as server:
        done("contacts", "rotate", folder, "--key-file", key)

        def says(number: str, text: str) -> dict[str, int]:
            body = json.dumps({"channel": "sms", "from": number, "text": text, "id": text + number})
            header = sign_webhook("secret", body.encode(), int(time.time()))
            return httpx2.post(
                f"{server.url}/v1/inbound/webhook",
                content=body.encode(),
                headers={"x-wavewise-signature": header},
            ).json()

        assert says(phones[0], "STOP")["n_new"] == 1
        assert says(phones[1], "tosha kabisa")["n_new"] == 0
        text = (folder / "study.toml").read_text()
        words = text + '\n[keywords]\nstop = ["tosha kabisa"]\n'
        (folder / "study.toml").write_text(words, encoding="utf-8")
        assert says(phones[2], "tosha kabisa")["n_new"] == 1
        (folder / "study.toml").write_text("no plan at all", encoding="utf-8")
        assert says(phones[3], "tosha kabisa")["n_new"] == 1  # what was read before stays
        (folder / "study.toml").write_text(text, encoding="utf-8")
        done("outbox", "resume", folder)
        wait_for(lambda: states(folder).get("sent", 0) == 17)
        assert "change not taken up" in server.events()
    assert states(folder) == {"sent": 17, "cancelled": 3}


@pytest.mark.full
def test_a_channel_that_is_put_right_goes_on_by_itself(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        nowhere = f"http://127.0.0.1:{one.getsockname()[1]}"
    wrong = f'[webhook]\nprovider = "webhook"\nbase_url = "{nowhere}"\n'
    folder = make_sending_study(tmp_path / "study", 30, wrong)
    key = done("keys", "make", folder, "--name", "monitor", "--json").facts["key"]
    with Hook(lambda *_: 200) as hook, serving(folder) as server:
        client = httpx2.Client(base_url=server.url, headers={"x-api-key": key})
        with client:
            wait_for(lambda: client.get("/v1/health").status_code == 503)
            assert "cannot be reached" in client.get("/v1/health").json()["sending"]
            metrics = client.get("/v1/metrics").text
            assert 'wavewise_due_messages{channel="webhook"} 30' in metrics
            assert 'wavewise_held_channel{channel="webhook",reason=' in metrics
            assert client.get("/v1/metrics", headers={"x-api-key": "no"}).status_code == 401
            (folder / "channels.toml").write_text(hook.channels(), encoding="utf-8")
            wait_for(lambda: states(folder) == {"sent": 30})
            wait_for(lambda: client.get("/v1/health").status_code == 200)
            metrics = client.get("/v1/metrics").text
        assert 'wavewise_messages{channel="webhook",state="sent"} 30' in metrics
        assert "wavewise_last_send_timestamp_seconds" in metrics
        assert {"channel held", "channel free", "change taken up"} <= set(server.events())
    assert len(hook.keys) == len(set(hook.keys)) == 30


@pytest.mark.full
def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    with Hook(lambda *_: 200) as hook:
        folder = make_sending_study(tmp_path / "study", 20, hook.channels())
        done("outbox", "pause", folder)
        with serving(folder) as server:
            done("outbox", "resume", folder)
            lock = sqlite3.connect(folder / "study.db", isolation_level=None)
            lock.execute("BEGIN IMMEDIATE")
            health = httpx2.get(f"{server.url}/v1/health", timeout=60)
            assert health.status_code == 503
            assert "another process has been writing" in health.json()["events"]
            wait_for(lambda: "database down" in server.events())
            lock.execute("ROLLBACK")
            lock.close()
            wait_for(lambda: states(folder) == {"sent": 20})
            assert httpx2.get(f"{server.url}/v1/health", timeout=60).status_code == 200
            assert server.events().count("database back") == 1


def test_a_fault_in_the_sending_thread_ends_the_process(tmp_path: Path) -> None:
    folder = make_sending_study(tmp_path / "study", 3, '[webhook]\nprovider = "file"\n')
    command = [sys.executable, "-c", BROKEN + MAIN, "serve", str(folder), "--port", "0", "--send"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode != 0
    assert "sending ended" in run.stderr


def test_a_plan_that_is_not_registered_is_not_sent(tmp_path: Path) -> None:
    folder = make_sending_study(tmp_path, 3, '[webhook]\nprovider = "file"\n')
    path = folder / "study.toml"
    text = path.read_text().replace("Many practise", "All practise")
    path.write_text(text, encoding="utf-8")
    for words in (["send", folder], ["serve", folder, "--port", "0", "--send"]):
        answer = call(*words)
        assert answer.code == 5
        assert "wavewise amend" in answer.err
    assert not (folder / "outbox").exists()


@pytest.mark.full
def test_sigterm_ends_sending_at_once_though_the_provider_hangs(tmp_path: Path) -> None:
    released = threading.Event()
    with Hook(lambda *_: released.wait(60) and 200) as hook:
        folder = make_sending_study(tmp_path / "study", 40, hook.channels())
        with serving(folder) as server:
            wait_for(lambda: len(hook.bodies) >= 5)
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE_SECONDS) == 0
            assert time.monotonic() - begun < 30  # the provider has 30
            n_seen = len(hook.bodies)
        released.set()
    assert n_seen <= 5
    assert states(folder) == {"unknown": n_seen, "queued": 40 - n_seen}


FAKED = """
import sys
sys.path[:0] = {paths!r}
from datetime import UTC, datetime
from pathlib import Path
from sending_study import make_sending_study
make_sending_study(Path(sys.argv[1]), 12, '[webhook]\\nprovider = "file"\\n')
print(datetime.now(UTC).isoformat())
"""


def at_time(moment: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command with a clock of its own."""
    env = {**os.environ, "TZ": "UTC", "FAKETIME_DONT_RESET": "1"}
    command = ["faketime", "-f", f"@{moment}", sys.executable, *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=env
    )


@pytest.mark.full
@pytest.mark.system
@pytest.mark.parametrize("moment", ["2026-03-29 00:59:50", "2026-10-25 00:59:50"])
def test_a_changed_clock_sends_nothing_twice(tmp_path: Path, moment: str) -> None:
    """Over a change of summer time, a day back, and three days of sleep."""
    folder, paths = tmp_path / "study", [p for p in sys.path if p]
    made = at_time(moment, "-c", FAKED.format(paths=paths), str(folder))
    if made.returncode == 127 or "2026" not in made.stdout:
        pytest.skip("libfaketime is not here, or does not reach Python")
    send = ("-c", f"import sys; sys.path[:0] = {paths!r}; " + MAIN, "send", str(folder))
    day = moment.split(maxsplit=1)[0]
    before = f"{day[:-2]}{int(day[-2:]) - 1:02d} 12:00:00"
    assert at_time(before, *send).returncode == 0
    assert states(folder) in ({}, {"queued": 12})
    sent = at_time(moment, *send)
    assert sent.returncode == 0, sent.stderr
    assert states(folder) == {"sent": 12}
    for again in (before, f"{day} 01:30:00", f"{day} 03:00:01"):
        assert at_time(again, *send).returncode == 0
    lines = (folder / "outbox" / "webhook.ndjson").read_text().splitlines()
    assert len(lines) == len({json.loads(line)["key"] for line in lines}) == 12


def test_a_read_only_database_ends_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_sending_study(tmp_path, 3, '[webhook]\nprovider = "file"\n')
    from wavewise.store import engine

    begin = engine._begin_sqlite

    def read_only(connection: object) -> None:
        begin(connection)
        connection.exec_driver_sql("PRAGMA query_only = ON")

    monkeypatch.setattr(engine, "_begin_sqlite", read_only)
    begun = time.monotonic()
    answer = call("send", folder)
    assert answer.code == 9
    assert "read-only" in answer.err
    assert time.monotonic() - begun < 45  # it is not waited for
    monkeypatch.undo()
    with Store.open(f"sqlite:///{folder / 'study.db'}") as store:
        assert store.deliveries.rows().is_empty()
