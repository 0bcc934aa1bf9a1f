"""Clusters whose scores can hardly have been measured."""

from typing import Any

import numpy as np

from wavewise.shared.inputs import aligned, check_size, encode_or_one, read_outcome
from wavewise.shared.renamed import renamed
from wavewise.shared.results import CheckResult, FloatArray

__all__ = ["implausible_clusters"]

_NAME = "implausible clusters"
_FEWEST = 5  # scores in a cluster
_FEWEST_CLUSTERS = 8
_STEP = 5


@renamed(alpha="size")
@aligned("value", "cluster")
def implausible_clusters(value: Any, cluster: Any, *, size: float = 0.01) -> CheckResult:
    """Whether some clusters' scores are too alike, too round or too far from the others.

    Parameters
    ----------
    value : array-like, shape (n_units,)
        Scores, not-a-number where they are missing.
    cluster : array-like, shape (n_units,)
        Labels such as schools or classes.
    size : float
        Probability of a false alarm over all clusters, for each of the signs.

    Returns
    -------
    CheckResult
        One row of ``table`` a cluster with a sign. ``number`` is the share of such clusters among
        those with five scores or more.

    Raises
    ------
    InputError
        Where lengths differ.

    Notes
    -----
    Signs: all scores equal; all multiples of five, where that has a chance below `size` over the
    number of clusters given the share of multiples in the others; a mean more robust standard
    deviations from the median cluster than `size` over the number of clusters allows (the spread
    of cluster means by their median absolute deviation, so that it holds true differences between
    schools).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> school, score = np.arange(200) // 10, rng.normal(45, 20, 200).round()
    >>> implausible_clusters(np.where(school == 3, 50.0, score), school).verdict
    'fail'
    """
    check_size(size)
    values = read_outcome(value, "value")
    labels = encode_or_one(cluster, "cluster", values.size)
    known = ~np.isnan(values)
    parts = {name: values[known & (labels.codes == k)] for k, name in enumerate(labels.names)}
    large = {name: part for name, part in parts.items() if part.size >= _FEWEST}
    scope = f"{len(large):,} of {len(parts):,} clusters with {_FEWEST} scores or more"
    if len(large) < _FEWEST_CLUSTERS:
        text = f"Found {len(large)} clusters with {_FEWEST} scores; {_FEWEST_CLUSTERS} are needed."
        return CheckResult(_NAME, scope, None, text)
    rows = tuple(_signs(large, size / len(large)))
    share = len(rows) / len(large)
    if not rows:
        return CheckResult(_NAME, scope, True, "No cluster stands out.", (), 0.0)
    kinds: dict[str, int] = {}
    for row in rows:
        kinds[row["sign"]] = kinds.get(row["sign"], 0) + 1
    found = "; ".join(f"{n} {sign}" for sign, n in kinds.items())
    text = f"{len(rows)} of {len(large):,} clusters stand out: {found}."
    advice = "Ask these clusters how scores were taken; show results with and without them."
    return CheckResult(_NAME, scope, False, text, rows, share, advice)


def _signs(large: dict[str, FloatArray], size: float) -> Any:
    from scipy.special import ndtri

    means = np.array([part.mean() for part in large.values()])
    centre = float(np.median(means))
    spread = 1.4826 * float(np.median(np.abs(means - centre)))
    bound = float(-ndtri(size / 2))
    every = np.concatenate(list(large.values()))
    n_round, n_all = int((every % _STEP == 0).sum()), every.size
    for (name, part), mean in zip(large.items(), means, strict=True):
        own = int((part % _STEP == 0).sum())
        elsewhere = (n_round - own + 1) / (n_all - part.size + 2)
        sign = None
        if np.ptp(part) == 0:
            sign = "with all scores equal"
        elif own == part.size and elsewhere**part.size < size:
            sign = f"with multiples of {_STEP} only"
        elif spread > 0 and abs(mean - centre) / spread > bound:
            sign = "with a mean far from the others"
        if sign:
            row = {"cluster": name, "sign": sign, "n_scores": int(part.size), "mean": float(mean)}
            yield row | {"std_dev": float(part.std(ddof=1))}
