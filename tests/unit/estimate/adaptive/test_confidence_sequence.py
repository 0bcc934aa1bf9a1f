"""Confidence sequences: formulas by hand, looks, errors."""

import itertools
from functools import partial

import numpy as np
import pytest
from scipy.stats import norm, t

import wavewise as ww
from wavewise.errors import EstimationError, InputError
from wavewise.estimate.adaptive.confidence_sequence import ConfidenceSequence

asymptotic = partial(ww.estimate.confidence_sequence, method="asymptotic", first_look=3)
METHODS = ("block", "betting", "planned")


def binary(n=600, seed=0, rate=0.3, n_arms=2):
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, n_arms, n)
    y = (rng.random(n) < rate).astype(float)
    return y, arm, np.full((n, n_arms), 1 / n_arms), np.arange(n) * 3 // n


def data(n=600, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=n), rng.integers(0, 2, n), np.full((n, 2), 0.5), np.arange(n) * 3 // n


def test_last_look_by_hand():
    y, arm, share, wave = data()
    found = asymptotic(y, arm, share, wave, level=0.9)
    scores = np.zeros(600)
    for w in range(3):
        for i in np.flatnonzero(wave == w):
            past = (wave < w) if w else ((wave == 0) & (np.arange(600) != i))
            m = y[past & (arm == 1)].mean()
            scores[i] = m + (arm[i] == 1) * (y[i] - m) / 0.5
    alpha, t, s2 = 0.1, 600, scores.var(ddof=1)
    rho2 = (-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))) / (t * s2)
    radius = np.sqrt((t * s2 * rho2 + 1) / (t**2 * rho2) * np.log((t * s2 * rho2 + 1) / alpha**2))
    assert found.estimate[-1, 1] == pytest.approx(scores.mean())
    assert found.radius[-1, 1] == pytest.approx(radius)


def test_looks_do_not_change_when_later_ones_come():
    y, arm, share, wave = data()
    part = wave < 2
    given = (part_of[part] for part_of in (y, arm, share, wave))
    early = asymptotic(*given, tightest_at=600)
    late = asymptotic(y, arm, share, wave, tightest_at=600)
    assert np.allclose(early.conf_int(), late.conf_int()[:2])


def test_narrowest_where_it_was_asked_for():
    y, arm, share, wave = data()
    radius = {
        size: asymptotic(y, arm, share, wave, tightest_at=size).radius[0, 0]
        for size in (20, 200, 2000)
    }
    assert radius[200] < min(radius[20], radius[2000])


def test_frame_summary_and_arm_without_outcomes_yet():
    y, arm, share, wave = data()
    arm = np.where(wave == 0, 0, arm)
    found = asymptotic(y, arm, share, wave)
    frame = found.to_frame()
    assert frame.height == 9
    assert frame["estimate"].null_count() == 2  # arm 1 and the contrast at the first look
    assert frame["not_estimable"].null_count() == 7
    assert "at all looks together" in found.summary()
    assert found.to_dict()["kind"] == "confidence sequence"


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"propensity": None}, EstimationError, "not stored"),
        ({"propensity": np.tile([1.0, 0.0], (600, 1))}, EstimationError, "probability of"),
        ({"wave": np.ones(600)}, EstimationError, "one wave"),
        ({"tightest_at": 0}, InputError, "tightest_at"),
        ({"level": 1}, InputError, "level"),
    ],
)
def test_bad_input_is_named(change, error, text):
    y, arm, share, wave = data()
    given = {"outcome": y, "arm": arm, "propensity": share, "wave": wave} | change
    with pytest.raises(error, match=text):
        asymptotic(**given)


def test_probability_of_zero_is_refused():
    y, arm, _, wave = data()
    share = np.tile([0.4, 0.6, 0.0], (600, 1))
    with pytest.raises(InputError, match="least share"):
        ww.estimate.confidence_sequence(y, arm, share, wave, arms=[0, 1, 2])


def test_asymptotic_looks_wait_for_events_and_non_events():
    """Thirty of each in an arm by default, however many units there are."""
    y, arm, share, wave = binary(n=900, rate=0.1)
    found = ww.estimate.confidence_sequence(y, arm, share, wave, method="asymptotic")
    events = [int(y[(arm == 1) & (wave <= w)].sum()) for w in range(3)]
    assert [n >= 30 for n in events] == np.isfinite(found.radius[:, 1]).tolist()
    assert f"{events[0]} events" in found.not_estimable["0", "1"].reason
    assert "needed 30 of each" in found.not_estimable["0", "1 - 0"].reason
    early = ww.estimate.confidence_sequence(y, arm, share, wave, method="asymptotic", first_look=5)
    assert np.isfinite(early.radius).all()
    skewed = np.where(np.arange(900) % 20 == 0, 5.0, 0.01 * np.arange(900) / 900)
    few = ww.estimate.confidence_sequence(skewed, arm, share, wave, method="asymptotic")
    assert "above their mean" in few.not_estimable["0", "0"].reason


