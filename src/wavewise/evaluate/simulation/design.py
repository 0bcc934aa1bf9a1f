"""The design of a simulated experiment: arms, clusters, waves, rule."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.decide.rules import Rule, rule_named
from wavewise.decide.wave_shares import shares
from wavewise.errors import InputError
from wavewise.estimate.binomial.priors import BinomialPrior
from wavewise.shared.results import FloatArray, IntArray, Record, hash_arrays, read_only

__all__ = ["Design"]

_FLAT = (1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Design(Record):
    """What an experiment would do: whom it assigns to what, wave by wave.

    Parameters
    ----------
    arms : int or sequence of str
        How many arms compete, or their names; the control is not among them.
    waves : sequence of int
        Units of each wave, the control's included.
    rule : str
        By which the shares after the first wave follow, as for `ww.decide.shares`.
    clusters : (n_clusters,) array of int, optional
        Units of each cluster, such as a school. Arms are dealt within clusters, whose effects the
        estimator knows (hierarchical binomial). Without them outcomes are independent
        (beta-binomial).
    control_share : float
        Share of the control, which has no trials in the estimator.
    trials : int
        Trials of one unit in a wave.
    floor : float
        Least share of every arm.
    options : dict
        Of the rule: `temper`, `uniform_share`, `beta`, `fixed`.
    prior : BinomialPrior or (a, b), optional
        Of the estimator: by default the study's for clusters, else uniform.
    name : str

    Raises
    ------
    InputError
        A design that cannot be run, with the nearest one that can.

    Notes
    -----
    Units of a wave are drawn from the clusters without replacement, from those that earlier waves
    left where they suffice for all waves; else each wave anew; and in proportion to the sizes where
    even one wave is larger than all clusters together.

    The first wave has equal shares (or the fixed ones). Counts in each cluster and of each arm are
    within one unit of what the shares say, by the rounding of `ww.randomize.assign`.

    Examples
    --------
    >>> design = Design(arms=3, waves=(200, 200), rule="exploration")
    >>> design.with_(rule="uniform").name, design.n_units
    ('equal shares, 200 + 200', 400)
    """

    arms: int | Sequence[str]
    waves: Sequence[int]
    rule: str = "exploration"
    clusters: npt.ArrayLike | None = None
    control_share: float = 0.0
    trials: int = 1
    floor: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    prior: BinomialPrior | tuple[float, float] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        self._set("waves", _waves(self.waves))
        self._set("arms", _names(self.arms))
        if self.clusters is not None:
            self._set("clusters", _sizes(self.clusters))
        self._check_sizes()
        if self.trials < 1 or self.trials != int(self.trials):
            raise InputError(f"trials: found {self.trials}; needed a whole number, 1 or more")
        # the rule, its options and the control's share, by the code that real waves go through
        equal = np.full(self.n_arms, 1 / self.n_arms)
        shares(
            equal,
            rule=self.rule,
            control_share=self.control_share,
            floor=self.floor,
            **self.options,
        )
        self._set("rule", rule_named(self.rule).name)
        self._check_prior()
        if not self.name:
            sizes = " + ".join(f"{n:,}" for n in self.waves)
            self._set("name", f"{self.rule_.label}, {sizes}")

    @property
    def n_arms(self) -> int:
        """Arms that compete."""
        return len(self.arm_names)

    @property
    def arm_names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.arms)  # type: ignore[arg-type]

    @property
    def n_units(self) -> int:
        """Units of all waves."""
        return int(sum(self.waves))

    @property
    def rule_(self) -> Rule:
        """The rule itself."""
        return rule_named(self.rule)

    @property
    def cluster_sizes(self) -> IntArray | None:
        """Units of each cluster."""
        return None if self.clusters is None else np.asarray(self.clusters, dtype=np.int64)

    @property
    def beta_prior(self) -> tuple[float, float]:
        """Of the beta-binomial estimator."""
        return self.prior if isinstance(self.prior, tuple) else _FLAT

    @property
    def binomial_prior(self) -> BinomialPrior:
        """Of the hierarchical estimator."""
        return self.prior if isinstance(self.prior, BinomialPrior) else BinomialPrior()

    def first_shares(self) -> FloatArray:
        """Shares of the first wave, the control last, (n_arms + 1,)."""
        from wavewise.decide.wave_shares import shares_of_many

        equal = np.full((1, self.n_arms), 1 / self.n_arms)
        found = shares_of_many(
            equal, self.rule_, self.control_share, floor=self.floor, **self.options
        )
        return np.asarray(found[0])

    def with_(self, **changes: Any) -> "Design":
        """The same design but for what is given; its name is made anew unless it is given."""
        known = {item.name for item in fields(self)}
        foreign = sorted(changes.keys() - known)
        if foreign:
            raise InputError(
                f"with_: found {foreign[0]!r}; needed one of {', '.join(sorted(known))}"
            )
        if "rule" in changes and "options" not in changes:
            changes["options"] = {}
        return replace(self, **{"name": "", **changes})

    def to_dict(self) -> dict[str, Any]:
        """The design as plain values, for JSON."""
        sizes = self.cluster_sizes
        return {
            "name": self.name,
            "arms": list(self.arm_names),
            "waves": list(self.waves),
            "rule": self.rule,
            "options": {key: np.asarray(value).tolist() for key, value in self.options.items()},
            "clusters": None if sizes is None else sizes.tolist(),
            "control_share": self.control_share,
            "trials": self.trials,
            "floor": self.floor,
            "prior": str(self.prior) if self.prior is not None else None,
        }

    def hash(self) -> str:
        """SHA-256 of all but the name."""
        values = {key: str(value) for key, value in self.to_dict().items() if key != "name"}
        return hash_arrays(**{key: [value] for key, value in values.items()})

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_sizes(self) -> None:
        needed = self.n_arms + (self.control_share > 0)
        small = [n for n in self.waves if n < 2]
        if small:
            raise InputError(
                f"waves: found a wave of {small[0]}, which can teach nothing about {needed} arms; "
                f"needed waves of 2 units or more, the first of {needed} or more; merge it with "
                "its neighbour"
            )
        if self.waves[0] < needed:
            raise InputError(
                f"waves: found {self.waves[0]} units in the first wave for {needed} arms; needed a "
                f"unit an arm: take {self.waves[0]} arms or fewer, or {needed} units or more"
            )

    def _check_prior(self) -> None:
        if self.prior is None:
            return
        fits = BinomialPrior if self.clusters is not None else tuple
        if not isinstance(self.prior, fits):
            kind = "a BinomialPrior" if self.clusters is not None else "a pair (a, b)"
            raise InputError(f"prior: found {self.prior!r}; needed {kind} for this estimator")
        if (isinstance(self.prior, tuple) and not all(np.isfinite(self.prior))) or (
            isinstance(self.prior, tuple) and min(self.prior) <= 0
        ):
            raise InputError(
                f"prior: found {self.prior}; needed two numbers above 0, such as (1, 1)"
            )


def _waves(waves: Sequence[int]) -> tuple[int, ...]:
    given = np.atleast_1d(np.asarray(waves))
    if given.ndim != 1 or not given.size or (given != np.floor(given)).any():
        raise InputError(f"waves: found {waves}; needed whole numbers of units, one per wave")
    return tuple(int(n) for n in given)


def _names(arms: int | Sequence[str]) -> tuple[str, ...]:
    if isinstance(arms, int | np.integer):
        names: tuple[str, ...] = tuple(str(k + 1) for k in range(int(arms)))
    else:
        names = tuple(str(arm) for arm in arms)
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"arms: found {arms}; needed two or more that compete, with different names; for one "
            "arm and a control see ww.evaluate.power"
        )
    return names


def _sizes(clusters: npt.ArrayLike) -> IntArray:
    sizes = np.asarray(clusters)
    if sizes.ndim != 1 or not sizes.size or (sizes < 0).any() or (sizes != np.floor(sizes)).any():
        raise InputError(
            f"clusters: found shape {sizes.shape}; needed the units of each cluster, whole numbers "
            "of at least 0"
        )
    if not sizes.sum():
        raise InputError("clusters: found no units in any of them; needed at least one")
    found: IntArray = read_only(sizes, np.int64)
    return found
