"""The value of a policy, and the difference between two, from randomized units."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wavewise.errors import EstimationError, InputError, StateError
from wavewise.estimate.effects.table import check_level
from wavewise.estimate.observational import may_be_estimated
from wavewise.estimate.provenance import UInt64Array, chance_fingerprints, row_fingerprints
from wavewise.evaluate.leakage_guard import Basis, check_basis, refuse_trained
from wavewise.evaluate.scores import DoublyRobustScores, Drawn, doubly_robust_scores, read_drawn
from wavewise.evaluate.standard_errors import interval, p_value, std_error
from wavewise.shared.inputs import aligned, encode
from wavewise.shared.labels import compress, label_text
from wavewise.shared.results import BoolArray, FloatArray, NotEstimable, Provenance, Result

__all__ = ["JudgedUnits", "PolicyEstimate", "mixture_propensity", "policy_contrast", "policy_value"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PolicyEstimate(Result, kind="policy estimate"):
    """A policy's value, or the difference between two.

    Parameters
    ----------
    name : str
        The policy, or ``a minus b``.
    estimate, std_error : float
        In units of the outcome, per unit of the whole population.
    conf_low, conf_high : float
        Confidence interval at `level`.
    p_value : float or NotEstimable
        Two-sided, of no difference; of a value it is not asked.
    level : float
    n_units : int
    n_missing : int
        Units left out since their outcome is missing.
    share_differs : float
        Share of units for whom the two policies differ, in [0, 1]; 1 for a value.
    basis : str
        ``fresh``, ``out-of-bag`` or ``cross-fitted``.
    unchecked : tuple of str
        Policies that learned from something but keep no hashes of it, or are plain arrays:
        that they did not learn from these units is your word.
    provenance : Provenance
    """

    name: str
    estimate: float
    std_error: float
    conf_low: float
    conf_high: float
    p_value: float | NotEstimable
    level: float
    n_units: int
    share_differs: float
    basis: Basis
    unchecked: tuple[str, ...]
    provenance: Provenance
    n_missing: int = 0

    def _frame(self) -> pl.DataFrame:
        """One row."""
        p = None if isinstance(self.p_value, NotEstimable) else self.p_value
        return pl.DataFrame(
            {
                "contrast": [self.name],
                "estimate": [self.estimate],
                "std_error": [self.std_error],
                "conf_low": [self.conf_low],
                "conf_high": [self.conf_high],
                "p_value": [p],
                "share_differs": [self.share_differs],
                "n_units": [self.n_units],
            },
            schema_overrides={"p_value": pl.Float64},
        )

    def _facts(self) -> dict[str, Any]:
        return {
            **self._frame().to_dicts()[0],
            "level": self.level,
            "basis": self.basis,
            "unchecked": self.unchecked,
        }

    def summary(self) -> str:
        """The estimate in one or two sentences."""
        numbers = (
            f"{self.estimate:.4g} (standard error {self.std_error:.2g}, {self.level:.0%} interval "
            f"{self.conf_low:.4g} to {self.conf_high:.4g})"
        )
        on = {
            "fresh": "units that the policies did not learn from",
            "out-of-bag": "the units learned from, each by the model without it",
            "cross-fitted": "units declared as cross-fitted",
        }[self.basis]
        text = f"{self.name}: {numbers}, on {self.n_units:,} units: {on}."
        if self.unchecked:
            text += f" That this holds for {', '.join(self.unchecked)} is declared, not checked."
        if isinstance(self.p_value, NotEstimable):
            return text
        return f"{text} The policies differ for {self.share_differs:.1%} of them."


@aligned("policy", "X", "arm", "outcome", "propensity", "cluster", "predicted")
@may_be_estimated
def policy_value(
    policy: Any,
    X: Any,
    arm: Any,
    outcome: Any,
    *,
    propensity: Any,
    cluster: Any = None,
    arms: Sequence[Any] | None = None,
    predicted: Any = None,
    scores: DoublyRobustScores | None = None,
    basis: Basis = "fresh",
    level: float = 0.95,
) -> PolicyEstimate:
    """Mean outcome if everybody were assigned by the policy, from randomized units.

    Parameters, errors and notes are those of `policy_contrast`.

    Examples
    --------
    >>> import numpy as np
    >>> arm = np.array(["sms", "control"] * 100)
    >>> found = policy_value(np.full(200, "sms"), None, arm, (arm == "sms") * 1.0,
    ...                      propensity={"sms": 0.5, "control": 0.5})
    >>> round(found.estimate, 6)
    1.0
    """
    units = JudgedUnits.read(
        X, arm, outcome, propensity=propensity, cluster=cluster, arms=arms, predicted=predicted,
        scores=scores, basis=basis,
    )  # fmt: skip
    return units.value(policy, level=level)


@aligned("policy_a", "policy_b", "X", "arm", "outcome", "propensity", "cluster", "predicted")
@may_be_estimated
def policy_contrast(
    policy_a: Any,
    policy_b: Any,
    X: Any,
    arm: Any,
    outcome: Any,
    *,
    propensity: Any,
    cluster: Any = None,
    arms: Sequence[Any] | None = None,
    predicted: Any = None,
    scores: DoublyRobustScores | None = None,
    basis: Basis = "fresh",
    level: float = 0.95,
) -> PolicyEstimate:
    """Mean outcome under policy a less that under policy b, paired where they agree.

    Parameters
    ----------
    policy_a, policy_b : Policy, or array of arms of shape (n_units,)
        Assignments as arrays carry no origin: that they are not learned from these outcomes is
        then your word.
    X : array-like, shape (n_units, n_covariates); mapping; or frame
        Covariates of the policies and of the outcome model; None where both policies are arrays.
    arm : array-like, shape (n_units,)
        Arm that was drawn.
    outcome : array-like, shape (n_units,)
        Units whose outcome is missing are left out and counted.
    propensity : mapping of arm to share; frame or array of shape (n_units, n_arms); or (n_units,)
        Probabilities with which arms were drawn, as stored when they were.
    cluster : array-like, shape (n_units,), optional
        Groups that were randomized together.
    arms : sequence of labels, optional
        All arms, in the order of the columns of `propensity`.
    predicted : array of float, shape (n_units, n_arms), optional
        Predicted outcomes; by default cross-fitted.
    scores : DoublyRobustScores, optional
        Of these very units with these propensities, where they were made before.
    basis : {"fresh", "out-of-bag", "cross-fitted"}
        What the policies owe to these outcomes: nothing; or each unit is assigned by the model
        without it; or you declare the same of your own assignments.
    level : float
        In (0, 1).

    Returns
    -------
    PolicyEstimate

    Raises
    ------
    StateError
        Where a policy learned from the outcomes of these units.
    InputError
        Where arrays do not fit together.
    EstimationError
        Where a policy assigns an arm that the unit could not have drawn.

    Notes
    -----
    ``(1/n) sum_i sum_a (pi_a(a | x_i) - pi_b(a | x_i)) Gamma_ia`` with doubly robust scores
    ``Gamma``. A unit for whom the policies agree adds exactly 0 and no noise, so that the standard
    error falls with the square root of the share of units for whom they differ. Comparing the
    means of two randomized halves instead would carry the noise of all.

    References
    ----------
    Dudik, Erhan, Langford and Li (2014), *Doubly robust policy evaluation and optimization*; Imai
    and Li (2023), *Experimental evaluation of individualized treatment rules*.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.integers(0, 2, 2000)
    >>> arm = rng.choice(["a", "b"], 2000)
    >>> y = (arm == np.where(x, "a", "b")) + rng.normal(size=2000)
    >>> found = policy_contrast(np.where(x, "a", "b"), np.full(2000, "a"), {"x": x}, arm, y,
    ...                         propensity={"a": 0.5, "b": 0.5})
    >>> found.conf_low < 0.5 < found.conf_high
    True
    """
    units = JudgedUnits.read(
        X, arm, outcome, propensity=propensity, cluster=cluster, arms=arms, predicted=predicted,
        scores=scores, basis=basis,
    )  # fmt: skip
    return units.contrast(policy_a, policy_b, level=level)


@dataclass(frozen=True, eq=False)
class JudgedUnits:
    """Units on whose outcomes policies are judged: read, scored and fingerprinted once for all."""

    X: Any
    arm: Any
    drawn: Drawn
    basis: Basis
    _make_scores: Callable[[], DoublyRobustScores]
    # Fingerprints, and what chance repeats of them, by the covariates' names.
    _prints: dict[frozenset[str], tuple[UInt64Array, UInt64Array]] = field(default_factory=dict)
    _fresh: dict[int, Any] = field(default_factory=dict)  # Policies that did not learn from them.

    @classmethod
    def read(
        cls,
        X: Any,
        arm: Any,
        outcome: Any,
        *,
        propensity: Any,
        cluster: Any = None,
        arms: Sequence[Any] | None = None,
        predicted: Any = None,
        scores: DoublyRobustScores | None = None,
        basis: Basis = "fresh",
    ) -> "JudgedUnits":
        """The units; scores are made when they are first needed, unless they are given."""
        check_basis(basis)
        drawn = read_drawn(arm, outcome, propensity, arms)

        def make_scores() -> DoublyRobustScores:
            if scores is not None:
                return _checked(scores, drawn)
            return doubly_robust_scores(
                X, arm, drawn.outcome, propensity=propensity, arms=drawn.arms, cluster=cluster,
                predicted=predicted,
            )  # fmt: skip

        return cls(X, arm, drawn, basis, make_scores)

    @cached_property
    def scores(self) -> DoublyRobustScores:
        """Doubly robust scores of every arm."""
        return self._make_scores()

    def value(self, policy: Any, *, level: float = 0.95) -> PolicyEstimate:
        """Mean outcome if everybody were assigned by the policy."""
        (shares,) = self._shares(policy)
        reason = NotEstimable("a value is not tested against 0; contrast it with another policy")
        return _estimate(
            (_name(policy, "policy"),),
            (shares * self.scores.values).sum(axis=1),
            self.scores,
            share=1.0,
            basis=self.basis,
            unchecked=_unchecked((policy,)),
            level=level,
            p=reason,
        )

    def contrast(self, policy_a: Any, policy_b: Any, *, level: float = 0.95) -> PolicyEstimate:
        """Mean outcome under policy a less that under policy b."""
        share_a, share_b = self._shares(policy_a, policy_b)
        gap = share_a - share_b
        values = (gap * self.scores.values).sum(axis=1)
        return _estimate(
            (_name(policy_a, "policy a"), _name(policy_b, "policy b")),
            values,
            self.scores,
            share=float(np.any(gap[~np.isnan(values)] != 0, axis=1).mean()),
            basis=self.basis,
            unchecked=_unchecked((policy_a, policy_b)),
            level=level,
            p=None,
        )

    def _shares(self, *policies: Any) -> list[FloatArray]:
        """Each policy's probabilities over the arms of the design."""
        found, possible = [self._assigned(policy) for policy in policies], self.drawn.possible
        for policy, share in zip(policies, found, strict=True):
            lost = 0 if possible is None else int(((share > 0) & ~possible).any(axis=1).sum())
            if lost:
                raise EstimationError(
                    f"{_name(policy, 'policy')}: assigns {lost:,} of {self.drawn.n_units:,} "
                    "units per arm that they had probability 0 to draw; needed a positive one; "
                    "evaluate on units that could draw it"
                )
        return found

    def _assigned(self, policy: Any) -> FloatArray:
        """Probability of each arm of the design under one policy, (n_units, n_arms)."""
        X, drawn = self.X, self.drawn
        if not hasattr(policy, "probabilities"):
            return _from_array(policy, drawn)
        if X is None and policy.covariates:
            raise InputError(f"policy '{policy.name}' needs X with {', '.join(policy.covariates)}")
        table = {"none": np.zeros(drawn.n_units)} if X is None else X
        own = _own_covariates(policy, table)
        if self.basis == "out-of-bag" and policy.kind != "fixed":
            rows = _rows_of(policy, row_fingerprints(own, self.arm, drawn.outcome))
            found = policy.probabilities_oob()[rows]
        else:
            self._refuse_trained(policy, table, own)
            found = policy.probabilities(table)
        return _aligned(found, policy.arms, drawn, f"policy '{policy.name}'")

    def _refuse_trained(self, policy: Any, table: Any, own: Any) -> None:
        """Refuse a policy that learned from these outcomes, by all covariates and by its own."""
        if id(policy) in self._fresh:
            return
        for known in (table,) if own is table else (table, own):
            # the names say which covariates there are, and their order does not matter
            names = frozenset(map(str, _names_of(known)))
            if names not in self._prints:
                prints = row_fingerprints(known, self.arm, self.drawn.outcome)
                by_chance = chance_fingerprints(known, self.arm, self.drawn.outcome, prints)
                self._prints[names] = prints, by_chance
            refuse_trained(policy, *self._prints[names], self.basis)
        self._fresh[id(policy)] = policy  # held, so that no other gets its id


