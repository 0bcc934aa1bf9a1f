"""The outbox: unique rows, leases, what may be begun, receipts in any order."""

import itertools
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from wavewise.store import Store, WaveRow, to_us
from wavewise.store.rows import Recorded

NOW = datetime(2023, 10, 9, 22, tzinfo=UTC)
LEASE = 60.0


def messages(units: list[str], slot: int = 0, **more: object) -> pl.DataFrame:
    due = to_us(NOW)
    values = {
        "wave_id": "w1",
        "slot": slot,
        "arm": "peers",
        "message_id": "peers",
        "channel": "push",
        "content_json": '{"text":"ñ"}',
        "time_zone": "America/Lima",
        "due_at_utc_us": due,
        "next_at_utc_us": due,
        "expires_at_utc_us": None,
        "state": "queued",
        "reason": None,
        **more,
    }
    rows = [{"unit_id": unit, "message_key": f"k-{slot}-{unit}", **values} for unit in units]
    return pl.DataFrame(rows, schema_overrides={"expires_at_utc_us": pl.Int64, "reason": pl.String})


@pytest.fixture
def store(store: Store, units: pl.DataFrame, assigned: pl.DataFrame) -> Store:
    store.units.add(units, NOW)
    store.waves.open(WaveRow("w1", NOW), assigned)
    assert store.outbox.queue(messages(units["unit_id"].to_list()), NOW) == 6
    return store


def states(store: Store) -> dict[str, int]:
    counts = store.deliveries.counts().group_by("state").agg(pl.col("n").sum())
    return dict(counts.iter_rows())


def begun(store: Store, owner: str, n: int = 6) -> list[int]:
    ids = [r.outbox_id for r in store.outbox.claim("push", owner, NOW, LEASE, n)]
    return sorted(store.outbox.begin_and_record(owner, ids, [], NOW, LEASE))


def test_a_message_is_queued_once(store: Store, units: pl.DataFrame) -> None:
    again = messages(units["unit_id"].to_list()).with_columns(
        message_key="other-" + pl.col("unit_id")
    )
    assert store.outbox.queue(again, NOW) == 0
    assert store.outbox.queue(messages(["a", "b"], slot=1), NOW) == 2
    assert store.deliveries.rows("w1").height == 8


def test_two_workers_claim_different_rows(store: Store) -> None:
    one = store.outbox.claim("push", "one", NOW, LEASE, 4)
    two = store.outbox.claim("push", "two", NOW, LEASE, 4)
    assert (len(one), len(two)) == (4, 2)
    assert not {r.outbox_id for r in one} & {r.outbox_id for r in two}
    assert one[0].content == {"text": "ñ"}
    assert store.outbox.claim("sms", "two", NOW, LEASE, 4) == ()


def test_not_before_its_time_and_not_after_it(store: Store) -> None:
    later = to_us(NOW + timedelta(hours=1))
    store.outbox.queue(messages(["a"], 1, next_at_utc_us=later), NOW)
    store.outbox.queue(messages(["b"], 2, expires_at_utc_us=to_us(NOW)), NOW)
    assert len(store.outbox.claim("push", "one", NOW, LEASE, 99)) == 6
    assert store.outbox.expired(NOW, 9).height == 1


def test_a_lease_that_ends_frees_what_was_not_begun_and_nothing_else(store: Store) -> None:
    rows = store.outbox.claim("push", "one", NOW, LEASE, 4)
    started = store.outbox.begin_and_record("one", [rows[0].outbox_id], [], NOW, LEASE)
    later = NOW + timedelta(seconds=LEASE + 1)
    assert store.outbox.sweep_leases(NOW) == (0, 0)
    assert store.outbox.sweep_leases(later) == (3, 1)
    assert states(store) == {"queued": 5, "unknown": 1}
    # the worker lives after all: what it learned counts
    store.outbox.record("one", [Recorded(*started, "sent", provider_id="p1")], later)
    assert states(store) == {"queued": 5, "sent": 1}


def test_what_was_taken_over_is_not_begun_by_the_first(store: Store) -> None:
    rows = store.outbox.claim("push", "one", NOW, LEASE, 6)
    later = NOW + timedelta(seconds=LEASE + 1)
    store.outbox.sweep_leases(later)
    store.outbox.claim("push", "two", later, LEASE, 6)
    assert (
        store.outbox.begin_and_record("one", [r.outbox_id for r in rows], [], later, LEASE) == set()
    )
    assert states(store) == {"leased": 6}


