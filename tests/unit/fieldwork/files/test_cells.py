"""Columns of files: numbers in any style, times in any order, ids in one form."""

import polars as pl
import pytest

from wavewise.design.parse import parse_reading
from wavewise.fieldwork.events import check_events
from wavewise.fieldwork.files.cells import Cells, is_no_value, near_time_zone
from wavewise.fieldwork.files.faults import FaultLog
from wavewise.fieldwork.files.times import read_times
from wavewise.fieldwork.people import check_people, near_labels
from wavewise.workflow.files import unmatched_ids


def cells_of(columns: dict[str, list], separator: str | None = ",", **told) -> Cells:
    frame = pl.DataFrame(columns)
    return Cells(frame, FaultLog(), 2, reading=parse_reading(told), separator=separator)


@pytest.mark.parametrize(
    ("cells", "values", "note"),
    [
        (["12.5", "1"], [12.5, 1.0], ""),
        (["12,5", "1"], [12.5, 1.0], "decimal comma"),
        (["1,234.5", "2"], [1234.5, 2.0], "thousands separated"),
        (["1.234,5", "2"], [1234.5, 2.0], "decimal comma"),
        (["1 234,5", "2"], [1234.5, 2.0], "decimal comma"),
        (["1\u00a0234,5", "\u22122"], [1234.5, -2.0], "decimal comma"),
        (["1'234.5", "2"], [1234.5, 2.0], "thousands separated"),
        (["0,125", "2"], [0.125, 2.0], "decimal comma"),
        (["1,234,567", "2"], [1234567.0, 2.0], "thousands separated"),
        (["1e3", " 7 ", None], [1000.0, 7.0, None], ""),
    ],
)
def test_numbers_by_what_all_cells_allow(cells: list, values: list, note: str) -> None:
    read = cells_of({"x": cells})
    assert read.number("x").to_list() == values
    assert (read.log.n, read.reads[0].note) == (0, note)


@pytest.mark.parametrize(
    ("cells", "separator"), [(["1,234"], ","), (["1.234"], ";"), (["1.234"], "\t")]
)
def test_one_thousand_or_one_and_a_bit(cells: list, separator: str) -> None:
    read = cells_of({"x": cells}, separator)
    read.number("x")
    assert "pass --decimal" in str(read.log.faults[0])
    for mark, value in (
        (",", {"1,234": 1.234, "1.234": 1234.0}),
        (".", {"1,234": 1234.0, "1.234": 1.234}),
    ):
        told = cells_of({"x": cells}, separator, decimal=mark)
        assert told.number("x").to_list() == [value[cells[0]]]
        assert told.log.n == 0


def test_another_column_settles_the_decimal_mark() -> None:
    read = cells_of({"x": ["1.234"], "y": ["0,5"]}, ";")
    assert read.number("x").to_list() == [1234.0]


@pytest.mark.parametrize(
    "cells", [["12,5", "12.5", "3"], ["1", "2", "3%"], ["1", "2", "$3"], ["1", "2", "3 kg"]]
)
def test_numbers_of_no_one_style_are_never_silently_text(cells: list) -> None:
    found = check_people(
        pl.DataFrame({"id": ["a", "b", "c"], "x": cells}), id="id", covariates=["x"]
    )
    assert found.n_faults
    assert "--as-text x" in str(found.faults[0])
    as_text = parse_reading({"columns": {"x": {"as_text": True}}})
    frame = pl.DataFrame({"id": ["a", "b", "c"], "x": cells})
    found = check_people(frame, id="id", covariates=["x"], reading=as_text)
    assert (found.n_faults, found.kinds["x"]) == (0, "text")


@pytest.mark.parametrize(
    ("cells", "utc", "note"),
    [
        (
            ["25/03/2026 17:02", "3/4/2026 5:00"],
            ["2026-03-25 22:02:00", "2026-04-03 10:00:00"],
            "day first",
        ),
        (
            ["3/25/2026 5:02:11 PM", "3/4/2026 12:00 AM"],
            ["2026-03-25 22:02:11", "2026-03-04 05:00:00"],
            "month first",
        ),
        (["25/03/2026 5:02 p. m."], ["2026-03-25 22:02:00"], "day first"),
        (["Mar 5, 2026 5:02:11 PM"], ["2026-03-05 22:02:11"], "with the month in letters"),
        (["5 ago. 2026 17:02:11"], ["2026-08-05 22:02:11"], "with the month in letters"),
        (["2026-03-05T17:02:11.000-05:00"], ["2026-03-05 22:02:11"], ""),
        (
            ["46086.5", "46086,709861111"],
            ["2026-03-05 17:00:00", "2026-03-05 22:02:12"],
            "spreadsheet day numbers, in America/Lima",
        ),
        (["1772748131"], ["2026-03-05 22:02:11"], "seconds since 1970"),
        (["1772748131000"], ["2026-03-05 22:02:11"], "milliseconds since 1970"),
        (["2026-03-05"], ["2026-03-05 17:00:00"], "year first"),
        (["2026/3/5 9:05"], ["2026-03-05 14:05:00"], "year first"),
    ],
)
def test_times_by_what_all_cells_allow(cells: list, utc: list, note: str) -> None:
    read = read_times(pl.Series(cells), "America/Lima")
    found = read.at_utc_us.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M:%S").to_list()
    assert (found, read.note, read.doubt) == (utc, note, "")


