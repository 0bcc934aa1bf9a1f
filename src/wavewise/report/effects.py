"""Effects on an outcome: the result of an analysis, its rows from best to worst, its tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wavewise.design.spec import Outcome
from wavewise.errors import InputError
from wavewise.estimate import pair_margins
from wavewise.report.blocks import Cell, Column, Matrix, Table
from wavewise.report.numbers import (
    UNKNOWN,
    Scale,
    count,
    fixed,
    outcome_facts,
    p_value,
    percent,
    scale_of,
    sentence,
    signed,
)
from wavewise.shared.results import NotEstimable

if TYPE_CHECKING:
    import polars as pl

    from wavewise.estimate import Effects, Persistence
    from wavewise.estimate.effects.table import EffectTable

__all__ = [
    "EffectRow",
    "OutcomeEffects",
    "chance_and_loss",
    "contrasts_table",
    "cost_table",
    "differs_from_control",
    "effects_table",
    "excludes_zero",
    "facts_of",
    "flat_posterior",
    "over_time_table",
    "pairs_matrix",
    "ranked_effects",
    "require_finite",
    "require_share",
    "survives_adjustment",
]

DIFFERENCE_IN_MEANS = "difference in means"
DOUBLY_ROBUST = "doubly robust"  # where arms were not randomized


@dataclass(frozen=True)
class EffectRow:
    """An estimate with its interval: one row of a result, of an arm, a contrast or a policy.

    ``p_adjusted``, ``adjusted_low`` and ``adjusted_high`` are adjusted for the number of arms; None
    where they were not computed.
    """

    arm: str
    estimate: float
    std_error: float
    conf_low: float
    conf_high: float
    p_value: float | None = None
    n_units: int | None = None
    p_adjusted: float | None = None
    adjusted_low: float | None = None
    adjusted_high: float | None = None

    def __post_init__(self) -> None:
        require_finite(self, f"effect of {self.arm!r}")

    @classmethod
    def of(cls, name: str, row: Mapping[str, Any]) -> "EffectRow":
        """A row from the plain values of a result, in whichever form it gives its interval.

        Examples
        --------
        >>> EffectRow.of("a", {"estimate": 1, "std_error": 0.5, "conf": [0, 2]}).conf_high
        2.0
        """
        low, high = row["conf"] if "conf" in row else (row["conf_low"], row["conf_high"])
        numbers = (row["estimate"], row["std_error"], low, high)
        if any(value is None for value in numbers):
            raise InputError(
                f"report: {name!r}: found an estimate without a number; needed a reason in its "
                "place"
            )
        p = row.get("p_value")
        # a difference that is 0 by construction has no error, and so no p-value
        known = float(p) if isinstance(p, (int, float)) and math.isfinite(p) else None
        estimate, error, low, high = (float(value) for value in numbers)
        return cls(name, estimate, error, low, high, p_value=known, n_units=row.get("n_units"))


@dataclass(frozen=True)
class CostRow:
    """What an arm costs per unit, and for each success that it adds.

    ``low`` and ``high`` are the ends of the cost per added success; ``high`` is None where the
    interval of the effect contains 0, and all three are None where it holds no gain at all.
    """

    arm: str
    cost_per_unit: float
    cost_per_success: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, row: EffectRow, cost: float, sign: float) -> "CostRow":
        """The cost of an arm over its effect, at the estimate and at both ends of its interval.

        Examples
        --------
        >>> row = EffectRow("sms", 0.05, 0.0255, -0.01, 0.1)
        >>> CostRow.of(row, 0.2, 1.0)
        CostRow(arm='sms', cost_per_unit=0.2, cost_per_success=4.0, low=2.0, high=None)
        """
        gain = sign * row.estimate
        worst, best = sorted((sign * row.conf_low, sign * row.conf_high))
        return cls(
            row.arm,
            cost,
            cost / gain if gain > 0 else None,
            cost / best if best > 0 else None,
            cost / worst if worst > 0 else None,
        )


@dataclass(frozen=True, eq=False)
class OutcomeEffects:
    """Effects of the arms on one outcome by one estimator; or why there are none."""

    outcome: Outcome
    effects: "Effects | NotEstimable"
    estimator: str = DIFFERENCE_IN_MEANS  # As the study file names it.
    registered: bool = True
    learned_on: tuple[str, ...] = ()  # Waves whose data went in.
    # Effects by week (or day), where the outcome is kept by week.
    curve: "Persistence | NotEstimable | None" = None
    # Arm: what its messages cost per unit, where the study file says so; and in which currency.
    costs: Mapping[str, float] = field(default_factory=dict)
    currency: str = ""
    # Arm: q value over all outcomes, where the study file asks for them.
    q_values: Mapping[str, float] = field(default_factory=dict)
    # What the report compares beside them; see ``compared``.
    adjustment: Literal["none", "holm", "max-t"] = "none"
    contrasts: "EffectTable | None" = None
    best_minus_next: EffectRow | None = None

    def compared(
        self,
        adjustment: Literal["none", "holm", "max-t"],
        pairs: Sequence[tuple[str, str]] = (),
    ) -> "OutcomeEffects":
        """The same with adjusted rows, registered contrasts and margins of ordered pairs."""
        effects = self.effects
        if isinstance(effects, NotEstimable):
            return self
        weights = {
            f"{first} minus {second}": {first: 1.0, second: -1.0}
            for first, second in pairs
            if {first, second} <= set(effects.arms)
        }
        ordered = [arm for arm in effects.arms if "+" in arm]
        weights |= pair_margins(ordered) if ordered else {}
        return replace(
            self,
            adjustment=adjustment,
            contrasts=effects.contrasts(weights) if weights else None,
            best_minus_next=_best_minus_next(effects, self.outcome),
        )

    @cached_property
    def rows(self) -> tuple[EffectRow, ...]:
        """Every arm that is estimable, in the order of the study file."""
        if isinstance(self.effects, NotEstimable):
            return ()
        frame = self.effects.to_frame()
        if self.adjustment == "none" or not frame["std_error"].is_not_null().any():
            return _rows(frame)
        table = self.effects.adjusted(self.adjustment).to_frame()
        return tuple(
            replace(
                row,
                p_adjusted=adjusted["p_value"],
                adjusted_low=adjusted["conf_low"],
                adjusted_high=adjusted["conf_high"],
            )
            for row in _rows(frame)
            for adjusted in table.filter(arm=row.arm).to_dicts()
        )

    @property
    def cost_rows(self) -> tuple[CostRow, ...]:
        """What one more success costs, by arm with a cost, in the order of the study file."""
        return tuple(
            CostRow.of(row, self.costs[row.arm], self.outcome.sign)
            for row in self.rows
            if row.arm in self.costs
        )

    @property
    def contrast_rows(self) -> tuple[EffectRow, ...]:
        """Best minus next, then the other contrasts in the order of the plan."""
        first = () if self.best_minus_next is None else (self.best_minus_next,)
        return first if self.contrasts is None else (*first, *_rows(self.contrasts.to_frame()))

    def pooled(self, arms: Sequence[str]) -> EffectRow:
        """Mean effect of several estimable arms."""
        if isinstance(self.effects, NotEstimable):
            raise InputError(f"report: found no effects to pool: {self.effects.reason}")
        table = self.effects.contrasts({"mean": dict.fromkeys(arms, 1.0 / len(arms))})
        return _rows(table.to_frame())[0]

    @property
    def reasons(self) -> tuple[tuple[str, str], ...]:
        """Arms that are not estimable, with the reason."""
        if isinstance(self.effects, NotEstimable):
            return (("", self.effects.reason),)
        return tuple((arm, why.reason) for arm, why in self.effects.not_estimable.items())

    @property
    def control(self) -> str:
        """Name of the control."""
        return "control" if isinstance(self.effects, NotEstimable) else self.effects.control

    @property
    def control_mean(self) -> float | None:
        """Mean outcome in control; None where it is not estimable."""
        mean = (
            None if isinstance(self.effects, NotEstimable) else self.effects.control_mean.estimate
        )
        return None if isinstance(mean, NotEstimable) else mean

    @property
    def control_n_units(self) -> int:
        """Units in control with an outcome."""
        return 0 if isinstance(self.effects, NotEstimable) else self.effects.control_mean.n_units

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        return 0.95 if isinstance(self.effects, NotEstimable) else self.effects.level

    @property
    def adjusted_by(self) -> str:
        """Name of the adjustment for several arms; empty without one."""
        return {"none": "", "holm": "Holm", "max-t": "max-t"}[self.adjustment]

    @property
    def method(self) -> str:
        """How the effects were estimated, and from which data."""
        waves = f" Data of {', '.join(self.learned_on)}." if self.learned_on else ""
        return f"{self._how}{waves}"

    @property
    def _how(self) -> str:
        if isinstance(self.effects, NotEstimable):
            return ""
        names = {DIFFERENCE_IN_MEANS: "Difference in means", DOUBLY_ROBUST: "Doubly robust"}
        name = names.get(self.estimator, "OLS")
        mark = "" if self.registered else " (for comparison, not the registered estimator)"
        how = sentence(f"{name}{mark}: {self.effects.provenance.method}")
        observational = self.effects.provenance.observational
        return f"{how} {observational}" if observational else f"{how} Intent to treat."

    @property
    def text(self) -> str:
        """Heading and table, or heading and reason."""
        mark = "" if self.registered else " (for comparison, not the registered estimator)"
        heading = f"{self.outcome.name}, {self.estimator}{mark}"
        if isinstance(self.effects, NotEstimable):
            return f"{heading}\n{self.effects}"
        lines = [heading, self.effects.summary()]
        if self.q_values:
            told = ", ".join(f"{arm} {p_value(q)}" for arm, q in self.q_values.items())
            lines.append(f"Q values over all outcomes: {told}.")
        lines += [f"{row.arm}: {_cost_text(row, self.currency)}." for row in self.cost_rows]
        if self.curve is not None:
            lines += [f"{self.outcome.name}, over time", str(self.curve)]
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """Estimates as plain values, as `analyze` prints and keeps them."""
        named = {
            "outcome": self.outcome.id,
            "estimator": self.estimator,
            "registered": self.registered,
        }
        if isinstance(self.effects, NotEstimable):
            return {**named, "not_estimable": self.effects.reason}
        more: dict[str, Any] = {"q_values": dict(self.q_values)} if self.q_values else {}
        if self.cost_rows:
            more["costs"] = [dict(vars(row)) for row in self.cost_rows]
        if self.curve is not None:
            more["curve"] = _curve_facts(self.curve)
        return {**named, **facts_of(self.effects), **more}

    def to_dict(self) -> dict[str, Any]:
        """What the report shows, as plain values."""
        return {
            "outcome": outcome_facts(self.outcome),
            "control": self.control,
            "control_mean": self.control_mean,
            "control_n_units": self.control_n_units,
            "rows": [dict(vars(row)) for row in self.rows],
            "not_estimable": [{"arm": arm, "reason": reason} for arm, reason in self.reasons],
            "contrasts": [
                dict(vars(row)) for row in self.contrast_rows if row is not self.best_minus_next
            ],
            "best_minus_next": self.best_minus_next and dict(vars(self.best_minus_next)),
            "joint_p_value": None,
            "estimator": self._how,
            "level": self.level,
            "adjustment": self.adjusted_by,
            "learned_on": list(self.learned_on),
            "exploratory": not self.registered,
            **({"q_values": dict(self.q_values)} if self.q_values else {}),
            **({"costs": [dict(vars(row)) for row in self.cost_rows]} if self.cost_rows else {}),
            **({"curve": _curve_facts(self.curve)} if self.curve is not None else {}),
        }


def _curve_facts(curve: "Persistence | NotEstimable") -> dict[str, Any]:
    if isinstance(curve, NotEstimable):
        return {"not_estimable": curve.reason}
    return facts_of(curve)


def facts_of(result: Any) -> dict[str, Any]:
    """The numbers of a result that verbs print and the store keeps."""
    found: dict[str, Any] = result.facts()
    return found


def _rows(frame: "pl.DataFrame") -> tuple[EffectRow, ...]:
    """Rows that have all their numbers, straight from a result's frame."""
    return tuple(EffectRow(**row) for row in frame.drop_nulls().to_dicts())


