"""Fresh data only: a policy is not judged on outcomes that it learned from."""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError, StateError

__all__ = ["Basis", "check_basis", "refuse_trained"]

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
    policy: Any,
    prints: npt.NDArray[np.uint64],
    shuffled: npt.NDArray[np.uint64],
    basis: Basis,
) -> None:
    """Refuse to evaluate a policy on the units whose outcomes it learned from.

    Parameters
    ----------
    policy : Policy or array
        Arrays of arms carry no origin: nothing can be checked.
    prints : array of uint64, shape (n_units,)
        Fingerprints of the units that are to be used.
    shuffled : array of uint64, shape (n_units,)
        The same with arms and outcomes moved to other units: what chance alone repeats.
    basis : {"fresh", "out-of-bag", "cross-fitted"}

    Raises
    ------
    StateError
        Where the units are those that the policy learned from, or mostly so.
    """
    rows = np.asarray(getattr(policy, "trained_rows", ()), dtype=np.uint64)
    if basis != "fresh" or rows.size == 0:
        return
    same = rows.size == prints.size and bool((np.sort(rows) == np.sort(prints)).all())
    known, chance = np.isin(prints, rows).mean(), np.isin(shuffled, rows).mean()
    repeated = (known - chance) / (1 - chance) if chance < 1 else 0.0
    if same or repeated > _REPEATED:
        share = 1.0 if same else repeated
        raise StateError(
            f"policy '{policy.name}' learned from the outcomes of about {share:.0%} of these "
            f"{prints.size:,} units, so that its value on them would be too high; needed units "
            "from a later wave, or left out of the learning; or declare basis='out-of-bag' to use "
            "each unit's assignment by the model without it"
        )
