"""The recipes of CONTRIBUTING.md work as written, on a copy of the source."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wavewise.store.schema import HEAD

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
STEP = re.compile(
    r"^<!-- recipe (\w+), ([^\n]*) -->\n```(?:python|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
NEXT = f"{int(HEAD) + 1:04d}"


def steps(name: str) -> list[tuple[str, str]]:
    text = TEXT.replace("NNNN", NEXT).replace("MMMM", HEAD)
    return [(what, code) for recipe, what, code in STEP.findall(text) if recipe == name]


def follow(copy: Path, what: str, code: str) -> Path:
    """Do one step of a recipe in the copy; the file that it made or changed."""
    if what.startswith("file "):
        path = copy / what.removeprefix("file ")
        path.parent.mkdir(parents=True, exist_ok=True)
        assert not path.exists()
        path.write_text(code, encoding="utf-8")
        return path
    path = copy / what.removeprefix("change ")
    text = path.read_text(encoding="utf-8")
    lines = code.splitlines()
    before = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
    after = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
    assert text.count(before) == 1, f"{path.name} does not have once: {before}"
    path.write_text(text.replace(before, after), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["provider", "estimator", "migration"])
def test_recipe_works_as_written(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    files = [follow(tmp_path, what, code) for what, code in steps(name)]
    tests = [str(path) for path in files if path.name.startswith("test_")]
    assert len(tests) == 1
    sources = [str(path) for path in files if path.name not in {Path(test).name for test in tests}]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src"), "PYTEST_ADDOPTS": ""}
    for command in (
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            *tests,
        ],
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "E,F", *sources],
    ):
        run = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert run.returncode == 0, run.stdout + run.stderr


def test_pages_and_tests_that_it_names_exist() -> None:
    made = set(re.findall(r"^<!-- recipe \w+, file (\S+) -->$", TEXT, re.MULTILINE))
    for path in re.findall(r"\b(?:tests|scripts|docs|src)/[\w/.-]+", TEXT):
        assert path in made or (ROOT / path.rstrip(".")).exists(), path
