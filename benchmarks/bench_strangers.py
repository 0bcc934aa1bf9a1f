"""How others are served while strangers hold slow and unfinished connections, and how it stops.

python benchmarks/bench_strangers.py --connections 10000 --requests 500
"""

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

HEADS = (b"", b"POST /v1/ev", b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n[")


async def strangers(port: int, n: int, ends: asyncio.Event) -> None:
    """Keep so many unfinished connections open: whoever is dropped comes again."""

    async def one(i: int) -> None:
        while not ends.is_set():
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(HEADS[i % len(HEADS)])
                await reader.read(1_000)
                writer.close()
            await asyncio.sleep(1.0)

    await asyncio.gather(*(one(i) for i in range(n)))


def hold(port: int, n: int) -> None:
    """The strangers, in a process of their own."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(strangers(port, n, asyncio.Event()))


def served(url: str, n: int) -> tuple[float, float, int]:
    """Median and 99th percentile of the seconds that an answer takes, and how many failed."""
    took, failed = [], 0
    for _ in range(n):
        began = time.perf_counter()
        try:
            failed += httpx2.get(f"{url}/v1/push/worker.js", timeout=30).status_code != 200
        except httpx2.HTTPError:
            failed += 1
        took.append(time.perf_counter() - began)
        time.sleep(0.01)
    return float(np.median(took)), float(np.quantile(took, 0.99)), failed


def main(n_connections: int, n_requests: int) -> None:
    from field_study import make_field_study
    from fuzz_doors import resident_mib

    folder, _ = make_field_study(Path(tempfile.mkdtemp()), n=20)
    code = "from wavewise.cli import main; main()"
    server = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    url = server.stdout.readline().strip().rpartition(" ")[2]
    port = url.rpartition(":")[2]
    print("connections  median ms  p99 ms  failed  memory MiB")
    print("{:>11}  {:9.1f}  {:6.1f}  {:6}".format(0, *_ms(served(url, n_requests))))
    crowd = subprocess.Popen([sys.executable, __file__, "--hold", port, str(n_connections)])
    time.sleep(8)
    row = (n_connections, *_ms(served(url, n_requests)), resident_mib(server.pid))
    print("{:>11}  {:9.1f}  {:6.1f}  {:6}  {:10.0f}".format(*row))
    began = time.perf_counter()
    server.send_signal(signal.SIGTERM)
    server.wait(60)
    print(
        f"ended {time.perf_counter() - began:.1f} seconds after SIGTERM, code {server.returncode}"
    )
    os.kill(crowd.pid, signal.SIGKILL)
    crowd.wait()
    server.stdout.close()


def _ms(found: tuple[float, float, int]) -> tuple[float, float, int]:
    return found[0] * 1e3, found[1] * 1e3, found[2]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--hold", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hold:
        hold(*options.hold)
    else:
        main(options.connections, options.requests)
