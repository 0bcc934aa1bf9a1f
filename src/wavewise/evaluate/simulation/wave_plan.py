"""How many waves, of which sizes, by which rule: the design whose net benefit is highest."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wavewise.errors import InputError
from wavewise.evaluate.simulation.compare import compare
from wavewise.evaluate.simulation.design import Design
from wavewise.evaluate.simulation.results import Comparison, Estimate
from wavewise.evaluate.simulation.worlds import Truth
from wavewise.shared.results import FloatArray, Record, Result

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Benefit", "Limits", "WavePlan", "WavePlanRow", "designs_within", "plan_waves"]

_SPLITS = {"equal": 1.0, "growing": 1.5, "shrinking": 1 / 1.5}


@dataclass(frozen=True)
class Benefit(Record):
    """What the chosen arm is worth, and what learning costs, in one currency.

    Parameters
    ----------
    beneficiaries : float
        Who will get the chosen arm.
    value_per_success : float
        Worth of one success of one of them.
    cost_per_wave, cost_per_unit : float
    discount : float
        Worth of a benefit that comes one wave later, in (0, 1].

    Notes
    -----
    Section 2 of the Kenya study: discount^(T + 1) M value E[theta_chosen | T] minus the costs of
    T waves; here waves' costs are not discounted.
    """

    beneficiaries: float
    value_per_success: float = 1.0
    cost_per_wave: float = 0.0
    cost_per_unit: float = 0.0
    discount: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name}: found {value}; needed a finite number of at least 0")
        if not 0 < self.discount <= 1:
            raise InputError(f"discount: found {self.discount}; needed above 0 and at most 1")

    def cost(self, n_waves: int, n_units: int) -> float:
        """Of the experiment."""
        return self.cost_per_wave * n_waves + self.cost_per_unit * n_units

    def worth(self, success: FloatArray, n_waves: int) -> FloatArray:
        """Of the chosen arm, after so many waves."""
        scale = self.discount ** (n_waves + 1) * self.beneficiaries * self.value_per_success
        return np.asarray(scale * success)


@dataclass(frozen=True)
class Limits:
    """What an experiment may take.

    Parameters
    ----------
    total_days, wave_days : float, optional
        Time for everything, and what one wave needs: no more waves than fit.
    most_units, most_per_wave : int, optional
    budget : float, optional
        What all waves may cost.
    most_waves : int
    least_control_share : float
    """

    total_days: float | None = None
    wave_days: float | None = None
    most_units: int | None = None
    most_per_wave: int | None = None
    budget: float | None = None
    most_waves: int = 4
    least_control_share: float = 0.0

    def n_waves(self) -> int:
        """Most waves that the time leaves room for.

        Raises
        ------
        InputError
            Not even one.
        """
        if self.total_days is None or self.wave_days is None:
            return self.most_waves
        fit = int(self.total_days // self.wave_days)
        if fit < 1:
            raise InputError(
                f"total_days: found {self.total_days:g} for waves of {self.wave_days:g} days; "
                f"needed {self.wave_days:g} or more, for one wave"
            )
        return min(fit, self.most_waves)


@dataclass(frozen=True)
class WavePlanRow(Record):
    """One design: what it costs, what its choice is worth, the difference from the best."""

    design: str
    rule: str
    waves: tuple[int, ...]
    cost: float
    net_benefit: Estimate
    behind_best: Estimate
    realized_regret: Estimate
    best_arm_found: Estimate


@dataclass(frozen=True, eq=False)
class WavePlan(Result, kind="number of waves"):
    """Designs by net benefit, the recommended one, and the simpler one that is nearly as good.

    `notes` say where the recommended size or number of waves is the last that was tried, so that
    the best may lie beyond, and how many designs cannot be told apart from it.

    Parameters
    ----------
    rows : tuple of WavePlanRow
        From the highest net benefit to the lowest.
    recommended : Design
    simpler : Design
        The simplest (fewest waves, then equal shares, then equal waves) that the simulations
        cannot tell from the best, or that lies within `tolerance` of what is at stake; the
        recommended design itself where there is none.
    tolerance : float
    benefit : Benefit
    comparison : Comparison
    """

    rows: tuple[WavePlanRow, ...]
    recommended: Design
    simpler: Design
    tolerance: float
    benefit: Benefit
    comparison: Comparison = field(repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the recommendation lies at the end of what was tried, or cannot be told apart."""
        found, n_units = [], self.recommended.n_units
        sizes = sorted({sum(row.waves) for row in self.rows})
        if len(sizes) == 1:
            found.append(f"Only one size was tried, {n_units:,} units: give more `sizes`.")
        elif n_units == sizes[-1]:
            found.append(
                f"Its size, {n_units:,} units, is the largest that was tried: a larger one may be "
                "better still; give larger `sizes`."
            )
        elif n_units == sizes[0]:
            found.append(
                f"Its size, {n_units:,} units, is the smallest that was tried: a smaller one may "
                "be better still; give smaller `sizes`."
            )
        most, n_waves = max(len(row.waves) for row in self.rows), len(self.recommended.waves)
        if n_waves == most > 1:
            found.append(
                f"Its number of waves, {most}, is the largest that was tried: more may be better."
            )
        close = sum(row.behind_best.value <= 2 * row.behind_best.mc_error for row in self.rows[1:])
        if close:
            found.append(
                f"{close} other design{'s' * (close > 1)} cannot be told apart from it by these "
                "simulations (within two standard errors)."
            )
        return tuple(found)

    def curve(self) -> list[WavePlanRow]:
        """The best design of each number of waves."""
        best: dict[int, WavePlanRow] = {}
        for row in self.rows:
            best.setdefault(len(row.waves), row)
        return [best[n] for n in sorted(best)]

    def _frame(self) -> "pl.DataFrame":
        """One row a design."""
        import polars as pl

        return pl.DataFrame([_flat(row) for row in self.rows])

    def _facts(self) -> dict[str, Any]:
        return {
            "recommended": self.recommended.to_dict(),
            "simpler": self.simpler.to_dict(),
            "tolerance": self.tolerance,
            "notes": self.notes,
            "benefit": self.benefit,
            "rows": [_flat(row) for row in self.rows],
        }

    def summary(self) -> str:
        """The recommendation, the curve over the number of waves, and the simpler design."""
        lines = [f"Highest net benefit: {self.recommended.name}.", *self.notes]
        if self.simpler.name == self.recommended.name:
            lines.append("No simpler design is nearly as good.")
        else:
            row = next(row for row in self.rows if row.design == self.simpler.name)
            lines.append(f"Nearly as good and simpler: {self.simpler.name}, behind by "
                         f"{row.behind_best}.")  # fmt: skip
        lines.append("Best design by number of waves:")
        lines += [f"  {len(row.waves)}: {row.design}: net benefit {row.net_benefit}, behind by "
                  f"{row.behind_best}" for row in self.curve()]  # fmt: skip
        return "\n".join(lines)


