"""Effects for each unit from its nearest neighbours in every arm."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.matching.matcher import (
    Matcher,
    Means,
    Shrunk,
    Tuning,
    learn,
    make_matcher,
)
from wavewise.estimate.matching.search import Points, order_units
from wavewise.estimate.matching.space import Space, learn_space
from wavewise.estimate.observational import may_be_estimated
from wavewise.estimate.provenance import Traced, UInt64Array, row_fingerprints, traced
from wavewise.shared.files import Source, from_archive, save_bytes, to_archive
from wavewise.shared.inputs import aligned, encode, read_outcome, read_propensity
from wavewise.shared.labels import label_text
from wavewise.shared.results import (
    FloatArray,
    IntArray,
    Provenance,
    Result,
    StrArray,
    hash_arrays,
    read_only,
)

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Neighbours", "neighbours"]

# The latest prediction, by matcher and rows: drawing, recording and evaluating a policy ask for the
# same one in turn, each time by a policy that was read anew.
_LATEST: dict[tuple[str, str], tuple[FloatArray, FloatArray]] = {}
_LARGE = 20_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Neighbours(Result, kind="neighbours"):
    """Effects of each arm against the control, for each unit, from its nearest neighbours.

    Parameters
    ----------
    arms : tuple of str
        Arms, the control left out.
    control : str
    k : int
        Neighbours in each arm; an arm with no more units gives its mean. Where `k` was chosen or
        propensities vary: in the smallest arm, and the same share of the weight of the others.
    effects_oob, std_error_oob : array of float, shape (n_units, n_arms)
        Effects for the units that were learned from, each left out of its own neighbours, and
        standard errors.
    n_units : mapping of str to int
        Units with an outcome, by arm, the control included.
    n_missing : int
        Units without an outcome: they get effects, and are nobody's neighbours.
    tuning : Tuning or None
        How `k` was chosen; None where it was given.
    trained_rows : array of uint64, shape (n_units,)
        Hashes of the units, in their order; see `row_fingerprints`.
    provenance : Provenance
    """

    arms: tuple[str, ...]
    control: str
    k: int
    effects_oob: FloatArray
    std_error_oob: FloatArray
    n_units: Mapping[str, int]
    n_missing: int
    tuning: Tuning | None
    trained_rows: UInt64Array
    provenance: Provenance
    _matcher: Matcher
    _shrunk: Shrunk | None = None

    @property
    def covariates(self) -> tuple[str, ...]:
        """Covariates that new units need."""
        return self._matcher.space.names

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that decides the effects for new units."""
        return hash_arrays(file=np.frombuffer(self.to_bytes(), dtype=np.uint8))

    def effects(self, X: Any) -> Traced:
        """Effects for new units, shape (n_units, n_arms), in the order of `arms`.

        Raises
        ------
        InputError
            Where a covariate is lacking or of another kind.
        """
        return traced(self._predict(X)[0], self.trained_rows)

    def std_error(self, X: Any) -> FloatArray:
        """Standard errors of the effects for new units, shape (n_units, n_arms)."""
        return self._predict(X)[1]

    def _predict(self, X: Any) -> tuple[FloatArray, FloatArray]:
        matcher = self._matcher
        rows = matcher.space.embed(X)
        asked = (self.hash, hash_arrays(rows=rows))
        if asked not in _LATEST:
            amounts = matcher.amounts(np.array([self.k]), in_proportion=self._shrunk is not None)
            means = matcher.means(rows, amounts, one_by_one=self._shrunk is None)
            _LATEST.clear()
            _LATEST[asked] = _effects(means, self._shrunk)
        return _LATEST[asked]

    def _frame(self) -> pl.DataFrame:
        """One row per arm: how its effects are spread over the units."""
        effects = self.effects_oob
        columns = {
            "arm": list(self.arms),
            "mean_effect": effects.mean(axis=0),
            "sd_effect": effects.std(axis=0),
            "least_effect": effects.min(axis=0),
            "most_effect": effects.max(axis=0),
            "mean_std_error": self.std_error_oob.mean(axis=0),
            "n_units": [self.n_units[name] for name in self.arms],
        }
        return pl.DataFrame(columns, schema_overrides={"arm": pl.String})

    def _facts(self) -> dict[str, Any]:
        return {
            "control": self.control,
            "k": self.k,
            "covariates": self.covariates,
            "n_units": self.n_units,
            "n_missing": self.n_missing,
            "rows": self._frame(),
            "tuning": None if self.tuning is None else self.tuning.to_dict(),
        }

    def summary(self) -> str:
        """The spread of effects by arm, how k was chosen, and what is assumed."""
        chosen = "given" if self.tuning is None else "chosen by leave-one-out loss of the effects"
        others = " and as large a part of the others" if self._shrunk is not None else ""
        kept = (
            " Differences between units are shrunk by the noise that they are known to have, and "
            "averages towards each other."
            if self._shrunk is not None
            else ""
        )
        return (
            f"Effects against {self.control} from the {self.k:,} nearest units of "
            f"{'the smallest arm' if others else 'each arm'}{others} (k {chosen}).{kept}\n"
            f"{super().summary()}\n"
            "Units are alike where their standardized covariates are; the standard errors measure "
            "noise, not the difference between a unit and its neighbours."
        )

    def _state(self) -> dict[str, Any]:
        return {"file": self.to_bytes()}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> "Neighbours":
        return cls.load(BytesIO(state["file"]))

    def to_bytes(self) -> bytes:
        """The matcher as the bytes of a plain file (an npz archive without pickle)."""
        return matcher_bytes(self)

    def save(self, path: Source) -> None:
        """Write the matcher to a plain file.

        The file holds the covariates and outcomes of the units, without ids: keep it where such
        data may be kept.
        """
        save_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: Source) -> "Neighbours":
        """The matcher from its file; its effects are the same to the last bit.

        Raises
        ------
        InputError
            Where the file is not one, or was changed.
        """
        return cls(**read_matcher(path))


