"""What the arm that came out best is worth, once it is allowed for that it was picked for it."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import polars as pl

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effect_table import check_level
from wavewise.estimate.max_normal import max_abs_quantile
from wavewise.estimate.truncated_normal import mean_at_quantile
from wavewise.estimate.winner_input import Ranked, read_ranked, truncation_set
from wavewise.results import Provenance, hash_arrays

__all__ = ["WHICH_INTERVAL", "Winner", "WinnerMethod", "winner"]

WinnerMethod = Literal["hybrid", "conditional", "projection"]
_FIRST_STAGE_SHARE = 0.1  # of the error that the hybrid spends on the projection interval

WHICH_INTERVAL = (
    "Use the hybrid interval: it is close to the usual one where one arm wins clearly and never "
    "much longer than the projection interval where arms are nearly tied. Use the projection "
    "interval if it must hold however the arm was picked, and the conditional one if it must hold "
    "among just those studies that pick this arm; near ties that one can be of any length."
)
_AT_A_TIE = (
    "The arm shares its estimate with another: which of them has the rank tells nothing, and the "
    "hybrid is all of the projection interval that it always lies in."
)
_MEANING = {
    "hybrid": "conditional on which arm came out at this rank and within a projection interval",
    "conditional": "conditional on which arm came out at this rank",
    "projection": "simultaneous over all arms, hence for whichever was picked",
}


@dataclass(frozen=True, kw_only=True)
class Winner:
    """Estimate and interval of the arm at a rank.

    Parameters
    ----------
    arm : int
        Index of the arm that has the rank.
    rank : int
        0 for the largest estimate.
    estimate : float
        Median-unbiased estimate; for the projection interval, which has none, the usual one.
    conf_low, conf_high : float
        Interval at `level`.
    method : str
        Name of the interval.
    level : float
        In (0, 1).
    naive_estimate, std_error : float
        The usual estimate of the arm and its standard error.
    median_unbiased : bool
        Whether `estimate` is above the truth as often as below it (the hybrid: nearly, and not at
        a tie).
    n_arms : int
        Arms that were ranked.
    n_tied : int
        Other arms with the same estimate.
    provenance : Provenance
        Method and hash of the estimates.
    """

    arm: int
    rank: int
    estimate: float
    conf_low: float
    conf_high: float
    method: WinnerMethod
    level: float
    naive_estimate: float
    std_error: float
    median_unbiased: bool
    n_arms: int
    n_tied: int
    provenance: Provenance

    @property
    def conf(self) -> tuple[float, float]:
        """The interval (lower, upper)."""
        return self.conf_low, self.conf_high

    def to_frame(self) -> pl.DataFrame:
        """One row: the arm, its estimates, its interval and the interval's name."""
        row = {key: value for key, value in vars(self).items() if key != "provenance"}
        return pl.DataFrame([row])

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, for JSON; an end that is infinite is null."""
        row = {key: _finite(value) for key, value in vars(self).items() if key != "provenance"}
        return {"version": 1, "kind": "winner", **row, "provenance": self.provenance.to_dict()}

    def summary(self) -> str:
        """The interval in a sentence with its name, and which one to use."""
        tie = f"\n{_AT_A_TIE}" if self.n_tied and self.method == "hybrid" else ""
        what = "Median-unbiased estimate" if self.median_unbiased else "Estimate (not corrected)"
        return (
            f"Arm {self.arm}, rank {self.rank + 1} of {self.n_arms}: {what} {self.estimate:.6g}, "
            f"{self.level:.0%} {self.method} interval {self.conf_low:.6g} to {self.conf_high:.6g} "
            f"({_MEANING[self.method]}); usual estimate {self.naive_estimate:.6g}, standard error "
            f"{self.std_error:.6g}.{tie}\n{WHICH_INTERVAL}\n"
            "Assumes estimates that are normal with a known covariance: after adaptive assignment "
            "take weighted ones, not plain means."
        )


def winner(
    estimate: Any,
    cov: Any,
    method: WinnerMethod = "hybrid",
    level: float = 0.95,
    rank: int = 0,
) -> Winner:
    """Estimate and interval of the arm with the largest estimate, or at another rank.

    Parameters
    ----------
    estimate : array-like, shape (n_arms,)
        Estimates of the arms, where more is better.
    cov : array-like, shape (n_arms, n_arms) or (n_arms,)
        Their covariance, or their variances where they are independent.
    method : {"hybrid", "conditional", "projection"}
        Kind of interval.
    level : float
        In (0, 1).
    rank : int
        0 for the largest estimate, 1 for the second, and so on.

    Returns
    -------
    Winner
        Index of the arm, estimate, interval and its name.

    Raises
    ------
    InputError
        Where numbers are missing, the covariance is none, or an option is unknown.
    EstimationError
        Where the covariance is singular, or the interval is the conditional one and another arm
        has the same estimate.

    Notes
    -----
    Let X be normal with means mu, and j the arm at the rank. Given j, and given the part of X that
    is independent of X_j, X_j is normal but truncated to where the rank does not change: a union
    of intervals T. The conditional estimate and interval are the means at which X_j is the .5,
    ``(1 + level) / 2`` and ``(1 - level) / 2`` quantile of it. The projection interval is X_j plus
    and minus c standard errors, with c the `level` quantile of the largest absolute standardized
    error over all arms. The hybrid cuts T to ``[mu_j - c' se, mu_j + c' se]`` with c' for the
    error ``beta = (1 - level) / 10`` and takes the quantiles for the error ``(1 - level - beta) /
    (1 - beta)`` that is left, so that it lies within that projection interval and covers at
    `level` or a little more. All is computed in log space from distances to X_j: exact near ties
    and in far tails.

    At a tie the first arm in the list has the better rank. Given that, the estimate lies at the
    edge of T, where all quantiles of a conditional interval go to minus infinity: it does not
    exist. The hybrid is then the whole projection interval of error beta, of which any part would
    do by the argument for its coverage, and its estimate the usual one.

    References
    ----------
    Andrews, Kitagawa and McCloskey (2024), "Inference on winners": conditional, projection and
    hybrid inference.

    Examples
    --------
    >>> top = winner([0, 1, 2, 3, 4], [1, 1, 1, 1, 1])
    >>> top.arm, top.method
    (4, 'hybrid')
    >>> round(top.estimate, 4), round(top.conf_low, 4), round(top.conf_high, 4)
    (3.6874, 0.8654, 5.9769)
    """
    check_level(level)
    if method not in get_args(WinnerMethod):
        known = "', '".join(get_args(WinnerMethod))
        raise InputError(f"method: found {method!r}; needed '{known}'")
    ranked = read_ranked(estimate, cov, rank)
    n_tied = len(ranked.tied)
    if method == "projection":
        ends = _projection(ranked, level)
    elif n_tied:
        ends = _at_a_tie(ranked, level, method)
    else:
        ends = _cut(ranked, level, method)
    low, middle, high = (ranked.value + ranked.std_error * end for end in ends)
    return Winner(
        arm=ranked.arm,
        rank=int(rank),
        estimate=middle,
        conf_low=low,
        conf_high=high,
        method=method,
        level=float(level),
        naive_estimate=ranked.value,
        std_error=ranked.std_error,
        median_unbiased=method != "projection" and not n_tied,
        n_arms=ranked.estimate.size,
        n_tied=n_tied,
        provenance=Provenance(
            f"inference on winners, {method}", hash_arrays(estimate=ranked.estimate, cov=ranked.cov)
        ),
    )


def _projection(ranked: Ranked, level: float) -> tuple[float, float, float]:
    bound = max_abs_quantile(ranked.corr, level)
    return -bound, 0.0, bound


def _at_a_tie(ranked: Ranked, level: float, method: str) -> tuple[float, float, float]:
    """The first stage of the hybrid alone; the conditional interval has no limit that is one."""
    if method == "hybrid":
        return _projection(ranked, 1 - _FIRST_STAGE_SHARE * (1 - level))
    raise EstimationError(
        f"estimates: found {len(ranked.tied) + 1} arms that share the estimate at rank "
        f"{ranked.rank}; given which of them comes first, their order tells nothing about the "
        "values, and all quantiles of the conditional interval are infinite; needed estimates that "
        "differ; use method='hybrid' or 'projection'"
    )


def _cut(ranked: Ranked, level: float, method: str) -> tuple[float, float, float]:
    """Lower end, median and upper end in standard errors from the usual estimate."""
    pieces = truncation_set(ranked)
    if method == "conditional":
        tail = (1 - level) / 2
        at = [mean_at_quantile(lambda _: pieces, prob) for prob in (1 - tail, 0.5, tail)]
        return at[0], at[1], at[2]
    beta = _FIRST_STAGE_SHARE * (1 - level)
    tail = (1 - level - beta) / (1 - beta) / 2
    bound = max_abs_quantile(ranked.corr, 1 - beta)

    def cut(mean: float) -> list[tuple[float, float]]:
        low, high = mean - bound, mean + bound
        return [(max(a, low), min(b, high)) for a, b in pieces if a < high and b > low]

    ends = (-bound, bound)
    at = [mean_at_quantile(cut, prob, within=ends) for prob in (1 - tail, 0.5, tail)]
    return at[0], at[1], at[2]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
