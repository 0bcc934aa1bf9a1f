"""Wild cluster bootstrap: p values and intervals of average effects with few clusters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from wavewise.errors import InputError
from wavewise.estimate.effects.covariance import corrected, precision
from wavewise.estimate.effects.least_squares import Fit, Rows, collapse, fit_rows
from wavewise.estimate.effects.results import table_lines
from wavewise.estimate.effects.sample import comparable, read_sample
from wavewise.estimate.effects.table import check_level
from wavewise.shared.inputs import MissingRule, aligned
from wavewise.shared.results import (
    FloatArray,
    IntArray,
    NotEstimable,
    Provenance,
    Result,
    read_only,
)

__all__ = ["WildBootstrap", "wild_bootstrap"]

Points = Literal["rademacher", "webb"]

# draws that are held at once, times clusters
_CHUNK = 4_000_000
_TIE = 1e-9
_FARTHEST = 200.0  # standard errors that an end of an interval is looked for within
_HALVINGS = 40


@dataclass(frozen=True, eq=False, kw_only=True)
class WildBootstrap(Result, kind="wild cluster bootstrap"):
    """Effects with p values and intervals of the wild cluster bootstrap.

    Parameters
    ----------
    control : str
        The control.
    names : tuple of str
        The other arms.
    estimate, std_error : array of float, shape (n_rows,)
        Effects by least squares, and their CR1 standard errors.
    conf : array of float, shape (n_rows, 2)
        Effects that are not rejected; infinite where none is.
    p_value : array of float, shape (n_rows,)
        Of no effect.
    n_units : array of int, shape (n_rows,)
        Analysed units of the arm.
    level : float
        Level of the intervals.
    n_clusters, n_draws : int
        Clusters, and sets of signs that were drawn.
    exact : bool
        Whether they are all there are.
    not_estimable : mapping of str to NotEstimable
        Arms without numbers, and why.
    provenance : Provenance
        Method, data hash and version.
    """

    control: str
    names: tuple[str, ...]
    estimate: FloatArray
    std_error: FloatArray
    conf: FloatArray
    p_value: FloatArray
    n_units: IntArray
    level: float
    n_clusters: int
    n_draws: int
    exact: bool
    not_estimable: dict[str, NotEstimable]
    provenance: Provenance

    def _frame(self) -> pl.DataFrame:
        """One row per arm; null where there is no number."""
        return pl.DataFrame(
            {
                "arm": list(self.names),
                "estimate": self.estimate,
                "std_error": self.std_error,
                "conf_low": self.conf[:, 0],
                "conf_high": self.conf[:, 1],
                "p_value": self.p_value,
                "n_units": self.n_units,
            },
            schema_overrides={"arm": pl.String},
        ).fill_nan(None)

    def summary(self) -> str:
        """The table, and how many sets of signs it rests on."""
        how = "all" if self.exact else "random"
        return "\n".join(
            [
                f"Intent-to-treat effects against '{self.control}'",
                self.provenance.method,
                "",
                *table_lines(self._frame()),
                "",
                f"P values and intervals at level {self.level:g} from {how} {self.n_draws:,} sets "
                f"of signs of {self.n_clusters:,} clusters.",
                *(f"'{name}': {why}." for name, why in self.not_estimable.items()),
            ]
        )


@aligned("outcome", "arm", "cluster", "strata", "covariates", "weights")
def wild_bootstrap(
    outcome: Any,
    arm: Any,
    *,
    cluster: Any,
    control: Any = "control",
    strata: Any = None,
    covariates: Any = None,
    interact: bool = False,
    missing_covariates: MissingRule = "error",
    weights: Any = None,
    arms: Sequence[Any] | None = None,
    points: Points = "rademacher",
    n_draws: int = 9_999,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> WildBootstrap:
    """Average effects with p values and intervals of the wild cluster bootstrap.

    Parameters
    ----------
    outcome, arm, control, strata, covariates, interact, missing_covariates, weights, arms
        As in :func:`wavewise.estimate.ate`.
    cluster : array-like, shape (n_units,)
        Labels of the groups that were assigned together.
    points : {"rademacher", "webb"}
        Signs of clusters: plus or minus one; or Webb's six values, for fewer than about ten
        clusters.
    n_draws : int
        Sets of signs. Where there are no more sets of plus and minus one, all are taken.
    level : float
        Level of the intervals, in (0, 1).
    rng : numpy.random.Generator, optional
        Needed where signs are drawn.

    Returns
    -------
    WildBootstrap
        One row per arm other than the control.

    Raises
    ------
    InputError
        Arrays do not fit together, an option is unknown, or signs are drawn without `rng`.
    EstimationError
        As in :func:`wavewise.estimate.ate`.

    Notes
    -----
    The effect is tested at tau with residuals ``u`` of the regression that has it imposed: outcomes
    are drawn anew as its fit plus ``v_g u_g``, one sign per cluster, and ``(tau* - tau) / se*``,
    with CR1 errors, is compared in size with ``(tau^ - tau) / se``. All of ``tau*``, ``se*^2`` and
    u are linear or quadratic in tau, so that an interval (the taus that are not rejected) costs no
    more than a p value. It fails with two or three treated clusters, where it hardly ever rejects,
    and where treated clusters vary more than the others, where it rejects too often.

    References
    ----------
    Cameron, Gelbach and Miller (2008); Webb (2023); Roodman, Nielsen, MacKinnon and Webb (2019),
    section 5.

    Examples
    --------
    >>> cluster = np.repeat(np.arange(8), 3)
    >>> y = np.tile([0.0, 1.0, 2.0], 8) + 2.0 * (cluster < 4) + 0.1 * cluster
    >>> found = wild_bootstrap(y, np.where(cluster < 4, "sms", "control"), cluster=cluster)
    >>> found.exact, found.n_draws, round(float(found.estimate[0]), 3), float(found.p_value[0])
    (True, 256, 1.6, 0.0078125)
    """
    check_level(level)
    if points not in get_args(Points):
        raise InputError(f"points: found {points!r}; needed 'rademacher' or 'webb'")
    sample = read_sample(
        outcome,
        arm,
        control,
        strata=strata,
        covariates=covariates,
        cluster=cluster,
        weights=weights,
        arms=arms,
        missing_covariates=missing_covariates,
    )
    used = comparable(sample)
    rows = collapse(used, interact, merge=False)
    fit = fit_rows(rows)
    precise = precision(rows, fit, "CR1", corrected(rows, fit, "CR1", "identity"))
    signs, exact = _signs(rows.n_clusters or 0, points, n_draws, rng)
    names, n = used.arms[1:], len(used.arms) - 1
    numbers, reasons = np.full((5, n), np.nan), dict(used.not_estimable)
    for k, name in enumerate(name for name in names if name not in used.not_estimable):
        row, weight = names.index(name), np.eye(rows.n_effects)[k]
        numbers[0, row] = fit.effects[k]
        if (refusal := precise.refusal(weight)) is not None:
            reasons[name] = NotEstimable(refusal)
            continue
        share = _rejection(rows, fit, k, signs, exact)
        error = float(np.sqrt(precise.cov[k, k]))
        ends = [_edge(share, 1 - level, float(fit.effects[k]), e) for e in (-error, error)]
        numbers[1:, row] = error, *ends, share(0.0)
    return WildBootstrap(
        control=used.arms[0],
        names=names,
        estimate=read_only(numbers[0]),
        std_error=read_only(numbers[1]),
        conf=read_only(numbers[2:4].T),
        p_value=read_only(numbers[4]),
        n_units=read_only(used.counts[1:], np.int64),
        level=level,
        n_clusters=rows.n_clusters or 0,
        n_draws=signs.shape[0],
        exact=exact,
        not_estimable=reasons,
        provenance=Provenance(f"least squares, wild cluster bootstrap, {points}", used.data_hash),
    )


def _signs(
    n_clusters: int, points: Points, n_draws: int, rng: np.random.Generator | None
) -> tuple[FloatArray, bool]:
    """Signs of clusters, shape (n_draws, n_clusters), and whether they are all there are."""
    if n_draws != int(n_draws) or n_draws < 19:
        raise InputError(f"n_draws: found {n_draws!r}; needed a whole number of 19 or more")
    if points == "rademacher" and n_clusters < 31 and 2**n_clusters <= n_draws:
        bits = np.arange(2**n_clusters)[:, None] >> np.arange(n_clusters) & 1
        return np.asarray(1 - 2 * bits, dtype=np.float64), True
    if rng is None:
        raise InputError(
            f"rng: found none for {n_clusters} clusters, whose signs are drawn; needed a numpy "
            "Generator, such as np.random.default_rng(seed)"
        )
    sizes = [1.0] if points == "rademacher" else [0.5, 1.0, 1.5]
    values: FloatArray = np.array([sign * size**0.5 for sign in (-1, 1) for size in sizes])
    return values[rng.integers(0, values.size, (int(n_draws), n_clusters))], False


def _rejection(
    rows: Rows, fit: Fit, k: int, signs: FloatArray, exact: bool
) -> Callable[[float], float]:
    """The p value of the effect k as a function of tau."""
    cluster = np.arange(rows.root.size) if rows.cluster is None else rows.cluster
    z = fit.loading[:, k]
    own = z / (z @ z)
    hat = _columns(rows, fit)
    imposed = np.stack([fit.residual + own * fit.effects[k], own])  # u = u_0 - tau u_1
    ends = np.flatnonzero(np.diff(cluster, prepend=-1))

    def by_cluster(values: FloatArray) -> Any:
        return hat.multiply(values[:, None]).tocsr().T @ _members(cluster)

    moved = np.stack([np.add.reduceat(z * u, ends) for u in imposed])  # (2, n_clusters)
    left = by_cluster(z)  # what the fit takes of each cluster's score, (n_columns, n_clusters)
    taken = [by_cluster(u) for u in imposed]
    parts = []
    for chunk in np.array_split(signs, 1 + signs.size // _CHUNK):
        tau = chunk @ moved.T
        score = [chunk * m - (left.T @ (t @ chunk.T)).T for m, t in zip(moved, taken, strict=True)]
        square = [(a * b).sum(axis=1) for a, b in ((score[0],) * 2, tuple(score), (score[1],) * 2)]
        parts.append(np.column_stack([tau, *square]))
    n_0, n_1, a, b, c = np.concatenate(parts).T
    actual = np.add.reduceat(z * fit.residual, ends)
    variance = float(actual @ actual)

    def share(tau: float) -> float:
        seen = (fit.effects[k] - tau) ** 2 / variance
        spread = a - 2 * tau * b + tau**2 * c
        # a draw without spread has no statistic: it counts as larger
        larger = ~((n_0 - tau * n_1) ** 2 < seen * (1 - _TIE) * spread)
        return float(larger.mean() if exact else (1 + larger.sum()) / (1 + larger.size))

    return share


def _columns(rows: Rows, fit: Fit) -> Any:
    """Orthonormal columns of the whole regression, strata effects first; sparse."""
    from scipy.sparse import csr_array, hstack

    share = rows.root / np.sqrt(rows.stratum_weight[rows.stratum])
    strata = csr_array((share, rows.stratum, np.arange(share.size + 1)))
    return hstack([strata, csr_array(fit.basis)], format="csr")


def _members(cluster: IntArray) -> Any:
    """Indicators of clusters, shape (n_rows, n_clusters); sparse."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(cluster.size), cluster, np.arange(cluster.size + 1)))


def _edge(share: Callable[[float], float], size: float, centre: float, step: float) -> float:
    """Where rejection begins, from the estimate outwards; infinite where it never does."""
    inside, outside = 0.0, 2.0
    while share(centre + outside * step) > size:
        inside, outside = outside, outside * 1.5
        if outside > _FARTHEST:
            return float(np.copysign(np.inf, step))
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if share(centre + middle * step) > size:
            inside = middle
        else:
            outside = middle
    return float(centre + inside * step)
