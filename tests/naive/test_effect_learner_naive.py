"""R-, DR- and T-learner by refits on rows: no sums by fold, no conjugate gradients, no vectors."""

from itertools import product

import numpy as np
import pytest
from scipy import optimize, stats

from wavewise.estimate.forest.shrinkage import parts_of_arms, posterior_shares
from wavewise.estimate.learners.crossfit import N_FOLDS, CrossFit, Sample, fold_of_parts
from wavewise.estimate.learners.quadratic import _GRID, learn_base
from wavewise.estimate.learners.stack import stack_weights


def sample(varies: bool) -> Sample:
    rng = np.random.default_rng(3)
    n = 260
    X = rng.normal(size=(n, 2))
    X[:, 1] = np.round(X[:, 1])
    e = np.tile([0.5, 0.3, 0.2], (n, 1))
    if varies:
        e[X[:, 0] > 0] = [0.2, 0.3, 0.5]
    arm = (rng.random((n, 1)) > np.cumsum(e, axis=1)[:, :2]).sum(axis=1)
    y = X[:, 0] ** 2 + (arm == 1) * X[:, 0] + (arm == 2) * (1 + X[:, 1]) + rng.normal(size=n)
    base, z = learn_base(X, np.arange(n))
    fold = fold_of_parts(np.arange(n), arm)
    return Sample(z, base.is_product, arm, y, e, fold, parts_of_arms(None, 2), np.arange(n))


def ridge(z, y, penalty, weight=None):
    """Least squares with rows added for the penalty."""
    root = np.ones(len(z)) if weight is None else np.sqrt(weight)
    rows = np.vstack([z * root[:, None], np.diag(np.sqrt(penalty))])
    return np.linalg.lstsq(rows, np.append(y * root, np.zeros(len(penalty))), rcond=None)[0]


def penalty_of(own, squares, s, n):
    found = np.where(s.is_product, squares, own) * n
    found[0] = 0
    return found


def chosen(s, n, noise, error_of):
    """Shares kept, averaged over the grid with the likelihood of the squared error left out."""
    grid = list(product(_GRID, _GRID))
    error = np.array([error_of(penalty_of(a, b, s, n)) for a, b in grid])
    weight = np.exp(-(error - error.min()) / (2 * noise))
    kept = weight @ (1 / (1 + np.array(grid))) / weight.sum()
    return penalty_of(*(1 / kept - 1), s, n)


class Naive:
    """Everything from rows, refitted for each fold and pair of folds."""

    def __init__(self, s):
        self.s, self.z, self.y = s, s.features, s.outcome
        n = s.arm.size * 0.8
        self.shared = chosen(s, n, self.y.var(), self.error_shared)
        self.own = chosen(s, n / 3, self.y.var(), self.error_own)
        self.weight = 1 / ((1 / s.propensity[:, 1:]).mean(1) + 1 / s.propensity[:, 0])
        self.weight = self.weight / self.weight.mean()
        self.noise_of_scores()
        self.effect = [
            chosen(s, n, v, lambda p, part=part: self.error_scores(p, part))
            for v, part in zip(self.noise, s.parts.values(), strict=True)
        ]

    def rows(self, *out):
        return np.flatnonzero(~np.isin(self.s.fold, out))

    def error_shared(self, penalty):
        total = 0.0
        for f in range(N_FOLDS):
            r, v = self.rows(f), np.flatnonzero(self.s.fold == f)
            total += ((self.y[v] - self.z[v] @ ridge(self.z[r], self.y[r], penalty)) ** 2).sum()
        return total

    def error_own(self, penalty):
        total = 0.0
        for f in range(N_FOLDS):
            v = np.flatnonzero(self.s.fold == f)
            b = self.means(f, own=penalty)
            total += ((self.y[v] - (self.z[v] @ b)[np.arange(v.size), self.s.arm[v]]) ** 2).sum()
        return total

    def means(self, *out, own=None):
        r = self.rows(*out)
        b = ridge(self.z[r], self.y[r], self.shared)
        columns = []
        for a in range(3):
            q = r[self.s.arm[r] == a]
            columns.append(
                b + ridge(self.z[q], self.y[q] - self.z[q] @ b, self.own if own is None else own)
            )
        return np.stack(columns, axis=1)

    def score(self, i, b):
        mu, a, e = self.z[i] @ b, self.s.arm[i], self.s.propensity[i]
        mu_dr = mu.copy()
        mu_dr[a] += (self.y[i] - mu[a]) / e[a]
        return mu_dr[1:] - mu_dr[0], self.y[i] - e @ mu, self.y[i] - mu[a], mu[1:] - mu[0]

    def noise_of_scores(self):
        rest, square = [], []
        for i in range(len(self.y)):
            score, _, left, tau = self.score(i, self.means_of(self.s.fold[i]))
            rest.append(score - tau)
            square.append(left**2)
        self.variance = np.mean(square)
        self.noise = [
            (self.weight * ((np.array(rest) @ p) ** 2).sum(1)).mean() / np.trace(p)
            for p in self.s.parts.values()
        ]

    def means_of(self, *out):
        if not hasattr(self, "held"):
            self.held = {}
        key = tuple(sorted(set(out)))
        if key not in self.held:
            self.held[key] = self.means(*key)
        return self.held[key]

    def training(self, f):
        """Scores and centred outcomes of the units outside a fold, by nuisances without both."""
        out = () if f is None else (f,)
        r = self.rows(*out)
        both = [self.score(i, self.means_of(*out, self.s.fold[i])) for i in r]
        return r, np.array([b[0] for b in both]), np.array([b[1] for b in both])

    def error_scores(self, penalty, part):
        total = 0.0
        for f in range(N_FOLDS):
            r, scores, _ = self.training(f)
            b = ridge_columns(self.z[r], scores @ part, penalty, self.weight[r])
            for i in np.flatnonzero(self.s.fold == f):
                own = self.score(i, self.means_of(f))[0] @ part
                total += self.weight[i] * ((own - self.z[i] @ b) ** 2).sum()
        return total

    def dr(self, f):
        r, scores, _ = self.training(f)
        return sum(
            ridge_columns(self.z[r], scores @ part, p, self.weight[r])
            for p, part in zip(self.effect, self.s.parts.values(), strict=True)
        )

    def r(self, f):
        """One dense regression on products of features and centred arms."""
        r, _, rest = self.training(f)
        treated = (self.s.arm[r, None] == [1, 2]) - self.s.propensity[r, 1:]
        dense = np.stack([np.kron(self.z[i], t) for i, t in zip(r, treated, strict=True)])
        penalty = sum(
            np.kron(np.diag(p * self.variance / v), part)
            for p, v, part in zip(self.effect, self.noise, self.s.parts.values(), strict=True)
        )
        return np.linalg.solve(dense.T @ dense + penalty, dense.T @ rest).reshape(-1, 2)


