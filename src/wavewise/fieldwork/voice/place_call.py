"""A call over a line: dial, play, hear keys, go on, end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wavewise.fieldwork.channels.base import CallEvent
from wavewise.fieldwork.voice.baresip import BaresipLine
from wavewise.fieldwork.voice.call import Call, Script
from wavewise.fieldwork.voice.prompts import PromptFolder

__all__ = ["CallResult", "missed_calls", "place_call"]

Ended = Literal["by us", "by them", "no answer", "busy", "refused", "no such number", "failed"]

RING_SECONDS = 45.0
# Nobody stays longer on a call of this kind; a line must come back.
LONGEST_CALL_SECONDS = 3_600.0


@dataclass(frozen=True)
class CallResult:
    """What became of one call."""

    # "by us": the flow came to its end; "by them": they hung up; else why it was not answered.
    ended: Ended
    records: tuple[CallEvent, ...] = ()  # What the flow recorded.
    seconds: float = 0.0  # From the answer to the end; 0 where nobody answered.

    @property
    def was_answered(self) -> bool:
        """Whether somebody took the call."""
        return self.ended in {"by us", "by them"}


@dataclass
class _Ongoing:
    """One call while it lasts."""

    line: BaresipLine
    script: Script
    prompts: PromptFolder
    scratch: Path
    on_record: Callable[[CallEvent], None]
    n_recorded: int = 0

    async def play(self, call: Call) -> float:
        """Play the call's prompt from its beginning; how many seconds it lasts."""
        prompt = self.prompts.with_silence(call.prompt or "", self.scratch)
        await self.line.command("ausrc", f"aufile,{prompt.path}")
        return prompt.seconds

    def record(self, call: Call) -> None:
        """Report what the call recorded since the last time: kept even if the line dies now."""
        for record in call.records[self.n_recorded :]:
            self.on_record(record)
        self.n_recorded = len(call.records)


async def place_call(
    line: BaresipLine,
    address: str,
    script: Script,
    prompts: PromptFolder,
    scratch: Path,
    *,
    ring_seconds: float = RING_SECONDS,
    on_record: Callable[[CallEvent], None] = lambda _: None,
) -> CallResult:
    """What became of a call to an address."""
    line.forget_events()
    if not await line.command("dial", address):
        return CallResult("failed")
    refused = await _until_answered(line, ring_seconds)
    if refused is not None:
        return CallResult(refused)
    clock = asyncio.get_running_loop().time
    answered_at = clock()
    ongoing = _Ongoing(line, script, prompts, scratch, on_record)
    call, hung_up = await _follow(ongoing, answered_at + LONGEST_CALL_SECONDS)
    if not hung_up:
        await line.command("hangup")
        await _until_closed(line)
    seconds = clock() - answered_at
    on_record(CallEvent.of_call(seconds))
    return CallResult("by them" if hung_up else "by us", call.records, seconds)


async def missed_calls(line: BaresipLine) -> AsyncIterator[str]:
    """Addresses of those who ring, as they do, so that they can be called back.

    No call is taken, so that it costs the caller nothing (a missed call). Whoever hangs up
    before the line could reject the call counts all the same.
    """
    while True:
        event = await line.next_event()
        if event is not None and event.get("type") == "CALL_INCOMING":
            await line.command("hangup")
            yield str(event.get("peeruri", ""))


async def _until_answered(line: BaresipLine, ring_seconds: float) -> Ended | None:
    """None once the call is answered, else why it was not."""
    clock = asyncio.get_running_loop().time
    end = clock() + ring_seconds
    while (left := end - clock()) > 0:
        event = await line.next_event(left)
        kind = event.get("type") if event else None
        if kind == "CALL_ESTABLISHED":
            return None
        if kind == "CALL_CLOSED" and event is not None:
            return _why(str(event.get("param", "")))
    await line.command("hangup")
    await _until_closed(line)
    return "no answer"


def _why(reason: str) -> Ended:
    """Why a call was not answered, from the SIP status that closed it (RFC 3261, section 21)."""
    if reason.startswith("486") or reason.startswith("600"):
        return "busy"
    if reason.startswith("603"):
        return "refused"
    if reason.startswith(("408", "480", "487")):
        return "no answer"
    if reason.startswith(("404", "410", "484", "604")):
        return "no such number"
    return "failed"


async def _until_closed(line: BaresipLine) -> None:
    """Wait until the line is free: a new call on one that is not yet would be refused."""
    for _ in range(50):
        event = await line.next_event(2.0)
        if event is None or event.get("type") == "CALL_CLOSED":
            return


async def _follow(ongoing: _Ongoing, latest: float) -> tuple[Call, bool]:
    """The call at its end, and whether they hung up."""
    clock = asyncio.get_running_loop().time
    call = Call.begin(ongoing.script)
    ongoing.record(call)
    prompt_ends = clock() + await ongoing.play(call)
    while not call.is_over and clock() < latest:
        waits = 0.0 if call.current.is_announcement else call.current.timeout_seconds
        event = await ongoing.line.next_event(max(prompt_ends + waits - clock(), 0.0))
        before = call
        if event is None:
            call = call.prompt_ended() if call.current.is_announcement else call.silence()
        elif event.get("type") == "CALL_CLOSED":
            return call, True
        elif event.get("type") == "CALL_DTMF_START":
            call = call.press(str(event.get("param", "")))
        ongoing.record(call)
        if event is None or call.step != before.step or call.wrong_keys != before.wrong_keys:
            if not call.is_over:
                prompt_ends = clock() + await ongoing.play(call)
        elif call.digits != before.digits:
            prompt_ends = clock()  # the next digit has the whole time-out again
    return call, False
