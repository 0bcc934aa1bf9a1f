"""What every result carries: reasons instead of numbers, checks, and where it came from."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise._version import __version__

__all__ = [
    "BoolArray",
    "CheckResult",
    "FloatArray",
    "IntArray",
    "NotEstimable",
    "Provenance",
    "StrArray",
    "hash_arrays",
    "read_only",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
StrArray = npt.NDArray[np.str_]


@dataclass(frozen=True)
class NotEstimable:
    """A quantity that the data cannot give, with the reason. Never a number.

    Examples
    --------
    >>> bool(NotEstimable("arm 'peers' has no units"))
    False
    """

    reason: str

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"not estimable: {self.reason}"


@dataclass(frozen=True)
class CheckResult:
    """A check's outcome: passed, failed, or no verdict, with its scope and its sentence.

    Parameters
    ----------
    name : str
        What is checked, in the field's words.
    scope : str
        What the check covers, e.g. ``all 5 arms, 344,084 units``.
    passed : bool or None
        None means no verdict; ``text`` then says why.
    text : str
        One sentence made from the same numbers as ``table``.
    table : tuple of dict
        The numbers, one mapping a row.
    number : float or None
        The one number that says how large the matter is; the text names it.
    advice : str
        What to do.
    """

    name: str
    scope: str
    passed: bool | None
    text: str
    table: tuple[Mapping[str, Any], ...] = ()
    number: float | None = None
    advice: str = ""

    @property
    def verdict(self) -> str:
        """``pass``, ``fail`` or ``no verdict``."""
        return {True: "pass", False: "fail", None: "no verdict"}[self.passed]

    def to_dict(self) -> dict[str, Any]:
        """The check as plain values, for JSON."""
        return {
            "name": self.name,
            "scope": self.scope,
            "verdict": self.verdict,
            "text": self.text,
            "table": [{key: _plain(value) for key, value in row.items()} for row in self.table],
            "number": _plain(self.number),
            "advice": self.advice,
        }

    @property
    def line(self) -> str:
        """Name, verdict, sentence and what to do, on one line."""
        return " ".join([f"{self.name}: {self.verdict}.", self.text, self.advice]).strip()


@dataclass(frozen=True)
class Provenance:
    """Where a result came from: enough to make it again.

    Parameters
    ----------
    method : str
        The estimator or procedure with its options, e.g. ``OLS, HC2``.
    data_hash : str
        SHA-256 of the arrays that went in.
    design_hash : str or None
        SHA-256 of the canonical spec, where there is one.
    seed : int or None
        Seed of the random draws, where there were any.
    version : str
        Version of Wavewise.
    """

    method: str
    data_hash: str
    design_hash: str | None = None
    seed: int | None = None
    version: str = field(default=__version__)

    def to_dict(self) -> dict[str, Any]:
        """The provenance as plain values, for JSON."""
        return dict(vars(self))


def _plain(value: Any) -> Any:
    """The value, or None for a number that JSON does not have (infinite, not a number)."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_only(values: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """An array that cannot be written to (a view where possible; the caller's stays writable)."""
    array = np.asarray(values, dtype=dtype).view()
    array.flags.writeable = False
    return array


def hash_arrays(**arrays: Any) -> str:
    """SHA-256 of named arrays: of their names, types, shapes and bytes.

    Strings are hashed as UTF-8 text, so that their storage width does not matter.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        value = arrays[name]
        if value is None:
            continue
        array = np.ascontiguousarray(value)
        if array.dtype.kind in "OUST":
            array = np.asarray(array, dtype=object)
            body = json.dumps(array.ravel().tolist(), ensure_ascii=False, default=str).encode()
            kind = "text"
        else:
            body, kind = array.tobytes(), array.dtype.str
        digest.update(f"{name}|{kind}|{array.shape}|".encode())
        digest.update(body)
    return digest.hexdigest()
