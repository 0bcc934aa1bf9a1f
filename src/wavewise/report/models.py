"""Models beside the effects: scores by period, and adaptive waves compared across."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wavewise.design.spec import Outcome
from wavewise.estimate import HierarchicalNormal
from wavewise.report.blocks import Column, Table
from wavewise.report.effects import facts_of
from wavewise.report.figures.ridges import RidgePanel, ridge_panel
from wavewise.report.numbers import decimals_for, outcome_facts, sentence
from wavewise.shared.results import NotEstimable

if TYPE_CHECKING:
    from wavewise.estimate import ScorePanels, WinnerTable

__all__ = [
    "AdaptiveWaves",
    "ScoreFit",
    "adaptive_table",
    "model_facts",
    "score_panels_of",
    "score_table",
]


@dataclass(frozen=True, eq=False)
class ScoreFit:
    """A model of scores as it stands after some closed waves; or why it does not."""

    model: str  # Its name in the study file.
    outcome: Outcome
    waves: tuple[str, ...]  # Whose units it holds.
    panels: "ScorePanels | NotEstimable"

    @property
    def text(self) -> str:
        """Heading and table."""
        waves = ", ".join(self.waves)
        return f"Model {self.model} of {self.outcome.name}, units of {waves}\n" + (
            str(self.panels) if isinstance(self.panels, NotEstimable) else self.panels.summary()
        )

    def to_dict(self) -> dict[str, Any]:
        """The fit as plain values, for JSON."""
        facts = {"model": self.model, "outcome": self.outcome.id, "waves": list(self.waves)}
        if isinstance(self.panels, NotEstimable):
            return {**facts, "not_estimable": self.panels.reason}
        return {**facts, **facts_of(self.panels)}


@dataclass(frozen=True, eq=False)
class AdaptiveWaves:
    """A wave with the waves that its shares were learned on, compared across."""

    outcome: Outcome  # The primary one.
    waves: tuple[str, ...]  # In time.
    table: "WinnerTable | NotEstimable"  # Arms by estimator; or why there is none.

    @property
    def text(self) -> str:
        """Heading and table, or heading and reason."""
        heading = f"{self.outcome.name}, waves {', '.join(self.waves)} together"
        if isinstance(self.table, NotEstimable):
            return f"{heading}\n{self.table}"
        return f"{heading}\n{self.table.summary()}"

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values, for JSON."""
        facts: dict[str, Any] = {"outcome": self.outcome.id, "waves": list(self.waves)}
        if isinstance(self.table, NotEstimable):
            return {**facts, "not_estimable": self.table.reason}
        return {**facts, **facts_of(self.table)}


def score_table(fit: ScoreFit, late: str = "") -> Table:
    """Effects by arm and pooled, a sample per column, as the study's Table 4 has them."""
    unit = f" ({fit.outcome.unit})" if fit.outcome.unit else ""
    caption = f"Effects on {fit.outcome.name}{unit}, before and after by unit"
    data = f"Data of {', '.join(fit.waves)}."
    if isinstance(fit.panels, NotEstimable):
        columns: tuple[str, ...] = ("", "")
        return _text_table(caption, "Term", columns, (), f"{fit.panels}. {late} {data}")
    names = (fit.panels.complete.name, fit.panels.all.name)
    rows = tuple(fit.panels.cells())
    return _text_table(caption, "Term", names, rows, f"{fit.panels.note()} {late} {data}")


def adaptive_table(item: AdaptiveWaves) -> Table:
    """Panel A above panel B, an estimator per column."""
    caption = f"Adaptive waves together: {item.outcome.name}"
    data = f"Data of {', '.join(item.waves)}."
    if isinstance(item.table, NotEstimable):
        return _text_table(caption, "Arm", (), (), f"{sentence(str(item.table))} {data}")
    errors = [e for c in item.table.columns for e in c.std_error.tolist() if e > 0]
    rows = tuple(item.table.cells(decimals_for(min(errors, default=0.1))))
    names = tuple(column.label for column in item.table.columns)
    reasons = [sentence(why) for why in item.table.reasons()]
    note = " ".join([*reasons, item.table.note(), data])
    return _text_table(caption, "Arm", names, rows, note)


def _text_table(
    caption: str,
    first: str,
    names: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
    note: str,
) -> Table:
    columns = (Column(first, numeric=False), *(Column(name) for name in names))
    return Table(caption, columns, rows, note=" ".join(note.split()))


def model_facts(item: ScoreFit | AdaptiveWaves, table: Table) -> dict[str, Any]:
    """What the report shows of a model, as plain values."""
    data = f"Data of {', '.join(item.waves)}."
    more = {"panels": score_panels_of(item), "prob": 0.95} if isinstance(item, ScoreFit) else {}
    return {
        "name": item.model if isinstance(item, ScoreFit) else "adaptive waves",
        "outcome": outcome_facts(item.outcome),
        "learned_on": list(item.waves),
        "columns": [column.label for column in table.columns[1:]],
        "rows": [list(row) for row in table.rows],
        "note": table.note.removesuffix(data).strip(),
        **more,
    }


def score_panels_of(fit: ScoreFit) -> "list[RidgePanel]":
    """Posterior distributions of the arms' effects, a sample each."""
    samples = () if isinstance(fit.panels, NotEstimable) else fit.panels.panels
    return [
        ridge_panel(sample.by_arm, title=sample.name)
        for sample in samples
        if isinstance(sample.by_arm, HierarchicalNormal)
    ]
