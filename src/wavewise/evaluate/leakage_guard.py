"""Fresh data only: a policy is not judged on outcomes that it learned from."""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError, StateError

__all__ = ["Basis", "check_basis", "refuse_learned", "refuse_trained"]

Basis = Literal["fresh", "out-of-bag", "cross-fitted"]
# share of repeated units, beyond what chance repeats, from which data are taken for the same
_REPEATED = 0.5


def check_basis(basis: object) -> None:
    """Refuse an unknown basis."""
    if basis not in get_args(Basis):
        raise InputError(
            f"basis: found {basis!r}; needed one of {', '.join(map(repr, get_args(Basis)))}"
        )


def refuse_trained(
    policy: Any, prints: npt.NDArray[np.uint64], by_chance: npt.NDArray[np.uint64], basis: Basis
) -> None:
    """Refuse to evaluate a policy on the units whose outcomes it learned from."""
    rows = np.asarray(getattr(policy, "trained_rows", ()), dtype=np.uint64)
    if basis != "fresh" or rows.size == 0:
        return
    share = _share_known(rows, prints, by_chance)
    if share > _REPEATED:
        raise StateError(
            f"policy '{policy.name}' learned from the outcomes of about {share:.0%} of these "
            f"{prints.size:,} units, so that its value on them would be too high; needed units "
            "from a later wave, or left out of the learning; or declare basis='out-of-bag' to use "
            "each unit's assignment by the model without it"
        )


def refuse_learned(numbers: Any, what: str, scores: Any, basis: Basis) -> None:
    """Refuse predictions that were learned from the outcomes that the scores hold."""
    check_basis(basis)
    rows, prints = getattr(numbers, "rows", None), getattr(scores, "rows", None)
    if basis != "fresh" or rows is None or prints is None:
        return
    share = _share_known(rows, prints, scores.by_chance)
    if share > _REPEATED:
        raise StateError(
            f"{what}: found predictions of a model that learned from the outcomes of about "
            f"{share:.0%} of the {prints.size:,} units that they are judged on; needed units from "
            "a later wave, or left out of the learning; or the model's effects_oob, declared with "
            "basis='out-of-bag'"
        )


def _share_known(
    rows: npt.NDArray[np.uint64],
    prints: npt.NDArray[np.uint64],
    by_chance: npt.NDArray[np.uint64] | None,
) -> float:
    """Share of the units among those learned from, beyond what chance repeats."""
    if rows.size == prints.size and bool((np.sort(rows) == np.sort(prints)).all()):
        return 1.0
    known = float(np.isin(prints, rows).mean())
    chance = 0.0 if by_chance is None else float(np.isin(by_chance, rows).mean())
    return (known - chance) / (1 - chance) if chance < 1 else 0.0
