"""Intervals that need many runs of the experiment, and those of policies on fresh data."""

import numpy as np

import wavewise as ww
from coverage_intervals import EFFECTS, Kept, made, tried
from wavewise.simulated.adaptive_refit import experiment_again
from wavewise.simulated.adaptive_waves import AdaptiveDesign, assign_again, simulate_adaptive_waves

TEST_DRAWS, INTERVAL_DRAWS, BOOTSTRAP_DRAWS = 99, 99, 200
EFFECT = 0.5


def bootstrap(cell, rng):
    """The chosen arm with clusters, calibrated by simulating the whole adaptive experiment."""
    design = made(cell)
    d = simulate_adaptive_waves(design, rng)
    keep = Kept()
    name = "chosen arm, bootstrap, envelope"
    table = tried(lambda: ww.estimate.weighted_m(
        d.outcome, d.arm, d.propensity, cluster=d.cluster))  # fmt: skip
    if table is None or table.not_estimable:
        keep.rows[name] = (np.nan, np.nan)
        return keep.rows
    best = int(table.arm_estimate.argmax())
    keep("chosen arm, usual beside it", lambda: table.conf_int()[best], d.truth[best])
    again = experiment_again(design, d.outcome, d.arm, d.cluster)
    found = tried(lambda: ww.estimate.bootstrap_chosen_arm(
        table.arm_estimate, table.std_error[:4], again, rng=rng, n_draws=BOOTSTRAP_DRAWS,
    ))  # fmt: skip
    bounds = np.full(2, np.nan) if found is None else (found.conf_low, found.conf_high)
    keep(name, lambda: bounds, d.truth[best])
    return keep.rows


def test_size(cell, rng):
    """One minus the size at 5 %: the p value under no effect, the adaptive procedure re-run."""
    design = made(cell)
    d = simulate_adaptive_waves(design, rng)
    fixed = np.repeat(d.outcome[:, None], d.truth.size, axis=1)
    found = tried(lambda: ww.estimate.randomization_test(
        d.outcome, d.arm, lambda r: assign_again(design, fixed, r), n_draws=TEST_DRAWS, rng=rng,
        intervals=False,
    ))  # fmt: skip
    if found is None:
        return {"randomization_test, not rejected": (np.nan, np.nan)}
    return {
        "randomization_test, not rejected": (float(found.p_value > 0.05), np.nan),
        "randomization_test, arms, not rejected": (
            float((found.arm_p_value > 0.05).mean()),
            np.nan,
        ),
    }


def fisher(cell, rng):
    """Fisher's interval of a constant effect, two arms, waves that follow earlier outcomes."""
    design = AdaptiveDesign(
        np.array([0.0, EFFECT]), cell["units"], cell["waves"], cell["rule"], cell["floor"], "normal"
    )
    d = simulate_adaptive_waves(design, rng)
    found = ww.estimate.randomization_test(
        d.outcome, d.arm, lambda r, y: assign_again(design, y, r), n_draws=INTERVAL_DRAWS, rng=rng,
        adaptive=True,
    )  # fmt: skip
    keep = Kept()
    keep("randomization_test, Fisher interval", lambda: found.intervals[0], EFFECT)
    keep("ate HC2", lambda: ww.estimate.ate(d.outcome, d.arm, control=0).conf_int()[0], EFFECT)
    return keep.rows


def policies(cell, rng):
    """Values and contrasts of frozen policies on fresh data, arms drawn with equal shares.

    The policy gives the first arm, which gains .05 there, to half of the units, and the best other
    arm to the rest; it is compared with that other arm for all.
    """
    p, n, groups = np.array(EFFECTS[cell["effect"]]), cell["units"], cell["clusters"]
    best = int(p[1:].argmax()) + 1
    x = rng.integers(0, 2, n)
    prob = np.tile(p, (n, 1))
    prob[:, 0] += 0.05 * x
    cluster = rng.integers(0, groups, n) if groups else None
    if groups:
        prob += rng.choice([-0.08, 0.08], groups)[cluster][:, None]
    rule, other = np.where(x == 1, 0, best), np.full(n, best)
    gain, units, keep = 0.5 * (p[0] + 0.05 - p[best]), np.arange(n), Kept()
    arm = rng.integers(0, 4, n)
    y = (rng.random(n) < prob[units, arm]) * 1.0
    given = (x[:, None].astype(float), arm, y)
    stored = {"propensity": np.full((n, 4), 0.25), "arms": range(4), "cluster": cluster}
    keep("policy_value", lambda: _bounds(
        ww.evaluate.policy_value(rule, *given, **stored)), gain + p[best])  # fmt: skip
    keep("policy_contrast", lambda: _bounds(
        ww.evaluate.policy_contrast(rule, other, *given, **stored)), gain)  # fmt: skip
    which = rng.integers(0, 2, n)
    y = (rng.random(n) < prob[units, np.where(which == 0, rule, other)]) * 1.0
    keep("paired_contrast", lambda: _bounds(ww.evaluate.paired_contrast(
        y, np.array(["rule", "other"])[which], rule, other, policies=("rule", "other"),
        cluster=cluster, se="HC2" if cluster is None else "CR2")), gain)  # fmt: skip
    return keep.rows


def _bounds(found):
    return found.conf_low, found.conf_high
