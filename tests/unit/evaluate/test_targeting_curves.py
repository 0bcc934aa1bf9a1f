"""TOC, cost curves, calibration and projection: by hand, by brute force, and bad input."""

from itertools import product

import numpy as np
import pytest

from wavewise.errors import EstimationError, InputError
from wavewise.evaluate import best_linear_projection, calibration, cost_curve, toc
from wavewise.shared.results import NotEstimable


def areas_by_integration(priority, scores, n_steps=400_000):
    """AUTOC and Qini from a gain curve straight between groups, by the midpoint rule."""
    values = np.unique(priority)[::-1]
    share = np.cumsum([np.mean(priority == v) for v in values])
    gain = np.cumsum([scores[priority == v].sum() for v in values]) / scores.size
    u = (np.arange(n_steps) + 0.5) / n_steps
    at = np.interp(u, np.append(0, share), np.append(0, gain)) / u - gain[-1]
    return at.mean(), (u * at).mean()


@pytest.mark.parametrize("ties", [False, True])
def test_continuous_areas_equal_their_integrals(ties) -> None:
    rng = np.random.default_rng(1)
    priority = rng.integers(0, 6, 60).astype(float) if ties else rng.normal(size=60)
    scores = priority + rng.normal(size=60)
    found = toc(priority, scores, definition="continuous")
    autoc, qini = areas_by_integration(priority, scores)
    assert found.autoc.estimate == pytest.approx(autoc, abs=2e-5)
    assert found.qini.estimate == pytest.approx(qini, abs=2e-5)
    assert found.n_tied == (60 if ties else 0)


def means_over_ranks(priority, scores):
    """AUTOC and Qini as published: means over j of TOC(j/n), tied units with their mean score."""
    n, order = len(scores), sorted(range(len(scores)), key=lambda i: -priority[i])
    shared = [np.mean([scores[k] for k in range(n) if priority[k] == priority[i]]) for i in order]
    tocs = [sum(shared[:j]) / j - np.mean(scores) for j in range(1, n + 1)]
    return np.mean(tocs), np.mean([j / n * toc for j, toc in enumerate(tocs, 1)])


@pytest.mark.parametrize("levels", [None, 1000, 6, 2])
@pytest.mark.parametrize("n", [3, 4, 61, 200])
def test_default_is_the_published_mean_over_ranks(levels, n) -> None:
    rng = np.random.default_rng([n, levels or 0])
    priority = rng.normal(size=n) if levels is None else rng.integers(0, levels, n) * 1.0
    priority[0] += 0.5
    scores = priority + rng.normal(size=n)
    found = toc(priority, scores)
    assert found.definition == "discrete"
    expected = means_over_ranks(priority, scores)
    np.testing.assert_allclose(
        (found.autoc.estimate, found.qini.estimate), expected, rtol=0, atol=1e-12
    )


def test_the_areas_by_hand() -> None:
    # TOC(1/4), ..., TOC(1) are 3, 1.5, .5, 0 less the average 0 of the scores 3, 0, -1.5, -1.5
    found = toc([4, 3, 2, 1], [3.0, 0.0, -1.5, -1.5])
    assert found.autoc.estimate == pytest.approx(5 / 4, abs=1e-14)
    assert found.qini.estimate == pytest.approx((3 / 4 + 1.5 / 2 + 0.5 * 3 / 4) / 4, abs=1e-14)


def test_another_definition_is_by_name_and_is_not_mixed() -> None:
    priority, scores = np.arange(5.0), np.arange(5.0) ** 2
    with pytest.raises(InputError, match="definition: found 'smooth'"):
        toc(priority, scores, definition="smooth")
    one, two = (toc(priority, scores, definition=d) for d in ("discrete", "continuous"))
    assert one.autoc.estimate != two.autoc.estimate
    with pytest.raises(InputError, match="a discrete and a continuous definition"):
        one.difference(two)


