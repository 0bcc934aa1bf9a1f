"""Imports of files as people bring them, from the command line to the store."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import wavewise as ww
from wavewise.cli import app
from wavewise.errors import InputError

STUDY = """
[study]
id = "s"
title = "S"
seed = 1
time_zone = "America/Lima"
{study}
[units]
id = "id"
{units}
[[messages]]
id = "a"
channel = "sms"
text.en = "Hello A"
[[messages]]
id = "b"
channel = "sms"
text.es-419 = "Hola B"
[schedules.s]
days = ["mon"]
at = "10:00"
[[outcomes]]
id = "y"
kind = "any"
event = "login"
[[waves]]
id = "w1"
starts = 2026-11-16
window_days = 8
schedule = "s"
control_share = "1/3"
arms = ["a", "b"]
[planning]
n_units = 100
{more}
"""
PHONES = 'address = {{ sms = "phone" }}'.replace("{{", "{").replace("}}", "}")


def study_in(folder: Path, *, study: str = "", units: str = "", more: str = "") -> ww.OpenStudy:
    (folder / "S").mkdir(exist_ok=True)
    text = STUDY.format(study=study, units=units, more=more)
    (folder / "S" / "study.toml").write_text(text, encoding="utf-8")
    return ww.open_study(folder / "S")


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def run(*words: str) -> str:
    done = CliRunner().invoke(app, [*map(str, words)])
    return done.output


def test_a_dry_run_shows_each_column_and_imports_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "p.csv", "ID;score;extra\n001;12,5;x\n002;;y\n003;7,25;#N/A\n")
    with study_in(tmp_path, units='covariates = ["score"]') as study:
        shown = run("people", "import", tmp_path / "S", path, "--column", "id=ID", "--dry-run")
        assert "id      ID           id       0      000" in shown
        assert "decimal comma" in shown
        assert "Nothing was imported" in shown
        found = study.people_import(path, reading={"columns": {"id": "ID"}}, dry_run=True)
        assert [c["kind"] for c in found.facts()["columns"]] == ["number", "id"]
        assert found.facts()["columns"][0]["n_empty"] == 1
        assert study._study.store.units.count() == 0
        done = study.people_import(path, reading={"columns": {"id": "ID"}})
        assert done.n_imported == 3
        assert [c["note"] for c in done.facts()["columns"]] == ["decimal comma", ""]


def test_the_study_file_keeps_how_a_monthly_export_is_read(tmp_path: Path) -> None:
    more = """
[import.people]
columns = { id = "ID" }
missing = ["NA"]
[import.events]
separator = ";"
encoding = "cp1252"
columns = { unit_id = "Código", at = { from = "Fecha", date_format = "DMY" }, kind = "Qué" }
"""
    people = write(tmp_path, "p.csv", "ID,score\n007,NA\n008,2\n")
    events = write(tmp_path, "e.csv", "Código;Fecha;Qué\n007;05/11/2026;login\n", "cp1252")
    with study_in(tmp_path, units='covariates = ["score"]', more=more) as study:
        study.people_import(people)
        first = study.observe(events)
        assert (first.n_new, first.n_unknown_unit) == (1, 0)
        assert any("ids were made" in note for note in first.notes)
        assert study.observe(events).n_repeated == 1
        assert study.observe(events, reading={"date_format": "MDY"}).n_repeated == 1


def test_options_of_reading_that_are_none_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "p.csv", "id\n1\n")
    with study_in(tmp_path) as study, pytest.raises(InputError, match=r"reading\.separater"):
        study.people_import(path, reading={"separater": ";"})
    assert "needed the study's name" in run(
        "people", "import", tmp_path / "S", path, "--column", "x"
    )


def test_ids_without_their_zeros_are_asked_about(tmp_path: Path) -> None:
    people = pl.DataFrame({"id": [f"{i:04d}" for i in range(1, 30)]})
    events = pl.DataFrame(
        {"unit_id": [1, 2, 31], "kind": ["login"] * 3, "at": ["2026-11-17 10:00"] * 3}
    )
    with study_in(tmp_path) as study:
        study.people_import(people)
        with pytest.raises(InputError, match=r"2 ids in 2 rows .* differs only in leading zeros"):
            study.observe(events)
        notes = study.observe(events, dry_run=True).facts()["notes"]
        assert notes == [
            "2 ids in 2 rows match no unit: they differ from a unit's in leading zeros",
            "1 ids in 1 rows match no unit: no unit is like it",
        ]
        assert study.observe(events, match_ids=True).n_unknown_unit == 1
        assert (
            study.observe(events.with_columns(unit_id=pl.Series(["0001", "0002", "31"]))).n_repeated
            == 3
        )
        assert study.observe(events, keep_unmatched=True).n_new == 2


def test_one_phone_in_many_forms_is_named_as_shared(tmp_path: Path) -> None:
    key = tmp_path / "key"
    ww.contacts_make_key(key)
    people = pl.DataFrame(
        {
            "id": list("abcd"),
            "phone": ["+51 987 654 321", "0051987654321", "987654321", "987654322"],
        }
    )
    with study_in(tmp_path, study='country = "PE"', units=PHONES) as study:
        done = study.people_import(people, key_file=key)
        assert "1 addresses in column 'phone' belong to 3 units (rows 1, 2, 3)" in done.summary()
        from wavewise.workflow.contacts.contacts import contact_book

        book = contact_book(study._study, key)
        assert set(book.addresses("sms", list("abc")).values()) == {"+51987654321"}
        for written in ("whatsapp:+51987654321", "987654321", "+51 987 654 321"):
            assert book.units_at("sms", written) == ("a", "b", "c")


def test_contact_details_that_cannot_be_are_named_by_row(tmp_path: Path) -> None:
    key = tmp_path / "key"
    ww.contacts_make_key(key)
    text = "id,phone\n1,987654321\n2,9.8765E+10\n3,0\n4,no tiene\n5,#N/A\n6,\n"
    path = write(tmp_path, "p.csv", text)
    with study_in(tmp_path, study='country = "PE"', units=PHONES) as study:
        with pytest.raises(InputError) as caught:
            study.people_import(path, key_file=key)
        assert [fault.row for fault in caught.value.faults] == [3, 4, 5, 6]
        assert "tiene" not in str(caught.value)
        done = study.people_import(path, key_file=key, skip_bad_contacts=True)
        assert (done.n_imported, done.n_contacts) == (6, 1)
        assert "4 addresses of sms left out" in done.summary()


def test_languages_without_a_text_are_counted(tmp_path: Path) -> None:
    people = pl.DataFrame({"id": list("abcde"), "lang": ["es_PE", "EN", "spa", "qu", None]})
    with study_in(tmp_path, units='language = "lang"') as study:
        notes = study.people_import(people).notes
        assert [note for note in notes if "languages" in note] == [
            "languages in which no message has a text: 'qu' (1); these units get the first one, "
            "'en'"
        ]


def test_a_wave_without_people_says_so(tmp_path: Path) -> None:
    with study_in(tmp_path, units='strata = ["school"]') as study:
        study.register()
        with pytest.raises(InputError, match="has no units; import them"):
            study.wave_open("w1")
