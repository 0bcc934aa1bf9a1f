"""The section on deliveries as the template takes it: a sentence, a drawn figure, tables."""

from dataclasses import dataclass

from wavewise.report.delivery import (
    DeliveryContents,
    DeliveryTables,
    delivery_tables,
    reach_sentence,
)
from wavewise.report.figures.draw import Drawn, draw_figure
from wavewise.report.figures.sends import sends_figure
from wavewise.report.names import Names

__all__ = ["DeliveryView", "delivery_view"]


@dataclass(frozen=True)
class DeliveryView:
    """Deliveries of one wave; the figure is None and the sentence empty if nothing was due."""

    delivery: DeliveryContents
    sentence: str
    drawn: Drawn | None
    tables: DeliveryTables


def delivery_view(names: Names, delivery: DeliveryContents, unit_name: str) -> DeliveryView:
    """All that the section shows of one wave."""
    return DeliveryView(
        delivery,
        reach_sentence(delivery),
        draw_figure(sends_figure(names.new(f"sends-{delivery.wave}"), delivery)),
        delivery_tables(delivery, unit_name),
    )
