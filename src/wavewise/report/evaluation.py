"""Policies on fresh outcomes: the evaluation as it was kept, its tables and sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from wavewise.design.spec import Outcome
from wavewise.errors import InputError
from wavewise.report.blocks import Column, Table
from wavewise.report.effects import EffectRow, chance_and_loss, excludes_zero, require_share
from wavewise.report.numbers import (
    UNKNOWN,
    Scale,
    count,
    fixed,
    in_units,
    outcome_facts,
    p_value,
    percent,
    probability,
    scale_of,
    signed,
)

__all__ = [
    "PREDICTED_OUTCOME",
    "CalibrationRow",
    "ContrastRow",
    "CurveRow",
    "Evaluation",
    "PolicyRow",
    "PolicyTruth",
    "SpendRow",
    "advice",
    "calibration_table",
    "contrast_table",
    "curve_table",
    "estimate_text",
    "evaluation_sentences",
    "favoured",
    "personalization",
    "policy_headline",
    "policy_table",
    "projection_rows",
    "projection_table",
    "spending_table",
    "stakes",
    "sureness_of_policies",
    "targeting",
]

PREDICTED_OUTCOME = "predicted outcome"
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class PolicyRow:
    """A policy against no message."""

    policy: str  # Its name.
    rule: str  # What it does, in words.
    effect: EffectRow  # Against no message, by doubly robust scores.
    randomized: EffectRow | None = None  # By least squares with strata, from its own units alone.
    truth: float | None = None  # In a simulated study.
    alike: tuple[str, ...] = ()  # Other policies that give everybody the same: shown as this one.

    @property
    def name(self) -> str:
        """The policy as it is printed, with those that are the same."""
        return " = ".join((self.policy, *self.alike))


@dataclass(frozen=True)
class PolicyTruth:
    """The known truth of a simulated study."""

    effects: Mapping[str, float]  # Each policy's true effect against no message.
    ceiling: float  # The effect if every unit got what is truly best for it.


@dataclass(frozen=True)
class ContrastRow:
    """One policy less another."""

    first: str  # Name of a policy.
    second: str  # Name of the policy that it is compared with.
    effect: EffectRow  # Per unit of the whole population, by doubly robust scores.
    share_differs: float  # Share of units to whom the two give different arms, in [0, 1].
    # From the units randomized to the two where they differ; or why there is no such estimate.
    randomized: EffectRow | str | None = None
    truth: float | None = None  # In a simulated study.

    def __post_init__(self) -> None:
        require_share("share_differs", self.name, self.share_differs)

    @property
    def name(self) -> str:
        """The contrast as it is printed."""
        return f"{self.first} minus {self.second}"


@dataclass(frozen=True)
class CurveRow:
    """How well a ranking finds the units that gain more.

    ``points`` are share of units, height and standard error. ``causal`` says that the ranking is by
    predicted effect; otherwise it is by predicted outcome.
    """

    priority: str
    autoc: EffectRow
    qini: EffectRow
    points: tuple[tuple[float, float, float], ...]
    causal: bool = True

    @property
    def separates(self) -> bool:
        """Whether it is shown to place those who gain more first, by either measure."""
        return not self.misleads and max(self.autoc.conf_low, self.qini.conf_low) > 0

    @property
    def misleads(self) -> bool:
        """Whether it is shown to place those who gain more last, by either measure."""
        return min(self.autoc.conf_high, self.qini.conf_high) < 0

    @classmethod
    def of(cls, priority: str, curve: Facts, *, causal: bool) -> "CurveRow":
        """A ranking from the facts of ``ww.evaluate.toc(...)``."""
        areas = {str(row["measure"]).lower(): row for row in curve["rows"]}
        points = tuple(
            (float(row["share"]), float(row["toc"]), float(row["std_error"]))
            for row in curve["curve"]
        )
        autoc, qini = (EffectRow.of(name, areas[name]) for name in ("autoc", "qini"))
        return cls(priority, autoc, qini, points, causal)


@dataclass(frozen=True)
class SpendRow:
    """Gain in mean outcome when a share of units is messaged.

    ``targeted`` chooses units and arms by predicted effect; ``uniform`` sends one arm to units at
    random; ``difference`` is paired.
    """

    share: float
    targeted: EffectRow
    uniform: EffectRow
    difference: EffectRow

    @classmethod
    def of(cls, share: float, targeted: Facts, uniform: Facts, difference: Facts) -> "SpendRow":
        """Gains at a share messaged, from the facts of ``ww.evaluate.cost_curve``."""
        return cls(share, *(EffectRow.of("gain", row) for row in (targeted, uniform, difference)))


@dataclass(frozen=True)
class CalibrationRow:
    """Whether a model's predicted effects hold: 1 is right, 0 says that differences are noise.

    ``groups`` are units of like predicted effect: predicted, estimated, its standard error, units.
    """

    model: str
    differences: EffectRow
    groups: tuple[tuple[float, float, float, int], ...]

    @classmethod
    def of(cls, model: str, facts: Facts) -> "CalibrationRow":
        """A model's calibration from the facts of ``ww.evaluate.calibration(...)``."""
        line = {row["term"]: row for row in facts["line"]["rows"]}
        groups = tuple(
            (float(row["predicted"]), float(row["score"]), float(row["std_error"]),
             int(row["n_units"]))
            for row in facts["groups"]
        )  # fmt: skip
        return cls(model, EffectRow.of(model, line["differences"]), groups)


