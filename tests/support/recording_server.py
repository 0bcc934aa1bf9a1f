"""A provider on loopback that records every message key before it answers: a process of its own."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def times_of(log: Path) -> Path:
    """Where the time of each line of the log is, in seconds."""
    return log.with_suffix(".times")


async def _serve(log: Path, wait_seconds: float) -> None:
    clock = times_of(log)
    with log.open("ab", buffering=0) as file, clock.open("ab", buffering=0) as times:

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).lower().decode()
                    fields = dict(
                        line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
                    )
                    await reader.readexactly(int(fields["content-length"]))
                    file.write(fields["idempotency-key"].encode() + b"\n")
                    times.write(b"%.6f\n" % time.monotonic())
                    await asyncio.sleep(wait_seconds)
                    writer.write(ANSWER)
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


@contextlib.contextmanager
def recording_server(log: Path, wait_seconds: float = 0.0) -> Iterator[str]:
    """URL of a running server whose log is one message key a line."""
    command = [sys.executable, __file__, str(log), str(wait_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/messages"
        finally:
            process.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2])))
