"""Intervals after adaptive assignment: whether each holds the truth, and how long it is."""

import numpy as np

import wavewise as ww
from wavewise.errors import WavewiseError
from wavewise.estimate.binomial.priors import BinomialPrior, HalfNormal, Normal
from wavewise.simulated.adaptive_waves import AdaptiveDesign, simulate_adaptive_waves

EFFECTS = {
    "no effect": [0.3, 0.3, 0.3, 0.3],
    "near tie": [0.3, 0.3, 0.38, 0.4],
    "clear winner": [0.3, 0.3, 0.3, 0.5],
    "two arms, no effect": [0.3, 0.3],
    "rare, no effect": [0.02, 0.02, 0.02, 0.02],
    "frequent, near tie": [0.95, 0.95, 0.97, 0.975],
}
CLUSTER_SD = 0.5
LEVEL = 0.95
PRIOR = BinomialPrior(Normal(1.5), HalfNormal(1))
WEIGHTED = ("none", "hc2-t", "hc3-t")
WINNERS = ("one-sided", "conditional", "projection", "hybrid")
# one wave: units by arm, share of successes by arm, units in a cluster, whether units are weighted
FIXED = {
    "100 and 100 units": ((100, 100), (0.3, 0.4), 1, False),
    "8 of 200 treated": ((192, 8), (0.3, 0.4), 1, False),
    "rare outcomes, 300 and 300": ((300, 300), (0.02, 0.04), 1, False),
    "shares near 1, 60 and 60": ((60, 60), (0.95, 0.9), 1, False),
    "four arms of 50": ((50,) * 4, (0.3, 0.3, 0.3, 0.3), 1, False),
    "16 arms of 100, tied": ((100,) * 16, (0.3,) * 16, 1, False),
    "6 and 6 clusters of 15": ((90, 90), (0.3, 0.4), 15, False),
    "3 of 12 clusters of 15 treated": ((135, 45), (0.3, 0.4), 15, False),
    "200 and 200 units, weights 1 to 20": ((200, 200), (0.3, 0.4), 1, True),
    "15 of 150 treated, weights 1 to 20": ((135, 15), (0.3, 0.4), 1, True),
}


class Kept:
    """Rows by name: the mean of what holds the truth, and of the lengths; None for no interval."""

    def __init__(self):
        self.rows = {}

    def __call__(self, name, make, truth):
        try:
            bounds = np.asarray(make(), dtype=np.float64)
        except WavewiseError:
            self.rows[name] = (np.nan, np.nan)
            return
        known = ~np.isnan(bounds).any(axis=-1)
        holds = (bounds[..., 0] <= truth) & (truth <= bounds[..., 1])
        length = bounds[..., 1] - bounds[..., 0]
        self.rows[name] = (
            (holds[known].mean(), length[known].mean()) if known.any() else (np.nan, np.nan)
        )


def tried(make):
    """What a call gives, or None where it names a reason."""
    try:
        return make()
    except WavewiseError:
        return None


def made(cell):
    """The design of a cell."""
    return AdaptiveDesign(
        np.array(EFFECTS[cell["effect"]]),
        cell["units"],
        cell["waves"],
        cell["rule"],
        cell["floor"],
        n_clusters=cell["clusters"],
        cluster_sd=CLUSTER_SD if cell["clusters"] else 0.0,
    )


