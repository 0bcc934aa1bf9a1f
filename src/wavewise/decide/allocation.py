"""The next wave's shares by a named rule, with what they were learned from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from wavewise.decide.posterior import Posterior, checked_posterior
from wavewise.decide.shares import checked_fractions, exploration_shares, with_control
from wavewise.errors import InputError
from wavewise.results import FloatArray, read_only

if TYPE_CHECKING:
    import polars as pl

__all__ = ["RULES", "NextShares", "next_shares"]

RuleName = Literal["exploration", "equal", "Thompson"]

_VERSION = 1


def _equal(posterior: Posterior) -> FloatArray:
    """The same share for every arm."""
    return np.full(len(posterior.arms), 1 / len(posterior.arms))


def _thompson(posterior: Posterior) -> FloatArray:
    """Each arm's probability of being best (Thompson 1933)."""
    prob = np.asarray(posterior.prob_optimal, dtype=np.float64)
    return np.asarray(prob / prob.sum())


# rule: (from a posterior to shares, name in sentences)
RULES: Final[Mapping[str, tuple[Callable[[Posterior], FloatArray], str]]] = {
    "exploration": (exploration_shares, "exploration sampling"),
    "equal": (_equal, "equal shares"),
    "Thompson": (_thompson, "Thompson sampling"),
}


