"""Contact details by the command line: kept encrypted, apart, rotated, exported never, erased."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from field_study import field_people, make_field_study, phone
from outbox_rows import queued
from study_folders import call, done
from wavewise.errors import InputError
from wavewise.workflow.contacts.contacts import contact_book
from wavewise.workflow.frames import unit_data, wave_data
from wavewise.workflow.run.export import FILES
from wavewise.workflow.study import open_study


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Path]:
    return make_field_study(tmp_path)


def book(folder: Path, key: Path, channel: str = "sms") -> dict[str, str]:
    with open_study(folder) as study:
        ids = study.store.units.all()["unit_id"].to_list()
        return contact_book(study, key).addresses(channel, ids)


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_addresses_come_back_and_lie_nowhere_in_clear(study: tuple[Path, Path]) -> None:
    folder, key = study
    assert book(folder, key) == {f"p{i:04d}": phone(i) for i in range(40)}
    assert book(folder, key, "email")["p0007"] == "Ana7@example.org"
    whole = bytes_of(folder)
    assert b"example.org" not in whole
    assert not any(phone(i).encode() in whole for i in range(40))
    assert key.stat().st_mode & 0o077 == 0


def test_an_inbound_number_finds_its_unit_in_any_spelling(study: tuple[Path, Path]) -> None:
    folder, key = study
    with open_study(folder) as opened:
        found = contact_book(opened, key)
        assert found.units_at("sms", "0051 999 00 0003") == ("p0003",)
        assert found.units_at("voice", phone(3)) == ("p0003",)
        assert found.units_at("email", "ANA3@example.org") == ("p0003",)
        assert found.units_at("sms", "+51000000000") == ()


def test_without_a_key_nothing_is_kept_and_it_is_said(tmp_path: Path) -> None:
    folder, key = make_field_study(tmp_path)
    with closing(sqlite3.connect(folder / "study.db")) as db, db:
        db.execute("DELETE FROM contact")
    told = done("people", "import", folder, tmp_path / "people.csv", "--replace")
    assert "not stored: phone, mail" in told.out
    assert book(folder, key) == {}


def test_rotation_reseals_everything_and_drops_the_old_key(study: tuple[Path, Path]) -> None:
    folder, key = study
    old = key.read_text()
    before = book(folder, key)
    answer = done("contacts", "rotate", folder, "--key-file", key, "--json")
    assert answer.facts["n_encrypted"] == 80
    assert book(folder, key) == before
    assert json.loads(old)["active"] not in json.loads(key.read_text())["keys"]
    key.write_text(old)
    with pytest.raises(InputError, match="not in the key file"):
        book(folder, key)


def test_a_crash_between_file_and_database_loses_nothing(
    study: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, key = study
    before = book(folder, key)
    with monkeypatch.context() as patched:
        patched.setattr("wavewise.workflow.contacts.contacts._reencrypted", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            call("contacts", "rotate", folder, "--key-file", key)
    assert book(folder, key) == before
    done("contacts", "rotate", folder, "--key-file", key)
    assert book(folder, key) == before
    assert len(json.loads(key.read_text())["keys"]) == 1


def test_changed_numbers_take_the_place_of_old_ones(
    study: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, key = study
    (tmp_path / "new.csv").write_text("parent_id,phone\np0001,+51 988 000 001\np0002,\n")
    answer = done("contacts", "import", folder, tmp_path / "new.csv", "--key-file", key)
    assert "1 contact details of 2 parents kept" in answer.out
    found = book(folder, key)
    assert found["p0001"] == "+51988000001"
    assert "p0002" not in found
    assert found["p0003"] == phone(3)
    (tmp_path / "bad.csv").write_text("parent_id,phone\np0001,+1\nnobody,+2\np0001,+3\n")
    refused = call("contacts", "import", folder, tmp_path / "bad.csv", "--key-file", key)
    assert refused.code == 4
    assert "row 3" in refused.err and "row 4" in refused.err
    assert "nobody" not in refused.err
    assert book(folder, key)["p0001"] == "+51988000001"


def test_the_key_may_not_lie_in_the_study(study: tuple[Path, Path]) -> None:
    folder, key = study
    inside = call("contacts", "make-key", folder / "study.key")
    assert inside.code == 4
    assert "elsewhere" in inside.err
    assert call("contacts", "make-key", key).code == 4
    assert book(folder, key)


def test_reimport_keeps_what_waves_were_drawn_on(study: tuple[Path, Path], tmp_path: Path) -> None:
    folder, key = study
    again = ("people", "import", folder, tmp_path / "people.csv", "--key-file", key)
    assert call(*again).code == 4
    done(*again, "--replace")
    done("wave", "open", folder, "one")
    done(*again, "--replace")
    with open_study(folder) as opened:
        drawn_on = wave_data(opened, "one").units.fields["grade"].to_list()
    field_people(40).with_columns(grade=pl.col("grade") + 1).write_csv(tmp_path / "people.csv")
    assert "20 parents" in done(*again, "--replace").out
    with open_study(folder) as opened:
        assert wave_data(opened, "one").units.fields["grade"].to_list() == drawn_on
        assert unit_data(opened).fields["grade"].to_list() != drawn_on


def test_the_export_holds_ids_only(study: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = study
    done("wave", "open", folder, "one")
    with open_study(folder) as opened:
        unit = opened.store.waves.assignment("one")["unit_id"][0]
        message = queued([unit], ["peers"]).with_columns(content_json=pl.lit('{"text":"Ana,"}'))
        opened.store.outbox.queue(message, datetime(2024, 3, 1, tzinfo=UTC))
    answer = done("export", folder, "--out", tmp_path / "data", "--json")
    assert pl.read_csv(tmp_path / "data" / "messages.csv")["state"].to_list() == ["queued"]
    assert answer.facts["files"]["units"]["columns"] == [
        "unit_id", "time_zone", "language", "active", "grade",
    ]  # fmt: skip
    whole = bytes_of(tmp_path / "data")
    for secret in (b"example.org", b"+5199", b"Ana,", b"encrypted"):
        assert secret not in whole
    assert pl.read_csv(tmp_path / "data" / "assignment.csv").height == 20
    later_or_never = {"outcomes", "frozen_scores", "former_outcomes"}  # only of closed waves
    later_or_never |= {"enrolment", "measurements", "facts"}  # only where there are some
    assert {*answer.facts["files"], *later_or_never} == {*FILES.values()} - {None}
    assert call("export", folder, "--out", tmp_path / "data").code == 4


def test_an_erased_unit_keeps_its_arm_and_loses_its_name(
    study: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, key = study
    done("wave", "open", folder, "one")
    done("erase", folder, "--unit", "p0005")
    again = ("people", "import", folder, tmp_path / "people.csv", "--key-file", key, "--replace")
    done(*again)
    assert "p0005" not in book(folder, key)
    with open_study(folder) as opened:
        assert opened.store.opt_outs.units().to_list() == ["p0005"]
        fields = opened.store.units.all().filter(unit_id="p0005")["fields_json"][0]
        assert opened.store.waves.assignment("one").height == 20
    unknown = call("erase", folder, "--unit", "secret-id")
    assert unknown.code == 4
    assert "secret-id" not in unknown.err
    assert json.loads(fields)["grade"] == 6
