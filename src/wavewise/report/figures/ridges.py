"""Posterior distributions from a result: densities with their intervals shaded, an arm per row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import scipy.special

from wavewise.errors import InputError
from wavewise.estimate import BetaBinomial, HierarchicalBinomial, HierarchicalNormal
from wavewise.estimate.bayes.draws import density_of_draws, quantile
from wavewise.report.figures.draw import Figure
from wavewise.report.figures.intervals import IntervalRow, interval_figure
from wavewise.report.numbers import fixed, percent
from wavewise.shared.results import FloatArray
from wavewise.shared.text_tables import tied

__all__ = ["posterior_figure", "ridge_figure", "ridge_panel"]


@dataclass(frozen=True, eq=False)
class RidgePanel:
    """Distributions of one posterior, ready to draw."""

    title: str  # Heading above its rows; empty without one.
    arms: tuple[str, ...]
    grid: FloatArray  # (n_points, n_arms)
    density: FloatArray  # (n_points, n_arms)
    median: FloatArray  # (n_arms,)
    bounds: FloatArray  # (n_arms, 2): The shaded interval.
    best: str | None = None  # The arm to set off.


Quantity = Literal["beta", "success_prob", "effect"]
Result = BetaBinomial | HierarchicalBinomial | HierarchicalNormal

_POINTS = 161
_TITLES: Mapping[str, str] = {
    "beta": "Coefficient on the log-odds scale",
    "success_prob": "Success probability (%)",
    "effect": "Effect against the control, in units of the score",
}


def posterior_figure(
    posterior: Result | Mapping[str, Result],
    *,
    of: Quantity | None = None,
    prob: float = 0.95,
    kind: Literal["hpd", "equal-tailed"] = "hpd",
    name: str = "posterior",
    title: str = "Posterior distributions",
    x_title: str = "",
) -> Figure:
    """Posterior distribution of each arm: its density, the interval shaded, a bar at the median.

    Parameters
    ----------
    posterior : result, or mapping of str to result
        From `beta_binomial`, `hierarchical_binomial` or `hierarchical_normal`; several, by heading,
        one below the other on one axis.
    of : {"beta", "success_prob", "effect"}, optional
        What is shown. By default the model's own parameter: beta of the hierarchical binomial, the
        success probability of the beta-binomial, the effect of the hierarchical normal.
    prob, kind : float, {"hpd", "equal-tailed"}
        The shaded credible interval.
    name, title, x_title : str
        File name, what is shown, title of the axis.

    Returns
    -------
    Figure
        With `to_svg()`, `to_png()` and `to_dict()` (Vega-Lite); no JavaScript is needed to see it.

    Raises
    ------
    InputError
        A result of another kind, a quantity that it does not have, or none at all.

    Notes
    -----
    Medians and intervals are those of the draws; the density is smoothed
    (`wavewise.estimate.draw_density`). The arm of lowest expected regret is set off by colour.

    References
    ----------
    The layout is that of Esposito and Sautmann (2022), Figures 3 and 4.

    Examples
    --------
    >>> from wavewise.estimate import beta_binomial
    >>> figure = posterior_figure(beta_binomial([12, 30], [100, 100], arms=["text", "call"]))
    >>> figure.to_svg()[:4]
    '<svg'
    """
    results = posterior if isinstance(posterior, Mapping) else {"": posterior}
    if not results:
        raise InputError("posterior: found none; needed a result, or several by heading")
    quantities = {_quantity(result, of) for result in results.values()}
    if len(quantities) > 1:
        raise InputError(
            f"posterior: found {' and '.join(sorted(quantities))}; needed results of one quantity"
        )
    shown = quantities.pop()
    panels = [ridge_panel(r, of=shown, prob=prob, kind=kind, title=h) for h, r in results.items()]
    interval = f"{percent(prob, 0)} {'HPD' if kind == 'hpd' else kind} interval"
    caption = f"Bars are medians, shaded the {interval}; arms in their own order."
    return ridge_figure(
        panels,
        name=name,
        title=title,
        x_title=x_title or _TITLES[shown],
        caption=caption,
        effects=shown == "effect",
        factor=100.0 if shown == "success_prob" else 1.0,
    )


def ridge_panel(
    result: Result,
    *,
    of: Quantity | None = None,
    prob: float = 0.95,
    kind: Literal["hpd", "equal-tailed"] = "hpd",
    title: str = "",
) -> RidgePanel:
    """Densities, medians and intervals of one result."""
    shown = _quantity(result, of)
    if isinstance(result, BetaBinomial):
        grid, density, median = _exact(result)
        bounds = result.cred_int(prob, kind=kind)
    elif isinstance(result, HierarchicalBinomial):
        values = result.beta if shown == "beta" else result.point_success_prob
        grid, density = density_of_draws(values, result.weights, _POINTS)
        median = _medians(values, result.weights)
        scale: Literal["beta", "success_prob"] = "beta" if shown == "beta" else "success_prob"
        bounds = result.cred_int(prob, kind=kind, of=scale)
    else:
        grid, density = density_of_draws(result.draws, None, _POINTS)
        median, bounds = _medians(result.draws, None), result.cred_int(prob, kind=kind)
    lowest = tied((-np.asarray(result.policy_regret)).tolist())
    best = result.arms[lowest[0]]
    several = len(result.arms) > 1 and len(lowest) == 1
    return RidgePanel(
        title, tuple(result.arms), grid, density, median, bounds, best if several else None
    )


def _quantity(result: Result, of: Quantity | None) -> Quantity:
    known: tuple[Quantity, ...]
    if isinstance(result, BetaBinomial):
        known = ("success_prob",)
    elif isinstance(result, HierarchicalBinomial):
        known = ("beta", "success_prob")
    elif isinstance(result, HierarchicalNormal):
        known = ("effect",)
    else:
        raise InputError(
            f"posterior: found {type(result).__name__}; needed a result of beta_binomial, "
            "hierarchical_binomial or hierarchical_normal"
        )
    if of is not None and of not in get_args(Quantity):
        raise InputError(f"of: found {of!r}; needed one of {', '.join(get_args(Quantity))}")
    if of is not None and of not in known:
        raise InputError(f"of: found {of!r}; needed {' or '.join(known)} for this model")
    return known[0] if of is None else of


def _medians(values: FloatArray, weights: FloatArray | None) -> FloatArray:
    columns = [quantile(values[:, k], [0.5], weights)[0] for k in range(values.shape[1])]
    return np.array(columns)


def _exact(result: BetaBinomial) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Densities and medians of independent beta distributions."""
    wide = result.cred_int(0.9995, kind="equal-tailed")
    grid = np.clip(np.linspace(wide[:, 0], wide[:, 1], _POINTS), 1e-12, 1 - 1e-12)
    a, b = result.a, result.b
    log = scipy.special.xlogy(a - 1, grid) + scipy.special.xlog1py(b - 1, -grid)
    density = np.exp(log - scipy.special.betaln(a, b))
    return grid, density, np.asarray(scipy.special.betaincinv(a, b, 0.5))


