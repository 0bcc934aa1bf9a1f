"""What is said of people and events before anything is frozen."""

import polars as pl
import pytest

from wavewise.fieldwork.data_check import (
    event_dates,
    event_kinds,
    event_values,
    languages_without_text,
    near_equal_labels,
    numbers_as_text,
    shared_contacts,
    small_strata,
    unmatched_ids,
)

DAY = 86_400_000_000
NEVER = {"before": 0, "inside": 0, "after": 0}


def lost(*rows):
    columns = ["id", "kind", "events", "cause", "unit"]
    return pl.DataFrame(list(rows), columns, orient="row")


def test_a_third_of_the_logins_lost_to_a_spreadsheet_fails():
    found = unmatched_ids(
        lost(
            ("1", "login", 2, "leading zeros", "0001"), ("2", "login", 4, "leading zeros", "0002")
        ),
        {"login": 18},
        9,
    )
    assert (found.verdict, found.count) == ("fail", 6)
    assert "6 of 18" in found.text
    assert "6 (leading zeros)" in found.text
    assert "0001" not in found.text  # ids only where asked for
    assert found.ids[0]["unit"] == "0001"


def test_events_of_people_outside_the_study_are_a_warning_until_they_are_many():
    few = unmatched_ids(lost(("x", "login", 5, "no unit is like it", None)), {"login": 100}, 95)
    many = unmatched_ids(lost(("x", "login", 95, "no unit is like it", None)), {"login": 190}, 95)
    none = unmatched_ids(lost(), {"login": 95}, 95)
    assert [few.verdict, many.verdict, none.verdict] == ["warn", "fail", "pass"]


def test_one_kind_whose_events_name_nobody_is_not_hidden_by_another():
    found = unmatched_ids(
        lost(("x", "visit", 20, "no unit is like it", None)), {"login": 9_980, "visit": 20}, 95
    )
    assert found.verdict == "fail"
    assert "Of kind 'visit' they are a large part" in found.text


def test_a_kind_that_was_never_seen_names_the_nearest():
    found = event_kinds({"log-in": 30, "click": 2}, {"login": ("y", "z")})
    assert found.verdict == "fail"
    assert (
        "'login' was seen, of which y, z is made; the nearest kind seen is 'log-in'" in found.text
    )
    assert event_kinds({"login": 1, "click": 2}, {"login": ("y",)}).verdict == "pass"
    assert event_kinds({}, {"login": ("y",)}).verdict == "fail"


@pytest.mark.parametrize("near", ["Login", "LOGIN ", "login\u00a0"])
def test_kinds_that_differ_by_case_or_blanks(near):
    found = event_kinds({"login": 50, near: 50, "click": 2}, {"login": ("y",)})
    assert (found.verdict, found.count) == ("fail", 50)
    assert "50 of 100 events are left out" in found.text
    assert event_kinds({"login": 98, near: 2}, {"login": ("y",)}).verdict == "warn"
    assert event_kinds({"login": 9, "Login": 9}, {"login": ("y",), "Login": ("z",)}).count == 0


START, END = 20_000 * DAY, 20_014 * DAY


def around(*, before=0, inside=0, after=0, a_year_off=0, first=START, last=START):
    return pl.DataFrame(
        {
            "kind": ["login"],
            "before": [before],
            "inside": [inside],
            "after": [after],
            "a_year_off": [a_year_off],
            "first_us": [first],
            "last_us": [last],
        }
    )


def test_dates_a_year_off_are_named():
    whole = event_dates(around(before=40, a_year_off=40, first=START - 365 * DAY), (START, END))
    assert whole.verdict == "fail"
    assert "Moved by a year, 40 more would be in it" in whole.text
    half = event_dates(around(before=40, inside=40, a_year_off=40), (START, END))
    assert half.verdict == "fail"
    far = event_dates(around(before=40), (START, END))
    assert "Moved by a year" not in far.text
    assert far.verdict == "fail"


def test_a_history_of_years_is_no_mistake():
    history = around(before=2_000, inside=100, a_year_off=90)
    assert "Moved" not in event_dates(history, (START, END)).text
    year = (START, START + 365 * DAY)
    assert event_dates(around(before=40, inside=60, a_year_off=40), year).verdict == "pass"
    assert event_dates(around(before=9, inside=3), (START, END)).verdict == "warn"
    assert event_dates(around(before=1, inside=3), (START, END)).verdict == "pass"
    assert event_dates(around(), (START, END)).verdict == "warn"


def test_events_without_their_value():
    found = around(inside=5).with_columns(valueless=pl.Series([2]))
    assert event_values(found, ["login"]).count == 2
    assert event_values(found, ["login"]).verdict == "fail"
    assert event_values(found, ["visit"]).verdict == "pass"


def test_labels_that_look_alike():
    labels = ["San José", "San Jose\u0301", "san josé", "San José ", "San\u00a0José", "Lima"]
    found = near_equal_labels(pl.DataFrame({"school": labels, "n": range(6)}), ["school", "n"])
    assert (found.verdict, found.count) == ("warn", 1)
    assert found.rows[0]["n"] == 5
    assert near_equal_labels(pl.DataFrame({"school": ["A", "B"]}), ["school"]).verdict == "pass"


def test_numbers_that_were_read_as_text():
    frame = pl.DataFrame(
        {"a": ["1,5", "2,25", None], "b": ["x", "y", "z"], "c": ["1"] * 2 + ["n/a"]}
    )
    found = numbers_as_text(frame, ["a", "b", "c"])
    assert [row["column"] for row in found.rows] == ["a"]
    assert numbers_as_text(frame, ["b"]).verdict == "pass"


def test_strata_of_one():
    strata = pl.Series("stratum", ["a"] * 10 + ["b", "c"])
    found = small_strata(strata, 3)
    assert (found.verdict, found.count) == ("warn", 2)
    assert "2 of them with a single unit" in found.text
    assert small_strata(pl.Series("stratum", ["all"]), 3).verdict == "pass"


def test_languages_and_shared_details():
    given = pl.DataFrame({"language": ["en", "EN-us", "es_PE", "qu", None, " "], "n": [1] * 6})
    found = languages_without_text(given, ["en", "es"])
    assert found.rows == ({"language": "qu", "n": 1},)
    scripts = pl.DataFrame({"language": ["zh-Hant"], "n": [3]})
    assert languages_without_text(scripts, ["zh-Hant", "en"]).verdict == "pass"


def test_shared_details_are_those_of_units_that_are_drawn_separately():
    shared = pl.DataFrame(
        {
            "channel": ["sms", "sms", "email", "email"],
            "detail": ["1", "1", "2", "2"],
            "group": ["a", "b", "c", "c"],
        }
    )
    found = shared_contacts(shared)
    assert (found.verdict, found.count) == ("warn", 2)
    assert "they may fall into different arms" in found.text
    assert shared_contacts(shared.tail(2)).verdict == "pass"
