"""Batched least squares: effects within waves, put together so that their sum is normal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.adaptive.data import (
    ordered_waves,
    parts_of,
    read_observed,
    read_strata,
    reasons_of_empty_arms,
    reasons_of_empty_strata,
)
from wavewise.estimate.adaptive.results import AdaptiveEstimates, adaptive_table
from wavewise.estimate.effects.table import check_level
from wavewise.shared.inputs import aligned
from wavewise.shared.results import (
    BoolArray,
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    hash_arrays,
)

__all__ = ["batched_ols"]

_FEWEST = 2  # units of an arm in a wave


@aligned("outcome", "arm", "wave", "strata")
def batched_ols(
    outcome: Any,
    arm: Any,
    wave: Any,
    *,
    variance: Literal["wave", "arm"] = "wave",
    level: float = 0.95,
    strata: Any = None,
    arms: Sequence[Any] | None = None,
    waves: Sequence[Any] | None = None,
) -> AdaptiveEstimates:
    """Arm means, and contrasts with the first arm, from means within waves.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Not-a-number where it is missing.
    arm, wave : array-like, shape (n_units,)
        Labels of the arm that was drawn and of the wave.
    variance : {"wave", "arm"}
        Whether outcomes vary alike within a wave (as in the paper), or differently by arm. The
        latter needs waves with 20 units or more of each arm: from two or three units a variance
        comes out near zero now and then, and that wave then has nearly all the weight.
    level : float
        In (0, 1).
    strata : array-like, shape (n_units,), optional
        Strata within which shares differ: estimates are made within each and averaged by the
        strata's numbers of units.
    arms : sequence of labels, optional
        All arms; the first is the one that others are compared with. Sorted by default.
    waves : sequence of labels, optional
        The waves in time.

    Returns
    -------
    AdaptiveEstimates
        A contrast is computed from differences within waves; it is not the difference of the two
        arm means, so that drift between waves, alike for all arms, cancels in it.

    Raises
    ------
    InputError
        Where arrays do not fit together.
    EstimationError
        Where there are fewer than two waves.

    Notes
    -----
    In wave b let D_b be the difference of two arm means and s_b its standard error. Given the
    past, ``(D_b - D) / s_b`` is asymptotically standard normal whatever the shares, so that
    ``sum_b (D_b - D) / s_b`` over the root of the number of waves is: the estimate is
    ``sum_b (D_b / s_b) / sum_b (1 / s_b)`` with standard error ``B^(1/2) / sum_b (1 / s_b)``. A
    wave counts for a contrast where both arms have at least two units in it. The same holds for
    means. Covariances of contrasts sum those within waves; no propensity is needed.

    References
    ----------
    Zhang, Janson and Murphy (2020), "Inference for batched bandits", theorem 3 and section 4.

    Examples
    --------
    >>> y = [1.0, 2.0, 4.0, 6.0, 2.0, 3.0, 5.0, 8.0]
    >>> found = batched_ols(y, list("aabbaabb"), [1, 1, 1, 1, 2, 2, 2, 2])
    >>> found.to_frame()["estimate"].round(4).to_list()
    [1.9142, 5.6213, 3.7071]
    """
    check_level(level)
    if variance not in {"arm", "wave"}:
        raise InputError(f"variance: found {variance!r}; needed 'arm' or 'wave'")
    observed = read_observed(outcome, arm, arms)
    when, names = ordered_waves(wave, observed.arm.size, waves)
    kept = observed.known
    y, codes, when = observed.outcome[kept], observed.arm[kept], when[kept]
    n_arms = len(observed.arms)
    within = read_strata(strata, observed.arm.size)
    own = np.eye(n_arms)
    differences = own[1:] - own[0]
    cells = [
        (_cells(y[rows], codes[rows], when[rows], (len(names), n_arms), variance == "wave"), weight)
        for rows, weight in parts_of(within, kept)
    ]
    means = _averaged(cells, own)
    contrasts = _averaged(cells, differences)
    return adaptive_table(
        observed.arms,
        means[0],
        means[1],
        observed.counts(kept),
        n_missing=observed.counts(~kept),
        level=level,
        reasons=_reasons(observed.arms, means[2], contrasts[2], observed.counts(kept))
        | reasons_of_empty_strata(observed, within)
        | reasons_of_empty_arms(observed),
        contrasts=contrasts[:2],
        se=f"batched, variance by {variance}",
        assumptions=_ASSUMPTIONS,
        provenance=Provenance(
            f"batched least squares, {len(names)} waves"
            + ("" if within is None else f", averaged over {len(within.names):,} strata"),
            hash_arrays(
                outcome=y,
                arm=codes,
                wave=when,
                strata=None if within is None else within.code[kept],
            ),
        ),
    )


_ASSUMPTIONS = (
    "Arms were drawn at random within each wave, with shares that may follow earlier waves.",
    "The outcome of one unit does not depend on the arms of others.",
    "Whether an outcome is missing does not depend on the arm and the outcome together.",
    "Effects are the same in all waves; waves are large enough for means to be normal in each.",
)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Means by wave and arm, their variances, and whether a cell is large enough."""

    mean: FloatArray
    variance: FloatArray
    usable: BoolArray


