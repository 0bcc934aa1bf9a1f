"""Files as people bring them: read right, or refused with the option that makes them right."""

import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from messy_files import ZONE, MessyFile, at_utc_us, messy_file, mutated
from wavewise.design.parse import parse_reading
from wavewise.errors import InputError
from wavewise.fieldwork.events import check_events
from wavewise.fieldwork.files.read import read_table
from wavewise.fieldwork.people import check_people

OPTIONS = ("--separator", "--encoding", "--decimal", "--date-format", "--header-row", "--sheet")


def events_of(path: Path, told: dict) -> pl.DataFrame:
    reading = parse_reading(told)
    table = read_table(path, reading, columns_needed=("unit_id", "at"))
    how = {"first_row": table.first_row, "reading": reading, "separator": table.separator}
    checked = check_events(table.frame, kind="x", default_time_zone=ZONE, **how)
    checked.raise_if_bad()
    return checked.events


def assert_true(messy: MessyFile, events: pl.DataFrame) -> None:
    rows = events.select("unit_id", "at_utc_us", "value", "item").rows()
    assert len(rows) == len(messy.truth), messy.made_of
    for (unit, at, value, item), found in zip(messy.truth, rows, strict=True):
        assert (found[0], found[3]) == (unit, item), messy.made_of
        assert abs(found[1] - at_utc_us(at)) <= 1_000_000, messy.made_of
        assert found[2] == (None if value is None else pytest.approx(value)), messy.made_of


def read_right_or_asked(folder: Path, seed: int) -> str:
    messy = messy_file(folder, seed)
    names = {key: value for key, value in messy.told.items() if key == "columns"}
    try:
        events = events_of(messy.path, names)
    except InputError as error:
        assert any(option in str(error) for option in OPTIONS), (messy.made_of, str(error))
        assert_true(messy, events_of(messy.path, messy.told))
        return "asked"
    assert_true(messy, events)
    return "read"


def test_forty_messy_files_are_read_right_or_asked_about(tmp_path: Path) -> None:
    found = [read_right_or_asked(tmp_path, seed) for seed in range(40)]
    assert found.count("read") > 20


@pytest.mark.slow
def test_five_hundred_messy_files(tmp_path: Path) -> None:
    found = [read_right_or_asked(tmp_path, seed) for seed in range(500)]
    print(f"{found.count('read')} read right, {found.count('asked')} asked about, none read wrong")


def no_trace(folder: Path, n_files: int, *, binary: bool) -> None:
    seed, n = 0, 0
    while n < n_files:
        seed += 1
        rng = random.Random(seed)
        messy = messy_file(folder, seed % 500)
        if (messy.path.suffix in {".xlsx", ".parquet", ".dta", ".sav"}) != binary:
            continue
        for _ in range(20):
            n += 1
            path = folder / f"mutated{messy.path.suffix}"
            path.write_bytes(mutated(messy.path.read_bytes(), rng))
            try:
                table = read_table(path)
                how = {"first_row": table.first_row, "separator": table.separator}
                check_events(table.frame, kind="x", default_time_zone=ZONE, **how)
                if table.frame.width:
                    first, *others = table.frame.columns
                    check_people(table.frame, id=first, covariates=others, **how)
            except InputError as error:
                assert not binary or len(str(error).splitlines()) == 1


def test_mutated_texts_leave_no_trace(tmp_path: Path) -> None:
    no_trace(tmp_path, 400, binary=False)


def test_mutated_binary_files_leave_no_trace(tmp_path: Path) -> None:
    no_trace(tmp_path, 20, binary=True)


@pytest.mark.slow
def test_ten_thousand_mutated_files(tmp_path: Path) -> None:
    no_trace(tmp_path, 9_500, binary=False)
    no_trace(tmp_path, 500, binary=True)


BOMB = """
import polars as pl, sys
pl.DataFrame({"x": pl.repeat("y" * 2_000, 3_400_000, eager=True)}).write_parquet(
    sys.argv[1], statistics=False
)
pl.DataFrame({"x": [0]}).lazy().select(pl.repeat(0, 300_000_000, dtype=pl.Int64).alias("x")
).sink_parquet(sys.argv[2])
"""


def test_a_parquet_file_that_unfolds_to_gigabytes_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "words.parquet", tmp_path / "zeros.parquet"]
    subprocess.run([sys.executable, "-c", BOMB, *map(str, paths)], check=True)
    for path in paths:
        assert path.stat().st_size < 1_000_000
        with pytest.raises(InputError, match="more than 1 GiB of memory"):
            read_table(path)


