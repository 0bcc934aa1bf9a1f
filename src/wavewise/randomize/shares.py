"""Intended shares: one row per stratum, one column per arm, every fault listed at once."""

import math
import numbers
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from wavewise.errors import Fault, InputError
from wavewise.shared.labels import Label
from wavewise.shared.results import FloatArray

__all__ = ["SUM_TOLERANCE", "ShareTable", "Shares", "arms_named", "parse_shares"]

# One mapping for all strata, or one per stratum.
Shares: TypeAlias = Mapping[str, float] | Mapping[Any, Mapping[str, float]]

SUM_TOLERANCE = 1e-9
_MANY_FAULTS = 20


@dataclass(frozen=True)
class ShareTable:
    """Shares by stratum and arm."""

    arms: tuple[str, ...]  # In the order in which the shares name them.
    # (n_strata, n_arms): In [0, 1]; each row divided by its sum, which was 1 within 1e-9.
    share: FloatArray


def arms_named(shares: Shares) -> tuple[str, ...]:
    """Arms in the order in which shares name them."""
    nested: list[Mapping[Any, Any]] = [r for r in shares.values() if isinstance(r, Mapping)]
    rows = nested or [shares]
    return tuple(dict.fromkeys(str(arm) for row in rows for arm in row))


def parse_shares(shares: Shares | object, strata: tuple[Label, ...] | None) -> ShareTable:
    """Shares of every stratum that is present."""
    if not isinstance(shares, Mapping) or not shares:
        raise InputError("shares: found no arms, needed {arm: share} or {stratum: {arm: share}}")
    nested = [isinstance(row, Mapping) for row in shares.values()]
    if any(nested) and not all(nested):
        raise InputError(
            "shares: found shares and mappings side by side, needed either {arm: share} for all "
            "strata or {stratum: {arm: share}}; use one form"
        )
    return _by_stratum(shares, strata) if nested[0] else _for_all(shares, strata)


def _for_all(shares: Mapping[Any, Any], strata: tuple[Label, ...] | None) -> ShareTable:
    _raise(_row_faults("shares", shares))
    row = [float(share) for share in shares.values()]
    n_strata = 1 if strata is None else len(strata)
    return ShareTable(tuple(shares), np.tile(_normalised(row), (n_strata, 1)))


def _by_stratum(shares: Mapping[Any, Any], strata: tuple[Label, ...] | None) -> ShareTable:
    if strata is None:
        raise InputError(
            f"shares: found shares of {len(shares)} strata but no strata; "
            "give each unit's stratum, or one {arm: share} for all"
        )
    faults = [
        fault for label, row in shares.items() for fault in _row_faults(f"shares[{label!r}]", row)
    ]
    faults += [_left_out(label) for label in strata if label not in shares]
    _raise(faults)
    arms = tuple(dict.fromkeys(arm for row in shares.values() for arm in row))
    rows = [_normalised([float(shares[label].get(arm, 0.0)) for arm in arms]) for label in strata]
    return ShareTable(arms, np.array(rows, dtype=np.float64))


def _left_out(label: Hashable) -> Fault:
    return Fault(
        f"shares[{label!r}]", "nothing", "a share vector", "add this stratum, or drop its units"
    )


def _row_faults(path: str, row: Mapping[Any, Any]) -> list[Fault]:
    if not row:
        return [Fault(path, "no arms", "at least one arm", "name each arm and its share")]
    faults = [fault for arm, share in row.items() for fault in _entry_faults(path, arm, share)]
    if faults:
        return faults
    total = math.fsum(float(share) for share in row.values())
    if abs(total - 1.0) > SUM_TOLERANCE:
        fix = "divide each by the sum, or give the missing share to an arm such as control"
        return [Fault(path, f"a sum of {total:.10g} over {len(row)} arms", "1", fix)]
    return []


def _entry_faults(path: str, arm: Any, share: Any) -> list[Fault]:
    if not isinstance(arm, str) or not arm:
        found = f"an arm named {arm!r}"
        return [Fault(path, found, "a name that is text and not empty", "rename the arm")]
    number = isinstance(share, numbers.Real) and not isinstance(share, (bool, np.bool_))
    if number and 0.0 <= float(share) <= 1.0:
        return []
    fix = "shares are fractions, not percent" if number and float(share) > 1.0 else "correct it"
    return [Fault(f"{path}[{arm!r}]", f"{share!r}", "a finite number in [0, 1]", fix)]


def _normalised(row: list[float]) -> FloatArray:
    total = math.fsum(row)
    return np.array([share / total for share in row], dtype=np.float64)


def _raise(faults: list[Fault]) -> None:
    if faults:
        shown = faults[:_MANY_FAULTS]
        more = f" (the first {_MANY_FAULTS} are listed)" if len(faults) > _MANY_FAULTS else ""
        raise InputError(f"shares: found {len(faults)} error(s), needed none{more}", shown)