def test_students_boundary_has_the_tail_of_the_normal_one():
    y, arm, share, wave = data(n=90)
    plain = asymptotic(y, arm, share, wave, tightest_at=90)
    found = asymptotic(y, arm, share, wave, tightest_at=90, small_sample="t")
    scores = np.zeros(30)
    for i in range(30):
        m = y[:30][(arm[:30] == 1) & (np.arange(30) != i)].mean()
        scores[i] = m + (arm[i] == 1) * (y[i] - m) / 0.5
    se = scores.std(ddof=1) / 30**0.5
    kurtosis = ((scores - scores.mean()) ** 4).mean() / scores.var() ** 2
    wanted = t(60 / (kurtosis - 1)).isf(norm.sf(plain.radius[0, 1] / se)) * se
    assert found.radius[0, 1] == pytest.approx(wanted, rel=1e-8)
    assert (found.radius > plain.radius).all()
    large = [asymptotic(*data(n=90_000), small_sample=kind).radius[-1] for kind in ("none", "t")]
    assert large[1] == pytest.approx(large[0], rel=1e-3)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"method": "asymptotic", "first_look": 0}, "first_look"),
        ({"method": "asymptotic", "first_look": 2.5}, "first_look"),
        ({"method": "asymptotic", "small_sample": "hc3-t"}, "small_sample"),
        ({"method": "robbins"}, "needed one of block, betting, planned, asymptotic"),
        ({"first_look": 30}, "needed method 'asymptotic'"),
        ({"small_sample": "t"}, "needed method 'asymptotic'"),
        ({"planned_sizes": [200] * 3}, "needed method 'planned'"),
        ({"method": "planned", "tightest_at": 600}, "needed method 'block' or 'betting'"),
        ({"method": "planned", "planned_sizes": [200] * 2}, "each of the 3 waves"),
        ({"method": "planned", "bounds": (0, 1)}, "bounds"),
        ({"bounds": (1, 0)}, "smaller one first"),
        ({"bounds": (0.5, 2)}, "within the bounds 0.5 and 2"),
        ({"baseline": 0.0}, "baseline"),
    ],
)
def test_bad_options_are_named(option, text):
    with pytest.raises(InputError, match=text):
        ww.estimate.confidence_sequence(*binary(), **option)


@pytest.mark.parametrize("method", ["block", "betting"])
def test_outcomes_without_bounds_need_planned_looks(method):
    with pytest.raises(InputError, match="method='planned'"):
        ww.estimate.confidence_sequence(*data(), method=method)


# The bound of the block method: expectations over all outcomes, by enumeration.


@pytest.mark.parametrize("stake", [-0.9, -0.3, 0.3, 0.9])
@pytest.mark.parametrize("centre", [0.1, 0.35, 0.7])
def test_expected_wealth_of_a_block_is_at_most_one(stake, centre):
    """Whatever the levels, when the arms' means differ by delta; units' own rates may differ."""
    rng = np.random.default_rng(3)
    n_a, n_b, delta = 3, 2, 0.15
    for _ in range(5):
        a = np.clip(rng.random() * 0.8 + rng.uniform(-0.05, 0.05, n_a), 0, 0.8)
        b = a.mean() + delta + 0.02 * np.array([-1, 1])
        total = 0.0
        for y in itertools.product([0, 1], repeat=n_a + n_b):
            p = np.prod([r if v else 1 - r for v, r in zip(y, [*a, *b], strict=True)])
            wealth = np.prod([1 - stake / n_a * (v - centre) for v in y[:n_a]])
            wealth *= np.prod([1 + stake / n_b * (v - centre - delta) for v in y[n_a:]])
            total += p * wealth
        assert total <= 1 + 1e-12