def _best_minus_next(effects: "Effects", outcome: Outcome) -> EffectRow | None:
    frame = effects.to_frame().drop_nulls()
    if frame.height < 2:
        return None
    ranked = frame.sort("estimate", descending=outcome.higher_is_better)["arm"].to_list()
    name = f"{ranked[0]} minus {ranked[1]}"
    rows = _rows(effects.contrasts({name: {ranked[0]: 1.0, ranked[1]: -1.0}}).to_frame())
    return rows[0] if rows else None


def ranked_effects(item: OutcomeEffects) -> tuple[EffectRow, ...]:
    """Arms from best to worst estimate; ties by name."""
    sign = -item.outcome.sign
    return tuple(sorted(item.rows, key=lambda row: (sign * row.estimate, row.arm)))


def excludes_zero(row: EffectRow) -> bool:
    """Whether the interval excludes no effect."""
    return not row.conf_low <= 0 <= row.conf_high


def survives_adjustment(item: OutcomeEffects, row: EffectRow) -> bool:
    """Whether an effect stays significant when adjusted for the number of arms."""
    return row.p_adjusted is None or row.p_adjusted <= 1 - item.level


def differs_from_control(item: OutcomeEffects, row: EffectRow) -> bool | None:
    """True if an effect is significant and for the better, False if for the worse, None if neither.

    Significant means that the interval excludes zero, and that the adjusted p-value, where there is
    one, is no larger than the intervals' level allows.
    """
    if not excludes_zero(row) or not survives_adjustment(item, row):
        return None
    return (row.estimate > 0) == item.outcome.higher_is_better


