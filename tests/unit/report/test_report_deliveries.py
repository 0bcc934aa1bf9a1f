"""Deliveries in a report: every count, reason and exposure, and both effects side by side."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from page_reader import Reader
from sample_contents import LOGIN, get_out_the_vote
from wavewise.errors import InputError
from wavewise.estimate.effects.instruments import cace
from wavewise.report import ReportContents, render
from wavewise.report.blocks import Table
from wavewise.report.deliveries import COUNTED, WaveDeliveries, delivery_tables, reach_sentence
from wavewise.report.figures.sends import sends_figure
from wavewise.report.figures.style import Spec, text_width
from wavewise.report.numbers import NBSP
from wavewise.shared.results import NotEstimable


class MadeEffects:
    """Effects with numbers of one's own, in place of an estimator's."""

    not_estimable: ClassVar = {"teacher": NotEstimable("nobody was reached")}

    def to_frame(self) -> pl.DataFrame:
        names = ("itt", "itt_low", "itt_high", "estimate", "conf_low", "conf_high", "std_error")
        numbers = (0.02, 0.005, 0.035, 0.0296, 0.0074, 0.0516, 0.0113)
        peers = dict(zip(names, numbers, strict=True)) | {
            "first_stage": 0.677,
            "conf_set": "interval",
        }
        nobody = dict.fromkeys(peers, None)
        return pl.DataFrame([{"arm": "peers", **peers}, {"arm": "teacher", **nobody}])


def frame(names: tuple[str, ...], *rows: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=list(names), orient="row")


def sends(*rows: tuple[Any, ...]) -> pl.DataFrame:
    return frame(("arm", "send", "due", "received"), *rows)


MADE: Any = MadeEffects()
DELIVERY = WaveDeliveries(
    wave="one",
    title="First wave",
    outcome=LOGIN,
    received_means="a receipt of delivery (sms)",
    messages=frame(
        ("arm", "channel", *COUNTED),
        ("peers", "sms", 1_200, 1_000, 812, 20, 100, 30, 45, 5),
        ("teacher", "email", 1_100, 1_090, 0, 0, 6, 4, 0, 0),
    ),
    effects=MADE,
    reasons=frame(
        ("arm", "channel", "state", "reason", "n"),
        ("peers", "sms", "failed", "not a number", 100),
    ),
    opt_outs=frame(("arm", "source", "n_units"), ("peers", "stop keyword", 45)),
    exposure=frame(
        ("arm", "n_units", "mean_messages", "mean_received", "share_reached"),
        ("control", 1_200, 0.0, 0.0, 0.0),
        ("peers", 1_200, 1.0, 0.68, 0.677),
    ),
    sends=sends(
        ("peers", 1, 800, 600),
        ("peers", 2, 400, 212),
        ("teacher", 1, 1_100, 1_090),
        ("teacher", 3, 0, 0),
    ),
)


def tables(item: WaveDeliveries) -> dict[str, Table]:
    return {table.caption: table for table in delivery_tables(item, "parents")}


def test_counts_are_those_given_and_add_up() -> None:
    table = tables(DELIVERY)["Messages"]
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
    table = tables(DELIVERY)["Both effects on weekly login rate"]
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
    for part in ("not a number", "stop keyword", "Effect on compliers", "nobody was reached"):
        assert part in text


def test_what_is_not_there_is_left_out() -> None:
    empty, why = pl.DataFrame(), NotEstimable("the wave is not closed")
    bare = replace(DELIVERY, reasons=empty, opt_outs=empty, effects=why)
    assert set(tables(bare)) == {"Messages", "Exposure to messages"}


def columns(spec: Spec) -> dict[tuple[str, int], dict[str, float]]:
    """Blue columns by arm and send, with their height's share of the grey one."""
    return {
        (c["arm"], c["send"]): {**c, "drawn": (c["foot"] - c["top"]) / (c["foot"] - c["full"])}
        for c in spec["layer"][1]["data"]["values"]
    }


def texts(spec: Spec) -> list[dict[str, Any]]:
    return [text for layer in spec["layer"][2:] for text in layer["data"]["values"]]


def test_columns_are_as_high_as_the_share_that_was_received() -> None:
    figure = sends_figure("x", DELIVERY)
    assert figure is not None
    for spec in (figure.wide, figure.narrow):
        heights = {key: column["drawn"] for key, column in columns(spec).items()}
        assert heights == pytest.approx(
            {("peers", 1): 0.75, ("peers", 2): 0.53, ("teacher", 1): 1_090 / 1_100}
        )
        shown = {text["text"] for text in texts(spec)}
        assert {"peers", f"812 of 1,200 (67.7{NBSP}%)", f"53.0{NBSP}%", "2"} <= shown
        assert "3" not in shown
    for part in (f"send 2 53.0{NBSP}%", f"teacher: 1,090 of 1,100 (99.1{NBSP}%)"):
        assert part in figure.alt
    assert DELIVERY.received_means in figure.caption


