"""What the pages name exists: files, tests, functions, commands and options."""

import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest
from typer.main import get_command

import wavewise
from wavewise.cli import app

ROOT = Path(__file__).resolve().parents[2]
# What was, and what recipes make: tests/docs/test_contributing.py follows those.
ELSEWHERE = {"CHANGELOG.md", "CONTRIBUTING.md"}
PAGES = sorted(
    [
        *(
            page
            for page in ROOT.glob("*.md")
            if page.name not in {"CHANGELOG.md", "CONTRIBUTING.md"}
        ),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "src").rglob("*.md"),
    ]
)
PATH = re.compile(r"\b((?:tests|docs|examples|benchmarks|scripts|src)/[\w./-]*\w)")
FILE = re.compile(r"`(?:src/|tests/)?([a-z_]+(?:/[a-z_]+)*\.py)`")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
NAME = re.compile(r"\b(?:ww|wavewise)((?:\.[A-Za-z_]\w*)+)")
COMMAND = re.compile(r"(?:`|^)wavewise ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", re.MULTILINE)
MODULES = {
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "src").rglob("*.py")
}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_exist(page: Path) -> None:
    text = text_of(page)
    missing = [path for path in PATH.findall(text) if not list(ROOT.glob(f"{path}*"))]
    missing += [name for name in FILE.findall(text) if not any(ROOT.rglob(name))]
    missing += [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_functions_exist(page: Path) -> None:
    missing = []
    for dotted in NAME.findall(text_of(page)):
        module, *names = dotted.removeprefix(".").split(".")
        while names and f"wavewise.{module}.{names[0]}" in MODULES:
            module = f"{module}.{names.pop(0)}"
        try:
            found = import_module(f"wavewise.{module}")
            assert not names or attrgetter(".".join(names))(found) is not None
        except ModuleNotFoundError:  # a name of the package itself, such as open_study
            missing += [] if hasattr(wavewise, module) else [dotted]
        except AttributeError:
            missing.append(dotted)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    missing = []
    for words in COMMAND.findall(text_of(page)):
        first, _, second = words.partition(" ")
        group = commands.get(first)
        within = getattr(group, "commands", None)
        if group is None or group.hidden or (within and second and second not in within):
            missing.append(words)
    assert missing == []


def test_constraints_with_hashes_are_the_same_pins() -> None:
    """`scripts/audit` writes them anew after a change of constraints.txt."""
    pins, hashed = (
        {
            line.split(" ")[0].strip().lower().replace("_", "-")
            for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
            if "==" in line
        }
        for name in ("constraints.txt", "constraints-with-hashes.txt")
    )
    assert hashed == pins
