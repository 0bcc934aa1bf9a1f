"""Simulated experiments: a design, a truth, thousands of repetitions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.evaluate.simulation.design import Design
from wavewise.evaluate.simulation.engine import Job
from wavewise.evaluate.simulation.results import Comparison, Simulated
from wavewise.evaluate.simulation.worlds import Truth, as_truth
from wavewise.shared.parallel import Progress, run_chunks, task_hash
from wavewise.shared.renamed import renamed
from wavewise.shared.results import Provenance, hash_arrays, read_only

__all__ = ["compare", "simulate"]


@renamed("n_simulations", "rng")
def simulate(
    design: Design,
    truth: Truth | Mapping[str, Any],
    *,
    n_simulations: int,
    rng: np.random.Generator,
    n_jobs: int = 1,
    scheduler: str | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Simulated:
    """Averages over simulated experiments of one design, each with its Monte-Carlo error.

    Parameters
    ----------
    design : Design
    truth : mapping or truth
        ``{"beta": (n_arms,), "kappa": 0.5}`` (log odds, standard deviation of clusters),
        ``{"rate": (n_arms,)}``, with ``"control_rate"`` where the control has outcomes; or draws
        from a prior (`PriorTruth`), a posterior (`PosteriorTruth`), observed data
        (`BootstrapTruth`).
    n_simulations : int
    rng : numpy.random.Generator
        Two numbers are drawn from it; all streams follow from them.
    n_jobs : int
        Processes; -1 for one per core. The result is the same to the last bit for any number.
    scheduler : str, optional
        Address of a Dask scheduler whose workers do the work.
    folder : path, optional
        Where finished chunks are kept: the same call again goes on from there.
    progress : callable, optional
        Called with the numbers of finished and of all chunks.

    Returns
    -------
    Simulated
        With `best_arm_found`, `realized_regret`, `posterior_regret`, `prob_optimal`,
        `in_sample_outcome`, `power`, `coverage`, each (value, mc_error).

    Raises
    ------
    InputError
        A truth that does not fit the design, no simulations.
    UnavailableError
        A scheduler that does not answer.

    Notes
    -----
    Each simulation goes through what a study goes through: whole counts within clusters that are
    one unit at most from their shares, outcomes, the posterior (hierarchical binomial with
    clusters, beta-binomial without), the rule's shares of the next wave, and in the end the arm
    with the lowest expected regret. Where nothing is left to explore the rule's limit is taken.

    References
    ----------
    Section 6 of the Kenya study (2022), *World Bank Policy Research Working Paper* 10098.

    Examples
    --------
    >>> import numpy as np
    >>> design = Design(arms=3, waves=(300, 300), rule="exploration")
    >>> found = simulate(design, {"rate": [0.2, 0.25, 0.3]}, n_simulations=200,
    ...                  rng=np.random.default_rng(1))
    >>> found.best_arm_found.value > 0.6, found.best_arm_found.mc_error < 0.04
    (True, True)
    """
    found = compare([design], truth, n_simulations=n_simulations, rng=rng, n_jobs=n_jobs,
                    scheduler=scheduler, folder=folder, progress=progress)  # fmt: skip
    return found.results[0]


@renamed("n_simulations", "rng")
def compare(
    designs: Sequence[Design],
    truth: Truth | Mapping[str, Any],
    *,
    n_simulations: int,
    rng: np.random.Generator,
    n_jobs: int = 1,
    scheduler: str | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Several designs in the same simulated worlds, with the same first waves.

    Parameters
    ----------
    designs : sequence of Design
        With the same arms and clusters. Designs whose first waves are of one size share them.
    truth, n_simulations, rng, n_jobs, scheduler, folder, progress
        As for `simulate`.

    Returns
    -------
    Comparison
        A sequence of `Simulated`, with paired differences.

    Raises
    ------
    InputError
        Designs that have other arms or clusters.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive = Design(arms=3, waves=(300, 300), rule="exploration")
    >>> both = compare(
    ...     [adaptive, adaptive.with_(rule="uniform")], {"rate": [0.2, 0.25, 0.3]},
    ...     n_simulations=200, rng=np.random.default_rng(1))
    >>> len(both), both.difference("realized_regret").mc_error < 0.005
    (2, True)
    """
    job = _job(designs, truth, n_simulations, rng)
    place = None if folder is None else Path(folder) / task_hash(_unnamed(job))[:16]
    chunks = run_chunks(
        job, job.n_chunks, n_jobs=n_jobs, scheduler=scheduler, folder=place, progress=progress
    )
    results = []
    for i, design in enumerate(job.designs):
        names = [key.partition(".")[2] for key in chunks[0] if key.startswith(f"{i}.")]
        runs = {
            name: read_only(np.concatenate([chunk[f"{i}.{name}"] for chunk in chunks]))
            for name in names
        }
        results.append(_simulated(job, design, runs))
    return Comparison(tuple(results))


def _simulated(job: Job, design: Design, runs: dict[str, Any]) -> Simulated:
    estimator = "beta-binomial" if design.clusters is None else "hierarchical binomial"
    return Simulated(
        design=design,
        truth=job.truth.describe(),
        n_simulations=job.n_simulations,
        runs=runs,
        provenance=Provenance(
            method=f"simulated experiments, {estimator}; entropy {job.entropy}",
            data_hash=hash_arrays(**runs),
            design_hash=design.hash(),
        ),
    )


def _job(
    designs: Sequence[Design],
    truth: Truth | Mapping[str, Any],
    n_simulations: int,
    rng: np.random.Generator,
) -> Job:
    if not isinstance(rng, np.random.Generator):
        raise InputError(
            f"rng: found {type(rng).__name__}; needed a numpy.random.Generator: give "
            "numpy.random.default_rng(seed)"
        )
    if n_simulations < 1 or n_simulations != int(n_simulations):
        raise InputError(f"n_simulations: found {n_simulations}; needed 1 or more, such as 1,000")
    given = tuple(designs)
    if not given or not all(isinstance(design, Design) for design in given):
        raise InputError("designs: found something that is no Design; needed one or more")
    for design in given[1:]:
        if design.arm_names != given[0].arm_names or not _same_clusters(design, given[0]):
            raise InputError(
                f"designs: found {design.name!r} with other arms or clusters than "
                f"{given[0].name!r}; needed the same, so that they can share worlds"
            )
    entropy = tuple(int(x) for x in rng.integers(0, 2**63, size=2))
    return Job(given, as_truth(truth), int(n_simulations), entropy)


def _same_clusters(one: Design, other: Design) -> bool:
    if one.clusters is None or other.clusters is None:
        return one.clusters is other.clusters
    return np.array_equal(one.clusters, other.clusters)


def _unnamed(job: Job) -> Job:
    """The job without its designs' names, which decide nothing."""
    return replace(job, designs=tuple(design.with_(name="-") for design in job.designs))
