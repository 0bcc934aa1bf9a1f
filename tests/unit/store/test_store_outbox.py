"""The outbox: unique rows, leases, what may be begun, receipts in any order."""

import itertools
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from wavewise.store import Store, WaveRow, to_us
from wavewise.store.outbox_rows import Recorded

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
def outbox(store: Store, units: pl.DataFrame, assigned: pl.DataFrame) -> Store:
    store.add_units(units, NOW)
    store.open_wave(WaveRow("w1", NOW), assigned)
    assert store.queue_messages(messages(units["unit_id"].to_list()), NOW) == 6
    return store


def states(store: Store) -> dict[str, int]:
    counts = store.outbox_counts().group_by("state").agg(pl.col("n").sum())
    return dict(counts.iter_rows())


def begun(store: Store, owner: str, n: int = 6) -> list[int]:
    ids = [r.outbox_id for r in store.claim_messages("push", owner, NOW, LEASE, n)]
    return sorted(store.begin_and_record(owner, ids, [], NOW, LEASE))


def test_a_message_is_queued_once(outbox: Store, units: pl.DataFrame) -> None:
    again = messages(units["unit_id"].to_list()).with_columns(
        message_key="other-" + pl.col("unit_id")
    )
    assert outbox.queue_messages(again, NOW) == 0
    assert outbox.queue_messages(messages(["a", "b"], slot=1), NOW) == 2
    assert outbox.outbox_rows("w1").height == 8


def test_two_workers_claim_different_rows(outbox: Store) -> None:
    one = outbox.claim_messages("push", "one", NOW, LEASE, 4)
    two = outbox.claim_messages("push", "two", NOW, LEASE, 4)
    assert (len(one), len(two)) == (4, 2)
    assert not {r.outbox_id for r in one} & {r.outbox_id for r in two}
    assert one[0].content == {"text": "ñ"}
    assert outbox.claim_messages("sms", "two", NOW, LEASE, 4) == ()


def test_not_before_its_time_and_not_after_it(outbox: Store) -> None:
    later = to_us(NOW + timedelta(hours=1))
    outbox.queue_messages(messages(["a"], 1, next_at_utc_us=later), NOW)
    outbox.queue_messages(messages(["b"], 2, expires_at_utc_us=to_us(NOW)), NOW)
    assert len(outbox.claim_messages("push", "one", NOW, LEASE, 99)) == 6
    assert outbox.expired_messages(NOW, 9).height == 1


def test_a_lease_that_ends_frees_what_was_not_begun_and_nothing_else(outbox: Store) -> None:
    rows = outbox.claim_messages("push", "one", NOW, LEASE, 4)
    started = outbox.begin_and_record("one", [rows[0].outbox_id], [], NOW, LEASE)
    later = NOW + timedelta(seconds=LEASE + 1)
    assert outbox.sweep_leases(NOW) == (0, 0)
    assert outbox.sweep_leases(later) == (3, 1)
    assert states(outbox) == {"queued": 5, "unknown": 1}
    # the worker lives after all: what it learned counts
    outbox.record_results("one", [Recorded(*started, "sent", provider_id="p1")], later)
    assert states(outbox) == {"queued": 5, "sent": 1}


def test_what_was_taken_over_is_not_begun_by_the_first(outbox: Store) -> None:
    rows = outbox.claim_messages("push", "one", NOW, LEASE, 6)
    later = NOW + timedelta(seconds=LEASE + 1)
    outbox.sweep_leases(later)
    outbox.claim_messages("push", "two", later, LEASE, 6)
    assert outbox.begin_and_record("one", [r.outbox_id for r in rows], [], later, LEASE) == set()
    assert states(outbox) == {"leased": 6}


def test_a_refusal_stops_what_is_claimed_but_not_begun(outbox: Store) -> None:
    rows = outbox.claim_messages("push", "one", NOW, LEASE, 6)
    refused = [rows[0].unit_id, rows[1].unit_id]
    assert outbox.cancel_messages("refused", NOW, unit_ids=refused) == 2
    can = outbox.begin_and_record("one", [r.outbox_id for r in rows], [], NOW, LEASE)
    assert can == {r.outbox_id for r in rows[2:]}
    assert outbox.cancel_messages("stopped", NOW) == 0  # all others are on their way
    assert states(outbox) == {"cancelled": 2, "sending": 4}