@aligned("X", "arm", "outcome", "propensity")
@may_be_estimated
def neighbours(
    X: Any,
    arm: Any,
    outcome: Any,
    *,
    control: Any,
    k: int | None = None,
    propensity: Any = None,
    n_tuning: int = _LARGE,
    rng: "Generator | None" = None,
) -> Neighbours:
    """Effects of each arm against the control for each unit, from its nearest neighbours.

    Parameters
    ----------
    X : array-like, shape (n_units, n_covariates); mapping; or frame
        Covariates: numbers, not-a-number where missing; or text categories.
    arm : array-like, shape (n_units,)
        Arm of each unit.
    outcome : array-like, shape (n_units,)
        Outcome; not-a-number where it is missing.
    control : label
        The arm that the others are compared with.
    k : int, optional
        Neighbours in each arm, 2 or more, whose means are compared as they are. By default a tenth,
        a fifth or a third of every arm, by leave-one-out loss of the effects, and differences
        between units are shrunk by the noise that they are known to have.
    propensity : mapping of arm to share, or array of shape (n_units,), optional
        Probability of the arm that was drawn. Where it varies within an arm, units are weighted by
        one over it. Without it arms must not depend on the covariates.
    n_tuning : int
        Units on which `k` is chosen, drawn at random; all where there are no more.
    rng : numpy.random.Generator
        Draws the units on which `k` is chosen; not needed where all are used or `k` is given.

    Returns
    -------
    Neighbours

    Raises
    ------
    InputError
        Where arrays do not fit together, or covariates are constant, missing for all, infinite, or
        text with many categories: all are named. Where arms depend on covariates and `propensity`
        is not given.
    EstimationError
        Where the control or an arm has fewer than two units with an outcome.

    Notes
    -----
    ``tau_a(x) = mean of Y over the k units of arm a nearest to x, less the same for the control``.
    Distances are Euclidean over standardized covariates; where several units tie at the last
    distance, all enter with an equal part of what is left of ``k``. The search is exact. Where
    propensities vary, means are weighted by one over them and taken over the same share of the
    weight of every arm, so that all arms' neighbours fill the same ball.

    The variance of each mean is ``S2 sum w**2`` with ``S2`` the neighbours' variance, to which one
    unit with the variance of the whole arm is added, so that equal outcomes do not make a
    certainty. It leaves out the bias from neighbours that differ from ``x``: intervals are honest
    where effects change little over the neighbourhood.

    References
    ----------
    Stone (1977), *Consistent nonparametric regression*; Abadie and Imbens (2006), on the bias of
    matching; Nie and Wager (2021) on choosing by a loss of the effects.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x = rng.integers(0, 2, 4000)
    >>> arm = np.where(rng.random(4000) < 0.5, "sms", "control")
    >>> y = rng.random(4000) < 0.2 + 0.3 * x * (arm == "sms")
    >>> found = neighbours({"active": x}, arm, y, control="control", k=200)
    >>> bool(abs(found.effects({"active": [0, 1]})[:, 0] - [0, 0.3]).max() < 0.05)
    True
    """
    _check_k(k)
    space = learn_space(X)
    rows = space.embed(X)
    numbers = read_outcome(outcome, n_units=rows.shape[0])
    names, codes = _arms(arm, label_text(control), numbers)
    present = ~np.isnan(numbers)
    counts = np.bincount(codes[present], minlength=len(names))
    drawn = _propensity(propensity, names, codes, numbers.size, counts)
    if propensity is None:
        _check_balance(space, rows[present], codes[present], names)
    spread = [np.ptp(drawn[(codes == a) & present]) for a in range(len(names))]
    weight = 1.0 / drawn if max(spread) > 1e-9 else None
    values = numbers.copy()
    if k is None:
        values[present] = _residuals(space, rows[present], numbers[present])
    matcher, sample = make_matcher(space, rows, codes, values, len(names), weight)
    tuning = shrunk = None
    change: FloatArray | float = 0.0
    if k is None:
        units = _tuning_units(rows, numbers, codes, n_tuning, rng)
        learned = learn(matcher, sample, units, drawn)
        k, tuning, shrunk, change = learned.k, learned.tuning, learned.shrunk, learned.change
    amounts = matcher.amounts(np.array([k]), in_proportion=shrunk is not None)
    effects, std_error = _effects(matcher.means_without(sample, amounts), shrunk, change)
    prints = row_fingerprints(X, arm, numbers)
    method = f"nearest neighbours, k = {k}" + ("" if tuning is None else ", chosen by loss, shrunk")
    return Neighbours(
        arms=names[1:],
        control=names[0],
        k=int(k),
        effects_oob=effects,
        std_error_oob=std_error,
        n_units=dict(zip(names, matcher.counts.tolist(), strict=True)),
        n_missing=int((~present).sum()),
        tuning=tuning,
        trained_rows=read_only(prints),
        provenance=Provenance(method, hash_arrays(rows=np.sort(prints))),
        _matcher=matcher,
        _shrunk=shrunk,
    )


