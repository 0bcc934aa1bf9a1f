"""The audit log as a table and as files: whole, and without personal data."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from memory_study import Desk, memory_study
from wavewise.errors import InputError
from wavewise.workflow.team.audit import COLUMNS, audit, without_personal_data


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with memory_study(tmp_path) as opened:
        yield opened


def test_arguments_that_may_name_a_person_stay_out() -> None:
    given = {
        "unit": "007",
        "wave": "w1",
        "accept": ("late", "few"),
        "path": Path("/home/ana"),
        "to": "+5199",
        "exploratory": True,
        "reason": "the school moved",
    }
    plain, reason = without_personal_data(given)
    assert plain == {"wave": "w1", "accept": ["late", "few"], "exploratory": True}
    assert reason == "the school moved"
    assert without_personal_data({"wave": {"a": "007"}, "reason": None}) == ({}, "")


def test_it_is_written_as_csv_and_as_json(desk: Desk, tmp_path: Path) -> None:
    for number in range(3):
        desk.study.store.audit.add(
            "command line", "wave_open", "done", desk.clock(), arguments={"wave": f"w{number}"},
            reason='=1+1, "ñ"',
        )  # fmt: skip
    trail = audit(desk.study, tmp_path / "audit.csv")
    rows = list(csv.DictReader((tmp_path / "audit.csv").read_text(encoding="utf-8").splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["reason"] == '\'=1+1, "ñ"'
    audit(desk.study, tmp_path / "audit.json")
    found = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert found["entries"][2]["arguments"] == {"wave": "w2"}
    assert found["first_fault"] is None
    assert trail.to_frame().height == 3
    with pytest.raises(InputError, match="found something"):
        audit(desk.study, tmp_path / "audit.csv")


def test_an_empty_log_says_so(desk: Desk) -> None:
    assert audit(desk.study).summary() == "Nothing yet."
    assert audit(desk.study).to_frame().is_empty()