def ridge_figure(
    panels: Sequence[RidgePanel],
    *,
    name: str,
    title: str,
    x_title: str,
    caption: str,
    effects: bool,
    factor: float = 1.0,
) -> Figure:
    """Panels of distributions, one below the other on one axis."""
    width = min(float(np.diff(panel.bounds, axis=1).min()) for panel in panels) * factor
    rows = [row for panel in panels for row in _rows(panel, factor, _decimals(width))]
    words = "; ".join(f"{row.label}: {row.text}" if row.text else row.label for row in rows)
    alt = f"{title}. {x_title}: median and interval. {words}."
    wide, narrow = (
        interval_figure(rows, x_title, alt, narrow=small, effects=effects, ridges=True)
        for small in (False, True)
    )
    return Figure(name, wide, narrow, title, alt, caption)


def _decimals(width: float) -> int:
    """Two, one for wide intervals, more for narrow ones."""
    if not width > 0:
        return 2
    return max(2 if width < 10 else 1, 1 - int(np.floor(np.log10(width))))


def _rows(panel: RidgePanel, factor: float, decimals: int) -> list[IntervalRow]:
    heading = [IntervalRow(panel.title, 0, 0, 0, "", heading=True)] if panel.title else []
    return heading + [_row(panel, k, factor, decimals) for k in range(len(panel.arms))]


def _row(panel: RidgePanel, k: int, factor: float, decimals: int) -> IntervalRow:
    median = factor * float(panel.median[k])
    low, high = (factor * float(bound) for bound in panel.bounds[k])
    shown = (fixed(x, decimals) for x in (median, low, high))
    curve = zip(factor * panel.grid[:, k], panel.density[:, k] / factor, strict=True)
    return IntervalRow(
        label=panel.arms[k],
        value=median,
        low=low,
        high=high,
        text="{} ({} to {})".format(*shown),
        best=panel.arms[k] == panel.best,
        density=tuple((float(x), float(y)) for x, y in curve),
    )
