"""Contact details, opt-outs and keys of the interface, on each database."""

from datetime import UTC, datetime

import polars as pl
import pytest

from wavewise.errors import InputError
from wavewise.store import Store

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def encrypted(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [(unit, channel, "k1", f"encrypted {i} {found}", found) for i, (unit, channel, found) in
         enumerate(rows)],
        schema=["unit_id", "channel", "key_id", "encrypted", "lookup"],
        orient="row",
    )  # fmt: skip


def test_details_are_written_with_the_units_or_not_at_all(
    store: Store, units: pl.DataFrame
) -> None:
    with pytest.raises(InputError, match="not known"):
        store.units.add(units, NOW, contacts=encrypted(("nobody", "sms", "x")))
    assert store.units.count() == 0
    store.units.add(units, NOW, contacts=encrypted(("a", "sms", "x"), ("b", "sms", "x")))
    assert store.contacts.at(["x", "y"]).rows() == [("a", "sms"), ("b", "sms")]
    assert store.contacts.find("sms", ["b", "ñ"])["unit_id"].to_list() == ["b"]
    assert store.contacts.find("email").is_empty()
    assert store.contacts.counts() == {"sms": 2}


def test_an_empty_cell_takes_a_detail_out_and_other_channels_stay(
    store: Store, units: pl.DataFrame
) -> None:
    first = encrypted(("a", "sms", "x"), ("a", "email", "m"), ("b", "sms", "y"))
    store.units.add(units, NOW, contacts=first)
    new = encrypted(("b", "sms", "z"))
    store.contacts.put(new, NOW, channels=["sms"], of=pl.Series(["a", "b"]))
    assert store.contacts.find().select("unit_id", "channel", "lookup").rows() == [
        ("a", "email", "m"),
        ("b", "sms", "z"),
    ]


def test_resealing_is_one_transaction(store: Store, units: pl.DataFrame) -> None:
    store.units.add(units, NOW, contacts=encrypted(("a", "sms", "x"), ("b", "sms", "y")))
    with pytest.raises(ZeroDivisionError):
        store.contacts.reencrypt(lambda _: 1 / 0)
    assert store.contacts.find()["key_id"].to_list() == ["k1", "k1"]
    n = store.contacts.reencrypt(lambda rows: rows.with_columns(key_id=pl.lit("k2")))
    assert n == 2
    assert store.contacts.find()["key_id"].to_list() == ["k2", "k2"]


def refused(name: str, unit: str, channel: str | None = None) -> pl.DataFrame:
    row = {
        "opt_out_id": name,
        "unit_id": unit,
        "channel": channel,
        "source": "stop",
        "at_utc_us": 5,
    }
    return pl.DataFrame([row], schema_overrides={"channel": pl.String})


def test_opt_outs_count_once_and_survive_another_import(store: Store, units: pl.DataFrame) -> None:
    store.units.add(units, NOW)
    assert store.opt_outs.add(refused("r1", "a"), NOW) == 1
    assert store.opt_outs.add(refused("r1", "a"), NOW) == 0
    assert store.opt_outs.add(refused("r2", "b", "sms"), NOW) == 1
    store.units.add(units, NOW, replace=True)
    assert store.opt_outs.units("sms").to_list() == ["a", "b"]
    assert store.opt_outs.units("email").to_list() == ["a"]
    assert store.opt_outs.units().to_list() == ["a", "b"]
    assert store.opt_outs.all()["opt_out_id"].to_list() == ["r1", "r2"]


def test_an_erased_unit_stays_a_unit(store: Store, units: pl.DataFrame) -> None:
    store.units.add(units, NOW, contacts=encrypted(("a", "sms", "x"), ("b", "sms", "y")))
    assert store.units.erase("a", "{}", NOW) == (1, True)
    assert store.units.erased() == {"a"}
    assert store.contacts.find()["unit_id"].to_list() == ["b"]
    assert store.units.all().filter(unit_id="a")["fields_json"].to_list() == ["{}"]
    with pytest.raises(InputError, match="no unit of this id"):
        store.units.erase("nobody", "{}", NOW)


def test_a_revoked_key_is_of_no_use(store: Store) -> None:
    store.api_keys.add("k1", "the app", "hash", NOW)
    assert store.api_keys.hash("k1") == "hash"
    store.api_keys.revoke("k1", NOW)
    store.api_keys.revoke("k1", NOW)
    assert store.api_keys.hash("k1") is None
    assert [key["revoked_at"] for key in store.api_keys.all()] == [NOW]
    with pytest.raises(InputError, match="no key of this id"):
        store.api_keys.revoke("k2", NOW)
