"""What may have been taken is never said not to be; another message's id proves nothing."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from outbox_rows import queued
from wavewise.errors import StoreError
from wavewise.store import Store, WaveRow
from wavewise.store.engine import store_error
from wavewise.store.rows import Recorded, to_us

NOW = datetime(2023, 10, 9, 22, tzinfo=UTC)
UNITS = ["a", "b", "c", "d"]


@pytest.fixture
def ids(store: Store) -> dict[str, int]:
    """Unit: its message, begun by worker "me"."""
    store.units.add(pl.DataFrame({"unit_id": UNITS, "fields_json": ["{}"] * 4}).with_columns(
        pl.lit(None, pl.String).alias(name) for name in ("cluster", "time_zone", "language")
    ), NOW)  # fmt: skip
    drawn = pl.DataFrame({"unit_id": UNITS, "stratum": ["s"] * 4, "arm": ["x"] * 4})
    store.waves.open(WaveRow("one", NOW), drawn)
    store.outbox.queue(queued(UNITS, ["x"] * 4), NOW)
    return begin(store, "me", 4)


def begin(store: Store, owner: str, n: int) -> dict[str, int]:
    rows = store.outbox.claim("sms", owner, NOW + timedelta(hours=1), 60.0, n)
    ids = {row.unit_id: row.outbox_id for row in rows}
    store.outbox.begin_and_record(owner, ids.values(), [], NOW, 60.0)
    return ids


def states(store: Store) -> dict[str, str]:
    return dict(store.deliveries.rows().select("unit_id", "state").iter_rows())


def test_a_doubtful_message_that_fails_or_is_cancelled_is_unknown(
    store: Store, ids: dict[str, int]
) -> None:
    again = [Recorded(ids[u], "queued", "503", next_at_utc_us=0, is_doubtful=True) for u in "ab"]
    clear = [Recorded(ids[u], "queued", "429", next_at_utc_us=0) for u in "cd"]
    store.outbox.record("me", [*again, *clear], NOW)
    ids = begin(store, "you", 4)
    failed = [Recorded(ids[unit], "failed", "rejected") for unit in "ac"]
    waiting = [Recorded(ids[unit], "queued", "429", next_at_utc_us=0) for unit in "bd"]
    store.outbox.record("you", [*failed, *waiting], NOW)
    assert store.outbox.cancel("cancelled on request", NOW) == 2
    assert states(store) == {"a": "unknown", "b": "unknown", "c": "failed", "d": "cancelled"}
    reasons = dict(store.deliveries.rows().select("unit_id", "reason").iter_rows())
    assert reasons["a"] == "may have gone out before, then: rejected"
    assert reasons["b"] == "may have gone out before, then: cancelled on request"


def test_what_was_sent_again_on_request_stays_doubtful(store: Store, ids: dict[str, int]) -> None:
    store.outbox.record("me", [Recorded(ids["a"], "unknown", "no answer in time")], NOW)
    assert store.outbox.stranded("unknown", "one")["outbox_id"].to_list() == [ids["a"]]
    assert store.outbox.bring_back([ids["a"]], NOW, to_us(NOW), None) == 1
    again = begin(store, "you", 1)
    store.outbox.record("you", [Recorded(again["a"], "failed", "rejected")], NOW)
    assert states(store)["a"] == "unknown"


def test_an_id_that_two_queries_give_proves_nothing(store: Store, ids: dict[str, int]) -> None:
    store.outbox.record(
        "me", [Recorded(i, "unknown", "no answer in time") for i in ids.values()], NOW
    )
    store.outbox.record(None, [Recorded(ids[u], "delivered", None, "SM1") for u in "ab"], NOW)
    store.outbox.record(None, [Recorded(ids["c"], "sent", None, "SM2")], NOW)
    assert states(store) == dict.fromkeys("abd", "unknown") | {"c": "sent"}
    store.outbox.record(None, [Recorded(ids["d"], "delivered", None, "SM2")], NOW)
    assert states(store)["d"] == "unknown"  # that one is c's


def test_a_providers_own_answer_goes_before_what_a_query_found(
    store: Store, ids: dict[str, int]
) -> None:
    store.outbox.record("me", [Recorded(ids["a"], "unknown", "no answer in time")], NOW)
    store.outbox.record(None, [Recorded(ids["a"], "delivered", None, "SM1")], NOW)
    assert states(store)["a"] == "delivered"
    store.outbox.record("me", [Recorded(ids["b"], "sent", None, "SM1")], NOW)
    row = store.deliveries.rows().filter(unit_id="a").row(0, named=True)
    assert (row["state"], row["provider_id"], row["delivered_at_utc_us"]) == ("unknown", None, None)
    assert states(store)["b"] == "sent"


def test_a_receipt_by_an_id_that_several_carry_moves_none(
    store: Store, ids: dict[str, int]
) -> None:
    store.outbox.record("me", [Recorded(ids[u], "sent", None, "same") for u in "ab"], NOW)
    store.outbox.record("me", [Recorded(ids["c"], "sent", None, "own")], NOW)
    receipts = pl.DataFrame(
        {
            "receipt_id": ["1", "2", "3"],
            "channel": ["sms"] * 3,
            "provider_id": ["same", "same", "own"],
            "message_key": [None, "key-sms-b", "key-sms-d"],
            "state": ["delivered"] * 3,
            "at_utc_us": [to_us(NOW)] * 3,
        }
    )
    store.receipts.add(receipts, NOW)
    assert states(store) == {"a": "sent", "b": "delivered", "c": "sent", "d": "delivered"}


def test_a_held_channel_gives_one_probe_to_one_worker(store: Store) -> None:
    store.outbox.hold("sms", "the provider cannot be reached", 60.0, needs_person=False)
    assert [store.outbox.may_claim("sms", 60.0) for _ in range(2)] == ["nothing"] * 2
    assert store.outbox.may_claim("email", 60.0) == "all"
    store.outbox.probe_now(["sms"])
    given = [store.outbox.may_claim("sms", 60.0) for _ in range(3)]
    assert given == ["a probe", "nothing", "nothing"]
    store.outbox.hold("sms", "the provider answered 503", 0.0, needs_person=False)
    assert store.outbox.may_claim("sms", 60.0) == "nothing"  # a failed probe waits as long
    (hold,) = store.outbox.held()
    assert (hold.reason, hold.n_probes) == ("the provider answered 503", 1)
    assert store.outbox.unhold("sms")
    assert store.outbox.may_claim("sms", 60.0) == "all"
    assert not store.outbox.unhold("sms")


def test_a_lease_that_ends_too_far_ahead_is_over(store: Store, ids: dict[str, int]) -> None:
    """The clock was set back since."""
    assert len(ids) == 4
    assert store.outbox.sweep_leases(NOW - timedelta(days=1)) == (0, 4)
    assert set(states(store).values()) == {"unknown"}


@pytest.mark.parametrize(("code", "may_pass"), [
    ("SQLITE_BUSY", True), ("SQLITE_FULL", True), ("SQLITE_READONLY", False),
    ("SQLITE_CORRUPT", False), ("SQLITE_NOTADB", False),
])  # fmt: skip
def test_what_can_be_waited_for(code: str, may_pass: bool) -> None:
    error = Exception()
    error.sqlite_errorname = code  # type: ignore[attr-defined]
    found = store_error(error, "sqlite:///study.db")
    assert isinstance(found, StoreError)
    assert found.may_pass is may_pass