def _checked(scores: DoublyRobustScores, drawn: Drawn) -> DoublyRobustScores:
    if scores.arms != drawn.arms or scores.values.shape[0] != drawn.n_units:
        raise InputError(
            f"scores: found {scores.values.shape[0]:,} units and arms {', '.join(scores.arms)}; "
            f"needed those of {drawn.n_units:,} units and arms {', '.join(drawn.arms)}"
        )
    return scores


def _estimate(
    names: tuple[str, ...],
    values: FloatArray,
    scores: DoublyRobustScores,
    *,
    share: float,
    basis: Basis,
    unchecked: tuple[str, ...],
    level: float,
    p: NotEstimable | None,
) -> PolicyEstimate:
    level = check_level(level)
    known: BoolArray = ~np.isnan(values)
    groups = scores.cluster
    values = values[known]
    if groups is not None and values.size < known.size:
        groups = compress(groups[known])[0]
    if values.size < 2:
        raise InputError(f"found {values.size} unit; needed two or more for a standard error")
    # sums in the order of size, so that the order of units does not matter
    estimate = float(np.sort(values).mean())
    error = std_error(values - estimate, groups)
    df = None if groups is None else float(groups.max())
    low, high = interval(estimate, error, level, df)
    return PolicyEstimate(
        name=" minus ".join(names),
        estimate=estimate,
        std_error=error,
        conf_low=low,
        conf_high=high,
        p_value=p_value(estimate, error, df) if p is None else p,
        level=level,
        n_units=int(values.size),
        n_missing=int((~known).sum()),
        share_differs=share,
        basis=basis,
        unchecked=unchecked,
        provenance=Provenance(
            f"doubly robust policy value, {basis} basis",
            scores.provenance.data_hash,
            observational=scores.provenance.observational,
        ),
    )


def _name(policy: Any, default: str) -> str:
    return str(policy.name) if hasattr(policy, "probabilities") else default


def _unchecked(policies: tuple[Any, ...]) -> tuple[str, ...]:
    """Policies of which nothing tells what they learned from."""
    names = ("policy a", "policy b")
    return tuple(
        _name(policy, default)
        for policy, default in zip(policies, names, strict=False)
        if getattr(policy, "trained_on", "") is not None
        and not np.size(getattr(policy, "trained_rows", ()))
    )


# What a policy would give each of the units that it is evaluated on.


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
        One column per arm, one row per unit: give it as `propensity`.

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


def _names_of(X: Any) -> Iterable[Any]:
    """Names of covariates, where they have any."""
    names: Iterable[Any] = X.keys() if isinstance(X, Mapping) else getattr(X, "columns", ())
    return names


def _own_covariates(policy: Any, X: Any) -> Any:
    """The covariates that the policy knows, where they have names: others say nothing of origin."""
    held = {str(name): name for name in _names_of(X)}
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
        return slice(None)  # the model keeps no hashes: the order is taken as given
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
