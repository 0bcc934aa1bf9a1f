"""A frozen policy: a rule from covariates to an arm, with its name, its hash and its origin."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wavewise.decide.choosers import (
    BestForUnit,
    BestIfSure,
    WorthItsCost,
    checked_costs,
    priced,
    upgrades,
)
from wavewise.decide.policy_rules import (
    EffectModel,
    FixedRule,
    ModelRule,
    Rule,
    checked_model,
    is_model,
)
from wavewise.errors import DecisionError, InputError
from wavewise.shared.files import Source, from_archive, save_bytes, to_archive
from wavewise.shared.labels import label_text
from wavewise.shared.results import (
    FloatArray,
    NotEstimable,
    Result,
    StrArray,
    hash_arrays,
    read_only,
)
from wavewise.shared.version import __version__

if TYPE_CHECKING:
    import polars as pl
    from numpy.random import Generator

__all__ = [
    "Policy",
    "best_on_average",
    "load_policy",
    "personalize",
    "random_policy",
    "safe_policy",
    "target",
    "uniform",
    "uniform_best",
]

_FORM = "wavewise policy 1"
_NO_POLICY = "policy: the file is not one that Policy.save wrote"


def _no_rows() -> npt.NDArray[np.uint64]:
    return np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Policy(Result, kind="policy"):
    """A rule from covariates to an arm that does not change any more.

    Parameters
    ----------
    name : str
    rule : Rule
    trained_on : str or None
        SHA-256 of what it was learned from; None where nothing was learned.
    trained_rows : array of uint64, shape (n_units,)
        Sorted hashes of the units it was learned from; empty where they are not known.
    version : str
        Version of Wavewise that made it.
    observational : str or None
        Why it was learned from no experiment, a sentence, where arms were not randomized.
    """

    name: str
    rule: Rule
    trained_on: str | None = None
    trained_rows: npt.NDArray[np.uint64] = field(default_factory=_no_rows)
    version: str = __version__
    observational: str | None = None

    @classmethod
    def learned_from(cls, learned: Any, rule: Rule, name: str) -> "Policy":
        """The policy of a rule that was learned from a model, a table of effects or scores."""
        origin = learned.provenance
        rows = np.asarray(getattr(learned, "trained_rows", ()), dtype=np.uint64)
        return cls(
            name=name,
            rule=rule,
            trained_on=origin.data_hash,
            trained_rows=np.sort(rows),
            observational=origin.observational,
        )

    @property
    def kind(self) -> str:
        """Kind of rule: ``fixed``, ``model`` or ``tree``."""
        return self.rule.kind

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms that it can give."""
        return self.rule.arms

    @property
    def covariates(self) -> tuple[str, ...]:
        """Covariates that it needs, by name; more are allowed."""
        return self.rule.covariates

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the rule and its name: equal for a policy and its reloaded file."""
        text, arrays = self._parts()
        body = json.dumps(text, sort_keys=True, ensure_ascii=False).encode()
        return hash_arrays(text=np.frombuffer(body, dtype=np.uint8), **arrays)

    def probabilities(self, X: Any) -> FloatArray:
        """Probability of each arm, shape (n_units, n_arms), in the order of `arms`."""
        return read_only(self.rule.probabilities(X))

    def assign(self, X: Any, rng: "Generator | None" = None) -> StrArray:
        """Arm of each unit, shape (n_units,).

        Parameters
        ----------
        X : array-like, shape (n_units, n_covariates); mapping; or frame
            Covariates; for a rule that needs none, anything with one row per unit.
        rng : numpy.random.Generator, optional
            Needed only where the rule leaves something to chance.

        Raises
        ------
        InputError
            Where a covariate is lacking, or chance is needed and no generator given.
        """
        return self.draw(np.asarray(self.rule.probabilities(X)), rng)

    def probabilities_oob(self) -> FloatArray:
        """Probabilities for the units that it learned from, each by the model without that unit.

        Raises
        ------
        DecisionError
            Where the rule has no out-of-bag form.
        """
        if isinstance(self.rule, FixedRule):
            raise DecisionError(f"policy '{self.name}' learned from no units: use probabilities(X)")
        if not isinstance(self.rule, ModelRule):
            raise DecisionError(
                f"policy '{self.name}' is a {self.kind}, which has no out-of-bag form; evaluate it "
                "on units that it did not learn from"
            )
        return read_only(self.rule.probabilities_oob())

    def assign_oob(self, rng: "Generator | None" = None) -> StrArray:
        """Arm of each unit that it learned from, by the model without that unit, (n_units,)."""
        return self.draw(self.probabilities_oob(), rng)

    def draw(self, probabilities: FloatArray, rng: "Generator | None" = None) -> StrArray:
        """Arm of each unit by probabilities of this policy that are at hand, (n_units,)."""
        names = np.array(self.arms)
        if not ((probabilities > 0) & (probabilities < 1)).any():
            return np.asarray(names[np.argmax(probabilities, axis=1)])
        if rng is None:
            raise InputError(
                f"policy '{self.name}' leaves arms to chance ({self.describe()}); give "
                "rng=numpy.random.default_rng(seed)"
            )
        if isinstance(self.rule, FixedRule) and len(set(self.rule.shares)) > 1:
            turn = np.argsort(names)  # shares are named: their order does not matter
            names, probabilities = names[turn], probabilities[:, turn]
        upper = np.cumsum(probabilities, axis=1)
        upper[:, -1] = np.inf
        drawn = np.argmax(rng.random((upper.shape[0], 1)) < upper, axis=1)
        return np.asarray(names[drawn])

    def describe(self) -> str:
        """The rule in plain words."""
        return self.rule.describe()

    def summary(self) -> str:
        """Name, rule, what it needs and what it was learned from."""
        needs = ", ".join(self.covariates) or "no covariates"
        origin = f"data {self.trained_on[:12]}" if self.trained_on else "nothing"
        return (
            f"Policy {self.name}: {self.describe()}.\nNeeds {needs}. Learned from {origin}. "
            f"Hash {self.hash[:12]}, Wavewise {self.version}."
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "kind": f"{self.kind} policy",
            "name": self.name,
            "arms": self.arms,
            "covariates": self.covariates,
            "rule": self.rule.to_dict(),
            "text": self.describe(),
            "hash": self.hash,
            "trained_on": self.trained_on,
            "made_by": self.version,
        }

    def _frame(self) -> "pl.DataFrame":
        """One row: name, kind, arms, what it needs and was learned from, hash."""
        import polars as pl

        row = {name: value for name, value in self._facts().items() if name != "rule"}
        lists = {name: ", ".join(row[name]) for name in ("arms", "covariates")}
        return pl.DataFrame([row | lists])

    def _state(self) -> dict[str, Any]:
        return {"file": self.to_bytes()}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> "Policy":
        return load_policy(BytesIO(state["file"]))

    def _parts(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        text = {
            "form": _FORM,
            "kind": self.kind,
            "name": self.name,
            "rule": self.rule.to_dict(),
            "trained_on": self.trained_on,
            "made_by": self.version,
        }
        if self.observational is not None:  # policies of experiments keep their hash
            text["observational"] = self.observational
        return text, {"trained_rows": self.trained_rows, **self.rule.to_arrays()}

    def to_bytes(self) -> bytes:
        """The policy as the bytes of a plain file (an npz archive without pickle)."""
        text, arrays = self._parts()
        return to_archive("policy", {**text, "hash": self.hash}, arrays, ascii_only=False)

    def save(self, path: Source) -> None:
        """Write the policy to a plain file; a matcher's holds its units' data, without ids."""
        save_bytes(path, self.to_bytes())


def load_policy(path: Source) -> Policy:
    """A policy from its file; it assigns as the saved one did.

    Raises
    ------
    InputError
        Where the file is no policy, or was changed since it was written.
    """
    text, arrays = from_archive(path, "policy", _NO_POLICY)
    if text.get("form") != _FORM:
        raise InputError(f"policy: found a file of another form; needed {_FORM!r}")
    try:
        policy = Policy(
            name=text["name"],
            rule=_rule(text["kind"]).from_parts(text["rule"], arrays),
            trained_on=text["trained_on"],
            trained_rows=read_only(arrays["trained_rows"]),
            version=text["made_by"],
            observational=text.get("observational"),
        )
    except (KeyError, ValueError) as error:
        raise InputError(_NO_POLICY) from error
    if policy.hash != text.get("hash"):
        raise InputError(
            "policy: the file was changed since it was written: its hash differs; needed the file "
            "as it was frozen"
        )
    return policy


def _rule(kind: str) -> Any:
    if kind == "tree":
        from wavewise.decide.policy_rules import TreeRule

        return TreeRule
    kinds = {"fixed": FixedRule, "model": ModelRule}
    if kind not in kinds:
        raise InputError(f"policy: found the kind {kind!r}; needed fixed, model or tree")
    return kinds[kind]


# Policies that choose which message: the same for all, at random, the best for each unit.


def uniform(arm: Any, *, name: str | None = None) -> Policy:
    """The policy that gives everybody one arm.

    Examples
    --------
    >>> uniform("sms").assign([[1], [2]]).tolist()
    ['sms', 'sms']
    """
    return Policy(name=name or f"all {arm}", rule=FixedRule((label_text(arm),), (1.0,)))


def uniform_best(learned: Any, *, name: str = "best", higher_is_better: bool = True) -> Policy:
    """The policy that gives everybody the arm with the largest average effect.

    Parameters
    ----------
    learned : Effects or EffectModel
        What `ww.estimate.ate` gave, which is the more precise; or a forest or matcher, whose
        out-of-bag effects are averaged.
    name : str
    higher_is_better : bool
        False takes the smallest average effect instead, for outcomes of which less is wanted.

    Raises
    ------
    DecisionError
        Where no arm has an estimate.

    Notes
    -----
    The first competitor of every personalized policy: its choice rests on all units at once, so
    that it is rarely wrong, while each unit's best arm rests on the few units that are like it.
    """
    means = _average_effects(learned)
    if not means:
        raise DecisionError("no arm has an estimated effect; needed at least one")
    sign = 1.0 if higher_is_better else -1.0
    best = max(sorted(means), key=lambda arm: sign * means[arm])
    return Policy.learned_from(learned, FixedRule((best,), (1.0,)), name)


def random_policy(arms: Sequence[Any] | Mapping[Any, float], *, name: str = "random") -> Policy:
    """The policy that draws an arm for each unit: what personalization must beat.

    Parameters
    ----------
    arms : sequence of labels, or mapping of label to share
        Equal shares by default; given shares lie in [0, 1] and sum to 1. Draws follow the order of
        a sequence; that of a mapping does not matter.
    name : str

    Examples
    --------
    >>> random_policy(["a", "b"]).probabilities([[0]]).tolist()
    [[0.5, 0.5]]
    """
    labels = [label_text(arm) for arm in arms]
    if not labels or len(set(labels)) < len(labels):
        raise InputError(f"arms: found {labels}; needed different arms, one or more")
    values = list(arms.values()) if isinstance(arms, Mapping) else [1 / len(labels)] * len(labels)
    shares = [float(value) for value in values]
    if isinstance(arms, Mapping) and len(set(shares)) == 1:
        labels.sort()  # as it draws where shares differ
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise InputError(
            f"arms: found shares that sum to {sum(shares):.6g}, the least {min(shares):.6g}; "
            "needed shares in [0, 1] that sum to 1"
        )
    return Policy(name=name, rule=FixedRule(tuple(labels), tuple(shares)))


def personalize(model: Any, *, name: str = "personalized", allow_control: bool = False) -> Policy:
    """The policy that gives each unit the arm with its largest predicted effect.

    Parameters
    ----------
    model : EffectModel
        A forest, a matcher, or any model with the same properties.
    name : str
    allow_control : bool
        Whether a unit for whom no effect is positive gets no message.

    Raises
    ------
    InputError
        Where `model` is not a model of effects.

    Notes
    -----
    ``pi(x) = argmax_a tau_a(x)``. Equal effects go to the arm with the larger average effect. The
    choice is made on estimates, so that the value it promises, ``mean max_a tau_a(x)``, is too
    high (the winner's curse); only fresh data tell what it is worth: `ww.evaluate.policy_contrast`.

    References
    ----------
    Manski (2004), *Statistical treatment rules for heterogeneous populations*.
    """
    known = checked_model(model)
    rule = ModelRule(known, BestForUnit(_preference(known), allow_control))
    return Policy.learned_from(known, rule, name)


def safe_policy(
    model: Any, *, best: Any = None, level: float = 0.95, name: str = "cautious"
) -> Policy:
    """The policy that leaves the uniform best only where another arm surely beats it.

    Parameters
    ----------
    model : EffectModel
    best : label, optional
        The arm that is kept in doubt; the largest average effect of the model by default.
    level : float
        One-sided level, in (0.5, 1), at which a unit's other arm must beat it.
    name : str

    Raises
    ------
    InputError
        Where the level or the arm is none.

    Notes
    -----
    ``pi(x) = argmax_a tau_a(x)`` over the arms with ``tau_a(x) - tau_best(x) > z s(x)``, where
    ``s**2 = se_a**2 + se_best**2``. The effects share a control, so that this error is a little too
    large; it leaves out the bias of the predictions. There is no correction for the number of arms:
    with 16 arms choose a level near 1 - 0.05 / 15.
    """
    from scipy.special import ndtri

    known = checked_model(model)
    if not 0.5 < level < 1:
        raise InputError(f"level: found {level!r}; needed a number between 0.5 and 1, such as 0.95")
    default = best_on_average(known) if best is None else label_text(best)
    if default not in known.arms:
        raise InputError(f"best: found '{default}'; needed one of {', '.join(known.arms)}")
    chooser = BestIfSure(known.arms.index(default), float(ndtri(level)), _preference(known))
    return Policy.learned_from(known, ModelRule(known, chooser), name)


def best_on_average(model: EffectModel) -> str:
    """Arm with the largest average out-of-bag effect; of equals the first by name."""
    return model.arms[_preference(model)[0]]


def _preference(model: EffectModel) -> tuple[int, ...]:
    means = np.asarray(model.effects_oob).mean(axis=0)
    return tuple(sorted(range(means.size), key=lambda arm: (-means[arm], model.arms[arm])))


def _average_effects(learned: Any) -> dict[str, float]:
    if is_model(learned):
        means = np.asarray(checked_model(learned).effects_oob).mean(axis=0)
        return dict(zip(learned.arms, means.tolist(), strict=True))
    names = getattr(learned, "names", None)
    if names is None:
        raise InputError(
            f"learned: found a {type(learned).__name__}; needed the effects of ww.estimate.ate, or "
            "a model of effects"
        )
    found = {name: learned[name].estimate for name in names}
    return {name: value for name, value in found.items() if not isinstance(value, NotEstimable)}


# Policies that choose whether to message: by a budget, or by what an outcome is worth.


def target(
    model: Any,
    *,
    cost: Any = 1.0,
    budget: float | None = None,
    price: float | None = None,
    arms: Any = None,
    name: str = "targeted",
) -> Policy:
    """The policy that messages the units whose predicted effect repays the cost.

    Parameters
    ----------
    model : EffectModel
    cost : float, or mapping of arm to float
        Cost of each arm for one unit, above 0. With 1 for each, the budget is the share of units
        that may be messaged.
    budget : float, optional
        Mean cost per unit of the population, all units counted.
    price : float, optional
        Effect that one unit of cost must bring, e.g. cost 0.02 dollars and an outcome worth 1
        dollar: price 1 with cost 0.02. Give this or the budget.
    arms : sequence of labels, optional
        Arms that may be given, all by default; give one for the choice of WHETHER alone.
    name : str

    Raises
    ------
    InputError
        Where neither or both of budget and price are given, or a cost is not above 0.
    DecisionError
        Where no unit has a positive predicted effect.

    Notes
    -----
    Steps from no message to dearer and better arms are taken in the order of their effect per cost
    until the budget is spent; see `wavewise.decide.policy_spend.upgrades`. The price at which
    that happens among the out-of-bag effects is frozen in the policy, so that spending in a new
    population can differ from the budget. Units exactly at that price get the step by chance, so
    that equal units have equal chances.
    """
    known = checked_model(model)
    allowed = _allowed(known, arms)
    costs = checked_costs(cost, known.arms, -1)
    given = tuple(float(value) if may else None for value, may in zip(costs, allowed, strict=True))
    if (budget is None) == (price is None):
        raise InputError(
            f"found budget {budget} and price {price}; needed one of them: the mean cost per unit, "
            "or the effect that a unit of cost must bring"
        )
    chooser = WorthItsCost(given, 0.0, 1.0)
    if price is not None:
        if not price >= 0:
            raise InputError(f"price: found {price}; needed 0 or more")
        chooser = replace(chooser, price=float(price), share_at_price=0.0)
    else:
        where, share = _price_of_budget(np.asarray(known.effects_oob), given, budget)
        chooser = replace(chooser, price=where, share_at_price=share)
    return Policy.learned_from(known, ModelRule(known, chooser), name)


def _allowed(model: EffectModel, arms: Any) -> Any:
    names = set(model.arms) if arms is None else {label_text(arm) for arm in arms}
    unknown = sorted(names - set(model.arms))
    if unknown or not names:
        raise InputError(
            f"arms: found {', '.join(unknown) or 'none'}; needed some of {', '.join(model.arms)}"
        )
    return np.array([arm in names for arm in model.arms])


def _price_of_budget(
    effects: FloatArray, costs: tuple[float | None, ...], budget: float | None
) -> tuple[float, float]:
    """Effect per cost at which the budget is spent, and the share of steps there that it pays."""
    if budget is None or not 0 < budget < np.inf:
        raise InputError(f"budget: found {budget}; needed a mean cost per unit above 0")
    steps = upgrades(*priced(effects, costs))
    if steps.unit.size == 0:
        raise DecisionError(
            "no unit has a positive predicted effect of any arm, so that no budget is worth "
            "spending; message nobody, or give everybody the best arm on average"
        )
    order = np.argsort(-steps.ratio, kind="stable")
    ratio, spent = steps.ratio[order], np.cumsum(steps.cost[order]) / effects.shape[0]
    if spent[-1] <= budget:
        return 0.0, 0.0
    at = ratio[int(np.argmax(spent > budget))]
    ends = np.flatnonzero(ratio == at)
    before = spent[ends[0] - 1] if ends[0] else 0.0
    return float(at), float((budget - before) / (spent[ends[-1]] - before))
