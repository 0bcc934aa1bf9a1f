"""Simulated experiments against a second implementation: unit by unit, by the public functions."""

import numpy as np

import wavewise as ww

E = ww.evaluate
N = 150


def _gap(found: E.Estimate, values: list[float]) -> float:
    """Difference in standard errors of both."""
    slow = np.array(values, dtype=float)
    return abs(found.value - slow.mean()) / np.hypot(
        found.mc_error, slow.std(ddof=1) / np.sqrt(slow.size)
    )


def _unit_by_unit(rates: list[float], waves: tuple[int, ...], rule: str, rng):
    """Regret, posterior regret and units of the best arm of one experiment without clusters."""
    arms = [str(k) for k in range(len(rates))]
    successes, trials = np.zeros(len(arms), int), np.zeros(len(arms), int)
    shares = dict.fromkeys(arms, 1 / len(arms))
    for wave, size in enumerate(waves):
        drawn = ww.randomize.assign(np.arange(size), None, shares, rng)
        for unit_arm in drawn.arm:
            k = int(unit_arm)
            successes[k] += rng.random() < rates[k]
            trials[k] += 1
        posterior = ww.estimate.beta_binomial(successes, trials, arms=arms)
        if wave < len(waves) - 1:
            shares = dict(zip(arms, ww.decide.shares(posterior, rule=rule), strict=True))
    chosen = int(ww.decide.best_arm(posterior).arm)
    best = int(np.argmax(rates))
    return max(rates) - rates[chosen], posterior.policy_regret[chosen], trials[best]


def test_without_clusters() -> None:
    rates, waves = [0.3, 0.4, 0.45], (60, 60, 60)
    rng = np.random.default_rng(8)
    for rule in ("exploration", "Thompson"):
        slow = [_unit_by_unit(rates, waves, rule, rng) for _ in range(N)]
        fast = E.simulate(
            E.Design(3, waves, rule=rule), {"rate": rates}, n_simulations=4_000, rng=rng
        )
        regret, believed, units = zip(*slow, strict=True)
        assert _gap(fast.realized_regret, list(regret)) < 4
        assert _gap(fast.posterior_regret, list(believed)) < 4
        of_best = fast.runs["units"][:, 2].astype(float)
        mean = E.Estimate(of_best.mean(), of_best.std() / np.sqrt(of_best.size))
        assert _gap(mean, [float(n) for n in units]) < 4


def _clustered(rng):
    """The same with schools, by the hierarchical estimator on rows of units."""
    beta, kappa, n_schools = np.array([-1.0, -0.6, -1.3]), 0.5, 15
    school = np.repeat(np.arange(n_schools), 16)
    effect = kappa * rng.standard_normal(n_schools)
    first = np.zeros(school.size, dtype=bool)
    first[rng.permutation(school.size)[:120]] = True
    shares = dict.fromkeys("abc", 1 / 3)
    y, n, arm, where = [], [], [], []
    for part in (first, ~first):
        drawn = ww.randomize.assign(np.flatnonzero(part), school[part], shares, rng)
        for s, name in zip(school[part], drawn.arm, strict=True):
            prob = 1 / (1 + np.exp(-(beta["abc".index(name)] + effect[s])))
            y.append(rng.binomial(4, prob))
            n.append(4)
            arm.append(name)
            where.append(s)
        posterior = ww.estimate.hierarchical_binomial(y, n, arm, where, rng=rng)
        shares = dict(zip("abc", ww.decide.shares(posterior, floor=1e-6), strict=True))
    chosen = "abc".index(ww.decide.best_arm(posterior).arm)
    return float(chosen == 1), float(posterior.policy_regret[chosen])


def test_with_clusters() -> None:
    rng = np.random.default_rng(9)
    slow = [_clustered(rng) for _ in range(60)]
    design = E.Design(3, (120, 120), clusters=[16] * 15, trials=4)
    fast = E.simulate(
        design, {"beta": [-1.0, -0.6, -1.3], "kappa": 0.5}, n_simulations=400, rng=rng
    )
    found, believed = zip(*slow, strict=True)
    assert _gap(fast.best_arm_found, list(found)) < 4
    assert _gap(fast.posterior_regret, list(believed)) < 4
