"""Experiments in simulated worlds: assign, observe, learn, allocate, wave by wave, choose."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from wavewise.decide.wave_shares import shares_of_many
from wavewise.estimate.binomial.batch import BinomialBatch, fit_many
from wavewise.estimate.binomial.priors import BinomialPrior
from wavewise.evaluate.simulation.design import Design
from wavewise.evaluate.simulation.worlds import Truth, Worlds
from wavewise.randomize.rounding import integer_shares, round_counts, round_fractions
from wavewise.shared.compiled import compiled
from wavewise.shared.results import BoolArray, FloatArray, IntArray

__all__ = ["Job", "best_of_many", "whole_counts"]

_BETA_CHUNK = 500
_HIERARCHICAL_CHUNK = 50
_TWO_SIDED = 1.959963984540054
_LEVEL = 0.95


def chunk_size(design: Design) -> int:
    """Simulations of a chunk: fixed, so that results do not depend on who computes them."""
    return _BETA_CHUNK if design.clusters is None else _HIERARCHICAL_CHUNK


@dataclass(frozen=True, eq=False)
class Job:
    """All that a worker needs: picklable, and the same for all chunks."""

    designs: tuple[Design, ...]  # Run in the same worlds.
    truth: Truth
    n_simulations: int
    entropy: tuple[int, ...]  # Of all random streams.

    @property
    def n_chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.n_simulations // chunk_size(self.designs[0]))

    def __call__(self, number: int) -> dict[str, Any]:
        """What a chunk gives: arrays named ``DESIGN.QUANTITY``."""
        size = chunk_size(self.designs[0])
        n = min(size, self.n_simulations - number * size)
        found = run_chunk(self.designs, self.truth, n, (*self.entropy, number))
        return {
            f"{i}.{name}": values for i, one in enumerate(found) for name, values in one.items()
        }


def _stream(key: Sequence[int], *purpose: int) -> np.random.Generator:
    sequence = np.random.SeedSequence(list(key), spawn_key=purpose)
    return np.random.Generator(np.random.PCG64DXSM(sequence))


# purposes of random streams
_WORLDS, _PEOPLE, _SHARES, _OUTCOMES, _FITS = range(5)


def run_chunk(
    designs: Sequence[Design], truth: Truth, n: int, key: Sequence[int]
) -> list[dict[str, Any]]:
    """Every design in the same n worlds, with the same first wave where they have it in common."""
    sizes = designs[0].cluster_sizes
    n_clusters = None if sizes is None else sizes.size
    worlds = truth.worlds(n, designs[0].n_arms, n_clusters, _stream(key, _WORLDS))
    shared: dict[str, _State] = {}
    return [_Run(design, worlds, n, key).outcome(shared) for design in designs]


@dataclass(frozen=True, eq=False)
class _Belief:
    """Posterior of every simulation; rows without one are nan."""

    prob_optimal: FloatArray
    policy_regret: FloatArray
    success_prob: FloatArray
    covered: FloatArray
    success_sd: FloatArray

    @property
    def chosen(self) -> IntArray:
        """Arm with the lowest expected regret; -1 without a posterior."""
        known = np.isfinite(self.policy_regret).all(axis=1)
        lowest = np.where(np.isfinite(self.policy_regret), self.policy_regret, np.inf).argmin(
            axis=1
        )
        return np.where(known, lowest, -1)


@dataclass(frozen=True, eq=False)
class _State:
    """What happened up to a wave: counts by cluster, and units by arm, the control last."""

    successes: FloatArray
    trials: FloatArray
    units: IntArray
    control_successes: FloatArray
    belief: _Belief


class _Run:
    """One design in n worlds."""

    def __init__(self, design: Design, worlds: Worlds, n: int, key: Sequence[int]) -> None:
        self.design, self.worlds, self.n, self.key = design, worlds, n, key
        self.people = _people(design, n, key)

    def outcome(self, shared: dict[str, _State]) -> dict[str, Any]:
        """Everything that is kept of the runs, by name."""
        signature = self._first_signature()
        if signature not in shared:
            shared[signature] = self._wave(0, self._before())
        first = state = shared[signature]
        for wave in range(1, len(self.design.waves)):
            state = self._wave(wave, state)
        return self._kept(first, state)

    def _first_signature(self) -> str:
        """Equal where the first wave, and what is learned from it, are the same."""
        design = self.design
        return repr(
            (
                design.waves[0],
                design.control_share,
                design.trials,
                str(design.prior),
                self._first_shares().tolist(),
                [] if self.people is None else self.people[:, 0].tolist(),
            )
        )

    def _before(self) -> _State:
        """Before the design's first wave: nothing, or what the truth says was observed."""
        shape = (self.n, self.worlds.prob.shape[1], self.design.n_arms)
        zeros, worlds = np.zeros(shape), self.worlds
        successes = 0.0 if worlds.first_successes is None else worlds.first_successes
        trials = 0.0 if worlds.first_trials is None else worlds.first_trials
        blank = np.full((self.n, self.design.n_arms), np.nan)
        return _State(
            successes=zeros + successes,
            trials=zeros + trials,
            units=np.zeros((self.n, self.design.n_arms + 1), dtype=np.int64),
            control_successes=np.zeros(self.n),
            belief=_Belief(blank, blank, blank, blank, blank),
        )

    def _first_shares(self) -> FloatArray:
        """Of the first wave: equal ones, or by the rule on what was observed before."""
        belief, design = self.worlds.first_belief, self.design
        if belief is None:
            return design.first_shares()
        found = shares_of_many(
            belief[:1], design.rule_, design.control_share, floor=design.floor, **design.options
        )
        return np.asarray(found[0])

    def _next_shares(self, belief: _Belief) -> FloatArray:
        """By the rule; a simulation without a posterior keeps equal shares."""
        prob = belief.prob_optimal
        equal = np.full(prob.shape, 1 / self.design.n_arms)
        known: BoolArray = np.asarray(np.isfinite(prob).all(axis=1))
        return shares_of_many(
            np.where(known[:, None], np.clip(prob, 0.0, 1.0), equal),
            self.design.rule_,
            self.design.control_share,
            floor=self.design.floor,
            **self.design.options,
        )

    def _wave(self, wave: int, before: _State) -> _State:
        shares = (
            np.tile(self._first_shares(), (self.n, 1))
            if wave == 0
            else self._next_shares(before.belief)
        )
        counts = self._counts(wave, shares)
        arms = counts[:, :, :-1]
        rng = _stream(self.key, _OUTCOMES, wave)
        successes = before.successes + self.worlds.successes(arms, self.design.trials, rng)
        trials = before.trials + self.design.trials * arms
        control = before.control_successes
        if self.worlds.control_rate is not None:
            n_control = self.design.trials * counts[:, :, -1].sum(axis=1)
            control = control + rng.binomial(n_control, self.worlds.control_rate)
        belief = self._learn(wave, successes, trials)
        return _State(successes, trials, before.units + counts.sum(axis=1), control, belief)

    def _counts(self, wave: int, shares: FloatArray) -> IntArray:
        """Units by cluster and arm, the control last, (n, n_clusters, n_arms + 1)."""
        rng = _stream(self.key, _SHARES, wave)
        if self.people is None:
            return whole_counts(shares, self.design.waves[wave], rng)[:, None, :]
        n_clusters = self.people.shape[2]
        counts = np.empty((self.n, n_clusters, shares.shape[1]), dtype=np.int64)
        same = bool((shares == shares[0]).all())
        table = np.broadcast_to(shares[0], (n_clusters, shares.shape[1]))
        parts = integer_shares(table, self.design.waves[wave])
        for i in range(self.n):
            if not same:
                table = np.broadcast_to(shares[i], (n_clusters, shares.shape[1]))
                parts = integer_shares(table, self.design.waves[wave])
            counts[i] = round_counts(self.people[i, wave], parts, rng)
        return counts

    def _learn(self, wave: int, successes: FloatArray, trials: FloatArray) -> _Belief:
        last = wave == len(self.design.waves) - 1
        if self.design.rule == "equal" and not last and wave > 0:
            blank = np.full((self.n, self.design.n_arms), np.nan)
            return _Belief(blank, blank, blank, blank, blank)  # equal shares need no posterior
        if self.people is None:
            return self._learn_beta(successes[:, 0], trials[:, 0])
        return self._learn_hierarchical(successes, trials, wave)

    def _learn_beta(self, successes: FloatArray, trials: FloatArray) -> _Belief:
        prior = self.design.beta_prior
        a, b = prior[0] + successes, prior[1] + trials - successes
        prob, regret = best_of_many(a, b)
        below = special.betainc(a, b, self.worlds.success_prob)
        covered = (np.abs(below - 0.5) <= _LEVEL / 2).astype(np.float64)
        sd = np.sqrt(a * b / (a + b + 1)) / (a + b)
        return _Belief(prob, regret, a / (a + b), covered, sd)

    def _learn_hierarchical(self, successes: FloatArray, trials: FloatArray, wave: int) -> _Belief:
        prior = self.design.binomial_prior
        found = fitted(successes, trials, prior, _stream(self.key, _FITS, wave))
        if self.worlds.beta is None:
            covered = np.full(found.beta_mean.shape, np.nan)
        else:
            far = np.abs(found.beta_mean - self.worlds.beta) / found.beta_sd
            covered = np.where(np.isfinite(far), far <= _TWO_SIDED, np.nan)
        sd = _sd_over_clusters(found)
        return _Belief(found.prob_optimal, found.policy_regret, found.success_prob, covered, sd)

    def _kept(self, first: _State, last: _State) -> dict[str, Any]:
        truth = self.worlds.success_prob
        n_control = last.units[:, -1] * self.design.trials
        return {
            "success_prob": truth,
            "chosen": last.belief.chosen,
            "first_chosen": first.belief.chosen,
            "prob_optimal": last.belief.prob_optimal,
            "policy_regret": last.belief.policy_regret,
            "posterior_mean": last.belief.success_prob,
            "posterior_sd": last.belief.success_sd,
            "covered": last.belief.covered,
            "units": last.units,
            "chosen_found": self._found(last, n_control),
        }

    def _found(self, state: _State, n_control: IntArray) -> FloatArray:
        """Whether the chosen arm is significantly better than the control; nan without one."""
        if self.worlds.control_rate is None or not (n_control > 0).all():
            return np.full(self.n, np.nan)
        rows, chosen = np.arange(self.n), np.maximum(state.belief.chosen, 0)
        n = state.trials.sum(axis=1)[rows, chosen]
        arm = state.successes.sum(axis=1)[rows, chosen] / np.maximum(n, 1)
        control = state.control_successes / n_control
        variance = arm * (1 - arm) / np.maximum(n, 1) + control * (1 - control) / n_control
        return np.asarray(arm - control > _TWO_SIDED * np.sqrt(variance), dtype=np.float64)


