"""Versions, units and results come back as they were given, on each database."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from wavewise.errors import InputError, StateError
from wavewise.store import Store, from_us, to_us
from wavewise.store.frames import decode_json_rows, encode_json_rows

NOW = datetime(2023, 10, 9, 17, 0, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))


def add_version(store: Store, number: int, waves_seen: tuple[str, ...] = ()) -> None:
    store.versions.add(
        number,
        NOW,
        "because of «ñ»",
        spec_toml="[study]\nid = 'x'",
        spec_json="{}",
        hash="ab" * 32,
        waves_seen=waves_seen,
    )


def test_time_is_whole_microseconds_both_ways() -> None:
    assert from_us(to_us(NOW)) == NOW
    assert to_us(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1


def test_time_without_zone_is_refused() -> None:
    with pytest.raises(InputError, match="without a time zone"):
        to_us(datetime(2023, 1, 1))


def test_versions_come_back(store: Store) -> None:
    add_version(store, 1)
    add_version(store, 2, ("w1", "w2"))
    first, second = store.versions.all()
    assert (first.number, first.is_addendum, first.reason) == (1, False, "because of «ñ»")
    assert (second.waves_seen, second.is_addendum) == (("w1", "w2"), True)
    assert first.created_at == NOW
    assert first.created_at.tzinfo is UTC
    assert first.spec_toml == "[study]\nid = 'x'"


@pytest.mark.parametrize("number", [0, 1, 3])
def test_version_out_of_turn_is_refused(store: Store, number: int) -> None:
    add_version(store, 1)
    with pytest.raises(StateError, match="needed version 2"):
        add_version(store, number)
    assert len(store.versions.all()) == 1


def test_units_come_back_in_the_order_of_ids(store: Store, units: pl.DataFrame) -> None:
    store.units.add(units, NOW)
    back = store.units.all()
    assert back["unit_id"].to_list() == sorted(units["unit_id"], key=str.encode)
    assert_frame_equal(back.drop("imported_at_utc_us"), units.sort("unit_id"))
    assert back["imported_at_utc_us"].unique().to_list() == [to_us(NOW)]
    assert store.units.count() == 6


def test_units_without_optional_columns(store: Store) -> None:
    store.units.add(pl.DataFrame({"unit_id": ["a"], "fields_json": ["{}"]}), NOW)
    assert store.units.all().row(0)[:5] == ("a", None, None, None, "{}")


def test_empty_text_is_not_null(store: Store) -> None:
    frame = pl.DataFrame({"unit_id": ["a", "b"], "cluster": ["", None], "fields_json": ["{}", ""]})
    store.units.add(frame, NOW)
    assert store.units.all()["cluster"].to_list() == ["", None]


def test_known_units_are_refused_whole(store: Store, units: pl.DataFrame) -> None:
    store.units.add(units.head(2), NOW)
    with pytest.raises(InputError, match="2 of 6 units imported already"):
        store.units.add(units, NOW)
    assert store.units.count() == 2


def test_repeated_units_are_refused_and_not_named(store: Store, units: pl.DataFrame) -> None:
    with pytest.raises(InputError, match="1 repeated unit ids") as caught:
        store.units.add(pl.concat([units, units.head(1)]), NOW)
    assert "007" not in str(caught.value)
    assert store.units.count() == 0


def test_replace_changes_known_units_and_keeps_the_others(
    store: Store, units: pl.DataFrame
) -> None:
    store.units.add(units.head(4), NOW)
    changed = units.tail(3).with_columns(language=pl.lit("qu"))
    store.units.add(changed, NOW, replace=True)
    languages = dict(store.units.all().select("unit_id", "language").iter_rows())
    assert languages == {"007": "es", "b": None, "ñ": None, "a": "qu", "Z": "qu", "1": "qu"}


def test_absent_column_is_named(store: Store) -> None:
    with pytest.raises(InputError, match="fields_json"):
        store.units.add(pl.DataFrame({"unit_id": ["a"]}), NOW)


def test_empty_id_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match=r"empty values in the columns \['unit_id'\]"):
        store.units.add(pl.DataFrame({"unit_id": [None], "fields_json": ["{}"]}), NOW)


def test_fields_survive_the_store_to_the_last_bit(store: Store) -> None:
    fields = pl.DataFrame(
        {
            "x": [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, None],
            "n": [1, None, -(2**53), 0, 7],
            "text": ["007", 'a"b', "\u2028\n\t", None, "ñ, {}"],
        }
    )
    frame = pl.DataFrame({"unit_id": list("abcde"), "fields_json": encode_json_rows(fields)})
    store.units.add(frame, NOW)
    assert_frame_equal(decode_json_rows(store.units.all()["fields_json"]), fields, check_exact=True)


def test_late_keys_are_not_lost() -> None:
    objects = pl.Series(['{"a":1}'] * 5_000 + ['{"b":"late","a":null}'])
    assert decode_json_rows(objects)["b"].to_list()[-1] == "late"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_json_has_not_is_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"not finite in the columns \['x'\]"):
        encode_json_rows(pl.DataFrame({"x": [1.0, value]}))


def test_latest_result_wins_and_all_are_kept(store: Store) -> None:
    ids = [store.results.put("w1", "analysis", {"n": n, "x": [0.1, None]}, NOW) for n in (1, 2)]
    store.results.put("w2", "analysis", {"n": 3}, NOW)
    store.results.put("w1", "decision", {"n": 4}, NOW)
    latest = store.results.latest("w1", "analysis")
    assert ids == sorted(ids)
    assert (latest.id, latest.payload, latest.version) == (ids[1], {"n": 2, "x": [0.1, None]}, None)
    assert [r.payload["n"] for r in store.results.all("analysis")] == [1, 2, 3]
    assert store.results.latest("w3", "analysis") is None


def test_result_notes_the_version_in_force(store: Store) -> None:
    add_version(store, 1)
    store.results.put("w1", "analysis", {}, NOW)
    add_version(store, 2)
    store.results.put("w1", "analysis", {}, NOW)
    assert [r.version for r in store.results.all("analysis")] == [1, 2]


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_payload_that_is_not_json_is_refused(value: object) -> None:
    with Store.open("sqlite://") as store, pytest.raises(InputError, match="not plain JSON"):
        store.results.put("w1", "analysis", {"x": value}, NOW)
