"""Voice calls straight by SIP: telephone lines of this machine, each one baresip process."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from wavewise.errors import InputError, UnavailableError
from wavewise.fieldwork.channels.base import (
    Accepted,
    NotSent,
    Outgoing,
    Refused,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.settings import CHANNELS_FILE, ChannelSettings, Secrets
from wavewise.fieldwork.voice.baresip import BaresipLine, LineSettings, open_line
from wavewise.fieldwork.voice.call import make_script
from wavewise.fieldwork.voice.place_call import RING_SECONDS, CallResult, missed_calls, place_call
from wavewise.fieldwork.voice.prompts import PromptFolder, write_silence

__all__ = ["SipChannel", "open_channel"]

PROMPTS = "prompts"
SHORTEST_TIMEOUT_SECONDS = 120.0
PORTS_APART = 10  # SIP takes its neighbour for TLS
MOST_RINGING = 4  # at a time; who comes then is told that the line is busy
_UNANSWERED = {"no answer", "busy", "refused"}


@dataclass
class _Line:
    """A line of the pool, opened when it is first needed and again after it broke."""

    settings: LineSettings
    scratch: Path
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    line: BaresipLine | None = None

    async def opened(self) -> BaresipLine:
        if self.line is not None and not self.line.is_alive:
            await self.close()
        if self.line is None:
            silence = write_silence(self.scratch / "silence.wav")
            self.line = await self.stack.enter_async_context(open_line(self.settings, silence))
        return self.line

    async def close(self) -> None:
        self.line = None
        await self.stack.aclose()


class SipChannel:
    """Calls to telephone numbers that follow a study's call flows."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, password: str | None) -> None:
        self.name = settings.channel
        self._flows, self._domain = settings.flows, settings.option("domain")
        self._prompts = PromptFolder(settings.folder / PROMPTS)
        self._ring_seconds = float(settings.options.get("ring_seconds", RING_SECONDS))
        own = [_line(settings, password, i) for i in range(settings.concurrency + 1)]
        self._scratch = tempfile.TemporaryDirectory(prefix="wavewise-prompts-")
        # The first line is the one that people ring: no call of ours makes it busy.
        rung, *self._lines = [_Line(one, Path(self._scratch.name)) for one in own]
        rung.settings = replace(rung.settings, most_calls=MOST_RINGING, registers=True)
        self._rung = rung
        self._free: asyncio.Queue[_Line] = asyncio.Queue()
        for line in self._lines:
            self._free.put_nowait(line)

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Call once."""
        flow = outgoing.flow or self._flows.get(outgoing.content)
        if flow is None:
            return NotSent("the message has no call flow")
        try:
            script = make_script(outgoing.content, flow, outgoing.fields)
            if self._prompts.faults(script.prompts):
                return NotSent("a prompt is missing, or no line can play it")
        except InputError:
            return NotSent("a field of the call flow is missing")
        line = await self._free.get()
        try:
            opened = await line.opened()
            result = await place_call(
                opened,
                self._address(outgoing.address),
                script,
                self._prompts,
                line.scratch,
                ring_seconds=self._ring_seconds,
                on_record=outgoing.on_event,
            )
        except UnavailableError:
            return NotSent("no telephone line can be opened", retry=True, stops_channel=True)
        except (ConnectionError, TimeoutError):
            await line.close()
            return Unknown("the telephone line broke during the call")
        except asyncio.CancelledError:  # the call took too long: it must not go on by itself
            await line.close()
            raise
        finally:
            self._free.put_nowait(line)
        return _send_result(result)

    async def listen(self, rung: Callable[[str], Awaitable[None]]) -> None:
        """Tell of everybody who rings, until it is cancelled; a line that stops is opened again."""
        while True:
            try:
                async for caller in missed_calls(await self._rung.opened()):
                    await rung(caller)
            except (ConnectionError, TimeoutError):
                await self._rung.close()

    async def close(self) -> None:
        """Hang up every line."""
        lines = (self._rung, *self._lines)
        await asyncio.gather(*(line.close() for line in lines), return_exceptions=True)
        self._scratch.cleanup()

    def _address(self, address: str) -> str:
        return address if address.startswith("sip:") else f"sip:{address}@{self._domain}"


def open_channel(settings: ChannelSettings, secrets: Secrets) -> SipChannel:
    """The channel; it registers with a provider where there is a password."""
    settings.know_only(
        "user", "domain", "host", "sip_port", "control_port", "rtp_port", "ring_seconds"
    )
    if settings.timeout_seconds < SHORTEST_TIMEOUT_SECONDS:
        raise InputError(
            f"{CHANNELS_FILE}: found timeout_seconds = {settings.timeout_seconds:g} in "
            f"[{settings.channel}]; needed more than the longest call, at least "
            f"{SHORTEST_TIMEOUT_SECONDS:g}; add timeout_seconds = 900"
        )
    return SipChannel(settings, secrets.get("sip_password"))


def _line(settings: ChannelSettings, password: str | None, i: int) -> LineSettings:
    def port(name: str, first: int, apart: int) -> int:
        return int(settings.options.get(name, first)) + i * apart

    rtp = port("rtp_port", 16_000, 100)
    return LineSettings(
        user=settings.option("user"),
        domain=settings.option("domain"),
        host=settings.option("host", "127.0.0.1"),
        sip_port=port("sip_port", 15_060, PORTS_APART),
        control_port=port("control_port", 14_444, PORTS_APART),
        rtp_ports=(rtp, rtp + 80),
        password=password,
        registers=False,
    )


def _send_result(result: CallResult) -> SendResult:
    if result.was_answered:
        return Accepted(state="answered")
    if result.ended in _UNANSWERED:
        return NotSent(result.ended, unanswered=True)
    if result.ended == "no such number":
        return Refused("the number does not exist")
    return NotSent("the call could not be set up", unanswered=True)
