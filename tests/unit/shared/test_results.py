"""The base of results: JSON and back, frames of three kinds, tables that escape, what is equal."""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from wavewise.errors import InputError
from wavewise.shared.results import NotEstimable, Record, Result, as_given


@dataclass(frozen=True, eq=False)
class Found(Result, tag="a result of the tests"):
    name: str
    value: Any

    def _frame(self, prob: float = 0.95) -> pl.DataFrame:
        return pl.DataFrame(
            {"arm": [self.name, "b"], "mean": [prob, np.nan], "n": [1, None], "best": [True, None]}
        )


@dataclass(frozen=True, eq=False)
class Part(Record, tag="a part of the tests"):
    draws: Any


VALUES = [
    np.arange(6.0).reshape(2, 3),
    np.array([np.nan, -np.inf, 0.1 + 0.2]),
    np.array(["a", "bé"]),
    np.array([2**64 - 1], dtype=np.uint64),
    np.array([1, None, "x"], dtype=object),
    np.zeros((0, 3)),
    np.array(3.0),
    float("inf"),
    float("nan"),
    np.float64(1.5),
    True,
    None,
    {1: 2, "$x": (1, 2)},
    {"a": {"b": [1, (2.5, None)]}},
    pl.Series("q", [1, None]),
    pl.DataFrame({"a": [1.5, None], "b": ["x", "y"]}),
    b"\x00\xff",
    date(2026, 1, 2),
    datetime(2026, 1, 2, 3, tzinfo=UTC),
    NotEstimable("arm 'b' has no units"),
    (Part(np.array([1.0, np.nan])), Part(None)),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_json_and_back(value: Any) -> None:
    found = Found("a", value)
    text = json.dumps(found.to_dict(), allow_nan=False)
    back = Result.from_dict(json.loads(text))
    assert type(back) is Found
    assert back == found
    assert hash(back) == hash(found)
    if isinstance(value, np.ndarray):
        assert back.value.dtype == value.dtype
        assert back.value.tobytes() == value.tobytes() or value.dtype == object


def test_results_that_differ_are_not_equal() -> None:
    one = Found("a", (Part(np.array([1.0, np.nan])),))
    assert one == Found("a", (Part(np.array([1.0, np.nan])),))
    for other in (
        Found("b", one.value),
        Found("a", (Part(np.array([1.0, 2.0])),)),
        Found("a", (Part(np.array([1.0])),)),
        Found("a", ()),
        Found("a", None),
        Part(None),
    ):
        assert one != other


def test_arrays_are_read_only_and_the_callers_stay_writable() -> None:
    mine = np.zeros(2)
    found = Found("a", {"draws": mine})
    with pytest.raises(ValueError, match="read-only"):
        found.value["draws"][0] = 1
    with pytest.raises(ValueError, match="read-only"):
        Found("a", mine).value[0] = 1
    mine[0] = 1


def test_what_is_not_a_result_is_refused() -> None:
    whole = Found("a", 1).to_dict()
    with pytest.raises(InputError, match="found no fields"):
        Result.from_dict(Found("a", 1).facts())
    with pytest.raises(InputError, match="version 2; needed 1"):
        Result.from_dict(whole | {"version": 2})
    with pytest.raises(InputError, match="not known"):
        Result.from_dict(whole | {"fields": {"$class": "os.system"}})
    with pytest.raises(InputError, match="cannot be read"):
        Result.from_dict(whole | {"fields": whole["fields"] | {"more": 1}})

    @dataclass(frozen=True, eq=False)
    class Other(Result, tag="another result of the tests"):
        name: str

    with pytest.raises(InputError, match="found a Found; needed a Other"):
        Other.from_dict(whole)


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="two results"):

        class Again(Record, tag="a part of the tests"):
            pass


def test_frames_of_three_kinds() -> None:
    found = Found("a", None)
    assert isinstance(found.to_frame(), pl.DataFrame)
    pandas = found.to_frame("pandas")
    assert isinstance(pandas, pd.DataFrame)
    assert pandas["mean"].dtype == np.float64
    assert list(pandas["arm"]) == ["a", "b"]
    arrow = found.to_frame("pyarrow", prob=0.5)
    assert isinstance(arrow, pa.Table)
    assert arrow["n"].to_pylist() == [1, None]
    assert arrow["mean"].to_pylist()[0] == 0.5
    with pytest.raises(InputError, match="needed one of polars, pandas, pyarrow"):
        found.to_frame("spark")  # type: ignore[call-overload]


def _made(value: Any, **options: Any) -> Found:
    return as_given(Found("a", len(options)), [value, *options.values()])


def test_frames_are_of_the_kind_that_came_in() -> None:
    assert isinstance(_made([1]).to_frame(), pl.DataFrame)
    assert isinstance(_made(pl.Series([1])).to_frame(), pl.DataFrame)
    assert isinstance(_made([1], x=pd.Series([1])).to_frame(), pd.DataFrame)
    assert isinstance(_made({"x": pa.array([1])}).to_frame(), pa.Table)
    assert isinstance(_made(pd.Series([1])).to_frame("polars"), pl.DataFrame)
    assert _made(pd.Series([1])) == _made([1])


def test_tables_escape_what_they_print() -> None:
    found = Found("<b>&|_a_ 5%", None)
    assert "&lt;b&gt;&amp;|_a_ 5%" in found.to_html()
    assert "&lt;b&gt;&amp;\\|\\_a\\_ 5%" in found.to_markdown()
    assert r"<b>\&|\_a\_ 5\%" in found.to_latex()
    for text in (found.to_html(), found.to_markdown(), found.to_latex(), str(found)):
        assert "0.9500" in text
        assert "nan" not in text
    assert str(found) == found.summary()
    assert r"\toprule" in found.to_latex()


def test_a_notebook_gets_the_first_rows_of_a_long_table() -> None:
    @dataclass(frozen=True, eq=False)
    class Long(Result, tag="a long result of the tests"):
        def _frame(self) -> pl.DataFrame:
            return pl.DataFrame({"row": range(200)})

    html = Long()._repr_html_()
    assert html.count("<tr>") == 51
    assert "The first 50 of 200 rows." in html
    assert Long().to_html().count("<tr>") == 201


def test_a_verbs_result_is_read_where_no_verb_ran() -> None:
    """A fresh process: no module of a verb is loaded there."""
    from wavewise.workflow.run.backup import DatabaseBackup

    values = json.dumps(DatabaseBackup("copy.db", 12).to_dict())
    code = "import json, sys; from wavewise.shared.results import Result; "
    code += "print(type(Result.from_dict(json.load(sys.stdin))).__name__)"
    told = subprocess.run(
        [sys.executable, "-c", code], input=values, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "DatabaseBackup"
