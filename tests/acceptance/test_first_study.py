"""A newcomer's path: from the CSV that Excel writes to a report, as docs/first-study.md has it."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wavewise.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "first-study.md"
EDITS = {  # what the page asks to be edited in study.toml
    'time_zone = "UTC"': 'time_zone = "America/Lima"',
    "write a text here": "class begins on Monday",
    "and another here": "we expect you on Monday",
}


def excel_files(folder: Path) -> None:
    """People and events as Excel saves them in Peru: semicolons, Windows-1252, decimal commas."""
    names, sections = ["José", "Begoña", "Íñigo", "Zoë"], ["Norte", "Sur", "Centro"]
    people = ["Código;Nombre;Sección;Puntaje"]
    people += [f"{i:05d};{names[i % 4]} {i};{sections[i % 3]};{10 + i % 7},5" for i in range(240)]
    events = ["unit_id;kind;at"]
    events += [f"{i:05d};visit;{i % 14 + 1:02d}/11/2023 10:00" for i in range(0, 240, 2)]
    for name, lines in (("people.csv", people), ("events.csv", events)):
        (folder / name).write_text("\r\n".join(lines) + "\r\n", encoding="cp1252", newline="")


def commands() -> list[str]:
    block = re.search(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return [line.split("#")[0].strip() for line in block[1].splitlines() if line.strip()]


def test_eight_commands_lead_to_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    excel_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    told = []
    for command in commands():
        program, *words = shlex.split(command)
        assert program == "wavewise"
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, f"{command}: {result.stderr}"
        told.append(result.stdout)
        if words[0] == "init":
            plan = tmp_path / "my-study" / "study.toml"
            text = plan.read_text(encoding="utf-8")
            for old, new in {**EDITS, _starts(text): "starts = 2023-11-01"}.items():
                assert old in text
                text = text.replace(old, new)
            plan.write_text(text, encoding="utf-8")
    assert "120 in the window" in told[-2]
    page = (tmp_path / "my-study" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Every event names one of the people." in page


def _starts(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("starts = "))


def test_the_page_counts_its_commands_and_keystrokes() -> None:
    text, lines = PAGE.read_text(encoding="utf-8"), commands()
    assert len(lines) == 8
    assert f"{sum(len(line) + 1 for line in lines)} keystrokes" in text  # with Enter
