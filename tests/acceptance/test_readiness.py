"""Before anything is sent: fields without a value, units without an address, texts too long."""

from pathlib import Path

import polars as pl

from field_study import FIELD_STUDY, field_people
from study_folders import call, done


def make(tmp_path: Path, people: pl.DataFrame, text: str = FIELD_STUDY) -> Path:
    folder, key = tmp_path / "study", tmp_path / "study.key"
    folder.mkdir()
    (folder / "study.toml").write_text(text, encoding="utf-8")
    people.write_csv(tmp_path / "people.csv")
    done("contacts", "make-key", key)
    done("register", folder)
    done("people", "import", folder, tmp_path / "people.csv", "--key-file", key)
    return folder


def emptied(people: pl.DataFrame, column: str, n: int) -> pl.DataFrame:
    is_empty = pl.int_range(pl.len()) < n
    return people.with_columns(pl.when(is_empty).then(None).otherwise(column).alias(column))


def test_check_names_missing_fields_before_a_wave_opens(tmp_path: Path) -> None:
    folder = make(tmp_path, emptied(field_people(), "child_name", 25))
    found = call("check", folder)
    assert found.code == 4
    assert "25 of 40 units without {child_name}" in found.err
    assert "p0001" not in found.err
    faults = call("check", folder, "--json").facts["faults"]
    assert [fault["path"] for fault in faults] == ["messages['peers']"]
    assert call("wave", "open", folder, "one").code == 4


def test_check_names_texts_that_are_too_long(tmp_path: Path) -> None:
    people = field_people().with_columns(
        child_name=pl.when(pl.int_range(pl.len()) < 3)
        .then(pl.lit("A" * 1_600))
        .otherwise("child_name")
    )
    found = call("check", make(tmp_path, people))
    assert found.code == 4
    assert "3 texts that are too long" in found.err


def test_units_without_an_address_are_counted_and_stay(tmp_path: Path) -> None:
    folder = make(tmp_path, emptied(field_people(), "phone", 5))
    sentence = "5 of 40 parents have no address for sms"
    assert sentence in done("check", folder).out
    assert done("check", folder, "--json").facts["without_address"] == {"sms": 5}
    opened = done("wave", "open", folder, "one", "--json").facts
    assert opened["without_address"]["sms"] <= 5
    # two waves share the people: what the first took and the second will take
    second = done("check", folder, "--json").facts["without_address"]
    assert second == {"sms": 5}
    assert opened["n_units"] == 20


def test_check_without_people_looks_at_the_study_file_alone(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(FIELD_STUDY, encoding="utf-8")
    assert "no address" not in done("check", tmp_path).out
    assert not (tmp_path / "study.db").exists()
