"""Erasure and export know every table that names units; opt-outs close the outbox's door."""

from datetime import UTC, datetime

import polars as pl
import pytest
from sqlalchemy import delete, select

from wavewise.store import Store, WaveRow, to_us
from wavewise.store.rows import Recorded
from wavewise.store.schema import metadata, opt_out
from wavewise.store.units import WHAT_ERASURE_DOES
from wavewise.workflow.run.export import FILES

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
    store.units.add(named, NOW)
    store.waves.open(WaveRow("w1", NOW), assigned)
    for unit in ("a", "b"):
        store.outbox.queue(message(unit), NOW)
    rows = store.outbox.claim("sms", "me", NOW, LEASE, 9)
    ids = [row.outbox_id for row in rows]
    store.outbox.begin_and_record("me", ids, [], NOW, LEASE)
    done = [Recorded(row.outbox_id, "sent", None, f"provider-{row.unit_id}") for row in rows]
    store.outbox.record("me", done, NOW)
    for unit in ("a", "b"):
        store.outbox.queue(message(unit, slot=1), NOW)
        receipt = {"channel": "sms", "state": "delivered", "at_utc_us": to_us(NOW)}
        named_so = {"receipt_id": f"provider-{unit}:delivered", "provider_id": f"provider-{unit}"}
        keyed = {"receipt_id": f"key-{unit}-0:read", "message_key": f"key-{unit}-0"}
        store.receipts.add(pl.DataFrame([{**receipt, **named_so}]), NOW)
        store.receipts.add(pl.DataFrame([{**receipt, **keyed, "state": "read"}]), NOW)
    return store


def everything(store: Store) -> str:
    """Every row of every table."""
    with store.reading() as connection:
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
    sent.units.erase("a", '{"name": null}', NOW)
    after = everything(sent)
    for gone in ("Rosalind of a", "provider-a", "key-a-0:read"):
        assert gone not in after
    for others in ("Rosalind of b", "provider-b", "key-b-0:read"):
        assert others in after
    fate = sent.deliveries.rows().filter(unit_id="a").sort("slot")
    assert fate["state"].to_list() == ["read", "cancelled"]
    assert fate["delivered_at_utc_us"].null_count() == 1


def refused(unit: str, channel: str | None) -> dict[str, object]:
    return {
        "opt_out_id": f"r-{unit}-{channel}",
        "unit_id": unit,
        "channel": channel,
        "source": "stop",
        "at_utc_us": 5,
        "received_at_utc_us": 5,
    }


@pytest.mark.parametrize(("channel", "closed"), [(None, True), ("sms", True), ("email", False)])
def test_an_opt_out_that_saw_no_message_still_closes_the_door(
    sent: Store, channel: str | None, closed: bool
) -> None:
    # An opt-out that came between rendering and queueing cancelled nothing: there was no row yet.
    with sent.writing() as connection:
        connection.execute(opt_out.insert().values(refused("a", channel)))
    claimed = sent.outbox.claim("sms", "me", NOW, LEASE, 9)
    assert [row.unit_id for row in claimed] == (["b"] if closed else ["a", "b"])
    sent.outbox.release("me")
    sent.outbox.sweep_leases(NOW)
    rows = sent.deliveries.rows().filter(slot=1).sort("unit_id")
    expected = ("cancelled", "refused") if closed else ("queued", None)
    assert rows.select("state", "reason").rows() == [expected, ("queued", None)]


def test_an_opt_out_after_the_claim_is_not_begun(sent: Store) -> None:
    ids = {row.unit_id: row.outbox_id for row in sent.outbox.claim("sms", "me", NOW, LEASE, 9)}
    with sent.writing() as connection:
        connection.execute(opt_out.insert().values(refused("a", None)))
    begun = sent.outbox.begin_and_record("me", list(ids.values()), [], NOW, LEASE)
    assert begun == {ids["b"]}
    with sent.writing() as connection:
        assert connection.scalar(select(opt_out.c.unit_id)) == "a"
        connection.execute(delete(opt_out))
    assert [row.unit_id for row in sent.outbox.claim("sms", "me", NOW, LEASE, 9)] == ["a"]