def test_ties_are_the_mean_over_all_orders() -> None:
    rng = np.random.default_rng(2)
    priority, scores = np.repeat([2.0, 1.0, 0.0], 200), rng.normal(size=600)
    tied = toc(priority, scores)
    broken = [toc(priority + 1e-6 * rng.random(600), scores) for _ in range(300)]
    for name in ("autoc", "qini"):
        values = [getattr(b, name).estimate for b in broken]
        gap = abs(np.mean(values) - getattr(tied, name).estimate)
        assert gap < 4 * np.std(values) / np.sqrt(300)


def jackknife(statistic, n):
    values = np.array([statistic(np.arange(n) != i) for i in range(n)])
    return np.sqrt((n - 1) * values.var())


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("definition", ["discrete", "continuous"])
def test_standard_errors_equal_the_jackknife(ties, definition) -> None:
    rng = np.random.default_rng(3)
    n = 120
    priority = rng.integers(0, 5, n).astype(float) if ties else rng.normal(size=n)
    scores = priority + rng.normal(size=n)
    found = toc(priority, scores, definition=definition)
    for name in ("autoc", "qini"):
        error = jackknife(
            lambda keep, m=name: (
                getattr(toc(priority[keep], scores[keep], definition=definition), m).estimate
            ),
            n,
        )
        assert getattr(found, name).std_error == pytest.approx(error, rel=1e-8)


@pytest.mark.parametrize("kind", ["effects", "ties", "nothing"])
def test_standard_errors_equal_the_spread_over_samples(kind) -> None:
    rng, found = np.random.default_rng(13), []
    for _ in range(400):
        priority = rng.integers(0, 4, 100) * 1.0 if kind == "ties" else rng.normal(size=100)
        curve = toc(priority, (kind != "nothing") * priority + rng.normal(0, 2, 100))
        areas = (curve.autoc, curve.qini)
        found.append([x for area in areas for x in (area.estimate, area.std_error)])
    values = np.array(found)
    ratio = np.sqrt((values[:, [1, 3]] ** 2).mean(axis=0)) / values[:, [0, 2]].std(axis=0)
    assert (np.abs(ratio - 1) < 0.14).all()  # four times the simulation's own error


def test_curve_ends_at_the_average_and_knows_its_noise() -> None:
    rng = np.random.default_rng(4)
    n = 2000
    priority = rng.normal(size=n)
    scores = priority + rng.normal(size=n)
    found = toc(priority, scores)
    last = found.curve.to_dicts()[-1]
    assert last["toc"] == pytest.approx(0, abs=1e-12)
    assert last["std_error"] == pytest.approx(0, abs=1e-12)
    assert last["gain"] == pytest.approx(found.average.estimate)
    row = found.curve.to_dicts()[19]
    boot = []
    for _ in range(300):
        pick = rng.integers(0, n, n)
        boot.append(toc(priority[pick], scores[pick]).curve["toc"][19])
    assert row["std_error"] == pytest.approx(np.std(boot), rel=0.15)


def test_toc_speaks() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=500)
    good = toc(x, x + rng.normal(size=500))
    assert good.summary().startswith("The priority ranks units")
    assert "wrong way round" in toc(-x, x + rng.normal(size=500)).summary()
    assert "does not surely" in toc(rng.normal(size=500), x).summary()
    assert good.to_dict()["version"] == 1
    assert good.to_frame()["measure"].to_list() == ["AUTOC", "Qini", "average"]
    doubled = toc(np.repeat(x, 2), np.repeat(x, 2), cluster=np.repeat(np.arange(500), 2))
    assert doubled.qini.std_error == pytest.approx(toc(x, x).qini.std_error, rel=0.01)


