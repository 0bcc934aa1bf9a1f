"""Policies that choose which message: the same for all, at random, the best for each unit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wavewise.decide.policy import Policy
from wavewise.decide.policy_choosers import BestForUnit, BestIfSure, Chooser
from wavewise.decide.policy_model import EffectModel, checked_model, is_model
from wavewise.decide.policy_rules import FixedRule, ModelRule
from wavewise.errors import DecisionError, InputError
from wavewise.estimate.labels import label_text
from wavewise.results import NotEstimable

__all__ = ["best_on_average", "cautious", "personalize", "random_policy", "uniform", "uniform_best"]


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
    return Policy(
        name=name,
        rule=FixedRule((best,), (1.0,)),
        trained_on=learned.provenance.data_hash,
        trained_rows=_rows(learned),
    )


def random_policy(arms: Sequence[Any] | Mapping[Any, float], *, name: str = "random") -> Policy:
    """The policy that draws an arm for each unit: what personalization must beat.

    Parameters
    ----------
    arms : sequence of labels, or mapping of label to share
        Equal shares by default; given shares lie in [0, 1] and sum to 1.
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
    return _policy(known, BestForUnit(_preference(known), allow_control), name)


def cautious(
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
    from scipy.special import ndtri  # noqa: PLC0415 (loads late)

    known = checked_model(model)
    if not 0.5 < level < 1:
        raise InputError(f"level: found {level!r}; needed a number between 0.5 and 1, such as 0.95")
    default = best_on_average(known) if best is None else label_text(best)
    if default not in known.arms:
        raise InputError(f"best: found '{default}'; needed one of {', '.join(known.arms)}")
    chooser = BestIfSure(known.arms.index(default), float(ndtri(level)), _preference(known))
    return _policy(known, chooser, name)


def best_on_average(model: EffectModel) -> str:
    """Arm with the largest average out-of-bag effect; of equals the first by name."""
    return model.arms[_preference(model)[0]]


def _preference(model: EffectModel) -> tuple[int, ...]:
    means = np.asarray(model.effects_oob).mean(axis=0)
    return tuple(sorted(range(means.size), key=lambda arm: (-means[arm], model.arms[arm])))


def _policy(model: EffectModel, chooser: Chooser, name: str) -> Policy:
    return Policy(
        name=name,
        rule=ModelRule(model, chooser),
        trained_on=model.provenance.data_hash,
        trained_rows=_rows(model),
    )


def _rows(learned: Any) -> Any:
    return np.sort(np.asarray(getattr(learned, "trained_rows", ()), dtype=np.uint64))


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
