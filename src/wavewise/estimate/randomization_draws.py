"""Re-randomizations: drawn by the procedure, or listed; each as sums by arm."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.estimate.adaptive_input import Observed
from wavewise.estimate.labels import Labels
from wavewise.estimate.reassigned import Coder, Reassigned, sums_of_draw
from wavewise.results import FloatArray, IntArray

__all__ = ["Procedure", "draw_sums", "listed_sums", "spawn_seeds"]

Seeds = tuple[np.random.SeedSequence, ...]

_CHUNK = 100  # draws a task


@dataclass(frozen=True, eq=False)
class Procedure:
    """How arms are drawn again.

    Parameters
    ----------
    reassign : callable
        Of a generator, or of a generator and outcomes (n_units, n_arms).
    y : array of float, shape (n_units,)
        Centred outcomes, 0 where missing.
    observed : Observed
        Arms, the control first.
    labels : Labels
        The labels as they were given.
    seeds : tuple of numpy.random.SeedSequence
        One a draw, the same for every hypothesis, so that p values change with the effect alone.
    n_jobs : int
        Number of processes.
    adaptive : bool
        Whether `reassign` takes outcomes.
    origin : float
        What was taken off the outcomes.
    """

    reassign: Callable[..., Any]
    y: FloatArray
    observed: Observed
    labels: Labels
    seeds: Seeds
    adaptive: bool
    n_jobs: int
    origin: float

    def outcomes(self, tau: FloatArray) -> FloatArray:
        """Outcomes under each arm if arms add constants tau; (n_units, n_arms)."""
        base = self.y - tau[self.observed.arm] + self.origin
        values = base[:, None] + tau
        values[~self.observed.known] = np.nan
        return np.asarray(values)


def spawn_seeds(rng: Any, draws: Any) -> Seeds:
    """A stream for each draw.

    Raises
    ------
    InputError
        Without a generator or a number of draws.
    """
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
        from joblib import Parallel, delayed  # noqa: PLC0415 - heavy

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
    """Sums of every listed assignment.

    Raises
    ------
    InputError
        Where the one that was drawn is not among them.
    """
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