def _residuals(space: Space, rows: FloatArray, outcome: FloatArray) -> FloatArray:
    """Outcomes less their linear prediction from the other units' (ridge, penalty 1)."""
    order = order_units(rows, outcome)  # sums must not depend on the order of rows
    design = ((rows - space.centre) * np.sqrt(space.weights))[order]
    design = np.column_stack([np.ones(order.size), design - design.mean(axis=0)])
    penalty = np.diag([0.0, *np.ones(design.shape[1] - 1)])
    inverse = np.linalg.inv(design.T @ design + penalty)
    leverage = np.minimum(((design @ inverse) * design).sum(axis=1), 0.99)
    left = np.empty(order.size)
    fitted = design @ (inverse @ (design.T @ outcome[order]))
    left[order] = (outcome[order] - fitted) / (1.0 - leverage)
    return left


def _effects(
    means: Means, shrunk: Shrunk | None, change: FloatArray | float = 0.0
) -> tuple[FloatArray, FloatArray]:
    effects = means.mean[:, 1:, 0] - means.mean[:, :1, 0]
    if shrunk is not None:
        errors = np.tile(shrunk.std_error, (effects.shape[0], 1))
        return read_only(shrunk.effects(effects, change)), read_only(errors)
    variance = means.variance[:, 1:, 0] + means.variance[:, :1, 0]
    return read_only(effects), read_only(np.sqrt(variance))


