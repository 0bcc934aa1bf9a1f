"""What every public result keeps to: read-only, said in words, as a frame, as JSON and back."""

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, is_dataclass
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sample_results import EXAMPLES, example
from wavewise import decide, estimate, evaluate, randomize
from wavewise.errors import UnavailableError
from wavewise.report.figures.of_results import figure_of
from wavewise.shared.results import CheckResult, Record, Result

PACKAGES = ("randomize", "estimate", "decide", "evaluate")
# What is put in, not what is found.
INPUTS = {
    "estimate.BinomialPrior",
    "estimate.Flat",
    "estimate.HalfNormal",
    "estimate.HalfT",
    "estimate.InverseChiSquare",
    "estimate.Normal",
    "estimate.NormalPriors",
    "estimate.SdPrior",
    "estimate.StudentT",
    "evaluate.Assumptions",
    "evaluate.Benefit",
    "evaluate.BootstrapTruth",
    "evaluate.Design",
    "evaluate.FixedTruth",
    "evaluate.Limits",
    "evaluate.PosteriorTruth",
    "evaluate.PriorTruth",
}
# A part of a result that is never found by itself.
PARTS = {"estimate.WinnerColumn"}
# Those of which the report has no figure.
WITHOUT_FIGURE = {
    "decide.BestArm",
    "decide.Policy",
    "decide.StopOrGo",
    "estimate.CausalForest",
    "estimate.EffectLearner",
    "estimate.Neighbours",
    "estimate.OutcomeIndex",
    "estimate.PooledBeta",
    "estimate.QValues",
    "estimate.SurrogateIndex",
    "estimate.PropensityEstimate",
    "estimate.bayes.BetaContrast",
    "estimate.bayes.DrawsContrast",
    "estimate.effects.Estimate",  # the example has no interval
    "evaluate.AnotherWave",
    "evaluate.Calibration",
    "evaluate.Comparison",
    "evaluate.DoublyRobustScores",
    "evaluate.Estimate",
    "evaluate.PersonalizationPower",
    "evaluate.Power",
    "evaluate.Simulated",
    "evaluate.WavePlan",
    "randomize.Assignment",
    "randomize.Counts",
    "shared.CheckResult",
}

each = pytest.mark.parametrize("name", sorted(EXAMPLES))


def _public_classes() -> dict[str, type]:
    found = {}
    for package in PACKAGES:
        module = import_module(f"wavewise.{package}")
        for name in module.__all__:
            if inspect.isclass(value := getattr(module, name)):
                found[f"{package}.{name}"] = value
    return found


def test_every_public_class_is_a_result_with_an_example_or_an_input() -> None:
    classes = _public_classes()
    results = {name for name, value in classes.items() if issubclass(value, Result)}
    assert classes.keys() == results | INPUTS | PARTS
    assert results <= EXAMPLES.keys()
    for name in results:
        assert type(example(name)) is classes[name]


@each
def test_frozen_and_read_only(name: str) -> None:
    found = example(name)
    assert is_dataclass(found)
    assert type(found).__eq__ is Record.__eq__
    with pytest.raises(FrozenInstanceError):
        found.anything = 1
    for field in fields(found):
        value = getattr(found, field.name)
        for array in value.values() if isinstance(value, dict) else [value]:
            assert not isinstance(array, np.ndarray) or not array.flags.writeable


@each
def test_said_in_words(name: str) -> None:
    found = example(name)
    assert found.summary().strip()
    assert str(found) == found.summary()


@each
def test_frames_of_three_kinds(name: str) -> None:
    found = example(name)
    frame = found.to_frame()
    assert isinstance(frame, pl.DataFrame)
    assert frame.width >= 1
    pandas, arrow = found.to_frame("pandas"), found.to_frame("pyarrow")
    assert isinstance(pandas, pd.DataFrame)
    assert isinstance(arrow, pa.Table)
    assert list(pandas.columns) == arrow.column_names == frame.columns
    assert len(pandas) == arrow.num_rows == frame.height