def test_nothing_overlaps_or_leaves_the_figure_with_many_arms_and_sends() -> None:
    name = "An encouragement in the name of the teacher, then of the other parents"
    rows = tuple(
        (f"{name} {arm}", send, 1_234_567, 1_000_000 + send)
        for arm in range(12)
        for send in range(1, 151)
    )
    short = tuple(("peers", send, 10, 10) for send in range(1, 13))
    cases = [tuple(row for row in rows if row[1] <= n) for n in (1, 2, 7, 30, 150)]
    cases += [short[:n] for n in range(1, 13)]
    for some in cases:
        figure = sends_figure("x", replace(DELIVERY, sends=sends(*some)))
        assert figure is not None
        assert len(figure.alt) < 12 * 450
        for spec, most in ((figure.wide, 668), (figure.narrow, 344)):
            assert spec["width"] + 16 <= most
            lines: dict[float, list[tuple[float, float]]] = {}
            for text in texts(spec):
                left, right = ends(text)
                assert left >= -8
                assert right <= spec["width"] + 8
                lines.setdefault(text["y"], []).append((left, right))
            for line in lines.values():
                for (_, end), (start, _) in pairwise(sorted(line)):
                    assert end <= start


def ends(text: dict[str, Any]) -> tuple[float, float]:
    width = text_width(text["text"], text["size"])
    left = text["x"] - width * {"left": 0, "center": 0.5, "right": 1}[text["align"]]
    return left, left + width


def test_the_sentence_says_what_the_figure_shows() -> None:
    assert reach_sentence(DELIVERY) == (
        f"Of 2,300 messages due, 1,902 (82.7{NBSP}%) were received: from 67.7{NBSP}% (peers) to "
        f"99.1{NBSP}% (teacher). At send 1 it was 88.9{NBSP}%, at send 2 53.0{NBSP}%."
    )
    one = replace(DELIVERY, sends=sends(("peers", 1, 4, 3)))
    assert reach_sentence(one) == f"Of 4 messages due, 3 (75.0{NBSP}%) were received."
    same = replace(DELIVERY, sends=sends(("a", 1, 4, 3), ("b", 1, 8, 6)))
    assert reach_sentence(same).endswith("were received: the same share in every arm.")


def test_nothing_is_drawn_or_said_where_nothing_was_due() -> None:
    for rows in ((), (("peers", 1, 0, 0),)):
        idle = replace(DELIVERY, sends=sends(*rows))
        assert sends_figure("x", idle) is None
        assert reach_sentence(idle) == ""
        html = render(replace(get_out_the_vote(), deliveries=(idle,))).html
        assert "by send" not in html


def test_the_page_has_the_figure_with_its_words_and_its_files() -> None:
    page = render(replace(get_out_the_vote(), deliveries=(DELIVERY,)))
    assert {f"figures/sends-one.{end}" for end in ("svg", "png", "vl.json")} <= set(page.files)
    for width in ("wide", "narrow"):
        assert f'<desc id="sends-one-{width}-desc">Messages received of those due' in page.html
    assert reach_sentence(DELIVERY) in page.html


@pytest.mark.parametrize("numbers", [(0, 4, 3), (1, 4, 5), (1, 4, -1)])
def test_more_received_than_due_is_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="no more received than due"):
        replace(DELIVERY, sends=sends(("peers", *numbers)))


def test_arms_without_both_effects_are_reasons_and_no_rows() -> None:
    assert [row["arm"] for row in DELIVERY.effect_rows] == ["peers"]
    assert DELIVERY.not_estimable == (("teacher", "nobody was reached"),)
    waiting = replace(DELIVERY, effects=NotEstimable("the wave is not closed"))
    assert waiting.effect_rows == ()
    assert waiting.not_estimable == (("", "the wave is not closed"),)


@pytest.mark.parametrize(
    ("effect", "strength", "words"),
    [(0.0, 0.05, "any number"), (3.0, 0.1, ", or "), (0.0, 0.9, " to ")],
)
def test_effects_that_are_no_interval_stand_in_words(effect, strength, words) -> None:
    rng = np.random.default_rng(11)
    arm, ease = np.tile(["control", "sms"], 20), rng.random(40)
    treated = (arm == "sms") * 1.0
    y = rng.normal(size=40) + effect * treated
    reached = (ease < 0.5 + strength * (treated - 0.5)).astype(float)
    item = replace(DELIVERY, effects=cace(y, arm, reached))
    table = tables(item)["Both effects on weekly login rate"]
    assert words in table.rows[0][-1]
    assert json.loads(json.dumps(item.to_dict(), allow_nan=False))["effects"][0]["arm"] == "sms"


def read(contents: ReportContents) -> Reader:
    reader = Reader()
    reader.feed(render(contents).html)
    return reader