def test_causal_and_predictive_rankings_are_compared_on_the_same_units() -> None:
    rng = np.random.default_rng(6)
    effect, risk = rng.normal(size=600), rng.normal(size=600)
    scores = effect + rng.normal(0, 2, 600)
    causal, predictive = toc(effect, scores), toc(risk + 0.3 * effect, scores)
    autoc, qini = causal.difference(predictive)
    assert autoc.estimate == pytest.approx(causal.autoc.estimate - predictive.autoc.estimate)
    assert qini.estimate > 2 * qini.std_error
    draws = rng.integers(0, 600, (300, 600))
    again = [
        toc(effect[d], scores[d]).qini.estimate
        - toc((risk + 0.3 * effect)[d], scores[d]).qini.estimate
        for d in draws
    ]
    assert qini.std_error == pytest.approx(np.std(again), rel=0.2)
    same = causal.difference(toc(effect, scores))
    assert [e.estimate for e in same] == [0.0, 0.0]
    with pytest.raises(InputError, match="other scores"):
        causal.difference(toc(effect, scores + 1))


def test_equal_priorities_rank_nobody_and_are_not_tested() -> None:
    found = toc(np.full(100, 0.3), np.arange(100.0))
    for area in (found.autoc, found.qini):
        assert (area.estimate, area.std_error) == (0.0, 0.0)
        assert isinstance(area.p_value, NotEstimable)
    assert found.average.estimate == pytest.approx(49.5)
    assert np.abs(found.curve["toc"].to_numpy()).max() < 1e-12
    assert found.summary().startswith("All 100 priorities are equal")


@pytest.mark.parametrize(
    ("priority", "scores", "text"),
    [
        ([1, 2, 3], [1, 2], "needed (2,)"),
        ([1, 2], [1, 2], "found 2 with a score; needed three"),
        ([1, np.nan], [1, 2], "priority: found 1 missing of 2"),
        ([1, 2], [1, np.inf], "scores: found 1 infinite values of 2"),
        ([1], [1], "found 1 with a score"),
        (["a", "b"], [1, 2], "priority: found text"),
    ],
)
def test_toc_names_what_is_wrong(priority, scores, text) -> None:
    import re

    with pytest.raises(InputError, match=re.escape(text)):
        toc(priority, scores)


def best_gain_by_brute_force(effects, cost, budget):
    """The best whole assignment within a budget, by trying all."""
    n, k = effects.shape
    best = (0.0, None)
    for choice in product(range(k + 1), repeat=n):
        pick = [(i, a) for i, a in enumerate(choice) if a < k]
        if sum(cost[a] for _, a in pick) <= budget * n + 1e-9:
            gain = sum(effects[i, a] for i, a in pick) / n
            best = max(best, (gain, choice), key=lambda pair: pair[0])
    return best[0]


def test_path_is_best_at_its_corners_and_above_all_whole_choices() -> None:
    rng = np.random.default_rng(6)
    effects, cost = rng.normal(0.3, 1, (5, 2)), np.array([1.0, 1.7])
    curve = cost_curve(effects, effects, cost)
    for spend in curve.spend[1:]:
        best = best_gain_by_brute_force(effects, cost, spend)
        assert curve.gain(float(spend)).estimate == pytest.approx(best)
    for spend in np.linspace(0, curve.max_spend, 7):
        assert (
            curve.gain(float(spend)).estimate
            >= best_gain_by_brute_force(effects, cost, spend) - 1e-12
        )
    assert curve.gain(99).estimate == pytest.approx(np.maximum(effects.max(axis=1), 0).mean())


def test_one_arm_with_unit_cost_is_the_qini_curve() -> None:
    rng = np.random.default_rng(7)
    tau = rng.random(300)
    scores = tau + rng.normal(size=300)
    curve, ranks = cost_curve(tau, scores, 1.0), toc(tau, scores)
    for row in ranks.curve.to_dicts()[9::10]:
        assert curve.gain(row["share"]).estimate == pytest.approx(row["gain"])


def test_equal_effects_spend_in_a_straight_line() -> None:
    scores = np.random.default_rng(8).normal(1, 1, (200, 1))
    line = cost_curve(np.ones((200, 1)), scores)
    assert line.gain(0.3).estimate == pytest.approx(0.3 * scores.mean())
    assert line.gain(0.3).std_error == pytest.approx(
        0.3 * scores.std(ddof=1) / np.sqrt(200), rel=1e-6
    )


