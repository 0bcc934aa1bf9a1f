"""Which, for whom, whether: three answers of a tested wave, with what a mistake would cost.

Read from what `evaluate` found. One quantity, one estimator: which and whether are as randomized;
for whom is the registered contrast by doubly robust scores. The chance of error and the expected
loss are those of a normal posterior with a flat prior, since no other is registered.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from wavewise.design.spec import StudySpec
from wavewise.design.waves import Arm, Wave

__all__ = ["ThreeAnswer", "arm_labels", "three_answers"]


@dataclass(frozen=True)
class ThreeAnswer:
    """One question, its answer, and how wrong it may be; on the outcome's own scale."""

    question: Literal["which", "for whom", "whether"]
    choice: str  # Label of what has the larger estimate.
    other: str  # Label of what it is compared with.
    gain: float
    std_error: float
    conf_low: float
    conf_high: float
    prob_error: float  # That the other is as good or better.
    expected_loss: float  # On average over what the data leave open, by choosing it.
    estimator: Literal["as randomized", "doubly robust"]

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval excludes 0."""
        return self.conf_low > 0 or self.conf_high < 0


def arm_labels(spec: StudySpec, wave: Wave) -> dict[str, str]:
    """What to call each arm of a wave: its label, or those of its messages."""
    names = spec.message_names
    return {arm.id: _label(arm, names) for arm in spec.arms_of(wave)}


def _label(arm: Arm, names: Mapping[str, str]) -> str:
    if arm.label is not None:
        return arm.label
    steps = [names.get(one, one) for one in arm.sequence]
    if not steps:
        return arm.id
    return (
        f"{steps[0]}, twice" if len(steps) == 2 and steps[0] == steps[1] else ", then ".join(steps)
    )


def three_answers(
    spec: StudySpec, wave: Wave, evaluation: Mapping[str, Any]
) -> tuple[ThreeAnswer, ...]:
    """The answers that an evaluation gives; fewer where it could not estimate one."""
    return tuple(_answers(spec, wave, evaluation))


def _answers(spec: StudySpec, wave: Wave, found: Mapping[str, Any]) -> Iterator[ThreeAnswer]:
    labels, sign = arm_labels(spec, wave), spec.primary.sign
    effects = next(
        (one for one in found["effects"] if one["outcome"] == found["outcome"]), {"rows": ()}
    )
    rows = [row for row in effects["rows"] if row["estimate"] is not None]
    if not rows:
        return
    ranked = sorted(rows, key=lambda row: -sign * row["estimate"])
    best = ranked[0]
    if len(ranked) > 1:
        yield _between(effects, best, ranked[1], labels, sign)
    personal = next(iter(found.get("contrasts", ())), None)
    if personal is not None and "estimate" in (robust := personal.get("doubly_robust", {})):
        yield _answer(
            "for whom",
            (personal["first"], personal["second"]),
            (robust["estimate"], robust["std_error"]),
            (robust["conf_low"], robust["conf_high"]),
            labels,
            sign,
            "doubly robust",
        )
    control = str(effects.get("control", ""))
    yield _answer(
        "whether",
        (best["arm"], control),
        (best["estimate"], best["std_error"]),
        (best["conf_low"], best["conf_high"]),
        {**labels, control: "no message"},
        sign,
    )


def _between(
    effects: Mapping[str, Any],
    best: Mapping[str, Any],
    second: Mapping[str, Any],
    labels: Mapping[str, str],
    sign: float,
) -> ThreeAnswer:
    """The best against the next best: their estimates share those who got nothing."""
    arms = [row["arm"] for row in effects["rows"]]
    i, j = arms.index(best["arm"]), arms.index(second["arm"])
    cov = effects["cov"]
    error = math.sqrt(max(cov[i][i] + cov[j][j] - 2 * cov[i][j], 0.0))
    gain = best["estimate"] - second["estimate"]
    half = _quantile(0.5 + effects["level"] / 2) * error
    return _answer(
        "which",
        (best["arm"], second["arm"]),
        (gain, error),
        (gain - half, gain + half),
        labels,
        sign,
    )


def _answer(
    question: Literal["which", "for whom", "whether"],
    pair: tuple[str, str],
    estimate: tuple[float, float],
    interval: tuple[float, float],
    labels: Mapping[str, str],
    sign: float,
    estimator: Literal["as randomized", "doubly robust"] = "as randomized",
) -> ThreeAnswer:
    from wavewise.report.effects import chance_and_loss  # it loads what estimates

    gain, error = estimate
    first, second = (labels.get(name, name) for name in pair)
    if sign * gain < 0:  # the other is better: say it so
        first, second, gain = second, first, -gain
        interval = (-interval[1], -interval[0])
    chance, loss = chance_and_loss(abs(gain), error)
    return ThreeAnswer(question, first, second, gain, error, *interval, chance, loss, estimator)


def _quantile(prob: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(prob))
