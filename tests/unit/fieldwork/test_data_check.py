"""What is said of people and events before anything is frozen."""

import polars as pl
import pytest

from wavewise.fieldwork.data_check import (
    event_dates,
    event_kinds,
    languages_without_text,
    likely_ids,
    near_equal_labels,
    numbers_as_text,
    shared_contacts,
    small_strata,
    unmatched_ids,
)

DAY = 86_400_000_000
NEVER = {"before": 0, "inside": 0, "after": 0}


@pytest.mark.parametrize(
    ("written", "person", "cause"),
    [
        ("7", "0007", "leading zeros"),
        ("7.0", "0007", "leading zeros"),
        ("1.2E+4", "012000", "leading zeros"),
        (" a-1 ", "A-1", "blanks"),
        ("A\u00a01", "a1", "blanks"),
        ("\uff2112", "A12", "blanks"),
        ("A12", "A-12", "marks"),
    ],
)
def test_an_id_that_names_nobody_has_a_likely_person(written, person, cause):
    found = likely_ids([written], [person, "zz", "0100"])
    assert found[written][0] == person
    assert cause in found[written][1]


def test_an_id_that_could_mean_two_people_means_none():
    assert likely_ids(["7"], ["07", "007"]) == {}
    assert likely_ids(["x"], ["y"]) == {}


def events(*rows):
    return pl.DataFrame(list(rows), ["unit_id", "kind", "n"], orient="row")


def test_a_third_of_the_logins_lost_to_a_spreadsheet_fails():
    ids = pl.Series([f"{i:04d}" for i in range(9)])
    lost = events(
        *[(str(i), "login", 2) for i in range(3)], *[(f"{i:04d}", "login", 2) for i in range(3, 9)]
    )
    found = unmatched_ids(lost, ids, {"login": ("y",)})
    assert (found.verdict, found.count) == ("fail", 6)
    assert "leading zeros" in found.text
    assert "6 of 18" in found.text
    assert not any(name in found.text for name in ("0001", "0002"))  # ids only where asked for
    assert {row["likely"] for row in found.ids} == {"0000", "0001", "0002"}


def test_events_of_people_outside_the_study_are_a_warning_until_they_are_many():
    ids = pl.Series([f"u{i}" for i in range(100)])
    inside = [(f"u{i}", "login", 1) for i in range(95)]
    few = unmatched_ids(events(*inside, ("other", "login", 5)), ids, {"login": ("y",)})
    many = unmatched_ids(events(*inside, ("other", "login", 95)), ids, {"login": ("y",)})
    none = unmatched_ids(events(*inside, ("other", "click", 95)), ids, {"login": ("y",)})
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
