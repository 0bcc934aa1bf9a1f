"""Every public function on arrays, once on seeded data: what the earlier version answered to.

Each calculation gives plain values: numbers in full, long arrays as SHA-256 where they are whole
numbers or names, and as sums and their first and last numbers where they are fractions.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

import wavewise as ww
from earlier_version import sha256

D, E, V = ww.decide, ww.estimate, ww.evaluate
LONG = 40
CALCULATIONS: dict[str, Callable[[], Any]] = {}


def calculation(function: Callable[[], Any]) -> Callable[[], Any]:
    CALCULATIONS[function.__name__] = function
    return function


def plain(value: Any) -> Any:
    """A result as values that JSON has."""
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    if isinstance(value, pl.DataFrame):
        return {name: _plain_array(value[name].to_numpy()) for name in value.columns}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "mc_error") and hasattr(value, "value"):  # once a pair
        return [plain(value.value), plain(value.mc_error)]
    found = {n: plain(getattr(value, n)()) for n in ("to_dict", "to_frame") if hasattr(value, n)}
    if isinstance(value, D.Policy):
        found |= {"hash": value.hash, "rule": value.describe()}
    return found or str(value)


def _plain_array(values: np.ndarray) -> Any:
    flat = values.ravel()
    if flat.size <= LONG:
        return [plain(item) for item in values.tolist()]
    head = {"shape": list(values.shape)}
    if values.dtype.kind != "f":
        return head | {"sha256": sha256("\n".join(map(str, flat.tolist())).encode())}
    finite = np.where(np.isfinite(flat), flat, 0.0)
    places = np.arange(flat.size) % 7 + 1.0
    sums = [math.fsum(finite), math.fsum(finite * places), int(np.isfinite(flat).sum())]
    return head | {"sums": sums, "ends": plain(np.r_[flat[:5], flat[-5:]])}


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


class Data:
    """One wave of 800 units in 20 clusters and 4 strata, three arms, effects that differ."""

    def __init__(self, seed: int = 20, n: int = 800) -> None:
        draw = rng(seed)
        self.n = n
        self.unit = np.arange(n)
        self.cluster, self.strata = self.unit % 20, self.unit % 4
        self.arm = np.array(["control", "sms", "call"])[draw.integers(0, 3, n)]
        self.X = {
            "age": draw.integers(18, 60, n).astype(float),
            "used": draw.integers(0, 5, n).astype(float),
            "score": draw.normal(size=n).round(3),
        }
        self.table = np.column_stack(list(self.X.values()))
        gain = (self.arm == "sms") * 0.12 + (self.arm == "call") * (
            0.05 + 0.1 * (self.X["score"] > 0)
        )
        self.binary = (draw.random(n) < 0.3 + gain + 0.02 * self.X["used"]).astype(float)
        self.score = 40 + 3 * self.X["score"] + 5 * (self.arm == "call") + draw.normal(0, 6, n)
        self.score = self.score.round(2)
        self.received = (self.arm != "control") * (draw.random(n) < 0.7)
        self.shares = {"control": 1 / 3, "sms": 1 / 3, "call": 1 / 3}


class Waves:
    """Three waves of 300 units, arms drawn with shares that moved."""

    def __init__(self, seed: int = 21) -> None:
        draw = rng(seed)
        self.wave = np.repeat([1, 2, 3], 300)
        by_wave = np.array([[1 / 3] * 3, [0.25, 0.35, 0.4], [0.2, 0.3, 0.5]])
        self.propensities = by_wave[self.wave - 1]
        place = (draw.random(900)[:, None] > self.propensities.cumsum(axis=1)).sum(axis=1)
        self.arm = np.array(["a", "b", "c"])[place]
        self.propensity = self.propensities[np.arange(900), place]
        self.score = (draw.normal(size=900) + 0.2 * place).round(4)
        self.trials = np.full(900, 9)
        self.cluster = np.arange(900) % 30
        self.successes = draw.binomial(9, 0.1 + 0.03 * place + 0.02 * (self.cluster % 3))


class Panel:
    """Scores of 200 units in 10 clusters at three times, some missing."""

    def __init__(self, seed: int = 22) -> None:
        draw = rng(seed)
        n = 200
        self.unit, self.period = np.tile(np.arange(n), 3), np.repeat([1, 2, 3], n)
        self.treated = self.period >= np.where(self.unit < 100, 2, 3)
        self.arm = np.array(["control", "calls", "texts"])[self.unit % 3]
        level = draw.normal(40, 9, 10)[self.unit // 20] + draw.normal(0, 12, n)[self.unit]
        gain = 5.0 * (self.arm == "calls") * self.treated
        self.score = (level + gain + draw.normal(0, 6, 3 * n)).round(1)
        self.score[draw.random(3 * n) < 0.1] = np.nan

    @property
    def rows(self) -> dict[str, Any]:
        named = {"unit": self.unit, "cluster": self.unit // 20, "period": self.period}
        return {**named, "arm": self.arm, "treated": self.treated, "control": "control"}


def _forest(data: Data, **more: Any) -> Any:
    return E.causal_forest(
        data.X, data.arm, data.binary, control="control", propensity=data.shares, rng=rng(4),
        unit=data.unit, n_trees=120, **more,
    )  # fmt: skip


def _matcher(data: Data) -> Any:
    return E.neighbours(data.X, data.arm, data.binary, control="control", k=60, rng=rng(5))


def _binomial(waves: Waves, **more: Any) -> Any:
    return E.hierarchical_binomial(
        waves.successes, waves.trials, waves.arm, waves.cluster, rng=rng(6), n_draws=512, **more
    )


# Draws -------------------------------------------------------------------------------------------


@calculation
def assign() -> Any:
    shares = {"control": 0.2, "peers": 0.35, "teacher": 0.45}
    found: dict[str, Any] = {}
    for seed in (1, 7, 20240301):
        ids = np.arange(997)
        one = ww.randomize.assign(ids, ids % 9, shares, rng(seed))
        house = ww.randomize.assign(ids, None, shares, rng(seed), cluster=ids // 3)
        named = [f"p{i}" for i in range(500)]
        by = {"x": {"a": 0.5, "b": 0.5}, "y": {"a": 0.1, "b": 0.9}}
        text = ww.randomize.assign(named, ["x", "y"] * 250, by, rng(seed))
        found[str(seed)] = [
            {
                "arms": sha256("\n".join(map(str, a.arm)).encode()),
                "counts": plain(a.counts.by_arm()),
                "propensity": plain(np.asarray(a.propensity)),
            }
            for a in (one, house, text)
        ]
    return found


@calculation
def checks_of_draws() -> Any:
    d = Data()
    return [
        ww.randomize.balance(d.X, d.arm, d.strata),
        ww.randomize.sample_ratio(d.arm, d.shares, d.strata),
    ]


# Estimates ---------------------------------------------------------------------------------------


@calculation
def ate() -> Any:
    d = Data()
    return [
        E.ate(d.binary, d.arm),
        E.ate(d.score, d.arm, strata=d.strata, covariates=d.X, se="HC3"),
        E.ate(d.score, d.arm, strata=d.strata, cluster=d.cluster, se="CR2"),
        E.ate(d.binary, d.arm).contrast({"call": 1.0, "sms": -1.0}),
        {how: E.ate(d.binary, d.arm).adjusted(how) for how in ("holm", "max-t")},
    ]


@calculation
def cace() -> Any:
    d = Data()
    return [
        E.cace(d.score, d.arm, d.received),
        E.cace(d.score, d.arm, d.received, strata=d.strata, covariates=d.X, cluster=d.cluster),
    ]


@calculation
def beta_binomial() -> Any:
    post = E.beta_binomial([139, 624, 324], [867, 3188, 1766], arms=["a", "b", "c"])
    return [post, post.prob_optimal, post.policy_regret, post.cred_int(), post.draws(50, rng(2))]


@calculation
def hierarchical_binomial() -> Any:
    w = Waves()
    post = _binomial(w)
    loose = E.hierarchical_binomial(
        w.successes, w.trials, w.arm, w.cluster, rng=rng(6), n_draws=512,
        overdispersion="beta-binomial", clusters="these",
        prior=E.BinomialPrior(beta=E.Normal(sd=1), kappa=E.HalfT(df=1, scale=1)),
    )  # fmt: skip
    fit = E.posterior_predictive_check(post, w.successes, w.trials, w.arm, w.cluster, rng(7), 100)
    return [
        [p, p.prob_optimal, p.policy_regret, p.mean, p.sd, p.success_prob] for p in (post, loose)
    ] + [fit]


@calculation
def prior_sensitivity() -> Any:
    w, wide = Waves(), E.BinomialPrior(E.StudentT(df=1, scale=1), E.InverseChiSquare(1))
    return E.prior_sensitivity(
        w.successes, w.trials, w.arm, w.cluster, rng=rng(8), n_draws=256,
        priors=[E.BinomialPrior(), wide],
    )  # fmt: skip


@calculation
def hierarchical_normal() -> Any:
    p = Panel()
    post = E.hierarchical_normal(p.score, **p.rows, rng=rng(9), n_draws=2000)
    slices = E.hierarchical_normal(
        p.score, **p.rows, rng=rng(9), n_draws=1000, method="slice", pooled=True,
        prior=E.study_priors(),
    )  # fmt: skip
    check = E.score_predictive_check(post, p.score, **p.rows, rng=rng(10), n_replications=200)
    return [[q, q.mean, q.sd, q.prob_optimal, q.policy_regret] for q in (post, slices)] + [check]


@calculation
def score_panels() -> Any:
    p = Panel()
    return E.score_panels(p.score, **p.rows, rng=rng(11), n_draws=1000, check=False)


@calculation
def score_prior_sensitivity() -> Any:
    p, tried = Panel(), E.tried_priors()
    return [
        E.score_prior_sensitivity(
            p.score, **p.rows, rng=rng(12), n_draws=1000, priors=[tried[0], tried[3]]
        ),
        [prior.to_dict() for prior in (*tried, E.scaled_priors(), E.study_priors(10.0, 3.0))],
    ]


@calculation
def adaptive_estimators() -> Any:
    w = Waves()
    given = (w.score, w.arm)
    return [
        E.adaptive_aipw(*given, w.propensities, w.wave),
        E.adaptive_aipw(*given, w.propensities, w.wave, weights="constant", cluster=w.cluster),
        E.batched_ols(*given, w.wave),
        E.batched_ols(*given, w.wave, variance="arm"),
        E.weighted_m(*given, w.propensity),
        E.weighted_m(
            w.successes, w.arm, w.propensity, family="binomial", trials=w.trials, cluster=w.cluster
        ),
        E.weighted_m(*given, w.propensity, small_sample="hc2-t"),
        E.confidence_sequence(*given, w.propensities, w.wave, method="asymptotic"),
        E.confidence_sequence(
            *given, w.propensities, w.wave, method="asymptotic", small_sample="t", tightest_at=600
        ),
    ]


@calculation
def winner() -> Any:
    w = Waves()
    cov = np.diag([0.01, 0.02, 0.01]) + 0.002
    methods = ("hybrid", "conditional", "projection")
    return [
        *(E.winner([0.1, 0.3, 0.35], cov, method) for method in methods),
        E.winner([0.1, 0.3, 0.35], cov, method="hybrid", rank=1),  # then the default
        E.winner_table({"OLS": ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])}, ["a", "b", "c"]),
        E.adaptive_comparison(w.score, w.arm, w.propensity, wave=w.wave),
    ]


@calculation
def bootstrap_chosen_arm() -> Any:
    def simulate(means: Any, draw: np.random.Generator) -> Any:
        return means + 0.1 * draw.normal(size=3), np.full(3, 0.1)

    return [
        E.bootstrap_chosen_arm(
            [0.1, 0.2, 0.25], [0.1, 0.1, 0.1], simulate, rng=rng(13), draws=100, truths=truths
        )
        for truths in ("envelope", "shrunken", "estimated", "equal")
    ]


@calculation
def randomization_test() -> Any:
    d = Data(n=200)

    def again(draw: np.random.Generator) -> Any:
        return draw.permutation(d.arm)

    return [
        E.randomization_test(d.score, d.arm, again, draws=200, rng=rng(14), control="control"),
        E.randomization_test(
            d.score, d.arm, again, draws=200, rng=rng(14), statistic="difference",
            control="control", intervals=False,
        ),
    ]  # fmt: skip


@calculation
def pair_margins() -> Any:
    return E.pair_margins(["control", "a+a", "a+b", "b+a", "b+b"])


@calculation
def causal_forest() -> Any:
    d = Data()
    found = []
    for forest in (_forest(d), _forest(d, centre=False)):
        found.append(
            [forest.hash, forest, forest.effects(d.X), forest.std_error(d.X), forest.effects_oob,
             forest.variable_importance]
        )  # fmt: skip
    return found


@calculation
def neighbours() -> Any:
    d = Data()
    found = _matcher(d)
    tuned = E.neighbours(d.X, d.arm, d.binary, control="control", rng=rng(5))
    return [[m.hash, m, m.effects(d.X), m.std_error(d.X), m.effects_oob] for m in (found, tuned)]


# Decisions ---------------------------------------------------------------------------------------


@calculation
def shares() -> Any:
    post = E.beta_binomial([24, 30, 27], [100, 100, 100], arms=["a", "b", "c"])
    options: dict[str, dict[str, float]] = {
        "exploration": {}, "Thompson": {}, "tempered Thompson": {"temper": 0.5},
        "top-two": {"beta": 0.6}, "control-augmented": {}, "equal": {},
    }  # fmt: skip
    return [
        D.exploration_shares(post),
        *(D.shares(post, rule, control_share=0.2, **more) for rule, more in options.items()),
        *(
            D.next_shares(post, rule, "control", 0.2, ["one"], floor=0.05, **more)
            for rule, more in options.items()
        ),
        D.with_control([0.75, 0.25], 0.2),
        D.with_floor([0.75, 0.24, 0.01], 0.1),
    ]


@calculation
def best_arm_and_another_wave() -> Any:
    post = E.beta_binomial([24, 30, 27], [100, 100, 100], arms=["a", "b", "c"])
    stakes = {"cost_per_unit": 1.0, "cost_per_wave": 500.0, "beneficiaries": 1e6}
    given = {"n_next": 400, "value_per_success": 2.0, **stakes}
    return [
        D.best_arm(post),
        D.stop_or_go(post, **given),
        D.stop_or_go(post, **given, rng=rng(15), rule="Thompson", control_share=0.2, n_draws=500),
        D.stop_or_go(_binomial(Waves()), **given, rng=rng(15), trials_per_unit=9, n_draws=500),
    ]


@calculation
def policies() -> Any:
    d = Data()
    forest, matcher = _forest(d), _matcher(d)
    scores = V.doubly_robust_scores(d.X, d.arm, d.binary, propensity=d.shares, control="control")
    made = [
        D.personalize(forest, name="forest"),
        D.personalize(matcher, name="neighbours", allow_control=True),
        D.cautious(forest),
        D.target(forest, budget=0.3),
        D.uniform("sms"),
        D.uniform_best(E.ate(d.binary, d.arm)),
        D.uniform_best(forest),
        D.random_policy({"sms": 0.25, "call": 0.75}),
        D.policy_tree(
            d.X, scores.effects.round(6), arms=scores.arms[:2], depth=2, min_leaf=50, n_bins=16
        ),
    ]
    found = []
    with TemporaryDirectory() as folder:
        for policy in made:
            policy.save(path := Path(folder) / f"{policy.name}.npz")
            again = D.load_policy(path)
            given = again.probabilities(d.X)
            found.append([policy, sha256(policy.to_bytes()), again.hash, given, again.arms])
    return [*found, D.best_on_average(forest)]


# Evaluation --------------------------------------------------------------------------------------


@calculation
def values_of_policies() -> Any:
    learned, fresh = Data(), Data(seed=23)
    model = _forest(learned)
    forest, best = D.personalize(model), D.uniform("sms")
    given = (fresh.X, fresh.arm, fresh.binary)
    scores = V.doubly_robust_scores(*given, propensity=fresh.shares, control="control")
    effects = model.effects(fresh.X)
    tau, worth = effects[:, 0], scores.effect(scores.arms[-1])
    mixed = V.mixture_propensity({forest: 0.6, best: 0.4}, fresh.X, control="no", control_share=0.5)
    a, b = forest.assign(fresh.X), best.assign(fresh.X)
    drawn = np.where(np.arange(fresh.n) % 2, "forest", "best")
    ordered = np.column_stack([scores.effect(arm) for arm in model.arms])
    return [
        V.policy_value(forest, *given, propensity=fresh.shares),
        V.policy_contrast(forest, best, *given, propensity=fresh.shares, cluster=fresh.cluster),
        V.paired_contrast(drawn, fresh.binary, a, b, policies=("forest", "best")),
        scores,
        mixed,
        V.toc(tau, worth),
        V.cost_curve(effects, ordered, [1.0, 2.0]),
        V.cost_curve(effects, ordered).gain(0.5),
        V.calibration(tau, worth),
        V.best_linear_projection(fresh.X, worth),
    ]


@calculation
def power() -> Any:
    return [
        V.power(rate=0.36, n_per_arm=25_000, contrast="policy"),
        V.power(mean=45.0, std_dev=26.0, effect=3.0, cluster_size=20, intracluster_correlation=0.1),
        V.power(rate=0.1, trials=9, n_per_arm=400, contrast="control", n_control=800),
        V.power(rate=0.3, n_per_arm=500, n_comparisons=6, adjust="dunnett", contrast="control"),
    ]


@calculation
def simulated_designs() -> Any:
    design = V.Design(arms=3, waves=(200, 200), rule="exploration")
    schools = V.Design(arms=3, waves=(120, 120), clusters=[20] * 12, control_share=0.2, trials=9)
    rates = {"rate": [0.2, 0.25, 0.3]}
    return [
        V.simulate(design, rates, 60, rng(16)),
        V.compare([design, design.with_(rule="uniform")], rates, 60, rng(16)),
        V.simulate(schools, V.PriorTruth.from_rate(0.1, 0.3, kappa=0.4), 20, rng(17)),
        V.ex_ante(design, rates, n_simulations=40, rng=rng(18)),
        design.hash,
    ]


@calculation
def exercises() -> Any:
    w = Waves()
    first = w.wave == 1
    wide = V.BootstrapTruth.from_rows(w.successes, w.trials, w.arm)
    again = V.Design(arms=wide.arms, waves=(90, 90), rule="Thompson", trials=9)
    found = V.if_another_wave(_binomial(w), 90, trials=9, n_simulations=20, rng=rng(19))
    return [
        V.ex_post(
            w.successes, w.trials, w.arm, w.cluster, first, shares=[0.2, 0.3, 0.5], n_second=150,
            n_simulations=10, rng=rng(19),
        ),
        V.simulate(again, wide, 40, rng(19)),
        [found.best_arm_found_now, found.realized_regret_now, found.gain, found.medians()],
    ]  # fmt: skip


@calculation
def plans_of_waves() -> Any:
    limits = V.Limits(most_waves=2)
    return V.plan_waves(
        V.Design(arms=3, waves=(300,)), {"rate": [0.1, 0.15, 0.2]}, V.Benefit(10_000),
        limits=limits, n_simulations=60, rng=rng(24),
    )  # fmt: skip


@calculation
def personalization_power() -> Any:
    return V.personalization_power(
        V.Guess(0.36, [0.03, 0.03, 0.02], 0.06), n_first=1_000, n_per_policy=25_000,
        n_simulations=2, n_trees=20, min_arm_leaf=20, rng=rng(25),
    )  # fmt: skip


@calculation
def checks() -> Any:
    d, w = Data(), Waves()
    missing = np.where(np.arange(d.n) % 11 == 0, np.nan, d.score)
    planned = np.where(d.arm == "control", 0, 9)
    delivered = planned - (d.unit % 13 == 0) * (planned > 0)
    C = V.checks
    return [
        C.attrition_bounds(missing, d.arm),
        C.balance(d.X, d.arm, d.strata),
        C.control_drift(w.score, np.where(w.arm == "a", "control", w.arm), w.wave),
        C.dose_by_arm(delivered, planned, d.arm, strata=d.strata),
        C.heaping(d.score.round(), arm=d.arm),
        C.implausible_clusters(d.score.round(), d.cluster),
        C.late_deliveries(d.score, d.arm, d.unit % 5 == 0),
        C.missing_outcomes(missing, d.arm, strata=d.strata),
        C.sample_ratio(d.arm, d.shares),
    ]


# The study file ----------------------------------------------------------------------------------


@calculation
def study_files() -> Any:
    found = {}
    for name in sorted(ww.design.template_names()):
        spec = ww.design.parse_spec(text := ww.design.template_text(name))
        found[name] = {
            "text": sha256(text.encode()),
            "hash": ww.design.spec_hash(spec),
            "canonical": sha256(ww.design.canonical_json(spec).encode()),
            "shares": [ww.design.planned_shares(spec, wave) for wave in spec.waves],
        }
    return found
