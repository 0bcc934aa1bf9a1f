"""Lee's bounds and the interval of Imbens and Manski against the printed equations."""

import numpy as np
import pytest
from scipy.stats import norm

from wavewise.errors import EstimationError, InputError
from wavewise.evaluate import checks


def draw(rng, n=600, effect=0.4):
    """Treated report more often; a cell tells who is missing and what the outcome is."""
    cell, arm = rng.integers(0, 3, n), rng.integers(0, 2, n)
    shown = rng.random(n) < 0.5 + 0.15 * arm + 0.1 * cell
    return np.where(shown, rng.normal(size=n) + cell + effect * arm, np.nan), arm, cell


def row(y, arm, **options):
    return checks.attrition_bounds(y, arm, control=0, **options).table[0]


def printed(y, arm):
    """Proposition 3 of Lee (2009), as printed, where the treated are known more often."""
    n, d, s = y.size, arm == 1, ~np.isnan(y)
    y1, y0 = np.sort(y[d & s]), y[~d & s]
    alpha, known = y0.size / (~d).sum(), y1.size / d.sum()
    p = 1 - alpha / known
    esd, ed = (d & s).mean(), d.mean()
    found = []
    for kept, cut in (
        (y1[: round(y1.size * (1 - p))], np.quantile(y1, 1 - p)),
        (y1[y1.size - round(y1.size * (1 - p)) :], np.quantile(y1, p)),
    ):
        mean = kept.mean()
        v = kept.var() / (esd * (1 - p)) + (cut - mean) ** 2 * p / (esd * (1 - p))
        v_p = (1 - p) ** 2 * ((1 - known) / (ed * known) + (1 - alpha) / ((1 - ed) * alpha))
        v += ((cut - mean) / (1 - p)) ** 2 * v_p
        v += y0.var() / ((~d & s).mean())
        found.append((mean - y0.mean(), np.sqrt(v / n)))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_standard_errors_are_lees(seed):
    y, arm, _ = draw(np.random.default_rng(seed), n=20_000)
    (low, s_low), (high, s_high) = printed(y, arm)
    found = row(y, arm)
    assert (found["lee_low"], found["lee_high"]) == pytest.approx((low, high), abs=2e-3)
    c = norm.ppf(0.95)  # the bounds are many standard errors apart
    assert (low - found["lee_conf_low"]) / s_low == pytest.approx(c, abs=0.25)
    assert found["lee_low"] - found["lee_conf_low"] == pytest.approx(c * s_low, rel=0.02)
    assert found["lee_conf_high"] - found["lee_high"] == pytest.approx(c * s_high, rel=0.02)


def test_standard_errors_with_cells_are_those_of_the_bootstrap():
    rng = np.random.default_rng(5)
    y, arm, cell = draw(rng, n=1500)
    found, again = row(y, arm, strata=cell), []
    for _ in range(600):
        pick = rng.integers(0, y.size, y.size)
        one = row(y[pick], arm[pick], strata=cell[pick])
        again.append((one["lee_low"], one["lee_high"]))
    spread = np.std(again, axis=0)
    c = norm.ppf(0.95)
    reached = (found["lee_low"] - found["lee_conf_low"], found["lee_conf_high"] - found["lee_high"])
    np.testing.assert_allclose(reached, c * spread, rtol=0.12)


def test_cells_tighten_and_one_cell_is_none():
    y, arm, cell = draw(np.random.default_rng(6), n=3000)
    plain, one, cells = (row(y, arm, strata=s) for s in (None, np.zeros(3000, int), cell))
    assert plain == one
    assert plain["lee_low"] < cells["lee_low"] < cells["lee_high"] < plain["lee_high"]


def test_without_attrition_it_is_the_interval_of_the_difference():
    rng = np.random.default_rng(7)
    y, arm = rng.normal(size=200), rng.integers(0, 2, 200)
    for level in (0.8, 0.95):
        found = row(y, arm, level=level)
        assert found["lee_conf_low"] == pytest.approx(found["conf_low"], abs=1e-9)
        assert found["lee_conf_high"] == pytest.approx(found["conf_high"], abs=1e-9)


def test_the_other_direction_turns_the_signs():
    y, arm, cell = draw(np.random.default_rng(8))
    found, turned = row(y, arm, strata=cell), row(y, 1 - arm, strata=cell)
    for end, other in (("low", "high"), ("high", "low")):
        assert found[f"lee_{end}"] == pytest.approx(-turned[f"lee_{other}"])
        assert found[f"lee_conf_{end}"] == pytest.approx(-turned[f"lee_conf_{other}"])


@pytest.mark.parametrize("by_cell", [False, True])
def test_intervals_hold_the_effect_on_the_always_known(by_cell):
    """At least the level wherever between the bounds the effect lies; here it is .4."""
    held = []
    for rng in np.random.default_rng(9).spawn(400):
        y, arm, cell = draw(rng, n=300)
        found = row(y, arm, strata=cell if by_cell else None)
        held.append(found["lee_conf_low"] <= 0.4 <= found["lee_conf_high"])
    assert np.mean(held) > 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / 400)


def test_intervals_hold_an_effect_at_the_bound():
    """Those known only when treated have the highest outcomes: the effect is the low bound."""
    held = []
    for rng in np.random.default_rng(10).spawn(600):
        arm, base = rng.integers(0, 2, 300), rng.normal(size=300)
        shown = (base < norm.ppf(0.6)) | ((arm == 1) & (base < norm.ppf(0.8)))
        found = row(np.where(shown, base, np.nan), arm)
        held.append(found["lee_conf_low"] <= 0.0 <= found["lee_conf_high"])
    assert abs(np.mean(held) - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / 600) + 0.01


def test_refusals():
    y, arm, cell = draw(np.random.default_rng(11))
    with pytest.raises(EstimationError, match="without units of an arm"):
        row(y, arm, strata=np.where(arm == 1, 9, cell))
    with pytest.raises(InputError, match="level"):
        row(y, arm, level=95)
