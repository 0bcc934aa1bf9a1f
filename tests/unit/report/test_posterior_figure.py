"""Posteriors drawn from results, in the layout of the study's Figures 3 and 4."""

import json
import struct

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import InputError

ARMS = np.array(["a", "b", "c"])


@pytest.fixture(scope="module")
def engaged() -> "ww.estimate.HierarchicalBinomial":
    rng = np.random.default_rng(1)
    school, arm = np.repeat(np.arange(30), 30), rng.integers(0, 3, 900)
    prob = 1 / (1 + np.exp(-(np.array([-2.6, -2.4, -3.3])[arm] + rng.normal(size=30)[school] / 2)))
    return ww.estimate.hierarchical_binomial(
        rng.binomial(9, prob), np.full(900, 9), arm=ARMS[arm], cluster=school, rng=rng
    )


@pytest.fixture(scope="module")
def read() -> "ww.estimate.HierarchicalNormal":
    rng = np.random.default_rng(2)
    unit, period = np.tile(np.arange(200), 2), np.repeat([1, 2], 200)
    arm = np.where(period == 2, np.append(ARMS, "control")[unit % 4], "control")
    score = rng.normal(40, 9, 200)[unit] + 3.0 * (arm == "b") + rng.normal(0, 4, 400)
    return ww.estimate.hierarchical_normal(
        score, unit=unit, cluster=unit // 20, period=period, arm=arm, rng=rng
    )


def rows(figure: "ww.report.Figure") -> dict[str, dict]:
    return {" ".join(row["label"]): row for row in figure.to_dict()["data"]["values"]}


def test_figure_3_has_medians_and_intervals_of_beta(engaged) -> None:
    shown = rows(ww.report.posterior_figure(engaged))
    assert list(shown) == ["a", "b", "c"]
    bounds = engaged.cred_int(0.95, kind="hpd")
    for k, arm in enumerate(engaged.arms):
        assert [shown[arm]["low"], shown[arm]["high"]] == pytest.approx(bounds[k].tolist())
        assert shown[arm]["value"] == pytest.approx(np.median(engaged.draws[:, k]), abs=0.02)
    best = engaged.arms[int(np.argmin(engaged.policy_regret))]
    assert [arm for arm, row in shown.items() if row["best"]] == [best]


def test_success_probability_is_in_per_cent(engaged) -> None:
    shown = rows(ww.report.posterior_figure(engaged, of="success_prob"))
    for k, arm in enumerate(engaged.arms):
        assert shown[arm]["value"] == pytest.approx(100 * engaged.success_prob[k], rel=0.05)


def test_figure_4_has_two_panels_on_one_axis(read) -> None:
    figure = ww.report.posterior_figure({"(a) Balanced": read, "(b) Unbalanced": read})
    labels = [" ".join(row["label"]) for row in figure.to_dict()["data"]["values"]]
    assert labels == ["(a) Balanced", "a", "b", "c", "(b) Unbalanced", "a", "b", "c"]
    assert "(a) Balanced; a: " in figure.alt


def test_shaded_part_lies_inside_the_interval(read) -> None:
    layers = ww.report.posterior_figure(read).to_dict()["layer"]
    areas = [layer for layer in layers if layer["mark"]["type"] == "area"]
    whole, inside = (layer["data"]["values"] for layer in areas)
    bounds = read.cred_int()
    for k in range(3):
        x = [point["x"] for point in inside if point["index"] == k]
        assert [min(x), max(x)] == pytest.approx(bounds[k].tolist())
        assert min(point["x"] for point in whole if point["index"] == k) < min(x)
    # heights share one scale
    for one in inside:
        if one["x"] in (same := {p["x"]: p["crest"] for p in whole if p["index"] == one["index"]}):
            assert one["crest"] == pytest.approx(same[one["x"]])


def test_same_bytes_each_time_and_no_script(engaged) -> None:
    first, second = (ww.report.posterior_figure(engaged) for _ in range(2))
    assert first.to_svg() == second.to_svg()
    assert "<script" not in first.to_svg()
    png = first.to_png()
    assert png[:4] == b"\x89PNG"
    width, height = struct.unpack(">II", png[16:24])
    assert width > height > 300
    json.dumps(first.to_dict(narrow=True))


def test_beta_binomial_is_drawn_exactly() -> None:
    post = ww.estimate.beta_binomial([12, 30], [100, 100], arms=["text", "call"])
    shown = rows(ww.report.posterior_figure(post, kind="equal-tailed"))
    assert shown["call"]["low"] == pytest.approx(100 * post.cred_int(0.95, "equal-tailed")[1, 0])


@pytest.mark.parametrize(
    ("posterior", "options", "told"),
    [
        ("not one", {}, "posterior: found str"),
        ({}, {}, "posterior: found none"),
        ("read", {"of": "beta"}, "needed effect for this model"),
        ("read", {"of": "gamma"}, "of: found 'gamma'"),
        ("both", {}, "needed results of one quantity"),
    ],
)
def test_what_cannot_be_drawn_is_named(engaged, read, posterior, options, told) -> None:
    given = {"read": read, "both": {"x": engaged, "y": read}}.get(str(posterior), posterior)
    with pytest.raises(InputError, match=told):
        ww.report.posterior_figure(given, **options)
