"""The chosen arm's interval from simulating the whole adaptive experiment."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.table import check_level
from wavewise.shared.renamed import renamed
from wavewise.shared.results import FloatArray, Provenance, Result, hash_arrays

__all__ = ["ChosenArm", "Simulated", "Truths", "bootstrap_chosen_arm"]

Truths = Literal["envelope", "shrunken", "estimated", "equal"]
Simulated = tuple[FloatArray, FloatArray]

_FEWEST = 0.9  # of the simulated experiments must have estimates
_CHUNK = 25


@dataclass(frozen=True, eq=False, kw_only=True)
class ChosenArm(Result, kind="chosen arm"):
    """Estimate and interval of the arm that came out best.

    Parameters
    ----------
    arm : int
        Index of the arm.
    estimate : float
        Its estimate less the median error of chosen arms in the simulations with shrunken (or the
        asked for) truths.
    conf_low, conf_high : float
    level : float
    naive_estimate, std_error : float
        As they went in.
    truths : str
        Which truths were simulated.
    draws, n_failed : int
        Simulated experiments, and those among them without estimates.
    provenance : Provenance
    """

    arm: int
    estimate: float
    conf_low: float
    conf_high: float
    level: float
    naive_estimate: float
    std_error: float
    truths: str
    draws: int
    n_failed: int
    provenance: Provenance

    def summary(self) -> str:
        """The interval in a sentence, with what it rests on."""
        return (
            f"Arm {self.arm}: {self.estimate:.5g}, {self.level:.0%} interval {self.conf_low:.5g} "
            f"to {self.conf_high:.5g} (usual estimate {self.naive_estimate:.5g}), calibrated by "
            f"{self.draws:,} simulations of the whole experiment ({self.truths} truths). No "
            "theorem stands behind it: it holds as far as simulated experiments are like the real "
            "one; see its coverage in docs/methods/chosen-arm-bootstrap.md."
        )


@renamed(draws="n_draws")
def bootstrap_chosen_arm(
    estimate: Any,
    std_error: Any,
    simulate: Callable[[FloatArray, np.random.Generator], Simulated],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_draws: int = 500,
    truths: Truths = "envelope",
    n_jobs: int = 1,
) -> ChosenArm:
    """Interval of the arm with the largest estimate, by a parametric bootstrap of the procedure.

    Parameters
    ----------
    estimate, std_error : array-like, shape (n_arms,)
        Estimates of the arms and their standard errors (clustered where units are alike).
    simulate : callable
        ``simulate(means, rng)`` runs the whole experiment with true arm means `means` - waves,
        shares that follow outcomes, clusters - and returns the estimates and standard errors that
        the same estimator gives, not-a-number for an arm without one. Where it has a method
        ``many(means, n_runs, rng)`` that gives both with shape (n_runs, n_arms), that is called.
    rng : numpy.random.Generator
    level : float
        In (0, 1).
    n_draws : int
        Experiments for each set of truths.
    truths : {"envelope", "shrunken", "estimated", "equal"}
        True means that are simulated: the estimates, which differ too much; the estimates shrunk
        towards their mean by what noise explains; equal ones, where choosing misleads most; or the
        widest interval of all three.
    n_jobs : int
        Processes; the result is the same with any number.

    Returns
    -------
    ChosenArm

    Raises
    ------
    InputError
        Where arrays do not fit together or an option is unknown.
    EstimationError
        Where more than a tenth of the simulated experiments give no estimates.

    Notes
    -----
    In each simulated experiment the arm j* with the largest estimate is chosen and
    ``T* = (estimate_j* - means_j*) / std_error_j*`` kept. With q its quantiles the interval is
    ``[estimate_j - q(1 - a/2) se_j, estimate_j - q(a/2) se_j]``. T is no pivot near ties, where its
    law depends on gaps that the data do not tell: hence the envelope.

    References
    ----------
    Efron and Tibshirani (1993), chapter 12; Andrews, Kitagawa and McCloskey (2024), on why the
    bootstrap alone fails near ties.

    Examples
    --------
    >>> def simulate(means, rng):
    ...     return means + 0.1 * rng.normal(size=3), np.full(3, 0.1)
    >>> found = bootstrap_chosen_arm(
    ...     [0.1, 0.2, 0.9], [0.1, 0.1, 0.1], simulate, rng=np.random.default_rng(0))
    >>> found.arm, found.conf_low < 0.9 < found.conf_high
    (2, True)
    """
    check_level(level)
    if truths not in get_args(Truths):
        raise InputError(f"truths: found {truths!r}; needed one of {', '.join(get_args(Truths))}")
    values, errors = _checked(estimate, std_error, n_draws)
    sets = _truths(values, errors)
    used = list(sets) if truths == "envelope" else [truths]
    words = rng.integers(0, 2**32, 4, dtype=np.uint64).tolist()
    pivots, n_failed = {}, 0
    for name in used:  # the same streams for all truths
        pivots[name], failed = _pivots(simulate, sets[name], words, n_draws, n_jobs)
        n_failed += failed
    tails = [np.quantile(part, [(1 - level) / 2, (1 + level) / 2]) for part in pivots.values()]
    arm = int(np.argmax(values))
    centre = pivots["shrunken" if truths == "envelope" else truths]
    low, high = min(tail[0] for tail in tails), max(tail[1] for tail in tails)
    return ChosenArm(
        arm=arm,
        estimate=float(values[arm] - np.median(centre) * errors[arm]),
        conf_low=float(values[arm] - high * errors[arm]),
        conf_high=float(values[arm] - low * errors[arm]),
        level=float(level),
        naive_estimate=float(values[arm]),
        std_error=float(errors[arm]),
        truths=truths,
        draws=n_draws * len(used),
        n_failed=n_failed,
        provenance=Provenance(
            f"parametric bootstrap of the chosen arm, {truths} truths",
            hash_arrays(estimate=values, std_error=errors),
        ),
    )


def _truths(values: FloatArray, errors: FloatArray) -> dict[str, FloatArray]:
    """Estimates, estimates shrunk by what noise explains of their spread, and their mean."""
    weight = 1 / errors**2
    centre = float((weight * values).sum() / weight.sum())
    spread = float((weight * (values - centre) ** 2).sum())
    kept = max(0.0, 1 - (values.size - 1) / spread) if spread > 0 else 0.0
    return {
        "shrunken": centre + kept * (values - centre),
        "estimated": values,
        "equal": np.full_like(values, centre),
    }


def _pivots(
    simulate: Callable[..., Simulated], means: FloatArray, words: list[int], draws: int, n_jobs: int
) -> tuple[FloatArray, int]:
    seeds = np.random.SeedSequence(words).spawn(draws)
    chunks = [seeds[i : i + _CHUNK] for i in range(0, draws, _CHUNK)]
    if n_jobs == 1:
        parts = [_chunk(simulate, means, chunk) for chunk in chunks]
    else:
        from joblib import Parallel, delayed

        tasks = (delayed(_chunk)(simulate, means, chunk) for chunk in chunks)
        parts = Parallel(n_jobs=n_jobs)(tasks)
    found = np.concatenate(parts)
    if found.size < _FEWEST * draws:
        raise EstimationError(
            f"simulate: found estimates in {found.size} of {draws} simulated experiments; needed "
            f"{_FEWEST:.0%}; keep a least share of every arm, or take more units"
        )
    return found, draws - int(found.size)


def _chunk(simulate: Callable[..., Simulated], means: FloatArray, seeds: list[Any]) -> FloatArray:
    """Errors of the chosen arms in standard errors; experiments without an estimate left out."""
    values, errors = _runs(simulate, means, seeds)
    some = ~np.isnan(values).all(axis=1)
    values, errors = values[some], errors[some]
    best = np.argmax(np.where(np.isnan(values), -np.inf, values), axis=1)
    rows = np.arange(best.size)
    usable = errors[rows, best] > 0
    rows, best = rows[usable], best[usable]
    return np.asarray((values[rows, best] - means[best]) / errors[rows, best])


def _runs(simulate: Callable[..., Simulated], means: FloatArray, seeds: list[Any]) -> Simulated:
    """Estimates and standard errors of a chunk's experiments, (n_runs, n_arms) each."""
    many = getattr(simulate, "many", None)
    if many is not None:
        values, errors = many(means, len(seeds), np.random.default_rng(seeds[0]))
        return np.asarray(values), np.asarray(errors)
    found = [np.full((2, means.size), np.nan)]
    for seed in seeds:
        try:
            found.append(np.array(simulate(means, np.random.default_rng(seed))))
        except EstimationError:
            continue
    values, errors = np.stack(found, axis=1)
    return values, errors


def _checked(estimate: Any, std_error: Any, draws: Any) -> tuple[FloatArray, FloatArray]:
    values, errors = (np.asarray(part, dtype=np.float64) for part in (estimate, std_error))
    if values.ndim != 1 or values.size < 2 or values.shape != errors.shape:
        raise InputError(
            f"estimate, std_error: found shapes {values.shape} and {errors.shape}; needed the same "
            "(n_arms,), two arms or more"
        )
    if not (np.isfinite(values).all() and np.isfinite(errors).all() and (errors > 0).all()):
        raise InputError("estimate, std_error: found some missing or not positive; needed numbers")
    if not isinstance(draws, int | np.integer) or draws < 1:
        raise InputError(f"draws: found {draws!r}; needed a whole number, 1 or more")
    return values, errors
