"""Every public estimator reads the same content to the same answer, whatever container holds it.

One entry a function of `__all__` in `ww.randomize`, `ww.estimate`, `ww.decide` and `ww.evaluate`
(and its checks). A function without an entry fails here, and so does a container that one function
reads otherwise than the others.
"""

import datetime as dt
import inspect
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import wavewise as ww
from wavewise.errors import InputError, WavewiseError
from wavewise.evaluate import checks

N = 120
PLACES = {"ww.randomize": ww.randomize, "ww.estimate": ww.estimate, "ww.decide": ww.decide}
PLACES |= {"ww.evaluate": ww.evaluate, "ww.evaluate.checks": checks}
ELSEWHERE = {"ww.evaluate.checks.balance", "ww.evaluate.checks.sample_ratio"}  # ww.randomize's


def _rng() -> np.random.Generator:
    return np.random.default_rng(5)


@cache
def _data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    arm = rng.permutation(np.repeat([0, 1], N // 2))
    wave = np.repeat([0, 1], N // 2)
    x = rng.integers(0, 9, N).astype(float)
    outcome = (rng.integers(0, 4, N) + arm * (x > 4)).astype(float)
    trials = np.full(N, 4)
    return {
        "arm": arm,
        "wave": wave,
        "cluster": np.arange(N) // 5,
        "strata": np.arange(N) % 3,
        "unit": rng.permutation(N),
        "x": x,
        "outcome": outcome,
        "weights": rng.integers(1, 4, N).astype(float),
        "propensity": np.full(N, 0.5),
        "received": arm * rng.integers(0, 2, N).astype(float),
        "successes": rng.binomial(4, 0.3 + 0.1 * arm),
        "trials": trials,
        "scores": rng.integers(-3, 5, N).astype(float),
        "priority": rng.permutation(N).astype(float),
        "given_a": arm,
        "given_b": (np.arange(N) // 2) % 2,
        "planned": np.full(N, 3),
        "delivered": rng.integers(0, 4, N),
        "late": np.arange(N) % 3 == 0,
    }


SHARES = {0: 0.5, 1: 0.5}


@dataclass(frozen=True)
class Entry:
    """How an estimator is called on columns of the data, and which kind each column is."""

    call: Callable[[dict[str, Any]], Any]
    numbers: tuple[str, ...] = ()  # outcomes and the like
    labels: tuple[str, ...] = ()
    drops: bool = True  # whether a unit with a missing outcome is left out
    first: str = ""  # the column that comes first in the call, if it is not the first number


def _frame(d: dict[str, Any]) -> dict[str, Any]:
    return {"x": d["x"]}


E, V, R, D = ww.estimate, ww.evaluate, ww.randomize, ww.decide

ENTRIES: dict[str, Entry] = {
    "ww.randomize.assign": Entry(
        lambda d: R.assign(d["unit"], d["strata"], {"a": 0.5, "b": 0.5}, _rng()).arm.tolist(),
        labels=("unit", "strata"),
    ),
    "ww.randomize.balance": Entry(
        lambda d: R.balance(_frame(d), d["arm"], strata=d["strata"], cluster=None),
        labels=("arm", "strata"),
    ),
    "ww.randomize.sample_ratio": Entry(
        lambda d: R.sample_ratio(d["arm"], {"0": 0.5, "1": 0.5}, strata=d["strata"]),
        labels=("arm", "strata"),
    ),
    "ww.estimate.ate": Entry(
        lambda d: E.ate(
            d["outcome"], d["arm"], control=d["control"], strata=d["strata"],
            covariates=_frame(d), cluster=d["cluster"], weights=d["weights"],
        ),
        ("outcome",),
        ("arm", "strata", "cluster"),
    ),
    "ww.estimate.cace": Entry(
        lambda d: E.cace(
            d["outcome"], d["arm"], d["received"], control=d["control"], strata=d["strata"],
            cluster=d["cluster"],
        ),
        ("outcome",),
        ("arm", "strata", "cluster"),
    ),
    "ww.estimate.wild_bootstrap": Entry(
        lambda d: E.wild_bootstrap(
            d["outcome"], d["arm"], cluster=d["cluster"], control=d["control"],
            strata=d["strata"], weights=d["weights"], n_draws=99, rng=np.random.default_rng(1),
        ),
        ("outcome",),
        ("arm", "strata", "cluster"),
    ),
    "ww.estimate.index": Entry(
        lambda d: E.index(
            {"a": d["outcome"], "b": d["scores"]}, d["arm"], control=d["control"],
            higher_is_better={"b": False},
        ).values[np.isfinite(_known(d))].tolist(),
        ("outcome", "scores"),
        ("arm",),
    ),
    "ww.estimate.surrogate_index": Entry(
        lambda d: E.surrogate_index(
            d["outcome"], {"a": d["scores"], "b": d["x"]}, cluster=d["cluster"]
        ),
        ("outcome", "scores"),
        ("cluster",),
    ),
    "ww.estimate.normal_means": Entry(
        lambda d: E.normal_means(d["outcome"], d["arm"], cluster=d["cluster"]),
        ("outcome",),
        ("arm", "cluster"),
    ),
    "ww.estimate.persistence": Entry(
        lambda d: E.persistence(
            {"1": d["outcome"], "2": d["scores"]}, d["arm"], control=d["control"], n_during=1,
            strata=d["strata"], cluster=d["cluster"], weights=d["weights"],
        ),
        ("outcome", "scores"),
        ("arm", "strata", "cluster"),
    ),
    "ww.estimate.adaptive_aipw": Entry(
        lambda d: E.adaptive_aipw(
            d["outcome"], d["arm"], np.full((N, 2), 0.5), d["wave"], cluster=None
        ),
        ("outcome",),
        ("arm", "wave"),
    ),
    "ww.estimate.adaptive_comparison": Entry(
        lambda d: E.adaptive_comparison(d["outcome"], d["arm"], d["propensity"], wave=d["wave"]),
        ("outcome",),
        ("arm", "wave"),
    ),
    "ww.estimate.batched_ols": Entry(
        lambda d: E.batched_ols(d["outcome"], d["arm"], d["wave"]), ("outcome",), ("arm", "wave")
    ),
    "ww.estimate.confidence_sequence": Entry(
        lambda d: E.confidence_sequence(
            d["outcome"], d["arm"], np.full((N, 2), 0.5), d["wave"],
            tightest_at=N, bounds=(0, 4), strata=d["strata"],
        ),
        ("outcome",),
        ("arm", "wave", "strata"),
    ),
    "ww.estimate.weighted_m": Entry(
        lambda d: E.weighted_m(
            d["outcome"], d["arm"], d["propensity"], cluster=d["cluster"], covariates=_frame(d)
        ),
        ("outcome",),
        ("arm", "cluster"),
    ),
    "ww.estimate.randomization_test": Entry(
        lambda d: E.randomization_test(
            d["outcome"], d["arm"], lambda rng: rng.permutation(_data()["arm"]).astype(str),
            n_draws=40, rng=_rng(), control=d["control"], intervals=False,
        ),
        ("outcome",),
        ("arm",),
    ),
    "ww.estimate.causal_forest": Entry(
        lambda d: E.causal_forest(
            _frame(d), d["arm"], d["outcome"], control=d["control"], propensity=SHARES,
            cluster=None, n_trees=8, rng=_rng(), n_threads=1,
        ).effects_oob[np.isfinite(_known(d))].round(12).tolist(),
        ("outcome",),
        ("arm",),
        first="arm",
    ),
    "ww.estimate.effect_learner": Entry(
        lambda d: E.effect_learner(
            _frame(d), d["arm"], d["outcome"], control=d["control"], propensity=SHARES,
            n_trees=8, rng=_rng(), n_threads=1,
        ).effects_oob[np.isfinite(_known(d))].round(9).tolist(),
        ("outcome",),
        ("arm",),
        first="arm",
    ),
    "ww.estimate.propensity": Entry(
        lambda d: E.propensity(_frame(d), d["arm"], cluster=d["cluster"], n_folds=2),
        (),
        ("arm", "cluster"),
        first="arm",
    ),
    "ww.estimate.neighbours": Entry(
        lambda d: E.neighbours(
            _frame(d), d["arm"], d["outcome"], control=d["control"], k=10, propensity=SHARES
        ).effects_oob[np.isfinite(_known(d))].round(12).tolist(),
        ("outcome",),
        ("arm",),
        first="arm",
    ),
    "ww.estimate.hierarchical_binomial": Entry(
        lambda d: E.hierarchical_binomial(
            d["successes"], d["trials"], d["arm"], d["cluster"], rng=_rng(), n_draws=64
        ),
        ("successes",),
        ("arm", "cluster"),
        drops=False,
    ),
    "ww.estimate.prior_sensitivity": Entry(
        lambda d: E.prior_sensitivity(
            d["successes"], d["trials"], d["arm"], d["cluster"], rng=_rng(), n_draws=64,
            priors=[E.BinomialPrior()],
        ),
        ("successes",),
        ("arm", "cluster"),
        drops=False,
    ),
    "ww.estimate.posterior_predictive_check": Entry(
        lambda d: E.posterior_predictive_check(
            _posterior(), d["successes"], d["trials"], d["arm"], d["cluster"], rng=_rng(),
            n_replications=100,
        ),
        ("successes",),
        ("arm", "cluster"),
        drops=False,
    ),
    "ww.estimate.beta_binomial": Entry(
        lambda d: E.beta_binomial(d["successes"][:8], d["trials"][:8]),
        ("successes",),
        drops=False,
    ),
    "ww.estimate.hierarchical_normal": Entry(
        lambda d: E.hierarchical_normal(
            d["outcome"], unit=d["unit"], cluster=d["cluster"], period=d["wave"], arm=d["arm"],
            control=d["control"], rng=_rng(), n_draws=1000,
        ),
        ("outcome",),
        ("arm", "cluster", "unit"),
    ),
    "ww.evaluate.policy_value": Entry(
        lambda d: V.policy_value(
            d["given_a"], _frame(d), d["arm"], d["outcome"], propensity=SHARES,
            cluster=d["cluster"],
        ),
        ("outcome",),
        ("arm", "cluster", "given_a"),
        first="given_a",
    ),
    "ww.evaluate.policy_contrast": Entry(
        lambda d: V.policy_contrast(
            d["given_a"], d["given_b"], _frame(d), d["arm"], d["outcome"], propensity=SHARES
        ),
        ("outcome",),
        ("arm", "given_a", "given_b"),
        first="given_a",
    ),
    "ww.evaluate.doubly_robust_scores": Entry(
        lambda d: V.doubly_robust_scores(
            _frame(d), d["arm"], d["outcome"], propensity=SHARES, control=d["control"],
            cluster=d["cluster"],
        ),
        ("outcome",),
        ("arm", "cluster"),
        first="arm",
    ),
    "ww.evaluate.paired_contrast": Entry(
        lambda d: V.paired_contrast(
            d["outcome"], d["arm"], d["given_a"], d["given_b"], policies=(0, 1),
            strata=d["strata"],
        ),
        ("outcome",),
        ("arm", "given_a", "given_b", "strata"),
    ),
    "ww.evaluate.toc": Entry(
        lambda d: V.toc(d["priority"], d["scores"], cluster=d["cluster"]), ("scores",), ("cluster",)
    ),
    "ww.evaluate.calibration": Entry(
        lambda d: V.calibration(d["priority"], d["scores"], cluster=d["cluster"]),
        ("scores",),
        ("cluster",),
    ),
    "ww.evaluate.cost_curve": Entry(
        lambda d: V.cost_curve(d["priority"], d["scores"], cluster=d["cluster"]),
        ("scores",),
        ("cluster",),
    ),
    "ww.evaluate.best_linear_projection": Entry(
        lambda d: V.best_linear_projection(_frame(d), d["scores"], cluster=d["cluster"]),
        ("scores",),
        ("cluster",),
    ),
    "ww.decide.policy_tree": Entry(
        lambda d: D.policy_tree(
            _frame(d), np.column_stack([np.zeros(N), np.asarray(_data()["scores"])]),
            arms=["no", "yes"], min_leaf=10, depth=1,
        ).describe(),
    ),
    "ww.evaluate.checks.attrition_bounds": Entry(
        lambda d: checks.attrition_bounds(d["outcome"], d["arm"], control=d["control"]),
        ("outcome",),
        ("arm",),
        drops=False,
    ),
    "ww.evaluate.checks.control_drift": Entry(
        lambda d: checks.control_drift(
            d["outcome"], d["arm"], d["wave"], control=d["control"], cluster=d["cluster"]
        ),
        ("outcome",),
        ("arm", "wave", "cluster"),
        drops=False,
    ),
    "ww.evaluate.checks.dose_by_arm": Entry(
        lambda d: checks.dose_by_arm(
            d["delivered"], d["planned"], d["arm"], strata=d["strata"]
        ),
        ("delivered",),
        ("arm", "strata"),
        drops=False,
    ),
    "ww.evaluate.checks.heaping": Entry(
        lambda d: checks.heaping(d["outcome"], arm=d["arm"], cluster=d["cluster"]),
        ("outcome",),
        ("arm", "cluster"),
    ),
    "ww.evaluate.checks.implausible_clusters": Entry(
        lambda d: checks.implausible_clusters(d["outcome"], d["cluster"]),
        ("outcome",),
        ("cluster",),
        drops=False,
    ),
    "ww.evaluate.checks.late_deliveries": Entry(
        lambda d: checks.late_deliveries(
            d["outcome"], d["arm"], d["late"], period=d["wave"], cluster=d["cluster"]
        ),
        ("outcome",),
        ("arm", "cluster", "wave"),
        drops=False,
    ),
    "ww.evaluate.checks.missing_outcomes": Entry(
        lambda d: checks.missing_outcomes(
            d["outcome"], d["arm"], wave=d["wave"], strata=d["strata"], cluster=d["cluster"]
        ),
        ("outcome",),
        ("arm", "wave", "strata", "cluster"),
        drops=False,
    ),
}  # fmt: skip

# Functions whose arguments hold no column with one entry a unit, and those that take what the
# entries above take in the very same way.
WITHOUT_UNITS = {
    "ww.estimate.bootstrap_chosen_arm", "ww.estimate.pair_margins", "ww.estimate.scaled_priors",
    "ww.estimate.q_values", "ww.estimate.study_priors", "ww.estimate.tried_priors",
    "ww.estimate.winner",
    "ww.estimate.winner_table", "ww.decide.best_arm", "ww.decide.best_on_average",
    "ww.decide.safe_policy", "ww.decide.exploration_shares", "ww.decide.load_policy",
    "ww.decide.next_shares", "ww.decide.personalize", "ww.decide.random_policy",
    "ww.decide.shares", "ww.decide.stop_or_go", "ww.decide.target", "ww.decide.uniform",
    "ww.decide.uniform_best", "ww.decide.with_control", "ww.decide.with_floor",
    "ww.estimate.pooled_beta_binomial",
    "ww.evaluate.compare", "ww.evaluate.ex_ante", "ww.evaluate.if_another_wave",
    "ww.evaluate.mixture_propensity", "ww.evaluate.personalization_power",
    "ww.evaluate.plan_waves", "ww.evaluate.power", "ww.evaluate.simulate",
}  # fmt: skip
BY_ANOTHER = {
    "ww.evaluate.ex_post": "ww.estimate.hierarchical_binomial",
    "ww.estimate.score_panels": "ww.estimate.hierarchical_normal",
    "ww.estimate.score_predictive_check": "ww.estimate.hierarchical_normal",
    "ww.estimate.score_prior_sensitivity": "ww.estimate.hierarchical_normal",
}


@cache
def _posterior() -> Any:
    d = _data()
    return E.hierarchical_binomial(
        d["successes"], d["trials"], d["arm"], d["cluster"], rng=_rng(), n_draws=64
    )


def _known(d: dict[str, Any]) -> np.ndarray:
    return d["outcome_array"]


def _call(entry: Entry, **changes: Any) -> Any:
    d: dict[str, Any] = {**_data(), "control": 0} | changes
    d["outcome_array"] = d.pop("known", _data()["outcome"])
    return entry.call(d)


def _plain(found: Any) -> Any:
    """An answer as plain values, without what names the container's types."""
    if hasattr(found, "to_dict"):
        return _told(json.loads(json.dumps(found.to_dict(), default=str)))
    return found


def _told(value: Any) -> Any:
    """Without hashes of the data and the state that only reading back needs."""
    if isinstance(value, dict):
        hidden = {"provenance", "state"}
        return {key: _told(part) for key, part in value.items() if key not in hidden}
    return [_told(part) for part in value] if isinstance(value, list) else value


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_same(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(_same, found, expected))
    if isinstance(expected, float) and isinstance(found, int | float):
        both_absent = math.isnan(found) and math.isnan(expected)
        return both_absent or math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
    return bool(found == expected)


def functions() -> list[str]:
    return [
        f"{place}.{name}"
        for place, module in PLACES.items()
        for name in module.__all__
        if inspect.isfunction(getattr(module, name)) and f"{place}.{name}" not in ELSEWHERE
    ]


def test_every_public_function_has_an_entry() -> None:
    known = set(ENTRIES) | WITHOUT_UNITS | set(BY_ANOTHER)
    assert sorted(known) == sorted(functions())
    for name, other in BY_ANOTHER.items():
        assert other in ENTRIES, name


# --- containers ---


def _nullable(values: np.ndarray) -> pd.Series:
    kind = {"i": "Int64", "f": "Float64", "b": "boolean"}[values.dtype.kind]
    return pd.Series(values, dtype=kind)


NUMBERS: dict[str, Callable[[np.ndarray], Any]] = {
    "list": lambda v: v.tolist(),
    "tuple": lambda v: tuple(v.tolist()),
    "float32": lambda v: v.astype(np.float32),
    "int16": lambda v: v.astype(np.int16),
    "uint8 or int64": lambda v: v.astype(np.uint8 if v.min() >= 0 else np.int64),
    "objects": lambda v: v.astype(object),
    "masked": lambda v: np.ma.masked_array(v, mask=np.zeros(v.size, bool)),
    "big endian": lambda v: v.astype(">f8"),
    "every other of two": lambda v: np.repeat(v, 2)[::2],
    "polars": pl.Series,
    "polars int": lambda v: pl.Series(v.astype(np.int32)),
    "pandas": pd.Series,
    "pandas nullable": _nullable,
    "pandas arrow": lambda v: pd.Series(v).astype("double[pyarrow]"),
    "pandas index": pd.Index,
    "pyarrow": pa.array,
    "pyarrow chunks": lambda v: pa.chunked_array([pa.array(v[:7]), pa.array(v[7:])]),
}
LABELS: dict[str, Callable[[np.ndarray], Any]] = {
    **NUMBERS,
    "text": lambda v: v.astype(str),
    "text list": lambda v: v.astype(str).tolist(),
    "text objects": lambda v: v.astype(str).astype(object),
    "polars text": lambda v: pl.Series(v.astype(str)),
    "polars categories": lambda v: pl.Series(v.astype(str), dtype=pl.Categorical),
    "polars enum": lambda v: pl.Series(v.astype(str), dtype=pl.Enum(sorted(set(v.astype(str))))),
    "pandas text": lambda v: pd.Series(v.astype(str)),
    "pandas categories": lambda v: pd.Series(v).astype("category"),
    "pandas text categories": lambda v: pd.Series(v.astype(str)).astype("category"),
    "pandas string": lambda v: pd.Series(v.astype(str), dtype="string"),
    "pyarrow text": lambda v: pa.array(v.astype(str).tolist()),
    "pyarrow dictionary": lambda v: pa.array(v.astype(str).tolist()).dictionary_encode(),
}
TEXT_ORDER = {"unit", "cluster"}  # as text these sort otherwise, so that other draws are right


@pytest.mark.parametrize("name", ENTRIES)
def test_equal_numbers_give_equal_answers_in_any_container(name: str) -> None:
    entry = ENTRIES[name]
    expected = _plain(_call(entry))
    for column in entry.numbers:
        for container, made in NUMBERS.items():
            found = _plain(_call(entry, **{column: made(_data()[column])}))
            assert _same(found, expected), (column, container)


@pytest.mark.parametrize("name", ENTRIES)
def test_equal_labels_give_equal_answers_in_any_container(name: str) -> None:
    entry = ENTRIES[name]
    expected = _plain(_call(entry))
    for column in entry.labels:
        for container, made in LABELS.items():
            if column in TEXT_ORDER and container not in NUMBERS:
                continue
            found = _plain(_call(entry, **{column: made(_data()[column])}))
            assert _same(found, expected), (column, container)


@pytest.mark.parametrize("name", [n for n in ENTRIES if "arm" in ENTRIES[n].labels])
@pytest.mark.parametrize("control", [0, 0.0, "0", np.int64(0), np.float32(0), np.str_("0")])
def test_the_control_is_found_in_any_type(name: str, control: Any) -> None:
    entry = ENTRIES[name]
    expected = _plain(_call(entry))
    for made in (np.asarray, lambda v: v.astype(float), lambda v: v.astype(str)):
        found = _plain(_call(entry, arm=made(_data()["arm"]), control=control))
        assert _same(found, expected)


# --- missing ---


def _gaps(values: np.ndarray, at: list[int]) -> dict[str, Any]:
    mask = np.zeros(values.size, bool)
    mask[at] = True
    objects = np.where(mask, None, values.astype(object))
    return {
        "nan": np.where(mask, np.nan, values.astype(float)),
        "none": objects.tolist(),
        "masked": np.ma.masked_array(values, mask=mask),
        "polars": pl.Series(objects.tolist(), dtype=pl.Float64),
        "pandas nullable": pd.Series(objects.tolist(), dtype="Float64"),
        "pandas objects": pd.Series(np.where(mask, pd.NA, objects), dtype=object),
        "pyarrow": pa.array(objects.tolist(), type=pa.float64()),
    }


@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if e.numbers])
def test_missing_outcomes_are_left_out_everywhere_or_named(name: str) -> None:
    entry, column = ENTRIES[name], ENTRIES[name].numbers[0]
    values, answers = _data()[column], []
    known = np.where(np.isin(np.arange(N), [3, 50, 77]), np.nan, _data()["outcome"])
    for container, made in _gaps(values, [3, 50, 77]).items():
        try:
            answers.append(_plain(_call(entry, **{column: made, "known": known})))
        except WavewiseError as error:
            assert not entry.drops, (container, error)
            answers.append(error.message)
        assert _same(answers[-1], answers[0]), container


@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if e.labels])
def test_missing_labels_are_an_error_that_says_how_many(name: str) -> None:
    entry = ENTRIES[name]
    for column in entry.labels:
        for container, made in _gaps(_data()[column], [3, 50]).items():
            with pytest.raises(InputError, match="found 2 missing labels of 120"):
                _call(entry, **{column: made})
            assert container