def chance_and_loss(difference: float, std_error: float) -> tuple[float, float]:
    """Chance that a difference is below 0 though it was taken for above, and what that loses."""
    # a normal posterior with a flat prior: the true d is N(difference, std_error^2), and so
    # P(d < 0) = Phi(-z), E[max(-d, 0)] = std_error (phi(z) - z Phi(-z)); without error d is known
    if std_error == 0:
        return float(difference < 0), max(-difference, 0.0)
    normal, z = NormalDist(), difference / std_error
    return normal.cdf(-z), std_error * (normal.pdf(z) - z * normal.cdf(-z))


def flat_posterior(item: OutcomeEffects) -> Mapping[str, tuple[float, float]]:
    """Of each arm, the chance that another is better, and what it is expected to lose by that."""
    # a normal posterior with a flat prior: true effects are N(estimates, covariance); by 2^14
    # points of a scrambled Sobol sequence with a fixed seed, which is good to about .005
    from scipy.stats import qmc

    effects = item.effects
    if isinstance(effects, NotEstimable):
        return {}
    estimate, cov = np.asarray(effects.estimate), np.asarray(effects.cov)
    known = np.isfinite(estimate) & np.isfinite(np.diag(cov))
    names = [name for name, is_known in zip(effects.names, known, strict=True) if is_known]
    if len(names) < 2:
        return {}
    sampler = qmc.MultivariateNormalQMC(
        item.outcome.sign * estimate[known], cov[np.ix_(known, known)], seed=1
    )
    draws = sampler.random(2**14)
    best = draws.max(axis=1)
    beaten = (draws < best[:, None]).mean(axis=0)
    loss = (best[:, None] - draws).mean(axis=0)
    return {name: (float(beaten[k]), float(loss[k])) for k, name in enumerate(names)}


