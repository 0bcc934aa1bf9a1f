"""People files: every fault by row and column, and no id ever shown."""

import json
import random

import numpy as np
import polars as pl
import pytest

from wavewise.errors import InputError
from wavewise.fieldwork.people import People, check_people
from wavewise.store.frames import decode_json_rows


def people(**columns: list) -> pl.DataFrame:
    n = len(next(iter(columns.values())))
    return pl.DataFrame({"id": [f"secret-{i}" for i in range(n)], **columns})


def faults(found: People) -> list[str]:
    return [str(fault) for fault in found.faults]


def test_good_people_become_units() -> None:
    frame = people(
        grade=["1", "2"],
        score=["1.5", None],
        age=["7", "08"],
        town=["Lima", ""],
        child=["Ana", "Ñusta"],
        tz=["America/Lima", None],
        lang=["es", None],
        school=["s1", "s1"],
        house=["h1", "h2"],
        phone=["1", "2"],
    )
    found = check_people(
        frame,
        id="id",
        strata=["grade"],
        covariates=["score", "age", "town"],
        fields=["child"],
        cluster="school",
        randomize_by="house",
        time_zone="tz",
        language="lang",
        default_time_zone="America/Lima",
    )
    assert faults(found) == []
    assert found.units.columns == ["unit_id", "cluster", "time_zone", "language", "fields_json"]
    assert found.units.row(0)[:4] == ("secret-0", "s1", "America/Lima", "es")
    assert found.units.row(1)[1:4] == ("s1", None, None)
    assert decode_json_rows(found.units["fields_json"]).to_dict(as_series=False) == {
        "grade": ["1", "2"],
        "score": [1.5, None],
        "age": [7, 8],
        "town": ["Lima", None],
        "child": ["Ana", "Ñusta"],
        "school": ["s1", "s1"],
        "house": ["h1", "h2"],
    }
    assert found.kinds == {"score": "number", "age": "number", "town": "text"}
    assert found.left_out == ("phone",)
    assert "Not kept, as the study does not name them: phone." in found.summary()


def test_ids_strata_and_clusters_stay_as_written() -> None:
    frame = pl.DataFrame({"id": ["007", "7"], "s": ["01", " 1"], "c": ["0", "00"]})
    found = check_people(frame, id="id", strata=["s"], cluster="c")
    assert found.units["unit_id"].to_list() == ["007", "7"]
    assert found.units["cluster"].to_list() == ["0", "00"]
    assert decode_json_rows(found.units["fields_json"])["s"].to_list() == ["01", " 1"]


def test_missing_columns_are_all_named_and_nothing_is_given() -> None:
    found = check_people(people(a=["1"]), id="id", strata=["grade"], cluster="school")
    assert [f.needed for f in found.faults] == ["a column 'school'", "a column 'grade'"]
    assert found.units.height == 0
    with pytest.raises(InputError, match=r"^people: 2 errors; nothing was imported"):
        found.raise_if_bad()


def test_repeated_ids_name_both_rows_and_never_the_id() -> None:
    frame = pl.DataFrame({"id": ["secret", "b", "secret", "secret"]})
    found = check_people(frame, id="id")
    assert faults(found) == [
        "row 4, column 'id': found the same id as row 2; needed each id once",
        "row 5, column 'id': found the same id as row 2; needed each id once",
    ]
    assert found.bad_rows.tolist() == [2, 4, 5]
    assert found.units["unit_id"].to_list() == ["b"]


def test_empty_and_blank_ids() -> None:
    found = check_people(pl.DataFrame({"id": [None, "", "  ", " x", "y ", "ok"]}), id="id")
    assert [(f.path, f.found) for f in found.faults] == [
        ("row 2, column 'id'", "nothing"),
        ("row 3, column 'id'", "nothing"),
        ("row 4, column 'id'", "nothing"),
    ]
    assert found.units["unit_id"].to_list() == ["x", "y", "ok"]