def plan_waves(
    design: Design,
    truth: Truth | Mapping[str, Any],
    benefit: Benefit,
    *,
    sizes: Sequence[int] | None = None,
    rules: Sequence[str] = ("equal", "exploration"),
    splits: Sequence[str] = ("equal",),
    limits: Limits | None = None,
    tolerance: float = 0.05,
    n_simulations: int = 2000,
    rng: np.random.Generator,
    **how: Any,
) -> WavePlan:
    """The number of waves, their sizes and the rule with the highest expected net benefit.

    Parameters
    ----------
    design : Design
        Its arms, clusters, trials and control; waves and rule are varied.
    truth : mapping or truth
        A prior, most sensibly: the best number of waves depends on how far apart the arms are.
    benefit : Benefit
    sizes : sequence of int, optional
        Total numbers of units to try; by default that of `design`.
    rules : sequence of str
    splits : sequence of {"equal", "growing", "shrinking"}
        Waves of one size, or each half as large again as the one before, or the reverse.
    limits : Limits, optional
    tolerance : float
        What a simpler design may lose, as a share of the gap between the best design and no
        experiment at all (an arm chosen blindly, at once).
    n_simulations : int
    rng : numpy.random.Generator
    **how
        As for `simulate`.

    Raises
    ------
    InputError
        No design keeps the limits: with the nearest that would.

    Notes
    -----
    All designs run in the same worlds, so that differences have small errors. Maximizing
    over simulated values favours lucky designs a little; `behind_best` says by how much the others
    trail, with its error, and `simpler` takes what cannot be told apart.

    References
    ----------
    Section 2 ("Choosing the Research Design") of the Kenya study (2022).

    Examples
    --------
    >>> import numpy as np
    >>> plan = plan_waves(
    ...     Design(arms=3, waves=(600,)), {"rate": [0.1, 0.15, 0.2]}, Benefit(10_000),
    ...     limits=Limits(most_waves=2), n_simulations=200, rng=np.random.default_rng(1))
    >>> len(plan.rows), plan.rows[0].behind_best.value
    (3, 0.0)
    """
    bounds = limits or Limits()
    designs = designs_within(
        design, benefit, bounds, sizes=sizes or [design.n_units], rules=rules, splits=splits
    )
    found = compare(designs, truth, n_simulations=n_simulations, rng=rng, **how)
    net = [
        benefit.worth(one.values("chosen_success"), len(one.design.waves))
        - benefit.cost(len(one.design.waves), one.design.n_units)
        for one in found
    ]
    best = int(np.argmax([np.nanmean(values) for values in net]))
    rows = [_row(found, benefit, net, i, best) for i in range(len(designs))]
    blind = found[best].runs["success_prob"].mean(axis=1)
    stake = float(np.nanmean(net[best]) - benefit.worth(blind, 0).mean())
    order = sorted(range(len(rows)), key=lambda i: -rows[i].net_benefit.value)
    simple = min(
        (i for i in order if i == best or _near(rows[i].behind_best, tolerance * max(stake, 0.0))),
        key=lambda i: _complexity(designs[i]),
    )
    return WavePlan(
        rows=tuple(rows[i] for i in order),
        recommended=designs[best],
        simpler=designs[simple],
        tolerance=tolerance,
        benefit=benefit,
        comparison=found,
    )