def effects_table(item: OutcomeEffects, best: str | None) -> Table:
    """Effects of the arms, best first."""
    caption = f"Effects on {item.outcome.name}"
    return _table(caption, "Arm", item, ranked_effects(item), best, _note(item))


def contrasts_table(item: OutcomeEffects) -> Table | None:
    """Contrasts in the order of the plan; None if there are none."""
    rows = item.contrast_rows
    return _table("Contrasts", "Contrast", item, rows, None, "") if rows else None


def pairs_matrix(item: OutcomeEffects, labels: Mapping[str, str]) -> Matrix | None:
    """Effects of all ordered pairs of some messages, with their means; None of other arms."""
    rows = {row.arm: row for row in item.rows}
    pairs = {tuple(arm.split("+")): row for arm, row in rows.items() if arm.count("+") == 1}
    names = list(dict.fromkeys(first for first, _ in pairs))
    means = {row.arm: row for row in item.contrast_rows}
    needed = [f"{place} {name}" for place in ("first", "second") for name in names]
    complete = len(names) > 1 and set(pairs) == {(a, b) for a in names for b in names}
    if not complete or len(pairs) != len(rows) or not set(needed) <= set(means):
        return None
    scale = scale_of(item.outcome)
    largest = ranked_effects(item)[0].arm
    top = max(abs(row.estimate) for row in pairs.values()) or 1.0
    total = item.pooled(tuple(rows))

    def cell(row: EffectRow) -> Cell:
        decimals = scale.decimals(row.std_error)
        strength = 1 + min(4, max(0, int(5 * item.outcome.sign * row.estimate / top)))
        return Cell(
            signed(scale.factor * row.estimate, decimals),
            scale.interval(row.conf_low, row.conf_high, decimals),
            strength,
            row.arm == largest,
            excludes_zero(row) and survives_adjustment(item, row),
        )

    mean = "" if item.control_mean is None else scale.level(item.control_mean, 1)
    against = f"against {count(item.control_n_units)} units in {item.control} ({mean})"
    level = f"{percent(item.level, 0)} intervals"
    return Matrix(
        title=f"Effect of each pair on {item.outcome.name}",
        unit=f"{scale.effect_unit} {against}".strip(),
        rows_are="First message",
        columns_are="Second message",
        labels=tuple(labels.get(name, name) for name in names),
        cells=tuple(tuple(cell(pairs[a, b]) for b in names) for a in names),
        row_means=tuple(cell(means[f"first {name}"]) for name in names),
        column_means=tuple(cell(means[f"second {name}"]) for name in names),
        mean=cell(total),
        note=f"Under each estimate its {level}. Framed: the largest. Dashed: not shown to differ "
        f"from 0{f' after adjustment ({item.adjusted_by})' if item.adjusted_by else ''}.",
    )


