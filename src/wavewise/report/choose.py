"""Which numbers speak for the study: its effects, its posterior, its best and next arm."""

from dataclasses import dataclass

from wavewise.report.contents import (
    EffectRow,
    EffectsContents,
    PosteriorContents,
    PosteriorRow,
    ReportContents,
)
from wavewise.results import CheckResult, NotEstimable

__all__ = [
    "Findings",
    "findings",
    "holds_zero",
    "ranked_effects",
    "ranked_posterior",
    "shown_better",
    "study_effects",
    "study_posterior",
    "withstands_adjustment",
]


@dataclass(frozen=True)
class Findings:
    """What the first screen speaks of.

    ``arm`` is the chosen arm, or the best one where nothing was chosen; None where nothing is
    known. ``chosen`` says which. ``effect`` and ``belief`` are its rows; ``next_effect`` and
    ``next_belief`` those of the best other arm.
    """

    arm: str | None
    chosen: bool
    effects: EffectsContents | None
    posterior: PosteriorContents | None
    effect: EffectRow | None
    next_effect: EffectRow | None
    belief: PosteriorRow | None
    next_belief: PosteriorRow | None
    reasons: tuple[str, ...]
    failed: tuple[CheckResult, ...]

    @property
    def beats_control(self) -> bool | None:
        """True if the arm is shown to be better than control, False if worse, None if neither."""
        if self.effects is None or self.effect is None:
            return None
        return shown_better(self.effects, self.effect)

    @property
    def none_beats_control(self) -> bool:
        """Whether no arm at all is shown to be better than control."""
        effects = self.effects
        return effects is None or not any(shown_better(effects, row) for row in effects.rows)

    @property
    def contrast(self) -> EffectRow | None:
        """The best arm's effect minus the next one's, if the arm spoken of is the best one."""
        if self.effects is None or self.effect is None:
            return None
        leads = ranked_effects(self.effects)[0].arm == self.effect.arm
        return self.effects.best_minus_next if leads else None

    @property
    def beats_next(self) -> bool | None:
        """True if the arm is shown to be better than the next one; None without a next arm.

        From their contrast where there is one. Otherwise from intervals that do not overlap, which
        suffices, since the difference's standard error is at most the sum of the two.
        """
        row, other = self.effect, self.next_effect
        if row is None or other is None or self.effects is None:
            return None
        if self.contrast is not None:
            return not holds_zero(self.contrast)
        if self.effects.outcome.higher_is_better:
            return row.conf_low > other.conf_high
        return row.conf_high < other.conf_low

    @property
    def next_is_better(self) -> bool:
        """Whether another arm has a better estimate than the arm spoken of."""
        row, other = self.effect, self.next_effect
        if row is None or other is None or self.effects is None or other.estimate == row.estimate:
            return False
        return (other.estimate > row.estimate) == self.effects.outcome.higher_is_better


def findings(contents: ReportContents) -> Findings:
    """The numbers that the first screen speaks of."""
    shown = study_effects(contents)
    effects = min(shown, key=_rank, default=None)
    posterior, reason = study_posterior(contents)
    by_effect = ranked_effects(effects) if effects else ()
    by_belief = ranked_posterior(posterior) if posterior else ()
    decided = contents.decision.arm if contents.decision else None
    leading = [row.arm for row in by_belief[:1]] + [row.arm for row in by_effect[:1]]
    arm = decided or (leading[0] if leading else None)
    return Findings(
        arm=arm,
        chosen=decided is not None,
        effects=effects,
        posterior=posterior,
        effect=next((row for row in by_effect if row.arm == arm), None),
        next_effect=next((row for row in by_effect if row.arm != arm), None),
        belief=next((row for row in by_belief if row.arm == arm), None),
        next_belief=next((row for row in by_belief if row.arm != arm), None),
        reasons=_reasons(effects, reason),
        failed=tuple(
            check for wave in contents.waves for check in wave.checks if check.passed is False
        ),
    )


def _rank(effects: EffectsContents) -> tuple[bool, bool]:
    """Registered before exploratory, primary before others; the first of equals."""
    return effects.exploratory, not effects.outcome.primary


def study_effects(contents: ReportContents) -> tuple[EffectsContents, ...]:
    """Effects of all waves together, or those of the last wave that has any."""
    if contents.effects:
        return contents.effects
    return next((wave.effects for wave in reversed(contents.waves) if wave.effects), ())


def study_posterior(contents: ReportContents) -> tuple[PosteriorContents | None, str]:
    """Posterior of all waves together, or the last wave's; and why there is none."""
    candidates = (contents.posterior, *(wave.posterior for wave in reversed(contents.waves)))
    found = next((item for item in candidates if item is not None), None)
    if isinstance(found, NotEstimable):
        return None, found.reason
    return found, ""


def holds_zero(row: EffectRow) -> bool:
    """Whether an interval includes no effect."""
    return row.conf_low <= 0 <= row.conf_high


def withstands_adjustment(effects: EffectsContents, row: EffectRow) -> bool:
    """Whether an effect stays significant when adjusted for the number of arms."""
    return row.p_adjusted is None or row.p_adjusted <= 1 - effects.level


def shown_better(effects: EffectsContents, row: EffectRow) -> bool | None:
    """True if an effect is shown to be for the better, False if for the worse, None if neither.

    Shown means that the interval leaves out zero, and that the adjusted p-value, where there is
    one, is no larger than the intervals' level allows.
    """
    if holds_zero(row) or not withstands_adjustment(effects, row):
        return None
    return (row.estimate > 0) == effects.outcome.higher_is_better


def ranked_effects(effects: EffectsContents) -> tuple[EffectRow, ...]:
    """Arms from best to worst estimate; ties by name."""
    sign = -1.0 if effects.outcome.higher_is_better else 1.0
    return tuple(sorted(effects.rows, key=lambda row: (sign * row.estimate, row.arm)))


def ranked_posterior(posterior: PosteriorContents) -> tuple[PosteriorRow, ...]:
    """Arms from lowest to highest expected regret; ties by probability and name."""
    return tuple(
        sorted(posterior.rows, key=lambda row: (row.policy_regret, -row.prob_optimal, row.arm))
    )


def _reasons(effects: EffectsContents | None, reason: str) -> tuple[str, ...]:
    rows = effects.not_estimable if effects else ()
    return tuple([f"{row.arm}: {row.reason}" for row in rows] + ([reason] if reason else []))
