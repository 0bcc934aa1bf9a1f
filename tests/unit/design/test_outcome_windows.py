"""Days of outcomes in the study file: what they mean, and what is refused before a draw."""

import tomllib

import pytest

from study_folders import STUDY
from wavewise.design import find_faults, parse_spec
from wavewise.design.versions import spec_hash

LATER = """
[[outcomes]]
id = "later"
kind = "count"
event = "login"
"""


def with_keys(keys: str) -> str:
    return STUDY + LATER + keys + "\n"


def faults(keys: str, old: str = "", new: str = "") -> str:
    return "\n".join(map(str, find_faults(tomllib.loads(with_keys(keys).replace(old, new)))))


def days(keys: str) -> tuple[int, int]:
    spec = parse_spec(with_keys(keys))
    return spec.days_of(spec.outcome("later"), spec.waves[0])


def test_during_and_after_follow_the_last_message() -> None:
    spec = parse_spec(STUDY)
    wave = spec.waves[0]
    schedule = spec.schedules[wave.schedule]
    last = (schedule.day_of_send(schedule.n_sends, wave.starts) - wave.starts).days + 1
    assert days("") == (1, wave.window_days)
    assert days('window = "during"') == (1, last)
    assert days(f'window = "after"\nto_day = {last + 2}') == (last + 1, last + 2)
    assert days("from_day = 2\nto_day = 5") == (2, 5)


def test_whole_weeks_counted_from_the_first_day_of_the_wave() -> None:
    spec = parse_spec(
        with_keys('from_day = 3\nto_day = 30\nunit_of_time = "week"'),
    )
    found = spec.periods(spec.outcome("later"), spec.waves[1])
    assert found == {"week 2": (8, 14), "week 3": (15, 21), "week 4": (22, 28)}


def test_a_window_that_the_next_waves_messages_reach_is_refused() -> None:
    shared = with_keys("to_day = 400").replace("units = { share = 0.5 }", "")
    shared = shared.replace('units = "rest"', "")
    told = "\n".join(map(str, find_faults(tomllib.loads(shared))))
    assert "outcomes['later'].to_day" in told
    assert "first message of wave 'two'" in told
    assert "needed a window that ends before them" in told
    assert faults("to_day = 400") == ""  # the second wave takes those that the first left


def test_default_keys_leave_the_hash_as_it_was() -> None:
    plain = with_keys("")
    said = with_keys('window = "wave"\nat_least = 1')
    assert spec_hash(parse_spec(plain)) == spec_hash(parse_spec(said))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("from_day = 9\nto_day = 3", "needed a last day that is not before the first"),
        ("from_day = 0", "from_day"),
        ('unit_of_time = "month"', "unit_of_time"),
    ],
)
def test_what_is_refused(keys: str, told: str) -> None:
    assert told in faults(keys)


def test_enough_events_belong_to_any() -> None:
    assert "kind 'any' beside it" in faults("at_least = 2")


def test_scores_have_periods_instead() -> None:
    told = faults("to_day = 5", 'kind = "count"', 'kind = "score"')
    assert "whose periods say when" in told
