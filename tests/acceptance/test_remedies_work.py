"""Every remedy that a message names is run as it stands there, and then the step works."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from study_folders import STUDY, all_the_same, assignment, done, events, make_study, people
from wavewise.cli import app

COMMAND = re.compile(r"`wavewise ([^`]+)`")


def told(*words: object) -> tuple[int, str]:
    """Exit code and every word of a call, as it is written."""
    closes = tuple(words[:2]) == ("wave", "close")
    given = all_the_same(words) if closes else words
    result = CliRunner().invoke(app, [str(word) for word in given])
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


def remedies(text: str, folder: Path, file: Path | None = None) -> list[list[str]]:
    """The commands that a message names, with what only its reader knows filled in."""
    known = {"DIR": str(folder), "FILE": str(file), "TEXT": "why"}
    return [
        [known.get(word, word) for word in shlex.split(found)] for found in COMMAND.findall(text)
    ]


def fixed_by(folder: Path, file: Path | None, *step: object, take: int | None = None) -> None:
    """A step fails, its remedies are run, and it works."""
    code, text = told(*step)
    assert code != 0, text
    found = remedies(text, folder, file)
    assert found, f"no remedy in: {text}"
    for words in found if take is None else [found[take]]:
        code, answer = told(*words)
        assert code == 0, f"{words}: {answer}"
    code, text = told(*step)
    assert code == 0, text


def bare(folder: Path, text: str = STUDY) -> Path:
    """A study that is not registered, with a file of people beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(text, encoding="utf-8")
    people().write_csv(folder / "people.csv")
    return folder


def opened(folder: Path) -> Path:
    done("wave", "open", make_study(folder), "one")
    return folder


def closed(folder: Path) -> Path:
    opened(folder)
    done("observe", folder, events(folder, assignment(folder, "one"), "2024-03-10", "one"))
    done("wave", "close", folder, "one")
    return folder


def edited(folder: Path, old: str, new: str) -> None:
    path = folder / "study.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def open_one(folder: Path) -> tuple[object, ...]:
    return "wave", "open", folder, "one", "--accept-late"


def test_a_study_that_is_not_registered(tmp_path: Path) -> None:
    folder = bare(tmp_path / "s")
    done("people", "import", folder, folder / "people.csv")
    fixed_by(folder, None, *open_one(folder))


def test_a_plan_that_was_edited(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "s")
    edited(folder, "window_days = 14", "window_days = 13")
    fixed_by(folder, None, *open_one(folder))


def test_a_study_without_people(tmp_path: Path) -> None:
    folder = bare(tmp_path / "s")
    done("register", folder)
    fixed_by(folder, folder / "people.csv", *open_one(folder))


def test_a_rehearsal_without_people(tmp_path: Path) -> None:
    folder = bare(tmp_path / "s")
    code, text = told("rehearse", folder)
    assert code != 0
    for words in remedies(text, folder, folder / "people.csv"):
        assert told(*words)[0] == 0


def test_sends_that_are_late(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "s")
    step = "wave", "open", folder, "one"
    code, text = told(*step)
    assert code == 6
    edited(folder, "starts = 2024", "starts = 2199")
    (amend,) = remedies(text, folder)
    assert told(*amend)[0] == 0
    assert told(*step)[0] == 0


def test_a_wave_that_is_open_already(tmp_path: Path) -> None:
    folder = opened(tmp_path / "s")
    fixed_by(folder, None, *open_one(folder))


def test_a_wave_that_is_not_open_yet(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "s")
    code, text = told("wave", "close", folder, "one")
    assert code == 6
    (words,) = remedies(text, folder)
    assert told(*words, "--accept-late")[0] == 0
    assert told("wave", "close", folder, "one")[0] == 0


def test_a_wave_that_is_closed_already(tmp_path: Path) -> None:
    folder = closed(tmp_path / "s")
    fixed_by(folder, None, "wave", "close", folder, "one")


@pytest.mark.parametrize("verb", ["analyze", "decide"])
def test_a_wave_that_is_not_closed(tmp_path: Path, verb: str) -> None:
    folder = opened(tmp_path / "s")
    fixed_by(folder, None, verb, folder, "one")


