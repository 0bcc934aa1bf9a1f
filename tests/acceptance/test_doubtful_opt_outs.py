"""Opt-outs that nothing may lose: unknown numbers, ids that come again, doubtful words, links."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from field_study import make_field_study, phone
from set_clock import Clock
from study_folders import done
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.workflow.contacts.opt_outs import inbound_message, opt_out_address, unsubscribe
from wavewise.workflow.study import Study, open_study

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
STRANGER = "+51999001234"


@pytest.fixture
def made(tmp_path: Path, store_url: str | None) -> tuple[Path, Path]:
    return make_field_study(tmp_path, n=8)


def says(study: Study, key: Path, text: str, reference: str, number: str = phone(3)) -> int:
    ring = KeyRing.read(key.read_text(), "key")
    return inbound_message(study, ring, "sms", number, text, reference)["n_new"]


def refusing(study: Study, channel: str = "sms") -> list[str]:
    return study.store.opt_outs.units(channel).to_list()


@pytest.mark.parametrize("rotated", [False, True])
def test_a_stop_of_nobody_holds_for_whoever_gets_the_number(
    made: tuple[Path, Path], store_url: str | None, tmp_path: Path, rotated: bool
) -> None:
    folder, key = made
    with open_study(folder, store_url=store_url) as study:
        assert says(study, key, "STOP", "SM1", STRANGER) == 1
        assert says(study, key, "STOP", "SM1", STRANGER) == 0
    assert "1 addresses of nobody" in done("status", folder).out
    if store_url is None:
        assert STRANGER.encode() not in (folder / "study.db").read_bytes()
    if rotated:
        done("contacts", "rotate", folder, "--key-file", key)
    late = tmp_path / "late.csv"
    late.write_text(f"parent_id,phone\np0005,{STRANGER}\n")
    done("contacts", "import", folder, late, "--key-file", key)
    with open_study(folder, store_url=store_url) as study:
        assert refusing(study) == refusing(study, "email") == ["p0005"]
        assert study.store.opt_outs.n_unknown() == 0
    done("contacts", "import", folder, late, "--key-file", key)  # a second time changes nothing
    done("erase", folder, "--unit", "p0005")
    with open_study(folder, store_url=store_url) as study:
        assert study.store.opt_outs.n_unknown() == 0


def test_a_start_of_nobody_ends_it(made: tuple[Path, Path], store_url: str | None) -> None:
    folder, key = made
    with open_study(folder, store_url=store_url) as study:
        says(study, key, "stop", "SM1", STRANGER)
        says(study, key, "start", "SM2", STRANGER)
        assert study.store.opt_outs.n_unknown() == 0
        assert says(study, key, "stop", "SM1", STRANGER) == 1  # told again: in doubt, it is meant
        assert study.store.opt_outs.n_unknown() == 1


def test_the_same_id_after_a_start_stops_again(
    made: tuple[Path, Path], store_url: str | None
) -> None:
    folder, key = made
    clock = Clock(NOW)
    with open_study(folder, store_url=store_url, clock=clock) as study:
        says(study, key, "stop", "SM1")
        clock.now = NOW.replace(hour=13)
        says(study, key, "start", "SM2")
        assert refusing(study) == []
        assert says(study, key, "stop", "SM1") == 1
        assert refusing(study) == ["p0003"]
        says(study, key, "start", "SM2")  # told again, it lifts nothing
        assert refusing(study) == ["p0003"]


def test_a_clock_that_was_set_back_loses_no_stop(
    made: tuple[Path, Path], store_url: str | None
) -> None:
    folder, key = made
    clock = Clock(NOW)
    with open_study(folder, store_url=store_url, clock=clock) as study:
        says(study, key, "stop", "SM1")
        clock.now = NOW.replace(hour=13)
        says(study, key, "start", "SM2")
        clock.now = NOW.replace(hour=11)
        says(study, key, "stop", "SM3")
        assert refusing(study) == ["p0003"]


def test_a_link_is_of_its_study(made: tuple[Path, Path], store_url: str | None) -> None:
    folder, key = made
    ring = KeyRing.read(key.read_text(), "key")
    with open_study(folder, store_url=store_url) as study:
        assert unsubscribe(study, ring, ring.unsubscribe_token("p0001", "another study")) is None
        assert unsubscribe(study, ring, ring.unsubscribe_token("nobody here")) is None
        assert unsubscribe(study, ring, ring.unsubscribe_token("p0001", study.spec.study.id)) == 1
        assert unsubscribe(study, ring, ring.unsubscribe_token("p0002")) == 1  # of last year
        assert refusing(study) == ["p0001", "p0002"]


def test_a_block_at_the_provider_by_nobody_closes_its_channel_only(
    made: tuple[Path, Path], store_url: str | None, tmp_path: Path
) -> None:
    folder, key = made
    ring = KeyRing.read(key.read_text(), "key")
    with open_study(folder, store_url=store_url) as study:
        source = "provider block"
        opt_out_address(study, ring, "sms", STRANGER, source, "x", only_channel=True)
    late = tmp_path / "late.csv"
    late.write_text(f"parent_id,phone\np0005,{STRANGER}\n")
    done("contacts", "import", folder, late, "--key-file", key)
    with open_study(folder, store_url=store_url) as study:
        assert refusing(study) == ["p0005"]
        assert refusing(study, "email") == []
