"""Arms by several estimators with the winner below them: values, layout, reasons."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError
from wavewise.shared.results import NotEstimable, Result
from wavewise.simulated.adaptive_waves import AdaptiveDesign, simulate_adaptive_waves

METHODS = ("one-sided", "hybrid", "conditional", "projection")


@pytest.fixture(scope="module")
def data():
    design = AdaptiveDesign(np.array([0.3, 0.35, 0.5]), 900, 3, floor=0.05)
    return simulate_adaptive_waves(design, np.random.default_rng(1))


@pytest.fixture(scope="module")
def table(data):
    return ww.estimate.adaptive_comparison(
        data.outcome, data.arm, data.propensity, wave=data.wave, level=0.9
    )


def test_cells_are_those_of_the_estimators_and_of_winner(data, table):
    given = (data.outcome, data.arm, data.propensity)
    expected = {
        "Unweighted": ww.estimate.weighted_m(*given, stabilizer="none", level=0.9),
        "Weighted": ww.estimate.weighted_m(*given, level=0.9),
        "Batched": ww.estimate.batched_ols(data.outcome, data.arm, data.wave, level=0.9),
    }
    frame = table.to_frame()
    assert frame.height == 3 * (3 + 4)
    for label, one in expected.items():
        arms = frame.filter(panel="A", column=label)
        for name in ("estimate", "conf_low", "conf_high"):
            assert np.allclose(arms[name], one.to_frame()[name][:3])
        for method in METHODS:
            row = frame.filter(column=label, row=method).row(0, named=True)
            found = one.winner(method)
            assert row["arm"] == one.arms[found.arm]
            assert (row["estimate"], row["conf_low"], row["conf_high"]) == pytest.approx(
                (found.estimate, *found.conf)
            )


def test_control_is_shown_and_cannot_win(data):
    higher = np.where(data.arm == 0, 1.0, data.outcome)
    table = ww.estimate.adaptive_comparison(higher, data.arm, data.propensity, control=0)
    assert {w.arm for c in table.columns for w in c.winners.values()} <= {1, 2}
    assert all(w.n_arms == 2 for c in table.columns for w in c.winners.values())


def test_lower_is_better_is_the_mirror_image(data):
    given = (data.arm, data.propensity)
    low = ww.estimate.adaptive_comparison(data.outcome, *given, lower_is_better=True)
    mirrored = ww.estimate.adaptive_comparison(-data.outcome, *given)
    for ours, theirs in zip(low.columns, mirrored.columns, strict=True):
        for method in METHODS:
            a, b = ours.winners[method], theirs.winners[method]
            assert a.arm == b.arm == int(np.argmin(ours.estimate))
            assert (a.conf_low, a.estimate, a.conf_high) == pytest.approx(
                (-b.conf_high, -b.estimate, -b.conf_low)
            )
            if method == "one-sided":
                assert a.corrected_estimate == pytest.approx(-b.corrected_estimate)
                assert a.corrected_estimate > a.estimate


class _Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.open = [], False

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        self.open = tag in {"th", "td"}
        if self.open:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, text):
        if self.open:
            self.rows[-1][-1] += text


def test_text_html_and_latex_hold_the_same_cells(table):
    cells = [list(row) for row in table.cells()]
    page = _Cells()
    page.feed(table.to_html())
    assert page.rows[0] == ["", "Unweighted", "Weighted", "Batched"]
    assert page.rows[1:] == cells
    latex = table.to_latex()
    for row in cells:
        assert " & ".join(row) + r" \\" in latex
    assert latex.count(r"\\") == len(cells) + 1
    text = table.summary()
    assert all(cell in text for row in cells for cell in row)
    assert "Use the one-sided interval" in text
    assert r"90\%" in latex
    assert json.loads(json.dumps(table.to_dict()))["rows"][0]["panel"] == "A"


def test_a_table_of_an_earlier_version_has_no_one_sided_row(table):
    stored = table.to_dict()
    column = replace(
        table.columns[0],
        winners={m: w for m, w in table.columns[0].winners.items() if m != "one-sided"},
    )
    earlier = replace(table, columns=(column,))
    assert earlier.to_frame().filter(panel="B")["row"].to_list() == list(METHODS[1:])
    assert "one-sided" not in [row[0] for row in earlier.cells()]
    assert Result.from_dict(json.loads(json.dumps(stored))) == table


def test_names_with_marks_are_escaped():
    table = ww.estimate.winner_table({"A & B": ([0.0, 1.0], [1.0, 1.0])}, arms=["x_1", "<i>"])
    assert r"A \& B" in table.to_latex()
    assert r"x\_1" in table.to_latex()
    assert "&lt;i&gt;" in table.to_html()


def test_columns_of_ones_own_stand_first(data):
    own = {"With schools": (np.array([0.3, 0.35, 0.49]), np.full(3, 1e-3))}
    table = ww.estimate.adaptive_comparison(data.outcome, data.arm, data.propensity, others=own)
    assert [c.label for c in table.columns] == ["With schools", "Unweighted", "Weighted"]
    assert table.columns[0].winners["projection"].arm == 2


def test_an_arm_without_outcomes_and_a_column_without_reasons_are_named(data):
    y = np.where(data.arm == 1, np.nan, data.outcome)
    table = ww.estimate.adaptive_comparison(
        y, data.arm, data.propensity, wave=np.ones(y.size, dtype=int)
    )
    frame = table.to_frame()
    assert frame.filter(panel="A", row="1")["reason"].str.contains("missing|one wave").all()
    assert frame.filter(panel="A", row="1")["estimate"].null_count() == 3
    assert frame.filter(column="Weighted", row="hybrid")["arm"].item() == "2"
    assert frame.filter(column="Batched", panel="B")["reason"].null_count() == 0
    assert any("one wave" in why for why in table.reasons())
    singular = ww.estimate.winner_table({"x": ([0.0, 1.0], np.ones((2, 2)))}, arms=["a", "b"])
    found = singular.columns[0].winners
    assert all(isinstance(w, NotEstimable) and "singular" in w.reason for w in found.values())
    tied = ww.estimate.winner_table({"x": ([1.0, 1.0], [1.0, 1.0])}, arms=["a", "b"])
    assert isinstance(tied.columns[0].winners["conditional"], NotEstimable)
    assert "share the estimate" in tied.summary()


@pytest.mark.parametrize(
    ("columns", "more", "text"),
    [
        ({}, {"arms": ["a"]}, "needed one estimator"),
        ({"x": ([1, 2], [1, 1])}, {}, "needed the names"),
        ({"x": ([1, 2], [1, 1])}, {"arms": ["a", "a"]}, "each once"),
        ({"x": ([1, 2, 3], [1, 1])}, {"arms": ["a", "b"]}, "shapes"),
        ({"x": ("one", "two")}, {"arms": ["a", "b"]}, "needed estimates"),
        ({"x": ([1, 2], [1, 1])}, {"arms": ["a", "b"], "control": "c"}, "control"),
        ({"x": ([1, np.nan], [1, 1])}, {"arms": ["a", "b"]}, "missing or infinite"),
    ],
)
def test_bad_input_is_named(columns, more, text):
    with pytest.raises(InputError, match=text):
        ww.estimate.winner_table(columns, **more)


def test_propensities_that_were_not_stored_are_named(data):
    with pytest.raises(EstimationError, match="not stored"):
        ww.estimate.adaptive_comparison(data.outcome, data.arm, None)