@dataclass(frozen=True, eq=False)
class NextShares:
    """Shares of the next wave, and what they come from.

    Parameters
    ----------
    arms : (n_arms,) tuple of str
        Every arm of the wave, the control last where there is one.
    shares : (n_arms,) array of float
        Share of each, in [0, 1], sum 1.
    rule : {"exploration", "equal", "Thompson"}
    control : str or None
        The control's name.
    prob_optimal, policy_regret : (n_arms,) or (n_arms - 1,) array of float
        Of the arms that were compared, in the order of `arms` without the control.
    learned_on : tuple of str
        Waves whose outcomes the posterior holds.
    text : str
        The same in plain words.
    """

    arms: tuple[str, ...]
    shares: FloatArray
    rule: RuleName
    control: str | None
    prob_optimal: FloatArray
    policy_regret: FloatArray
    learned_on: tuple[str, ...]
    text: str

    def to_dict(self) -> dict[str, Any]:
        """The shares as plain values, for JSON; `from_dict` reads them back exactly."""
        return {
            "version": _VERSION,
            "kind": "next shares",
            "arms": list(self.arms),
            "shares": self.shares.tolist(),
            "rule": self.rule,
            "control": self.control,
            "prob_optimal": self.prob_optimal.tolist(),
            "policy_regret": self.policy_regret.tolist(),
            "learned_on": list(self.learned_on),
            "text": self.text,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NextShares":
        """The shares that `to_dict` wrote.

        Raises
        ------
        InputError
            Another version, a missing key, an unknown rule, or shares that do not sum to 1.
        """
        if values.get("version") != _VERSION or values.get("kind") != "next shares":
            raise InputError(
                f"next shares: found kind {values.get('kind')!r}, version "
                f"{values.get('version')!r}; needed 'next shares', version {_VERSION}"
            )
        missing = sorted(cls.__dataclass_fields__.keys() - values.keys())
        if missing:
            raise InputError(f"next shares: found no {', '.join(missing)}; needed all of them")
        shares = checked_fractions("shares", values["shares"])
        if len(values["arms"]) != shares.size:
            raise InputError(
                f"next shares: found {len(values['arms'])} arms and {shares.size} shares; needed "
                "one share an arm"
            )
        return cls(
            arms=tuple(values["arms"]),
            shares=read_only(shares),
            rule=_checked_rule(values["rule"]),
            control=values["control"],
            prob_optimal=read_only(values["prob_optimal"], np.float64),
            policy_regret=read_only(values["policy_regret"], np.float64),
            learned_on=tuple(values["learned_on"]),
            text=values["text"],
        )

    def to_frame(self) -> "pl.DataFrame":
        """One row an arm: share, probability of being best, regret (null for the control)."""
        import polars as pl  # noqa: PLC0415 - half the import time of the package

        blank = [None] * (len(self.arms) - self.prob_optimal.size)
        return pl.DataFrame(
            {
                "arm": list(self.arms),
                "share": self.shares,
                "prob_optimal": pl.Series([*self.prob_optimal.tolist(), *blank], dtype=pl.Float64),
                "policy_regret": pl.Series(
                    [*self.policy_regret.tolist(), *blank], dtype=pl.Float64
                ),
            }
        )

    def summary(self) -> str:
        """Table of the shares and the sentence."""
        width = max(len(name) for name in self.arms)
        rows = [
            f"{name:<{width}}  {share:6.2%}"
            for name, share in zip(self.arms, self.shares, strict=True)
        ]
        return "\n".join([*rows, "", self.text])


def next_shares(
    posterior: Posterior,
    rule: RuleName = "exploration",
    control: str | None = None,
    control_share: float = 0.0,
    learned_on: Sequence[str] = (),
) -> NextShares:
    """Shares of the next wave by a rule, a fixed control share beside them.

    Parameters
    ----------
    posterior : Posterior
        Of the arms that compete; the control is not among them.
    rule : {"exploration", "equal", "Thompson"}
        Exploration sampling; the same share for every arm; each arm's probability of being best.
    control : str, optional
        Name of the control.
    control_share : float
        Its share of the wave, at least 0 and below 1.
    learned_on : sequence of str
        Waves whose outcomes the posterior holds.

    Returns
    -------
    NextShares

    Raises
    ------
    InputError
        An unknown rule, a control share without a control, a control that also competes.
    DecisionError
        Exploration sampling where one arm is best with probability exactly 1.

    Notes
    -----
    Exploration sampling learns for a choice after the experiment; Thompson sampling earns during
    the experiment and so spends nearly everything on an arm that already looks best.

    References
    ----------
    Kasy and Sautmann (2021), *Econometrica* 89, 113-132, equation (4).
    Thompson (1933), *Biometrika* 25, 285-294.

    Examples
    --------
    >>> from wavewise.estimate import beta_binomial
    >>> posterior = beta_binomial([24, 30, 27], [100, 100, 100], arms=["a", "b", "c"])
    >>> shares = next_shares(posterior, control="control", control_share=0.25)
    >>> dict(zip(shares.arms, shares.shares.round(3).tolist()))
    {'a': 0.133, 'b': 0.333, 'c': 0.284, 'control': 0.25}
    """
    known = checked_posterior(posterior)
    name = _checked_rule(rule)
    _check_control(known.arms, control, control_share)
    shares = RULES[name][0](known)
    names = tuple(known.arms)
    if control is not None:
        shares, names = with_control(shares, control_share), (*names, control)
    return NextShares(
        arms=names,
        shares=read_only(shares),
        rule=name,
        control=control,
        prob_optimal=read_only(known.prob_optimal),
        policy_regret=read_only(known.policy_regret),
        learned_on=tuple(learned_on),
        text=_text(known, name, shares, control, learned_on),
    )


def _checked_rule(rule: str) -> RuleName:
    match rule:
        case "exploration" | "equal" | "Thompson":
            return rule
    raise InputError(f"rule: found {rule!r}; needed one of {', '.join(RULES)}")


def _check_control(arms: Sequence[str], control: str | None, control_share: float) -> None:
    if control is None and control_share != 0:
        raise InputError(
            f"control_share: found {control_share} without a control; name the control arm"
        )
    if control is not None and control in arms:
        raise InputError(
            f"control: found {control!r} among the arms that compete; needed a posterior of the "
            "other arms only"
        )


def _text(
    posterior: Posterior,
    rule: RuleName,
    shares: FloatArray,
    control: str | None,
    learned_on: Sequence[str],
) -> str:
    source = f" after {', '.join(learned_on)}" if learned_on else ""
    beside = f" {control} keeps {shares[-1]:.1%}." if control is not None else ""
    if rule == "equal":
        return f"Next wave by {RULES[rule][1]}: {shares[0]:.1%} for each arm.{beside}"
    largest = int(np.argmax(shares[: len(posterior.arms)]))
    return (
        f"Next wave by {RULES[rule][1]}{source}: {posterior.arms[largest]} gets the largest share, "
        f"{shares[largest]:.1%}; it is best with probability "
        f"{posterior.prob_optimal[largest]:.3g}.{beside}"
    )
