"""Whether a process that stays can store events and sends, what it has to show, what time it is."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import polars as pl

from wavewise.errors import StoreError
from wavewise.shared.log import log
from wavewise.store.rows import to_us
from wavewise.workflow.study import REAL_CLOCK, Study

__all__ = ["Pulse", "WorkerClock", "health", "metrics"]

# Longer than the messages of a large wave take to be written down, meanwhile nothing is sent.
SLOWEST_SECONDS = 120.0
_JUMP = timedelta(seconds=5)


class Pulse:
    """When a worker last went round; any thread may look."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def beat(self) -> None:
        """The worker goes round, and its database answers."""
        self._at = time.monotonic()

    @property
    def age_seconds(self) -> float:
        """How long ago that was."""
        return time.monotonic() - self._at


class WorkerClock:
    """The time for a worker: the database server's, whatever its own machine shows.

    A clock that jumps is told of; a file of SQLite has no other clock than the machine's.
    """

    def __init__(self, study: Study) -> None:
        self._own, self._store = study.clock, study.store
        self._is_real = study.clock is REAL_CLOCK
        self._ahead = timedelta(0)
        self._last = self._own(), time.monotonic()
        self.set_right()

    def __call__(self) -> datetime:
        """The time now."""
        return self._own() + self._ahead

    def set_right(self) -> None:
        """Compare with the database's clock, and with the time that has passed."""
        if not self._is_real:
            return
        before, passed = self._last[0], time.monotonic() - self._last[1]
        own = self._own()
        self._last = own, time.monotonic()
        jump = own - before - timedelta(seconds=passed)
        if abs(jump) > _JUMP:
            way = "forward (or the machine slept)" if jump > timedelta(0) else "back"
            log(f"the clock was set {way}", seconds=round(abs(jump).total_seconds(), 1))
        theirs = self._store.server_time()
        if theirs is None:
            return
        ahead = theirs - own
        if abs(ahead - self._ahead) > _JUMP:
            seconds = round(-ahead.total_seconds(), 1)
            log("the clock differs from the database's, which counts", seconds_ahead=seconds)
        self._ahead = ahead


def health(study: Study, pulse: Pulse | None = None) -> dict[str, str]:
    """What keeps events from being stored, or due messages from being sent; empty where nothing."""
    wrong: dict[str, str] = {}
    try:
        study.store.beat("health", study.clock())
        due = set(study.store.deliveries.due_by_channel(study.clock())["channel"])
        held = [one for one in study.store.outbox.held() if one.channel in due]
    except StoreError as error:
        return {"events": str(error)}
    if pulse is None:
        return wrong
    if pulse.age_seconds > SLOWEST_SECONDS:
        wrong["sending"] = f"the worker stands still since {pulse.age_seconds:.0f} seconds"
    elif held:
        wrong["sending"] = "; ".join(f"channel {h.channel} is held: {h.reason}" for h in held)
    return wrong


# Counts for a monitor, in the text form of Prometheus.


def metrics(study: Study, pulse: Pulse | None = None) -> str:
    """Numbers of messages, events and opt-outs, ages in seconds, held channels."""
    return "\n".join(_lines(study, pulse)) + "\n"


def _lines(study: Study, pulse: Pulse | None) -> Iterator[str]:
    now, store = study.clock(), study.store
    counts = store.deliveries.counts()
    due = store.deliveries.due_by_channel(now)
    ages = [(row["channel"], (to_us(now) - row["first_us"]) / 1e6) for row in due.to_dicts()]
    by_channel = [((("channel", name),), n) for name, n, _ in due.iter_rows()]
    yield from _gauge("due_messages", "Due, and not sent.", by_channel)
    yield from _gauge(
        "queue_age_seconds",
        "Since the first message that waits was due.",
        [((("channel", name),), age) for name, age in ages],
    )
    by_state = counts.group_by("channel", "state").agg(pl.col("n").sum()).sort("channel", "state")
    yield from _gauge(
        "messages",
        "By channel and state.",
        [((("channel", c), ("state", s)), n) for c, s, n in by_state.iter_rows()],
    )
    for state in ("failed", "unknown"):
        rows = counts.filter(state=state).group_by("channel", "reason").agg(pl.col("n").sum())
        yield from _gauge(
            f"{state}_messages",
            f"{state.capitalize()}, by reason.",
            [
                ((("channel", c), ("reason", r or "")), n)
                for c, r, n in rows.sort("channel", "reason").iter_rows()
            ],
        )
    held = [((("channel", h.channel), ("reason", h.reason)), 1) for h in store.outbox.held()]
    yield from _gauge("held_channel", "Channels whose provider takes nothing.", held)
    last = [
        ((("channel", name),), at / 1e6) for name, at in store.deliveries.last_sent().iter_rows()
    ]
    yield from _gauge("last_send_timestamp_seconds", "When a message was last taken.", last)
    yield from _gauge("events", "Events that are kept.", [((), store.events.count())])
    refusals = store.opt_outs.all().height
    yield from _gauge("opt_outs", "Opt-outs that are kept.", [((), refusals)])
    if pulse is not None:
        text = "Since the sending worker last went round."
        yield from _gauge("worker_pulse_seconds", text, [((), pulse.age_seconds)])


def _gauge(
    name: str, text: str, rows: Sequence[tuple[tuple[tuple[str, str], ...], float]]
) -> Iterator[str]:
    yield f"# HELP wavewise_{name} {text}"
    yield f"# TYPE wavewise_{name} gauge"
    for labels, value in rows:
        shown = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels)
        yield f"wavewise_{name}{{{shown}}} {value}" if shown else f"wavewise_{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
