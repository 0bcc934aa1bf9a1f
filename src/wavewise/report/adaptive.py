"""Adaptive waves compared across, as the report shows them: the published two panels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wavewise.report.tables import Column, Table

if TYPE_CHECKING:
    from wavewise.report.contents import Outcome

__all__ = ["AdaptiveContents", "adaptive_table"]


@dataclass(frozen=True)
class AdaptiveContents:
    """Arms by estimator, and the winner by kind of interval.

    Parameters
    ----------
    outcome : Outcome
        What was measured.
    learned_on : tuple of str
        Waves whose units are in.
    columns : tuple of str
        Estimators.
    rows : tuple of tuple of str
        Arm, or kind of interval, and a cell an estimator.
    note : str
        What the panels hold, which interval to use, and why cells are empty; or why there is no
        table.
    """

    outcome: "Outcome"
    learned_on: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def adaptive_table(found: AdaptiveContents) -> Table:
    """Panel A above panel B, an estimator a column."""
    return Table(
        f"Adaptive waves together: {found.outcome.label}",
        (Column("Arm", numeric=False), *(Column(name) for name in found.columns)),
        found.rows,
        note=f"{found.note} Data of {', '.join(found.learned_on)}.",
    )