def projection_rows(rows: Sequence[Facts]) -> tuple[EffectRow, ...]:
    """Slopes from the rows of ``ww.evaluate.best_linear_projection(...)``, without the constant."""
    return tuple(EffectRow.of(str(r["term"]), r) for r in rows if r["term"] != "constant")


@dataclass(frozen=True)
class Evaluation:
    """Policies on fresh outcomes."""

    wave: str  # The wave whose outcomes test them.
    learned_on: tuple[str, ...]  # Waves that taught them.
    outcome: Outcome
    level: float  # Of all intervals.
    n_units: int  # Units with an outcome.
    policies: tuple[PolicyRow, ...]
    contrasts: tuple[ContrastRow, ...]  # The registered ones, the most important first.
    message: str = ""  # The arm that targeting is about; empty without one.
    curves: tuple[CurveRow, ...] = ()
    spending: tuple[SpendRow, ...] = ()
    chosen_by: str = "forest"  # The policy whose model chooses units in `spending`.
    uniform: str = "the message with the largest mean prediction"  # What the others get at random.
    calibration: tuple[CalibrationRow, ...] = ()
    projection: tuple[EffectRow, ...] = ()  # Slopes of the effect in covariates.
    not_estimable: tuple[tuple[str, str], ...] = ()  # Parts that could not be computed, and why.
    baseline: float | None = None  # Mean outcome without messages.
    ceiling: float | None = None  # True effect if every unit got what is best for it; simulated.
    facts: Facts = field(default_factory=dict, repr=False)  # As `evaluate` prints and keeps it.

    def __post_init__(self) -> None:
        names = [row.policy for row in self.policies] + [row.name for row in self.contrasts]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError(
                f"report: evaluation of {self.wave!r}: found {repeated} more than once; needed "
                "each name once"
            )

    @classmethod
    def of(
        cls,
        facts: Facts,
        outcome: Outcome,
        rules: Mapping[str, str],
        truth: PolicyTruth | None = None,
    ) -> "Evaluation":
        """An evaluation read back from what was kept, with the policies' rules in words."""
        true = truth.effects if truth is not None else {}
        targeting, spending = facts["targeting"], facts["spending"]
        by_groups = _by_groups(facts)
        return cls(
            wave=facts["wave"],
            learned_on=tuple(facts["learned_on"]),
            outcome=outcome,
            level=facts["level"],
            n_units=facts["n_units"],
            policies=_shown_once(
                facts,
                {
                    row["policy"]: PolicyRow(
                        row["policy"],
                        rules.get(row["policy"], ""),
                        EffectRow.of(row["policy"], row),
                        by_groups.get(row["policy"]),
                        true.get(row["policy"]),
                    )
                    for row in facts["against_nothing"]
                },
            ),
            contrasts=tuple(_contrast(row, true) for row in facts["contrasts"]),
            message=targeting.get("content", ""),
            curves=tuple(
                CurveRow.of(row["priority"], row, causal=row["priority"] != PREDICTED_OUTCOME)
                for row in targeting.get("curves", ())
                if "not_estimable" not in row
            ),
            spending=tuple(
                SpendRow.of(row["spend"], row["gain"], row["uniform"], row["difference"])
                for row in spending.get("rows", ())
            ),
            **_of_spending(spending),
            calibration=tuple(
                CalibrationRow.of(model, row)
                for model, row in targeting.get("calibration", {}).items()
                if "not_estimable" not in row
            ),
            projection=projection_rows(targeting.get("projection", {}).get("rows", ())),
            not_estimable=_reasons(targeting, spending),
            baseline={r["policy"]: r["estimate"] for r in facts["values"]}.get("no message"),
            ceiling=truth.ceiling if truth is not None else None,
            facts=facts,
        )

    def to_dict(self) -> dict[str, Any]:
        """What the report shows, as plain values."""
        fields = {name: value for name, value in vars(self).items() if name != "facts"}
        return fields | {
            "outcome": outcome_facts(self.outcome),
            "policies": [{**vars(row), "n_units": self.n_units} for row in self.policies],
            "contrasts": [
                {**vars(row), "randomized": _named(row.name, row.randomized)}
                for row in self.contrasts
            ],
            "curves": [
                {
                    **vars(row),
                    "points": _named_columns(("share", "height", "std_error"), row.points),
                }
                for row in self.curves
            ],
            "calibration": [
                {
                    **vars(row),
                    "groups": _named_columns(
                        ("predicted", "found", "std_error", "n_units"), row.groups
                    ),
                }
                for row in self.calibration
            ],
            "projection": [{"name": row.arm, "slope": row} for row in self.projection],
            "not_estimable": _named_columns(("arm", "reason"), self.not_estimable),
        }