def test_unknown_and_empty_strata() -> None:
    frame = people(area=["urban", "Urban", "urban ", "", None, "rural"])
    found = check_people(frame, id="id", strata=["area"], levels={"area": ["urban", "rural"]})
    assert [(f.path, f.found) for f in found.faults] == [
        ("row 3, column 'area'", "'Urban'"),
        ("row 4, column 'area'", "'urban '"),
        ("row 5, column 'area'", "nothing"),
        ("row 6, column 'area'", "nothing"),
    ]
    assert found.faults[0].needed == "one of 'urban', 'rural'"
    assert found.bad_rows.tolist() == [3, 4, 5, 6]


def test_undeclared_strata_may_hold_anything_but_nothing() -> None:
    found = check_people(people(area=["x", "y ", None]), id="id", strata=["area"])
    assert found.bad_rows.tolist() == [4]


def test_group_in_several_strata() -> None:
    frame = people(house=["h1", "h2", "h1", "h2", "h3"], area=["a", "a", "b", "a", "b"])
    found = check_people(frame, id="id", strata=["area"], randomize_by="house")
    assert faults(found) == [
        "row 4, column 'house': found another stratum than row 2 of the same group; "
        "needed each group in one stratum, as it is randomized together"
    ]
    assert found.bad_rows.tolist() == [2, 4]
    assert check_people(frame, id="id", randomize_by="house").n_faults == 0


def test_empty_groups() -> None:
    found = check_people(people(g=["1", None]), id="id", cluster="g", randomize_by="g")
    assert found.bad_rows.tolist() == [3]


@pytest.mark.parametrize(
    "zone", ["Lima", "america/lima", "UTC+5", "America/Li ma", "../UTC", "-05"]
)
def test_wrong_time_zones(zone: str) -> None:
    frame = people(tz=["America/Lima", zone, None])
    found = check_people(frame, id="id", time_zone="tz", default_time_zone="America/Lima")
    assert found.bad_rows.tolist() == [3]
    assert found.faults[0].path == "row 3, column 'tz'"
    assert found.faults[0].found.startswith(repr(zone))


def test_time_zone_that_is_nearly_right_gets_a_hint() -> None:
    found = check_people(people(tz=["lima"]), id="id", time_zone="tz", default_time_zone="UTC")
    assert found.faults[0].found == "'lima' (is it 'America/Lima'?)"


def test_empty_time_zone_without_a_default() -> None:
    found = check_people(people(tz=["America/Lima", ""]), id="id", time_zone="tz")
    assert [f.path for f in found.faults] == ["row 3, column 'tz'"]


@pytest.mark.parametrize(
    "word", ["nan", "NaN", "inf", "-inf", "Infinity", "NA", "n/a", "null", "."]
)
def test_word_among_numbers_is_named(word: str) -> None:
    found = check_people(people(x=["1", word, None, "2.5"]), id="id", covariates=["x"])
    assert [(f.path, f.found) for f in found.faults] == [("row 3, column 'x'", repr(word))]
    assert found.kinds == {"x": "number"}


def test_numbers_too_large_are_named() -> None:
    found = check_people(people(x=["1", "1e999"]), id="id", covariates=["x"])
    assert [(f.path, f.found) for f in found.faults] == [("row 3, column 'x'", "'1e999'")]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "-2", "+3"], "number", [1, -2, 3]),
        (["1e3", " 2.5 ", None], "number", [1000.0, 2.5, None]),
        (["a", "1", ""], "text", ["a", "1", None]),
        ([None, None, ""], "number", [None, None, None]),
        (["1,5", "2", "3"], "number", [1.5, 2, 3]),
        (["Nan", "Ana", "x"], "text", ["Nan", "Ana", "x"]),
    ],
)
def test_covariates_are_numbers_where_all_cells_are(cells, kind, values) -> None:
    found = check_people(people(x=cells), id="id", covariates=["x"])
    assert (found.n_faults, found.kinds["x"]) == (0, kind)
    assert decode_json_rows(found.units["fields_json"])["x"].to_list() == values


