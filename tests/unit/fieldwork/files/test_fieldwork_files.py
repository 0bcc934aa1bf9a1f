"""Data files: what is read, and how each fault is named."""

import csv
import gzip
import io
import resource
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.design.spec import Reading
from wavewise.errors import InputError
from wavewise.fieldwork.files import text as sources
from wavewise.fieldwork.files.faults import FaultLog
from wavewise.fieldwork.files.read import read_table
from wavewise.fieldwork.files.shape import Shape


def write(folder: Path, text: str | bytes, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path: Path, *, columns_needed=(), max_line_bytes: int = 1 << 20, **told) -> pl.DataFrame:
    options = {"columns_needed": columns_needed, "max_line_bytes": max_line_bytes}
    return read_table(path, Reading(**told), **options).frame


def refused(path: Path, **options) -> str:
    with pytest.raises(InputError) as caught:
        read(path, **options)
    return str(caught.value)


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'id,name\n007,"a, ""b"""\n8,\n',
        'id,name\r\n007,"a, ""b"""\r\n8,\r\n',
        'id,name\n007,"a, ""b"""\n8,""',
        '"id","name"\n"007","a, ""b"""\n"8",\n\n\n',
    ],
)
def test_cells_are_text_as_written_and_empty_is_null(tmp_path: Path, text: str) -> None:
    frame = read(write(tmp_path, text))
    assert frame.columns == ["id", "name"]
    assert frame.rows() == [("007", 'a, "b"'), ("8", None)]
    assert frame.schema == {"id": pl.String, "name": pl.String}


def test_blanks_stay(tmp_path: Path) -> None:
    assert read(write(tmp_path, "id,arm\n 1, Civic Duty\n")).row(0) == (" 1", " Civic Duty")


def test_line_breaks_inside_cells(tmp_path: Path) -> None:
    frame = read(write(tmp_path, 'id,note\n1,"two\nlines\r\n\n"\n2,x\n'))
    assert frame.rows() == [("1", "two\nlines\r\n\n"), ("2", "x")]


def test_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    frame = read(write(tmp_path, "id,name\n"))
    assert (frame.columns, frame.height) == (["id", "name"], 0)


def test_one_column(tmp_path: Path) -> None:
    assert read(write(tmp_path, "id\n1\n\n3\n\n"))["id"].to_list() == ["1", None, "3"]


def test_gzip_tabs_and_capitals_in_the_name(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"id\tname\n1\ta,b\n"), "people.TSV.gz")
    assert read(path).row(0) == ("1", "a,b")
    assert read_table(path).first_row == 2


def test_parquet_and_ndjson_keep_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1, 2], "x": [0.5, None], "name": ["ñ", "b"]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ndjson(tmp_path / "a.ndjson")
    for name in ("a.parquet", "a.ndjson"):
        assert read(tmp_path / name, columns_needed=["id"]).equals(frame)
        assert read_table(tmp_path / name).first_row == 1


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig", "utf-16-le"])
def test_other_encodings_when_told(tmp_path: Path, encoding: str) -> None:
    text = "id,name\n1,Ñusta\n" * 1
    path = write(tmp_path, text.encode(encoding))
    assert read(path, encoding=encoding).row(0) == ("1", "Ñusta")


def test_character_cut_by_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.chunks, "__defaults__", (3,))
    frame = read(write(tmp_path, 'id,name\n1,"ñandú, ""ñ"""\r\n2,😀\n'))
    assert frame.rows() == [("1", 'ñandú, "ñ"'), ("2", "😀")]


@pytest.mark.data
def test_real_file_of_344_084_people(shared_data: Path) -> None:
    name = "GerberGreenLarimer_APSR_2008_social_pressure.csv.gz"
    frame = read(shared_data / "gotv" / name, columns_needed=["treatment", "hh_id"])
    assert frame.shape == (344_084, 16)
    assert frame["hh_id"].n_unique() == 180_002
    assert frame["treatment"].value_counts().sort("treatment").rows() == [
        (" Civic Duty", 38_218),
        (" Control", 191_243),
        (" Hawthorne", 38_204),
        (" Neighbors", 38_201),
        (" Self", 38_218),
    ]


# --- what is refused ------------------------------------------------------------------------------


def test_latin_1_bytes_by_row_and_column(tmp_path: Path) -> None:
    text = 'id,name,school\n1,Ana,"a\nb"\n2,Nuñez,x\n3,Ana,Ica é\n'.encode("latin-1")
    message = refused(write(tmp_path, text))
    assert "2 errors" in message
    assert "row 3, column 'name': found the byte 0xF1; needed UTF-8" in message
    assert "row 4, column 'school': found the byte 0xE9" in message
    assert "pass --encoding cp1252 (reads 'Nuñez')" in message


def test_latin_1_bytes_in_the_header(tmp_path: Path) -> None:
    message = refused(write(tmp_path, "id,año\n1,2\n".encode("latin-1")))
    assert "row 1, column '2': found the byte 0xF1" in message


