"""Contact details, refusals and keys of the interface, on each database."""

from datetime import UTC, datetime

import polars as pl
import pytest

from wavewise.errors import InputError
from wavewise.store import Store

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def sealed(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [(unit, channel, "k1", f"sealed {i} {found}", found) for i, (unit, channel, found) in
         enumerate(rows)],
        schema=["unit_id", "channel", "key_id", "sealed", "lookup"],
        orient="row",
    )  # fmt: skip


def test_details_are_written_with_the_units_or_not_at_all(
    store: Store, units: pl.DataFrame
) -> None:
    with pytest.raises(InputError, match="not known"):
        store.add_units(units, NOW, contacts=sealed(("nobody", "sms", "x")))
    assert store.n_units() == 0
    store.add_units(units, NOW, contacts=sealed(("a", "sms", "x"), ("b", "sms", "x")))
    assert store.contacts_at(["x", "y"]).rows() == [("a", "sms"), ("b", "sms")]
    assert store.contacts("sms", ["b", "ñ"])["unit_id"].to_list() == ["b"]
    assert store.contacts("email").is_empty()
    assert store.n_contacts() == {"sms": 2}


def test_an_empty_cell_takes_a_detail_out_and_other_channels_stay(
    store: Store, units: pl.DataFrame
) -> None:
    first = sealed(("a", "sms", "x"), ("a", "email", "m"), ("b", "sms", "y"))
    store.add_units(units, NOW, contacts=first)
    new = sealed(("b", "sms", "z"))
    store.put_contacts(new, NOW, channels=["sms"], of=pl.Series(["a", "b"]))
    assert store.contacts().select("unit_id", "channel", "lookup").rows() == [
        ("a", "email", "m"),
        ("b", "sms", "z"),
    ]


def test_resealing_is_one_transaction(store: Store, units: pl.DataFrame) -> None:
    store.add_units(units, NOW, contacts=sealed(("a", "sms", "x"), ("b", "sms", "y")))
    with pytest.raises(ZeroDivisionError):
        store.reseal_contacts(lambda _: 1 / 0)
    assert store.contacts()["key_id"].to_list() == ["k1", "k1"]
    n = store.reseal_contacts(lambda rows: rows.with_columns(key_id=pl.lit("k2")))
    assert n == 2
    assert store.contacts()["key_id"].to_list() == ["k2", "k2"]


def refused(name: str, unit: str, channel: str | None = None) -> pl.DataFrame:
    row = {
        "refusal_id": name,
        "unit_id": unit,
        "channel": channel,
        "source": "stop",
        "at_utc_us": 5,
    }
    return pl.DataFrame([row], schema_overrides={"channel": pl.String})


def test_refusals_count_once_and_survive_another_import(store: Store, units: pl.DataFrame) -> None:
    store.add_units(units, NOW)
    assert store.add_refusals(refused("r1", "a"), NOW) == 1
    assert store.add_refusals(refused("r1", "a"), NOW) == 0
    assert store.add_refusals(refused("r2", "b", "sms"), NOW) == 1
    store.add_units(units, NOW, replace=True)
    assert store.refused_units("sms").to_list() == ["a", "b"]
    assert store.refused_units("email").to_list() == ["a"]
    assert store.refused_units().to_list() == ["a", "b"]
    assert store.refusals()["refusal_id"].to_list() == ["r1", "r2"]


def test_an_erased_unit_stays_a_unit(store: Store, units: pl.DataFrame) -> None:
    store.add_units(units, NOW, contacts=sealed(("a", "sms", "x"), ("b", "sms", "y")))
    assert store.erase_unit("a", "{}", NOW) == 1
    assert store.erased_units() == {"a"}
    assert store.contacts()["unit_id"].to_list() == ["b"]
    assert store.units().filter(unit_id="a")["fields_json"].to_list() == ["{}"]
    with pytest.raises(InputError, match="no unit of this id"):
        store.erase_unit("nobody", "{}", NOW)


def test_a_revoked_key_is_of_no_use(store: Store) -> None:
    store.add_api_key("k1", "the app", "hash", NOW)
    assert store.api_key_hash("k1") == "hash"
    store.revoke_api_key("k1", NOW)
    store.revoke_api_key("k1", NOW)
    assert store.api_key_hash("k1") is None
    assert [key["revoked_at"] for key in store.api_keys()] == [NOW]
    with pytest.raises(InputError, match="no key of this id"):
        store.revoke_api_key("k2", NOW)