def test_word_that_makes_a_column_of_numbers_text_is_noted() -> None:
    found = check_people(people(x=["1", "2", "three"]), id="id", covariates=["x"])
    assert found.kinds["x"] == "text"
    assert found.notes == (
        "column 'x' was read as text: 1 of its cells are no numbers, the first in row 4",
    )


def test_stratum_that_is_also_a_covariate_stays_text() -> None:
    found = check_people(people(x=["01"]), id="id", strata=["x"], covariates=["x"])
    assert json.loads(found.units["fields_json"][0]) == {"x": "01"}
    assert found.kinds == {"x": "text"}


def test_columns_of_an_experiment_that_ran_are_kept_as_text() -> None:
    frame = people(treatment=[" Civic Duty", " Control"], voted=["Yes", "No"])
    found = check_people(frame, id="id", others=["treatment", "voted"])
    fields = decode_json_rows(found.units["fields_json"])
    assert fields.rows() == [(" Civic Duty", "Yes"), (" Control", "No")]


def test_typed_columns_of_parquet() -> None:
    frame = pl.DataFrame({"id": [7, 8], "s": [1, 2], "x": [0.5, None], "b": [True, False]})
    found = check_people(frame, id="id", strata=["s"], covariates=["x", "b"], first_row=1)
    assert found.units["unit_id"].to_list() == ["7", "8"]
    assert json.loads(found.units["fields_json"][0]) == {"s": "1", "x": 0.5, "b": "true"}
    wrong = pl.DataFrame({"id": [7.5], "s": [[1]]})
    found = check_people(wrong, id="id", strata=["s"])
    assert {f.path for f in found.faults} >= {"column 'id'", "column 's'"}
    assert found.units.height == 0


def test_first_row_of_files_without_a_header() -> None:
    found = check_people(people(s=["", "a"]), id="id", strata=["s"], first_row=1)
    assert found.bad_rows.tolist() == [1]
    assert found.units["unit_id"].to_list() == ["secret-1"]


def test_no_rows() -> None:
    found = check_people(pl.DataFrame({"id": []}, schema={"id": pl.String}), id="id")
    assert [f.found for f in found.faults] == ["no rows"]


def test_no_fault_shows_an_id() -> None:
    n = 300
    rng = random.Random(3)
    frame = pl.DataFrame(
        {
            "id": [f"secret-{rng.randrange(200)}{' ' * rng.randrange(2)}" for _ in range(n)],
            "s": rng.choices(["a", "b", ""], k=n),
            "x": rng.choices(["1", "nan"], k=n),
            "tz": rng.choices(["UTC", "Nowhere"], k=n),
            "g": [f"secret-{rng.randrange(9)}" for _ in range(n)],
        }
    )
    found = check_people(
        frame, id="id", strata=["s"], covariates=["x"], time_zone="tz", randomize_by="g",
        levels={"s": ["a"]}, name="people.csv",
    )  # fmt: skip
    with pytest.raises(InputError, match="errors") as caught:
        found.raise_if_bad()
    assert "secret" not in str(caught.value)
    assert len(found.faults) == 50 < found.n_faults
    assert found.units.height + len(found.bad_rows) == n


def test_good_part_is_what_a_clean_file_gives() -> None:
    """Leaving out the bad rows and checking again finds no fault and the same units."""
    rng = random.Random(5)
    frame = pl.DataFrame(
        {
            "id": [str(rng.randrange(150)) for _ in range(120)],
            "s": rng.choices(["a", "b", "c", ""], k=120),
            "x": rng.choices(["1", "2.5", "", "NA"], k=120),
            "g": [str(rng.randrange(60)) for _ in range(120)],
        }
    )
    options = {"id": "id", "strata": ["s"], "covariates": ["x"], "randomize_by": "g"}
    found = check_people(frame, **options)
    assert 0 < found.units.height < 120
    is_good = np.ones(120, dtype=bool)
    is_good[found.bad_rows - 2] = False
    again = check_people(frame.filter(pl.Series(is_good)), **options)
    assert again.n_faults == 0
    assert again.units.equals(found.units)