def _near(behind: Estimate, allowed: float) -> bool:
    return behind.value <= max(2 * behind.mc_error, allowed)


def _complexity(design: Design) -> tuple[int, bool, bool, int]:
    even = max(design.waves) - min(design.waves) <= 1
    return len(design.waves), design.rule != "equal", not even, design.n_units


def _row(
    found: Comparison, benefit: Benefit, net: list[FloatArray], i: int, best: int
) -> WavePlanRow:
    one = found[i]
    return WavePlanRow(
        design=one.design.name,
        rule=one.design.rule,
        waves=tuple(one.design.waves),
        cost=benefit.cost(len(one.design.waves), one.design.n_units),
        net_benefit=Estimate.of(net[i]),
        behind_best=Estimate.of(net[best] - net[i]),
        realized_regret=one.realized_regret,
        best_arm_found=one.best_arm_found,
    )


def _flat(row: WavePlanRow) -> dict[str, Any]:
    plain = {"design": row.design, "rule": row.rule, "waves": list(row.waves), "cost": row.cost}
    for name in ("net_benefit", "behind_best", "realized_regret", "best_arm_found"):
        value = getattr(row, name)
        plain |= {name: value.value, f"{name}_mc_error": value.mc_error}
    return plain


def designs_within(
    design: Design,
    benefit: Benefit,
    limits: Limits,
    *,
    sizes: Sequence[int],
    rules: Sequence[str],
    splits: Sequence[str] = ("equal",),
) -> list[Design]:
    """Designs that keep the limits; adaptive rules need two waves."""
    foreign = sorted(set(splits) - _SPLITS.keys())
    if foreign:
        raise InputError(f"splits: found {foreign[0]!r}; needed {', '.join(_SPLITS)}")
    share = max(design.control_share, limits.least_control_share)
    made, refused = [], []
    for total, n_waves in itertools.product(sizes, range(1, limits.n_waves() + 1)):
        for split in splits if n_waves > 1 else splits[:1]:
            waves = _split(total, n_waves, _SPLITS[split])
            fault = _fault(waves, total, limits, benefit, design.n_arms + (share > 0))
            if fault:
                refused.append(fault)
                continue
            for rule in rules:
                if n_waves > 1 or rule == rules[0]:
                    made.append(_made(design, rule, waves, share))
    if not made:
        nearest = min(refused)[1]
        raise InputError(
            f"limits: found none of {len(refused)} designs within them; the nearest: {nearest}"
        )
    return made


def _made(design: Design, rule: str, waves: tuple[int, ...], share: float) -> Design:
    options = design.options if rule == design.rule else {}
    one_wave = len(waves) == 1 and rule != "fixed"
    return design.with_(
        rule="equal" if one_wave else rule,
        options={} if one_wave else options,
        waves=waves,
        control_share=share,
    )


def _split(total: int, n_waves: int, ratio: float) -> tuple[int, ...]:
    weight = ratio ** np.arange(n_waves)
    edges = np.rint(total * np.cumsum(weight) / weight.sum()).astype(int)
    return tuple(int(n) for n in np.diff(edges, prepend=0))


def _fault(
    waves: tuple[int, ...], total: int, limits: Limits, benefit: Benefit, n_arms: int
) -> tuple[float, str] | None:
    """How far a design is from the limits, and what would bring it within them."""
    name = " + ".join(f"{n:,}" for n in waves)
    if waves[0] < n_arms or min(waves) < 2:
        return n_arms / max(waves[0], 1), f"{name} needs {n_arms} units or more in its first wave"
    if limits.most_units is not None and total > limits.most_units:
        return total / limits.most_units, f"{name} needs most_units {total:,}"
    if limits.most_per_wave is not None and max(waves) > limits.most_per_wave:
        return max(waves) / limits.most_per_wave, f"{name} needs most_per_wave {max(waves):,}"
    cost = benefit.cost(len(waves), total)
    if limits.budget is not None and cost > limits.budget:
        affordable = limits.budget - benefit.cost(len(waves), 0)
        # an exact multiple may come out a rounding below it
        units = int(affordable / benefit.cost_per_unit + 1e-9) if benefit.cost_per_unit else 0
        fewer = f", or {units:,} units" if units >= n_arms else ""
        return cost / max(limits.budget, 1e-300), f"{name} needs a budget of {cost:,.6g}{fewer}"
    return None
