"""Randomization inference: the assignment procedure itself, run again and again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.adaptive_input import Observed, read_observed
from wavewise.estimate.effect_table import check_level
from wavewise.estimate.labels import encode
from wavewise.estimate.randomization_draws import Procedure, draw_sums, listed_sums, spawn_seeds
from wavewise.estimate.randomization_result import RandomizationTest
from wavewise.estimate.reassigned import Reassigned, sums_of_draw
from wavewise.results import FloatArray, IntArray, Provenance, hash_arrays, read_only

__all__ = ["RandomizationTest", "Statistic", "randomization_test"]

Statistic = Literal["studentized", "difference"]

_TIE = 1e-9
_FARTHEST = 12.0  # standard errors that an end of an interval is looked for within
_HALVINGS = 30


def randomization_test(
    outcome: Any,
    arm: Any,
    reassign: Callable[..., Any] | Any,
    *,
    statistic: Statistic = "studentized",
    draws: int = 2000,
    rng: np.random.Generator | None = None,
    control: Any = None,
    level: float = 0.95,
    intervals: bool = True,
    adaptive: bool = False,
    n_jobs: int = 1,
) -> RandomizationTest:
    """Test that no arm changes any unit's outcome, and Fisher intervals for constant effects.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Finite numbers; units without an outcome are left out of the test but not of the draws: give
        not-a-number.
    arm : array-like, shape (n_units,)
        Label of the arm that was drawn.
    reassign : callable, or array-like of shape (n_assignments, n_units)
        ``reassign(rng)`` draws all units' arms anew, (n_units,) labels in the same order, by the
        procedure that was used: strata, exact counts, adaptive waves. Or every assignment that
        could have been drawn, all equally probable, for an exact test.
    statistic : {"studentized", "difference"}
        Studentized means: Welch's statistic over all arms, and its t for each arm and the control,
        which keep their size where arms differ in variance only. Or plain differences in means.
    draws : int
        Number of re-randomizations.
    rng : numpy.random.Generator
        Needed where arms are drawn; each draw gets a stream of its own.
    control : label, optional
        Arm that others are compared with; the first one by default.
    level : float
        Level of the intervals, in (0, 1).
    intervals : bool
        Whether to invert the test: the constant effects that it does not reject. Where shares
        follow outcomes this needs ``adaptive``; turn it off for a ``reassign(rng)`` that closes
        over them.
    adaptive : bool
        ``reassign`` takes ``(rng, outcomes)``, outcomes of shape (n_units, n_arms) under the
        hypothesis (columns in the order of `arms`), and lets later waves' shares follow them. Where
        only the hypothesis of no effect is tested ``reassign(rng)`` may close over the outcomes.
    n_jobs : int
        Processes; the result is the same with any number.

    Returns
    -------
    RandomizationTest
        P value over all arms with its Monte Carlo error; p values, and intervals if asked for, by
        arm.

    Raises
    ------
    InputError
        Where arrays do not fit together, an option is unknown, or re-drawn labels are no arms.
    EstimationError
        Where an arm has fewer than two known outcomes, or outcomes do not vary.

    Notes
    -----
    The p value is ``(1 + #{T* >= T}) / (1 + draws)``, valid for any number of draws, and the exact
    share for listed assignments. An interval holds the effects tau of an arm at which the test of
    ``Y(arm) = Y(control) + tau`` does not reject at 1 - level. With two arms it is exact; with
    more, units of other arms enter where they are re-drawn into one of the two, with their arm's
    estimated effect taken off. Means and variances under all hypotheses follow from sums by drawn
    and re-drawn arm, so inversion costs no further draws, but for ``adaptive``, where each
    hypothesis has its own.

    References
    ----------
    Fisher (1935); Chung and Romano (2013); Wu and Ding (2021); Rosenberger, Uschner and Wang (2019)
    for response-adaptive designs.

    Examples
    --------
    >>> from itertools import combinations
    >>> every = [[int(i in treated) for i in range(6)] for treated in combinations(range(6), 3)]
    >>> found = randomization_test([5, 6, 7, 1, 2, 3], [1, 1, 1, 0, 0, 0], every)
    >>> found.p_value, found.exact
    (0.1, True)
    """
    check_level(level)
    if statistic not in get_args(Statistic):
        raise InputError(f"statistic: found {statistic!r}; needed 'studentized' or 'difference'")
    observed = _with_control(read_observed(outcome, arm), control)
    _check_arms(observed)
    y = np.where(observed.known, observed.outcome - np.nanmean(observed.outcome), 0.0)
    if callable(reassign):
        procedure = Procedure(
            reassign=reassign,
            y=y,
            observed=observed,
            labels=encode(arm, "arm", y.size),
            seeds=spawn_seeds(rng, draws),
            adaptive=adaptive,
            n_jobs=n_jobs,
            origin=float(np.nanmean(observed.outcome)),
        )
        sums = draw_sums(procedure, np.zeros(len(observed.arms)))
    else:
        procedure, sums = None, listed_sums(reassign, y, observed, encode(arm, "arm", y.size))
    actual = _actual(observed, y)
    test = _Test(actual, sums, procedure, statistic)
    every, each = (
        test.all_arms(),
        [test.one_arm(a, test.none) for a in range(1, len(observed.arms))],
    )
    estimate = test.effects()
    bounds = [test.interval(a, 1 - level) if intervals else None for a in range(1, estimate.size)]
    return RandomizationTest(
        arms=observed.arms,
        statistic=every[0],
        p_value=every[1],
        mc_error=test.mc_error(every[1]),
        estimate=read_only(estimate[1:]),
        arm_p_value=read_only([p for _, p in each]),
        intervals=None if not intervals else read_only(np.array(bounds, dtype=np.float64)),
        level=level,
        kind=statistic,
        draws=sums.n.shape[0],
        exact=procedure is None,
        n_units=read_only(observed.counts(observed.known)),
        provenance=Provenance(
            f"randomization test, {statistic}", hash_arrays(outcome=y, arm=observed.arm)
        ),
    )


@dataclass(frozen=True, eq=False)
class _Test:
    """Statistics of the experiment and of its re-randomizations, at any constant effects."""

    actual: Reassigned
    sums: Reassigned
    procedure: Procedure | None
    kind: str

    @property
    def none(self) -> FloatArray:
        """No effect of any arm."""
        return np.zeros(self.actual.n.shape[1])

    def effects(self) -> FloatArray:
        """Differences in means from the control, the control's 0 first."""
        _, mean, _ = self.actual.moments(self.none, np.arange(self.none.size))
        return np.asarray(mean[0] - mean[0, 0])

    def all_arms(self) -> tuple[float, float]:
        """Statistic over all arms and its p value under no effect."""
        arms = np.arange(self.none.size)
        parts = [
            _spread(*sums.moments(self.none, arms), self.kind) for sums in (self.actual, self.sums)
        ]
        return float(parts[0][0]), self._share(parts[0][0], parts[1])

    def one_arm(self, arm: int, tau: FloatArray) -> tuple[float, float]:
        """Statistic of an arm against the control at effects tau, and its p value."""
        sums = self.sums
        if self.procedure is not None and self.procedure.adaptive and tau.any():
            sums = draw_sums(self.procedure, tau)
        pair = np.array([0, arm])
        zero = self.none  # the outcomes that were seen already hold the effects
        seen = _contrast(*self.actual.moments(zero, pair), tau[arm], self.kind)
        redrawn = _contrast(*sums.moments(tau, pair), tau[arm], self.kind)
        return float(seen[0]), self._share(seen[0], redrawn)

    def interval(self, arm: int, alpha: float) -> tuple[float, float]:
        """Effects of an arm that are not rejected at alpha, other arms' at their estimates."""
        estimate = self.effects()
        n, _, v = self.actual.moments(self.none, np.array([0, arm]))
        step = float(np.sqrt((v / n).sum())) or 1.0

        def rejected(distance: float) -> bool:
            tau = estimate.copy()
            tau[arm] += distance * step
            return self.one_arm(arm, tau)[1] <= alpha

        low, high = (_edge(rejected, side, self._halvings) for side in (-1.0, 1.0))
        return float(estimate[arm] + low * step), float(estimate[arm] + high * step)

    @property
    def _halvings(self) -> int:
        return 12 if self.procedure is not None and self.procedure.adaptive else _HALVINGS

    def mc_error(self, p_value: float) -> float:
        """Standard error of a p value from the number of draws."""
        if self.procedure is None:
            return 0.0
        return float(np.sqrt(p_value * (1 - p_value) / self.sums.n.shape[0]))

    def _share(self, seen: float, redrawn: FloatArray) -> float:
        # a draw whose arm has fewer than two units has no statistic: it counts as larger
        larger = ~(redrawn < seen * (1 - _TIE))
        if self.procedure is None:
            return float(larger.mean())
        return float((1 + larger.sum()) / (1 + redrawn.size))


def _edge(rejected: Callable[[float], bool], side: float, halvings: int) -> float:
    """Distance in standard errors at which rejection begins; infinite where it never does."""
    inside, outside = 0.0, 2.0
    while not rejected(side * outside):
        inside, outside = outside, outside * 1.5
        if outside > _FARTHEST:
            return side * np.inf
    for _ in range(halvings):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(side * middle) else (middle, outside)
    return side * inside


def _spread(n: FloatArray, mean: FloatArray, variance: FloatArray, kind: str) -> FloatArray:
    """Welch's weighted sum of squares between arms, or the plain one; (n_draws,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = n / variance if kind == "studentized" else n
        centre = (weight * mean).sum(axis=1) / weight.sum(axis=1)
        return np.asarray((weight * (mean - centre[:, None]) ** 2).sum(axis=1))


def _contrast(
    n: FloatArray, mean: FloatArray, variance: FloatArray, effect: float, kind: str
) -> FloatArray:
    distance = np.abs(mean[:, 1] - mean[:, 0] - effect)
    if kind == "difference":
        return np.asarray(distance)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(distance / np.sqrt((variance / n).sum(axis=1)))


def _actual(observed: Observed, y: FloatArray) -> Reassigned:
    known = observed.known
    part = sums_of_draw(observed.arm[known], observed.arm[known], y[known], len(observed.arms))
    return Reassigned(*part[:, None])


def _with_control(observed: Observed, control: Any) -> Observed:
    """The control as the first arm."""
    if control is None:
        return observed
    if str(control) not in observed.arms:
        raise InputError(f"control: found {control!r}; arms are {', '.join(observed.arms[:20])}")
    first = observed.arms.index(str(control))
    order = [first, *(k for k in range(len(observed.arms)) if k != first)]
    place: IntArray = np.argsort(order).astype(np.int64)
    names = tuple(observed.arms[k] for k in order)
    return Observed(names, place[observed.arm], observed.outcome, observed.known)


def _check_arms(observed: Observed) -> None:
    counts = observed.counts(observed.known)
    few = [name for name, n in zip(observed.arms, counts.tolist(), strict=True) if n < 2]
    if few:
        raise EstimationError(
            f"outcome: found fewer than two known outcomes in {', '.join(few)}; needed two in "
            "every arm; leave those arms out"
        )
    if np.ptp(observed.outcome[observed.known]) == 0:
        raise EstimationError("outcome: found the same value for all units; needed a difference")
