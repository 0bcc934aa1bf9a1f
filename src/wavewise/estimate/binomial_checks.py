"""What is refused before the hierarchical binomial model is fitted."""

import numpy as np
import numpy.typing as npt

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.binomial_counts import Cells
from wavewise.estimate.binomial_priors import BinomialPrior
from wavewise.results import FloatArray

__all__ = ["checked_sizes", "refuse_improper"]


def refuse_improper(cells: Cells, prior: BinomialPrior) -> None:
    """Refuse a flat prior on an arm without a success or without a failure.

    Raises
    ------
    EstimationError
        The posterior would be improper: the likelihood tends to a constant as beta goes to
        infinity.
    """
    if not prior.flat_on_beta:
        return
    successes, trials = cells.successes.sum(axis=0), cells.trials.sum(axis=0)
    kinds = (("no success", successes == 0), ("no failure", successes == trials))
    found = [
        f"arm {cells.arms[k]}: {what} in {trials[k]:,.0f} trials"
        for what, where in kinds
        for k in np.flatnonzero(where)
    ]
    if found:
        raise EstimationError(
            f"hierarchical binomial model: found {'; '.join(found)}, so that with a flat prior on "
            "beta the posterior is improper; needed a success and a failure in every arm, or a "
            "proper prior: give prior=BinomialPrior(beta=Normal(2.5))"
        )


def checked_sizes(sizes: npt.ArrayLike | None, cells: Cells) -> FloatArray:
    """Size of each cluster: its trials, or what was given.

    Raises
    ------
    InputError
        Another length than the clusters, negative or not finite, or all 0.
    """
    if sizes is None:
        return np.asarray(cells.trials.sum(axis=1))
    array = np.asarray(sizes, dtype=np.float64)
    if array.shape != (len(cells.clusters),):
        raise InputError(
            f"cluster_sizes: found shape {array.shape}; needed ({len(cells.clusters)},), one a "
            "cluster in sorted order of their labels"
        )
    if not (np.isfinite(array) & (array >= 0)).all() or array.sum() <= 0:
        raise InputError("cluster_sizes: found one that is negative or not finite, or none above 0")
    return array
