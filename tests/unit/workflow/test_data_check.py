"""The verb: what is found in a study's own store."""

from datetime import UTC, datetime

import polars as pl
import pytest

import wavewise as ww

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
    study.wave_open("w1")
    study.observe(login([f"{i:03d}" for i in range(40)]))
    assert verdicts(study.data_check())["unmatched-ids"] == "pass"
    study.observe(login([str(i) for i in range(40, 60)], start=40), keep_unmatched=True)
    found = study.data_check(wave="w1")
    assert verdicts(found)["unmatched-ids"] == "fail"
    assert found.verdict == "fail"
    assert "041" not in found.summary()
    assert "041" in study.data_check(wave="w1", ids=True).summary()


def test_a_typo_in_the_kind(study):
    study.wave_open("w1")
    study.observe(login([f"{i:03d}" for i in range(40)], kind="logins"))
    found = study.data_check()
    assert verdicts(found)["event-kinds"] == "fail"
    assert "the nearest kind seen is 'logins'" in found.summary()


def test_dates_of_another_year(study):
    study.wave_open("w1")
    study.observe(login([f"{i:03d}" for i in range(40)], at="2023-01-10T08:00:00Z"))
    found = study.data_check()
    assert verdicts(found)["event-dates"] == "fail"
    assert "Moved by a year they would be in it" in found.summary()
