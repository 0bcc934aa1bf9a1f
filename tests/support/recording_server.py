"""A provider on loopback that records every message key before it answers: a process of its own."""

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def _answer(status: str, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}content-length: 0\r\n\r\n".encode()


def asked_of(log: Path) -> Path:
    """Where each request is: its key, and the mood that it met."""
    return log.with_suffix(".asked")


def times_of(log: Path) -> Path:
    """Where the time of each line of the log is, in seconds."""
    return log.with_suffix(".times")


# What a provider in trouble answers, and whether it took the message all the same.
MOODS = {
    "ok": (ANSWER, True),
    "overloaded, took it": (_answer("503 Service Unavailable", "retry-after: 0\r\n"), True),
    "overloaded": (_answer("503 Service Unavailable"), False),
    "gateway": (_answer("502 Bad Gateway"), False),
    "moved": (_answer("301 Moved Permanently", "location: /elsewhere\r\n"), False),
    "wrong address": (_answer("404 Not Found"), False),
    "bad request": (_answer("400 Bad Request"), False),
    "busy": (_answer("429 Too Many Requests", "retry-after: 0\r\n"), False),
    "silent, took it": (b"", True),
    "silent": (b"", False),
    "garbage, took it": (b"\x00\xff no HTTP\r\n\r\n", True),
}
MOOD_SECONDS = 0.7
# Answers that leave open whether the message was taken.
UNCLEAR = frozenset(name for name in MOODS if name.startswith(("over", "gate", "silent", "garb")))


async def _serve(log: Path, wait_seconds: float, seed: int) -> None:
    clock = times_of(log)
    moods = random.Random(seed)
    mood = {"name": "ok"}

    async def change() -> None:
        while seed:
            await asyncio.sleep(moods.uniform(0.2, 1.0) * MOOD_SECONDS)
            well = mood["name"] != "ok" and moods.random() < 0.7
            mood["name"] = "ok" if well else moods.choice(sorted(MOODS))

    changing = asyncio.create_task(change())
    with (
        log.open("ab", buffering=0) as file,
        clock.open("ab", buffering=0) as times,
        asked_of(log).open("ab", buffering=0) as asked,
    ):

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).lower().decode()
                    fields = dict(
                        line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
                    )
                    await reader.readexactly(int(fields["content-length"]))
                    name = mood["name"]
                    answer, is_taken = MOODS[name]
                    key = fields["idempotency-key"].encode()
                    asked.write(key + b" " + name.encode() + b"\n")
                    if is_taken:
                        file.write(key + b"\n")
                        times.write(b"%.6f\n" % time.monotonic())
                    await asyncio.sleep(wait_seconds)
                    if not answer:
                        break
                    writer.write(answer)
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.gather(server.serve_forever(), changing)


@contextlib.contextmanager
def recording_server(log: Path, wait_seconds: float = 0.0, moods: int = 0) -> Iterator[str]:
    """URL of a running server whose log is one key a line, of messages that it took.

    With ``moods``, a seed, it answers badly in every way for moments.
    """
    command = [sys.executable, __file__, str(log), str(wait_seconds), str(moods)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/messages"
        finally:
            process.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