def _people(design: Design, n: int, key: Sequence[int]) -> IntArray | None:
    """Units of each wave by cluster, (n, n_waves, n_clusters); None without clusters."""
    sizes = design.cluster_sizes
    if sizes is None:
        return None
    waves = np.empty((n, len(design.waves), sizes.size), dtype=np.int64)
    fresh = sizes.sum() < design.n_units  # too few for all waves: each draws from all
    left = np.tile(sizes, (n, 1))
    for wave, size in enumerate(design.waves):
        rng = _stream(key, _PEOPLE, wave)
        if size > sizes.sum():
            waves[:, wave] = rng.multinomial(size, sizes / sizes.sum(), size=n)
        elif wave == 0 or fresh:
            waves[:, wave] = rng.multivariate_hypergeometric(sizes, size, size=n)
        else:
            for i in range(n):
                waves[i, wave] = rng.multivariate_hypergeometric(left[i], size)
        left = left - waves[:, wave]
    return waves


# Many beta-binomial posteriors at once: probabilities of being best and regrets, to about 1e-6.

_DROP = 27.0  # the log density falls so far at the ends: 2e-12
_STEP = 0.25  # of the narrowest standard deviation on the logit scale
_MOST_POINTS = 20_000
_GRID_BITS = 40


def best_of_many(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Probability that each arm is best, and its expected regret, each (n, n_arms).

    Notes
    -----
    On the logit scale, where the densities have no singular ends, with one uniform grid from where
    the largest arm can lie::

        prob_k   = sum_g h f_k(t_g) prod_{j != k} F_j(t_g)
        regret_k = sum_g h x_g sum_j f_j(t_g) prod_{i != j} F_i(t_g) - mean_k

    The trapezoid rule converges exponentially for these sums. The distribution functions come from
    the densities and their slopes (Hermite's rule, error h^4 / 720).

    Examples
    --------
    >>> prob, regret = best_of_many(np.array([[2.0, 1.0]]), np.array([[1.0, 1.0]]))
    >>> prob.round(6).tolist(), regret.round(6).tolist()
    ([[0.666667, 0.333333]], [[0.083333, 0.25]])
    """
    prob, regret = np.empty(a.shape), np.empty(a.shape)
    _best_of_many(np.ascontiguousarray(a), np.ascontiguousarray(b), prob, regret)
    return prob, regret


@compiled
def _best_of_many(a: FloatArray, b: FloatArray, prob: FloatArray, regret: FloatArray) -> None:
    n, n_arms = a.shape
    density = np.empty((n_arms, _MOST_POINTS))
    below = np.empty((n_arms, _MOST_POINTS))
    for i in range(n):
        if n_arms == 1:
            prob[i, 0], regret[i, 0] = 1.0, 0.0
            continue
        start, stop, step = _range(a[i], b[i])
        n_points = min(int((stop - start) / step) + 2, _MOST_POINTS)
        step = (stop - start) / (n_points - 1)
        _densities(a[i], b[i], start, step, n_points, density, below)
        _sums(a[i], b[i], start, step, n_points, density, below, prob[i], regret[i])


@compiled
def _fall(total: float, mean: float, d: float) -> float:
    """How far the log density has fallen at a distance d from its mode."""
    if d > 500.0:
        return total * (math.log(mean) + d - mean * d)
    return total * (math.log1p(mean * math.expm1(d)) - mean * d)


@compiled
def _reach(total: float, mean: float, sd: float, sign: float) -> float:
    """Distance at which the density has fallen by the drop; a little beyond where it is skewed."""
    d = math.sqrt(2.0 * _DROP) * sd
    while _fall(total, mean, sign * d) < _DROP:
        d *= 1.1
    return d


@compiled
def _range(a: FloatArray, b: FloatArray) -> tuple[float, float, float]:
    """Where the largest arm can lie, and the step for the narrowest arm that reaches there."""
    n_arms = a.size
    start, stop = -np.inf, -np.inf
    for k in range(n_arms):
        total, mean = a[k] + b[k], a[k] / (a[k] + b[k])
        sd, mode = math.sqrt(total / a[k] / b[k]), math.log(a[k] / b[k])
        start = max(start, mode - _reach(total, mean, sd, -1.0))
        stop = max(stop, mode + _reach(total, mean, sd, 1.0))
    step = np.inf
    for k in range(n_arms):
        total, mean = a[k] + b[k], a[k] / (a[k] + b[k])
        sd, mode = math.sqrt(total / a[k] / b[k]), math.log(a[k] / b[k])
        if mode + _reach(total, mean, sd, 1.0) > start:
            step = min(step, _STEP * min(sd, 1.0))
    return start, stop, step


@compiled
def _densities(
    a: FloatArray,
    b: FloatArray,
    start: float,
    step: float,
    n_points: int,
    density: FloatArray,
    below: FloatArray,
) -> None:
    """Densities on the logit scale, and distribution functions, at the points of the grid."""
    for k in range(a.size):
        total, mode = a[k] + b[k], math.log(a[k] / b[k])
        mean = a[k] / total
        peak = (
            math.lgamma(total) - math.lgamma(a[k]) - math.lgamma(b[k])
            + a[k] * math.log(mean) + b[k] * math.log1p(-mean)
        )  # fmt: skip
        above, later, slope_later = 0.0, 0.0, 0.0
        for g in range(n_points - 1, -1, -1):
            t = start + g * step
            f = math.exp(peak - _fall(total, mean, t - mode))
            slope = f * (a[k] - total / (1.0 + math.exp(-t)))
            if g < n_points - 1:
                above += 0.5 * step * (f + later) - step * step / 12.0 * (slope_later - slope)
            density[k, g], later, slope_later = f, f, slope
            below[k, g] = min(max(1.0 - above, 0.0), 1.0)


@compiled
def _sums(
    a: FloatArray,
    b: FloatArray,
    start: float,
    step: float,
    n_points: int,
    density: FloatArray,
    below: FloatArray,
    prob: FloatArray,
    regret: FloatArray,
) -> None:
    n_arms = a.size
    prob[:] = 0.0
    largest = 0.0
    for g in range(n_points):
        x = 1.0 / (1.0 + math.exp(-(start + g * step)))
        for k in range(n_arms):
            part = density[k, g]
            if part < 1e-300:
                continue
            for j in range(n_arms):
                if j != k:
                    part *= below[j, g]
            prob[k] += part
            largest += x * part
    whole = prob.sum()
    for k in range(n_arms):
        prob[k] /= whole
        regret[k] = max(largest / whole - a[k] / (a[k] + b[k]), 0.0)


def whole_counts(shares: FloatArray, size: int, rng: np.random.Generator) -> IntArray:
    """Units of each arm in many waves without strata, (n, n_arms).

    Notes
    -----
    The rounding of `ww.randomize.assign` in one stratum: floor or ceiling of size times share, with
    that expectation; shares are whole multiples of 2^-40.
    """
    n, n_arms = shares.shape
    out = np.empty((n, n_arms), dtype=np.int64)
    draws = rng.random((n, 5 * n_arms))
    _whole_counts(np.ascontiguousarray(shares), size, draws, out)
    return out


@compiled
def _whole_counts(shares: FloatArray, size: int, draws: FloatArray, out: IntArray) -> None:
    n, n_arms = shares.shape
    whole = 1 << _GRID_BITS
    part, table = np.empty(n_arms, np.int64), np.empty((2, n_arms), np.int64)
    row_order, order = np.array([0, 1]), np.empty((2, n_arms), np.int64)
    for i in range(n):
        for k in range(n_arms):
            part[k] = round(shares[i, k] * whole)
        part[np.argmax(shares[i])] += whole - part.sum()
        for k in range(n_arms):
            table[0, k] = size * part[k] % whole
            table[1, k] = (whole - table[0, k]) % whole
        order[0] = np.argsort(draws[i, :n_arms])
        order[1] = np.argsort(draws[i, n_arms : 2 * n_arms])
        up = round_fractions(table, whole, row_order, order, draws[i, 2 * n_arms : 5 * n_arms])
        for k in range(n_arms):
            out[i, k] = size * part[k] // whole + up[0, k]


# Hierarchical posteriors of many simulations; one that fails leaves the others as they are.


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a simulation keeps of its posteriors, (n, n_arms) each; nan where there is none."""

    prob_optimal: FloatArray
    policy_regret: FloatArray
    success_prob: FloatArray
    beta_mean: FloatArray
    beta_sd: FloatArray
    kappa_mean: FloatArray


def fitted(
    successes: FloatArray, trials: FloatArray, prior: BinomialPrior, rng: np.random.Generator
) -> Fitted:
    """Posteriors of data sets of one shape, (n, n_clusters, n_arms).

    Notes
    -----
    Truths far from any real one (an arm that hardly ever fails) can leave the range of the
    numerical method. Then the sets are fitted one by one, each with a stream of its own, and the
    one that breaks counts as not estimable.
    """
    try:
        return _of(fit_many(successes, trials, prior=prior, rng=rng))
    except (ArithmeticError, np.linalg.LinAlgError):
        pass
    rows = [
        _one(successes[i : i + 1], trials[i : i + 1], prior, rng) for i in range(len(successes))
    ]
    return Fitted(*(np.concatenate([getattr(row, name) for row in rows]) for name in _NAMES))


_NAMES = ("prob_optimal", "policy_regret", "success_prob", "beta_mean", "beta_sd", "kappa_mean")
_NODES, _MASS = np.polynomial.hermite_e.hermegauss(25)


def _sd_over_clusters(found: Fitted) -> FloatArray:
    """Standard deviation of a new cluster's success probability, (n, n_arms).

    Over clusters at the posterior means, and over beta by its standard deviation times the slope.
    """
    kappa = found.kappa_mean[..., None]
    prob = special.expit(found.beta_mean[..., None] + kappa * _NODES)
    mass = _MASS / _MASS.sum()
    mean, slope = prob @ mass, (prob * (1 - prob)) @ mass
    return np.asarray(np.sqrt(prob**2 @ mass - mean**2 + (slope * found.beta_sd) ** 2))


def _one(
    successes: FloatArray, trials: FloatArray, prior: BinomialPrior, rng: np.random.Generator
) -> Fitted:
    try:
        return _of(fit_many(successes, trials, prior=prior, rng=rng))
    except (ArithmeticError, np.linalg.LinAlgError):
        return Fitted(*(np.full((1, successes.shape[2]), np.nan) for _ in _NAMES))


def _of(batch: BinomialBatch) -> Fitted:
    found = {name: getattr(batch, name) for name in _NAMES}
    found["kappa_mean"] = np.broadcast_to(found["kappa_mean"][:, None], found["beta_sd"].shape)
    return Fitted(**found)
