"""What is said of people and events before anything is frozen."""

import polars as pl

from wavewise.fieldwork.data_check import (
    event_dates,
    event_kinds,
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
    return pl.DataFrame(list(rows), ["id", "events", "cause", "unit"], orient="row")


def test_a_third_of_the_logins_lost_to_a_spreadsheet_fails():
    found = unmatched_ids(
        lost(("1", 2, "leading zeros", "0001"), ("2", 4, "leading zeros", "0002")), 18, 9
    )
    assert (found.verdict, found.count) == ("fail", 6)
    assert "6 of 18" in found.text
    assert "6 (leading zeros)" in found.text
    assert "0001" not in found.text  # ids only where asked for
    assert found.ids[0]["unit"] == "0001"


def test_events_of_people_outside_the_study_are_a_warning_until_they_are_many():
    few = unmatched_ids(lost(("other", 5, "no unit is like it", None)), 100, 95)
    many = unmatched_ids(lost(("other", 95, "no unit is like it", None)), 190, 95)
    none = unmatched_ids(lost(), 95, 95)
    assert [few.verdict, many.verdict, none.verdict] == ["warn", "fail", "pass"]


def test_a_kind_that_was_never_seen_names_the_nearest():
    found = event_kinds({"log-in": 30, "click": 2}, {"login": ("y", "z")})
    assert found.verdict == "fail"
    assert (
        "'login' was seen, of which y, z is made; the nearest kind seen is 'log-in'" in found.text
    )
    assert event_kinds({"login": 1, "click": 2}, {"login": ("y",)}).verdict == "pass"
    assert event_kinds({}, {"login": ("y",)}).verdict == "fail"


def test_dates_a_year_off_are_named():
    start, end = 20_000 * DAY, 20_014 * DAY
    first, last = start - 365 * DAY, end - 366 * DAY
    found = event_dates({**NEVER, "before": 40}, first, last, (start, end))
    assert found.verdict == "fail"
    assert "Moved by a year" in found.text
    far = event_dates({**NEVER, "before": 40}, first - 90 * DAY, last - 90 * DAY, (start, end))
    assert "Moved by a year" not in far.text
    assert event_dates({"before": 9, "inside": 3, "after": 0}, 0, 1, (0, 1)).verdict == "warn"
    assert event_dates({"before": 1, "inside": 3, "after": 0}, 0, 1, (0, 1)).verdict == "pass"


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
    given = pl.Series(["en", "EN-us", "es_PE", "qu", None])
    assert languages_without_text(given, ["en", "es"]).rows == ({"language": "qu", "n": 1},)
    groups = pl.DataFrame({"channel": ["sms", "sms", "email"], "n": [1, 4, 2]})
    found = shared_contacts(groups)
    assert (found.verdict, found.count) == ("warn", 6)
    assert shared_contacts(groups.head(1)).verdict == "pass"