def test_thousands_of_latin_1_rows_are_counted(tmp_path: Path) -> None:
    text = "id,name\n" + "1,é\n" * 3_000
    message = refused(write(tmp_path, text.encode("latin-1")))
    assert "3,000 errors, the first 50 here, 2,950 more" in message
    assert len(message.splitlines()) == 51


def test_utf_8_cut_off_at_the_end(tmp_path: Path) -> None:
    assert "row 2, column 'b'" in refused(write(tmp_path, b"a,b\n1,x\xc3"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_of_any_form_is_told_from_the_file(tmp_path: Path, encoding: str) -> None:
    assert read(write(tmp_path, "id,name\n1,ñ\n".encode(encoding))).row(0) == ("1", "ñ")


def test_an_encoding_that_the_file_contradicts(tmp_path: Path) -> None:
    path = write(tmp_path, "id,name\n1,ñ\n".encode("utf-8-sig"))
    assert "leave --encoding out" in refused(path, encoding="cp1252")
    assert "would garble" in refused(write(tmp_path, "id,name\n1,ñ\n"), encoding="latin-1")


def test_nul_bytes(tmp_path: Path) -> None:
    assert "line 3: found a NUL byte" in refused(write(tmp_path, b"id\n1\n2\0\n"))


def test_endless_line_is_never_held(tmp_path: Path) -> None:
    """600 MB in one line, compressed: refused with hardly any memory."""
    path = tmp_path / "people.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"id,name\n1,")
        for _ in range(75):
            file.write(b"x" * (1 << 23))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = refused(path)
    assert "line 2: found more than 1,048,576 bytes without a line end" in message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_two_gigabytes_in_one_line(tmp_path: Path) -> None:
    """A sparse file: 2 GB that take no space and are not read to the end."""
    path = write(tmp_path, "id,name\n" + "x" * (3 << 20))
    with path.open("r+b") as file:
        file.truncate(2 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "line 2: found more than 1,048,576 bytes" in refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.parametrize("chunk_bytes", [3, 64, 1 << 20])
def test_longest_line_is_exact(
    tmp_path: Path, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.chunks, "__defaults__", (chunk_bytes,))
    path = write(tmp_path, "id\n1234567890\n2\n")
    assert read(path, max_line_bytes=10).height == 2
    assert "line 2: found more than 9 bytes" in refused(path, max_line_bytes=9)


@pytest.mark.parametrize("text", ["", "\n", "\n\n1,2\n", " \n1\n"])
def test_no_header(tmp_path: Path, text: str) -> None:
    assert "needed the names of the columns" in refused(write(tmp_path, text))


def test_repeated_and_missing_column_names(tmp_path: Path) -> None:
    message = refused(write(tmp_path, "id,name,,name\n1,2,3,4\n"))
    assert "row 1, column 'name': found this name 2 times" in message
    message = refused(write(tmp_path, "id,name,\n1,2,3\n"))
    assert "row 1, column 3: found no name" in message


@pytest.mark.parametrize(
    "text",
    ["id,name,,\n1,a,,\n2,b,,\n,,,\n,,,\n", "id,name\n1,a,,\n2,b\n", "id,name,,\n1,a\n2,b,\n\n"],
)
def test_empty_columns_and_rows_at_the_end_go(tmp_path: Path, text: str) -> None:
    frame = read(write(tmp_path, text))
    assert (frame.columns, frame.rows()) == (["id", "name"], [("1", "a"), ("2", "b")])


def test_rows_with_too_many_or_too_few_cells(tmp_path: Path) -> None:
    text = 'id,a\n1,"two\nlines"\n2\n3,4\n5,6,7\n\n8,9\n\n'
    message = refused(write(tmp_path, text))
    assert "row 3: found 1 cell; needed 2, as in the header" in message
    assert "row 5: found 3 cells; needed 2" in message
    assert "row 6: found an empty row" in message
    assert "3 errors" in message


def test_quotation_mark_never_closed(tmp_path: Path) -> None:
    message = refused(write(tmp_path, 'id,a\n1,b\n2,"c\n3,d\n'))
    assert "row 3: found a quotation mark that is never closed" in message
    assert "1 error" in message


@pytest.mark.parametrize("cell", ['5" tall', '"a"b', 'x"y"', '"a" '])
def test_quotation_mark_inside_a_cell(tmp_path: Path, cell: str) -> None:
    message = refused(write(tmp_path, f"id,a\n1,b\n2,{cell}\n3\n"))
    assert "row 3: found a quotation mark inside a cell" in message


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_separator_is_told_from_the_rows(tmp_path: Path, mark: str) -> None:
    text = f'id{mark}name\n1{mark}"a{mark} b"\n2{mark}c\n'
    rows = [("1", f"a{mark} b"), ("2", "c")]
    assert read(write(tmp_path, text)).rows() == rows
    assert read(write(tmp_path, f"sep={mark}\r\n{text}")).rows() == rows
    assert read_table(write(tmp_path, f"sep={mark}\r\n{text}")).first_row == 3


def test_a_separator_in_doubt_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "id;a,b\n1;2,3\n4;5,6\n")
    assert "--separator ','" in refused(path) or "--separator ," in refused(path)
    assert read(path, separator=";").rows() == [("1", "2,3"), ("4", "5,6")]


@pytest.mark.parametrize(("text", "row"), [("id,a\n1,2\n3,\r4\n", 3), ("id,a\n1,2\r", 2)])
def test_lone_carriage_return(tmp_path: Path, text: str, row: int) -> None:
    message = refused(write(tmp_path, text))
    assert f"row {row}: found a carriage return (CR) without a line feed" in message
    assert "1 error" in message


def test_old_line_ends_of_a_mac(tmp_path: Path) -> None:
    assert read(write(tmp_path, "id,a\r1,2\r3,4\r")).rows() == [("1", "2"), ("3", "4")]


def test_needed_columns_with_a_hint(tmp_path: Path) -> None:
    path = write(tmp_path, "parent_id,Grade \n1,2\n")
    message = refused(path, columns_needed=["parent_id", "grade", "score"])
    assert "no column 'grade' among ['parent_id', 'Grade']" in message
    assert "is it 'Grade'? Then pass --column 'grade=Grade'" in message
    assert "no column 'score'" in message


def test_wrong_kind_missing_file_and_folder(tmp_path: Path) -> None:
    assert "needed .csv" in refused(write(tmp_path, "x", "people.doc"))
    assert "does not read as Excel" in refused(write(tmp_path, "x", "people.xlsx"))
    assert "no readable file (No such file" in refused(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "no readable file (Is a directory)" in refused(tmp_path / "folder.csv")


@pytest.mark.parametrize("keep", [15, -4])
def test_broken_compression(tmp_path: Path, keep: int) -> None:
    whole = gzip.compress(b"id,name\n" + b"1,2\n" * 1000)
    assert "broken gzip" in refused(write(tmp_path, whole[:keep], "people.csv.gz"))
    assert "broken gzip" in refused(write(tmp_path, b"id,name\n", "people.csv.gz"))


def test_broken_parquet_and_ndjson(tmp_path: Path) -> None:
    assert "does not read as Parquet" in refused(write(tmp_path, "id", "people.parquet"))
    message = refused(write(tmp_path, '{"id":1}\n{"id":\n[2]\n', "people.ndjson"))
    assert "row 2: found no JSON object" in message
    assert "row 3: found no JSON object" in message
    assert "empty file" in refused(write(tmp_path, "", "people.jsonl"))
    assert "not UTF-8" in refused(write(tmp_path, b'{"id":"\xf1"}\n', "people.jsonl"))


@pytest.mark.parametrize("encoding", ["latin-99", "hex", "ascii"])
def test_wrong_encoding(tmp_path: Path, encoding: str) -> None:
    message = refused(write(tmp_path, "id\nñ\n"), encoding=encoding)
    assert "found the encoding" in message or "found bytes that are not ascii" in message


# --- the shape against Python's own reader --------------------------------------------------------


def without_empty_end(rows: list[list[str]]) -> list[tuple[str | None, ...]]:
    made = [tuple(cell or None for cell in row) for row in rows]
    while made and not any(made[-1]):
        made.pop()
    return made


cells = st.text(alphabet='ab,"\n\r ñ', max_size=5)
tables = st.integers(1, 3).flatmap(
    lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=6)
)


@settings(deadline=None, max_examples=150)
@given(tables, st.sampled_from(["\n", "\r\n"]), st.integers(1, 20))
def test_shape_is_that_of_the_csv_module(
    rows: list[list[str]], line_end: str, chunk_bytes: int
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
    data = text.getvalue().encode()
    shape, log = Shape(","), FaultLog()
    for start in range(0, len(data), chunk_bytes):
        shape.feed(data[start : start + chunk_bytes])
    shape.finish(log)
    assert (log.n, shape.n_rows) == (0, len(rows))
    assert next(csv.reader(io.StringIO(shape.header.decode(), newline=""))) == rows[0]


@settings(deadline=None, max_examples=60)
@given(tables)
def test_cells_are_those_of_the_csv_module(rows: list[list[str]]) -> None:
    header = [f"c{i}" for i in range(len(rows[0]))]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    path = Path("table.csv")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "open", lambda *_: io.BytesIO(text.getvalue().encode()))
        frame = read(path, separator=",")
    assert frame.rows() == without_empty_end(rows)


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet='a,"\n\r', max_size=20), st.integers(1, 20))
def test_any_text_is_read_as_python_reads_it_or_refused(text: str, chunk_bytes: int) -> None:
    data = ("x,y\n" + text).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "open", lambda *_: io.BytesIO(data))
        patched.setattr(sources.chunks, "__defaults__", (chunk_bytes,))
        try:
            frame = read(Path("table.csv"), separator=",")
        except InputError:
            return
    rows = [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if row][1:]
    assert frame.rows() == [row[:2] for row in without_empty_end(rows)]