def _table(
    caption: str,
    first: str,
    item: OutcomeEffects,
    rows: tuple[EffectRow, ...],
    best: str | None,
    note: str,
) -> Table:
    scale = scale_of(item.outcome)
    decimals = max((scale.decimals(row.std_error, 2) for row in rows), default=2)
    adjusted = any(row.p_adjusted is not None for row in rows)
    intervals = any(row.adjusted_low is not None for row in rows)
    columns = [
        Column(first, numeric=False),
        Column(f"Effect{scale.unit_in_brackets()}"),
        Column("Std. error"),
        Column(f"{percent(item.level, 0)} conf. interval"),
        Column("p"),
        *([Column("Adjusted p")] if adjusted else []),
        *([Column("Adjusted interval")] if intervals else []),
        *([Column("q")] if item.q_values else []),
        Column("Units"),
    ]
    cells = tuple(
        (*head, p_value(item.q_values.get(row.arm)), units) if item.q_values else (*head, units)
        for row in rows
        for *head, units in [_cells(row, scale, decimals, adjusted, intervals)]
    )
    return Table(caption, tuple(columns), cells, marked=best, note=note)


def _cells(
    row: EffectRow, scale: Scale, decimals: int, adjusted: bool, intervals: bool
) -> tuple[str, ...]:
    cells = [
        row.arm,
        signed(scale.factor * row.estimate, decimals),
        fixed(scale.factor * row.std_error, decimals),
        scale.interval(row.conf_low, row.conf_high, decimals),
        p_value(row.p_value),
    ]
    if adjusted:
        cells.append(p_value(row.p_adjusted))
    if intervals and row.adjusted_low is not None and row.adjusted_high is not None:
        cells.append(scale.interval(row.adjusted_low, row.adjusted_high, decimals))
    elif intervals:
        cells.append(UNKNOWN)
    return (*cells, count(row.n_units))