def _shown_once(facts: Facts, rows: Mapping[str, PolicyRow]) -> tuple[PolicyRow, ...]:
    """Policies in their order; those that give everybody the same as one row, the first."""
    same = facts.get("same")
    if same is None:  # kept by an earlier version, which told it of the compared ones only
        equal = [row for row in facts["contrasts"] if row["doubly_robust"]["share_differs"] == 0]
        same = [{"policies": [row["second"], row["first"]], "effect": None} for row in equal]
    shown = dict(rows)
    for group in same:
        first, *others = sorted(group["policies"], key=list(rows).index)
        if first not in shown:
            continue
        pooled = group["effect"]
        known = pooled is not None and pooled.get("std_error") is not None
        row = shown[first]
        shown[first] = replace(
            row,
            alike=(*row.alike, *(other for other in others if other in shown)),
            randomized=EffectRow.of(first, pooled) if known else row.randomized,
        )
        for other in others:
            shown.pop(other, None)
    return tuple(shown.values())


def _of_spending(spending: Facts) -> dict[str, Any]:
    """Who is chosen by which model, and what the units at random get, in words."""
    uniform = spending.get("uniform")
    if uniform is None:
        return {}
    arm = uniform["arm"]
    text = (
        f"{uniform['policy']} ({arm})"
        if uniform["policy"]
        else f"{arm}, the largest mean prediction"
    )
    return {"chosen_by": spending["chosen_by"], "uniform": text}


def _named(name: str, found: EffectRow | str | None) -> Any:
    return {"arm": name, "reason": found} if isinstance(found, str) else found