# --- spreadsheets, Stata and SPSS -----------------------------------------------------------------


def sheet_file(folder: Path, sheets: dict[str, list[list]]) -> Path:
    import xlsxwriter

    path = folder / "people.xlsx"
    book = xlsxwriter.Workbook(str(path))
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for i, row in enumerate(rows):
            for j, cell in enumerate(row):
                if isinstance(cell, str) and cell.startswith("="):
                    sheet.write_formula(i, j, cell, None, "#N/A")
                elif cell is not None:
                    sheet.write(i, j, cell)
    book.close()
    return path


def test_a_sheet_by_name_and_titles_above_the_names(tmp_path: Path) -> None:
    rows = [["Padres 2026"], [], ["id", "score", None], [7, 0.1], ["008", 1 / 3]]
    path = sheet_file(tmp_path, {"Hoja1": rows, "Notas": [["x"]]})
    with pytest.raises(InputError, match='pass --sheet "Hoja1"'):
        read_table(path)
    with pytest.raises(InputError, match="found no sheet 'Datos'"):
        read_table(path, parse_reading({"sheet": "Datos"}))
    with pytest.raises(InputError, match="pass --header-row 3"):
        read_table(path, parse_reading({"sheet": "Hoja1"}), columns_needed=["id", "score"])
    table = read_table(path, parse_reading({"sheet": "Hoja1", "header_row": 3}))
    assert table.first_row == 4
    assert [row[0] for row in table.frame.rows()] == ["7", "008"]
    assert [float(row[1]) for row in table.frame.rows()] == pytest.approx([0.1, 1 / 3])


def test_an_error_value_of_a_formula_is_named(tmp_path: Path) -> None:
    path = sheet_file(tmp_path, {"a": [["id", "school"], [1, "=NA()"], [2, "A"]]})
    table = read_table(path)
    found = check_people(table.frame, id="id", strata=["school"], first_row=table.first_row)
    assert [(f.path, f.found) for f in found.faults] == [
        ("row 2, column 'school'", "'#N/A', an error value")
    ]


@pytest.mark.parametrize("kind", ["dta", "sav"])
def test_stata_and_spss_by_codes_or_by_labels(tmp_path: Path, kind: str) -> None:
    import pyreadstat

    path = tmp_path / f"people.{kind}"
    frame = pl.DataFrame({"id": [1.0, 2.0], "region": [1.0, 2.0], "name": ["ñ", "b"]})
    writer = getattr(pyreadstat, f"write_{kind}")
    writer(frame, str(path), variable_value_labels={"region": {1.0: "North", 2.0: "South"}})
    assert read_table(path).frame.rows() == [(1, 1, "ñ"), (2, 2, "b")]
    labelled = read_table(path, parse_reading({"value_labels": True})).frame
    assert labelled["region"].to_list() == ["North", "South"]


def test_rows_that_qualtrics_adds(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text(
        "RecordedDate,ResponseId,unit_id\nRecorded Date,Response ID,Which?\n"
        '"{""ImportId"":""recordedDate""}","{""ImportId"":""_recordId""}","{""ImportId"":""q1""}"\n'
        "2026-03-05 17:02:11,R_1,007\n",
        encoding="utf-8",
    )
    told = {"columns": {"at": "RecordedDate", "event_id": "ResponseId"}}
    events = events_of(path, told)
    assert events.rows()[0][:2] == ("R_1", "007")
    assert read_table(path).first_row == 4


def test_a_column_map_reads_a_monthly_export(tmp_path: Path) -> None:
    path = tmp_path / "mes.csv"
    path.write_text("ID del apoderado;Fecha;Minutos\n007;05/03/2026;1.234\n", encoding="cp1252")
    columns = {
        "unit_id": "ID del apoderado",
        "at": {"from": "Fecha", "date_format": "DMY"},
        "value": {"from": "Minutos", "decimal": ","},
    }
    row = events_of(path, {"separator": ";", "columns": columns}).row(0, named=True)
    assert (row["unit_id"], row["value"]) == ("007", 1234.0)
    assert pl.Series([row["at_utc_us"]]).cast(pl.Datetime("us"))[0].isoformat() == (
        "2026-03-05T17:00:00"
    )
