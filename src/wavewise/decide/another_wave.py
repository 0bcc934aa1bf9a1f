"""Stop, or run another wave: what it is expected to teach, against what it costs."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
import numpy.typing as npt

from wavewise.decide.arm_choice import best_arm
from wavewise.decide.evidence import Posterior, checked_posterior, log_prob_of
from wavewise.decide.rules import RuleName, rule_named
from wavewise.decide.value_of_information import (
    NOTHING,
    SampleInformation,
    outcome_variance,
    sample_information_beta,
    sample_information_normal,
    value_draws,
)
from wavewise.decide.wave_shares import WaveOptions, arm_and_control_shares
from wavewise.errors import InputError
from wavewise.estimate.bayes.beta_binomial import BetaBinomial
from wavewise.shared.results import (
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    Record,
    Result,
    hash_arrays,
    plain,
    read_only,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = ["StopOrGo", "planned_units", "stop_or_go"]


# What is at stake in another wave: its costs, and who gains how much from a better choice.


@dataclass(frozen=True)
class ProgrammeValues(Record):
    """Costs of another wave and the worth of a better choice, in the same money."""

    n_next: int  # Units in the next wave.
    cost_per_unit: float
    cost_per_wave: float
    beneficiaries: float  # How many will get the chosen arm.
    # Worth of one success, or of one unit of the outcome, to one of them.
    value_per_success: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name}: found {value}; needed a finite number of at least 0")
        if self.n_next != int(self.n_next) or self.n_next < 1:
            raise InputError(
                f"n_next: found {self.n_next}; needed a whole number of units, 1 or more"
            )

    @property
    def cost(self) -> float:
        """Of the whole wave."""
        return float(self.cost_per_wave + self.cost_per_unit * self.n_next)

    def worth(self, per_beneficiary: float) -> float:
        """Money for a gain in the outcome of every beneficiary."""
        return float(self.beneficiaries * self.value_per_success * per_beneficiary)

    def to_array(self) -> FloatArray:
        """The five numbers, (5,)."""
        return np.array(list(asdict(self).values()), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """The stakes as plain values, for JSON."""
        return {**{name: float(value) for name, value in asdict(self).items()}, **self._whole()}

    def _whole(self) -> dict[str, int]:
        return {"n_next": int(self.n_next)}


Verdict = Literal["go on", "stop", "too close to call"]

_EXACT = "beta-binomial, exact sum over the next wave's outcomes"
_NORMAL = "normal approximation of the arms' means, simulated next wave"
_FEWEST_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class StopOrGo(Result, kind="stop or go"):
    """Whether another wave is worth its cost.

    Parameters
    ----------
    verdict : {"go on", "stop", "too close to call"}
        The last where the gain and the cost differ by less than two Monte-Carlo standard errors.
    arm : str
        What would be chosen today.
    arms : (n_arms,) tuple of str
        The arms that compete.
    units : (n_arms,) array of int, or NotEstimable
        Of each arm in the next wave, without the control's.
    rule : str
        By which their shares follow.
    policy_regret : float
        What today's choice is expected to lose, in units of the outcome: all that any amount of
        learning could gain.
    regret_reduction : float
        What the next wave is expected to gain of it.
    mc_error : float
        Monte-Carlo standard error of `regret_reduction`; 0 where it is exact.
    prob_change : float
        Probability that another arm is chosen after the wave.
    gain, gain_mc_error, gain_at_most, cost : float
        In money: `regret_reduction` for all beneficiaries, its Monte-Carlo standard error,
        `policy_regret` for all of them, and the wave's cost.
    stakes : Stakes
        What was put in.
    provenance : Provenance
    text : str
        The same in plain words.
    """

    verdict: Verdict
    arm: str
    arms: tuple[str, ...]
    units: IntArray | NotEstimable
    rule: RuleName
    policy_regret: float
    regret_reduction: float
    mc_error: float
    prob_change: float
    gain: float
    gain_mc_error: float
    gain_at_most: float
    cost: float
    stakes: ProgrammeValues
    provenance: Provenance
    text: str

    @property
    def net_gain(self) -> float:
        """Expected gain less the cost, in money."""
        return self.gain - self.cost

    @property
    def break_even(self) -> float | NotEstimable:
        """Number of beneficiaries from which on the wave is worth its cost."""
        worth = self.regret_reduction * self.stakes.value_per_success
        if worth <= 0:
            return NotEstimable("the wave is expected to gain nothing")
        return self.cost / worth

    def _facts(self) -> dict[str, Any]:
        return {
            **super()._facts(),
            "units": _or_reason(self.units),
            "stakes": self.stakes.to_dict(),
            "net_gain": self.net_gain,
            "break_even": _or_reason(self.break_even),
        }

    def _frame(self) -> "pl.DataFrame":
        """One row per arm: its units in the next wave (null where none are planned)."""
        import polars as pl

        none = isinstance(self.units, NotEstimable)
        units = [None] * len(self.arms) if none else plain(self.units)
        return pl.DataFrame({"arm": list(self.arms), "n_units": pl.Series(units, dtype=pl.Int64)})

    def summary(self) -> str:
        """The decision in plain words, and how it was computed."""
        return f"{self.text}\nComputed by: {self.provenance.method}."


def stop_or_go(
    posterior: Posterior,
    *,
    n_next: int,
    cost_per_unit: float,
    cost_per_wave: float,
    beneficiaries: float,
    value_per_success: float,
    rng: np.random.Generator | None = None,
    rule: RuleName | str = "exploration",
    control_share: float = 0.0,
    trials_per_unit: float = 1,
    draws: npt.ArrayLike | None = None,
    outcome_sd: npt.ArrayLike | None = None,
    n_draws: int = 20_000,
    **options: Unpack[WaveOptions],
) -> StopOrGo:
    """Expected gain of another wave for the choice of an arm, against its cost.

    Parameters
    ----------
    posterior : Posterior
        Of the arms that compete. A `BetaBinomial` is treated exactly; any other needs draws of the
        arms' mean outcomes.
    n_next : int
        Units in the next wave, the control's among them.
    cost_per_unit, cost_per_wave : float
        What the wave costs, in money.
    beneficiaries : float
        How many will get the chosen arm.
    value_per_success : float
        Worth, in the same money, of one success (of one unit of the outcome) to one of them.
    rng : numpy.random.Generator, optional
        Not needed for a `BetaBinomial`.
    rule : str
        By which the next wave's shares follow, as for `shares`.
    control_share : float
        Of the control, which teaches nothing about which arm is best.
    trials_per_unit : float
        Observations that each unit gives, such as 9 calls.
    draws : (n_draws, n_arms) array of float, optional
        The arms' mean outcomes in each posterior draw, where the posterior does not bring them.
    outcome_sd : float or (n_arms,) array of float, optional
        Standard deviation of one observation about its arm's mean; by default that of a success
        with the arm's mean probability (inflated where the posterior says that a unit's trials
        correlate), or of a score. For a `BetaBinomial` it is not asked.
    n_draws : int
        Simulated next waves for a posterior other than `BetaBinomial`.
    **options
        `floor`, `temper`, `uniform_share`, `beta`, `fixed`, as for `shares`.

    Returns
    -------
    StopOrGo

    Raises
    ------
    InputError
        A cost, a number or an option out of its range; no draws, or draws in another scale than
        the posterior's regret; no generator where waves are simulated.
    DecisionError
        The rule gives no shares.

    Notes
    -----
    Choosing today loses R = E[max_j theta_j] - max_k E[theta_k]. With the next wave's data D the
    expected loss falls by::

        E_D[ max_k E[theta_k | D] ] - max_k E[theta_k]

    never below 0 and never above R; times beneficiaries and value it is the gain. One wave is
    looked ahead: where more could follow, going on is worth at least this. Outcomes of the wave's
    own units are left out. The gain inherits the model: trials that are alike within units or
    clusters teach less than this says (for a posterior with draws, give the larger `outcome_sd`).

    References
    ----------
    Raiffa and Schlaifer (1961), *Applied Statistical Decision Theory*. Frazier, Powell and Dayanik
    (2009), *INFORMS Journal on Computing* 21, 599-613.

    Examples
    --------
    >>> from wavewise.estimate import beta_binomial
    >>> known = beta_binomial([24, 30], [200, 200], arms=["text", "call"])
    >>> decision = stop_or_go(known, n_next=400, cost_per_unit=1.0, cost_per_wave=500.0,
    ...                       beneficiaries=1_000_000, value_per_success=2.0)
    >>> decision.verdict, round(decision.regret_reduction, 5), round(decision.gain)
    ('go on', 0.00127, 2537)
    """
    known = checked_posterior(posterior)
    stakes = ProgrammeValues(
        n_next=n_next,
        cost_per_unit=cost_per_unit,
        cost_per_wave=cost_per_wave,
        beneficiaries=beneficiaries,
        value_per_success=value_per_success,
    )
    regret = float(np.min(known.policy_regret))
    units: IntArray | NotEstimable
    if regret > 0:
        units = _units(known, n_next, rule, control_share, options)
        observed = _observations(units, trials_per_unit)
        ahead, method = _sample_information(
            known, observed, draws, outcome_sd, trials_per_unit, rng, n_draws
        )
    else:
        units = NotEstimable("the posterior leaves no doubt of the best arm, so none are needed")
        ahead, method = NOTHING, "no doubt of the best arm"
    return _weighed(known, stakes, units, ahead, method, rule_named(rule).name)


def _units(
    posterior: Posterior, n_next: int, rule: str, control_share: float, options: WaveOptions
) -> IntArray:
    log_prob = log_prob_of(posterior)
    arms, control = arm_and_control_shares(log_prob, rule_named(rule), control_share, **options)
    first = np.append(posterior.policy_regret, np.inf)
    units: IntArray = planned_units(np.append(arms, control), n_next, first)[:-1]
    return units


def _observations(units: IntArray, trials_per_unit: float) -> FloatArray:
    if not (np.isfinite(trials_per_unit) and trials_per_unit > 0):
        raise InputError(f"trials_per_unit: found {trials_per_unit}; needed a number above 0")
    return np.asarray(units * float(trials_per_unit))


def _sample_information(
    posterior: Posterior,
    observed: FloatArray,
    draws: npt.ArrayLike | None,
    outcome_sd: npt.ArrayLike | None,
    trials_per_unit: float,
    rng: np.random.Generator | None,
    n_draws: int,
) -> tuple[SampleInformation, str]:
    if isinstance(posterior, BetaBinomial):
        best = int(np.argmin(posterior.policy_regret))
        trials: IntArray = np.round(observed).astype(np.int64)
        return sample_information_beta(posterior.a, posterior.b, trials, best), _EXACT
    if rng is None or n_draws < _FEWEST_DRAWS:
        raise InputError(
            f"rng, n_draws: found {'no generator' if rng is None else f'{n_draws} draws'}; needed "
            f"a numpy.random.Generator and at least {_FEWEST_DRAWS:,} draws to simulate the wave"
        )
    values = value_draws(posterior, draws)
    variance = outcome_variance(posterior, outcome_sd, trials_per_unit)
    with np.errstate(divide="ignore"):
        noise = variance / observed
    gaps = np.asarray(posterior.policy_regret) - np.min(posterior.policy_regret)
    covariance = np.atleast_2d(np.cov(values, rowvar=False))
    return sample_information_normal(gaps, covariance, noise, rng, n_draws), _NORMAL


def _weighed(
    posterior: Posterior,
    stakes: ProgrammeValues,
    units: IntArray | NotEstimable,
    ahead: SampleInformation,
    method: str,
    rule: RuleName,
) -> StopOrGo:
    regret = float(np.min(posterior.policy_regret))
    reduction = min(ahead.regret_reduction, regret)  # perfect knowledge gains no more
    gain, error = stakes.worth(reduction), stakes.worth(ahead.mc_error)
    verdict = _verdict(gain, error, stakes.cost)
    arm = best_arm(posterior).arm
    return StopOrGo(
        verdict=verdict,
        arm=arm,
        arms=tuple(posterior.arms),
        units=units if isinstance(units, NotEstimable) else read_only(units),
        rule=rule,
        policy_regret=regret,
        regret_reduction=reduction,
        mc_error=ahead.mc_error,
        prob_change=ahead.prob_change,
        gain=gain,
        gain_mc_error=error,
        gain_at_most=stakes.worth(regret),
        cost=stakes.cost,
        stakes=stakes,
        provenance=Provenance(
            method=method,
            data_hash=hash_arrays(
                arms=list(posterior.arms), log_prob=posterior.log_prob_optimal,
                regret=posterior.policy_regret, stakes=stakes.to_array(),
            ),
        ),
        text=sentence(verdict, arm, stakes, regret, reduction, ahead, error),
    )  # fmt: skip


def _verdict(gain: float, error: float, cost: float) -> Verdict:
    if abs(gain - cost) < 2 * error:
        return "too close to call"
    return "go on" if gain > cost else "stop"


def _or_reason(value: Any) -> Any:
    return {"not_estimable": value.reason} if isinstance(value, NotEstimable) else value


# The sentence of a decision to stop or to go on, from the same numbers.


def sentence(
    verdict: str,
    arm: str,
    stakes: ProgrammeValues,
    regret: float,
    reduction: float,
    ahead: SampleInformation,
    error: float,
) -> str:
    """What to do and why, in plain words."""
    today = f"Choosing {arm} today is expected to lose {regret:.2g} in units of the outcome"
    if regret == 0:
        return (
            f"Stop: {today.replace('lose 0', 'lose nothing')}, so that there is nothing to learn."
        )
    start = {"go on": "Go on", "stop": "Stop"}.get(verdict, "Too close to call")
    gain = stakes.worth(reduction)
    compare = {"go on": "more than", "stop": "not more than"}.get(verdict, "about")
    text = (
        f"{start}: a wave of {stakes.n_next:,} units is expected to gain {_money(gain)} for "
        f"{stakes.beneficiaries:,.0f} beneficiaries, {compare} its cost of {_money(stakes.cost)}. "
        f"{today}; the wave recovers {reduction:.2g} of it, and changes the choice with "
        f"probability {ahead.prob_change:.2g}."
    )
    if stakes.worth(regret) <= stakes.cost:
        most = _money(stakes.worth(regret))
        text += f" Even perfect knowledge would be worth no more than {most}."
    if error > 0:
        text += f" The gain is known to +- {error:.2g} (one Monte-Carlo standard error)."
    if verdict == "too close to call":
        text += " Simulate with more draws, or decide on other grounds."
    return text


def _money(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


# Whole units per arm in a wave that is still a plan.


def planned_units(shares: FloatArray, n_units: int, first: FloatArray) -> IntArray:
    """Whole units of each arm: the share times the wave, largest remainders up, (n_arms,).

    Notes
    -----
    For planning only. What is drawn in the field is rounded at random, so that each unit's
    probability is the share.

    Examples
    --------
    >>> planned_units(np.array([0.5, 0.25, 0.25]), 7, np.array([0.0, 1.0, 2.0])).tolist()
    [3, 2, 2]
    """
    exact = shares * n_units
    units = np.floor(exact + 1e-9).astype(np.int64)
    missing = n_units - int(units.sum())
    order = np.lexsort((first, -np.round(exact - units, 9)))
    units[order[: max(missing, 0)]] += 1
    return units
