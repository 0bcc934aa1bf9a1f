"""A rehearsal: the whole study on a copy, with its own people and messages; nobody is messaged."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import wavewise as ww
from study_folders import STUDY, people
from wavewise.design.templates import template_text
from wavewise.errors import InputError

PLANNED = """
[planning]
n_units = 400
baseline = { login = { mean = 0.4 }, minutes = { mean = 30, std_dev = 10 } }
"""
SCORES = """
[[outcomes]]
id = "reading"
kind = "score"
periods = ["before", "after one", "after two"]
"""


def study_of(folder: Path, text: str = STUDY + PLANNED, n: int = 200) -> ww.OpenStudy:
    folder.mkdir()
    (folder / "study.toml").write_text(text, encoding="utf-8")
    study = ww.open_study(folder)
    if n:
        study.people_import(people(n))
    return study


def steps(result: Any) -> list[str]:
    return [step["step"] for step in result.facts()["steps"]]


def test_from_plan_to_report_and_the_study_stays_as_it_was(tmp_path: Path) -> None:
    with study_of(tmp_path / "s") as study:
        before = study.export(tmp_path / "before").facts()["files"]
        told = study.rehearse()
        assert study.export(tmp_path / "after").facts()["files"] == before
        assert repr(study).count("not open yet") == 2
    assert steps(told) == [
        *("register", "people import"),
        *("open one", "send one", "observe one", "close one", "analyze one", "decide one"),
        *("open two", "send two", "observe two", "close two", "analyze two", "decide two"),
        "report",
    ]
    when = [step["when"] for step in told.facts()["steps"]]
    assert when == sorted(when)
    page = Path(told.facts()["report"]).read_text(encoding="utf-8")
    assert "Rehearsal." in page
    assert "no message went out" not in page
    assert "nobody was messaged" in told.summary()


def test_every_unit_gets_its_own_message_in_a_file(tmp_path: Path) -> None:
    with study_of(tmp_path / "s") as study:
        told = study.rehearse(out=tmp_path / "r")
    lines = (tmp_path / "r" / "outbox" / "push.ndjson").read_text("utf-8").splitlines()
    sent = [json.loads(line) for line in lines]
    with ww.open_study(tmp_path / "r") as copy:
        drawn = pl.concat([copy.assignments(wave).select("arm") for wave in ("one", "two")])
        rates = [copy.outcomes(wave)["login"].mean() for wave in ("one", "two")]
        minutes = copy.outcomes("one")["minutes"].mean()
    n_messaged = drawn.filter(pl.col("arm") != "control").height
    assert len(sent) == 2 * n_messaged, "two sends to everybody who gets messages"
    assert "Many practise. And Ana?" in {one["text"] for one in sent}
    assert all(0.25 < rate < 0.55 for rate in rates)
    assert 27 < minutes < 33
    assert told.facts()["assumed"] == ()


def test_once_more_gives_the_same_and_leaves_nothing_old(tmp_path: Path) -> None:
    with study_of(tmp_path / "s", n=60) as study:
        first = study.rehearse().facts()["steps"]
        assert study.rehearse().facts()["steps"] == first


def test_people_from_a_file_before_any_are_imported(tmp_path: Path) -> None:
    with study_of(tmp_path / "s", STUDY, n=0) as study:
        with pytest.raises(InputError, match="--people FILE"):
            study.rehearse()
        told = study.rehearse(people=people(60))
        assert set(told.facts()["assumed"]) == {"login", "minutes"}
        assert "no baseline of login, minutes" in told.summary()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with (
        study_of(tmp_path / "s", n=60) as study,
        pytest.raises(InputError, match="give another one with --out"),
    ):
        study.rehearse(out=tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_what_stops_the_study_stops_its_rehearsal_and_is_named(tmp_path: Path) -> None:
    lacking = people(60).with_columns(child_name=pl.lit(None, pl.String))
    with (
        study_of(tmp_path / "t", n=0) as study,
        pytest.raises(InputError, match="rehearsal, open one"),
    ):
        study.rehearse(people=lacking)


def test_scores_by_period_are_delivered_wave_by_wave(tmp_path: Path) -> None:
    with study_of(tmp_path / "s", STUDY + SCORES + PLANNED, n=60) as study:
        told = study.rehearse(out=tmp_path / "r")
    with ww.open_study(tmp_path / "r") as copy:
        assert copy.outcomes("two").height == 30
    what = {step["step"]: step["what"] for step in told.facts()["steps"]}
    assert "120 scores" in what["observe one"], "before the first wave, and after it"
    assert "60 scores" in what["observe two"]


@pytest.mark.parametrize("name", ["peru-school-year"])
def test_templates_can_be_rehearsed(tmp_path: Path, name: str) -> None:
    from wavewise.shared.streams import stream
    from wavewise.simulated import simulate_families

    world = simulate_families(400, stream(1, "t"), season="school year")
    with study_of(tmp_path / "s", template_text(name), n=0) as study:
        told = study.rehearse(people=world.people)
    assert "evaluate phase-2" in steps(told)
