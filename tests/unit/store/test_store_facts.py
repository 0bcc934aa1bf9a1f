"""Facts of waves and measurements, alike on every database."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from wavewise.errors import InputError
from wavewise.store import Store, WaveRow

NOW = datetime(2023, 10, 9, tzinfo=UTC)
WAVE = WaveRow(
    wave_id="w", opened_at=NOW, version=None, exploratory=True, starts_at=NOW, details={}
)


def frozen(units: pl.DataFrame) -> pl.DataFrame:
    values = [f'{{"active":{"true" if i % 2 else "false"},"n":{i}}}' for i in range(units.height)]
    return units.select("unit_id", values_json=pl.Series(values))


def test_facts_are_written_with_the_draw_or_not_at_all(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    store.units.add(units, NOW)
    twice = pl.concat([frozen(units), frozen(units)])
    with pytest.raises(InputError, match="repeated units"):
        store.waves.open(WAVE, assigned, facts=twice)
    assert store.waves.get("w") is None
    store.waves.open(WAVE, assigned, facts=frozen(units))
    found = store.waves.facts("w")
    assert found["unit_id"].to_list() == sorted(units["unit_id"])
    assert found.schema == {"unit_id": pl.String, "active": pl.Boolean, "n": pl.Int64}
    store.waves.discard("w", NOW, {})
    store.waves.open(WAVE, assigned)
    assert store.waves.facts("w").is_empty()


def test_measurements_stay_in_the_order_in_which_they_came(
    store: Store, units: pl.DataFrame
) -> None:
    store.units.add(units, NOW)
    rows = units.select("unit_id", fields_json=pl.lit('{"age":7}'))
    store.units.measure(rows.head(2), NOW, as_of=date(2023, 11, 1))
    store.units.measure(rows.head(1), NOW, for_wave="w")
    found = store.units.measurements()
    assert found["as_of"].to_list() == ["2023-11-01", "2023-11-01", None]
    assert found["for_wave"].to_list() == [None, None, "w"]


def test_erasure_empties_what_only_messages_show(
    store: Store, units: pl.DataFrame, assigned: pl.DataFrame
) -> None:
    store.units.add(units, NOW)
    told = units.select("unit_id", values_json=pl.lit('{"active":true,"child_name":"Ana"}'))
    store.waves.open(WAVE, assigned, facts=told)
    store.units.measure(told.rename({"values_json": "fields_json"}), NOW, as_of=date(2023, 11, 1))
    store.units.erase("a", "{}", NOW, kept=["active"])
    facts = {row["unit_id"]: row for row in store.waves.facts("w").iter_rows(named=True)}
    assert facts["a"] == {"unit_id": "a", "active": True, "child_name": None}
    assert facts["b"]["child_name"] == "Ana"
    measured = store.units.measurements().filter(unit_id="a")["fields_json"].item()
    assert "Ana" not in measured


def test_batches_keep_to_kinds_and_times_however_kinds_are_written(
    store: Store, units: pl.DataFrame
) -> None:
    store.units.add(units, NOW)
    kinds = ["login", "100%", "it's", "login"]
    events = pl.DataFrame(
        {
            "event_id": ["1", "2", "3", "4"],
            "unit_id": ["a"] * 4,
            "kind": kinds,
            "at_utc_us": [10, 20, 30, 40],
        }
    )
    store.events.add(events, NOW)
    columns = ("unit_id", "kind", "at_utc_us")
    for kind, n in (("login", 2), ("100%", 1), ("it's", 1), ("none", 0)):
        found = list(store.events.batches(columns, [kind]))
        assert sum(batch.height for batch in found) == n
        assert store.events.was_seen(kind) == (n > 0)
    (batch,) = store.events.batches(columns, ["login"], 11, 41)
    assert batch["at_utc_us"].to_list() == [40]
    received = int(NOW.timestamp() * 1e6)
    assert store.events.received_until(["login"]) == received
    assert store.events.received_since(["login"], received)
    assert not store.events.received_since(["login"], received + 1)