def ridge_columns(z, y, penalty, weight):
    return np.stack([ridge(z, column, penalty, weight) for column in y.T], axis=1)


@pytest.mark.parametrize("varies", [False, True])
def test_the_learners_equal_refits_on_rows(varies: bool) -> None:
    s = sample(varies)
    fast, slow = CrossFit(s), Naive(s)
    for f in (0, 3, None):
        found = fast.without(f, ("r", "dr", "t"))
        b = slow.means(*(() if f is None else (f,)))
        np.testing.assert_allclose(found.coefficients["t"], b[:, 1:] - b[:, :1], atol=1e-9)
        np.testing.assert_allclose(found.coefficients["dr"], slow.dr(f), atol=1e-8)
        np.testing.assert_allclose(found.coefficients["r"], slow.r(f), atol=1e-6)
        np.testing.assert_allclose(found.ate, slow.training(f)[1].mean(axis=0), atol=1e-9)


def test_what_is_judged_on_a_fold_does_not_know_its_outcomes() -> None:
    s = sample(True)
    changed = np.where(s.fold == 2, s.outcome + 100.0, s.outcome)
    penalties = CrossFit(s)
    _ = penalties._penalties, penalties._effect_penalties, penalties.noise
    other = CrossFit(Sample(**{**vars(s), "outcome": changed}))
    for name in ("_penalties", "_effect_penalties", "noise"):  # what little all folds share
        vars(other)[name] = vars(penalties)[name]
    one, two = penalties.without(2, ("r", "dr", "t")), other.without(2, ("r", "dr", "t"))
    for name in ("r", "dr", "t"):
        np.testing.assert_allclose(one.coefficients[name], two.coefficients[name], atol=1e-6)
    np.testing.assert_allclose(one.ate, two.ate, atol=1e-8)


@pytest.mark.parametrize("towards", [0, None])
def test_weights_are_the_least_of_the_penalized_loss(towards: int | None) -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        z = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4)) * 0.1
        target = z @ [0.1, 0.7, 0.4, -0.3] + rng.normal(size=200) * 0.2
        centre = np.full(4, 0.25) if towards is None else np.eye(4)[towards]
        noise = ((target - z @ centre) ** 2).mean()

        def loss(w, z=z, target=target, centre=centre, noise=noise):
            return ((target - z @ w) ** 2).sum() + 4 * noise * ((w - centre) ** 2).sum()

        weights = stack_weights(target, z, towards)
        found = optimize.minimize(
            loss,
            np.full(4, 0.25),
            bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"ftol": 1e-12},
        )
        assert weights.min() >= 0
        assert abs(weights.sum() - 1) < 1e-12
        assert loss(weights) <= found.fun + 1e-9


@pytest.mark.parametrize("true", [-3.0, 0.0, 0.6, 1.0, 4.0])
@pytest.mark.parametrize("size", [0.01, 0.1, 10.0])
def test_shares_are_means_of_a_posterior(true: float, size: float) -> None:
    rng = np.random.default_rng(6)
    z, cluster = rng.normal(size=(100, 1)) * size, np.arange(100) // 2
    target = true * z[:, 0] + rng.normal(size=100)
    at = z[:, 0] @ target / (z**2).sum()
    sums = np.bincount(cluster, weights=z[:, 0] * (target - at * z[:, 0]))
    error = np.sqrt((sums**2).sum()) / (z**2).sum()
    mean = stats.truncnorm.mean(-at / error, (1 - at) / error, at, error)
    # an error that scipy makes of far tails is larger than ours
    assert abs(posterior_shares(z, target, cluster)[2][0] - mean) < 1e-5
