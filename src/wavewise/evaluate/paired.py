"""Two policies compared by the units randomized between them, by least squares with strata."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.effects.ate import ate
from wavewise.estimate.effects.table import Estimate, check_level
from wavewise.evaluate.standard_errors import interval, p_value
from wavewise.shared.inputs import aligned, encode, read_outcome
from wavewise.shared.labels import Labels, label_text
from wavewise.shared.renamed import renamed
from wavewise.shared.results import NotEstimable, Provenance, Result

__all__ = ["PairedContrast", "paired_contrast"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PairedContrast(Result, kind="paired contrast"):
    """Policy a less policy b, for those who differ and for the whole population.

    Parameters
    ----------
    name : str
    among_differing : Estimate
        Mean difference among the units to whom the policies give different arms.
    share_differs : float
        Their share of the units randomized to either policy, in [0, 1].
    estimate, std_error, conf_low, conf_high, p_value : float
        The difference per unit of the whole population: the share times the difference among those
        who differ.
    n_units, n_used : int
        Units randomized to either policy, and those of them who differ.
    level : float
    provenance : Provenance
    """

    name: str
    among_differing: Estimate
    share_differs: float
    estimate: float
    std_error: float
    conf_low: float
    conf_high: float
    p_value: float
    n_units: int
    n_used: int
    n_missing: int = 0
    level: float
    provenance: Provenance

    def _frame(self) -> pl.DataFrame:
        """One row."""
        keep = ("estimate", "std_error", "conf_low", "conf_high", "p_value", "share_differs")
        row = {"contrast": self.name} | {key: getattr(self, key) for key in keep}
        return pl.DataFrame([row | {"n_units": self.n_units, "n_used": self.n_used}])

    def _facts(self) -> dict[str, Any]:
        return {
            **self._frame().to_dicts()[0],
            "level": self.level,
            "among_differing": self.among_differing,
        }

    def summary(self) -> str:
        """The contrast in two sentences."""
        return (
            f"{self.name}: {self.estimate:.4g} (standard error {self.std_error:.2g}, "
            f"{self.level:.0%} interval {self.conf_low:.4g} to {self.conf_high:.4g}). The policies "
            f"differ for {self.share_differs:.1%} of {self.n_units:,} units; only these inform."
        )


@renamed(policy_arm="arm")
@aligned("outcome", "arm", "assigned_a", "assigned_b", "strata", "cluster")
def paired_contrast(
    outcome: Any,
    arm: Any,
    assigned_a: Any,
    assigned_b: Any,
    *,
    policies: tuple[str, str],
    strata: Any = None,
    cluster: Any = None,
    se: Literal["HC2", "HC3", "CR1", "CR2"] = "HC2",
    level: float = 0.95,
) -> PairedContrast:
    """Difference between two randomized policies, from the units to whom they give different arms.

    Parameters
    ----------
    outcome : array-like, shape (n_units,)
        Units whose outcome is missing are left out and counted.
    arm : array-like, shape (n_units,)
        Policy to which each unit was randomized; others than the two are left out.
    assigned_a, assigned_b : array-like, shape (n_units,)
        The arm that each policy gives to each unit, for all units, as stored before randomization.
    policies : tuple of str
        Names in `arm`: the first less the second.
    strata, cluster : array-like, shape (n_units,), optional
    se, level
        As in `ww.estimate.ate`.

    Raises
    ------
    InputError
        Where a policy has no units, or arrays do not fit together.
    EstimationError
        Where the policies differ for nobody.

    Notes
    -----
    Where the policies agree the difference is 0 by construction, so that ``d = s d_1`` with ``s``
    the share who differ and ``d_1`` the least squares difference among them, with strata. Its
    variance is ``s**2 var(d_1) + d_1**2 s (1 - s) / n``.

    Examples
    --------
    >>> a, b = ["x", "x", "x", "x"] * 25, ["x", "y", "y", "x"] * 25
    >>> arm = ["forest", "forest", "best", "best"] * 25
    >>> y = [0, 1, 0, 1] * 24 + [0, 0, 0, 1]
    >>> found = paired_contrast(y, arm, a, b, policies=("forest", "best"))
    >>> round(found.estimate, 6), found.share_differs
    (0.48, 0.5)
    """
    check_level(level)
    policies = tuple(map(label_text, policies))  # type: ignore[assignment]
    outcome, arm = _in_order(outcome, arm, policies)
    numbers = read_outcome(outcome)
    labels = encode(arm, "arm", numbers.size)
    names = np.array(labels.names, dtype=object)[labels.codes]
    lacking = [name for name in policies if name not in labels.names]
    if lacking or len(policies) != 2:
        raise InputError(
            f"policies: found no unit of {', '.join(lacking)}; needed two of "
            f"{', '.join(labels.names)}"
        )
    randomized = np.isin(names, policies) & ~np.isnan(numbers)
    differs = _text(assigned_a, names.size) != _text(assigned_b, names.size)
    used = randomized & differs
    if not used.any():
        raise EstimationError(
            f"the policies {policies[0]} and {policies[1]} give the same arm to all "
            f"{int(randomized.sum()):,} units: their difference is 0 by construction"
        )
    effects = ate(
        numbers[used],
        names[used],
        control=policies[1],
        strata=_picked(strata, "strata", used),
        cluster=_picked(cluster, "cluster", used),
        se=se,
        level=level,
    )
    among = effects[policies[0]]
    return _whole(among, policies, randomized, used, effects.provenance)


def _in_order(outcome: Any, arm: Any, policies: tuple[str, str]) -> tuple[Any, Any]:
    """Outcome and arm, also where they come in the former order, the arm first."""
    first, second = _labels(outcome), _labels(arm)
    named = [
        labels is not None and set(policies) <= set(labels.names) for labels in (first, second)
    ]
    if first is None or first.levels.dtype.kind != "O" or named != [True, False]:
        return outcome, arm
    warnings.warn(
        "paired_contrast: the outcome now comes first, then the arm (outcome, arm, assigned_a, "
        "assigned_b)",
        DeprecationWarning,
        stacklevel=5,
    )
    return arm, outcome


def _labels(values: Any) -> Labels | None:
    try:
        return encode(values, "arm")
    except InputError:
        return None


def _picked(values: Any, name: str, used: Any) -> Any:
    """Labels of the units that are used."""
    if values is None:
        return None
    labels = encode(values, name, used.size)
    return labels.levels[labels.codes[used]]


def _text(assigned: Any, n_units: int) -> Any:
    labels = encode(assigned, "assigned arms", n_units)
    return np.array(labels.names, dtype=object)[labels.codes]


def _whole(
    among: Estimate, policies: tuple[str, str], randomized: Any, used: Any, origin: Provenance
) -> PairedContrast:
    """The difference per unit of the population from that among those who differ."""
    d, s, df = among.estimate, among.std_error, among.df
    if isinstance(d, NotEstimable) or isinstance(s, NotEstimable) or isinstance(df, NotEstimable):
        raise EstimationError(f"{' minus '.join(policies)}: {among.estimate}; {among.std_error}")
    n_units = int(randomized.sum())
    share = int(used.sum()) / n_units
    error = float(np.sqrt(share**2 * s**2 + d**2 * share * (1 - share) / n_units))
    low, high = interval(share * d, error, among.level, df)
    return PairedContrast(
        name=" minus ".join(policies),
        among_differing=among,
        share_differs=share,
        estimate=share * d,
        std_error=error,
        conf_low=low,
        conf_high=high,
        p_value=p_value(share * d, error, df),
        n_units=n_units,
        n_used=int(used.sum()),
        level=among.level,
        provenance=Provenance(f"paired by {origin.method}", origin.data_hash),
    )
