"""A disk that is full, a worker beside the interface, arms that are policies, held-out halves."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recording_server import recording_server
from sending_study import by_state, make_sending_study, outbox
from study_folders import done
from wavewise.store import Store
from wavewise.store.outbox import Outbox
from wavewise.workflow.send.queue import queue_wave
from wavewise.workflow.study import open_study

# No file may grow beyond a limit from the time that messages go out: what a full disk does.
FULL_DISK = """
import resource, signal, sys
from wavewise.workflow.send.outbox_writer import OutboxWriter
OutboxWriter.__init__.__defaults__ = (1.0,)  # seconds of patience
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv.pop())
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from wavewise.cli import main
main()
"""
CHANNELS = """
[webhook]
provider = "webhook"
base_url = "{url}"
rate_per_second = 400
concurrency = 4
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of files are POSIX's")
@pytest.mark.full
def test_a_full_disk_ends_the_worker_and_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with recording_server(log) as url:
        folder = make_sending_study(tmp_path / "study", 1_000, CHANNELS.format(url=url))
        with open_study(folder) as study:
            assert queue_wave(study, "one", study.clock()) == 1_000
        command = [sys.executable, "-c", FULL_DISK, "send", str(folder), str(300_000)]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert run.returncode == 9, run.stderr
        assert "disk" in run.stderr
        n_before = len(log.read_text().split())
        assert 0 < n_before < 1_000
        with open_study(folder) as study:
            study.store.outbox.sweep_leases(study.clock() + timedelta(hours=1))
        done("send", folder)
    received = log.read_text().split()
    assert len(received) == len(set(received))
    states = dict(outbox(folder).select("message_key", "state").iter_rows())
    assert set(states.values()) <= {"sent", "unknown"}
    assert all(states[key] in {"sent", "unknown"} for key in received)
    assert {key for key, state in states.items() if state == "sent"} <= set(received)
    assert by_state(outbox(folder)).get("unknown", 0) <= 8  # what was in flight, or recorded next


def test_a_worker_beside_the_interface(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with recording_server(log) as url:
        folder = make_sending_study(tmp_path / "study", 30, CHANNELS.format(url=url))
        code = "from wavewise.cli import main; main()"
        command = [sys.executable, "-c", code, "serve", str(folder), "--port", "0", "--send"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                port = int(server.stdout.readline().rpartition(":")[2])
                ends = time.monotonic() + 90
                while len(log.read_text().split()) < 30 and time.monotonic() < ends:
                    time.sleep(0.05)
                socket.create_connection(("127.0.0.1", port)).close()
                server.send_signal(signal.SIGTERM)
                assert server.wait(30) == 0
            finally:
                server.kill()
    assert by_state(outbox(folder)) == {"sent": 30}


def test_a_policy_decides_and_the_held_out_get_nothing(tmp_path: Path) -> None:
    """As policies are stored: an arm, what it gives each unit, and who is held out."""
    folder = make_sending_study(tmp_path, 40, '[webhook]\nprovider = "file"\n')
    with Store.open(f"sqlite:///{folder / 'study.db'}") as store:
        from sqlalchemy import update

        from wavewise.store.schema import assignment

        with store.writing() as connection:
            own = assignment.c.unit_id
            connection.execute(update(assignment).values(held_out=False, content="teacher"))
            connection.execute(update(assignment).where(own < "p000020").values(held_out=True))
            connection.execute(update(assignment).where(own > "p000030").values(content="peers"))
    done("send", folder)
    rows = outbox(folder)
    assert rows["unit_id"].to_list() == [f"p{i:06d}" for i in range(20, 40)]
    assert rows.group_by("message_id").len().sort("message_id").rows() == [
        ("peers", 9),
        ("teacher", 11),
    ]
    assert rows["arm"].to_list() == rows["message_id"].to_list()


def test_a_worker_that_dies_while_it_queues_leaves_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_sending_study(tmp_path, 40, '[webhook]\nprovider = "file"\n')
    queue = Outbox.queue
    calls = []

    def dies_at_the_second(self: Outbox, frame: pl.DataFrame, *rest: Any, **more: Any) -> int:
        calls.append(frame.height)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return queue(self, frame, *rest, **more)

    with open_study(folder) as study:
        monkeypatch.setattr(Outbox, "queue", dies_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            queue_wave(study, "one", study.clock())
        assert study.store.deliveries.rows().height == 20
        assert queue_wave(study, "one", study.clock()) == 20
        assert queue_wave(study, "one", study.clock()) == 0
    assert len(calls) == 4  # once it is marked, nothing is written out again
    done("send", folder)
    assert by_state(outbox(folder)) == {"sent": 40}
