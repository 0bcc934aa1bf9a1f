"""Deliveries in a report: every count, reason and dose, and both effects side by side."""

from dataclasses import replace

import pytest

from page_reader import Reader
from sample_contents import LOGIN, get_out_the_vote
from wavewise.errors import InputError
from wavewise.report import ReportContents, render
from wavewise.report.delivery import (
    DeliveryContents,
    DoseRow,
    MessageRow,
    ReachedRow,
    ReasonCount,
    RefusalCount,
    delivery_tables,
)
from wavewise.report.numbers import NBSP

DELIVERY = DeliveryContents(
    wave="one",
    title="First wave",
    outcome=LOGIN,
    received_means="a receipt of delivery (sms)",
    messages=(
        MessageRow("peers", "sms", 1_200, 1_000, 812, 20, 100, 30, 45, 5),
        MessageRow("teacher", "email", 1_100, 1_090, 0, 0, 6, 4, 0, 0),
    ),
    reasons=(ReasonCount("peers", "sms", "failed", "not a number", 100),),
    refusals=(RefusalCount("peers", "stop keyword", 45),),
    doses=(DoseRow("control", 1_200, 0.0, 0.0, 0.0), DoseRow("peers", 1_200, 1.0, 0.68, 0.677)),
    effects=(ReachedRow("peers", 0.02, 0.005, 0.035, 0.0296, 0.0074, 0.0516, 0.0113, 0.677),),
    not_estimable=(("teacher", "nobody was reached"),),
)


def test_counts_are_those_given_and_add_up() -> None:
    table = delivery_tables(DELIVERY, "parents").messages
    labels = [column.label for column in table.columns]
    assert labels[2:] == [
        "Due", "Sent", "Delivered", "Waiting", "Failed", "Unknown", "Refused", "Cancelled",
    ]  # fmt: skip
    assert table.rows[0] == (
        "peers", "sms", "1,200", "1,000", "812", "20", "100", "30", "45", "5",
    )  # fmt: skip
    assert table.total == (
        "All", "", "2,300", "2,090", "812", "20", "106", "34", "45", "5",
    )  # fmt: skip


def test_both_effects_stand_side_by_side() -> None:
    table = delivery_tables(DELIVERY, "parents").effects
    assert table is not None
    arm, itt, itt_bounds, stage, cace, bounds = table.rows[0]
    assert (arm, itt, stage, cace) == ("peers", "+2.0", f"67.7{NBSP}%", "+3.0")
    assert (itt_bounds, bounds) == ("+0.5 to +3.5", "+0.7 to +5.2")


def test_the_page_has_a_section_of_deliveries_and_its_word() -> None:
    contents = get_out_the_vote()
    assert "deliveries" not in read(contents).ids
    page = read(replace(contents, deliveries=(DELIVERY,)))
    assert "deliveries" in page.ids
    assert "#deliveries" in page.links
    text = " ".join(page.text)
    for part in ("not a number", "stop keyword", "Effect on those reached", "nobody was reached"):
        assert part in text


def test_what_is_not_there_is_left_out() -> None:
    bare = replace(DELIVERY, reasons=(), refusals=(), effects=())
    tables = delivery_tables(bare, "parents")
    assert (tables.reasons, tables.refusals, tables.effects) == (None, None, None)


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        DoseRow("peers", 3, float("nan"), 0.0, 0.0)
    with pytest.raises(InputError, match="share_reached"):
        DoseRow("peers", 3, 1.0, 0.0, 1.5)


def read(contents: ReportContents) -> Reader:
    reader = Reader()
    reader.feed(render(contents).html)
    return reader