def repetition(cell, rng):
    """One experiment: contrasts with the first arm, and the mean of the arm that came out best."""
    d = simulate_adaptive_waves(made(cell), rng)
    keep, truth = Kept(), d.truth[1:] - d.truth[0]
    cluster = d.cluster if cell["clusters"] else None
    for se in ("HC2",) if cluster is None else ("HC2", "CR1", "CR2"):
        keep(f"ate {se}", lambda se=se: ww.estimate.ate(
            d.outcome, d.arm, control=0, se=se, cluster=None if se == "HC2" else cluster,
        ).conf_int(), truth)  # fmt: skip
    tables = {
        kind: tried(lambda kind=kind: ww.estimate.weighted_m(
            d.outcome, d.arm, d.propensity, cluster=cluster, small_sample=kind))
        for kind in WEIGHTED
    }  # fmt: skip
    for kind, table in tables.items():
        keep(f"weighted_m, {kind}", contrasts(table), truth)
    given = (d.outcome, d.arm, d.propensities, d.wave)
    for weights in ("two-point", "constant"):
        tables[weights] = tried(lambda w=weights: ww.estimate.adaptive_aipw(
            *given, weighting=w, cluster=cluster))  # fmt: skip
        keep(f"adaptive_aipw {weights}", contrasts(tables[weights]), truth)
    keep("batched_ols", contrasts(
        tried(lambda: ww.estimate.batched_ols(d.outcome, d.arm, d.wave))), truth)  # fmt: skip
    plain = tried(lambda: ww.estimate.weighted_m(
        d.outcome, d.arm, d.propensity, stabilizer="none", cluster=cluster))  # fmt: skip
    _chosen("unweighted", plain, d.truth, keep, ("usual",))
    _chosen("weighted_m", tables["none"], d.truth, keep)
    _chosen("weighted_m hc3-t", tables["hc3-t"], d.truth, keep, ("usual", "one-sided", "hybrid"))
    _chosen("adaptive_aipw", tables["two-point"], d.truth, keep)
    _models(d, cluster, truth, keep, rng)
    return keep.rows


def looks(cell, rng):
    """One experiment, looked at after every wave."""
    d = simulate_adaptive_waves(made(cell), rng)
    keep = Kept()
    _looks((d.outcome, d.arm, d.propensities, d.wave), d.truth[1:] - d.truth[0], keep)
    return keep.rows


def one_wave(cell, rng):
    """One wave with fixed counts: effects against the first arm, and the arm that came out best."""
    counts, share, size, weighted = FIXED[cell["design"]]
    arm = np.repeat(np.arange(len(counts)), counts)
    cluster = np.arange(arm.size) // size
    odds = np.log(np.array(share) / (1 - np.array(share)))[arm]
    shift = 0.0 if size == 1 else CLUSTER_SD * rng.normal(size=cluster.max() + 1)[cluster]
    # the truth of the units at hand, so that clusters' shocks and weights are part of it
    weight = np.where(rng.random(arm.size) < 0.2, 20.0, 1.0) if weighted else None
    grid = CLUSTER_SD * np.linspace(-6, 6, 241)
    mass = np.exp(-((grid / CLUSTER_SD) ** 2) / 2)
    mass = mass / mass.sum() if size > 1 else (grid == 0.0) * 1.0
    at = np.log(np.array(share) / (1 - np.array(share)))[:, None]
    mean = (1 / (1 + np.exp(-(at + grid)))) @ mass
    outcome = (rng.random(arm.size) < 1 / (1 + np.exp(-(odds + shift)))) * 1.0
    keep, truth = Kept(), mean[1:] - mean[0]
    groups = None if size == 1 else cluster
    label = "weights" if weighted else "clusters" if size > 1 else "units"
    for se in ("HC2",) if groups is None else ("CR1", "CR2"):
        keep(f"ate {se}, {label}", lambda se=se: ww.estimate.ate(
            outcome, arm, control=0, se=se, cluster=groups, weights=weight).conf_int(), truth,
        )  # fmt: skip
    if groups is None and weight is None:
        means = np.array([outcome[arm == k].mean() for k in range(len(counts))])
        error = means * (1 - means) / (np.array(counts) - 1)
        for method in WINNERS:
            found = tried(lambda method=method: ww.estimate.winner(means, error, method=method))
            best = 0 if found is None else found.arm
            keep(f"chosen arm, {method}", lambda found=found: np.full(2, np.nan)
                 if found is None else found.conf, mean[best])  # fmt: skip
        good = np.array([outcome[arm == k].sum() for k in range(len(counts))]).astype(np.int64)
        post = ww.estimate.beta_binomial(good, np.array(counts))
        for kind in ("hpd", "equal-tailed"):
            keep(f"beta_binomial, {kind}", lambda kind=kind: post.cred_int(LEVEL, kind), mean)
    return keep.rows