def test_an_opt_out_stops_what_is_claimed_but_not_begun(store: Store) -> None:
    rows = store.outbox.claim("push", "one", NOW, LEASE, 6)
    refused = [rows[0].unit_id, rows[1].unit_id]
    assert store.outbox.cancel("refused", NOW, unit_ids=refused) == 2
    can = store.outbox.begin_and_record("one", [r.outbox_id for r in rows], [], NOW, LEASE)
    assert can == {r.outbox_id for r in rows[2:]}
    assert store.outbox.cancel("stopped", NOW) == 0  # all others are on their way
    assert states(store) == {"cancelled": 2, "sending": 4}


@pytest.mark.parametrize("wave", ["w1", ""])
def test_pause_holds_claimed_ones_too(store: Store, wave: str) -> None:
    rows = store.outbox.claim("push", "one", NOW, LEASE, 3)
    store.outbox.pause(NOW, wave)
    store.outbox.pause(NOW, wave)
    assert (
        store.outbox.begin_and_record("one", [r.outbox_id for r in rows], [], NOW, LEASE) == set()
    )
    assert store.outbox.claim("push", "one", NOW, LEASE, 3) == ()
    assert states(store) == {"queued": 6}
    assert store.outbox.paused_waves() == (wave,)
    assert store.outbox.resume(wave)
    assert not store.outbox.resume(wave)
    assert len(store.outbox.claim("push", "one", NOW, LEASE, 9)) == 6


def test_a_retry_waits(store: Store) -> None:
    ids = begun(store, "one", 1)
    wait = to_us(NOW + timedelta(minutes=1))
    store.outbox.record("one", [Recorded(ids[0], "queued", "busy", None, wait)], NOW)
    claimed = store.outbox.claim("push", "one", NOW + timedelta(seconds=59), LEASE, 9)
    assert ids[0] not in {r.outbox_id for r in claimed}
    store.outbox.release("one")
    claimed = store.outbox.claim("push", "one", NOW + timedelta(seconds=60), LEASE, 9)
    assert {r.outbox_id: r.attempts for r in claimed}[ids[0]] == 1


def test_unknown_is_sent_again_on_request_only(store: Store) -> None:
    ids = begun(store, "one", 2)
    store.outbox.record("one", [Recorded(i, "unknown", "timed out") for i in ids], NOW)
    assert len(store.outbox.claim("push", "one", NOW, LEASE, 9)) == 4
    assert [r.outbox_id for r in store.outbox.unknown(9)] == ids
    assert store.outbox.resend_unknown(NOW, wave_id="w1") == 2
    again = store.outbox.claim("push", "two", NOW, LEASE, 9)
    assert [r.outbox_id for r in again] == ids
    store.outbox.begin_and_record("two", ids, [], NOW, LEASE)
    # what the first worker says late, that it failed, says nothing of the second call
    store.outbox.record("one", [Recorded(ids[0], "failed", "no such number")], NOW)
    assert states(store) == {"leased": 4, "sending": 2}


NEWS = (("sent", 1), ("delivered", 2), ("read", 3), ("failed", 4))


def receipts(receipt: list[tuple[str, int]], **of: str) -> pl.DataFrame:
    rows = [
        {
            "receipt_id": f"{of}-{state}",
            "channel": "push",
            "provider_id": of.get("provider_id"),
            "message_key": of.get("message_key"),
            "state": state,
            "reason": "broken" if state == "failed" else None,
            "at_utc_us": to_us(NOW) + second * 1_000_000,
        }
        for state, second in receipt
    ]
    texts = dict.fromkeys(("provider_id", "message_key", "reason"), pl.String)
    return pl.DataFrame(rows, schema_overrides=texts)


