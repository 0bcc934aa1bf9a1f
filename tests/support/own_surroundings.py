"""A home and caches of the run's own: nothing of the machine's is read, nothing is left there.

What Numba compiled stays in the checkout, as Python's own compiled files do.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REAL_HOME = "WAVEWISE_TESTS_REAL_HOME"
RUN_FOLDER = "WAVEWISE_TESTS_FOLDER"
_FOLDERS = {
    "HOME": "home",
    "USERPROFILE": "home",
    "XDG_CACHE_HOME": "home/.cache",
    "XDG_CONFIG_HOME": "home/.config",
    "XDG_DATA_HOME": "home/.local/share",
    "XDG_STATE_HOME": "home/.local/state",
    "XDG_RUNTIME_DIR": "home/.run",
    "HYPOTHESIS_STORAGE_DIRECTORY": "hypothesis",
}
_KEPT_COMPILED = 3
_MADE: list[Path] = []
_KEPT = {"WAVEWISE_REQUIRE_SYSTEM", "WAVEWISE_DATA", "WAVEWISE_NODE"}


def enter() -> None:
    """Move this process, and all that it starts, into a folder of the run's own."""
    if RUN_FOLDER in os.environ:  # whoever started this process made the folder
        return
    os.environ[REAL_HOME] = str(Path.home())
    folder = Path(tempfile.mkdtemp(prefix="wavewise-tests-"))
    _MADE.append(folder)
    source = str(ROOT / "src")
    is_on_path = source in os.environ.get("PYTHONPATH", "").split(os.pathsep)
    for name in list(os.environ):
        if _is_of_the_machine(name):
            del os.environ[name]
    if is_on_path:  # a second checkout that shares an environment: its programs are its own
        os.environ["PYTHONPATH"] = source
    for name, place in _FOLDERS.items():
        (folder / place).mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ[name] = str(folder / place)
    os.environ[RUN_FOLDER] = str(folder)
    os.environ["NUMBA_CACHE_DIR"] = str(_compiled())


def _compiled() -> Path:
    """Folder in the checkout for compiled functions, of exactly the source code that they are in.

    Compiling all of them takes minutes. Numba itself would go on using a function whose callees in
    other files have changed.
    """
    digest = hashlib.sha256()
    for path in sorted((ROOT / "src").rglob("*.py")):
        source = path.read_bytes()
        if b"compiled" in source or b"numba" in source:
            digest.update(source)
    folder = ROOT / ".numba_cache" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    for old in others[:-_KEPT_COMPILED]:
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def _is_of_the_machine(name: str) -> bool:
    """Secrets and stores of studies, servers of PostgreSQL, proxies, options of Python's."""
    if name.startswith("WAVEWISE_"):
        return name not in _KEPT and name != REAL_HOME
    return (
        name.startswith(("PG", "XDG_"))
        or name.lower().endswith("_proxy")
        or name in {"PYTHONPATH", "PYTHONWARNINGS", "PYTHONSTARTUP", "PYTHONHASHSEED"}
    )


def leave() -> None:
    """Remove the folder; only who made it does."""
    while _MADE:
        shutil.rmtree(_MADE.pop(), ignore_errors=True)