@pytest.mark.parametrize("spend", [0.3, 0.8])
def test_cost_curve_standard_errors_equal_the_bootstrap(spend) -> None:
    rng = np.random.default_rng(9)
    n = 1500
    tau = np.column_stack([rng.normal(0.2, 1, n), rng.normal(0.4, 1, n)])
    scores, cost = tau + rng.normal(0, 2, (n, 2)), np.array([1.0, 2.0])
    other = np.tile(tau.mean(axis=0), (n, 1))
    curve, plain = cost_curve(tau, scores, cost), cost_curve(other, scores, cost)
    gains, gaps = [], []
    for _ in range(300):
        pick = rng.integers(0, n, n)
        one = cost_curve(tau[pick], scores[pick], cost)
        two = cost_curve(other[pick], scores[pick], cost)
        gains.append(one.gain(spend).estimate)
        gaps.append(one.difference(two, spend).estimate)
    assert curve.gain(spend).std_error == pytest.approx(np.std(gains), rel=0.15)
    assert curve.difference(plain, spend).std_error == pytest.approx(np.std(gaps), rel=0.15)
    assert curve.difference(curve, spend).std_error == 0


def test_cost_curve_speaks_and_costs_may_differ_by_unit() -> None:
    rng = np.random.default_rng(10)
    tau = rng.random((50, 2))
    curve = cost_curve(tau, tau, rng.uniform(0.5, 2, (50, 2)))
    assert curve.to_frame().columns == ["spend", "gain", "std_error", "promised"]
    assert curve.to_dict()["version"] == 1
    assert "Promised" in curve.summary()
    assert curve.gain(0).std_error == 0
    assert (np.diff(curve.ratio) < 0).all()


@pytest.mark.parametrize(
    ("effects", "scores", "cost", "text"),
    [
        ([[1.0]], [[1.0, 2.0]], 1, "needed (1, 1)"),
        ([[-1.0]], [[1.0]], 1, "found none above 0 among 1"),
        ([[1.0]], [[np.nan]], 1, "scores: found all 1 missing"),
        ([[1.0]], [[1.0]], 0, "not finite numbers above 0"),
        ([[1.0]], [[1.0]], [1, 2], "cost: found shape (2,)"),
        ("text", [[1.0]], 1, "effects: found text"),
    ],
)
def test_cost_curve_names_what_is_wrong(effects, scores, cost, text) -> None:
    import re

    with pytest.raises(InputError, match=re.escape(text)):
        cost_curve(effects, scores, cost)


def test_curves_of_other_units_and_bad_spends_are_refused() -> None:
    one, two = cost_curve([1.0, 2.0], [1.0, 2.0]), cost_curve([1.0], [1.0])
    with pytest.raises(InputError, match="curves of 2 and 1 units"):
        one.difference(two, 0.5)
    with pytest.raises(InputError, match="spend: found -1"):
        one.gain(-1)


def test_calibration_finds_half_of_what_is_promised_twice() -> None:
    rng = np.random.default_rng(11)
    tau = rng.normal(1, 1, 20_000)
    promised = 1 + 2 * (tau - 1)
    found = calibration(promised, tau + rng.normal(size=20_000))
    assert found.line.estimate == pytest.approx([1, 0.5], abs=0.05)
    assert "units differ in the way" in found.summary()
    assert found.to_frame()["n_units"].sum() == 20_000
    noise = calibration(rng.normal(1, 1, 2000), rng.normal(1, 1, 2000))
    assert "no evidence" in noise.summary()
    assert found.to_dict()["version"] == 1
    with pytest.raises(EstimationError, match="needed effects that differ"):
        calibration([1, 1], [1, 2])
    with pytest.raises(InputError, match="n_groups: found 1"):
        calibration(tau, tau, n_groups=1)