def test_receipts_in_any_order_before_or_after_the_answer(store: Store) -> None:
    """Every order of four receipts and the provider's answer ends in the same row."""
    ends = set()
    orders = list(itertools.permutations(range(5)))
    for number, order in enumerate(orders[::7]):
        slot = number + 1
        store.outbox.queue(messages(["a"], slot, channel="push"), NOW)
        rows = store.outbox.claim("push", "one", NOW, LEASE, 99)
        row = next(r for r in rows if r.slot == slot)
        store.outbox.begin_and_record("one", [row.outbox_id], [], NOW, LEASE)
        store.outbox.release("one")
        name = f"p{slot}"
        for step in order:
            if step == 4:
                store.outbox.record("one", [Recorded(row.outbox_id, "sent", provider_id=name)], NOW)
            else:
                store.receipts.add(receipts([NEWS[step]], provider_id=name), NOW)
        end = store.deliveries.rows().filter(slot=slot).row(0, named=True)
        kept = ("state", "reason", "sent_at_utc_us", "delivered_at_utc_us", "read_at_utc_us")
        ends.add(tuple(end[key] for key in kept))
    at = to_us(NOW)
    assert ends == {("read", None, at, at + 2_000_000, at + 3_000_000)}


def test_receipts_twice_of_unknown_messages_and_by_key(store: Store) -> None:
    ids = begun(store, "one", 1)
    store.outbox.record("one", [Recorded(ids[0], "unknown", "timed out")], NOW)
    key = store.deliveries.rows().filter(state="unknown")["message_key"][0]
    receipt = receipts([("delivered", 2)], message_key=key)
    other = receipts([("delivered", 2)], provider_id="nobody's")
    added = store.receipts.add(pl.concat([receipt, other]), NOW)
    assert (added.n_new, added.n_unmatched, added.n_moved) == (2, 1, 1)
    added = store.receipts.add(pl.concat([receipt, other]), NOW)
    assert (added.n_new, added.n_repeated, added.n_moved) == (0, 2, 0)
    assert states(store) == {"delivered": 1, "queued": 5}
    assert store.deliveries.n_waiting() == 5
    assert store.deliveries.next_due_us() == to_us(NOW)


def test_erasure_takes_the_text_and_cancels(store: Store) -> None:
    store.units.erase("a", "{}", NOW)
    row = store.deliveries.rows().filter(unit_id="a").row(0, named=True)
    assert (row["state"], row["content_json"]) == ("cancelled", "{}")


def test_a_call_that_counts_for_nothing_leaves_the_number_of_attempts(store: Store) -> None:
    """A provider that refuses everything says nothing of the message."""
    first, second = begun(store, "one", 2)
    results = [
        Recorded(first, "queued", "the credentials are refused", is_attempt=False),
        Recorded(second, "queued", "try again"),
    ]
    store.outbox.record("one", results, NOW)
    store.outbox.pause(NOW)
    store.outbox.resume()
    rows = store.deliveries.rows("w1").sort("outbox_id")
    attempts = dict(rows.select("outbox_id", "attempts").iter_rows())
    assert (attempts[first], attempts[second]) == (0, 1)
    # ten stops later it is still sent
    for _ in range(10):
        (again,) = [i for i in begun(store, "one") if i == first]
        store.outbox.record("one", [Recorded(again, "queued", "stopped", is_attempt=False)], NOW)
        store.outbox.release("one")
    assert store.deliveries.rows("w1").filter(outbox_id=first)["attempts"].item() == 0


def test_an_opt_out_that_was_taken_back_brings_nothing_back_by_itself(store: Store) -> None:
    """What it cancelled stays so; what is queued after goes out, on this channel only."""
    word = {
        "opt_out_id": "r",
        "unit_id": "a",
        "channel": None,
        "source": "stop keyword",
        "at_utc_us": to_us(NOW),
    }
    opt_outs = pl.DataFrame([word], schema_overrides={"channel": pl.String})
    assert store.opt_outs.add(opt_outs, NOW) == 1
    start = {
        "opt_in_id": "s",
        "unit_id": "a",
        "channel": "push",
        "source": "start keyword",
        "at_utc_us": to_us(NOW) + 1,
    }
    later = messages(["a"], slot=1)
    store.outbox.queue(pl.concat([later, messages(["a"], slot=2, channel="sms")]), NOW)
    assert store.outbox.claim("push", "one", NOW, LEASE, 9)[0].unit_id != "a"
    store.outbox.release("one")
    assert store.opt_outs.add_opt_ins(pl.DataFrame([start]), NOW) == 1
    claimed = store.outbox.claim("push", "two", NOW, LEASE, 9)
    assert [(row.unit_id, row.slot) for row in claimed if row.unit_id == "a"] == [("a", 1)]
    assert store.outbox.claim("sms", "two", NOW, LEASE, 9) == ()
    first = store.deliveries.rows().filter(unit_id="a", slot=0).select("state", "reason").row(0)
    assert first == ("cancelled", "refused")
