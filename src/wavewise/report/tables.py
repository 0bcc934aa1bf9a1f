"""Tables of a report as text: headings, cells, and which columns hold numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from wavewise.report.choose import ranked_effects, ranked_posterior
from wavewise.report.contents import (
    EffectRow,
    EffectsContents,
    PosteriorContents,
    ReportContents,
    TruthContents,
    WaveContents,
)
from wavewise.report.numbers import (
    UNKNOWN,
    Scale,
    count,
    fixed,
    p_value,
    percent,
    probability,
    scale_of,
    sentence,
    signed,
)
from wavewise.report.values import plain
from wavewise.results import CheckResult

__all__ = [
    "Column",
    "Table",
    "check_table",
    "contrasts_table",
    "design_table",
    "effects_table",
    "flow_table",
    "posterior_table",
    "truth_table",
]

MOST_WAVE_COLUMNS = 4


@dataclass(frozen=True)
class Column:
    """A heading, whether its cells are numbers, and whether they are prose that may wrap."""

    label: str
    numeric: bool = True
    prose: bool = False


@dataclass(frozen=True)
class Table:
    """A table of text; ``marked`` is the first cell of the row to set off, ``total`` the last."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: str | None = None
    total: tuple[str, ...] = ()
    note: str = ""


ARM = Column("Arm", numeric=False)


def design_table(contents: ReportContents) -> Table:
    """The arms: what their units get, and their share of each wave."""
    content: dict[str, str] = {}
    for row in (row for wave in contents.waves for row in wave.arms):
        content.setdefault(row.arm, row.content)
    shown = contents.waves if len(contents.waves) <= MOST_WAVE_COLUMNS else ()
    shares = [wave.known_shares for wave in shown]
    columns = (
        ARM,
        Column("What its units get", numeric=False, prose=True),
        *(Column(f"Share of {wave.id}") for wave in shown),
    )
    rows = tuple(
        (arm, text, *(percent(share[arm]) if arm in share else UNKNOWN for share in shares))
        for arm, text in content.items()
    )
    return Table("The arms", columns, rows)


def flow_table(wave: WaveContents, unit_name: str) -> Table:
    """Units of a wave by arm: planned, assigned, with outcome, missing."""
    assigned = _total(row.n_assigned for row in wave.arms)
    with_outcome = _total(row.n_with_outcome for row in wave.arms)
    missing = _total(row.n_missing for row in wave.arms)
    columns = (
        ARM,
        Column("Planned share"),
        Column("Assigned"),
        Column("Realized share"),
        Column("With outcome"),
        Column("Missing"),
    )
    rows = tuple(
        (
            row.arm,
            UNKNOWN if row.share is None else percent(row.share),
            count(row.n_assigned),
            _part(row.n_assigned, assigned),
            count(row.n_with_outcome),
            _missing(row.n_missing, row.n_assigned),
        )
        for row in wave.arms
    )
    shares = wave.known_shares.values()
    planned = percent(min(sum(shares), 1.0), 0) if shares else UNKNOWN
    total = (
        "All arms",
        planned,
        count(assigned),
        _part(assigned, assigned),
        count(with_outcome),
        _missing(missing, assigned),
    )
    caption = f"{unit_name[:1].upper()}{unit_name[1:]} by arm"
    return Table(caption, columns, rows, total=total)