def test_projection_equals_statsmodels_with_hc3_and_clusters() -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import statsmodels.api as sm

    rng = np.random.default_rng(12)
    X = {"age": rng.normal(size=300), "urban": rng.integers(0, 2, 300).astype(float)}
    scores = 1 + X["age"] + rng.normal(size=300) * (1 + X["urban"])
    columns = np.column_stack([X["age"], X["urban"]])
    design = sm.add_constant(columns - columns.mean(axis=0))
    found = best_linear_projection(X, scores)
    peer = sm.OLS(scores, design).fit(cov_type="HC3")
    np.testing.assert_allclose(found.estimate, peer.params)
    np.testing.assert_allclose(found.std_error, peer.bse)
    groups = np.repeat(np.arange(60), 5)
    clustered = best_linear_projection(X, scores, cluster=groups)
    peer = sm.OLS(scores, design).fit(cov_type="cluster", cov_kwds={"groups": groups})
    np.testing.assert_allclose(clustered.std_error, peer.bse)
    assert found.names == ("constant", "age", "urban")
    assert "best linear projection, HC3" in found.summary()
    assert found.to_dict()["version"] == 1


def test_projection_names_what_is_wrong() -> None:
    x = np.arange(20.0)
    with pytest.raises(EstimationError, match="'twice' is a combination"):
        best_linear_projection({"x": x, "twice": 2 * x}, x)
    with pytest.raises(EstimationError, match="one does not vary"):
        best_linear_projection({"x": x, "one": np.ones(20)}, x)
    with pytest.raises(InputError, match="needed more units"):
        best_linear_projection({"x": [1.0, 2.0]}, [1.0, 2.0])


def test_area_between_curves_is_the_integral_of_their_difference() -> None:
    rng = np.random.default_rng(14)
    n = 400
    tau = np.column_stack([rng.normal(0.2, 1, n), rng.normal(0.4, 1, n)])
    scores, cost = tau + rng.normal(0, 2, (n, 2)), np.array([1.0, 2.0])
    flat = np.tile([0.2, 0.4], (n, 1))
    one, two = cost_curve(tau, scores, cost), cost_curve(flat, scores, cost)
    for most in (0.4, 3.0):
        steps = (np.arange(4000) + 0.5) / 4000 * most
        gaps = [np.interp(steps, c.spend, c.total) for c in (one, two)]
        area = (gaps[0] - gaps[1]).mean() * most
        assert one.integrated_difference(two, most).estimate == pytest.approx(area, rel=1e-4)
    found = []
    for _ in range(150):
        pick = rng.integers(0, n, n)
        curves = (cost_curve(e[pick], scores[pick], cost) for e in (tau, flat))
        steps = np.linspace(0, 1, 201)
        gain = [np.interp(steps, c.spend, c.total) for c in curves]
        found.append(np.trapezoid(gain[0] - gain[1], steps))
    error = one.integrated_difference(two, 1.0).std_error
    assert error == pytest.approx(np.std(found), rel=0.25)  # four times the bootstrap's own error
    assert one.integrated_difference(one).std_error == 0
    with pytest.raises(InputError, match="spend: found 0"):
        one.integrated_difference(two, 0)


def test_joint_band_over_spends_rests_on_the_pointwise_errors() -> None:
    rng = np.random.default_rng(15)
    tau = rng.normal(0.3, 1, (500, 2))
    scores, groups = tau + rng.normal(size=(500, 2)), np.repeat(np.arange(100), 5)
    one = cost_curve(tau, scores, [1.0, 2.0], cluster=groups)
    two = cost_curve(np.tile([0.3, 0.3], (500, 1)), scores, [1.0, 2.0], cluster=groups)
    spends = [0.0, 0.2, 0.5, 0.9]
    gains, gaps = one.over_spends(spends), one.over_spends(spends, other=two)
    for place, spend in enumerate(spends[1:], 1):
        assert gains.std_error[place] == pytest.approx(one.gain(spend).std_error)
        assert gaps.std_error[place] == pytest.approx(one.difference(two, spend).std_error)
        assert gaps.estimate[place] == pytest.approx(one.difference(two, spend).estimate)
    assert isinstance(gains["gain at 0"].std_error, NotEstimable)
    band = gaps.adjusted("max-t", rng=np.random.default_rng(1))
    assert (band.critical_value[1:] > 1.97).all()
    assert (band.critical_value[1:] < 2.6).all()
    assert len(one.over_spends().names) == 20
