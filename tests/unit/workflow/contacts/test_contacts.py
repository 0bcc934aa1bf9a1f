"""Contact details, keys and opt-outs, each called apart."""

from pathlib import Path

import polars as pl
import pytest

from memory_study import memory_study
from study_folders import STUDY, people
from wavewise.errors import InputError
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.workflow.contacts.contacts import (
    ContactBook,
    import_contacts,
    list_changes,
    restore_contact,
    rotate_keys,
)
from wavewise.workflow.contacts.keys import (
    is_valid_key,
    list_keys,
    make_key,
    make_key_file,
    read_key_file,
    revoke_key,
)
from wavewise.workflow.contacts.opt_outs import inbound_message, record_opt_out, unsubscribe
from wavewise.workflow.prepare.people import import_people

PHONES = 'time_zone = "zone"\naddress = { sms = "phone" }'
WITH_PHONES = STUDY.replace('time_zone = "zone"', PHONES).replace('"push"', '"sms"')


def _with_phones(n: int = 20) -> pl.DataFrame:
    numbers = [f"+5199900{i:04d}" for i in range(n)]
    return people(n).with_columns(phone=pl.Series(numbers))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    make_key_file(tmp_path / "keys.txt")
    return tmp_path / "keys.txt"


def test_addresses_are_kept_with_a_key_and_left_out_without(tmp_path: Path, key_file: Path) -> None:
    with memory_study(tmp_path, WITH_PHONES) as desk:
        told = import_people(desk.study, _with_phones())
        assert told.n_contacts is None
        assert "not stored: phone" in told.summary()
    with memory_study(tmp_path, WITH_PHONES) as desk:
        told = import_people(desk.study, _with_phones(), key_file=key_file)
        assert told.facts()["n_contacts"] == 20
        book = ContactBook(desk.study.store, read_key_file(key_file))
        assert book.addresses("sms", ["p0003"]) == {"p0003": "+51999000003"}
        assert book.units_at("sms", "+51 999 000 003") == ("p0003",)


def test_new_numbers_replace_old_ones_and_strange_units_are_named(
    tmp_path: Path, key_file: Path
) -> None:
    new = pl.DataFrame({"parent_id": ["p0003", "p0004"], "phone": ["+51111", None]})
    with memory_study(tmp_path, WITH_PHONES) as desk:
        import_people(desk.study, _with_phones(), key_file=key_file)
        done = import_contacts(desk.study, new, key_file=key_file)
        assert done.facts() == {"n_kept": 1, "n_rows": 2}
        book = ContactBook(desk.study.store, read_key_file(key_file))
        assert book.addresses("sms", ["p0003", "p0004"]) == {"p0003": "+51111"}
        with pytest.raises(InputError, match="nothing was changed"):
            import_contacts(desk.study, new.with_columns(parent_id=pl.lit("x")), key_file=key_file)


def test_a_rotated_key_reads_everything_and_the_old_one_nothing(
    tmp_path: Path, key_file: Path
) -> None:
    with memory_study(tmp_path, WITH_PHONES) as desk:
        import_people(desk.study, _with_phones(), key_file=key_file)
        old = read_key_file(key_file)
        done = rotate_keys(desk.study, key_file)
        assert done.n_rows == 20
        assert done.key == read_key_file(key_file).active != old.active
        book = ContactBook(desk.study.store, read_key_file(key_file))
        assert len(book.addresses("sms", [f"p{i:04d}" for i in range(20)])) == 20


def test_nothing_to_restore_is_said(tmp_path: Path, key_file: Path) -> None:
    with memory_study(tmp_path, WITH_PHONES) as desk:
        import_people(desk.study, _with_phones(), key_file=key_file)
        changes = list_changes(desk.study)
        assert changes.summary() == "No contact detail was changed in a call."
        assert changes.to_frame().height == 0
        with pytest.raises(InputError, match="nothing was changed"):
            restore_contact(desk.study, "p0003", key_file=key_file)


def test_an_api_key_is_shown_once_and_revoked(tmp_path: Path) -> None:
    with memory_study(tmp_path) as desk:
        assert "No keys yet" in list_keys(desk.study).summary()
        made = make_key(desk.study, " the app ")
        assert made.name == "the app"
        assert is_valid_key(desk.study, made.key)
        listed = list_keys(desk.study)
        assert listed.to_frame()["key_id"].to_list() == [made.key_id]
        assert made.key not in listed.summary()
        revoke_key(desk.study, made.key_id)
        assert not is_valid_key(desk.study, made.key)
        with pytest.raises(InputError, match="empty name"):
            make_key(desk.study, " ")


def test_a_key_file_stays_outside_of_studies(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    with pytest.raises(InputError, match="inside of the study folder"):
        make_key_file(tmp_path / "keys.txt")


def test_opt_outs_by_hand_by_keyword_and_by_link(tmp_path: Path, key_file: Path) -> None:
    with memory_study(tmp_path, WITH_PHONES) as desk:
        study = desk.study
        import_people(study, _with_phones(), key_file=key_file)
        ring = read_key_file(key_file)
        assert record_opt_out(study, "p0001").facts() == {"n_new": 1, "channel": None}
        assert "for sms" in record_opt_out(study, "p0002", "sms").summary()
        with pytest.raises(InputError, match="no unit of this id"):
            record_opt_out(study, "nobody")
        told = inbound_message(study, ring, "sms", "+51999000003", " ¡Stop! ", "m1")
        assert told["n_new"] == 1
        told = inbound_message(study, ring, "sms", "+51999000004", "thank you", "m2")
        assert (told["n_new"], told["n_answers"]) == (0, 1)
        assert unsubscribe(study, ring, ring.unsubscribe_token("p0005")) == 1
        assert unsubscribe(study, KeyRing.new(), ring.unsubscribe_token("p0006")) is None
        assert set(study.store.opt_outs.units("sms")) == {"p0001", "p0002", "p0003", "p0005"}
