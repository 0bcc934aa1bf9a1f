"""Turns of a channel: reserved once each, by whoever asks, at the channel's rate."""

import threading
import time
from datetime import UTC, datetime
from itertools import pairwise

import polars as pl
import pytest
from sqlalchemy import select, update

import wavewise.store.outbox as outbox_module
from wavewise.store import Store, WaveRow, to_us
from wavewise.store.schema import channel_rate

NOW = datetime(2023, 10, 9, 22, tzinfo=UTC)


def n_rows(store: Store) -> int:
    with store.reading() as connection:
        return len(connection.execute(select(channel_rate)).all())


def test_turns_follow_each_other(store: Store) -> None:
    begun = time.monotonic()
    waits = [store.outbox.reserve_sends("sms", n, 0.1) for n in (1, 7, 1, 30)]
    passed = time.monotonic() - begun
    assert waits[0] == 0
    for wait, turns_before in zip(waits, (0, 1, 8, 9), strict=True):
        assert 10 * turns_before - passed - 0.01 <= wait <= 10 * turns_before
    # another channel has turns of its own
    assert store.outbox.reserve_sends("email", 5, 0.1) == 0
    assert n_rows(store) == 2


def test_an_idle_channel_saves_nothing_up(store: Store) -> None:
    store.outbox.reserve_sends("sms", 1, 20.0)
    time.sleep(0.3)
    begun = time.monotonic()
    waits = [store.outbox.reserve_sends("sms", 1, 0.1) for _ in range(2)]
    passed = time.monotonic() - begun
    assert waits[0] == 0
    assert 10 - passed - 0.01 <= waits[1] <= 10


def test_a_rate_that_divides_no_second_is_never_exceeded(store: Store) -> None:
    store.outbox.reserve_sends("sms", 1, 0.1)
    before = until(store)
    for _ in range(10):
        store.outbox.reserve_sends("sms", 1, 30.0)
    assert until(store) - before >= 10 * 1e6 / 30.0


def until(store: Store) -> int:
    with store.reading() as connection:
        return int(connection.execute(select(channel_rate.c.next_at_utc_us)).scalar_one())


@pytest.mark.parametrize(("hours", "waits"), [(0.5, True), (200, False)])
def test_a_clock_that_was_set_back_does_not_stop_a_channel(
    store: Store, hours: float, waits: bool
) -> None:
    store.outbox.reserve_sends("sms", 1, 10.0)
    with store.writing() as connection:
        later = channel_rate.c.next_at_utc_us + round(hours * 3.6e9)
        connection.execute(update(channel_rate).values(next_at_utc_us=later))
    assert (store.outbox.reserve_sends("sms", 1, 10.0) > 60) == waits


def test_workers_side_by_side_share_no_turn(shared_url: str) -> None:
    n_workers, n_each, size, rate = 4, 15, 3, 0.01
    begun = [0.0] * n_workers
    turns: list[float] = []
    Store.open(shared_url).close()

    def work(i: int) -> None:
        with Store.open(shared_url) as store:
            for _ in range(n_each):
                before = time.monotonic()
                wait = store.outbox.reserve_sends("sms", size, rate)
                begun[i] = max(begun[i], time.monotonic() - before)
                turns.append(before + wait)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(n_workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordered = sorted(turns)
    assert len(ordered) == n_workers * n_each
    gaps = [b - a for a, b in pairwise(ordered)]
    slack = max(begun) + 0.01
    assert min(gaps) >= size / rate - slack
    assert max(gaps) <= size / rate + slack


def queue(store: Store, units: pl.DataFrame, assigned: pl.DataFrame) -> None:
    due = to_us(NOW)
    texts = dict.fromkeys(("arm", "message_id", "channel"), "sms")
    rows = units.select(
        "unit_id",
        message_key="unit_id",
        **{name: pl.lit(text) for name, text in texts.items()},
        wave_id=pl.lit("w1"),
        slot=pl.lit(0, pl.Int64),
        content_json=pl.lit("{}"),
        time_zone=pl.lit("UTC"),
        due_at_utc_us=pl.lit(due),
        next_at_utc_us=pl.lit(due),
        state=pl.lit("queued"),
    )
    store.units.add(units, NOW)
    store.waves.open(WaveRow("w1", NOW), assigned)
    assert store.outbox.queue(rows, NOW) == 6


def test_claimed_messages_have_turns_and_a_lease_beyond_them(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    queue(store, units, assigned)
    first = store.outbox.claim("sms", "a", NOW, 5.0, 3, 0.01)
    second = store.outbox.claim("sms", "b", NOW, 5.0, 3, 0.01)
    assert [row.wait_seconds for row in first] == [0.0, 100.0, 200.0]
    waits = [row.wait_seconds for row in second]
    assert waits == pytest.approx([300.0, 400.0, 500.0], abs=5.0)
    assert store.outbox.claim("sms", "a", NOW, 5.0, 3, 0.01) == ()
    # nothing due reserves nothing: the next turn is the seventh
    assert store.outbox.reserve_sends("sms", 1, 0.01) == pytest.approx(600.0, abs=5.0)
    at = [datetime.fromtimestamp(NOW.timestamp() + s, UTC) for s in (304.0, 500.0, 610.0)]
    assert [store.outbox.sweep_leases(now)[0] for now in at] == [0, 3, 3]


def test_without_a_limit_the_table_is_not_touched(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    queue(store, units, assigned)
    rows = store.outbox.claim("sms", "a", NOW, 5.0, 6)
    assert [row.wait_seconds for row in rows] == [0.0] * 6
    assert n_rows(store) == 0


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_worker_whose_clock_is_off_neither_waits_nor_runs_ahead(
    shared_url: str, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """One worker's clock is hours off; both together take turns as one would."""
    rate, off_us = 50.0, hours * 3_600_000_000
    with Store.open(shared_url) as right, Store.open(shared_url) as wrong:
        reserve = outbox_module.reserve_turns

        def by_another_clock(connection, channel, n, rate_per_second, ahead_us=0):
            with monkeypatch.context() as patch:
                patch.setattr(outbox_module, "_ClockUs", lambda: outbox_clock() + off_us)
                return reserve(connection, channel, n, rate_per_second, ahead_us)

        outbox_clock = outbox_module._ClockUs
        begun, turns = time.monotonic(), []
        for _ in range(10):
            for store in (right, wrong):
                with monkeypatch.context() as patch:
                    if store is wrong:
                        patch.setattr(outbox_module, "reserve_turns", by_another_clock)
                    at = time.monotonic()
                    turns.append(at + store.outbox.reserve_sends("sms", 5, rate))
    slack = time.monotonic() - begun
    gaps = [b - a for a, b in pairwise(turns)]
    assert max(gaps) <= 5 / rate + slack
    # a clock that is ahead looks like time that has passed: once, the first turn is over for it
    n_kept = 18 if hours > 0 else 19
    assert turns[-1] - turns[0] >= n_kept * 5 / rate - slack
    assert turns[-1] - turns[0] <= 19 * 5 / rate + 2 * slack
