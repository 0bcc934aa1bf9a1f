"""The verb: what is found in a study's own store."""

from datetime import UTC, datetime

import polars as pl
import pytest

import wavewise as ww
from wavewise.errors import InputError

STUDY = """
[study]
id = "s"
title = "S"
seed = 1
time_zone = "UTC"
[units]
id = "id"
strata = ["school"]
covariates = ["score"]
[[messages]]
id = "a"
channel = "sms"
text.en = "Hello"
[schedules.s]
days = ["mon"]
at = "10:00"
[[outcomes]]
id = "y"
kind = "any"
event = "login"
[[waves]]
id = "w1"
starts = 2024-01-08
window_days = 14
schedule = "s"
control_share = 0.5
arms = ["a"]
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    people = pl.DataFrame(
        {
            "id": [f"{i:03d}" for i in range(60)],
            "school": ["North"] * 30 + ["North "] * 2 + ["South"] * 28,
            "score": [f"{i},5" for i in range(60)],
        }
    )
    with ww.open_study(tmp_path, clock=lambda: datetime(2024, 3, 1, tzinfo=UTC)) as study:
        study.register()
        study.people_import(people)
        yield study


def login(ids, *, kind="login", at="2024-01-10T08:00:00Z", start=0):
    n = len(ids)
    return pl.DataFrame(
        {
            "event_id": [f"e{start + i}" for i in range(n)],
            "unit_id": ids,
            "kind": [kind] * n,
            "at": [at] * n,
        }
    )


def verdicts(result):
    return {row["check"]: row["verdict"] for row in result.facts()["checks"]}


def test_people_alone(study):
    found = verdicts(study.data_check())
    assert found["near-equal-labels"] == "warn"
    assert "event-kinds" not in found  # no wave is open


def test_ids_without_zeros_and_a_kind_with_a_typo(study):
    study.wave_open("w1", accept_late=True)
    study.observe(login([f"{i:03d}" for i in range(40)]))
    assert verdicts(study.data_check())["unmatched-ids"] == "pass"
    study.observe(login([str(i) for i in range(40, 60)], start=40), keep_unmatched=True)
    found = study.data_check(wave="w1")
    assert verdicts(found)["unmatched-ids"] == "fail"
    assert found.verdict == "fail"
    assert "041" not in found.summary()
    assert "041" in study.data_check(wave="w1", ids=True).summary()


def test_a_typo_in_the_kind(study):
    study.wave_open("w1", accept_late=True)
    study.observe(login([f"{i:03d}" for i in range(40)], kind="logins"))
    found = study.data_check()
    assert verdicts(found)["event-kinds"] == "fail"
    assert "the nearest kind seen is 'logins'" in found.summary()


def test_dates_of_another_year(study):
    study.wave_open("w1", accept_late=True)
    study.observe(login([f"{i:03d}" for i in range(40)], at="2023-01-10T08:00:00Z"))
    found = study.data_check()
    assert verdicts(found)["event-dates"] == "fail"
    assert "Moved by a year, 40 more would be in it" in found.summary()


def close(study, **options):
    study.wave_open("w1", accept_late=True)
    study.observe(login([f"{i:03d}" for i in range(40)], kind="logins"))
    return study.wave_close("w1", **options)


def test_outcomes_of_a_kind_that_was_never_seen_are_not_frozen(study):
    with pytest.raises(InputError, match="nearest kind seen is 'logins'") as told:
        close(study)
    assert "--accept event-kinds --reason TEXT" in str(told.value)
    assert study.status().facts()["waves"][0]["state"] == "open"
    study.observe(login([f"{i:03d}" for i in range(40)], start=40))
    assert study.wave_close("w1").facts()["n_units"] == 60


def test_an_accepted_check_goes_on_record(study):
    with pytest.raises(InputError, match="without --reason"):
        close(study, accept=["event-kinds"])
    with pytest.raises(InputError, match="found --accept languages; needed one of event-kinds"):
        study.wave_close("w1", accept=["event-kinds", "languages"], reason="none came")
    study.wave_close("w1", accept=["event-kinds"], reason="none came")
    study.report()
    page = (study.folder / "report" / "index.html").read_text()
    assert "none came" in page
    assert "No event of kind" in page


def test_what_is_odd_of_people_is_told_by_check_and_before_a_wave_is_opened(study):
    checked = study.check()
    assert any(note.startswith("near-equal-labels: warn") for note in checked.facts()["notes"])
    assert "'North '" in checked.summary()
    assert "near-equal-labels: warn" in study.wave_open("w1", accept_late=True).summary()


def test_the_report_shows_the_verdicts_as_they_are(study):
    study.wave_open("w1", accept_late=True)
    ids = [f"{i:03d}" for i in range(40)]
    study.observe(login(ids))
    study.observe(login(["elsewhere"] * 3, start=50), keep_unmatched=True)
    study.wave_close("w1")
    study.report()
    page = (study.folder / "report" / "index.html").read_text()
    assert "3 of 43 events of the outcomes&#39; kinds (7.0%) name none of the 60 units" in page
    assert "near-equal-labels" in page
    assert "elsewhere" not in page
