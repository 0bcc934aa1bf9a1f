"""Connections of strangers: how many, for how long, and what they may hold before they are known.

uvicorn waits for ever for the rest of a request, for the rest of a body and for a reader that does
not read. Here each of these has an end, and where connections run out, the one goes that has kept
the server waiting longest: whoever sends a whole request is served.
"""

import asyncio
import contextlib
import functools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

__all__ = ["Guesses", "Limits", "Server", "UnsignedBytes", "server_config"]

_SPARE_FILES = 256  # for the database, providers and files
_MOST_FILES = 16_384


@dataclass(frozen=True)
class Limits:
    """What a stranger may take up."""

    n_connections: int = 4_000  # Fewer where the system allows fewer open files.
    head_seconds: float = 10.0  # From a connection, or the answer before, to a whole head.
    # A body has these seconds, and one more for every so many bytes that have come.
    body_seconds: float = 20.0
    body_bytes_per_second: int = 8 << 10
    answer_seconds: float = 30.0  # During which nothing is taken of an answer.
    stop_seconds: float = 3.0  # For requests that are being answered, once the server stops.
    # Bodies that are read before their sender is known: one of them, and all of them together,
    # where those of up to 16 KiB do not count.
    unsigned_body_bytes: int = 1 << 20
    unsigned_bytes: int = 16 << 20
    # Wrong keys, tokens and signatures of one address before it has to wait.
    n_wrong: int = 30
    wrong_seconds: float = 60.0


class UnsignedBytes:
    """Memory that bodies of unknown senders take up together."""

    def __init__(self, most: int) -> None:
        self.n_free = most

    def take(self, n: int) -> bool:
        """Whether so many more may be held."""
        if n > self.n_free:
            return False
        self.n_free -= n
        return True

    def give_back(self, n: int) -> None:
        """Those are held no more."""
        self.n_free += n


class Guesses:
    """Wrong keys by address: after so many the address waits, but for what was right before."""

    _MOST_ADDRESSES = 10_000
    _MOST_KNOWN = 1_000

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._limits, self._now = limits, now
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # number, end of the wait
        self._right: OrderedDict[bytes, None] = OrderedDict()

    def must_wait(self, address: str, proof: bytes) -> bool:
        """Whether an address is not heard now with this proof of who it is."""
        n, ends = self._wrong.get(address, (0, 0.0))
        return n >= self._limits.n_wrong and self._now() < ends and proof not in self._right

    def note(self, address: str, proof: bytes, *, is_right: bool) -> None:
        """Keep how a proof turned out."""
        if is_right:
            self._right[proof] = None
            self._right.move_to_end(proof)
            _cut(self._right, self._MOST_KNOWN)
            return
        self._right.pop(proof, None)  # such as a key that was revoked
        n, ends = self._wrong.pop(address, (0, 0.0))
        now = self._now()
        fresh = now >= ends
        self._wrong[address] = (1 if fresh else n + 1, now + self._limits.wrong_seconds)
        _cut(self._wrong, self._MOST_ADDRESSES)


def _cut(kept: "OrderedDict[Any, Any]", most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)


class _Connection(H11Protocol):
    """One connection, with an end to every wait for the other side."""

    def __init__(
        self, *args: Any, limits: Limits, waiting: "OrderedDict[_Connection, None]", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._limits, self._waiting = limits, waiting
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self._limits.n_connections:
            oldest = next(iter(self._waiting))
            oldest.transport.abort()
            oldest.connection_gone()

    def handle_events(self) -> None:
        super().handle_events()
        if self._is_answering:
            self._end_wait_for_head()
            if self.cycle.more_body:
                self._waiting[self] = None  # the one that goes first where connections run out

    def on_response_complete(self) -> None:
        self._await_head()
        super().on_response_complete()

    def shutdown(self) -> None:
        if self._is_answering and self.cycle.more_body:
            self.transport.abort()  # who has not sent all by now keeps nobody waiting
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answer_timer = self.loop.call_later(self._limits.answer_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._answer_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection_gone()
        super().connection_lost(exc)

    def connection_gone(self) -> None:
        """No timer runs any more, and nobody waits for it."""
        self._end_wait_for_head()
        _cancel(self._answer_timer)
        self.connections.discard(self)

    @property
    def _is_answering(self) -> bool:
        # uvicorn declares no None, and begins with it
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _await_head(self) -> None:
        self._end_wait_for_head()
        self._waiting[self] = None
        self._head_timer = self.loop.call_later(self._limits.head_seconds, self.transport.abort)

    def _end_wait_for_head(self) -> None:
        _cancel(self._head_timer)
        self._waiting.pop(self, None)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class Server(uvicorn.Server):
    """A server within limits, which says at once that it was told to stop."""

    def __init__(self, app: Any, limits: Limits) -> None:
        super().__init__(server_config(app, limits))
        self.on_stop: Callable[[], object] = lambda: None  # called when a signal comes

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or Ctrl-C."""
        self.on_stop()
        super().handle_exit(sig, frame)


def server_config(app: Any, limits: Limits) -> uvicorn.Config:
    """How uvicorn runs, within these limits."""
    n = min(limits.n_connections, max(16, _open_files() - _SPARE_FILES))
    within = replace(limits, n_connections=n)
    waiting: OrderedDict[_Connection, None] = OrderedDict()
    connection = functools.partial(_Connection, limits=within, waiting=waiting)
    # The path of an unsubscribe link is a secret: requests are not logged.
    return uvicorn.Config(
        app,
        http=connection,  # type: ignore[arg-type]
        ws="none",
        backlog=2_048,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
    )


def _open_files() -> int:
    """How many files this process may open: as many as the system lets it ask for."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # no such limit on Windows
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return max(soft, wanted)
    return 512