def contrasts(table):
    """A call that gives the contrasts' intervals, which stand behind the arms'."""
    return lambda: np.full((1, 2), np.nan) if table is None else table.conf_int()[len(table.arms) :]


def _looks(given, truth, keep):
    """Confidence sequences: at the last look; and at all looks together, where none is wrong."""
    for kind in ("block", "betting", "planned"):
        looks = tried(lambda kind=kind: ww.estimate.confidence_sequence(*given, method=kind))
        if looks is None:
            last = every = lambda: np.full((1, 2), np.nan)
        else:
            bounds = looks.conf_int()[:, -truth.size :]
            last = lambda bounds=bounds: bounds[-1]  # noqa: E731
            every = lambda bounds=bounds: _worst(bounds, truth)  # noqa: E731
        if kind == "block":
            keep("confidence_sequence, last look", last, truth)
        keep(f"confidence_sequence {kind}, all looks", every, truth)


def _worst(bounds, truth):
    """For each contrast the look that lies farthest off, (n_contrasts, 2)."""
    off = np.maximum(bounds[..., 0] - truth, truth - bounds[..., 1])
    none = np.isnan(off)
    at = np.where(none, -np.inf, off).argmax(axis=0)
    return bounds[at, np.arange(truth.size)]


def _chosen(label, table, truth, keep, methods=("usual", *WINNERS)):
    """Intervals of the mean of the arm whose estimate came out best."""
    for method in methods:
        name = f"chosen arm, {label}, {method}"
        if table is None or np.isnan(table.arm_estimate).all():
            keep(name, lambda: np.full(2, np.nan), 0.0)
        elif method == "usual":
            best = int(np.nanargmax(table.arm_estimate))
            keep(name, lambda best=best: table.conf_int()[best], truth[best])
        else:
            found = tried(lambda method=method: table.winner(method))
            arm = 0 if found is None else found.arm
            keep(
                name,
                lambda found=found: np.full(2, np.nan) if found is None else found.conf,
                truth[arm],
            )


def _models(d, cluster, truth, keep, rng):
    """Credible intervals of models: they hold on average over their prior, not for every truth."""
    n_arms = d.truth.size
    n = np.bincount(d.arm, minlength=n_arms)
    good = np.bincount(d.arm, weights=d.outcome, minlength=n_arms).astype(np.int64)
    post = ww.estimate.beta_binomial(good, n)
    keep("beta_binomial, arm means", lambda: post.cred_int(LEVEL, "equal-tailed"), d.truth)
    # whether an equal-tailed interval holds a value is told by its cumulative probability
    below = np.array(
        [post.contrast(post.arms[k], post.arms[0]).cdf(truth[k - 1]) for k in range(1, n_arms)]
    )
    inside = np.abs(below - 0.5) <= LEVEL / 2
    keep.rows["beta_binomial, contrasts"] = (inside.mean(), np.nan)
    if cluster is None:
        return
    joint = tried(lambda: ww.estimate.hierarchical_binomial(
        d.outcome, np.ones(d.arm.size), d.arm, cluster, prior=PRIOR, rng=rng))  # fmt: skip
    if joint is None:
        none = (np.nan, np.nan)
        keep.rows |= {f"hierarchical_binomial, {of}": none for of in ("arm means", "contrasts")}
        return
    scale = {"of": "success_prob"}
    keep("hierarchical_binomial, arm means",
         lambda: joint.cred_int(LEVEL, "equal-tailed", **scale), d.truth)  # fmt: skip
    keep("hierarchical_binomial, contrasts", lambda: [
        joint.contrast(arm, joint.arms[0], **scale).cred_int(LEVEL, "equal-tailed")
        for arm in joint.arms[1:]], truth)  # fmt: skip
