"""Linear combinations of effects, as a table of their own."""

from collections.abc import Sequence

import numpy as np

from wavewise.estimate.effect_table import EffectTable
from wavewise.estimate.sandwich import Precision
from wavewise.results import FloatArray, NotEstimable, read_only

__all__ = ["contrast_table"]


def contrast_table(
    effects: EffectTable,
    precision: Precision,
    estimable: tuple[str, ...],
    *,
    names: tuple[str, ...],
    weights: FloatArray,
    n_units: Sequence[int],
) -> EffectTable:
    """Linear combinations of effects, each with its own degrees of freedom.

    Parameters
    ----------
    effects : EffectTable
        Effects of the arms.
    precision : Precision
        Covariance of the estimable effects.
    estimable : tuple of str
        Arms that `precision` holds, in its order.
    names : tuple of str
        Names of the contrasts.
    weights : array of float, shape (n_contrasts, n_arms - 1)
        Weight of each arm's effect in each contrast.
    n_units : sequence of int
        Units of each contrast.
    """
    columns = [effects.names.index(arm) for arm in estimable]
    inner = weights[:, columns]
    estimate = inner @ effects.estimate[columns]
    cov = inner @ precision.cov @ inner.T
    df = np.full(len(names), np.nan)
    reasons: dict[str, NotEstimable] = {}
    for row, name in enumerate(names):
        missing = [a for a, w in zip(effects.names, weights[row], strict=True) if w]
        missing = [a for a in missing if a not in estimable]
        if missing:
            reasons[name] = _inherited(effects, missing[0], name)
            estimate[row] = np.nan
        elif (refusal := precision.refusal(inner[row])) is not None:
            reasons[name] = NotEstimable(refusal)
        else:
            df[row] = precision.df(inner[row])
            continue
        cov[row, :] = cov[:, row] = np.nan
    return EffectTable(
        names=names,
        estimate=read_only(estimate),
        cov=read_only(cov),
        df=read_only(df),
        n_units=read_only(n_units, np.int64),
        level=effects.level,
        se=effects.se,
        not_estimable=reasons,
    )


def _inherited(effects: EffectTable, arm: str, name: str) -> NotEstimable:
    reason = effects.not_estimable[arm]
    return reason if arm == name else NotEstimable(f"'{arm}': {reason.reason}")
