"""Files written whole, and arrays with a text in one plain file."""

import json
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError

__all__ = [
    "Source",
    "from_archive",
    "is_open_to_others",
    "replace_private",
    "save_bytes",
    "sync_folder",
    "to_archive",
    "write_private",
    "write_whole",
]

Source = str | Path | BinaryIO
Arrays = Mapping[str, npt.NDArray[Any]]


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file whole: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that must not exist yet, readable by its owner alone, and see it on disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def replace_private(path: Path, text: str) -> None:
    """Put a new text in the place of a private file, whole or not at all, and see it on disk."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    write_private(beside, text)
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """See the names in a folder on disk: a file that took another's place could be undone else."""
    if os.name == "nt":  # where folders cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_open_to_others(path: Path) -> bool:
    """Whether anybody but its owner may read or write a file."""
    return os.name != "nt" and bool(path.stat().st_mode & 0o077)


def save_bytes(target: Source, content: bytes) -> None:
    """Bytes to a path or an open file."""
    if isinstance(target, str | Path):
        Path(target).write_bytes(content)
    else:
        target.write(content)


def to_archive(name: str, text: Mapping[str, Any], arrays: Arrays, *, ascii_only: bool) -> bytes:
    """Arrays and a JSON text under `name`, in numpy's zip format; nothing pickled."""
    body = json.dumps(text, sort_keys=True, ensure_ascii=ascii_only).encode()
    file = BytesIO()
    np.savez(file, allow_pickle=False, **{name: np.frombuffer(body, np.uint8), **arrays})
    return file.getvalue()


def from_archive(
    source: Source, name: str, fault: str
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Text and arrays of an archive; `fault` says what was needed where it is none."""
    try:
        with np.load(source, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        text = json.loads(arrays.pop(name).tobytes())
    except (OSError, BadZipFile, KeyError, ValueError, EOFError) as error:
        raise InputError(f"{fault} ({type(error).__name__})") from error
    if not isinstance(text, dict):
        raise InputError(f"{fault} (its text is no table)")
    return text, arrays
