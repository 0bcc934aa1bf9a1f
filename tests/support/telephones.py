"""Telephones on loopback for tests: sounds to play, a phone that answers and presses keys."""

import asyncio
import atexit
import math
import shutil
import socket
import struct
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from system_packages import lacking
from wavewise.fieldwork.voice.baresip import BaresipLine, LineSettings, open_line

RATE_HZ = 8_000


def need_baresip() -> None:
    if shutil.which("baresip") is None:
        lacking("baresip-core")


def write_tone(path: Path, hertz: float, seconds: float) -> None:
    """A sound of one pitch: what was heard can be told apart by it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n = int(RATE_HZ * seconds)
    values = [int(12_000 * math.sin(2 * math.pi * hertz * i / RATE_HZ)) for i in range(n)]
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes(struct.pack(f"<{n}h", *values))


def heard(path: Path, hertz: list[float], seconds: float = 0.1) -> list[float]:
    """The pitches heard in a recording, in order, each run of the same pitch once (Goertzel)."""
    with wave.open(str(path), "rb") as sound:
        raw = sound.readframes(sound.getnframes())
        rate, channels = sound.getframerate(), sound.getnchannels()
    values = struct.unpack(f"<{len(raw) // 2}h", raw)[::channels]
    size, found = int(rate * seconds), []
    for start in range(0, len(values) - size + 1, size):
        part = values[start : start + size]
        power = {pitch: _power(part, pitch, rate) for pitch in hertz}
        best = max(power, key=power.get)
        if power[best] > 0.5 and (not found or found[-1] != best):
            found.append(best)
    return found


def _power(part: tuple[int, ...], pitch: float, rate: int) -> float:
    """Share of the part's energy at one pitch."""
    total = sum(v * v for v in part)
    if total < len(part) * 300**2:
        return 0.0
    c = sum(v * math.cos(2 * math.pi * pitch * i / rate) for i, v in enumerate(part))
    s = sum(v * math.sin(2 * math.pi * pitch * i / rate) for i, v in enumerate(part))
    return 2 * (c * c + s * s) / (len(part) * total)


class _Window:
    """Five hundred ports that are this process's alone: it holds the first as long as it lives.

    Ports further up (7,000, 12,000, 20,000 and 30,000) go with them and lie in nobody's window.
    """

    FIRST, SIZE, N = 20_000, 500, 13
    held: socket.socket | None = None
    at = 0

    @classmethod
    def take(cls, n: int) -> list[int]:
        if cls.held is None:
            cls.held = next(filter(None, map(cls._hold, range(cls.N))), None)
        assert cls.held is not None, "all windows of ports are taken"
        first = cls.held.getsockname()[1]
        if cls.at + 10 * (n + 1) > cls.SIZE:
            cls.at = 0
        found: list[int] = []
        while len(found) < n:
            cls.at += 10
            assert cls.at < cls.SIZE, "others use ports of this window"
            if is_free(first + cls.at):
                found.append(first + cls.at)
        return found

    @classmethod
    def _hold(cls, number: int) -> socket.socket | None:
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", cls.FIRST + number * cls.SIZE))
        except OSError:
            held.close()
            return None
        atexit.register(held.close)
        return held


def is_free(port: int) -> bool:
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(n: int) -> list[int]:
    """Ports that nobody uses, 10 apart: SIP takes its neighbour for TLS. No two calls share one."""
    return _Window.take(n)


@asynccontextmanager
async def a_line(
    name: str, folder: Path, *, auto_answer: bool = False
) -> AsyncIterator[tuple[BaresipLine, str]]:
    """A line and its address."""
    sip, control, rtp = free_ports(3)
    here = folder / name
    here.mkdir(parents=True, exist_ok=True)
    write_tone(here / "silence.wav", 0.0, 60.0)
    settings = LineSettings(
        user=name,
        domain=f"127.0.0.1:{sip}",
        sip_port=sip,
        control_port=control,
        rtp_ports=(rtp + 20_000, rtp + 20_040),
        record_to=here,
        auto_answer=auto_answer,
    )
    async with open_line(settings, here / "silence.wav") as line:
        yield line, f"sip:{name}@127.0.0.1:{sip}"


async def press_when_answered(phone: BaresipLine, keys: list[tuple[float, str]]) -> None:
    """Wait for a call to be established, then press each key after its pause in seconds."""
    while (await phone.next_event(20.0) or {}).get("type") != "CALL_ESTABLISHED":
        pass
    for pause, key in keys:
        await asyncio.sleep(pause)
        if key == "hang up":
            await phone.command("hangup")
        else:
            await phone.command("sndcode", key)
