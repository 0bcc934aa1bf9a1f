"""Periods of scores: which of them come after each wave, and what the study file must say."""

import tomllib

import pytest

from score_study import STUDY
from wavewise.design import find_faults
from wavewise.design.spec import Outcome
from wavewise.design.wave_references import first_periods, own_period

PERIODS = 'periods = ["E2", "M3", "E3"]'


def faults(old: str, new: str) -> str:
    return "\n".join(map(str, find_faults(tomllib.loads(STUDY.replace(old, new)))))


def test_the_study_itself_has_no_fault() -> None:
    assert faults("", "") == ""


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ('periods = ["E2", "M3"]', "outcomes['reading'].begins: found nothing for one, two"),
        (PERIODS + '\nbegins = { one = "M3" }', "begins: found nothing for two"),
        (PERIODS + '\nbegins = { one = "M3", three = "E3" }', "'three'"),
        (PERIODS + '\nbegins = { one = "M4", two = "E3" }', "'M4'; needed the name of a period"),
        ('periods = ["E2", "E2", "E3"]', "a name twice"),
    ],
)
def test_faults_of_periods(new: str, told: str) -> None:
    assert told in faults(PERIODS, new)


@pytest.mark.parametrize("value", ['"newest"', "7", '"2021-13-01"'])
def test_delivery_is_a_word_or_a_date(value: str) -> None:
    told = faults('delivery = "latest"', f"delivery = {value}")
    assert 'needed "first", "latest", or a date such as' in told


def test_periods_belong_to_scores() -> None:
    text = STUDY.replace('kind = "score"', 'kind = "any"\nevent = "x"')
    told = "\n".join(map(str, find_faults(tomllib.loads(text))))
    assert "kind 'score' beside it" in told


@pytest.mark.parametrize(
    ("begins", "own"),
    [
        ({}, ["M3", "E3"]),
        ({"one": "E3", "two": "E3"}, ["E3", "E3"]),
        ({"one": "E2", "two": "E3"}, ["M3", "E3"]),
        ({"one": "E3", "two": "M3"}, ["E3", "M3"]),
    ],
)
def test_own_period_is_the_last_before_the_next_wave(
    begins: dict[str, str], own: list[str]
) -> None:
    outcome = Outcome(id="r", kind="score", periods=("E2", "M3", "E3"), begins=begins)
    assert [own_period(outcome, wave, ["one", "two"]) for wave in ("one", "two")] == own
    assert first_periods(outcome, ["one", "two"]) == (begins or {"one": "M3", "two": "E3"})
