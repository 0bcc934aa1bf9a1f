"""Randomization inference: the assignment procedure itself, run again and again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.adaptive.data import Observed, read_observed
from wavewise.estimate.effects.table import check_level
from wavewise.shared.inputs import aligned, encode, read_labels
from wavewise.shared.labels import Labels, label_text
from wavewise.shared.renamed import renamed
from wavewise.shared.results import FloatArray, IntArray, Provenance, Result, hash_arrays, read_only

__all__ = ["Coder", "RandomizationTest", "randomization_test"]


# What a randomization test found.


@dataclass(frozen=True, eq=False, kw_only=True)
class RandomizationTest(Result, kind="randomization test"):
    """P values of a randomization test, and Fisher intervals where they were asked for.

    Parameters
    ----------
    arms : tuple of str
        The arms, the control first.
    statistic, p_value, mc_error : float
        Over all arms: the statistic, its p value and the p value's standard error from the number
        of draws (0 where all assignments were listed).
    estimate, arm_p_value : array of float, shape (n_arms - 1,)
        Difference in means from the control, and the p value of the arm against the control.
    intervals : array of float, shape (n_arms - 1, 2), or None
        Constant effects that are not rejected; infinite where no effect is.
    level : float
        Level of the intervals.
    kind : str
        ``studentized`` or ``difference``.
    draws : int
        Re-randomizations.
    exact : bool
        Whether they are all there are.
    n_units : array of int, shape (n_arms,)
        Units with a known outcome.
    provenance : Provenance
    """

    arms: tuple[str, ...]
    statistic: float
    p_value: float
    mc_error: float
    estimate: FloatArray
    arm_p_value: FloatArray
    intervals: FloatArray | None
    level: float
    kind: str
    draws: int
    exact: bool
    n_units: IntArray
    provenance: Provenance

    def _frame(self) -> pl.DataFrame:
        """One row per arm other than the control; null where no interval was asked for."""
        bounds = (
            np.full((len(self.estimate), 2), np.nan) if self.intervals is None else self.intervals
        )
        return pl.DataFrame(
            {
                "arm": list(self.arms[1:]),
                "estimate": self.estimate,
                "conf_low": bounds[:, 0],
                "conf_high": bounds[:, 1],
                "p_value": self.arm_p_value,
                "n_units": self.n_units[1:],
            }
        ).fill_nan(None)

    def _facts(self) -> dict[str, Any]:
        return {
            "statistic": self.kind,
            "value": self.statistic,
            "p_value": self.p_value,
            "mc_error": self.mc_error,
            "draws": self.draws,
            "exact": self.exact,
            "level": self.level,
            "control": self.arms[0],
            "rows": self._frame(),
        }

    def summary(self) -> str:
        """The p value in a sentence, then one line an arm."""
        how = (
            f"from all {self.draws:,} assignments that could have been drawn"
            if self.exact
            else f"from {self.draws:,} re-randomizations (Monte Carlo error {self.mc_error:.4f})"
        )
        lines = [
            f"Randomization test that no arm changes any outcome: p = {self.p_value:.4g}, {how}."
        ]
        for row in self._frame().rows(named=True):
            interval = (
                ""
                if row["conf_low"] is None
                else f", {self.level:.0%} Fisher interval {row['conf_low']:.5g} to "
                f"{row['conf_high']:.5g}"
            )
            lines.append(
                f"{row['arm']} against {self.arms[0]}: {row['estimate']:.5g}, p = "
                f"{row['p_value']:.4g}{interval}"
            )
        return "\n".join(lines)


# Sums by drawn and by re-drawn arm: all that a randomization test needs of the outcomes.

_MIXER = 0x9E3779B97F4A7C15


@dataclass(frozen=True, eq=False)
class Reassigned:
    """Sums over units by re-drawn arm g and drawn arm z, for each re-randomization.

    Notes
    -----
    If arms add constants tau to the outcome, the outcome under a re-drawn assignment is
    ``y - tau_z + tau_g``, so that means and variances at any tau follow from these sums: a
    confidence interval by inversion needs no second pass over the units.
    """

    # n, s, q: (n_draws, n_arms, n_arms): Units, sum of outcomes, sum of squared outcomes.
    n: FloatArray
    s: FloatArray
    q: FloatArray

    def moments(self, tau: FloatArray, arms: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Units, means and variances of re-drawn arms at effects tau; (n_draws, n_chosen) each."""
        n, s, q = self.n[:, arms], self.s[:, arms], self.q[:, arms]
        shift = tau[arms][:, None] - tau
        size = n.sum(axis=2)
        total = (s + n * shift).sum(axis=2)
        squares = (q + 2 * shift * s + n * shift**2).sum(axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / size
            variance = (squares - size * mean**2) / (size - 1)
        return size, mean, np.maximum(variance, 0.0)


def sums_of_draw(redrawn: IntArray, drawn: IntArray, y: FloatArray, n_arms: int) -> FloatArray:
    """Units, sums and sums of squares of one re-randomization; (3, n_arms, n_arms)."""
    cell, size = redrawn * n_arms + drawn, n_arms * n_arms
    parts = (
        np.bincount(cell, minlength=size),
        np.bincount(cell, weights=y, minlength=size),
        np.bincount(cell, weights=y * y, minlength=size),
    )
    return np.stack(parts).reshape(3, n_arms, n_arms).astype(np.float64, copy=False)


class Coder:
    """Codes of labels that a re-randomization gives, by the labels of the experiment.

    Text of fixed width is compared by a hash of its characters, which is several times faster than
    comparing it letter by letter; the few hashes are checked to differ first.
    """

    def __init__(self, labels: Labels) -> None:
        self._names = labels.names
        self._levels = labels.levels
        keys = _hashed(np.array(self._names))
        self._order = np.argsort(keys)
        self._keys = keys[self._order]
        self._hashable = np.unique(keys).size == keys.size

    def codes(self, arms: Any, n_units: int) -> IntArray:
        """Position of each label among the experiment's."""
        array = arms if isinstance(arms, np.ndarray) else read_labels(arms, "reassign")
        if array.shape != (n_units,):
            raise InputError(
                f"reassign: found arms of shape {array.shape}; needed ({n_units},), one per unit "
                "in the same order"
            )
        if isinstance(array, np.ndarray) and array.dtype.kind == "U" and self._hashable:
            return self._located(_hashed(array), self._keys, self._order)
        both = (array.dtype, self._levels.dtype) if isinstance(array, np.ndarray) else ()
        if both and all(dtype.kind in "biuf" for dtype in both):
            return self._located(array, self._levels, np.arange(self._levels.size))
        found = encode(array, "reassign", n_units)
        unknown = sorted(set(found.names) - set(self._names))
        if unknown:
            raise _unknown(len(unknown), self._names)
        place = np.array([self._names.index(name) for name in found.names], dtype=np.int64)
        return place[found.codes]

    def _located(self, values: Any, levels: Any, order: Any) -> IntArray:
        at = np.minimum(np.searchsorted(levels, values), levels.size - 1)
        wrong = int((levels[at] != values).sum())
        if wrong:
            raise _unknown(wrong, self._names)
        codes: IntArray = order[at]
        return codes


def _hashed(text: Any) -> Any:
    width = text.dtype.itemsize // 4
    letters = np.ascontiguousarray(text).view(np.uint32).reshape(text.size, width)
    factor = np.cumprod(np.full(max(width, 1), _MIXER, dtype=np.uint64))
    key = np.zeros(text.size, dtype=np.uint64)
    for place in range(width):
        key += letters[:, place] * factor[place]
    return key


def _unknown(n: int, names: tuple[str, ...]) -> InputError:
    return InputError(
        f"reassign: found {n:,} labels that are no arm of the experiment; its arms are "
        f"{', '.join(names[:20])}"
    )


# Re-randomizations: drawn by the procedure, or listed; each as sums by arm.

Seeds = tuple[np.random.SeedSequence, ...]

_CHUNK = 100  # draws a task


@dataclass(frozen=True, eq=False)
class Procedure:
    """How arms are drawn again."""

    # Of a generator, or of a generator and outcomes (n_units, n_arms).
    reassign: Callable[..., Any]
    y: FloatArray  # (n_units,): Centred outcomes, 0 where missing.
    observed: Observed  # Arms, the control first.
    labels: Labels  # The labels as they were given.
    # One per draw, the same for every hypothesis, so that p values change with the effect alone.
    seeds: Seeds
    adaptive: bool  # Whether `reassign` takes outcomes.
    n_jobs: int  # Number of processes.
    origin: float  # What was taken off the outcomes.

    def outcomes(self, tau: FloatArray) -> FloatArray:
        """Outcomes under each arm if arms add constants tau; (n_units, n_arms)."""
        base = self.y - tau[self.observed.arm] + self.origin
        values = base[:, None] + tau
        values[~self.observed.known] = np.nan
        return np.asarray(values)


def spawn_seeds(rng: Any, draws: Any) -> Seeds:
    """A stream for each draw."""
    if not isinstance(draws, int | np.integer) or draws < 1:
        raise InputError(f"draws: found {draws!r}; needed a whole number, 1 or more")
    if not isinstance(rng, np.random.Generator):
        raise InputError(
            f"rng: found {type(rng).__name__}; needed a numpy Generator, such as "
            "np.random.default_rng(seed)"
        )
    words = rng.integers(0, 2**32, 4, dtype=np.uint64).tolist()
    return tuple(np.random.SeedSequence(words).spawn(int(draws)))


def draw_sums(procedure: Procedure, tau: FloatArray) -> Reassigned:
    """Sums of every re-randomization under constant effects tau."""
    seeds = procedure.seeds
    chunks = [seeds[i : i + _CHUNK] for i in range(0, len(seeds), _CHUNK)]
    if procedure.n_jobs == 1:
        parts = [_chunk(procedure, chunk, tau) for chunk in chunks]
    else:
        from joblib import Parallel, delayed

        tasks = (delayed(_chunk)(procedure, chunk, tau) for chunk in chunks)
        parts = Parallel(n_jobs=procedure.n_jobs)(tasks)
    joined = np.concatenate(parts)
    return Reassigned(joined[:, 0], joined[:, 1], joined[:, 2])


def _chunk(procedure: Procedure, seeds: Seeds, tau: FloatArray) -> FloatArray:
    observed, n_arms = procedure.observed, len(procedure.observed.arms)
    coder, place = _coder(procedure.labels, observed)
    known = None if observed.known.all() else observed.known
    extra = (procedure.outcomes(tau),) if procedure.adaptive else ()
    sums = np.empty((len(seeds), 3, n_arms, n_arms))
    for row, seed in enumerate(seeds):
        arms = procedure.reassign(np.random.default_rng(seed), *extra)
        redrawn = place[coder.codes(arms, observed.arm.size)]
        sums[row] = _sums(redrawn, observed, procedure.y, known)
    return sums


def listed_sums(assignments: Any, y: FloatArray, observed: Observed, labels: Labels) -> Reassigned:
    """Sums of every listed assignment."""
    coder, place = _coder(labels, observed)
    known = None if observed.known.all() else observed.known
    rows = [place[coder.codes(row, observed.arm.size)] for row in assignments]
    if not rows:
        raise InputError("reassign: found no assignment; needed all that could have been drawn")
    if not any(np.array_equal(row, observed.arm) for row in rows):
        raise InputError(
            "reassign: found assignments without the one that was drawn; needed every one that "
            "could have been drawn"
        )
    sums = np.stack([_sums(row, observed, y, known) for row in rows])
    return Reassigned(sums[:, 0], sums[:, 1], sums[:, 2])


def _coder(labels: Labels, observed: Observed) -> tuple[Coder, IntArray]:
    """A coder of labels, and the position of each among the arms with the control first."""
    place = np.array([observed.arms.index(name) for name in labels.names], dtype=np.int64)
    return Coder(labels), place


def _sums(redrawn: IntArray, observed: Observed, y: FloatArray, known: Any) -> FloatArray:
    if known is None:
        return sums_of_draw(redrawn, observed.arm, y, len(observed.arms))
    return sums_of_draw(redrawn[known], observed.arm[known], y[known], len(observed.arms))


Statistic = Literal["studentized", "difference"]

_TIE = 1e-9
_FARTHEST = 12.0  # standard errors that an end of an interval is looked for within
_HALVINGS = 30


@renamed(draws="n_draws")
@aligned("outcome", "arm")
def randomization_test(
    outcome: Any,
    arm: Any,
    reassign: Callable[..., Any] | Any,
    *,
    statistic: Statistic = "studentized",
    n_draws: int = 2000,
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
    n_draws : int
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
            seeds=spawn_seeds(rng, n_draws),
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
    if label_text(control) not in observed.arms:
        raise InputError(f"control: found {control!r}; arms are {', '.join(observed.arms[:20])}")
    first = observed.arms.index(label_text(control))
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