# --- alignment by index ---


@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if len(e.numbers + e.labels) > 1])
def test_pandas_series_are_put_in_one_order(name: str) -> None:
    entry = ENTRIES[name]
    first, *others = _in_order(entry)
    expected = _plain(_call(entry))
    order = np.random.default_rng(3).permutation(N)
    lead = pd.Series(_data()[first], index=np.arange(N) + 100)
    for column in others:
        moved = pd.Series(_data()[column], index=np.arange(N) + 100).iloc[order]
        assert _same(_plain(_call(entry, **{first: lead, column: moved})), expected), column
        elsewhere = pd.Series(_data()[column], index=np.arange(N))
        with pytest.raises(InputError, match=r"found \d+ labels of the pandas index"):
            _call(entry, **{first: lead, column: elsewhere})
        with pytest.raises(InputError, match=r"found 119 rows"):
            _call(entry, **{first: lead, column: moved.iloc[1:]})
        twice = pd.Series(_data()[column], index=np.arange(N) // 2)
        with pytest.raises(InputError, match="with repeats"):
            _call(entry, **{first: lead, column: twice})


def _in_order(entry: Entry) -> list[str]:
    """The entry's columns, the one that comes first in the call in front."""
    first = entry.first or [*entry.numbers, *entry.labels][0]
    return [first, *(c for c in (*entry.numbers, *entry.labels) if c != first)]


def test_strata_of_several_columns_are_their_cells() -> None:
    d = _data()
    side = np.where(np.arange(N) % 2, "north", "south")
    cells = np.char.add(np.char.add(d["strata"].astype(str), ", "), side)
    expected = E.ate(d["outcome"], d["arm"], control=0, strata=cells).to_dict()
    both = {"district": d["strata"], "side": side}
    for several in (both, pl.DataFrame(both), pd.DataFrame(both), pa.table(both)):
        found = E.ate(d["outcome"], d["arm"], control=0, strata=several)
        assert found.to_dict() == expected


# --- what is no outcome, no label ---

NO_NUMBERS: dict[str, tuple[Any, str]] = {
    "text": (["high", "low"] * (N // 2), "text"),
    "text numbers": (np.ones(N).astype(str), "text"),
    "dates": (np.arange(N).astype("M8[D]"), "date"),
    "python dates": ([dt.date(2020, 1, 1)] * N, "date"),
    "durations": (np.arange(N).astype("m8[D]"), "time|duration"),
    "pandas durations": (pd.Series(pd.to_timedelta(np.arange(N), unit="D")), "time|duration"),
    "polars durations": (pl.Series([dt.timedelta(days=k) for k in range(N)]), "uration"),
    "pandas dates": (pd.Series(pd.date_range("2020", periods=N, tz="UTC")), "date"),
    "complex": (np.ones(N, complex), "complex"),
    "bytes": (np.ones(N).astype("S"), "bytes"),
    "mixed": ([1.0, "low"] * (N // 2), "mixed|text"),
    "pairs": ([(1, 2)] * N, "several values|shape"),
    "matrix": (np.ones((N, 2)), "shape"),
    "infinite": (np.full(N, np.inf), "infinite"),
    "huge": (np.linspace(1, 2, N) * 1e300, r"sizes of up to .*e\+300"),
    "tiny": (np.linspace(1, 2, N) * 1e-300, "sizes of up to .*e-300"),
    "one text": ("high", "one text|text"),
    "nothing": ([], "shape|missing|no "),
}


@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if e.numbers])
def test_what_is_no_outcome_is_refused_with_the_reason(name: str) -> None:
    entry = ENTRIES[name]
    for column in entry.numbers:
        for kind, (values, words) in NO_NUMBERS.items():
            if name.endswith("beta_binomial") and not hasattr(values, "__getitem__"):
                continue
            with pytest.raises(WavewiseError) as caught:
                _call(entry, **{column: values})
            assert re.search(words, str(caught.value)), (column, kind, str(caught.value))


@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if e.labels])
def test_what_is_no_label_is_refused_with_the_reason(name: str) -> None:
    entry = ENTRIES[name]
    bad = {
        "mixed": ["a", 1] * (N // 2),
        "durations": np.arange(N).astype("m8[D]"),
        "complex": np.ones(N, complex),
        "bytes": np.ones(N).astype("S"),
        "beyond 64 bits": [2**70] * N,
        "one text": "abc",
        "short": np.ones(N - 1, int),
    }
    for column in entry.labels:
        for kind, values in bad.items():
            with pytest.raises(WavewiseError):
                _call(entry, **{column: values})
            assert kind


@pytest.mark.parametrize("scale", [1e-80, 1e80])
@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if "outcome" in e.numbers])
def test_no_scale_gives_a_number_that_is_none(name: str, scale: float) -> None:
    """Right or a named error: never infinite, never not-a-number."""
    try:
        found = _plain(_call(ENTRIES[name], outcome=_data()["outcome"] * scale))
    except WavewiseError:
        return
    assert "NaN" not in json.dumps(found)
    assert "Infinity" not in json.dumps(found)