def _cost_text(row: CostRow, currency: str) -> str:
    """What an arm costs per unit and per added success, in words."""
    money = f" {currency}" if currency else ""
    told = f"costs {row.cost_per_unit:.4g}{money} per unit"
    if row.cost_per_success is None:
        return f"{told} and added no success"
    if row.low is None or row.high is None:
        low = "" if row.low is None else f", {row.low:.4g} or more"
        return f"{told}, {row.cost_per_success:.4g}{money} per added success{low}"
    return f"{told}, {row.cost_per_success:.4g}{money} per added success " + (
        f"({row.low:.4g} to {row.high:.4g})"
    )


def cost_table(item: OutcomeEffects) -> Table | None:
    """Cost per unit and per added success by arm; None where no cost is known."""
    if not item.cost_rows:
        return None
    money = f" ({item.currency})" if item.currency else ""
    level = percent(item.level, 0)
    columns = (
        Column("Arm", numeric=False),
        Column(f"Cost per unit{money}"),
        Column(f"Cost per added success{money}"),
        Column(f"{level} interval"),
    )
    cells = tuple(
        (
            row.arm,
            f"{row.cost_per_unit:.4g}",
            UNKNOWN if row.cost_per_success is None else f"{row.cost_per_success:.4g}",
            UNKNOWN
            if row.low is None
            else f"{row.low:.4g} or more"
            if row.high is None
            else f"{row.low:.4g} to {row.high:.4g}",
        )
        for row in item.cost_rows
    )
    note = "Cost per unit over the effect, at the estimate and at the ends of its interval."
    return Table(f"What one more {item.outcome.name} costs", columns, cells, note=note)


def over_time_table(item: OutcomeEffects) -> Table | None:
    """Effects by week with pointwise and joint intervals; None where there are none."""
    curve = item.curve
    if curve is None or isinstance(curve, NotEstimable):
        return None
    scale, frame = scale_of(item.outcome), curve.to_frame("polars").drop_nulls()
    decimals = max((scale.decimals(e, 2) for e in frame["std_error"].to_list()), default=2)
    level = percent(curve.level, 0)
    columns = (
        Column("Arm", numeric=False),
        Column("Time", numeric=False),
        Column(f"Effect{scale.unit_in_brackets()}"),
        Column("Std. error"),
        Column(f"{level} conf. interval"),
        Column(f"{level} joint interval"),
        Column("Adjusted p"),
    )
    cells = tuple(
        (
            row["arm"],
            row["period"],
            signed(scale.factor * row["estimate"], decimals),
            fixed(scale.factor * row["std_error"], decimals),
            scale.interval(row["conf_low"], row["conf_high"], decimals),
            scale.interval(row["joint_low"], row["joint_high"], decimals),
            p_value(row["p_adjusted"]),
        )
        for row in frame.iter_rows(named=True)
    )
    note = " ".join(curve._notes())
    return Table(f"Effects on {item.outcome.name} over time", columns, cells, note=note)


def _note(item: OutcomeEffects) -> str:
    parts, scale = [], scale_of(item.outcome)
    if item.control_mean is not None:
        mean = scale.level(item.control_mean, scale.decimals(0.01 * abs(item.control_mean)))
        units = f" over {count(item.control_n_units)} units" if item.control_n_units else ""
        parts.append(f"Mean in {item.control}: {mean}{units}.")
    if item.adjusted_by:
        parts.append(f"Adjusted for the number of arms: {item.adjusted_by}.")
    if item.q_values:
        parts.append("q: least false discovery rate over all outcomes at which it is a finding.")
    return " ".join(parts)


# What every number of a report must be: finite, and a share in [0, 1].


def require_finite(row: Any, what: str) -> None:
    """Refuse numbers that are not finite: what is not estimable is a reason."""
    for one in fields(row):
        value = getattr(row, one.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(
                f"report: {what}: found {one.name} {value}; needed a finite number; "
                "give a reason instead where the quantity is not estimable"
            )


def require_share(name: str, arm: str, value: float) -> None:
    """Refuse a share or probability outside [0, 1]."""
    if not 0 <= value <= 1:
        raise InputError(f"report: arm {arm!r}: found {name} {value}; needed a value in [0, 1]")
