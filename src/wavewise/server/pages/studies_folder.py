"""The folder that the pages serve: its studies, each opened once."""

import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from wavewise.errors import InputError, WavewiseError
from wavewise.workflow.study import STUDY_FILE

__all__ = ["Door", "ListedStudy", "StudiesFolder"]


class Door(Protocol):
    """The door in Python: the module whose methods every step is."""

    def open_study(
        self,
        folder: Path | str,
        *,
        store: str | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> Any:
        """An open study."""
        ...

    def init(self, folder: Path | str, template: str | None = None, *, people: Any = None) -> Any:
        """A new study folder."""
        ...


@dataclass(frozen=True)
class ListedStudy:
    """One study of the folder, as it was found."""

    name: str  # Of its folder, as addresses have it.
    folder: Path
    study: Any
    error: WavewiseError | None = None  # Why it cannot be opened: its file has faults.


class StudiesFolder:
    """Studies of a folder: itself, or the folders in it."""

    def __init__(
        self,
        door: Door,
        folder: Path,
        clock: Callable[[], datetime],
        *,
        key_file: Path | None = None,
        store: str | None = None,
    ) -> None:
        self.door, self.folder, self.clock = door, folder.resolve(), clock
        self.key_file, self.store = key_file, store
        self._private: tempfile.TemporaryDirectory[str] | None = None
        self._open: dict[str, Any] = {}
        self._remembered: dict[tuple[Any, ...], Any] = {}
        self._lock = threading.Lock()

    @property
    def is_one_study(self) -> bool:
        """Whether the folder is a study by itself."""
        return (self.folder / STUDY_FILE).is_file()

    def names(self) -> list[str]:
        """Names of the studies' folders."""
        if self.is_one_study:
            return [self.folder.name]
        if not self.folder.is_dir():
            return []
        return sorted(path.parent.name for path in self.folder.glob(f"*/{STUDY_FILE}"))

    def find(self, name: str) -> ListedStudy | None:
        """A study by its name; None where there is none of it."""
        if name not in self.names():
            return None
        folder = self.folder if self.is_one_study else self.folder / name
        try:
            return ListedStudy(name, folder, self._opened(name, folder))
        except WavewiseError as error:
            return ListedStudy(name, folder, None, error)

    def all(self) -> Iterator[ListedStudy]:
        """Every study."""
        return filter(None, map(self.find, self.names()))

    def remember(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What takes long to make, made once until a step is taken."""
        with self._lock:
            if key in self._remembered:
                return self._remembered[key]
        found = make()
        with self._lock:
            self._remembered[key] = found
        return found

    def forget(self) -> None:
        """A step was taken: what was remembered may be otherwise now."""
        with self._lock:
            self._remembered.clear()

    def private_folder(self) -> Path:
        """Where files wait between two steps; only this account reads it, and it ends with us."""
        with self._lock:
            if self._private is None:
                self._private = tempfile.TemporaryDirectory(prefix="wavewise-")
            return Path(self._private.name)

    def new_private_folder(self) -> Path:
        """A folder in it that nobody can guess."""
        folder = self.private_folder() / secrets.token_urlsafe(12)
        folder.mkdir(mode=0o700)
        return folder

    def new_folder(self, name: str) -> Path:
        """Folder of a study to make."""
        if not name or len(name) > 60 or not all(c.isalnum() or c in "-_" for c in name):
            raise InputError(
                f"found {name!r} as the folder's name; needed letters, digits and hyphens, such as "
                "peru-2024"
            )
        if self.is_one_study:
            raise InputError(
                "the folder that is open is one study; needed a folder of studies; start "
                "`wavewise app` in the folder above"
            )
        return self.folder / name

    def _opened(self, name: str, folder: Path) -> Any:
        with self._lock:
            found = self._open.get(name)
            if found is None:
                found = self.door.open_study(folder, store=self.store, clock=self.clock)
                self._open[name] = found
        _ = found.spec  # its faults now, not in the middle of a screen
        return found

    def close(self) -> None:
        """Close every study."""
        with self._lock:
            for study in self._open.values():
                study.close()
            self._open.clear()
            if self._private is not None:
                self._private.cleanup()
                self._private = None