def wealth_by_hand(y, arm, wave, delta, planned, alpha=0.05):
    """Mixture over six stakes of the products of the page, unit by unit."""
    logs = []
    for c in (-2, -1, -0.5, 0.5, 1, 2):
        total, path, information = 0.0, [], []
        for w in np.unique(wave):
            now, past = wave == w, wave < w
            n = [(now & (arm == k)).sum() for k in (0, 1)]
            m, v = [], []
            for k in (0, 1):
                own = np.append(y[past & (arm == k)], 0.5)
                mean = own.mean()
                m.append(mean)
                v.append((((own[:-1] - mean) ** 2).sum() + 0.25) / own.size)
                # as a stratum of its own it counts five further units of the same
                m[k] = (own[:-1].sum() + 5 * mean) / (own.size - 1 + 5)
                v[k] = (((own[:-1] - m[k]) ** 2).sum() + 5 * v[k]) / (own.size - 1 + 5)
            weight = [n[k] / v[k] for k in (0, 1)]
            low = (weight[0] * m[0] + weight[1] * (m[1] - delta)) / sum(weight)
            high = low + delta
            info = 1 / (v[0] / n[0] + v[1] / n[1])
            before = past.sum()
            final = sum(information) + info * max(planned - before, now.sum()) / now.sum()
            information.append(info)
            stake = c * np.sqrt(2 * np.log(6 / alpha) / final) * info
            losses = [-s * (e - one) / k for s, one, k in ((-1, low, n[0]), (1, high, n[1]))
                      for e in (0, 1)]  # fmt: skip
            worst = max(np.sign(c) * loss for loss in losses)
            if worst * abs(stake) > 0.95:
                stake = np.sign(c) * 0.95 / worst
            a, b = y[now & (arm == 0)], y[now & (arm == 1)]
            total += np.log(1 - stake / n[0] * (a - low)).sum()
            total += np.log(1 + stake / n[1] * (b - high)).sum()
            path.append(total)
        logs.append(path)
    return np.log(np.mean(np.exp(logs), axis=0))


@pytest.mark.parametrize("is_binary", [True, False])
def test_block_interval_ends_where_the_wealth_is_twenty(is_binary):
    y, arm, share, wave = binary(n=150, seed=4)
    if not is_binary:
        y = np.random.default_rng(5).random(150)
    found = ww.estimate.confidence_sequence(y, arm, share, wave, bounds=(0, 1), tightest_at=200)
    for w in range(3):
        for end in found.conf_int()[w, 2]:
            gap = end - found.estimate[w, 2]
            inner, outer = (end - 1e-3 * gap, end + 1e-3 * gap)
            assert wealth_by_hand(y, arm, wave, inner, 200)[w] < np.log(20)
            if abs(end) < 1:
                assert wealth_by_hand(y, arm, wave, outer, 200)[w] > np.log(20)


def test_estimate_of_a_block_and_means():
    y, arm, share, wave = binary()
    found = ww.estimate.confidence_sequence(y, arm, share, wave)
    first = wave == 0
    means = [y[first & (arm == k)].mean() for k in (0, 1)]
    assert found.estimate[0] == pytest.approx([*means, means[1] - means[0]])
    assert (found.conf_low <= found.estimate).all()
    assert (found.conf_high >= found.estimate).all()