def _named_columns(names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def _by_groups(facts: Facts) -> dict[str, EffectRow]:
    """Each policy's messaged units against all held-out ones, by the registered estimator."""
    registered: Facts = next(
        (item for item in facts["effects"]
         if item["outcome"] == facts["outcome"] and item.get("registered", True)),
        {},
    )  # fmt: skip
    return {
        row["arm"]: EffectRow.of(row["arm"], row)
        for row in registered.get("rows", ())
        if row["std_error"] is not None
    }


def _contrast(row: Facts, true: Mapping[str, float]) -> ContrastRow:
    first, second, paired = row["first"], row["second"], row["paired"]
    name = f"{first} minus {second}"
    why = paired.get("not_estimable")
    return ContrastRow(
        first,
        second,
        EffectRow.of(name, row["doubly_robust"]),
        row["doubly_robust"]["share_differs"],
        EffectRow.of(name, paired) if why is None else why,
        true[first] - true[second] if {first, second} <= set(true) else None,
    )


def _reasons(targeting: Facts, spending: Facts) -> tuple[tuple[str, str], ...]:
    """Parts that could not be computed, and why."""
    parts: list[tuple[str, Facts]] = [("targeting", targeting), ("number of messages", spending)]
    parts += [(f"ranking by {row['priority']}", row) for row in targeting.get("curves", ())]
    parts += [(f"calibration of {k}", row) for k, row in targeting.get("calibration", {}).items()]
    parts.append(("who gains more", targeting.get("projection", {})))
    return tuple((name, part["not_estimable"]) for name, part in parts if "not_estimable" in part)


# Tables.


def policy_table(item: Evaluation) -> Table:
    """Policies against no message, by both estimators."""
    scale = scale_of(item.outcome)
    simulated = any(row.truth is not None for row in item.policies)
    columns = (
        Column("Policy", numeric=False),
        Column("What it does", numeric=False, prose=True),
        *_estimate_columns(item, scale, "Effect"),
        Column("By groups ± se"),
        *((Column("Truth"),) if simulated else ()),
    )
    rows = tuple(
        (
            row.name,
            row.rule,
            *_cells(row.effect, scale),
            UNKNOWN if row.randomized is None else _with_error(row.randomized, scale),
            *((_truth(row.truth, row.effect, scale),) if simulated else ()),
        )
        for row in sorted(item.policies, key=lambda row: -row.effect.estimate)
    )
    note = (
        f"Against no message, on {count(item.n_units)} units. The first estimate is doubly robust: "
        "a unit contributes to the value of every policy that assigns it the message it received. "
        "By groups: a policy's own messaged units against all held-out units, by least squares "
        "with strata."
    )
    if item.ceiling is not None:
        best = scale.effect(item.ceiling, 2)
        note += f" If every unit got what is truly best for it, the effect would be {best}."
    caption = "Each policy against no message"
    return Table(caption, columns, rows, note=note, stack=True)


def contrast_table(item: Evaluation) -> Table:
    """Differences between policies, by both estimators."""
    scale = scale_of(item.outcome)
    simulated = any(row.truth is not None for row in item.contrasts)
    columns = (
        Column("Contrast", numeric=False),
        *_estimate_columns(item, scale, "Difference"),
        Column("p"),
        Column("Differ"),
        Column("By groups ± se"),
        *((Column("Truth"),) if simulated else ()),
    )
    rows = tuple(
        (
            row.name,
            *_cells(row.effect, scale),
            p_value(row.effect.p_value),
            percent(row.share_differs),
            _with_error(row.randomized, scale)
            if isinstance(row.randomized, EffectRow)
            else UNKNOWN,
            *((_truth(row.truth, row.effect, scale),) if simulated else ()),
        )
        for row in item.contrasts
    )
    note = (
        "Per unit of the whole population. Units that both policies assign the same message add "
        "neither to the difference nor to its error. Differ: units that the two may assign "
        "different messages. By groups: only units randomized to one of the two policies, among "
        "those for whom they differ."
    )
    reasons = "; ".join(
        f"{row.name}: {row.randomized.rstrip('.')}"
        for row in item.contrasts
        if isinstance(row.randomized, str)
    )
    note += f" Not estimated by groups: {reasons}." if reasons else ""
    return Table("Differences between policies", columns, rows, note=note)


def curve_table(item: Evaluation) -> Table | None:
    """AUTOC and Qini of each ranking."""
    if not item.curves:
        return None
    scale = scale_of(item.outcome)
    columns = (
        Column("Ranked by", numeric=False),
        Column("Kind", numeric=False),
        *_estimate_columns(item, scale, "AUTOC"),
        *_estimate_columns(item, scale, "Qini"),
    )
    rows = tuple(
        (
            row.priority,
            "causal" if row.causal else "predictive",
            *_cells(row.autoc, scale),
            *_cells(row.qini, scale),
        )
        for row in item.curves
    )
    note = (
        "Both are 0 for an uninformative ranking, and above 0 where those ranked first gain "
        "more. AUTOC gives most weight to the very first, Qini the same weight to all. Causal: by "
        "predicted effect; predictive: those with the lowest predicted outcome first."
    )
    return Table(f"Whom to send {item.message}", columns, rows, note=note)


def spending_table(item: Evaluation) -> Table | None:
    """Gain at shares of units messaged."""
    if not item.spending:
        return None
    scale = scale_of(item.outcome)
    unit = scale.unit_in_brackets()
    columns = (
        Column("Messaged", numeric=False),
        Column(f"Chosen by {item.chosen_by}{unit}"),
        Column(f"{item.uniform}, at random{unit}"),
        *_estimate_columns(item, scale, "Difference"),
    )
    rows = tuple(
        (
            percent(row.share, 0),
            _with_error(row.targeted, scale),
            _with_error(row.uniform, scale),
            *_cells(row.difference, scale),
        )
        for row in item.spending
    )
    note = (
        "Gain in the mean over all units, including those not messaged; standard errors follow ±."
    )
    return Table("Gain by share of units messaged", columns, rows, note=note)


def calibration_table(item: Evaluation) -> Table | None:
    """Predicted and estimated effects by group."""
    if not any(row.groups for row in item.calibration):
        return None
    scale = scale_of(item.outcome)
    unit = scale.unit_in_brackets()
    columns = (
        Column("Model, group", numeric=False),
        Column(f"Predicted{unit}"),
        Column(f"Estimated{unit}"),
        Column("Units"),
    )
    rows = tuple(
        (
            f"{row.model} {number}",
            signed(scale.factor * predicted, scale.decimals(error)),
            _plus_minus(estimate, error, scale),
            count(n_units),
        )
        for row in item.calibration
        for number, (predicted, estimate, error, n_units) in enumerate(row.groups, start=1)
    )
    note = "Groups of equal size from the smallest predicted effect to the largest. " + " ".join(
        f"A predicted difference of 1 by {row.model} corresponds to an estimated difference of "
        f"{row.differences.estimate:.2f} ({percent(item.level, 0)} interval "
        f"{row.differences.conf_low:.2f} to {row.differences.conf_high:.2f}).".replace(
            "-", "\u2212"
        )
        for row in item.calibration
    )
    return Table(f"Predicted effects of {item.message}", columns, rows, note=note)


def projection_table(item: Evaluation) -> Table | None:
    """Who gains more, one covariate given the others."""
    if not item.projection:
        return None
    scale = scale_of(item.outcome)
    columns = (
        Column("Covariate", numeric=False),
        *_estimate_columns(item, scale, "Slope"),
        Column("p"),
    )
    rows = tuple((row.arm, *_cells(row, scale), p_value(row.p_value)) for row in item.projection)
    note = (
        "Best linear projection of the effect: how much larger the effect is for units with one "
        "more of a covariate, holding the others fixed. Descriptive, not causal; p-values are not "
        "adjusted for the number of covariates."
    )
    return Table(f"Who gains more from {item.message}", columns, rows, note=note)


def _estimate_columns(item: Evaluation, scale: Scale, name: str) -> tuple[Column, Column]:
    return (
        Column(f"{name}{scale.unit_in_brackets()} ± se"),
        Column(f"{percent(item.level, 0)} interval"),
    )


def _cells(row: EffectRow, scale: Scale) -> tuple[str, str]:
    decimals = scale.decimals(row.std_error, 2)
    return _with_error(row, scale), scale.interval(row.conf_low, row.conf_high, decimals)


def _with_error(row: EffectRow, scale: Scale) -> str:
    return _plus_minus(row.estimate, row.std_error, scale)


def _plus_minus(estimate: float, error: float, scale: Scale) -> str:
    decimals = scale.decimals(error, 2)
    return f"{signed(scale.factor * estimate, decimals)} ± {fixed(scale.factor * error, decimals)}"


def _truth(truth: float | None, row: EffectRow, scale: Scale) -> str:
    if truth is None:
        return UNKNOWN
    place = "inside" if row.conf_low <= truth <= row.conf_high else "outside"
    return f"{signed(scale.factor * truth, 2)} ({place})"


# What policies achieved on fresh outcomes, in sentences for those who run the programme.


def policy_headline(item: Evaluation, unit_name: str) -> tuple[str, str]:
    """What the policy to use achieved against no message: the answer, and its numbers."""
    used = _used(item)
    if used is None:
        return "No policy was tested", ""
    scale, outcome, effect = scale_of(item.outcome), item.outcome.name, used.effect
    contrast = item.contrasts[0] if item.contrasts else None
    verb = "raised" if effect.estimate > 0 else "lowered"
    amount = scale.amount(effect.estimate)
    by_choice = contrast is not None and contrast.first in (used.policy, *used.alike)
    if _sign_of(effect) is None:
        lead = f"No effect of {used.policy} on {outcome} is shown"
    elif by_choice and contrast is not None and _better(item, contrast.effect):
        chosen = f"Messages that {used.policy} chose for each of the {unit_name}"
        lead = f"{chosen} {verb} {outcome} by {amount}"
    else:
        lead = f"{used.policy} {verb} {outcome} by {amount}{_choosing(item, contrast)}"
    decimals = scale.decimals(effect.std_error)
    interval = scale.interval(effect.conf_low, effect.conf_high, decimals)
    text = (
        f"Effect of {used.name} on {outcome} against no message: "
        f"{scale.effect(effect.estimate, decimals)} ({percent(item.level, 0)} confidence interval "
        f"{interval}; doubly robust, on all {item.n_units:,} {unit_name} of {item.wave})."
    )
    if item.baseline is not None:
        mean, before = (
            scale.level(value, decimals)
            for value in (item.baseline + effect.estimate, item.baseline)
        )
        text = f"With {used.policy}, {outcome} is {mean}, against {before} without messages. {text}"
    return lead, text


def _used(item: Evaluation) -> PolicyRow | None:
    """The policy that the first contrast speaks for; without one, that with the best estimate."""
    if not item.policies:
        return None
    if not item.contrasts:
        return max(item.policies, key=lambda row: item.outcome.sign * row.effect.estimate)
    row = item.contrasts[0]
    name = row.second if row.share_differs == 0 else favoured(item, row)[0]
    return next((p for p in item.policies if name in (p.policy, *p.alike)), item.policies[0])


def _choosing(item: Evaluation, row: ContrastRow | None) -> str:
    """What the compared policies add to each other."""
    if row is None:
        return ""
    if row.share_differs == 0:
        return f"; {row.first} sends everybody the same"
    _, other, *_ = favoured(item, row)
    if _better(item, row.effect) is None:
        return f"; it is not shown to beat {other}"
    return f"; {other} does worse"


def sureness_of_policies(item: Evaluation, unit_name: str) -> tuple[str, str] | None:
    """Chance of error and expected loss of the policy to use; None without a contrast."""
    used = _used(item)
    if used is None or not item.contrasts:
        return None
    row, scale, sign = item.contrasts[0], scale_of(item.outcome), item.outcome.sign
    harm, _ = chance_and_loss(sign * used.effect.estimate, used.effect.std_error)
    nothing = f"That no message would do as well has a chance of {probability(harm)}."
    if row.share_differs == 0:
        return f"{used.name}: the same for everybody", nothing
    _, other, chance, loss = favoured(item, row)
    lead = f"{probability(chance)} chance of error; {scale.amount(loss)} lost on average"
    people = ""
    if item.outcome.scale == "binary":
        people = f", {in_units(loss, unit_name)},"
    text = (
        f"The chance that {other} is better than {used.policy} is {probability(chance)}; using "
        f"{used.policy} is expected to lose {scale.amount(loss)}{people} by that. {nothing} "
        "Normal posterior with a flat prior."
    )
    return lead, text


def personalization(item: Evaluation, unit_name: str) -> tuple[str, str]:
    """Whether choosing the message for each unit pays: the answer, and the sentences behind it."""
    if not item.contrasts:
        return "Not tested", "No two policies were compared."
    row = item.contrasts[0]
    return contrast_lead(item, row), contrast_sentence(item, row, unit_name)


def contrast_lead(item: Evaluation, row: ContrastRow) -> str:
    """The verdict on two policies in a few words."""
    better = _better(item, row.effect)
    amount = scale_of(item.outcome).amount(row.effect.estimate)
    if row.share_differs == 0:
        return f"No: {row.first} and {row.second} send everybody the same message"
    if better is None:
        return f"Inconclusive: {row.first} does not differ significantly from {row.second}"
    if better:
        return f"Yes: {row.first} beats {row.second} by {amount}"
    return f"No: {row.first} does worse than {row.second}, by {amount}"


def contrast_sentence(item: Evaluation, row: ContrastRow, unit_name: str) -> str:
    """The difference of two policies with its standard error, and what it rests on."""
    scale = scale_of(item.outcome)
    head = (
        f"Tested on {item.n_units:,} {unit_name} whose outcomes no policy had seen, {row.name} is"
    )
    if row.share_differs == 0:
        return (
            f"{head} exactly 0 (standard error 0): both policies send all {unit_name} the same "
            f"message, so choosing by {row.first} changes nothing. The data of {_waves(item)} gave "
            "no reason to depart from one message for all."
        )
    text = f"{head} {estimate_text(row.effect, scale, item.level)}. {_differing(row, unit_name)}"
    if _better(item, row.effect) is None:
        text += f" {_inconclusive(item, row, scale)}"
    elif item.outcome.scale == "binary":
        text += f" That is about {in_units(abs(row.effect.estimate), unit_name)}."
    return text


def _by_groups_sentence(item: Evaluation, row: ContrastRow) -> str:
    """The same difference by the other estimator."""
    if not isinstance(row.randomized, EffectRow):
        return ""
    text = estimate_text(row.randomized, scale_of(item.outcome), item.level)
    return f" From the randomized groups alone it is {text}."


def _differing(row: ContrastRow, unit_name: str) -> str:
    share = percent(row.share_differs)
    if row.share_differs == 1:
        return f"The two policies may send different messages to all {unit_name}."
    return (
        f"The two policies send different messages to {share} of the {unit_name}; for the others "
        "the difference is 0 by construction."
    )


def _inconclusive(item: Evaluation, row: ContrastRow, scale: Scale) -> str:
    """What an interval that includes zero leaves possible, for the decision."""
    decimals = scale.decimals(row.effect.std_error)
    low, high = scale.bounds(row.effect.conf_low, row.effect.conf_high, decimals)
    good, bad = (high, low) if item.outcome.higher_is_better else (low, high)
    return (
        f"The interval includes 0: {row.first} may be worth up to {good} or cost as much as {bad} "
        f"{scale.effect_unit}."
    )


def advice(item: Evaluation, unit_name: str) -> tuple[str, str] | None:
    """What to use after the test of policies, from the first contrast; None without one."""
    if not item.contrasts:
        return None
    row = item.contrasts[0]
    better = _better(item, row.effect)
    hold = "Keep a small held-out group, to see whether the effect lasts."
    if better:
        return f"Use {row.first}", f"It beat {row.second} on outcomes that it had not seen. {hold}"
    if row.share_differs == 0:
        return f"Use {row.second}", f"{row.first} would send everybody the same message. {hold}"
    if better is False:
        text = f"{row.first} did worse on outcomes that it had not seen. {hold}"
        return f"Use {row.second}", text
    use, other, *_ = favoured(item, row)
    lead = f"Use {use}, though it is not shown to beat {other}"
    return lead, f"{stakes(item, row, unit_name)} {hold}"


def targeting(item: Evaluation, unit_name: str) -> tuple[str, str] | None:
    """Whether messaging can be limited to those who gain: the answer and its sentences."""
    if not item.curves and not item.spending:
        return None
    harmful = [row for row in item.curves if row.causal and row.misleads]
    half = min(item.spending, key=lambda row: abs(row.share - 0.5), default=None)
    told = [_curve_sentence(item, row) for row in item.curves]
    if half is not None:
        told = [
            _half_sentence(item, half, unit_name),
            *map(partial(_curve_sentence, item), harmful),
        ]
    if harmful:
        names = " and ".join(row.priority for row in harmful)
        lead = f"No: do not rank {unit_name} by the gain that {names} predicts"
        return lead, " ".join(told)
    if half is not None:
        return _half_lead(item, half, unit_name), " ".join(told)
    identified = any(row.causal and row.separates for row in item.curves)
    lead = "Yes: those who gain more can be identified" if identified else "Inconclusive"
    return lead, " ".join(told)


def _half_lead(item: Evaluation, row: SpendRow, unit_name: str) -> str:
    better = _sign_of(row.difference)
    amount = scale_of(item.outcome).amount(row.difference.estimate)
    share = percent(row.share, 0)
    if better is None:
        return "Inconclusive: choosing whom to message is not significantly better than at random"
    if better:
        return f"Yes: with messages for {share} of the {unit_name}, choosing whom adds {amount}"
    return f"No: choosing whom to message loses {amount} against choosing at random"


def _half_sentence(item: Evaluation, row: SpendRow, unit_name: str) -> str:
    scale = scale_of(item.outcome)
    changes, change = ("rises", "rise") if item.outcome.higher_is_better else ("falls", "fall")
    full = max(item.spending, key=lambda item: item.share)
    text = (
        f"With messages for the {percent(row.share, 0)} of the {unit_name} with the largest "
        f"predicted gain, chosen by {item.chosen_by}, the mean over all {changes} by "
        f"{_brief(row.targeted, scale)}; with {item.uniform} to as many at random it would "
        f"{change} by {_brief(row.uniform, scale)}; the difference is "
        f"{estimate_text(row.difference, scale, item.level)}."
    )
    if full.share == 1 and row.share < 1:
        text += f" What {item.chosen_by} chooses, sent to everybody, brings "
        text += _brief(full.targeted, scale)
        fewer = [item.targeted.estimate for item in item.spending if item.share < 1]
        if full.targeted.estimate > max(fewer):
            text += ", more than any smaller share: choose only where messages cost something"
        text += "."
    return text


def _curve_sentence(item: Evaluation, row: CurveRow) -> str:
    """Whether a ranking finds those who gain more, by whichever measure shows it."""
    scale = scale_of(item.outcome)
    by = f"the effect predicted by {row.priority}" if row.causal else row.priority
    if row.misleads:
        verdict = "does harm: it places those who gain more last"
    elif row.separates:
        verdict = "places those who gain more first"
    else:
        verdict = "does not significantly separate those who gain more"
    numbers = (
        f"AUTOC {estimate_text(row.autoc, scale, item.level)}; "
        f"Qini {estimate_text(row.qini, scale, item.level)}"
    )
    lower = "" if item.outcome.higher_is_better else ", a lower outcome counted as a gain"
    advised = " Choose at random where not everybody can be messaged." if row.misleads else ""
    return f"Ranking by {by} {verdict} from {item.message}: {numbers}{lower}.{advised}"


def evaluation_sentences(item: Evaluation, unit_name: str) -> tuple[str, ...]:
    """All that the section says, in its order: contrasts, targeting, what is missing."""
    whom = targeting(item, unit_name)
    return (
        *(
            f"{contrast_lead(item, row)}. "
            f"{contrast_sentence(item, row, unit_name)}{_by_groups_sentence(item, row)}"
            for row in item.contrasts
        ),
        *(() if whom is None else (f"{whom[0]}. {whom[1]}",)),
        *(
            _curve_sentence(item, row)
            for row in item.curves
            if item.spending and not (row.causal and row.misleads)
        ),
        *(
            f"{part[:1].upper()}{part[1:]}: not computed: {reason.rstrip('.')}."
            for part, reason in item.not_estimable
        ),
    )


def estimate_text(row: EffectRow, scale: Scale, level: float) -> str:
    """An estimate with its standard error and interval, e.g. ``+0.4 pp (standard error 0.3, ...)``.

    Examples
    --------
    >>> from wavewise.report.numbers import Scale
    >>> scale = Scale(100.0, "%", "percentage points", "pp")
    >>> text = estimate_text(EffectRow("a", .004, .003, -.002, .01), scale, .95)
    >>> text.replace("\u00a0", " ").replace("\u2212", "-")
    '+0.4 percentage points (standard error 0.3, 95 % interval -0.2 to +1.0)'
    """
    decimals = scale.decimals(row.std_error)
    error = signed(scale.factor * row.std_error, decimals).removeprefix("+")
    interval = scale.interval(row.conf_low, row.conf_high, decimals)
    return (
        f"{scale.effect(row.estimate, decimals)} (standard error {error}, "
        f"{percent(level, 0)} interval {interval})"
    )


def _brief(row: EffectRow, scale: Scale) -> str:
    return scale.effect(row.estimate, scale.decimals(row.std_error))


def favoured(item: Evaluation, row: ContrastRow) -> tuple[str, str, float, float]:
    """The policy that loses less in expectation, the other, chance of error and expected loss."""
    gain = item.outcome.sign * row.effect.estimate
    pair = (row.first, row.second) if gain > 0 else (row.second, row.first)
    return (*pair, *chance_and_loss(abs(gain), row.effect.std_error))


def stakes(item: Evaluation, row: ContrastRow, unit_name: str) -> str:
    """What either choice risks where two policies cannot be told apart, a sentence."""
    use, other, chance, loss = favoured(item, row)
    _, more = chance_and_loss(-abs(row.effect.estimate), row.effect.std_error)
    scale = scale_of(item.outcome)
    about = ""
    if item.outcome.scale == "binary":
        people = in_units(loss, unit_name)
        about = f", {people}" if people.startswith("fewer") else f", about {people}"
    return (
        f"Using {use} has a chance of error of {probability(chance)} and is expected to lose "
        f"{scale.amount(loss)}{about}; using {other}, {probability(1 - chance)} and "
        f"{scale.amount(more)} (normal posterior, flat prior)."
    )


def _better(item: Evaluation, row: EffectRow) -> bool | None:
    """True if the interval lies on the good side of 0, False on the bad side, None on neither."""
    positive = _sign_of(row)
    return None if positive is None else positive == item.outcome.higher_is_better


def _sign_of(row: EffectRow) -> bool | None:
    """Whether the interval lies above 0; None where it includes 0. For gains, more is better."""
    return row.estimate > 0 if excludes_zero(row) else None


def _waves(item: Evaluation) -> str:
    return " and ".join(item.learned_on) or "other data"
