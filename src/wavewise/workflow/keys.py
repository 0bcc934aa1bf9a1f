"""The key file: made, found and read; never inside of the study's folder."""

import os
from pathlib import Path

from wavewise.errors import InputError
from wavewise.fieldwork.key_ring import KeyRing
from wavewise.workflow.done import Done

__all__ = ["KEYS", "KEY_FILE", "find_key_ring", "key_ring", "make_key_file", "read_key_file"]

KEY_FILE = "WAVEWISE_KEY_FILE"  # environment: path of the key file
KEYS = "WAVEWISE_KEYS"  # environment: the text of the key file itself


def make_key_file(path: Path) -> Done:
    """A new key file that its owner alone can read.

    Raises
    ------
    InputError
        There is a file already, or the folder is a study's.
    """
    _refuse_study_folder(path)
    try:
        write_new(path, KeyRing.new().text())
    except FileExistsError:
        raise InputError(
            f"found {path} there already; needed a new path, since details sealed with the old "
            "keys would be lost; give another path"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: it cannot be written ({error.strerror}); needed a folder that exists and "
            "may be written to; give another path"
        ) from None
    text = (
        f"Wrote {path}. Keep a copy in a safe place: without it no contact detail can be read.\n"
        f"Use it with --key-file {path}, or set {KEY_FILE}."
    )
    return Done(text, {"path": str(path)})


def write_new(path: Path, text: str) -> None:
    """Write a file that must not exist yet, readable by its owner alone."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, text: str) -> None:
    """Put a new text in the place of a file, whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    write_new(beside, text)
    beside.replace(path)


def find_key_ring(path: Path | None = None) -> KeyRing | None:
    """The key ring: of a file, or of the environment; None where there is none.

    Raises
    ------
    InputError
        What is there is no key ring, or lies in a study's folder.
    """
    if path is None and (text := os.environ.get(KEYS)):
        return KeyRing.read(text, KEYS)
    named = path or (Path(os.environ[KEY_FILE]) if os.environ.get(KEY_FILE) else None)
    return None if named is None else read_key_file(named)


def key_ring(path: Path | None = None) -> KeyRing:
    """The key ring, which must be there.

    Raises
    ------
    InputError
        There is none.
    """
    ring = find_key_ring(path)
    if ring is None:
        raise InputError(
            f"found no key file; needed one to read contact details; give --key-file FILE or set "
            f"{KEY_FILE}; make one with `wavewise contacts make-key FILE`"
        )
    return ring


def read_key_file(path: Path) -> KeyRing:
    """The key ring of a file."""
    _refuse_study_folder(path)
    try:
        return KeyRing.read(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: the key file cannot be read ({type(error).__name__}); needed the file that "
            "`wavewise contacts make-key` wrote; check the path and its permissions"
        ) from None


def _refuse_study_folder(path: Path) -> None:
    for folder in path.resolve().parents:
        if (folder / "study.toml").is_file():
            raise InputError(
                f"found the key file inside of the study folder {folder}; needed it elsewhere: "
                "whoever copies the study must not copy the key; move it"
            )