_IMBALANCE, _GROUPS = 1e-6, 10  # size of the test over all covariates; groups of one of them


def _check_balance(space: Space, rows: FloatArray, codes: IntArray, names: tuple[str, ...]) -> None:
    """An error where arms depend on covariates, so that one share per arm cannot be right."""
    from scipy import special

    owners = [c.name for c in space.covariates for _ in c.weights]
    counts = np.bincount(codes, minlength=len(names))
    worst, where = 1.0, ""
    for column, owner in zip(rows.T, owners, strict=True):
        cuts = np.unique(np.quantile(column, np.arange(1, _GROUPS) / _GROUPS))
        group = np.searchsorted(cuts, column, side="left")
        table = np.bincount(group * len(names) + codes, minlength=(cuts.size + 1) * len(names))
        table = table.reshape(-1, len(names)).astype(np.float64)
        table = table[table.sum(axis=1) > 0]
        expected = table.sum(axis=1, keepdims=True) * counts / codes.size
        statistic = float(((table - expected) ** 2 / expected).sum())
        p_value = special.chdtrc(max((len(table) - 1) * (len(names) - 1), 1), statistic)
        if p_value < worst:
            worst, where = float(p_value), owner
    if worst * len(owners) < _IMBALANCE:
        raise InputError(
            f"propensity: found none, while shares of the arms differ by '{where}' beyond chance; "
            "needed the probability with which each unit's arm was drawn, or a share for each arm "
            "if all units had the same"
        )


def _check_k(k: object) -> None:
    if k is not None and (isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 2):
        raise InputError(
            f"k: found {k!r}; needed a whole number of 2 or more, or None to choose it"
        )


def _arms(arm: Any, control: str, outcome: FloatArray) -> tuple[tuple[str, ...], IntArray]:
    """Names with the control first, codes into them; every arm with units to match."""
    labels = encode(arm, "arm", outcome.size)
    if control not in labels.names or len(labels.names) < 2:
        raise InputError(
            f"arm: found {', '.join(labels.names[:20])}; needed the control '{control}' and at "
            "least one other arm"
        )
    names = (control, *(name for name in labels.names if name != control))
    codes = np.array([names.index(name) for name in labels.names])[labels.codes]
    counts = np.bincount(codes[~np.isnan(outcome)], minlength=len(names))
    few = [f"'{name}' {count}" for name, count in zip(names, counts, strict=True) if count < 2]
    if few:
        raise EstimationError(
            f"arm: found too few units with an outcome in {', '.join(few)}; needed 2 or more in "
            "each; leave the arm out"
        )
    return names, codes.astype(np.int64)


def _propensity(
    propensity: Any, names: tuple[str, ...], codes: IntArray, n_units: int, counts: IntArray
) -> FloatArray:
    if propensity is None:
        return np.asarray((counts / counts.sum())[codes])
    drawn = read_propensity(propensity, names, n_units)
    if drawn.ndim == 2:
        drawn = drawn[np.arange(n_units), codes]
    if not ((drawn > 0) & (drawn <= 1)).all():
        raise InputError(
            "propensity: found values missing or outside (0, 1]; needed each unit's "
            f"probability of the arm that was drawn, shape ({n_units},), or a share for each arm"
        )
    return drawn


