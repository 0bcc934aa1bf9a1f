"""Watches a test process: who opened what is never closed, and that nobody touches the real home.

A library of others may leave its own things open; what Wavewise or its tests open, themselves or
through a library that opens things for its caller, they close. Python says who opened what at the
moment of opening only ("audit events"), and that it was never closed much later.
"""

import os
import pwd
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from own_surroundings import REAL_HOME

ROOT = Path(__file__).resolve().parents[2]
# What these open is the caller's to close: it holds their engine, client, session or server.
FOR_CALLERS = frozenset(
    {"aiomqtt", "aiosmpplib", "aiosmtpd", "aiosmtplib", "alembic", "anyio", "httpcore2", "httpx2"}
    | {"paho", "psycopg", "sqlalchemy", "starlette", "uvicorn"}
)
_PYTHON = sysconfig.get_path("stdlib") + os.sep
_PATHS = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rmdir", "os.rename"}
_PACKAGES = f"{os.sep}site-packages{os.sep}"


def owner_of(frame: FrameType | None) -> str | None:
    """Place of the innermost frame outside of Python's library; "" for other people's code."""
    for _ in range(80):
        if frame is None:
            return None
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return ""  # reading a module, not opening something for us
        ours = _verdict(file)
        if ours is not None:
            return f"{file}:{frame.f_lineno}" if ours else ""
        frame = frame.f_back
    return None


def _verdict(file: str) -> bool | None:
    """Whether a file of code is ours to answer for; None for Python's own library."""
    _, found, inside = file.rpartition(_PACKAGES)
    if not found:
        return None if file == __file__ or file.startswith(("<", _PYTHON)) else True
    package = inside.partition(os.sep)[0].removesuffix(".py")
    return package == "wavewise" or package in FOR_CALLERS


class Watch:
    """Listens to audit events and to what finalizers complain of, from :meth:`begin` on."""

    def __init__(self) -> None:
        self.openers: dict[object, str | None] = {}
        self.is_testing = False
        self._before: Callable[[sys.UnraisableHookArgs], object] = sys.__unraisablehook__
        self._homes = _homes()
        self._allowed = _allowed()

    def begin(self) -> None:
        """Listen for as long as the process lasts."""
        self._before, sys.unraisablehook = sys.unraisablehook, self.unraisable
        sys.addaudithook(self._heard)

    def _heard(self, event: str, values: tuple[Any, ...]) -> None:
        if event in _PATHS:
            path = values[0]
            if isinstance(path, str | bytes | os.PathLike):
                path = os.fspath(path)
                path = os.fsdecode(path) if isinstance(path, bytes) else path
                self._refuse_home(path)
            if event == "open":
                self.openers["file", path] = owner_of(sys._getframe(1))
        elif event == "socket.__new__" or event == "sqlite3.connect/handle":
            self.openers[id(values[0])] = owner_of(sys._getframe(1))
        elif event == "sqlite3.connect":
            self._refuse_home(str(values[0]))

    def _refuse_home(self, path: str) -> None:
        if self.is_testing and self.is_in_home(path):
            raise AssertionError(f"a test touches {path}, in the real home")

    def is_in_home(self, path: str) -> bool:
        """Whether a path lies in the real home and not in the checkout, Python or a data folder."""
        if not os.path.isabs(path):  # noqa: PTH117 - a hundred thousand times a run
            return False
        home = max((len(home) for home in self._homes if path.startswith(home)), default=0)
        other = max((len(place) for place in self._allowed if path.startswith(place)), default=0)
        return home > other

    def unraisable(self, found: "sys.UnraisableHookArgs") -> None:
        """Hand on what is ours, and what nobody can be named for; say the rest and go on."""
        owner = self._owner(found)
        if owner == "":
            print(f"of a library, not of ours: {found.exc_value!r}", file=sys.stderr)
        else:
            if owner and found.exc_value is not None:
                found.exc_value.add_note(f"opened at {owner}")
            self._before(found)

    def _owner(self, found: "sys.UnraisableHookArgs") -> str | None:
        if isinstance(found.exc_value, ResourceWarning):
            return self._opener(found)
        code = getattr(found.object, "cr_code", None)  # a coroutine that nobody awaited
        if code is not None:
            return None if _verdict(code.co_filename) is not False else ""
        files = _files(found.exc_traceback)
        verdicts = [_verdict(file) for file in files]
        return "" if False in verdicts and True not in verdicts else None

    def _opener(self, found: "sys.UnraisableHookArgs") -> str | None:
        thing = found.object
        if found.exc_traceback is not None:  # a finalizer in Python: the thing is its `self`
            thing = found.exc_traceback.tb_frame.f_locals.get("self", thing)
        keys = [id(thing), ("file", getattr(thing, "name", None))]
        keys += [id(getattr(thing, name, None)) for name in ("_sock", "_ssock", "_server")]
        return next((self.openers[key] for key in keys if key in self.openers), None)


def _files(trace: TracebackType | None) -> list[str]:
    files = []
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return files


def _homes() -> set[str]:
    found = {os.environ.get(REAL_HOME, ""), pwd.getpwuid(os.getuid()).pw_dir}
    homes = {os.path.realpath(home) for home in found if home}
    return {home + os.sep for home in homes if home != os.sep and Path(home).is_dir()}


def _allowed() -> set[str]:
    found = {ROOT, ROOT.parent / "shared", *map(Path, sys.path), Path(tempfile.gettempdir())}
    found |= {Path(sys.prefix), Path(sys.base_prefix)}
    found |= {
        Path(os.environ[name]) for name in ("WAVEWISE_DATA", "WAVEWISE_NODE") if name in os.environ
    }
    real = {os.path.realpath(path) for path in found if str(path) not in {"", "."}}
    return {path + os.sep for path in {*real, *map(str, found)} if path not in {"", "."}}
