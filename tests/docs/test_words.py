"""Documents, help and messages use the words of the field: what not to write, and what instead."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import Command
from typer.main import get_command

from wavewise.cli import app

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "wavewise"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *SOURCE.rglob("*.md"),
    ]
)
THING = (
    "arm|batch|call|cell|channel|class|cluster|column|core|draw|experiment|file|fit|group|line|"
    "look|message|person|phase|policy|process|row|send|stratum|study|sum|trial|tree|unit|verb|"
    "wave|worker"
)
# What not to write: what to write instead. Patterns ignore case and line ends.
DIALECT = {
    r"by lot": "at random",
    r"mend(s|ed|ing)?": "fix",
    r"arms again so often": "number of re-randomizations",
    r"useless from now on": "revoke",
    r"refusals?": "opt-out (of a unit), rejection (of a request or message)",
    r"takes? (\w+ )?refusals?": "opt-in",
    r"holds? (no )?0": "contains 0, excludes 0",
    r"(interval|intervals|they|sequences?) holds? in": "cover in",
    rf"(?<!#)(one|units|people|rows?|files?|entries|(?<![\d,.])[1-9]\d*) an? ({THING})s?": "per",
    r"in force": "active",
    r"no verdict": "inconclusive",
    r"(?<!`)flash(es|ed)?(?!`)": "missed call",
    r"no more messages, at once": "stop sending immediately",
    r"test (at )?level 0?\.95": "of size 0.05",
    r"speaks? of every policy": "as a paper would say it",
    r"points of success": "percentage points",
    r"seal(s|ed|ing)?": "encrypt",
    r"dos(es?|age)": "exposure",
    r"on those reached": "complier average causal effect",
    r"fingerprints?": "hash",
    r"people who ring|whoever rings": "missed call",
    r"a human's word": "for a person to decide",
    r"nowhere kept": "not stored",
    r"per cent": "%",
    r"foresight": "value of information",
    r"Merge main|Bring together with": "what changed",
}


def found(text: str) -> list[str]:
    """What a text says in words that are not the field's, with what to say instead."""
    return [
        f"{match[0]!r}: say {instead!r}"
        for pattern, instead in DIALECT.items()
        for match in re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", text, re.IGNORECASE)
    ]


def prose(text: str) -> str:
    """A page without its code, links' targets and line ends."""
    text = re.sub(r"^```.*?^```$", " ", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "`code`", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return " ".join(re.sub(r"\n\s*\n", " / ", text).split())


def literals(path: Path) -> Iterator[str]:
    """Every text in the source that somebody may read: messages, help and docstrings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield " ".join(re.sub(r"`[^`\n]*`", "`code`", node.value).split())


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page(page: Path) -> None:
    assert found(prose(page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE))
)
def test_texts_of_the_source(path: Path) -> None:
    assert [said for text in literals(path) for said in found(text)] == []


def helps(command: Command, name: str = "wavewise") -> Iterator[tuple[str, str]]:
    """Every text of a command's help, by command."""
    yield name, command.help or ""
    for option in command.params:
        yield name, getattr(option, "help", None) or ""
    for inner, one in getattr(command, "commands", {}).items():
        yield from helps(one, f"{name} {inner}")


def test_help() -> None:
    texts = list(helps(get_command(app)))
    assert len({name for name, _ in texts}) > 40
    assert [(name, said) for name, text in texts for said in found(" ".join(text.split()))] == []


def test_the_search_finds_what_it_is_to_find() -> None:
    assert found("a pair by lot, the rest by lottery") == ["'by lot': say 'at random'"]
    assert found("units an arm; an armchair") == ["'units an arm': say 'per'"]
    assert found("recommend an amendment to all flashy opt-outs") == []
