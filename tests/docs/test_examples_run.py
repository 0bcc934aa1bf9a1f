"""Every example of README, docs and docstrings runs."""

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wavewise

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^<!-- run -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What an example or Wavewise warns of, or causes, is an error; libraries of others may warn.
STRICT = "import warnings; warnings.filterwarnings('error', module='(__main__|wavewise)')\n"
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(wavewise.__path__, "wavewise.")
    if ".migrations" not in module.name
)


def _blocks() -> list[object]:
    return [
        pytest.param(code, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, code in enumerate(PYTHON.findall(page.read_text(encoding="utf-8")), 1)
    ]


@pytest.mark.parametrize("code", _blocks())
def test_python_example_runs(code: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", STRICT + code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "n_simulations", [40, pytest.param(500, marks=pytest.mark.full, id="as it stands")]
)
def test_readme_first_study_runs(tmp_path: Path, n_simulations: int) -> None:
    script = "\n".join(SHELL.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert "--simulations 500" in script
    script = script.replace("--simulations 500", f"--simulations {n_simulations}")
    assert "wavewise report first" in script
    program = Path(sys.executable).parent
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"wavewise demo --units 1000\n{script}"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{program}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr
    assert "0 new events" in run.stdout
    assert (tmp_path / "first/report/index.html").stat().st_size > 10_000


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), verbose=False)
    assert failed == 0


def test_readme_names_only_verbs_that_exist() -> None:
    from typer.testing import CliRunner

    from wavewise.cli import app

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^wavewise (\w+(?: (?:import|open|close|get))?)", text, re.MULTILINE))
    for verb in verbs:
        result = CliRunner().invoke(app, [*verb.split(), "--help"])
        assert result.exit_code == 0, verb
        assert "Example: wavewise" in result.stdout, verb
