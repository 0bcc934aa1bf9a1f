"""The rate of a channel, over two workers that are processes of their own."""

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from kill_workers import CHANNELS, start
from recording_server import recording_server, times_of
from sending_study import by_state, make_sending_study, outbox
from wavewise.store import Store

N, RATE = 150, 30.0


def test_two_workers_together_keep_to_the_rate(tmp_path: Path, store_url: str | None) -> None:
    log = tmp_path / "received.log"
    with recording_server(log, 0.02) as url:
        channels = CHANNELS.format(url=url, rate=RATE).replace("seconds = 1", "seconds = 20")
        study = make_sending_study(tmp_path / "study", N, channels, store_url=store_url)
        workers = [start(study, store_url) for _ in range(2)]
        for worker in workers:
            _, errors = worker.communicate(timeout=180)
            assert worker.returncode == 0, errors.decode()
    keys = log.read_text().split()
    assert len(keys) == len(set(keys)) == N
    assert by_state(outbox(study, store_url)) == {"sent": N}
    at = np.sort(np.loadtxt(times_of(log)))
    # Without a common rate the two would need half of this. How evenly turns are used, and that
    # none is wasted, is tested on a clock of its own: tests/unit/test_send_pace.py.
    assert at[-1] - at[0] >= 0.75 * (N - 1) / RATE


@pytest.mark.parametrize("word", ["pause", "cancel"])
def test_a_word_holds_for_messages_that_wait_for_their_turn(tmp_path: Path, word: str) -> None:
    log = tmp_path / "received.log"
    with recording_server(log) as url:
        channels = CHANNELS.format(url=url, rate=10).replace("seconds = 1", "seconds = 20")
        study = make_sending_study(tmp_path / "study", 60, channels)
        worker = start(study, None)
        ends = time.monotonic() + 90
        while len(log.read_text().split()) < 3 and time.monotonic() < ends:
            time.sleep(0.02)
        with Store.open(f"sqlite:///{study / 'study.db'}") as store:
            if word == "pause":
                store.outbox.pause(datetime.now(UTC))
            else:
                store.outbox.cancel("on request", datetime.now(UTC))
        n_before = len(log.read_text().split())
        worker.communicate(timeout=180)
        assert worker.returncode == 0
    n_after = len(log.read_text().split())
    assert 3 <= n_before <= n_after <= n_before + 1 < 60
    left = {"pause": "queued", "cancel": "cancelled"}[word]
    assert by_state(outbox(study)) == {"sent": n_after, left: 60 - n_after}
