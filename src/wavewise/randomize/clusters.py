"""Clusters: what must be the same for all units of one."""

import numpy as np

from wavewise.errors import InputError
from wavewise.randomize.labels import Coded
from wavewise.results import IntArray

__all__ = ["code_of_clusters"]


def code_of_clusters(cluster: Coded, codes: IntArray, what: str, fix: str) -> IntArray:
    """The code that all units of a cluster share; (n_clusters,).

    Raises
    ------
    InputError
        If units of a cluster differ, with the number of such clusters.
    """
    n_clusters = len(cluster.labels)
    of_cluster = np.empty(n_clusters, dtype=np.int64)
    of_cluster[cluster.codes] = codes
    crossing = np.zeros(n_clusters, dtype=bool)
    crossing[cluster.codes[of_cluster[cluster.codes] != codes]] = True
    if crossing.any():
        raise InputError(
            f"cluster: found {int(crossing.sum()):,} of {n_clusters:,} clusters with units in more "
            f"than one {what}, needed each within one; {fix}"
        )
    return of_cluster
