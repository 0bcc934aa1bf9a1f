"""Workers are killed at random points while they send; what the outbox says is held against what
the provider saw.

``python tests/support/kill_workers.py --kills 200 --messages 20000 [--postgresql]`` prints the
numbers that docs/evidence/kill-test.md quotes.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recording_server import UNCLEAR, asked_of, recording_server
from sending_study import by_state, make_sending_study, outbox
from wavewise.store import Store

WORKER = "from wavewise.cli import main; main()"
CHANNELS = """
[webhook]
provider = "webhook"
base_url = "{url}"
rate_per_second = {rate}
timeout_seconds = 1
concurrency = 16
backoff_seconds = 0.05
"""


@dataclass(frozen=True)
class Story:
    """What the outbox and the provider's log say after the last kill and after the last message."""

    n_kills: int
    n_messages: int
    n_received: int
    n_received_twice: int
    n_sent_not_received: int
    n_received_but_queued: int
    n_received_but_cancelled_or_failed: int
    n_unknown: int
    n_unknown_received: int
    n_lost: int
    n_failed_at_worst: int  # Failed, though the provider may have taken it.
    n_unknown_for_nothing: int  # Unknown, though the provider took nothing and nobody was killed.
    states_after_last_kill: dict[str, int]
    states: dict[str, int]
    wall_seconds: float


def start(folder: Path, store_url: str | None, *words: str) -> "subprocess.Popen[bytes]":
    """A worker as anybody would start it."""
    more = [*words] if store_url is None else [*words, "--store", store_url]
    command = [sys.executable, "-c", WORKER, "send", str(folder), *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def kill_workers(
    folder: Path,
    n_kills: int,
    n_messages: int,
    rate: float,
    seed: int,
    store_url: str | None,
    *,
    moods: int = 0,
) -> Story:
    """Two workers send; one of them is killed ``n_kills`` times; then a last one ends the work.

    With ``moods``, a seed, the provider answers badly in every way meanwhile.
    """
    rng = random.Random(seed)
    begun = time.monotonic()
    log = folder / "received.log"
    folder.mkdir(parents=True, exist_ok=True)
    log.touch()
    with recording_server(log, 0.02, moods) as url:
        study = folder / "study"
        channels = CHANNELS.format(url=url, rate=rate)
        make_sending_study(study, n_messages, channels, store_url=store_url)
        workers = [start(study, store_url), start(study, store_url)]
        for _ in range(n_kills):
            size = log.stat().st_size
            ends = time.monotonic() + 20.0
            while log.stat().st_size == size and time.monotonic() < ends:
                time.sleep(0.01)  # so that something is being sent
            time.sleep(rng.uniform(0.0, 0.4))
            place = rng.randrange(2)
            os.kill(workers[place].pid, signal.SIGKILL)
            workers[place].communicate()
            workers[place] = start(study, store_url)
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.communicate()
        after_kill = by_state(outbox(study, store_url))
        fast = CHANNELS.format(url=url, rate=5_000)
        (study / "channels.toml").write_text(fast, encoding="utf-8")
        _end(study, store_url, until_done=moods > 0)
        return _story(study, store_url, log, n_kills, after_kill, time.monotonic() - begun)


def _end(study: Path, store_url: str | None, *, until_done: bool) -> None:
    """The leases of the dead end, and one worker sends the rest."""
    with Store.open(store_url or f"sqlite:///{study / 'study.db'}") as store:
        store.outbox.sweep_leases(datetime.now(UTC) + timedelta(hours=1))
    for _ in range(1_000):  # a channel may be held as often as its provider is in trouble
        worker = start(study, store_url, *(["--until-done"] if until_done else []))
        _, errors = worker.communicate(timeout=1_800)
        if worker.returncode != 11:
            break
    if worker.returncode:
        raise RuntimeError(errors.decode())


def _story(
    study: Path,
    store_url: str | None,
    log: Path,
    n_kills: int,
    after_kill: dict[str, int],
    wall_seconds: float,
) -> Story:
    received = log.read_text().split()
    once = set(received)
    rows = outbox(study, store_url)
    states = dict(rows.select("message_key", "state").iter_rows())
    unclear = {key for key, mood in _asked(log) if mood in UNCLEAR}
    in_log = {state: sum(states[key] == state for key in once) for state in set(states.values())}
    return Story(
        n_kills=n_kills,
        n_messages=rows.height,
        n_received=len(once),
        n_received_twice=len(received) - len(once),
        n_sent_not_received=sum(
            state == "sent" and key not in once for key, state in states.items()
        ),
        n_received_but_queued=sum(in_log.get(s, 0) for s in ("queued", "leased")),
        n_received_but_cancelled_or_failed=sum(in_log.get(s, 0) for s in ("cancelled", "failed")),
        n_unknown=sum(state == "unknown" for state in states.values()),
        n_unknown_received=in_log.get("unknown", 0),
        n_lost=sum(
            state not in {"sent", "unknown", "queued", "failed"} for state in states.values()
        ),
        n_failed_at_worst=sum(
            state == "failed" and (key in once or key in unclear) for key, state in states.items()
        ),
        n_unknown_for_nothing=sum(
            state == "unknown" and key not in once and key not in unclear and why in PROVIDER_SAID
            for key, state, why in rows.select("message_key", "state", "reason").iter_rows()
        ),
        states_after_last_kill=after_kill,
        states=by_state(rows),
        wall_seconds=round(wall_seconds, 1),
    )


# Reasons of what is unknown by a provider's answer, and not by a worker's end.
PROVIDER_SAID = (
    *("the connection broke before an answer", "no answer in time"),
    *(f"the provider answered {code}" for code in (502, 503)),
)


def _asked(log: Path) -> list[tuple[str, str]]:
    lines = asked_of(log).read_text().splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def main() -> None:
    """The study from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=20_261_125)
    parser.add_argument("--moods", type=int, default=0, help="seed; 0: it always answers well")
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    from postgres_server import new_database, running_postgres

    with (
        running_postgres() if given.postgresql else nullcontext() as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        url = None if server is None else new_database(server, "kill_test")
        story = kill_workers(
            *(Path(folder), given.kills, given.messages, given.rate, given.seed, url),
            moods=given.moods,
        )
    print(json.dumps(asdict(story), indent=1))


if __name__ == "__main__":
    main()
