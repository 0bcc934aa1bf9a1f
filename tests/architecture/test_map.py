"""The map is true: folders, public names, length of functions, what may be imported."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wavewise

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "wavewise"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST_FUNCTION = 60


def test_every_folder_is_on_the_map() -> None:
    text = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    unwritten = {name for name in folders if f"`{name}/`" not in text}
    empty = {name for name in folders if len(list((SOURCE / name).glob("*.py"))) == 1}
    assert unwritten <= empty
    known = {path.name for path in SOURCE.rglob("*") if path.is_dir()}
    assert set(re.findall(r"`(\w+)/`", text)) <= known
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize(
    "name", ["randomize", "estimate", "decide", "evaluate", "design", "report"]
)
def test_public_names_exist(name: str) -> None:
    folder = getattr(wavewise, name)
    for public in folder.__all__:
        assert getattr(folder, public) is not None


def test_names_that_scripts_rely_on() -> None:
    assert callable(wavewise.randomize.assign)
    assert callable(wavewise.estimate.ate)
    assert callable(wavewise.estimate.beta_binomial)
    assert callable(wavewise.decide.exploration_shares)
    for name in ("power", "Design", "simulate", "compare"):
        assert callable(getattr(wavewise.evaluate, name))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = [item for item in node.body if not _is_docstring(item)]
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= LONGEST_FUNCTION, node.name


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import wavewise", {"numpy", "scipy", "polars", "numba", "sqlalchemy", "pydantic"}),
        ("from wavewise.cli import app", {"numpy", "scipy", "polars", "numba", "sqlalchemy"}),
        ("from wavewise.store import Store", {"alembic", "numba", "scipy"}),
    ],
)
def test_heavy_packages_load_late(statement: str, heavy: set[str]) -> None:
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert not heavy & set(run.stdout.split())


def test_project_speaks_of_itself_alone() -> None:
    own = {"architecture.md", "style.md"}
    for path in [*FILES, *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/work/|pypi\.org|/root/", text), path
        assert not any(word in text for word in own), path