def test_a_wave_that_was_reopened(tmp_path: Path) -> None:
    folder = closed(tmp_path / "s")
    done("wave", "reopen", folder, "one", "--reason", "why")
    fixed_by(folder, None, "analyze", folder, "one")


def test_shares_that_are_not_decided(tmp_path: Path) -> None:
    folder = closed(tmp_path / "s")
    fixed_by(folder, None, "wave", "open", folder, "two", "--accept-late")


def test_a_wave_that_another_one_was_learned_on(tmp_path: Path) -> None:
    folder = closed(tmp_path / "s")
    done("decide", folder, "one")
    done("wave", "open", folder, "two")
    done("wave", "reopen", folder, "one", "--reason", "why")
    fixed_by(folder, None, "wave", "discard", folder, "one", "--reason", "why")


def test_a_closed_wave_that_is_to_be_discarded(tmp_path: Path) -> None:
    folder = closed(tmp_path / "s")
    fixed_by(folder, None, "wave", "discard", folder, "one", "--reason", "why")


@pytest.mark.parametrize(("take", "value"), [(0, 7.0), (1, None)])
def test_events_without_a_value(tmp_path: Path, take: int, value: float | None) -> None:
    folder = opened(tmp_path / "s")
    unit = assignment(folder, "one")["unit_id"][0]
    rows = pl.DataFrame(
        {
            "event_id": ["e1"],
            "unit_id": [unit],
            "kind": ["session"],
            "at": ["2024-03-05T12:00:00Z"],
            "value": [None],
        },
        schema_overrides={"value": pl.Float64},
    )
    rows.write_csv(folder / "events.csv")
    done("observe", folder, folder / "events.csv")
    rows.with_columns(value=pl.lit(value, pl.Float64)).write_csv(folder / "right.csv")
    fixed_by(folder, folder / "right.csv", "wave", "close", folder, "one", take=take)


def test_people_who_are_there_already(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "s")
    step = "people", "import", folder, folder / "people.csv"
    code, text = told(*step)
    assert code == 4
    assert "--replace" in text
    assert told(*step, "--replace")[0] == 0


def test_a_covariate_that_was_never_imported(tmp_path: Path) -> None:
    folder = closed(tmp_path / "s")
    edited(folder, 'covariates = ["grade"]', 'covariates = ["grade", "phones"]')
    done("amend", folder, "--reason", "asked again")
    done("decide", folder, "one")
    people().with_columns(phones=pl.lit(1)).write_csv(folder / "more.csv")
    fixed_by(folder, folder / "more.csv", "wave", "open", folder, "two", "--accept-late")


@pytest.mark.parametrize("step", ["correct", "withdraw"])
def test_what_closed_waves_keep(tmp_path: Path, step: str) -> None:
    folder = closed(tmp_path / "s")
    file = folder / "one.csv"
    rows = pl.read_csv(file).with_columns(at=pl.lit("2024-03-11T12:00:00Z"))
    rows.write_csv(file)
    words = {
        "correct": ("observe", folder, file, "--correct", "--reason", "why"),
        "withdraw": ("withdraw", folder, file, "--reason", "why"),
    }[step]
    code, text = told(*words)
    assert code == 0
    (reopen,) = remedies(text, folder)
    assert told(*reopen)[0] == 0
    assert told("wave", "close", folder, "one")[0] == 0


def test_events_with_a_known_id_and_other_content(tmp_path: Path) -> None:
    folder = closed(tmp_path / "s")
    file = folder / "one.csv"
    pl.read_csv(file).with_columns(at=pl.lit("2024-03-11T12:00:00Z")).write_csv(file)
    code, text = told("observe", folder, file)
    assert "add --correct --reason TEXT" in text
    code, text = told("observe", folder, file, "--correct", "--reason", "why")
    assert (code, "0 with a known id and other content" in text) == (0, True)


@pytest.mark.parametrize(
    "make", [bare, make_study, opened, closed], ids=["bare", "registered", "opened", "closed"]
)
def test_a_list_of_keys(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = make(tmp_path / "s")
    code, text = told("keys", "list", folder)
    if make is bare:  # nothing has begun: the study is begun first, and then there is a list
        assert code != 0
        assert told(*remedies(text, folder)[0])[0] == 0
        _, text = told("keys", "list", folder)
    (words,) = remedies(text, folder)
    assert told(*words)[0] == 0