def _tuning_units(
    rows: FloatArray, outcome: FloatArray, codes: IntArray, n_tuning: int, rng: "Generator | None"
) -> IntArray:
    """Units drawn from those with an outcome, in an order that is free of the order of rows."""
    with_outcome = np.flatnonzero(~np.isnan(outcome))
    order = with_outcome[
        order_units(np.column_stack([codes, rows])[with_outcome], outcome[with_outcome])
    ]
    if order.size <= n_tuning:
        return order
    if rng is None:
        raise InputError(
            f"rng: found none; needed a numpy.random.Generator to draw {n_tuning:,} of "
            f"{order.size:,} units on which k is chosen; or give k"
        )
    drawn: StrArray | IntArray = rng.choice(order.size, size=n_tuning, replace=False)
    return np.asarray(order[np.sort(drawn)], dtype=np.int64)


# The matcher's file: an npz archive of plain arrays and one JSON text, with its own hash.

_KIND = "wavewise neighbours 1"
_SHRUNK = "wavewise neighbours 2"  # with what is kept of differences, or with weights
_OF_SHRUNK = ("averages", "centre", "std_error", "keep")
_ARRAYS = ("effects_oob", "std_error_oob", "trained_rows")


def matcher_bytes(result: Neighbours) -> bytes:
    """The matcher as a file, with the hash of its arrays."""
    matcher = result._matcher
    arrays = {name: getattr(result, name) for name in _ARRAYS}
    for number, points in enumerate(matcher.points):
        arrays |= {f"rows_{number}": points.rows, f"units_{number}": points.units}
    arrays["counts"] = matcher.counts
    if result._shrunk is not None:
        arrays |= {f"shrunk_{name}": getattr(result._shrunk, name) for name in _OF_SHRUNK}
    text = {
        "kind": _KIND if result._shrunk is None and not matcher.weighted else _SHRUNK,
        "arms": list(result.arms),
        "control": result.control,
        "k": result.k,
        "n_units": dict(result.n_units),
        "n_missing": result.n_missing,
        "tuning": None if result.tuning is None else result.tuning.to_dict(),
        "provenance": result.provenance.to_dict(),
        "centre": matcher.centre,
        "space": matcher.space.to_dict(),
        "hash": hash_arrays(**arrays),
    }
    return to_archive("text", text, arrays, ascii_only=False)


def read_matcher(path: Source) -> dict[str, Any]:
    """Fields of a matcher from its file."""
    text, arrays = from_archive(
        path, "text", "the file is not a matcher's; needed one that `save` wrote"
    )
    if text.get("kind") not in (_KIND, _SHRUNK) or hash_arrays(**arrays) != text.get("hash"):
        raise InputError(
            f"the file is of kind {text.get('kind')!r} or was changed since it was written; needed "
            f"an unchanged file of kind {_KIND!r} or {_SHRUNK!r}"
        )
    return _fields(text, arrays)


def _fields(text: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    nothing = np.empty(0, dtype=np.int64)
    points = tuple(
        Points(arrays[f"rows_{n}"], arrays[f"units_{n}"], nothing)
        for n in range(len(text["arms"]) + 1)
    )
    space = Space.from_dict(text["space"])
    tuning = text["tuning"]
    return {
        "arms": tuple(text["arms"]),
        "control": text["control"],
        "k": text["k"],
        "n_units": text["n_units"],
        "n_missing": text["n_missing"],
        "tuning": None if tuning is None else _tuning(tuning),
        "provenance": Provenance(**text["provenance"]),
        "_matcher": Matcher(space, points, arrays["counts"], text["centre"]),
        "_shrunk": Shrunk(**{name: arrays[f"shrunk_{name}"] for name in _OF_SHRUNK})
        if "shrunk_keep" in arrays
        else None,
        **{name: read_only(arrays[name]) for name in _ARRAYS},
    }


def _tuning(row: dict[str, Any]) -> Tuning:
    return Tuning(
        tuple(row["k"]), np.array(row["loss"]), np.array(row["std_error"]), row["n_units"]
    )