def _cells(
    y: FloatArray, arm: IntArray, when: IntArray, shape: tuple[int, int], pooled: bool
) -> _Cells:
    cell, size = when * shape[1] + arm, shape[0] * shape[1]
    n = np.bincount(cell, minlength=size)
    mean = np.bincount(cell, weights=y, minlength=size) / np.maximum(n, 1)
    squares = np.bincount(cell, weights=(y - mean[cell]) ** 2, minlength=size)
    n, mean, squares = n.reshape(shape), mean.reshape(shape), squares.reshape(shape)
    if pooled:
        df = np.maximum((n - (n > 0)).sum(axis=1), 1)
        spread = np.tile((squares.sum(axis=1) / df)[:, None], (1, shape[1]))
    else:
        spread = squares / np.maximum(n - 1, 1)
    usable = (n >= _FEWEST) & (spread > 0)
    return _Cells(mean, np.where(usable, spread / np.maximum(n, 1), 0.0), usable)


def _averaged(
    cells: list[tuple[_Cells, float]], weights: FloatArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Estimates and covariance averaged over strata, and the fewest waves that one rests on."""
    found = [(_combined(one, weights), share) for one, share in cells]
    estimate = np.sum([share * one[0] for one, share in found], axis=0)
    cov = np.sum([share**2 * one[1] for one, share in found], axis=0)
    return estimate, cov, np.min([one[2] for one, _ in found], axis=0)


def _combined(cells: _Cells, weights: FloatArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Estimates and covariance of linear combinations, and the waves that each rests on."""
    needed: BoolArray = weights != 0
    usable = (cells.usable[:, None, :] | ~needed).all(axis=2)  # (n_waves, n_rows)
    each = cells.mean @ weights.T
    within = np.einsum("rk,bk,sk->brs", weights, cells.variance, weights)
    std_error = np.sqrt(np.einsum("brr->br", within))
    pull = np.where(usable, 1 / np.where(usable, std_error, 1.0), 0.0)
    total = np.where(pull.sum(axis=0) > 0, pull.sum(axis=0), 1.0)
    estimate = (pull * each).sum(axis=0) / total
    cov = np.einsum("br,brs,bs->rs", pull, within, pull) / np.outer(total, total)
    return estimate, cov, usable.sum(axis=0)


def _reasons(
    arms: tuple[str, ...], of_means: IntArray, of_contrasts: IntArray, counts: IntArray
) -> dict[str, NotEstimable]:
    """Arms and contrasts that no wave tells about, but for arms without known outcomes."""
    reason = NotEstimable(
        f"no wave has {_FEWEST} units or more, with outcomes that vary, in the arms it needs"
    )
    means = zip(arms, of_means, counts > 0, strict=True)
    found = {arm: reason for arm, n, known in means if n == 0 and known}
    contrasts = zip(arms[1:], of_contrasts, (counts[1:] > 0) & (counts[0] > 0), strict=True)
    return found | {f"{arm} - {arms[0]}": reason for arm, n, known in contrasts if n == 0 and known}
