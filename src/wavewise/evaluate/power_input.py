"""What a power calculation is asked: each value checked, with the nearest that works."""

import math
from collections.abc import Sequence
from typing import Any

from wavewise.design.detectable import OutcomeLaw, design_effect
from wavewise.errors import InputError

__all__ = [
    "above_zero",
    "between",
    "check_counts",
    "check_effect",
    "cluster_effect",
    "mean_size",
    "one_of",
    "outcome_law",
    "part",
]


def outcome_law(
    rate: float | None,
    count: float | None,
    mean: float | None,
    std_dev: float | None,
    dispersion: float,
    trials: float,
) -> OutcomeLaw:
    """The outcome's law, from the one kind that was given."""
    given = [name for name, value in (("rate", rate), ("count", count), ("std_dev", std_dev))
             if value is not None]  # fmt: skip
    if len(given) != 1:
        raise InputError(
            f"outcome: found {' and '.join(given) or 'nothing'}; needed one of rate (binary), "
            "count, std_dev (continuous)"
        )
    if not (dispersion > 0 and trials >= 1):
        raise InputError(
            f"found dispersion {dispersion}, trials {trials}; needed a dispersion above 0 and one "
            "trial or more"
        )
    if rate is not None:
        checked = between("rate", rate, 0.0, 1.0, "such as 0.36 for 36 percent")
        return OutcomeLaw("binary", checked, dispersion=dispersion, trials=trials)
    if count is not None:
        return OutcomeLaw("count", above_zero("count", count), dispersion=dispersion)
    return OutcomeLaw("continuous", float(mean or 0.0), above_zero("std_dev", std_dev or 0.0))


def cluster_effect(
    sizes: float | Sequence[float] | None, cv: float, correlation: float, kept: float
) -> float:
    """Design effect of clusters that are randomized as a whole."""
    if sizes is None:
        if correlation:
            raise InputError(
                f"intracluster_correlation: found {correlation} without cluster_size; needed the "
                "size of the clusters that are randomized as a whole"
            )
        return 1.0
    if not 0 <= correlation <= 1 or cv < 0:
        raise InputError(
            f"found intracluster_correlation {correlation}, cluster_size_cv {cv}; needed a "
            "correlation in [0, 1] and a variation of at least 0"
        )
    if isinstance(sizes, int | float):
        return 1.0 + ((1.0 + cv**2) * above_zero("cluster_size", sizes) * kept - 1.0) * correlation
    return design_effect([above_zero("cluster_size", m) * kept for m in sizes], correlation)


def mean_size(sizes: float | Sequence[float] | None) -> float:
    """Mean size of the clusters; 1 without them."""
    if sizes is None:
        return 1.0
    return float(sizes) if isinstance(sizes, int | float) else sum(sizes) / len(sizes)


def check_counts(n_comparisons: int, n_pooled: int) -> None:
    """Refuse what is no whole number of comparisons or pooled arms."""
    for name, value in (("n_comparisons", n_comparisons), ("n_pooled", n_pooled)):
        if value < 1 or value != int(value):
            raise InputError(f"{name}: found {value}; needed a whole number, 1 or more")


def check_effect(effect: float, law: OutcomeLaw) -> None:
    """Refuse an effect that the outcome cannot have."""
    room = law.room(math.copysign(1.0, effect))
    if not math.isfinite(effect) or effect == 0 or abs(effect) > room:
        raise InputError(
            f"effect: found {effect}; needed a number other than 0 that leaves the mean possible: "
            f"from {law.mean:g} it can fall by {law.room(-1.0):g} and rise by {law.room(1.0):g}"
        )


def between(name: str, value: float, low: float, high: float, hint: str) -> float:
    """A number strictly between two bounds."""
    if not low < value < high:
        raise InputError(f"{name}: found {value}; needed a number between {low:g} and {high:g}, "
                         f"{hint}")  # fmt: skip
    return float(value)


def part(name: str, value: float) -> float:
    """A share of at least 0 and below 1."""
    if not 0 <= value < 1:
        raise InputError(f"{name}: found {value}; needed a share of at least 0 and below 1")
    return float(value)


def above_zero(name: str, value: float) -> float:
    """A finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name}: found {value}; needed a number above 0")
    return float(value)


def one_of(name: str, value: Any, known: tuple[Any, ...]) -> Any:
    """One of the known values."""
    if value not in known:
        raise InputError(f"{name}: found {value!r}; needed one of {', '.join(known)}")
    return value
