"""A telephone line: one baresip process, told by its control socket what to do.

baresip plays sound from a file and reports each key. A line carries one call at a time; several
lines are several processes, so that a line that hangs takes no other with it.
"""

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wavewise.errors import UnavailableError

__all__ = ["BaresipLine", "LineSettings", "open_line"]

START_SECONDS = 15.0
STOP_SECONDS = 5.0
MODULES = ("g711.so", "aufile.so", "aubridge.so")
MODULE_FOLDERS = (
    "/usr/lib/baresip/modules",
    "/usr/local/lib/baresip/modules",
    "/opt/homebrew/lib/baresip/modules",
)


@dataclass(frozen=True)
class LineSettings:
    """Where a line listens, and as whom it calls."""

    user: str  # Name of the caller, the part of the SIP address before ``@``.
    domain: str  # Host (and port) of the SIP provider, or of this line where it calls directly.
    host: str = "127.0.0.1"  # Address of this machine's network card that the line binds to.
    # sip_port, control_port: UDP port of SIP; TCP port of the control socket, on loopback only.
    sip_port: int = 15060
    control_port: int = 14444
    rtp_ports: tuple[int, int] = (16_000, 16_100)  # Lowest and highest UDP port of sound.
    # For a provider that asks for one: the line then registers.
    password: str | None = field(default=None, repr=False)
    # Folder in which the line records what it hears and plays, for tests.
    record_to: Path | None = None
    auto_answer: bool = False  # Whether the line takes every call that comes in.
    # Most calls at a time; whoever calls then finds the line busy, and is not noticed.
    most_calls: int = 1
    registers: bool = True  # Whether calls to the number come to this line; with a password only.

    def account(self) -> str:
        """The line of baresip's file of accounts."""
        options = ["dtmfmode=rtpevent"]
        if self.password is None:
            options.append("regint=0")
        else:
            options += [f"auth_user={self.user}", f"auth_pass={self.password}"]
            options.append(f"regint={600 if self.registers else 0}")
        if self.auto_answer:
            options.append("answermode=auto")
        return f"<sip:{self.user}@{self.domain}>;" + ";".join(options) + "\n"

    def config(self, modules: Path, silence: Path) -> str:
        """The text of baresip's configuration."""
        lines = [
            f"sip_listen {self.host}:{self.sip_port}",
            f"net_interface {self.host}",
            f"rtp_ports {self.rtp_ports[0]}-{self.rtp_ports[1]}",
            "poll_method epoll",
            f"call_max_calls {self.most_calls}",
            f"audio_source aufile,{silence}",
            "audio_player aubridge,heard",
            "audio_alert aubridge,alert",
            *(f"{end}_srate 8000" for end in ("ausrc", "auplay")),
            *(f"{end}_channels 1" for end in ("ausrc", "auplay")),
            f"module_path {modules}",
            *(f"module {name}" for name in MODULES),
        ]
        if self.record_to is not None:
            lines += ["module sndfile.so", f"snd_path {self.record_to}"]
        lines += ["module_tmp account.so", "module_app menu.so", "module_app ctrl_tcp.so"]
        return "\n".join([*lines, f"ctrl_tcp_listen 127.0.0.1:{self.control_port}", ""])


class BaresipLine:
    """A running line: commands go in, events come out in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._listening = asyncio.create_task(self._listen())
        self._n_sent = 0

    @property
    def is_alive(self) -> bool:
        """Whether the process still answers."""
        return not self._listening.done()

    async def command(self, name: str, parameters: str = "", wait_seconds: float = 10.0) -> bool:
        """Whether the line took a command; names are those of baresip's menu."""
        self._n_sent += 1
        token = str(self._n_sent)
        answer = asyncio.get_running_loop().create_future()
        self._answers[token] = answer
        text = json.dumps({"command": name, "params": parameters, "token": token}).encode()
        self._writer.write(b"%d:%s," % (len(text), text))
        await self._writer.drain()
        try:
            return bool((await asyncio.wait_for(answer, wait_seconds)).get("ok"))
        finally:
            del self._answers[token]

    async def next_event(self, wait_seconds: float | None = None) -> dict[str, Any] | None:
        """The next event of the line, or None where none came in time."""
        try:
            event = await asyncio.wait_for(self.events.get(), wait_seconds)
        except TimeoutError:
            return None
        if event.get("type") == "LINE_STOPPED":
            raise ConnectionError("the telephone line stopped")
        return event

    def forget_events(self) -> None:
        """Drop the events of a call that is over."""
        while not self.events.empty():
            self.events.get_nowait()

    async def close(self) -> None:
        """End the listening; the process is ended by :func:`open_line`."""
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        self._writer.close()

    async def _listen(self) -> None:
        try:
            while True:
                message = await self._read_message()
                if message.get("response"):
                    answer = self._answers.get(str(message.get("token")))
                    if answer is not None and not answer.done():
                        answer.set_result(message)
                else:
                    self.events.put_nowait(message)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            self.events.put_nowait({"type": "LINE_STOPPED"})
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("the telephone line stopped"))

    async def _read_message(self) -> dict[str, Any]:
        """One netstring of JSON: its length, a colon, the text, a comma."""
        length = (await self._reader.readuntil(b":"))[:-1]
        text = await self._reader.readexactly(int(length) + 1)
        message: dict[str, Any] = json.loads(text[:-1])
        return message


@asynccontextmanager
async def open_line(settings: LineSettings, silence: Path) -> AsyncIterator[BaresipLine]:
    """A line that can call, for as long as the block lasts."""
    program = shutil.which("baresip")
    modules = next((Path(f) for f in MODULE_FOLDERS if Path(f).is_dir()), None)
    if program is None or modules is None:
        raise UnavailableError(
            "voice calls by SIP: found no baresip; needed its Debian package; "
            "apt-get install baresip-core"
        )
    with tempfile.TemporaryDirectory(prefix="wavewise-line-") as folder:
        home = Path(folder)
        (home / "config").write_text(settings.config(modules, silence), encoding="utf-8")
        accounts = home / "accounts"
        accounts.touch(mode=0o600)  # it may hold a password
        accounts.write_text(settings.account(), encoding="utf-8")
        (home / "contacts").touch()
        with (home / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *_with_us(),
                program,
                "-f",
                folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                line = BaresipLine(*await _connect(settings.control_port, process))
                try:
                    yield line
                finally:
                    await line.close()
            finally:
                await _end(process)


def _with_us() -> tuple[str, ...]:
    """What ends a line with this process, however that ends: a line left over holds its ports."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return () if setpriv is None else (setpriv, "--pdeathsig", "TERM", "--")


async def _connect(
    port: int, process: asyncio.subprocess.Process
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    end = asyncio.get_running_loop().time() + START_SECONDS
    while asyncio.get_running_loop().time() < end and process.returncode is None:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
    raise UnavailableError(
        f"voice calls by SIP: found that baresip does not answer on its control port {port}; "
        "needed a free port for control, SIP and sound; give others in the channel's settings"
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