@pytest.mark.parametrize("wave", ["w1", ""])
def test_pause_holds_claimed_ones_too(outbox: Store, wave: str) -> None:
    rows = outbox.claim_messages("push", "one", NOW, LEASE, 3)
    outbox.pause_messages(NOW, wave)
    outbox.pause_messages(NOW, wave)
    assert outbox.begin_and_record("one", [r.outbox_id for r in rows], [], NOW, LEASE) == set()
    assert outbox.claim_messages("push", "one", NOW, LEASE, 3) == ()
    assert states(outbox) == {"queued": 6}
    assert outbox.paused_waves() == (wave,)
    assert outbox.resume_messages(wave)
    assert not outbox.resume_messages(wave)
    assert len(outbox.claim_messages("push", "one", NOW, LEASE, 9)) == 6


def test_a_retry_waits(outbox: Store) -> None:
    ids = begun(outbox, "one", 1)
    wait = to_us(NOW + timedelta(minutes=1))
    outbox.record_results("one", [Recorded(ids[0], "queued", "busy", None, wait)], NOW)
    claimed = outbox.claim_messages("push", "one", NOW + timedelta(seconds=59), LEASE, 9)
    assert ids[0] not in {r.outbox_id for r in claimed}
    outbox.release_messages("one")
    claimed = outbox.claim_messages("push", "one", NOW + timedelta(seconds=60), LEASE, 9)
    assert {r.outbox_id: r.attempts for r in claimed}[ids[0]] == 1


def test_unknown_is_sent_again_on_request_only(outbox: Store) -> None:
    ids = begun(outbox, "one", 2)
    outbox.record_results("one", [Recorded(i, "unknown", "timed out") for i in ids], NOW)
    assert len(outbox.claim_messages("push", "one", NOW, LEASE, 9)) == 4
    assert [r.outbox_id for r in outbox.unknown_messages(9)] == ids
    assert outbox.resend_unknown(NOW, wave_id="w1") == 2
    again = outbox.claim_messages("push", "two", NOW, LEASE, 9)
    assert [r.outbox_id for r in again] == ids
    outbox.begin_and_record("two", ids, [], NOW, LEASE)
    # what the first worker says late, that it failed, says nothing of the second call
    outbox.record_results("one", [Recorded(ids[0], "failed", "no such number")], NOW)
    assert states(outbox) == {"leased": 4, "sending": 2}


NEWS = (("sent", 1), ("delivered", 2), ("read", 3), ("failed", 4))


def receipts(news: list[tuple[str, int]], **of: str) -> pl.DataFrame:
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
        for state, second in news
    ]
    texts = dict.fromkeys(("provider_id", "message_key", "reason"), pl.String)
    return pl.DataFrame(rows, schema_overrides=texts)


def test_receipts_in_any_order_before_or_after_the_answer(outbox: Store) -> None:
    """Every order of four receipts and the provider's answer ends in the same row."""
    ends = set()
    orders = list(itertools.permutations(range(5)))
    for number, order in enumerate(orders[::7]):
        slot = number + 1
        outbox.queue_messages(messages(["a"], slot, channel="push"), NOW)
        rows = outbox.claim_messages("push", "one", NOW, LEASE, 99)
        row = next(r for r in rows if r.slot == slot)
        outbox.begin_and_record("one", [row.outbox_id], [], NOW, LEASE)
        outbox.release_messages("one")
        name = f"p{slot}"
        for step in order:
            if step == 4:
                outbox.record_results(
                    "one", [Recorded(row.outbox_id, "sent", provider_id=name)], NOW
                )
            else:
                outbox.add_receipts(receipts([NEWS[step]], provider_id=name), NOW)
        end = outbox.outbox_rows().filter(slot=slot).row(0, named=True)
        kept = ("state", "reason", "sent_at_utc_us", "delivered_at_utc_us", "read_at_utc_us")
        ends.add(tuple(end[key] for key in kept))
    at = to_us(NOW)
    assert ends == {("read", None, at, at + 2_000_000, at + 3_000_000)}


