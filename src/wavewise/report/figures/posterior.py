"""Figures of posteriors: of the arms, and how shares and probabilities moved by wave."""

from collections.abc import Mapping, Sequence

from wavewise.report.contents import WaveContents
from wavewise.report.figures.draw import Figure
from wavewise.report.figures.intervals import IntervalRow, interval_figure
from wavewise.report.figures.matrix import matrix_figure
from wavewise.report.numbers import Scale, fixed, percent, probability, scale_of
from wavewise.report.posteriors import OutcomePosterior, PosteriorRow, ranked_posterior
from wavewise.shared.results import FloatArray

__all__ = ["posterior_figure", "prob_optimal_figure", "shares_figure"]

Columns = Sequence[tuple[str, Mapping[str, float]]]


def posterior_figure(
    name: str,
    posterior: OutcomePosterior,
    best: str | None,
    *,
    truth: Mapping[str, float] | None = None,
    densities: bool = True,
) -> Figure:
    """Posterior mean of each arm with its credible interval, over its density if wanted."""
    scale = scale_of(posterior.outcome)
    curves = posterior.densities if densities else {}
    ranked = sorted(ranked_posterior(posterior), key=lambda row: (_order(posterior, row), row.arm))
    decimals = max((scale.decimals((row.high - row.low) / 4) for row in ranked), default=1)
    rows = [
        _row(row, scale, decimals, best=best, density=curves.get(row.arm), truth=truth or {})
        for row in ranked
    ]
    interval = f"{percent(posterior.prob, 0)} credible interval"
    unit = f" ({scale.level_unit})" if scale.level_unit else ""
    title = f"Posterior of {posterior.label} by arm"
    alt = f"{title}, {interval}. " + "; ".join(f"{row.label}: {row.text}" for row in rows) + "."
    x_title = f"{posterior.label}{unit}, with {interval}"
    return Figure(
        name,
        interval_figure(rows, x_title, alt, effects=False),
        interval_figure(rows, f"{posterior.label}{unit}", alt, narrow=True, effects=False),
        title,
        alt,
        _caption(interval, bool(curves), bool(truth)),
    )


def _order(posterior: OutcomePosterior, row: PosteriorRow) -> float:
    return -row.mean if posterior.outcome.higher_is_better else row.mean


def _row(
    row: PosteriorRow,
    scale: Scale,
    decimals: int,
    *,
    best: str | None,
    density: tuple[FloatArray, FloatArray] | None,
    truth: Mapping[str, float],
) -> IntervalRow:
    mean, low, high = (fixed(scale.factor * x, decimals) for x in (row.mean, row.low, row.high))
    curve = zip(*(values.tolist() for values in density), strict=True) if density else ()
    return IntervalRow(
        label=row.arm,
        value=scale.factor * row.mean,
        low=scale.factor * row.low,
        high=scale.factor * row.high,
        text=f"{mean} ({low} to {high})",
        best=row.arm == best,
        truth=scale.factor * truth[row.arm] if row.arm in truth else None,
        density=tuple((scale.factor * x, height) for x, height in curve),
    )


def _caption(interval: str, shaded: bool, truth: bool) -> str:
    parts = [f"Points are posterior means, lines {interval}s (HPD)"]
    if shaded:
        parts.append("shaded: the posterior density")
    if truth:
        parts.append("diamonds are the true means of the simulation")
    return "; ".join(parts) + "."


def shares_figure(name: str, waves: Sequence[WaveContents]) -> Figure | None:
    """Share of each arm in each wave, and in the next one if that is decided; None if no wave."""
    columns: list[tuple[str, Mapping[str, float]]] = [
        (wave.id, wave.shares) for wave in waves if wave.shares
    ]
    if waves and waves[-1].next_shares:
        columns.append(("next", waves[-1].next_shares))
    if not columns:
        return None
    return _matrix(
        name,
        columns,
        "Share of each wave by arm",
        "Percent of the wave's units that were to go to each arm.",
    )


def prob_optimal_figure(name: str, waves: Sequence[WaveContents]) -> Figure | None:
    """Probability that each arm is best, after each wave; None before any wave."""
    columns = [
        (wave.id, {row.arm: row.prob_optimal for row in wave.posterior.rows})
        for wave in waves
        if isinstance(wave.posterior, OutcomePosterior)
    ]
    if not columns:
        return None
    caption = "Percent, after the data of each wave and all before it."
    return _matrix(name, columns, "Probability that each arm is the best", caption)


def _matrix(name: str, columns: Columns, title: str, caption: str) -> Figure:
    last = columns[-1][1]
    arms = sorted({arm for _, shares in columns for arm in shares})
    arms.sort(key=lambda arm: -last.get(arm, -1.0))
    words = "; ".join(
        f"{column}: " + ", ".join(f"{arm} {_said(shares[arm])}" for arm in arms if arm in shares)
        for column, shares in columns
    )
    alt = f"{title}, percent. {words}."
    wide, narrow = (matrix_figure(arms, columns, alt, narrow=small) for small in (False, True))
    return Figure(name, wide, narrow, title, alt, caption)


def _said(share: float) -> str:
    return percent(share) if share in (0, 1) else probability(share)