@pytest.mark.parametrize("method", METHODS)
def test_earlier_looks_stay_as_they_were(method):
    y, arm, share, wave = binary()
    option = {"planned_sizes": [200] * 3} if method == "planned" else {"tightest_at": 600}
    part = wave < 2
    early = ww.estimate.confidence_sequence(
        y[part], arm[part], share[part], wave[part], method=method, **option
    )
    late = ww.estimate.confidence_sequence(y, arm, share, wave, method=method, **option)
    assert early.conf_int() == pytest.approx(late.conf_int()[:2], rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_outcome_in_other_units(method):
    y, arm, share, wave = binary(seed=2)
    bounds = {} if method == "planned" else {"bounds": (-5, 15)}
    plain = ww.estimate.confidence_sequence(
        y + 0.5 * (method == "planned"), arm, share, wave, method=method
    )
    moved = ww.estimate.confidence_sequence(
        20 * y - 5 + 10 * (method == "planned"), arm, share, wave, method=method, **bounds
    )
    add = np.array([-5.0, -5.0, 0.0])
    assert moved.estimate == pytest.approx(20 * plain.estimate + add, abs=1e-6)
    assert moved.conf_low == pytest.approx(20 * plain.conf_low + add, abs=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_clusters_count_once_and_must_lie_in_one_wave_and_arm(method):
    rng = np.random.default_rng(1)
    wave, arm = np.repeat(np.arange(4), 10), rng.integers(0, 2, 40)
    rate = rng.random(40)
    every = np.repeat(np.arange(40), 30)
    y = (rng.random(1200) < rate[every]).astype(float)
    share = np.full((1200, 2), 0.5)
    given = (y, arm[every], share, wave[every])
    found = ww.estimate.confidence_sequence(*given, method=method, cluster=every)
    mean = np.bincount(every, y) / 30
    bounds = {} if method == "planned" else {"bounds": (0, 1)}
    alone = ww.estimate.confidence_sequence(mean, arm, share[:40], wave, method=method, **bounds)
    assert found.conf_int() == pytest.approx(alone.conf_int())
    assert found.n_units.tolist() == [300, 600, 900, 1200]
    plain = ww.estimate.confidence_sequence(*given, method=method)
    assert (found.radius[-1] > 2 * plain.radius[-1]).all()
    for spread, text in ((every % 8, "more than one wave"), (every // 2, "more than one arm")):
        with pytest.raises(EstimationError, match=text):
            ww.estimate.confidence_sequence(*given, method=method, cluster=spread)
    with pytest.raises(EstimationError, match="'block', 'betting' or 'planned'"):
        ww.estimate.confidence_sequence(*given, method="asymptotic", cluster=every)


def test_pairs_and_tiny_strata_are_compared_together():
    """One of each pair succeeds: dependent outcomes, no evidence in a block of two."""
    rng = np.random.default_rng(0)
    pair = np.arange(600) // 2
    y = np.tile([0.0, 1.0], 300)
    arm = np.concatenate([rng.permutation(2) for _ in range(300)])
    share, wave = np.full((600, 2), 0.5), pair // 100
    paired = ww.estimate.confidence_sequence(y, arm, share, wave, strata=pair)
    assert paired.conf_int() == pytest.approx(
        ww.estimate.confidence_sequence(y, arm, share, wave).conf_int()
    )
    with pytest.raises(EstimationError, match="at most 2 units in a wave"):
        ww.estimate.confidence_sequence(y, arm, share, pair)


def test_shares_that_differ_between_strata():
    """No effect, levels .1 and .7, shares .2 and .6: pooled, arms would differ by much."""
    rng = np.random.default_rng(2)
    n = 3000
    stratum, wave = np.arange(n) % 2, np.arange(n) * 3 // n
    to = np.array([0.2, 0.6])[stratum]
    arm = (rng.random(n) < to).astype(int)
    y = (rng.random(n) < np.array([0.1, 0.7])[stratum]).astype(float)
    share = np.stack([1 - to, to], axis=1)
    for method in METHODS:
        for given in ({}, {"strata": stratum}):
            found = ww.estimate.confidence_sequence(y, arm, share, wave, method=method, **given)
            assert (found.conf_low[:, 2] < 0).all()
            assert (found.conf_high[:, 2] > 0).all()
            assert abs(found.estimate[-1, 2]) < 0.05
    own = np.clip(to + rng.uniform(-0.1, 0.1, n), 0.05, 0.95)
    each = np.stack([1 - own, own], axis=1)
    assert np.isfinite(
        ww.estimate.confidence_sequence(y, arm, each, wave, method="betting").radius
    ).all()
    for method in ("block", "planned"):
        with pytest.raises(EstimationError, match="take method='betting'"):
            ww.estimate.confidence_sequence(y, arm, each, wave, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_reasons(method):
    y, arm, share, wave = binary()
    late = np.where(wave == 0, 0, arm)
    found = ww.estimate.confidence_sequence(y, late, share, wave, method=method)
    reason = found.not_estimable["0", "1 - 0"].reason if method != "betting" else ""
    assert method == "betting" or "'1': 0 known outcomes so far" in reason
    assert np.isfinite(found.radius[1:]).all()
    none = np.where(wave == 1, np.nan, y)
    found = ww.estimate.confidence_sequence(none, arm, share, wave, method=method)
    if method != "planned":
        assert found.conf_low[0] == pytest.approx(found.conf_low[1])


def test_baseline_narrows_intervals_of_rare_outcomes():
    y, arm, share, wave = binary(n=3000, rate=0.02)
    plain, told = (
        ww.estimate.confidence_sequence(y, arm, share, wave, baseline=b).radius[-1, 2]
        for b in (None, 0.02)
    )
    assert told < 0.9 * plain


def test_a_result_of_the_asymptotic_method_of_before_can_be_read():
    found = asymptotic(*data())
    state = dict(found._state())
    state["radius"] = (state.pop("conf_high") - state.pop("conf_low")) / 2
    state.pop("method")
    back = ConfidenceSequence._from_state(state)
    assert back.method == "asymptotic"
    assert back.conf_int() == pytest.approx(found.conf_int(), nan_ok=True)
