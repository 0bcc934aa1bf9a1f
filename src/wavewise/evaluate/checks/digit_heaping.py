"""Scores that sit on round numbers."""

from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.randomize import balance
from wavewise.shared.inputs import aligned, check_size, encode, encode_or_one, read_outcome
from wavewise.shared.renamed import renamed
from wavewise.shared.results import CheckResult, FloatArray

__all__ = ["heaping"]

_NAME = "heaping on round numbers"
_FEWEST = 30
_SUBSTANTIAL = 1.25  # round numbers against their neighbours
_WORST = 10  # clusters shown


@renamed(alpha="size")
@aligned("value", "arm", "cluster")
def heaping(
    value: Any, *, arm: Any = None, cluster: Any = None, step: int = 5, size: float = 0.001
) -> CheckResult:
    """Whether multiples of `step` come up more often than the numbers beside them.

    Parameters
    ----------
    value : array-like, shape (n_units,)
        Counts or scores; those that are no whole numbers are left out.
    arm, cluster : array-like, shape (n_units,), optional
        Arms, over which heaping is compared, and clusters (schools, classes), each tested.
    step : int
        Round numbers are its multiples; 3 or more.
    size : float
        Probability of a false alarm.

    Returns
    -------
    CheckResult
        First row of ``table``: all values; then arms; then the clusters with the most heaping.
        ``ratio`` is round numbers over the mean of their neighbours, 1 where there is no heaping.
        ``number`` is the ratio over all.

    Raises
    ------
    InputError
        Where lengths differ or `step` is below 3.

    Notes
    -----
    Whole numbers fall into windows of `step` around each multiple; where values are spread smoothly
    a multiple holds one in `step` of its window, so that their number is binomial. Zero, which is a
    value of its own, and the window around it are left out. It fails where the test rejects and
    the ratio is above 1.25.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> smooth = rng.integers(3, 98, 600)
    >>> heaping(smooth).verdict, heaping(np.where(smooth % 3 == 0, smooth // 5 * 5, smooth)).verdict
    ('pass', 'fail')
    """
    check_size(size)
    if step < 3:
        raise InputError(f"step: found {step!r}; needed 3 or more")
    values = read_outcome(value, "value")
    arms = None if arm is None else encode(arm, "arm", values.size)
    groups = None if cluster is None else encode_or_one(cluster, "cluster", values.size)
    used = ~np.isnan(values)
    used &= np.where(used, values, 0.5) % 1 == 0
    used &= np.abs(np.where(used, values, 0.0)) > step // 2
    near = np.abs(np.where(used, values, 1.0))
    used &= np.minimum(near % step, step - near % step) <= (step - 1) // 2
    round_ = used & (near % step == 0)
    window = 2 * ((step - 1) // 2) + 1
    rows = [_row("all", None, round_[used], window)]
    for kind, labels in (("arm", arms), ("cluster", groups)):
        if labels is not None:
            parts = [
                _row(kind, name, round_[used & (labels.codes == k)], window)
                for k, name in enumerate(labels.names)
            ]
            worst = sorted(parts, key=lambda row: row["p_value"])
            rows += parts if kind == "arm" else worst[:_WORST]
    scope = f"{int(used.sum()):,} whole numbers of {values.size:,} values, multiples of {step}"
    by_arm = _by_arm(round_, used, arms, size)
    n_clusters = 0 if groups is None else len(groups.names)
    return CheckResult(_NAME, scope, *_judged(rows, by_arm, n_clusters, size, step))


def _row(kind: str, name: str | None, is_round: Any, window: int) -> dict[str, Any]:
    from scipy.special import bdtrc

    n, n_round = int(is_round.size), int(is_round.sum())
    beside = (n - n_round) / (window - 1)
    return {
        "of": kind,
        "name": name,
        "n_values": n,
        "n_round": n_round,
        "ratio": n_round / beside if beside else None,
        "p_value": float(bdtrc(n_round - 1, n, 1 / window)) if n_round else 1.0,
    }


def _by_arm(round_: FloatArray, used: Any, arms: Any, size: float) -> CheckResult | None:
    if arms is None or used.sum() < _FEWEST:
        return None
    names = np.array(arms.names)[arms.codes[used]]
    return balance({"round number": round_[used].astype(np.float64)}, names, size=size)


def _judged(
    rows: list[dict[str, Any]], by_arm: CheckResult | None, n_clusters: int, size: float, step: int
) -> tuple[bool | None, str, tuple[dict[str, Any], ...], float | None, str]:
    whole = rows[0]
    if whole["n_values"] < _FEWEST:
        text = f"Found {whole['n_values']} whole numbers; {_FEWEST} are needed to tell."
        return None, text, tuple(rows), None, ""
    ratio = float("inf") if whole["ratio"] is None else float(whole["ratio"])
    text = (
        f"Multiples of {step} come up {ratio:.2f} times as often as the numbers beside them "
        f"({whole['n_round'] / whole['n_values']:.0%} of the values)."
    )
    bad = [r for r in rows if r["of"] == "cluster" and r["p_value"] * n_clusters < size]
    if bad:
        text += f" Heaping is clear in {len(bad)}{'+' * (len(bad) == _WORST)} clusters."
    differs = by_arm is not None and by_arm.passed is False
    if differs:
        text += " Arms differ in it: rounding is not the same error for all."
    failed = (whole["p_value"] < size and ratio > _SUBSTANTIAL) or differs
    advice = (
        "Ask how scores are taken; rounding adds noise, not bias, as long as arms round alike; do "
        "not cut groups at round numbers."
    )
    return not failed, text, tuple(rows), ratio, advice if failed else ""
