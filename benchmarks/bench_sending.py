"""How fast messages are rendered and queued, and sent over HTTP and SMTP on loopback.

python benchmarks/bench_sending.py [--units 100000] [--messages 100000]

Wall time and the process's own processor time are both printed: on a machine that others use, only
the second says what sending costs. The peer over HTTP is a bare loop of the same client that posts
the same bodies with the same number in flight, without an outbox: the ratio is the price of at most
once. Each worker is a process of its own, so that its memory is its own; it is sampled each second.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from recording_server import recording_server
from sending_study import by_state, make_sending_study, outbox
from wavewise.fieldwork.channels.base import Outgoing
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets, open_channel
from wavewise.workflow.send.queue import queue_wave
from wavewise.workflow.study import open_study

FLIGHT = 64
MAIL = """
import asyncio, sys
from aiosmtpd.smtp import SMTP

class Post:
    async def handle_DATA(self, server, session, envelope):
        return "250 taken"

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Post()), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


WORKER = r"""
import json, re, sys, threading, time
from pathlib import Path
from wavewise.workflow.send.worker import send
from wavewise.workflow.study import open_study

class Book:
    def addresses(self, _channel, unit_ids):
        return {unit: f"{unit}@example.org" for unit in unit_ids}

def resident():
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

samples = []
def watch():
    began = time.perf_counter()
    while True:
        samples.append((time.perf_counter() - began, resident()))
        time.sleep(1.0)

with open_study(sys.argv[1]) as study:
    threading.Thread(target=watch, daemon=True).start()
    wall, cpu = time.perf_counter(), time.process_time()
    send(study, book=Book())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
# A child's getrusage counts its parent's memory before exec.
peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps([wall, cpu, peak, samples]))
"""


def work(what: str, folder: Path, n_messages: int) -> None:
    """Queue, then send in a worker's own process."""
    with open_study(folder) as study:
        queue_wave(study, "one", datetime.now(UTC) + timedelta(days=1))
    command = [sys.executable, "-c", WORKER, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    wall, cpu, peak, samples = json.loads(run.stdout)
    load = os.getloadavg()[0]
    show(what, n_messages, wall, cpu, f"; peak memory {peak:.0f} MB; load {load:.1f}")
    grown(samples)
    assert by_state(outbox(folder)) == {"sent": n_messages}


def grown(samples: list[tuple[float, float]]) -> None:
    """Resident memory after each tenth of the run, and its slope over the second half."""
    times, sizes = np.array(samples).T
    if len(times) < 10:
        return
    tenths = np.interp(np.linspace(0.1, 1.0, 10) * times[-1], times, sizes)
    late = times >= times[-1] / 2
    slope = np.polyfit(times[late], sizes[late], 1)[0] * 60
    shown = " ".join(f"{size:.0f}" for size in tenths)
    print(f"    resident MB by tenths of the run: {shown}; second half {slope:+.2f} MB a minute")


def show(what: str, n: int, wall: float, cpu: float, more: str = "") -> None:
    print(
        f"{what:<34} {n:>7,} in {wall:6.1f} s = {n / wall:8,.0f}/s; "
        f"{1e3 * cpu / n:.2f} ms of processor each{more}"
    )


def queueing(folder: Path, n_units: int) -> None:
    study_folder = make_sending_study(folder, n_units, "")
    with open_study(study_folder) as study:
        wall, cpu = time.perf_counter(), time.process_time()
        n = queue_wave(study, "one", datetime.now(UTC) + timedelta(days=1))
        show("rendered and queued", n, time.perf_counter() - wall, time.process_time() - cpu)


def over_http(folder: Path, n_messages: int) -> None:
    log = folder / "log"
    folder.mkdir(parents=True)
    with recording_server(log, 0.02) as url:
        channels = f'[webhook]\nprovider = "webhook"\nbase_url = "{url}"\n'
        channels += f"rate_per_second = inf\nconcurrency = {FLIGHT}\n"
        study_folder = make_sending_study(folder / "study", n_messages, channels)
        work("sent over HTTP, 20 ms answers", study_folder, n_messages)
        wall, cpu = time.perf_counter(), time.process_time()
        asyncio.run(bare(url, n_messages))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        show("peer: the client alone, no outbox", n_messages, wall, cpu)


async def bare(url: str, n_messages: int) -> None:
    settings = ChannelSettings("webhook", "webhook", url, concurrency=FLIGHT)
    channel = open_channel(settings, Secrets())
    left = iter(range(n_messages))

    async def sender() -> None:
        for i in left:
            await channel.send(Outgoing(f"bare-{i}", f"p{i:06d}", "Many practise. And Ana?"))

    await asyncio.gather(*(sender() for _ in range(FLIGHT)))
    await channel.close()


def over_smtp(folder: Path, n_messages: int) -> None:
    command = [sys.executable, "-W", "ignore", "-c", MAIL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline())
            channels = f'[email]\nprovider = "smtp"\nbase_url = "smtp://127.0.0.1:{port}"\n'
            channels += 'from = "wave@example.org"\nrate_per_second = inf\nstarttls = false\n'
            units = 'address = { email = "email" }'
            more = {"email": [f"p{i}@example.org" for i in range(n_messages)]}
            study_folder = make_sending_study(
                folder, n_messages, channels, channel="email", units=units, more=more
            )
            work("sent over SMTP", study_folder, n_messages)
        finally:
            server.kill()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        over_http(folder / "http", given.messages)
        over_smtp(folder / "smtp", given.messages // 4)
        queueing(folder / "queue", given.units)


if __name__ == "__main__":
    main()
