"""Events over HTTP: ``wavewise serve`` in a process of its own, batches of 1,000 from one client.

    python benchmarks/bench_http_intake.py [--batches 200] [--postgresql]

The peer in the same run is a bare Starlette application, served by the same uvicorn, that only
parses the same bodies as JSON and answers: it checks nothing and keeps nothing. Wall time includes
the client, which shares the machine; the server's own processor time is read from the system.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from postgres_server import new_database, running_postgres
from study_folders import STUDY, people
from wavewise.workflow.contacts.keys import make_key
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.study import open_study

N_UNITS = 10_000
SIZE = 1_000
PEER = """
import json, socket
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def take(request):
    return JSONResponse({"n": len(json.loads(await request.body())["events"])})

async def health(request):
    return JSONResponse({})

app = Starlette(routes=[Route("/v1/events", take, methods=["POST"]), Route("/v1/health", health)])
listening = socket.create_server(("127.0.0.1", 0))
print(f"at http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning")).run(sockets=[listening])
"""
SERVE = "from wavewise.cli import main; main()"


@contextmanager
def served(*words: str) -> Iterator[tuple[int, str]]:
    """Process id and base URL of a server in its own process."""
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().rpartition(" ")[2]
            for _ in range(400):
                try:
                    httpx2.get(f"{url}/v1/health")
                    break
                except httpx2.TransportError:
                    time.sleep(0.05)
            yield process.pid, url
        finally:
            process.terminate()


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bodies(n_batches: int) -> list[bytes]:
    at = "2024-03-05T17:02:11-05:00"
    return [
        json.dumps(
            {
                "events": [
                    {
                        "event_id": f"e{(i * SIZE + j) * 7_919 % 100_000_007}",
                        "unit_id": f"p{(i * SIZE + j) % N_UNITS:04d}",
                        "kind": "session",
                        "at": at,
                        "value": j / 8,
                    }
                    for j in range(SIZE)
                ]
            }
        ).encode()
        for i in range(n_batches)
    ]


def measured(what: str, pid: int, url: str, key: str, sent: list[bytes]) -> float:
    """Post all batches one after the other; gives events a second of the server's processor."""
    with httpx2.Client(base_url=url, headers={"X-API-Key": key}, timeout=60) as client:
        wall, own = time.perf_counter(), processor_seconds(pid)
        for body in sent:
            assert client.post("/v1/events", content=body).status_code == 200
        wall, own = time.perf_counter() - wall, processor_seconds(pid) - own
    n = len(sent) * SIZE
    print(
        f"{what:36} {n:>9,} events  {wall:6.2f} s = {n / wall:>8,.0f}/s of wall  "
        f"{n / own:>8,.0f}/s of the server's processor; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return n / own


def make_study(folder: Path, store_url: str | None) -> str:
    """A registered study with its people; gives a key."""
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    people(N_UNITS).write_csv(folder / "people.csv")
    with open_study(folder, store_url=store_url) as study:
        register(study)
        import_people(study, folder / "people.csv")
        return str(make_key(study, "bench").facts()["key"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--postgresql", action="store_true")
    given = parser.parse_args()
    sent = bodies(given.batches)
    server = running_postgres() if given.postgresql else nullcontext()
    with tempfile.TemporaryDirectory() as name, server as address:
        url = new_database(address, "bench") if address else None
        key = make_study(Path(name), url)
        more = ["--store", url] if url else []
        with served("-c", PEER) as (pid, base):
            peer = measured("peer: Starlette, parses alone", pid, base, key, sent)
        with served("-c", SERVE, "serve", name, "--port", "0", *more) as (pid, base):
            where = "PostgreSQL" if url else "SQLite"
            ours = measured(f"wavewise serve, {where}", pid, base, key, sent)
            measured("the same batches again", pid, base, key, sent)
    print(f"processor time: {peer / ours:.1f} times the peer's")


if __name__ == "__main__":
    main()
