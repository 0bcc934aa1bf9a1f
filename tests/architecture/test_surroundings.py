"""What a run of tests stands on: a home of its own, our own warnings only, nothing left open."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from own_surroundings import REAL_HOME, RUN_FOLDER
from system_packages import lacking, told_at_the_end
from watch import Watch

ROOT = Path(__file__).resolve().parents[2]
PREAMBLE = """
import asyncio, gc, socket, sqlite3, sys, types, warnings
import numpy, sqlalchemy
import pytest

@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()

def library(code):
    made = types.ModuleType("other")
    exec(compile(code, "/lib/site-packages/other/made.py", "exec"), made.__dict__)
    return made
"""


def run_tests(folder: Path, bodies: dict[str, str], **environment: str) -> str:
    """Output of a run of its own, under this project's settings, of one test a body."""
    text = PREAMBLE
    for name, body in bodies.items():
        lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
        text += f"\n\ndef test_{name}():\n{lines}"
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-rA"]
    command += ["-p", "conftest", "-p", "no:cacheprovider", "-p", "no:randomly"]
    run = subprocess.run(
        [*command, "--rootdir", str(folder), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return run.stdout + run.stderr


@pytest.mark.parametrize("name", ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"])
def test_home_and_caches_are_the_runs_own(name: str) -> None:
    own = os.environ[RUN_FOLDER]
    assert os.environ[name].startswith(own)
    assert str(Path.home()).startswith(own)
    code = "import os, pathlib; print(pathlib.Path.home(), os.environ['XDG_DATA_HOME'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(path.startswith(own) for path in told.stdout.split())


def test_the_real_home_is_out_of_bounds(watch: Watch) -> None:
    real = Path(os.environ[REAL_HOME])
    if not watch.is_in_home(str(real / "x")):
        pytest.skip("the checkout or Python is the whole of the home, or there is none")
    for touch in (
        (real / ".cache" / "wavewise-test").read_bytes,
        (real / ".wavewise-test").touch,
        (real / ".wavewise-test").mkdir,
        lambda: list((real / ".config").iterdir()),
    ):
        with pytest.raises(AssertionError, match="in the real home"):
            touch()


SOUND = {
    "warns": "library('import warnings; warnings.warn(\"old\", FutureWarning)')",
    "drops_a_socket": "library('import socket; kept = [socket.socket()]').kept.clear()",
    "finalizer_fails": """
made = library('class Thing:\\n    def __del__(self): 1 / 0')
made.Thing()
""",
}
OURS = {
    "warns": ("warnings.warn('old', DeprecationWarning)", "DeprecationWarning: old"),
    "divides": ("numpy.array([1.0]) / numpy.array([0.0])", "RuntimeWarning: divide by zero"),
    "numpy_warns": ("numpy.mean(numpy.array([]))", "RuntimeWarning: Mean of empty slice"),
    "drops_a_socket": ("socket.socket()", "unclosed <socket"),
    "drops_a_file": ("open(__file__)", "unclosed file"),
    "finalizer_fails": (
        "class Thing:\n    def __del__(self): 1 / 0\nThing()",
        "ZeroDivisionError",
    ),
    "awaits_nothing": ("async def f(): pass\nf()", "coroutine 'test_awaits_nothing"),
    "leaves_a_loop": ("asyncio.new_event_loop()", "unclosed event loop"),
}
if sys.version_info >= (3, 13):  # from then on SQLite's connections tell
    OURS |= {
        "drops_sqlite": ("sqlite3.connect(':memory:')", "unclosed database"),
        "drops_an_engine": (
            "sqlalchemy.create_engine('sqlite://').connect().detach()",
            "unclosed database",
        ),
    }


def test_other_peoples_code_may_warn(tmp_path: Path) -> None:
    told = run_tests(tmp_path, SOUND)
    assert f"{len(SOUND)} passed" in told, told


def test_ours_may_not(tmp_path: Path) -> None:
    told = run_tests(tmp_path, {name: body for name, (body, _) in OURS.items()})
    for name, (_, expected) in OURS.items():
        assert re.search(f"(FAILED|ERROR) test_it.py::test_{name} ", told), told
        assert expected in told, (name, told)


def test_what_the_system_lacks_is_said_once_with_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import system_packages; system_packages.lacking('postgresql', 'npm:smpp')"
    told = run_tests(tmp_path, {"it": body}, WAVEWISE_REQUIRE_SYSTEM="0")
    assert "1 test was skipped for want of system packages" in told
    command = (
        "apt-get install --no-install-recommends postgresql && npm install --prefix .node smpp"
    )
    assert told.count(command) == 1
    monkeypatch.setenv("WAVEWISE_REQUIRE_SYSTEM", "1")
    with pytest.raises(pytest.fail.Exception, match="postgresql"):
        lacking("postgresql")
    reasons = ["wants of the system: b", "something else", "wants of the system: a b"]
    assert told_at_the_end(reasons)[1].endswith("apt-get install --no-install-recommends a b")
    assert told_at_the_end(["something else"]) == []
