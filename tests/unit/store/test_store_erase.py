"""Erasure and export know every table that names units; refusals close the outbox's door."""

from datetime import UTC, datetime

import polars as pl
import pytest
from sqlalchemy import delete, select

from wavewise.store import Store, WaveRow, to_us
from wavewise.store.contact_schema import refusal
from wavewise.store.erase import WHAT_ERASURE_DOES
from wavewise.store.outbox_rows import Recorded
from wavewise.store.schema import metadata
from wavewise.workflow.export import FILES

NOW = datetime(2026, 11, 25, tzinfo=UTC)
LEASE = 60.0
UNIT_TABLES = {table.name for table in metadata.tables.values() if "unit_id" in table.columns}


def message(unit: str, slot: int = 0) -> pl.DataFrame:
    due = to_us(NOW)
    row = {
        "wave_id": "w1",
        "unit_id": unit,
        "slot": slot,
        "message_key": f"key-{unit}-{slot}",
        "arm": "peers",
        "message_id": "peers",
        "channel": "sms",
        "content_json": f'{{"text":"Dear Rosalind of {unit}"}}',
        "time_zone": "UTC",
        "due_at_utc_us": due,
        "next_at_utc_us": due,
        "state": "queued",
    }
    return pl.DataFrame([row])


@pytest.fixture
def sent(store: Store, units: pl.DataFrame, assigned: pl.DataFrame) -> Store:
    """Two units whose first message went out, with receipts, and whose second one waits."""
    named = units.with_columns(fields_json=pl.lit('{"name": "Rosalind"}'))
    store.add_units(named, NOW)
    store.open_wave(WaveRow("w1", NOW), assigned)
    for unit in ("a", "b"):
        store.queue_messages(message(unit), NOW)
    rows = store.claim_messages("sms", "me", NOW, LEASE, 9)
    ids = [row.outbox_id for row in rows]
    store.begin_and_record("me", ids, [], NOW, LEASE)
    done = [Recorded(row.outbox_id, "sent", None, f"provider-{row.unit_id}") for row in rows]
    store.record_results("me", done, NOW)
    for unit in ("a", "b"):
        store.queue_messages(message(unit, slot=1), NOW)
        news = {"channel": "sms", "state": "delivered", "at_utc_us": to_us(NOW)}
        named_so = {"receipt_id": f"provider-{unit}:delivered", "provider_id": f"provider-{unit}"}
        keyed = {"receipt_id": f"key-{unit}-0:read", "message_key": f"key-{unit}-0"}
        store.add_receipts(pl.DataFrame([{**news, **named_so}]), NOW)
        store.add_receipts(pl.DataFrame([{**news, **keyed, "state": "read"}]), NOW)
    return store


def everything(store: Store) -> str:
    """Every row of every table."""
    with store._reading() as connection:
        tables = metadata.sorted_tables
        return "\n".join(
            f"{table.name} {tuple(row)}"
            for table in tables
            for row in connection.execute(table.select())
        )


def test_no_table_that_names_units_is_forgotten() -> None:
    assert set(WHAT_ERASURE_DOES) == UNIT_TABLES
    assert set(FILES) == UNIT_TABLES


def test_nothing_of_what_a_unit_was_told_is_left(sent: Store) -> None:
    before = everything(sent)
    assert "Rosalind of a" in before
    assert "provider-a" in before
    sent.erase_unit("a", '{"name": null}', NOW)
    after = everything(sent)
    for gone in ("Rosalind of a", "provider-a", "key-a-0:read"):
        assert gone not in after
    for others in ("Rosalind of b", "provider-b", "key-b-0:read"):
        assert others in after
    fate = sent.outbox_rows().filter(unit_id="a").sort("slot")
    assert fate["state"].to_list() == ["read", "cancelled"]
    assert fate["delivered_at_utc_us"].null_count() == 1


def refused(unit: str, channel: str | None) -> dict[str, object]:
    return {
        "refusal_id": f"r-{unit}-{channel}",
        "unit_id": unit,
        "channel": channel,
        "source": "stop",
        "at_utc_us": 5,
        "received_at_utc_us": 5,
    }


@pytest.mark.parametrize(("channel", "closed"), [(None, True), ("sms", True), ("email", False)])
def test_a_refusal_that_saw_no_message_still_closes_the_door(
    sent: Store, channel: str | None, closed: bool
) -> None:
    # A refusal that came between rendering and queueing cancelled nothing: there was no row yet.
    with sent._writing() as connection:
        connection.execute(refusal.insert().values(refused("a", channel)))
    claimed = sent.claim_messages("sms", "me", NOW, LEASE, 9)
    assert [row.unit_id for row in claimed] == (["b"] if closed else ["a", "b"])
    sent.release_messages("me")
    sent.sweep_leases(NOW)
    rows = sent.outbox_rows().filter(slot=1).sort("unit_id")
    expected = ("cancelled", "refused") if closed else ("queued", None)
    assert rows.select("state", "reason").rows() == [expected, ("queued", None)]


def test_a_refusal_after_the_claim_is_not_begun(sent: Store) -> None:
    ids = {row.unit_id: row.outbox_id for row in sent.claim_messages("sms", "me", NOW, LEASE, 9)}
    with sent._writing() as connection:
        connection.execute(refusal.insert().values(refused("a", None)))
    begun = sent.begin_and_record("me", list(ids.values()), [], NOW, LEASE)
    assert begun == {ids["b"]}
    with sent._writing() as connection:
        assert connection.scalar(select(refusal.c.unit_id)) == "a"
        connection.execute(delete(refusal))
    assert [row.unit_id for row in sent.claim_messages("sms", "me", NOW, LEASE, 9)] == ["a"]
