"""Whether the control's outcome stays the same from wave to wave."""

from typing import Any

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.effects.ate import ate
from wavewise.shared.inputs import aligned, check_size, encode, encode_or_one, read_outcome
from wavewise.shared.labels import label_text
from wavewise.shared.renamed import renamed
from wavewise.shared.results import CheckResult

__all__ = ["control_drift"]

_NAME = "drift of the control between waves"


@renamed("control", alpha="size")
@aligned("outcome", "arm", "wave", "cluster")
def control_drift(
    outcome: Any,
    arm: Any,
    wave: Any,
    *,
    control: Any = "control",
    cluster: Any = None,
    size: float = 0.01,
) -> CheckResult:
    """Whether waves are comparable: the control's mean is the same in all of them.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Not-a-number where it is missing.
    arm, wave : array-like, shape (n_units,)
        Labels.
    control : label
        The arm without a message, which no wave's messages change.
    cluster : array-like, shape (n_units,), optional
        Groups whose units may be alike.
    size : float
        Probability of a false alarm.

    Returns
    -------
    CheckResult
        One row of ``table`` a wave: units, mean, difference from the first wave, p value.
        ``number`` is the largest absolute difference.

    Raises
    ------
    InputError
        Where lengths differ.

    Notes
    -----
    A Wald test that the differences from the first wave are all zero, HC2 or, with clusters, CR1.
    Waves hold different people, so a difference may be theirs as well as time's; either way arms
    that got their units in different waves are not comparable without taking waves into account.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> wave = np.repeat([1, 2], 200)
    >>> check = control_drift(rng.normal(size=400) + wave, ["control"] * 400, wave)
    >>> check.verdict, round(check.number, 1)
    ('fail', 1.0)
    """
    check_size(size)
    values = read_outcome(outcome, "outcome")
    control = label_text(control)
    arms, waves = encode(arm, "arm", values.size), encode_or_one(wave, "wave", values.size)
    mine = np.array([name == control for name in arms.names])[arms.codes] & ~np.isnan(values)
    scope = f"{int(mine.sum()):,} units of {control}, {len(waves.names)} waves"
    counts = np.bincount(waves.codes[mine], minlength=len(waves.names))
    if len(waves.names) < 2 or (counts < 2).any():
        text = f"Needed two waves with two known outcomes of {control} in each."
        return CheckResult(_NAME, scope, None, text)
    groups = None if cluster is None else encode_or_one(cluster, "cluster", values.size).codes[mine]
    try:
        found = ate(
            values[mine],
            np.array(waves.names)[waves.codes[mine]],
            control=waves.names[0],
            cluster=groups,
            se="HC2" if groups is None else "CR1",
        )
    except EstimationError as error:
        return CheckResult(_NAME, scope, None, f"No comparison: {error.message}")
    if found.not_estimable:
        return CheckResult(_NAME, scope, None, "The control's outcomes do not vary within waves.")
    return CheckResult(_NAME, scope, *_judged(found, waves.names, size, control))


def _judged(
    found: Any, waves: tuple[str, ...], size: float, control: str
) -> tuple[bool, str, tuple[dict[str, Any], ...], float, str]:
    from scipy.special import chdtrc

    wald = float(found.estimate @ np.linalg.solve(found.cov, found.estimate))
    p_value = float(chdtrc(found.estimate.size, wald))
    largest = int(np.argmax(np.abs(found.estimate)))
    number = float(abs(found.estimate[largest]))
    rows = [{"wave": row["arm"], "n_units": row["n_units"], "mean": row["mean"]}
            for row in found.means().to_dicts()]  # fmt: skip
    for row, (difference, p) in zip(
        rows[1:], zip(found.estimate, found.p_value, strict=True), strict=True
    ):
        row |= {"difference": float(difference), "p_value": float(p)}
    text = (
        f"The mean of {control} in {found.names[largest]} is {number:.3g} "
        f"{'above' if found.estimate[largest] > 0 else 'below'} that in {waves[0]} "
        f"(all waves: p = {p_value:.3g})."
    )
    advice = (
        "Compare arms within waves only (strata by wave, batched_ols); pooled means mix arms with "
        "times, as do models that take an arm's mean to be the same in all waves."
    )
    passed = p_value >= size
    return passed, text, tuple(rows), number, "" if passed else advice
