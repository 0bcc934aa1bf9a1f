"""R-, DR- and T-learners that share nuisances, each fitted without the units that it is judged on.

Whatever predicts for a unit of one fold is made of the other folds alone, its nuisances included:
they leave out a second fold, that of the unit they are used for. Sums over folds and arms make
that cheap: a fit without two folds is a difference of sums.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from wavewise.estimate.learners.quadratic import Problem, choose_penalty, solve_ridge
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["CrossFit", "Sample", "Without", "fold_of_parts"]

N_FOLDS = 5
_CG_STEPS, _CG_TOLERANCE = 300, 1e-7


@dataclass(frozen=True, eq=False)
class Sample:
    """Units in canonical order, arms with the control first."""

    features: FloatArray  # (n_units, n_features), the constant first.
    is_product: npt.NDArray[np.bool_]
    arm: IntArray
    outcome: FloatArray
    propensity: FloatArray  # (n_units, n_arms)
    fold: IntArray
    parts: dict[str, FloatArray]  # Projections of effects that are penalized apart.
    part: IntArray  # Cluster, or the unit itself.

    @property
    def n_arms(self) -> int:
        """Arms, the control included."""
        return int(self.propensity.shape[1])


@dataclass(frozen=True, eq=False)
class Without:
    """What was learned without one fold, or from all units."""

    coefficients: dict[str, FloatArray]  # By learner, (n_features, n_effects).
    ate: FloatArray  # (n_effects,): Mean of the scores.
    mean: FloatArray  # (n_features, n_arms): Coefficients of the arms' mean outcomes.


def fold_of_parts(part: IntArray, arm: IntArray) -> IntArray:
    """Fold of each unit: parts (units or clusters) in their order, dealt out arm by arm."""
    first = np.zeros(int(part.max()) + 1, np.int64)
    first[part[::-1]] = arm[::-1]  # arm of the part's first unit
    fold = np.empty(first.size, np.int64)
    dealt = 0
    for code in np.unique(first):
        members = np.flatnonzero(first == code)
        fold[members] = (np.arange(members.size) + dealt) % N_FOLDS
        dealt += members.size
    return fold[part]


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Cross-fitted nuisances of a sample, and the learners that use them."""

    sample: Sample

    @cached_property
    def _rows(self) -> list[IntArray]:
        return [np.flatnonzero(self.sample.fold == f) for f in range(N_FOLDS)]

    @cached_property
    def _sums(self) -> tuple[FloatArray, FloatArray]:
        """Grams and moments of the outcome by fold and arm."""
        s = self.sample
        p = s.features.shape[1]
        gram, moment = np.zeros((N_FOLDS, s.n_arms, p, p)), np.zeros((N_FOLDS, s.n_arms, p))
        for f, rows in enumerate(self._rows):
            for a in range(s.n_arms):
                own = rows[s.arm[rows] == a]
                z = s.features[own]
                gram[f, a], moment[f, a] = z.T @ z, z.T @ s.outcome[own]
        return gram, moment

    def _pooled(self, out: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
        """Grams and moments by arm without some folds."""
        kept = [f for f in range(N_FOLDS) if f not in out]
        return self._sums[0][kept].sum(axis=0), self._sums[1][kept].sum(axis=0)

    @cached_property
    def _penalties(self) -> tuple[FloatArray, FloatArray]:
        """Penalty of what all arms share, and of what each arm's mean adds to it."""
        s = self.sample
        gram, moment = self._sums
        n = s.arm.size * (1 - 1 / N_FOLDS)
        pooled = [self._pooled((f,)) for f in range(N_FOLDS)]
        common = [
            Problem(g.sum(0), c.sum(0)[:, None], gram[f].sum(0), moment[f].sum(0)[:, None])
            for f, (g, c) in enumerate(pooled)
        ]
        spread = float(s.outcome.var())
        shared = choose_penalty(common, s.is_product, n, spread)
        own = []
        for f, (g, c) in enumerate(pooled):
            b = solve_ridge(g.sum(0), c.sum(0), shared)
            for a in range(s.n_arms):
                rest, left_out = c[a] - g[a] @ b, moment[f, a] - gram[f, a] @ b
                own.append(Problem(g[a], rest[:, None], gram[f, a], left_out[:, None]))
        return shared, choose_penalty(own, s.is_product, n / s.n_arms, spread)

    def arm_means(self, *out: int) -> FloatArray:
        """Coefficients of the arms' mean outcomes without some folds, (n_features, n_arms)."""
        gram, moment = self._pooled(out)
        shared, own = self._penalties
        b = solve_ridge(gram.sum(0), moment.sum(0), shared)
        rest = solve_ridge(gram, (moment - gram @ b)[..., None], own)[..., 0]
        return np.asarray((b + rest).T)

    def scores(self, rows: IntArray, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Doubly robust scores of the effects (n, n_effects), and outcomes less their mean."""
        s = self.sample
        mu, e, arm = s.features[rows] @ mean, s.propensity[rows], s.arm[rows]
        at = np.arange(rows.size), arm
        gain = mu + 0.0
        gain[at] += (s.outcome[rows] - mu[at]) / e[at]
        return gain[:, 1:] - gain[:, :1], s.outcome[rows] - (e * mu).sum(axis=1)

    @cached_property
    def weight(self) -> FloatArray:
        """One over the noise of a unit's scores, mean 1: where arms are rare, scores are noisy."""
        inverse = 1.0 / self.sample.propensity
        weight: FloatArray = 1.0 / (inverse[:, 1:].mean(axis=1) + inverse[:, 0])
        return np.asarray(weight / weight.mean())

    @cached_property
    def _weighted_grams(self) -> FloatArray:
        s = self.sample
        if np.ptp(self.weight) < 1e-12:
            return np.asarray(self._sums[0].sum(axis=1))
        return np.stack(
            [s.features[r].T @ (self.weight[r, None] * s.features[r]) for r in self._rows]
        )

    def _score_moment(self, f: int, out: tuple[int, ...]) -> FloatArray:
        """Moment of the scores of a fold's units, by nuisances without some folds."""
        rows = self._rows[f]
        found, _ = self.scores(rows, self._means(*out))
        return np.asarray(self.sample.features[rows].T @ (self.weight[rows, None] * found))

    def _means(self, *out: int) -> FloatArray:
        known = self._known_means
        key = tuple(sorted(set(out)))
        if key not in known:
            known[key] = self.arm_means(*key)
        return known[key]

    @cached_property
    def _known_means(self) -> dict[tuple[int, ...], FloatArray]:
        return {}

    @cached_property
    def _effect_penalties(self) -> list[FloatArray]:
        """Penalty of the DR-learner's coefficients, by part of the arms."""
        s, grams = self.sample, self._weighted_grams
        judged = [self._score_moment(f, (f,)) for f in range(N_FOLDS)]
        fitted = [self._training_moment(f) for f in range(N_FOLDS)]
        n = s.arm.size * (1 - 1 / N_FOLDS)
        total = grams.sum(axis=0)
        return [
            choose_penalty(
                [
                    Problem(total - grams[f], fitted[f] @ part, grams[f], judged[f] @ part)
                    for f in range(N_FOLDS)
                ],
                s.is_product,
                n,
                variance,
            )
            for part, variance in zip(s.parts.values(), self.noise[1], strict=True)
        ]

    def _training_moment(self, f: int | None) -> FloatArray:
        others = [g for g in range(N_FOLDS) if g != f]
        out = () if f is None else (f,)
        return np.asarray(np.sum([self._score_moment(g, (*out, g)) for g in others], axis=0))

    def _doubly_robust(self, f: int | None) -> FloatArray:
        """DR-learner: ridge of the scores, part by part."""
        grams = self._weighted_grams
        gram = grams.sum(axis=0) - (0.0 if f is None else grams[f])
        moment = self._training_moment(f)
        found = [
            solve_ridge(gram, moment @ part, penalty)
            for part, penalty in zip(
                self.sample.parts.values(), self._effect_penalties, strict=True
            )
        ]
        return np.asarray(np.sum(found, axis=0))

    @cached_property
    def noise(self) -> tuple[float, list[float]]:
        """Variance of the outcome less all that is known, and of the scores by part of the arms."""
        s = self.sample
        square, by_part, n = 0.0, np.zeros(len(s.parts)), 0
        ranks = np.array([np.trace(part) for part in s.parts.values()])
        for f, rows in enumerate(self._rows):
            mean = self._means(f)
            found, _ = self.scores(rows, mean)
            mu = s.features[rows] @ mean
            square += float(((s.outcome[rows] - mu[np.arange(rows.size), s.arm[rows]]) ** 2).sum())
            rest = found - (mu[:, 1:] - mu[:, :1])
            by_part += [
                (self.weight[rows, None] * (rest @ part) ** 2).sum() for part in s.parts.values()
            ]
            n += rows.size
        return square / n, (by_part / n / ranks).tolist()

    def covariance_of_means(self, values: FloatArray) -> FloatArray:
        """Covariance of the means of the columns, between clusters where there are any."""
        part, n = self.sample.part, len(values)
        centred = values - values.mean(axis=0)
        sums = np.stack([np.bincount(part, weights=column) for column in centred.T], axis=1)
        return np.asarray(sums.T @ sums / n**2 * len(sums) / (len(sums) - 1))

    def spread(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Covariance of the average effects, and of ridge coefficients part by part of the arms.

        The coefficients' is that of a posterior, so that it includes what the penalty leaves out on
        average; clusters multiply it as they do that of the average effects.
        """
        s = self.sample
        scores = np.empty((s.arm.size, s.n_arms - 1))
        for f, rows in enumerate(self._rows):
            scores[rows] = self.scores(rows, self._means(f))[0]
        covariance = self.covariance_of_means(scores)
        gram = self._weighted_grams.sum(axis=0)
        matrices = [
            v * np.linalg.inv(gram + np.diag(penalty))[1:, 1:]
            for v, penalty in zip(self.noise[1], self._effect_penalties, strict=True)
        ]
        share = np.stack([np.diag(part) for part in s.parts.values()])
        share *= np.diag(covariance) * len(scores) / scores.var(axis=0)
        return covariance, np.stack(matrices), share

    def _residual(self, f: int | None) -> FloatArray:
        """R-learner: least squares of outcomes less their mean on arms less their propensities.

        The coefficients have the prior variance that the scores' penalty stands for.
        """
        s = self.sample
        others = [g for g in range(N_FOLDS) if g != f]
        out = () if f is None else (f,)
        rows = np.concatenate([self._rows[g] for g in others])
        rest = np.concatenate([self.scores(self._rows[g], self._means(*out, g))[1] for g in others])
        treated = (s.arm[rows, None] == np.arange(1, s.n_arms)) - s.propensity[rows, 1:]
        variance, by_part = self.noise
        penalties = [
            penalty * variance / v
            for penalty, v in zip(self._effect_penalties, by_part, strict=True)
        ]
        parts = list(s.parts.values())
        return _r_ridge(s.features[rows], treated, rest, parts, penalties)

    def without(self, f: int | None, learners: tuple[str, ...]) -> Without:
        """Coefficients of the learners without a fold, or from all units."""
        mean = self._means(*(() if f is None else (f,)))
        coefficients = {"t": mean[:, 1:] - mean[:, :1]} if "t" in learners else {}
        made = (("r", self._residual), ("dr", self._doubly_robust))
        coefficients |= {name: make(f) for name, make in made if name in learners}
        others = [g for g in range(N_FOLDS) if g != f]
        out = () if f is None else (f,)
        scores = np.concatenate(
            [self.scores(self._rows[g], self._means(*out, g))[0] for g in others]
        )
        return Without(coefficients, scores.mean(axis=0), mean)


def _r_ridge(
    z: FloatArray,
    treated: FloatArray,
    rest: FloatArray,
    parts: list[FloatArray],
    penalties: list[FloatArray],
) -> FloatArray:
    """B with the least |rest - sum_k treated_k (z B)_k|^2 + sum_j |penalty_j^(1/2) B P_j|^2.

    By conjugate gradients; the preconditioner is the mean of treated treated' times z'z.
    """

    def times(b: FloatArray) -> FloatArray:
        fitted = ((z @ b) * treated).sum(axis=1, keepdims=True)
        penalized = np.sum([p[:, None] * (b @ q) for p, q in zip(penalties, parts, strict=True)], 0)
        return np.asarray(z.T @ (fitted * treated) + penalized)

    gram, between = z.T @ z, treated.T @ treated / len(z)
    precondition = _preconditioner(gram, between, parts, penalties)
    target = z.T @ (rest[:, None] * treated)
    b = precondition(target)
    left = target - times(b)
    step = precondition(left)
    size = first = float((left * step).sum())
    for _ in range(_CG_STEPS):
        if size <= _CG_TOLERANCE**2 * max(first, 1e-300) or size <= 0:
            break
        image = times(step)
        along = size / float((step * image).sum())
        b, left = b + along * step, left - along * image
        new = precondition(left)
        size, last = float((left * new).sum()), size
        step = new + size / last * step
    return b


def _preconditioner(
    gram: FloatArray, between: FloatArray, parts: list[FloatArray], penalties: list[FloatArray]
) -> Callable[[FloatArray], FloatArray]:
    """Solution where arms are drawn alike everywhere: one small system an eigenvector of z'z."""
    size, vectors = np.linalg.eigh(gram)
    matrix = np.maximum(size, size[-1] * 1e-12)[:, None, None] * between
    for penalty, part in zip(penalties, parts, strict=True):
        matrix = matrix + (vectors**2 * penalty[:, None]).sum(axis=0)[:, None, None] * part

    def solve(b: FloatArray) -> FloatArray:
        inner = np.linalg.solve(matrix, (vectors.T @ b)[..., None])[..., 0]
        return np.asarray(vectors @ inner)

    return solve
