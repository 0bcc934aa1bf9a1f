"""The matcher's file: an npz archive of plain arrays and one JSON text, with its own hash."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import BadZipFile

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.neighbour_matcher import Matcher
from wavewise.estimate.neighbour_points import Points
from wavewise.estimate.neighbour_space import Space
from wavewise.estimate.neighbour_tuning import Tuning
from wavewise.results import Provenance, hash_arrays, read_only

if TYPE_CHECKING:
    from wavewise.estimate.neighbours import Neighbours

__all__ = ["read_matcher", "write_matcher"]

_KIND = "wavewise neighbours 1"
_ARRAYS = ("effects_oob", "std_error_oob", "trained_rows")


def write_matcher(file: BinaryIO, result: "Neighbours") -> None:
    """Write the matcher; the same matcher gives the same bytes."""
    matcher = result._matcher
    arrays = {name: getattr(result, name) for name in _ARRAYS}
    for number, points in enumerate(matcher.points):
        arrays |= {f"rows_{number}": points.rows, f"units_{number}": points.units}
    arrays["counts"] = matcher.counts
    text = {
        "kind": _KIND,
        "arms": list(result.arms),
        "control": result.control,
        "k": result.k,
        "n_units": dict(result.n_units),
        "n_missing": result.n_missing,
        "tuning": None if result.tuning is None else result.tuning.to_dict(),
        "provenance": result.provenance.to_dict(),
        "centre": matcher.centre,
        "space": matcher.space.to_dict(),
        "hash": hash_arrays(**arrays),
    }
    body = json.dumps(text, sort_keys=True, ensure_ascii=False).encode()
    np.savez(file, text=np.frombuffer(body, dtype=np.uint8), **arrays)


def read_matcher(path: "str | Path | BinaryIO") -> dict[str, Any]:
    """Fields of a matcher from its file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        text = json.loads(arrays.pop("text").tobytes())
    except (BadZipFile, KeyError, ValueError, EOFError) as error:
        raise InputError("the file is not a matcher's; needed one that `save` wrote") from error
    if text.get("kind") != _KIND or hash_arrays(**arrays) != text["hash"]:
        raise InputError(
            f"the file is of kind {text.get('kind')!r} or was changed since it was written; needed "
            f"an unchanged file of kind {_KIND!r}"
        )
    return _fields(text, arrays)


def _fields(text: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    nothing = np.empty(0, dtype=np.int64)
    points = tuple(
        Points(arrays[f"rows_{n}"], arrays[f"units_{n}"], nothing)
        for n in range(len(text["arms"]) + 1)
    )
    space = Space.from_dict(text["space"])
    tuning = text["tuning"]
    return {
        "arms": tuple(text["arms"]),
        "control": text["control"],
        "k": text["k"],
        "n_units": text["n_units"],
        "n_missing": text["n_missing"],
        "tuning": None if tuning is None else _tuning(tuning),
        "provenance": Provenance(**text["provenance"]),
        "_matcher": Matcher(space, points, arrays["counts"], text["centre"]),
        **{name: read_only(arrays[name]) for name in _ARRAYS},
    }


def _tuning(row: dict[str, Any]) -> Tuning:
    return Tuning(
        tuple(row["k"]), np.array(row["loss"]), np.array(row["std_error"]), row["n_units"]
    )