def test_receipts_twice_of_unknown_messages_and_by_key(outbox: Store) -> None:
    ids = begun(outbox, "one", 1)
    outbox.record_results("one", [Recorded(ids[0], "unknown", "timed out")], NOW)
    key = outbox.outbox_rows().filter(state="unknown")["message_key"][0]
    news = receipts([("delivered", 2)], message_key=key)
    other = receipts([("delivered", 2)], provider_id="nobody's")
    added = outbox.add_receipts(pl.concat([news, other]), NOW)
    assert (added.n_new, added.n_unmatched, added.n_moved) == (2, 1, 1)
    added = outbox.add_receipts(pl.concat([news, other]), NOW)
    assert (added.n_new, added.n_repeated, added.n_moved) == (0, 2, 0)
    assert states(outbox) == {"delivered": 1, "queued": 5}
    assert outbox.n_waiting() == 5
    assert outbox.next_due_us() == to_us(NOW)


def test_erasure_takes_the_text_and_cancels(outbox: Store) -> None:
    outbox.erase_unit("a", "{}", NOW)
    row = outbox.outbox_rows().filter(unit_id="a").row(0, named=True)
    assert (row["state"], row["content_json"]) == ("cancelled", "{}")


def test_a_call_that_counts_for_nothing_leaves_the_number_of_attempts(outbox: Store) -> None:
    """A provider that refuses everything says nothing of the message."""
    first, second = begun(outbox, "one", 2)
    results = [
        Recorded(first, "queued", "the credentials are refused", is_attempt=False),
        Recorded(second, "queued", "try again"),
    ]
    outbox.record_results("one", results, NOW)
    outbox.pause_messages(NOW)
    outbox.resume_messages()
    rows = outbox.outbox_rows("w1").sort("outbox_id")
    attempts = dict(rows.select("outbox_id", "attempts").iter_rows())
    assert (attempts[first], attempts[second]) == (0, 1)
    # ten stops later it is still sent
    for _ in range(10):
        (again,) = [i for i in begun(outbox, "one") if i == first]
        outbox.record_results("one", [Recorded(again, "queued", "stopped", is_attempt=False)], NOW)
        outbox.release_messages("one")
    assert outbox.outbox_rows("w1").filter(outbox_id=first)["attempts"].item() == 0


def test_a_refusal_that_was_taken_back_brings_nothing_back_by_itself(outbox: Store) -> None:
    """What it cancelled stays so; what is queued after goes out, on this channel only."""
    word = {
        "refusal_id": "r",
        "unit_id": "a",
        "channel": None,
        "source": "stop keyword",
        "at_utc_us": to_us(NOW),
    }
    refusals = pl.DataFrame([word], schema_overrides={"channel": pl.String})
    assert outbox.add_refusals(refusals, NOW) == 1
    start = {
        "resumption_id": "s",
        "unit_id": "a",
        "channel": "push",
        "source": "start keyword",
        "at_utc_us": to_us(NOW) + 1,
    }
    later = messages(["a"], slot=1)
    outbox.queue_messages(pl.concat([later, messages(["a"], slot=2, channel="sms")]), NOW)
    assert outbox.claim_messages("push", "one", NOW, LEASE, 9)[0].unit_id != "a"
    outbox.release_messages("one")
    assert outbox.add_resumptions(pl.DataFrame([start]), NOW) == 1
    claimed = outbox.claim_messages("push", "two", NOW, LEASE, 9)
    assert [(row.unit_id, row.slot) for row in claimed if row.unit_id == "a"] == [("a", 1)]
    assert outbox.claim_messages("sms", "two", NOW, LEASE, 9) == ()
    first = outbox.outbox_rows().filter(unit_id="a", slot=0).select("state", "reason").row(0)
    assert first == ("cancelled", "refused")
