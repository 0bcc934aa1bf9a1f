"""The reading model in two samples side by side: units with every score, and all that help."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.normal.model import HierarchicalNormal, hierarchical_normal
from wavewise.estimate.normal.predictive import score_predictive_check
from wavewise.estimate.normal.priors import NormalPriors
from wavewise.shared.inputs import aligned, encode, read_flags, read_outcome
from wavewise.shared.results import BoolArray, CheckResult, NotEstimable, Record, Result

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Panel", "ScorePanels", "score_panels"]

Fit = HierarchicalNormal | NotEstimable
_GAP = 3


@dataclass(frozen=True, eq=False)
class Panel(Record):
    """One sample: effects by arm, and of all arms together."""

    name: str
    by_arm: Fit
    pooled: Fit


@dataclass(frozen=True, eq=False)
class ScorePanels(Result, kind="score panels"):
    """Posteriors of arm effects on a score in two samples, by arm and pooled.

    Parameters
    ----------
    complete : Panel
        Units with a score in every period in which there are scores.
    all : Panel
        Units with a score before their wave began and one after it; every unit with a score where
        none has both.
    needs_both : bool
        Whether `all` was cut to units with a score before and after.
    check : CheckResult or None
        Posterior predictive check of `all`, by arm; None where it was not asked for or has no
        posterior.
    """

    complete: Panel
    all: Panel
    needs_both: bool
    check: CheckResult | None = None

    @property
    def panels(self) -> tuple[Panel, Panel]:
        """Both, the complete panel first."""
        return (self.complete, self.all)

    def _frame(self, prob: float = 0.95) -> "pl.DataFrame":
        """One row a sample, model and term, with mean, sd, 95% HPD interval and counts."""
        import polars as pl

        parts = [
            fit._frame(prob).select(
                pl.lit(panel.name).alias("sample"), pl.lit(model).alias("model"), pl.all(),
                pl.lit(fit.n_scores).alias("n_scores"), pl.lit(fit.n_units).alias("n_units"),
            )
            for panel in self.panels
            for model, fit in (("by arm", panel.by_arm), ("pooled", panel.pooled))
            if isinstance(fit, HierarchicalNormal)
        ]  # fmt: skip
        return pl.concat(parts, how="vertical_relaxed") if parts else pl.DataFrame()

    def _facts(self) -> dict[str, Any]:
        return {
            "needs_both": self.needs_both,
            "check": self.check,
            "samples": [
                {"name": panel.name, "by_arm": _plain(panel.by_arm), "pooled": _plain(panel.pooled)}
                for panel in self.panels
            ],
        }

    def cells(self) -> list[tuple[str, str, str]]:
        """Rows of the table: heading or term, and what stands in each sample's column."""
        return _cells(self)

    def note(self) -> str:
        """What the columns hold, and what is assumed, in plain words."""
        return _note(self)

    def summary(self) -> str:
        """The layout of Table 4: effects by arm, the pooled effect, the sizes; what is assumed."""
        rows = [("", self.complete.name, self.all.name), *self.cells()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        gap = " " * _GAP
        lines = [
            gap.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        told = [] if self.check is None else ["", f"{self.check.name}: {self.check.verdict}."]
        if self.check is not None:
            told[-1] += f" {self.check.text}"
        return "\n".join([*lines, "", self.note(), *told])


@aligned("score", "unit", "cluster", "period", "arm", "treated")
def score_panels(
    score: Any,
    *,
    unit: Any,
    cluster: Any,
    period: Any,
    arm: Any,
    treated: Any,
    rng: np.random.Generator,
    control: Any = None,
    arms: Sequence[Any] | None = None,
    periods: Sequence[Any] | None = None,
    prior: NormalPriors | None = None,
    n_draws: int = 20_000,
    check: bool = True,
) -> ScorePanels:
    """Posteriors of arm effects from the complete panel and from all units, by arm and pooled.

    Parameters
    ----------
    score, unit, cluster, period, arm, control, arms, periods, prior, n_draws
        As for `hierarchical_normal`; `arm` is the arm that the unit was assigned to.
    treated : array-like of bool, shape (n_rows,)
        Whether the unit's wave had begun, in the control too.
    rng : numpy.random.Generator
    check : bool
        Whether to make the posterior predictive check, which takes longer than the fits.

    Returns
    -------
    ScorePanels
        Where a sample gives no posterior, the reason stands in its place.

    Raises
    ------
    InputError
        As `hierarchical_normal`.

    Notes
    -----
    Scores are missing from both samples. If they are missing at random given what is observed,
    both estimate the same effects, the second with more precision; where the columns differ by
    more than their intervals, they are not. This compares the samples; it proves nothing where
    they agree.

    References
    ----------
    Esposito and Sautmann (2022), World Bank Policy Research Working Paper 10098, Table 4.
    """
    numbers = read_outcome(score, "score")
    columns = {"unit": unit, "cluster": cluster, "period": period, "arm": arm}
    coded = {name: encode(values, name, numbers.size) for name, values in columns.items()}
    arrays = {name: labels.levels[labels.codes] for name, labels in coded.items()}
    arrays["treated"] = read_flags(treated, "treated", numbers.size)
    complete, usable, needs_both = _samples(numbers, arrays)
    options: dict[str, Any] = {
        "control": control, "arms": arms, "periods": periods, "prior": prior, "n_draws": n_draws,
    }  # fmt: skip
    *streams, for_check = rng.spawn(5)
    fits = [
        _fit(numbers[rows], {k: v[rows] for k, v in arrays.items()}, stream, pooled, options)
        for (rows, pooled), stream in zip(
            [(complete, False), (complete, True), (usable, False), (usable, True)],
            streams,
            strict=True,
        )
    ]
    predicted = None
    if check and isinstance(fits[2], HierarchicalNormal):
        rows: dict[str, Any] = {name: values[usable] for name, values in arrays.items()}
        known = {name: options[name] for name in ("control", "arms", "periods")}
        predicted = score_predictive_check(fits[2], numbers[usable], **rows, **known, rng=for_check)
    return ScorePanels(
        Panel("Complete panel", fits[0], fits[1]),
        Panel("All", fits[2], fits[3]),
        needs_both,
        predicted,
    )


def _samples(score: Any, arrays: Mapping[str, Any]) -> tuple[BoolArray, BoolArray, bool]:
    """Rows of units with every score; rows of units that help; whether both times were needed."""
    units = encode(arrays["unit"], "unit", score.size).codes
    periods = encode(arrays["period"], "period", score.size).codes
    seen = ~np.isnan(score)
    treated = arrays["treated"]
    n = int(units.max()) + 1 if units.size else 0
    n_periods = np.unique(periods[seen]).size
    complete = np.bincount(units[seen], minlength=n) == n_periods
    before = np.bincount(units[seen & ~treated], minlength=n) > 0
    after = np.bincount(units[seen & treated], minlength=n) > 0
    both = before & after
    needs_both = bool(both.any())
    usable = both if needs_both else before | after
    return np.asarray(complete[units]), np.asarray(usable[units]), needs_both


def _fit(
    score: Any,
    arrays: Mapping[str, Any],
    rng: np.random.Generator,
    pooled: bool,
    options: Mapping[str, Any],
) -> Fit:
    if not score.size:
        return NotEstimable("no unit has a score in every period")
    try:
        return hierarchical_normal(score, **arrays, **options, pooled=pooled, rng=rng)
    except EstimationError as error:
        return NotEstimable(error.message)


def _plain(fit: Fit) -> dict[str, Any]:
    return {"not_estimable": fit.reason} if isinstance(fit, NotEstimable) else fit.facts()


def _cells(panels: ScorePanels) -> list[tuple[str, str, str]]:
    by_arm = [_terms(panel.by_arm) for panel in panels.panels]
    pooled = [_terms(panel.pooled) for panel in panels.panels]
    rows = [("Panel A: effect by arm", "", ""), *_side_by_side(by_arm)]
    rows += [("Panel B: pooled treatment", "", ""), *_side_by_side(pooled)]
    sizes = [_sizes(panel.by_arm) for panel in panels.panels]
    return [*rows, *_side_by_side(sizes)]


def _side_by_side(columns: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    names = list(dict.fromkeys(name for column in columns for name in column))
    return [(name, columns[0].get(name, "-"), columns[1].get(name, "-")) for name in names]


def _terms(fit: Fit) -> dict[str, str]:
    """Term: mean, a star where the interval is clear of 0, and the interval."""
    if isinstance(fit, NotEstimable):
        return {}
    rows = fit._frame().select("term", "mean", "cred_low", "cred_high").iter_rows()
    return {
        name: f"{mean:.2f}{'*' if low > 0 or high < 0 else ''} [{low:.2f}; {high:.2f}]"
        for name, mean, low, high in rows
    }


def _sizes(fit: Fit) -> dict[str, str]:
    if isinstance(fit, NotEstimable):
        return {}
    return {"Scores": f"{fit.n_scores:,}", "Units": f"{fit.n_units:,}"}


def _note(panels: ScorePanels) -> str:
    rule = (
        "with a score before their wave began and one after it"
        if panels.needs_both
        else "with a score (none has one before its wave and one after it)"
    )
    reasons = [
        f"{panel.name}: {fit}."
        for panel in panels.panels
        for fit in (panel.by_arm, panel.pooled)
        if isinstance(fit, NotEstimable)
    ]
    fits = [p.by_arm for p in panels.panels if isinstance(p.by_arm, HierarchicalNormal)]
    prior = f" Prior: {fits[-1].prior}." if fits else ""
    text = (
        "Posterior means and 95% HPD intervals, in units of the score; * zero outside. Complete "
        f"panel: units with a score in every period; All: units {rule}.{prior} Assumed: effects "
        "alike in every period after treatment; unit, cluster and period effects and noise normal; "
        "scores missing at random."
    )
    return " ".join([text, *dict.fromkeys(reasons)])