@each
def test_json_and_back(name: str) -> None:
    found = example(name)
    text = json.dumps(found.to_dict(), allow_nan=False)
    for back in (type(found).from_dict(json.loads(text)), Result.from_dict(json.loads(text))):
        assert type(back) is type(found)
        assert back == found
        assert hash(back) == hash(found)
        assert back.summary() == found.summary()
        assert back.to_frame().equals(found.to_frame())


@each
def test_facts_are_told_in_json_too(name: str) -> None:
    found = example(name)
    facts = json.loads(json.dumps(found.facts(), allow_nan=False))
    whole = found.to_dict()
    assert facts == {key: whole[key] for key in facts}
    assert {"kind", "version"} <= whole.keys()


@each
def test_tables_in_three_forms(name: str) -> None:
    found = example(name)
    head = found._printed().head
    for text in (found.to_markdown(), found.to_html(), found._repr_html_(), found.to_latex()):
        assert text.count("\n") >= 2
        assert "nan" not in text.split("not estimable")[0].replace("instan", "").replace(
            "finan", ""
        )
    assert found.to_html().startswith("<table>")
    assert found.to_latex().startswith(r"\begin{tabular}")
    assert found.to_markdown().startswith(f"| {head[0]}".rstrip() if head[0] else "|")


@each
def test_a_figure_or_an_error_that_says_there_is_none(name: str) -> None:
    found = example(name)
    if name in WITHOUT_FIGURE:
        with pytest.raises(UnavailableError, match="take to_frame"):
            found.plot()
    else:
        assert "<svg" in figure_of(found)._repr_svg_()


def test_a_check_is_a_result() -> None:
    check = CheckResult("share < 1", "2 arms", None, "x & y", ({"arm": "a|b", "n": 1},), None)
    assert Result.from_dict(json.loads(json.dumps(check.to_dict()))) == check
    assert "a\\|b" in check.to_markdown()
    assert "share &lt; 1: inconclusive. x &amp; y" in check.to_html()


def test_an_altair_chart_where_altair_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("altair")
    module.Chart = SimpleNamespace(from_dict=lambda spec: ("chart", spec))
    monkeypatch.setitem(sys.modules, "altair", module)
    kind, spec = example("evaluate.TargetingCurve").plot()
    assert kind == "chart"
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    assert "null" not in json.dumps(spec["layer"][0]["encoding"])  # Altair knows no null channel


def test_without_altair_a_figure_that_a_notebook_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    figure = example("evaluate.TargetingCurve").plot()
    assert figure._repr_svg_().startswith("<svg")
    assert figure.to_png()[1:4] == b"PNG"


_N = 120
_ARM = np.resize(["control", "sms"], _N)
_Y = np.random.default_rng(3).random(_N)
_SHARES = {"control": 0.5, "sms": 0.5}


@pytest.mark.parametrize(
    "make",
    [
        lambda of: estimate.ate(of(_Y), of(_ARM)),
        lambda of: estimate.cace(of(_Y), of(_ARM), of(_ARM == "sms")),
        lambda of: estimate.neighbours({"age": of(_Y)}, of(_ARM), of(_Y), control="control", k=5),
        lambda of: estimate.causal_forest(
            {"age": of(_Y)}, of(_ARM), of(_Y), control="control", propensity=_SHARES,
            rng=np.random.default_rng(1), n_trees=100,
        ),
        lambda of: randomize.assign(of(np.arange(_N)), None, _SHARES, np.random.default_rng(1)),
        lambda of: evaluate.policy_contrast(
            decide.uniform("sms"), decide.uniform("control"), None, of(_ARM), of(_Y),
            propensity=_SHARES,
        ),
        lambda of: evaluate.toc(of(_Y), of(_Y[::-1])),
    ],
    ids=["ate", "cace", "neighbours", "causal_forest", "assign", "policy_contrast", "toc"],
)  # fmt: skip
def test_frames_are_of_the_kind_that_came_in(make: Callable[[Any], Result]) -> None:
    assert isinstance(make(pd.Series).to_frame(), pd.DataFrame)
    assert isinstance(make(np.asarray).to_frame(), pl.DataFrame)
