"""A forest as one plain file: arrays and a JSON header in numpy's zip format, nothing pickled."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.results import hash_arrays

__all__ = ["content_hash", "read_file", "write_file"]

FORMAT = "wavewise causal forest"
VERSION = 1


def content_hash(header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> str:
    """SHA-256 of everything that the file holds."""
    return hash_arrays(header=[json.dumps(header, sort_keys=True)], **arrays)


def write_file(
    path: str | Path, header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]
) -> None:
    """Header and arrays to a file, with their hash."""
    text = json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "hash": content_hash(header, arrays),
            "header": header,
        },
        sort_keys=True,
    )
    with Path(path).open("wb") as file:
        np.savez(file, allow_pickle=False, json=np.frombuffer(text.encode(), np.uint8), **arrays)


def read_file(path: str | Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Header and arrays of a file, its hash checked.

    Raises
    ------
    InputError
        Not such a file, of a later version, or changed since it was written.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        outer = json.loads(arrays.pop("json").tobytes())
        header = outer["header"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"forest file: found what cannot be read ({type(error).__name__}); needed a file that "
            "CausalForest.save wrote"
        ) from error
    if outer.get("format") != FORMAT or outer.get("version") != VERSION:
        raise InputError(
            f"forest file: found {outer.get('format')!r}, version {outer.get('version')!r}; needed "
            f"{FORMAT!r}, version {VERSION}"
        )
    found = content_hash(header, arrays)
    if found != outer["hash"]:
        raise InputError(
            f"forest file: found contents with hash {found[:12]}; needed {outer['hash'][:12]}, as "
            "written; the file was changed or damaged: use a copy of the original"
        )
    return header, arrays
