"""A private PostgreSQL server on loopback, from Debian's package, for tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from system_packages import lacking

_OPTIONS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=50"


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).parent if on_path else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _account() -> dict[str, str]:
    # The server refuses to run as root; Debian's package brings the account "postgres".
    return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}


def _run(*command: str | Path) -> None:
    subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **_account(),
    )


@contextmanager
def running_postgres() -> Iterator[str]:
    """URL (without a database) of a server that ends with the block; skips where there is none."""
    programs = _programs()
    if programs is None:
        lacking("postgresql")
    folder = Path(tempfile.mkdtemp(prefix="wavewise-pg-"))
    if _account():
        shutil.chown(folder, **_account())
    data, port = folder / "data", _free_port()
    options = f"{_OPTIONS} -c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    try:
        _run(programs / "initdb", "-D", data, "-A", "trust", "-U", "tester", "-E", "UTF8", "-N")
        _run(programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql://tester:not-shown@127.0.0.1:{port}"
        finally:
            _run(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str, name: str, template: str = "template1") -> str:
    """URL of a new database: empty, or a copy of another."""
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return f"{server}/{name}"