def _total(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if any(value is None for value in known) else sum(v for v in known if v is not None)


def _part(n: int | None, total: int | None) -> str:
    return UNKNOWN if n is None or not total else percent(n / total)


def _missing(n: int | None, total: int | None) -> str:
    return count(n) if not n or not total else f"{count(n)} ({percent(n / total)})"


def effects_table(effects: EffectsContents, best: str | None) -> Table:
    """Effects of the arms, best first."""
    return _effects(
        f"Effects on {effects.outcome.label}", "Arm", effects, ranked_effects(effects), best
    )


def contrasts_table(effects: EffectsContents) -> Table | None:
    """Further contrasts in the order of the plan; None if there are none."""
    rows = effects.contrasts
    if effects.best_minus_next is not None:
        rows = (effects.best_minus_next, *rows)
    table = _effects("Contrasts", "Contrast", effects, rows, None)
    return replace(table, note="") if rows else None


def _effects(
    caption: str,
    first: str,
    effects: EffectsContents,
    rows: tuple[EffectRow, ...],
    best: str | None,
) -> Table:
    scale = scale_of(effects.outcome)
    decimals = max((scale.decimals(row.std_error, 2) for row in rows), default=2)
    adjusted = any(row.p_adjusted is not None for row in rows)
    intervals = any(row.adjusted_low is not None for row in rows)
    unit = f" ({scale.short_unit})" if scale.short_unit else ""
    columns = [
        Column(first, numeric=False),
        Column(f"Effect{unit}"),
        Column("Std. error"),
        Column(f"{percent(effects.level, 0)} conf. interval"),
        Column("p"),
        *([Column("Adjusted p")] if adjusted else []),
        *([Column("Adjusted interval")] if intervals else []),
        Column("Units"),
    ]
    cells = tuple(_effect_cells(row, scale, decimals, adjusted, intervals) for row in rows)
    return Table(caption, tuple(columns), cells, marked=best, note=_effects_note(effects, scale))


def _effect_cells(
    row: EffectRow, scale: Scale, decimals: int, adjusted: bool, intervals: bool
) -> tuple[str, ...]:
    cells = [
        row.arm,
        signed(scale.factor * row.estimate, decimals),
        fixed(scale.factor * row.std_error, decimals),
        _interval(scale, row.conf_low, row.conf_high, decimals),
        p_value(row.p_value),
    ]
    if adjusted:
        cells.append(UNKNOWN if row.p_adjusted is None else p_value(row.p_adjusted))
    if intervals:
        cells.append(_interval(scale, row.adjusted_low, row.adjusted_high, decimals))
    return (*cells, count(row.n_units))


def _interval(scale: Scale, low: float | None, high: float | None, decimals: int) -> str:
    if low is None or high is None:
        return UNKNOWN
    return " to ".join(scale.bounds(low, high, decimals))


def _effects_note(effects: EffectsContents, scale: Scale) -> str:
    parts = []
    if effects.control_mean is not None:
        mean = scale.level(effects.control_mean, scale.decimals(0.01 * abs(effects.control_mean)))
        units = f" over {count(effects.control_n_units)} units" if effects.control_n_units else ""
        parts.append(f"Mean in {effects.control}: {mean}{units}.")
    if effects.adjustment:
        parts.append(f"Adjusted for the number of arms: {effects.adjustment}.")
    if effects.joint_p_value is not None:
        text = p_value(effects.joint_p_value)
        sign = "" if text.startswith("<") else "= "
        parts.append(f"Joint test that no arm has an effect: p {sign}{text}.")
    return " ".join(parts)


def posterior_table(posterior: PosteriorContents, best: str | None) -> Table:
    """Posterior of the arms, lowest expected regret first."""
    scale = scale_of(posterior.outcome)
    ranked = ranked_posterior(posterior)
    counts = any(row.trials is not None for row in ranked)
    decimals = max((scale.decimals((row.high - row.low) / 4, 2) for row in ranked), default=2)
    level = f" ({scale.level_unit})" if scale.level_unit else ""
    columns = (
        ARM,
        *((Column("Successes"), Column("Trials")) if counts else ()),
        Column(f"Mean{level}"),
        Column(f"{percent(posterior.interval_prob, 0)} cred. interval"),
        Column("Prob. best"),
        Column("Expected regret"),
    )
    rows = tuple(
        (
            row.arm,
            *((count(row.successes), count(row.trials)) if counts else ()),
            fixed(scale.factor * row.mean, decimals),
            " to ".join(fixed(scale.factor * end, decimals) for end in (row.low, row.high)),
            probability(row.prob_optimal),
            _short_amount(scale, row.policy_regret),
        )
        for row in ranked
    )
    return Table(
        f"Belief about {posterior.outcome.label}",
        columns,
        rows,
        marked=best,
        note=_posterior_note(posterior),
    )


def _posterior_note(posterior: PosteriorContents) -> str:
    waves = f"Data of {', '.join(posterior.learned_on)}." if posterior.learned_on else ""
    return f"{sentence(posterior.model)} {waves}".strip()


def _short_amount(scale: Scale, value: float) -> str:
    return scale.amount(value).replace(scale.effect_unit, scale.short_unit)


def truth_table(
    truth: TruthContents, effects: EffectsContents | None, posterior: PosteriorContents | None
) -> Table:
    """The known truth of a simulation beside the estimates and their intervals."""
    estimates = {row.arm: row for row in effects.rows} if effects else {}
    beliefs = {row.arm: row for row in posterior.rows} if posterior else {}
    scale = scale_of(truth.outcome)
    ranked = sorted(truth.rows, key=lambda row: (-row.mean, row.arm))
    columns = [ARM, Column("True mean")]
    if beliefs:
        columns += [Column("Posterior"), Column("Cred. interval"), Column("Holds it?")]
    if estimates:
        columns += [Column("True effect"), Column("Estimate")]
        columns += [Column("Conf. interval"), Column("Holds it?")]
    rows = []
    for row in ranked:
        cells = [row.arm, scale.level(row.mean, 2)]
        if beliefs:
            belief = beliefs.get(row.arm)
            value = (belief.mean, belief.low, belief.high) if belief else None
            cells += _beside(scale, row.mean, value, signs=False)
        if estimates:
            found = estimates.get(row.arm)
            value = (found.estimate, found.conf_low, found.conf_high) if found else None
            cells.append(UNKNOWN if row.effect is None else signed(scale.factor * row.effect, 2))
            cells += _beside(scale, row.effect, value, signs=True)
        rows.append(tuple(cells))
    return Table("Truth and estimates", tuple(columns), tuple(rows))


def _beside(
    scale: Scale, truth: float | None, value: tuple[float, float, float] | None, *, signs: bool
) -> list[str]:
    if value is None:
        return [UNKNOWN, UNKNOWN, UNKNOWN]
    printed = signed if signs else fixed
    estimate, low, high = (printed(scale.factor * x, 2) for x in value)
    holds = UNKNOWN if truth is None else "yes" if value[1] <= truth <= value[2] else "no"
    return [estimate, f"{low} to {high}", holds]


def check_table(check: CheckResult) -> Table | None:
    """The numbers behind a check; None if it brings none."""
    if not check.table:
        return None
    keys = list(dict.fromkeys(key for row in check.table for key in row))
    numeric = {key: all(_is_number(plain(row.get(key))) for row in check.table) for key in keys}
    columns = tuple(Column(key.replace("_", " "), numeric=numeric[key]) for key in keys)
    rows = tuple(tuple(_cell(plain(row.get(key))) for key in keys) for row in check.table)
    return Table(check.name, columns, rows)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return _float(value) if isinstance(value, float) else str(value)


def _float(value: float) -> str:
    if value and abs(value) < 1e-4:
        return f"{value:.1e}".replace("-", "\u2212")
    return fixed(value, 4 if abs(value) < 1 else 2)
