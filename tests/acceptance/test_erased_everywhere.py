"""What was erased comes back by no door: imports, calls, receipts; what is left is told."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from field_study import field_people, make_field_study, phone
from study_folders import done, events, make_study
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.store.rows import Recorded, from_us
from wavewise.workflow.contacts.contacts import encrypted_contacts
from wavewise.workflow.run.export import erase
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.send.queue import queue_wave
from wavewise.workflow.study import Study, open_study

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
UNIT = "p0003"
NAME = "Rosalinda"


@pytest.fixture
def made(tmp_path: Path, store_url: str | None) -> tuple[Path, Path]:
    folder, key = make_field_study(tmp_path)
    people = field_people().with_columns(
        child_name=pl.when(pl.col("parent_id") == UNIT).then(pl.lit(NAME)).otherwise("child_name")
    )
    people.write_csv(tmp_path / "people.csv")
    again = ("people", "import", folder, tmp_path / "people.csv", "--replace")
    done(*again, "--key-file", key)
    return folder, key


def fields(study: Study) -> str:
    return str(study.store.units.all().filter(unit_id=UNIT)["fields_json"][0])


def test_an_import_brings_nothing_back(
    made: tuple[Path, Path], store_url: str | None, tmp_path: Path
) -> None:
    folder, key = made
    done("erase", folder, "--unit", UNIT)
    people = ("people", "import", folder, tmp_path / "people.csv", "--replace")
    done(*people, "--key-file", key)
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(f"parent_id,phone\n{UNIT},{phone(77)}\n")
    done("contacts", "import", folder, numbers, "--key-file", key)
    ring = KeyRing.read(key.read_text(), "key")
    with open_study(folder, store_url=store_url) as study:
        called = encrypted_contacts(pl.Series([UNIT]), {"sms": pl.Series([phone(78)])}, ring)
        study.store.contacts.change(called, "call:1", "call", NOW)  # in a call that was going on
        assert NAME not in fields(study)
        assert study.store.contacts.find(None, [UNIT]).is_empty()
        former = study.store.units.replaced().filter(unit_id=UNIT)["fields_json"]
        assert NAME not in "".join(former)


def test_what_comes_late_of_a_message_is_applied_and_not_kept(
    made: tuple[Path, Path], store_url: str | None
) -> None:
    folder, _ = made
    clock = datetime(2024, 3, 4, 15, tzinfo=UTC)
    with open_study(folder, store_url=store_url, clock=lambda: clock) as study:
        open_wave(study, "one")
        queue_wave(study, "one", datetime(2024, 3, 20, tzinfo=UTC))
        queued = study.store.deliveries.rows().filter(channel="sms", state="queued")
        due = from_us(queued["due_at_utc_us"].min())
        mine = study.store.outbox.claim("sms", "me", due, 60.0, 500)[0]
        unit = mine.unit_id
        study.store.outbox.begin_and_record("me", [mine.outbox_id], [], due, 60.0)
        erase(study, unit)
        taken = Recorded(mine.outbox_id, "sent", None, "SM-of-the-erased")
        study.store.outbox.begin_and_record("me", [], [taken], NOW, 60.0)
        receipt = {"receipt_id": "r1", "channel": "sms", "state": "delivered", "at_utc_us": 1}
        keyed = pl.DataFrame([{**receipt, "message_key": mine.message_key}])
        assert study.store.receipts.add(keyed, NOW).n_moved == 1
        row = study.store.deliveries.rows().filter(outbox_id=mine.outbox_id)
        assert row["state"].to_list() == ["delivered"]
        assert row["provider_id"].to_list() == [None]
        with study.store.reading() as connection:
            kept = connection.exec_driver_sql("SELECT receipt_id FROM receipt").all()
        assert kept == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # a server has pages of its own
def test_old_pages_are_overwritten_or_it_is_said(made: tuple[Path, Path]) -> None:
    folder, _ = made
    with open_study(folder) as study:
        reader = sqlite3.connect(folder / "study.db")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM unit").fetchall()
        assert "could not be overwritten" in erase(study, UNIT).summary()
        reader.close()
        assert "could not be overwritten" not in erase(study, UNIT).summary()
        files = [path for path in folder.glob("study.db*") if path.stat().st_size]
        assert not any(NAME.encode() in path.read_bytes() for path in files)


def test_files_that_name_the_unit_are_named(made: tuple[Path, Path]) -> None:
    folder, _ = made
    (folder / "people.csv").write_text(f"id,name\n{UNIT},{NAME}\n")
    (folder / "others.csv").write_text(f"id,name\n{UNIT}9,Ana\n")
    (folder / "survey.xlsx").write_bytes(b"PK")
    text = done("erase", folder, "--unit", UNIT).out
    assert "naming this unit: people.csv. " in text
    assert "not searched: survey.xlsx. " in text
    assert "Copies are not erased: back-ups" in text


def test_the_analysis_gives_the_same_numbers(tmp_path: Path, store_url: str | None) -> None:
    """Strata, covariates and frozen outcomes of an erased unit stay, under its bare id."""
    folder = make_study(tmp_path / "study")
    done("wave", "open", folder, "one")
    with open_study(folder, store_url=store_url) as study:
        drawn = study.store.waves.assignment("one")
    done("observe", folder, events(folder, drawn, "2024-03-05", "one"))
    done("wave", "close", folder, "one")
    before = done("analyze", folder, "one", "--json").facts
    unit = next(unit for unit, arm in drawn.select("unit_id", "arm").rows() if arm == "peers")
    done("erase", folder, "--unit", unit)
    assert done("analyze", folder, "one", "--json").facts == before
