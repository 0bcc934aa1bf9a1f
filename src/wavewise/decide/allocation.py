"""The next wave's shares by a named rule, with what they were learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from wavewise.decide.evidence import log_prob_of
from wavewise.decide.fractions import checked_fractions
from wavewise.decide.posterior import Posterior, checked_posterior
from wavewise.decide.rules import Rule, RuleName, RuleOptions, rule_named
from wavewise.decide.wave_shares import arm_and_control_shares
from wavewise.errors import InputError
from wavewise.results import FloatArray, read_only

if TYPE_CHECKING:
    import polars as pl

__all__ = ["NextShares", "next_shares"]

Options = tuple[tuple[str, float | tuple[float, ...]], ...]

_VERSION = 1


@dataclass(frozen=True, eq=False)
class NextShares:
    """Shares of the next wave, and what they come from.

    Parameters
    ----------
    arms : (n_arms,) tuple of str
        Every arm of the wave, the control last where there is one.
    shares : (n_arms,) array of float
        Share of each, in [0, 1], sum 1.
    rule : str
        Its name, as study files spell it.
    control : str or None
        The control's name.
    prob_optimal, policy_regret : (n_arms,) or (n_arms - 1,) array of float
        Of the arms that were compared, in the order of `arms` without the control.
    learned_on : tuple of str
        Waves whose outcomes the posterior holds.
    text : str
        The same in plain words.
    floor : float
        Least share of each arm.
    options : tuple of (str, float or tuple of float)
        What was chosen of the rule, such as its exponent.
    """

    arms: tuple[str, ...]
    shares: FloatArray
    rule: RuleName
    control: str | None
    prob_optimal: FloatArray
    policy_regret: FloatArray
    learned_on: tuple[str, ...]
    text: str
    floor: float = 0.0
    options: Options = ()

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
            "floor": self.floor,
            "options": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in self.options
            },
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
        missing = sorted(cls.__dataclass_fields__.keys() - {"floor", "options"} - values.keys())
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
            rule=rule_named(values["rule"]).name,
            control=values["control"],
            prob_optimal=read_only(values["prob_optimal"], np.float64),
            policy_regret=read_only(values["policy_regret"], np.float64),
            learned_on=tuple(values["learned_on"]),
            text=values["text"],
            floor=float(values.get("floor", 0.0)),
            options=_plain_options(values.get("options", {})),
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
    rule: RuleName | str = "exploration",
    control: str | None = None,
    control_share: float = 0.0,
    learned_on: Sequence[str] = (),
    *,
    floor: float = 0.0,
    **options: Unpack[RuleOptions],
) -> NextShares:
    """Shares of the next wave by a rule, a control beside them.

    Parameters
    ----------
    posterior : Posterior
        Of the arms that compete; the control is not among them.
    rule : str
        As for `shares`, which says what each rule does.
    control : str, optional
        Name of the control.
    control_share : float
        Its share of the wave, at least 0 and below 1; its least share for "control-augmented".
    learned_on : sequence of str
        Waves whose outcomes the posterior holds.
    floor : float
        Least share of every arm in the wave.
    **options
        `temper`, `uniform_share`, `beta`, `fixed`, as for `shares`.

    Returns
    -------
    NextShares

    Raises
    ------
    InputError
        An unknown rule, a control share without a control, a control that also competes, an option
        out of its range or of another rule.
    DecisionError
        A rule that needs a rival where one arm is best with probability exactly 1, and no floor.

    Notes
    -----
    Exploration sampling learns for a choice after the experiment; Thompson sampling earns during
    the experiment and so spends nearly everything on an arm that already looks best.

    References
    ----------
    Kasy and Sautmann (2021), *Econometrica* 89, 113-132, equation (4).

    Examples
    --------
    >>> from wavewise.estimate import beta_binomial
    >>> posterior = beta_binomial([24, 30, 27], [100, 100, 100], arms=["a", "b", "c"])
    >>> shares = next_shares(posterior, control="control", control_share=0.25)
    >>> dict(zip(shares.arms, shares.shares.round(3).tolist()))
    {'a': 0.133, 'b': 0.333, 'c': 0.284, 'control': 0.25}
    """
    known = checked_posterior(posterior)
    chosen = rule_named(rule)
    _check_control(known.arms, control, control_share, chosen)
    competing, beside = arm_and_control_shares(
        log_prob_of(known), chosen, control_share, floor=floor, **options
    )
    names, shares = tuple(known.arms), competing
    if control is not None:
        names, shares = (*names, control), np.append(competing, beside)
    return NextShares(
        arms=names,
        shares=read_only(shares),
        rule=chosen.name,
        control=control,
        prob_optimal=read_only(known.prob_optimal),
        policy_regret=read_only(known.policy_regret),
        learned_on=tuple(learned_on),
        text=_text(known, chosen, shares, control, learned_on, floor),
        floor=float(floor),
        options=_plain_options(chosen.given(options)),
    )


def _plain_options(options: Mapping[str, Any]) -> Options:
    return tuple(
        (name, float(value) if np.ndim(value) == 0 else tuple(map(float, value)))
        for name, value in sorted(options.items())
    )


def _check_control(
    arms: Sequence[str], control: str | None, control_share: float, rule: Rule
) -> None:
    if control is None and control_share != 0:
        raise InputError(
            f"control_share: found {control_share} without a control; name the control arm"
        )
    if control is None and rule.matches_control:
        raise InputError(
            f"control: found none beside the rule {rule.name!r}, which gives the control as much "
            "as the best arm; name the control arm"
        )
    if control is not None and control in arms:
        raise InputError(
            f"control: found {control!r} among the arms that compete; needed a posterior of the "
            "other arms only"
        )


def _text(
    posterior: Posterior,
    rule: Rule,
    shares: FloatArray,
    control: str | None,
    learned_on: Sequence[str],
    floor: float,
) -> str:
    source = f" after {', '.join(learned_on)}" if learned_on else ""
    beside = f" Every arm keeps at least {floor:.1%}." if floor > 0 else ""
    beside += f" {control} keeps {shares[-1]:.1%}." if control is not None else ""
    if rule.name == "equal":
        return f"Next wave by {rule.label}: {shares[0]:.1%} for each arm.{beside}"
    largest = int(np.argmax(shares[: len(posterior.arms)]))
    return (
        f"Next wave by {rule.label}{source}: {posterior.arms[largest]} gets the largest share, "
        f"{shares[largest]:.1%}; it is best with probability "
        f"{posterior.prob_optimal[largest]:.3g}.{beside}"
    )