@pytest.mark.parametrize(
    ("cells", "told", "utc"),
    [
        (["3/4/2026"], "DMY", "2026-04-03"),
        (["3/4/2026"], "MDY", "2026-03-04"),
        (["3/4/26"], "DMY", "2026-04-03"),
        (["26.4.3"], "YMD", "2026-04-03"),
        (["03.04.2026 10:00"], "%d.%m.%Y %H:%M", "2026-04-03"),
    ],
)
def test_an_order_in_doubt_is_asked_for(cells: list, told: str, utc: str) -> None:
    assert read_times(pl.Series(cells), "UTC").doubt
    read = read_times(pl.Series(cells), "UTC", told)
    assert read.doubt == ""
    assert str(read.at_utc_us.cast(pl.Datetime("us"))[0])[:10] == utc


def test_dates_that_a_spreadsheet_swapped_in_part_are_asked_about() -> None:
    assert (
        "swapped" in read_times(pl.Series(["25/03/2026 10:00", "2026-04-03 00:00:00"]), "UTC").doubt
    )
    assert read_times(pl.Series(["25/13/2026", "13/25/2026"]), "UTC").doubt


ERRORS = [
    "#N/A",
    "#REF!",
    "#VALUE!",
    "#DIV/0!",
    "#NAME?",
    "#¡VALOR!",
    "#¿NOMBRE?",
    "#N/D",
    "#WERT!",
    "Err:502",
]


@pytest.mark.parametrize("cell", [*ERRORS, "NULL", "nan", "NA", "<NA>", "None", "\\N"])
def test_errors_and_words_for_nothing_are_no_values(cell: str) -> None:
    frame = pl.DataFrame({"id": ["a", "b"], "s": ["x", cell], "f": [cell, "y"], "x": ["u", cell]})
    found = check_people(frame, id="id", strata=["s"], covariates=["x"], fields=["f"])
    assert {f.column for f in found.faults} == {"s", "x", "f"}
    assert all("--missing" in f.fix for f in found.faults)
    assert check_people(pl.DataFrame({"id": [cell, "b"]}), id="id").n_faults == 1
    events = pl.DataFrame(
        {"event_id": ["1"], "unit_id": ["a"], "kind": [cell], "at": ["2026-01-01T00:00Z"]}
    )
    assert check_events(events).n_faults == 1


@pytest.mark.parametrize("cell", ["Nan", "Na", "#7", "# 3", "Nulo", "Anna", "none of them"])
def test_words_that_look_like_nothing_and_are_not(cell: str) -> None:
    assert not is_no_value(cell)


def test_missing_words_are_empty_cells_where_told() -> None:
    reading = parse_reading({"missing": ["NA", "-99"]})
    from wavewise.fieldwork.files.read import Table, as_told

    table = as_told(
        Table(pl.DataFrame({"x": ["NA", " -99", "5"], "y": [1, -99, 2]}), "f", 2, reading)
    )
    assert table.frame.rows() == [(None, 1), (None, None), ("5", 2)]


@pytest.mark.parametrize(
    ("ids", "same"),
    [
        (["007", " 007", "007\u00a0", "\ufeff007"], "007"),
        (["Jos\u00e9", "Jose\u0301"], "Jos\u00e9"),
        ([7.0, 7.0], "7"),
        (["7.0", "7.0"], "7"),
    ],
)
def test_ids_have_one_form(ids: list, same: str) -> None:
    assert set(cells_of({"id": ids}).id("id")) == {same}


def test_ids_that_lost_their_digits() -> None:
    read = cells_of({"id": ["1.23457E+11", "1.23458E+11"]})
    read.id("id")
    assert "scientific notation" in str(read.log.faults[0])
    assert "1.23457" not in str(read.log.faults[0])


def test_ids_that_match_nobody_and_why() -> None:
    known = pl.Series(["007", "P-8", "Ana", "Jos\u00e9", "x1", "X1"])
    ids = pl.Series(["7", "7", "p8", "ANA", "Jose\u0301", "7.0", "x 1", "?"])
    found = {row[0]: row[1:] for row in unmatched_ids(ids, known).rows()}
    assert found == {
        "7": (2, "leading zeros", "007"),
        "p8": (1, "several of these", "P-8"),
        "ANA": (1, "letter case", "Ana"),
        "Jose\u0301": (1, "Unicode form", "Jos\u00e9"),
        "7.0": (1, "several of these", "007"),
        "x 1": (1, "blanks", "x1"),
        "?": (1, "no unit is like it", None),
    }


def test_labels_that_may_be_the_same_are_named() -> None:
    labels = ["I.E. 7", "I.E. 7 ", "I.E.\u00a07", "i.e. 7", "I.E.  7", "I.E. 8", "Jose"]
    assert near_labels(pl.Series(labels)) == [labels[:5]]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("Lima", " (is it 'America/Lima'?)"),
        ("nairobi", " (is it 'Africa/Nairobi'?)"),
        ("West", ""),
        ("Mars", ""),
    ],
)
def test_a_time_zone_is_hinted_at_only_where_it_is_the_same_hour(word: str, hint: str) -> None:
    assert near_time_zone(word) == hint


def test_events_without_ids_get_the_same_ones_again() -> None:
    rows = {"unit_id": ["a", "a", "a"], "kind": ["x"] * 3, "at": ["2026-01-01T00:00:00Z"] * 3}
    first = check_events(pl.DataFrame({**rows, "value": ["1", "1", "2"]})).events
    again = check_events(pl.DataFrame({**rows, "value": ["1.0", "1.00", "2"]})).events
    assert first["event_id"].n_unique() == 3
    assert first["event_id"].to_list() == again["event_id"].to_list()
    longer = {key: [*cells, cells[0]] for key, cells in rows.items()}
    more = check_events(pl.DataFrame({**longer, "value": ["1", "1", "2", "3"]})).events
    assert more["event_id"].to_list()[:3] == first["event_id"].to_list()
