"""What a policy would give each of the units that it is evaluated on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import InputError, StateError
from wavewise.estimate.fingerprints import chance_fingerprints, row_fingerprints
from wavewise.estimate.labels import encode, label_text
from wavewise.evaluate.fresh import Basis, refuse_trained
from wavewise.evaluate.inputs import Drawn
from wavewise.results import FloatArray

__all__ = ["assigned_shares", "mixture_propensity"]


def assigned_shares(policy: Any, X: Any, arm: Any, drawn: Drawn, basis: Basis) -> FloatArray:
    """Probability of each arm of the design under the policy, shape (n_units, n_arms).

    Raises
    ------
    StateError
        Where the policy learned from these units, and the basis is fresh data.
    InputError
        Where it gives an arm that is none of the design's.
    """
    if not hasattr(policy, "probabilities"):
        return _from_array(policy, drawn)
    if X is None and policy.covariates:
        raise InputError(f"policy '{policy.name}' needs X with {', '.join(policy.covariates)}")
    table = {"none": np.zeros(drawn.n_units)} if X is None else X
    own = _own_covariates(policy, table)
    if basis == "out-of-bag" and policy.kind != "fixed":
        found = policy.probabilities_oob()[
            _rows_of(policy, row_fingerprints(own, arm, drawn.outcome))
        ]
    else:
        for known in (table,) if own is table else (table, own):
            prints = row_fingerprints(known, arm, drawn.outcome)
            by_chance = chance_fingerprints(known, arm, drawn.outcome, prints)
            refuse_trained(policy, prints, by_chance, basis)
        found = policy.probabilities(table)
    return _aligned(found, policy.arms, drawn, f"policy '{policy.name}'")


def mixture_propensity(
    policies: Mapping[Any, float], X: Any, *, control: Any = None, control_share: float = 0.0
) -> pl.DataFrame:
    """Probability of each message for each unit where policies themselves are randomized.

    Parameters
    ----------
    policies : mapping of Policy to share
        Shares of units assigned to each policy, in [0, 1], summing to 1.
    X : array-like, shape (n_units, n_covariates); mapping; or frame
    control : label, optional
        The arm of units held out within every policy.
    control_share : float
        Share that is held out, in [0, 1).

    Returns
    -------
    polars.DataFrame
        One column an arm, one row a unit: give it as `propensity`.

    Notes
    -----
    ``e_i(a) = c 1{a = control} + (1 - c) sum_p s_p pi_p(a | x_i)``. A unit that was randomized to
    one policy then also informs on every other policy that would have sent it the same message.
    """
    total = sum(policies.values())
    if abs(total - 1) > 1e-9 or min(policies.values()) < 0 or not 0 <= control_share < 1:
        raise InputError(
            f"found shares that sum to {total:.6g} and a control share of {control_share}; needed "
            "shares in [0, 1] that sum to 1, and a control share in [0, 1)"
        )
    found: dict[str, FloatArray] = {}
    for policy, share in policies.items():
        for name, column in zip(policy.arms, policy.probabilities(X).T, strict=True):
            part = (1 - control_share) * share * column
            found[name] = found[name] + part if name in found else part
    if control_share > 0:
        held, name = np.full(len(next(iter(found.values()))), control_share), label_text(control)
        found[name] = found[name] + held if name in found else held
    return pl.DataFrame({name: found[name] for name in sorted(found)})


def _own_covariates(policy: Any, X: Any) -> Any:
    """The covariates that the policy knows, where they have names: others say nothing of origin."""
    names = X.keys() if isinstance(X, Mapping) else getattr(X, "columns", ())
    held = {str(name): name for name in names}
    if not policy.covariates or not set(policy.covariates) <= set(held):
        return X
    return {name: X[held[name]] for name in policy.covariates}


def _from_array(policy: Any, drawn: Drawn) -> FloatArray:
    labels = encode(policy, "policy", drawn.n_units)
    shares = np.zeros((drawn.n_units, len(labels.names)))
    shares[np.arange(drawn.n_units), labels.codes] = 1.0
    return _aligned(shares, labels.names, drawn, "policy")


def _aligned(shares: FloatArray, arms: tuple[str, ...], drawn: Drawn, what: str) -> FloatArray:
    found = np.zeros((drawn.n_units, len(drawn.arms)))
    if shares.shape[0] != drawn.n_units:
        raise InputError(f"X: found {shares.shape[0]:,} units for {drawn.n_units:,} outcomes")
    for name, column in zip(arms, shares.T, strict=True):
        if name in drawn.arms:
            found[:, drawn.arms.index(name)] += column
        elif column.any():
            raise InputError(
                f"{what}: gives {int((column > 0).sum()):,} units the arm '{name}', which nobody "
                f"could draw; the arms are {', '.join(drawn.arms)}"
            )
    return found


def _rows_of(policy: Any, prints: npt.NDArray[np.uint64]) -> Any:
    """Row of each unit among those that the policy's model learned from."""
    rows = np.asarray(getattr(policy.rule.model, "trained_rows", ()), dtype=np.uint64)
    if rows.size == 0 and policy.rule.model.effects_oob.shape[0] == prints.size:
        return slice(None)  # the model keeps no fingerprints: the order is taken as given
    order = np.argsort(rows, kind="stable")
    place = np.minimum(np.searchsorted(rows[order], prints), max(rows.size - 1, 0))
    found = rows.size > 0 and bool((rows[order][place] == prints).all())
    if not found:
        raise StateError(
            f"policy '{policy.name}': found units that it did not learn from; needed the units of "
            "the learning, with the same covariates, arms and outcomes, for basis='out-of-bag'; on "
            "other units use basis='fresh'"
        )
    return order[place]
