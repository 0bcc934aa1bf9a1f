"""Causal forest: the effect of every arm for every unit, from randomized arms."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.estimate.forest.data import Training, check_options, covariates_tried, read_training
from wavewise.estimate.forest.fit import Candidate, Fit, Plan, fit_forest
from wavewise.estimate.forest.model import ForestModel, in_row_order
from wavewise.estimate.observational import may_be_estimated
from wavewise.estimate.provenance import Traced, UInt64Array, row_fingerprints, traced
from wavewise.shared.files import Source, from_archive, save_bytes, to_archive
from wavewise.shared.inputs import aligned
from wavewise.shared.renamed import renamed
from wavewise.shared.results import FloatArray, IntArray, Provenance, Result, hash_arrays, read_only

if TYPE_CHECKING:
    import polars as pl

__all__ = ["CausalForest", "causal_forest"]

Pairs = Literal["two-factor"]

# The latest prediction for many units, by trees and units: drawing, recording and evaluating a
# policy ask for the same one in turn, each time by a policy that was read anew.
_LATEST: dict[tuple[str, str], FloatArray] = {}
_MANY = 5_000


@dataclass(frozen=True, eq=False)
class CausalForest(Result, kind="causal forest"):
    """Effects of every arm against the control for every unit, and the trees that gave them.

    Made by `causal_forest`; arrays over arms are in the order of `arms`.

    Parameters
    ----------
    arms : tuple of str
        Names, the control left out, sorted.
    control : str
    covariates : tuple of str
        Names of what `effects` needs.
    n_units : int
        Units of training.
    n_missing : int
        Units left out since their outcome is missing; their effects are those of new units.
    n_trees : int
    min_arm_leaf : int
        Units of each arm that every leaf holds in the estimation half.
    tuning : tuple of Candidate
        What was tried, with the loss out of bag; empty where `min_arm_leaf` was given.
    kept : dict of str to float
        Share of the deviations from the average effects that is kept, part by part: its mean given
        the loss out of bag, uniform on [0, 1] before.
    fitted : dict of str to (float, float)
        The share with the least loss, without bounds, and its standard error: where effects do not
        differ it is 0 on average. Empty for forests of earlier versions.
    ate : (n_arms,) array of float
        Average effects, adjusted for covariates, not shrunk.
    averages : (n_arms,) array of float
        The same shrunk towards their mean over arms (empirical Bayes): what `effects` deviate from.
    effects_oob : (n_units, n_arms) array of float
        Effects of each training unit from trees that it was not in, in the order of the rows.
    dropped : tuple of str
        Arms left out for want of units; their units have effects of the other arms as new units.
    loss, loss_of_averages : float
        Mean squared residual out of bag with these effects, and with the averages alone, each
        unit left out of both.
    trained_rows : (n_units,) array of uint64
        Hashes of the rows, in their order: what a policy must not be judged on.
    provenance : Provenance
    """

    arms: tuple[str, ...]
    control: str
    covariates: tuple[str, ...]
    n_units: int
    n_trees: int
    min_arm_leaf: int
    tuning: tuple[Candidate, ...]
    kept: dict[str, float]
    fitted: dict[str, tuple[float, float]]
    ate: FloatArray
    averages: FloatArray
    effects_oob: FloatArray
    dropped: tuple[str, ...]
    loss: float
    loss_of_averages: float
    trained_rows: UInt64Array
    provenance: Provenance
    _model: ForestModel = field(repr=False)
    n_missing: int = 0

    @cached_property
    def std_error_oob(self) -> FloatArray:
        """Standard error of `effects_oob` by little bags, (n_units, n_arms); made on first use."""
        return read_only(self._model.std_error_oob())

    def effects(self, X_new: Any) -> Traced:
        """Effects of every arm for new units, (n_units, n_arms).

        Parameters
        ----------
        X_new : (n_units, n_covariates) array, mapping or frame
            As in training; a frame's covariates are found by name. Missing values go where training
            learned to send them, or with the larger child where it saw none. A text level that
            training did not see counts as missing.

        Raises
        ------
        InputError
            A covariate is absent, infinite or of another type; a wrong number of columns.
        """
        bins = self._model.binning.bins(X_new)
        if bins.shape[0] < _MANY:
            return traced(self._model.effects(bins), self.trained_rows)
        asked = (self._model.hash, hash_arrays(bins=bins))
        if asked not in _LATEST:
            found = self._model.effects(bins)
            _LATEST.clear()
            _LATEST[asked] = found
        return traced(_LATEST[asked], self.trained_rows)

    def std_error(self, X_new: Any) -> FloatArray:
        """Standard error of `effects(X_new)` by little bags, (n_units, n_arms)."""
        return read_only(self._model.std_error(self._model.binning.bins(X_new)))

    @cached_property
    def variable_importance(self) -> dict[str, float]:
        """Share of the units that splits on each covariate have sorted; sums to 1.

        Every split counts by the estimation units of its node, so that the first splits count most.
        A covariate with many values has more chances to be chosen; shares are no effects.
        """
        return dict(zip(self.covariates, self._model.importance().tolist(), strict=True))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything that `save` writes."""
        return content_hash(*self._contents())

    def to_bytes(self) -> bytes:
        """The forest as the bytes of a plain file, without pickled objects."""
        return file_bytes(*self._contents())

    def save(self, path: Source) -> str:
        """The forest as one plain file, without pickled objects; its hash.

        The file holds the trees and each training unit's effects, no covariate and no id.
        """
        save_bytes(path, self.to_bytes())
        return self.hash

    @classmethod
    def load(cls, path: Source) -> "CausalForest":
        """The forest that `save` wrote; it gives the same numbers to the last bit.

        Raises
        ------
        InputError
            Not such a file, of a later version, or changed since it was written.
        """
        return _from_contents(*read_file(path))

    def _frame(self) -> "pl.DataFrame":
        """One row per arm: average effect, spread of effects out of bag, mean standard error."""
        import polars as pl

        low, middle, high = np.quantile(self.effects_oob, [0.1, 0.5, 0.9], axis=0)
        return pl.DataFrame(
            {
                "arm": list(self.arms),
                "ate": self.ate,
                "effect_low_tenth": low,
                "effect_median": middle,
                "effect_high_tenth": high,
                "mean_std_error": self.std_error_oob.mean(axis=0),
            }
        )

    def _facts(self) -> dict[str, Any]:
        return {
            **self._settings(),
            "ate": self.ate,
            "averages": self.averages,
            "variable_importance": self.variable_importance,
            "hash": self.hash,
        }

    def summary(self) -> str:
        """Table of the arms, what varies, a sentence, and what is assumed."""
        return forest_summary(self)

    def _settings(self) -> dict[str, Any]:
        return {
            "arms": list(self.arms),
            "control": self.control,
            "covariates": list(self.covariates),
            "n_units": self.n_units,
            "n_trees": self.n_trees,
            "min_arm_leaf": self.min_arm_leaf,
            "tuning": [vars(candidate) for candidate in self.tuning],
            "kept": self.kept,
            "dropped": list(self.dropped),
            "loss": self.loss,
            "loss_of_averages": self.loss_of_averages,
            **({"n_missing": self.n_missing} if self.n_missing else {}),
            **({"fitted": {k: list(v) for k, v in self.fitted.items()}} if self.fitted else {}),
        }

    def _state(self) -> dict[str, Any]:
        return dict(zip(("header", "arrays"), self._contents(), strict=True))

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> "CausalForest":
        return _from_contents(**state)

    def _contents(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Header and arrays of the file."""
        model = self._model
        header = self._settings() | {
            "binning": model.binning.to_json(),
            "provenance": self.provenance.to_dict(),
        }
        arrays = model.to_arrays() | {
            "effects_oob": self.effects_oob,
            "std_error_oob": self.std_error_oob,
            "trained_rows": self.trained_rows,
        }
        return header, arrays


@renamed(centre="residualize", n_tried="mtry")
@aligned("X", "arm", "outcome", "propensity", "cluster", "strata", "unit")
@may_be_estimated
def causal_forest(
    X: Any,
    arm: Any,
    outcome: Any,
    *,
    control: str,
    propensity: Any,
    rng: np.random.Generator,
    cluster: Any = None,
    strata: Any = None,
    unit: Any = None,
    n_trees: int = 2000,
    min_arm_leaf: int | None = None,
    shrink: bool = True,
    residualize: bool = True,
    pairs: Pairs | None = None,
    mtry: int | None = None,
    n_bins: int | None = None,
    drop_small_arms: bool = False,
    n_threads: int | None = None,
) -> CausalForest:
    """Effect tau_k(x) = E[Y(k) - Y(control) | X = x] of every arm k for every unit.

    Parameters
    ----------
    X : (n_units, n_covariates) array, mapping or frame
        Covariates measured before assignment: numbers (missing as NaN) and, in a mapping or frame,
        text (missing as None).
    arm : (n_units,) array
        Arm of each unit.
    outcome : (n_units,) array of float
    control : str
        The arm that effects are against.
    propensity : mapping of arm to share, (n_units, n_arms) array, or mapping of stratum
        Probabilities with which arms were drawn, the control's among them. A mapping or frame may
        hold (n_units,) arrays; a plain array has a column per arm, in the order of the sorted
        names. With `strata`, a mapping of stratum to such a mapping of shares.
    rng : numpy.random.Generator
        Gives the one seed from which all draws follow.
    cluster : (n_units,) array, optional
        What was randomized together; never divided between a tree's halves.
    strata : (n_units,) array, optional
        Only to look propensities up.
    unit : (n_units,) array, optional
        Ids. Draws then follow the ids alone; without them they follow the contents of the rows, and
        rows that are equal in everything are told apart by their place.
    n_trees : int
        Rounded up to a multiple of 4.
    min_arm_leaf : int, optional
        Units of each arm that every leaf holds in the estimation half; by default chosen by the
        loss out of bag.
    shrink : bool
        Whether deviations from the average effects are shrunk by as much as the loss out of bag
        asks for.
    residualize : bool
        Whether the outcome's mean given covariates, by a forest out of bag, is taken off first.
    pairs : {"two-factor"}, optional
        Arms named "first+second" are ordered pairs of messages: splits look for differences in the
        effect of a message over all its pairs, and what is due to a first message, a second, and
        the pair itself is shrunk apart.
    mtry : int, optional
        Covariates tried at a node; by default all up to 21, else the root of their number plus 20.
    n_bins : int, optional
        Bins of a covariate beside that of missing values, 2 to 255; by default 255 for two arms
        down to 32 for 17 and more.
    drop_small_arms : bool
        Whether arms with too few units for an honest split are left out instead of refused.
    n_threads : int, optional
        Threads; results do not depend on it.

    Returns
    -------
    CausalForest

    Raises
    ------
    InputError
        Lengths that differ; constant, all-missing or infinite covariates; a propensity that is not
        above 0 or does not match the arms; an outcome that is missing; a wrong option.
    EstimationError
        Arms with too few units; an outcome that does not vary.

    Notes
    -----
    Half of the units (or clusters) is drawn for each group of two trees, half of those by tree to
    choose the splits, the other half to estimate (honesty). Within leaf L the effect is the
    difference of the arms' mean centred outcomes, weighted by 1 / propensity where propensities
    vary; the forest's effect is the mean over trees. Splits maximize the gradient criterion of
    Athey, Tibshirani and Wager (2019). See the method's page for the criterion, for what is
    tuned, and for where intervals fail.

    References
    ----------
    Wager and Athey (2018), *Journal of the American Statistical Association* 113. Athey, Tibshirani
    and Wager (2019), *Annals of Statistics* 47, 1148-1178. Nie and Wager (2021), *Biometrika* 108,
    eq. 4: the loss.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> X = rng.normal(size=(2000, 3))
    >>> arm = np.array(["control", "sms"])[rng.integers(0, 2, 2000)]
    >>> outcome = X[:, 1] + (arm == "sms") * np.maximum(X[:, 0], 0) + rng.normal(size=2000)
    >>> shares = {"control": 0.5, "sms": 0.5}
    >>> forest = causal_forest(
    ...     X, arm, outcome, control="control", propensity=shares, n_trees=200, rng=rng
    ... )
    >>> low, high = forest.effects([[-1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])[:, 0]
    >>> bool(low < 0.5 and high > 1.0)
    True
    """
    check_options(n_trees, min_arm_leaf, pairs, n_bins, n_threads)
    training = read_training(
        X,
        arm,
        outcome,
        control=control,
        propensity=propensity,
        strata=strata,
        cluster=cluster,
        unit=unit,
        n_bins=n_bins,
        drop_small_arms=drop_small_arms,
    )
    factor = pair_factors(training.arms) if pairs else None
    seed = int(rng.integers(0, 2**63))
    plan = Plan(
        n_groups=2 * -(-n_trees // 4),
        min_arm_leaf=min_arm_leaf,
        n_tried=covariates_tried(mtry, training.bins.shape[1]),
        shrink=shrink,
        centre=residualize,
        seed=seed,
        n_threads=n_threads,
    )
    rows = read_only(row_fingerprints(X, arm, outcome))
    return _result(training, fit_forest(training, plan, factor), plan, pairs, rows)


def _result(
    training: Training, fit: Fit, plan: Plan, pairs: str | None, rows: UInt64Array
) -> CausalForest:
    others = training.arms[1:]
    arms = tuple(sorted(others))
    position = np.array([others.index(name) for name in arms])
    model = ForestModel(
        fit.trees, training.binning, fit.shrinkage, position, plan.n_threads, training
    )
    options = [
        f"{2 * plan.n_groups} trees",
        "two-factor pairs" if pairs else "",
        "" if plan.centre else "not centred",
        "" if plan.shrink else "not shrunk",
        "clusters" if training.clustered else "",
    ]
    return CausalForest(
        arms=arms,
        control=training.arms[0],
        covariates=training.binning.names,
        n_units=training.n_units,
        n_trees=2 * plan.n_groups,
        min_arm_leaf=fit.min_arm_leaf,
        tuning=fit.tuning,
        kept=fit.shrinkage.parts,
        fitted=fit.shrinkage.fitted,
        ate=read_only(fit.shrinkage.ate[position]),
        averages=read_only(fit.shrinkage.averages[position]),
        effects_oob=read_only(in_row_order(training, fit.effects_oob[:, position], model.effects)),
        n_missing=int(training.silent.sum()),
        dropped=training.dropped,
        loss=fit.shrinkage.loss,
        loss_of_averages=fit.shrinkage.loss_of_averages,
        trained_rows=rows,
        provenance=Provenance(
            method="causal forest, " + ", ".join(option for option in options if option),
            data_hash=training.data_hash,
            seed=plan.seed,
        ),
        _model=model,
    )


def _from_contents(header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> CausalForest:
    model = ForestModel.from_parts(header, arrays)
    forest = CausalForest(
        arms=tuple(header["arms"]),
        control=header["control"],
        covariates=tuple(header["covariates"]),
        n_units=header["n_units"],
        n_trees=header["n_trees"],
        min_arm_leaf=header["min_arm_leaf"],
        tuning=tuple(Candidate(**row) for row in header["tuning"]),
        kept=header["kept"],
        fitted=model.shrinkage.fitted,
        ate=read_only(model.shrinkage.ate[model.position]),
        averages=read_only(model.shrinkage.averages[model.position]),
        effects_oob=read_only(arrays["effects_oob"]),
        dropped=tuple(header["dropped"]),
        loss=header["loss"],
        loss_of_averages=header["loss_of_averages"],
        trained_rows=read_only(arrays["trained_rows"]),
        provenance=Provenance(**header["provenance"]),
        n_missing=header.get("n_missing", 0),
        _model=model,
    )
    vars(forest)["std_error_oob"] = read_only(arrays["std_error_oob"])  # what was stored
    return forest


# A forest as one plain file: arrays and a JSON header in numpy's zip format, nothing pickled.

FORMAT = "wavewise causal forest"
VERSION = 2  # 1 had no shrunk averages
_NO_FOREST = "forest file: found what cannot be read; needed a file that CausalForest.save wrote"


def content_hash(header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> str:
    """SHA-256 of everything that the file holds."""
    return hash_arrays(header=[json.dumps(header, sort_keys=True)], **arrays)


def file_bytes(header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """Header and arrays as a file, with their hash."""
    text = {
        "format": FORMAT,
        # a forest of version 1 is written as it was: a policy's hash is that of its bytes
        "version": VERSION if "fitted" in header else 1,
        "hash": content_hash(header, arrays),
        "header": header,
    }
    return to_archive("json", text, arrays, ascii_only=True)


def read_file(source: Source) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Header and arrays of a file, its hash checked."""
    outer, arrays = from_archive(source, "json", _NO_FOREST)
    if outer.get("format") != FORMAT or outer.get("version") not in (1, VERSION):
        raise InputError(
            f"forest file: found {outer.get('format')!r}, version {outer.get('version')!r}; needed "
            f"{FORMAT!r}, version {VERSION}"
        )
    if "header" not in outer or "hash" not in outer:
        raise InputError(_NO_FOREST)
    header: dict[str, Any] = outer["header"]
    actual = content_hash(header, arrays)
    if actual != outer["hash"]:
        raise InputError(
            f"forest file: found contents with hash {actual[:12]}; needed {outer['hash'][:12]}, as "
            "written; the file was changed or damaged: use a copy of the original"
        )
    return header, arrays


# Ordered pairs of messages as two factors: names such as ``teacher+peers``.


def pair_factors(arms: tuple[str, ...]) -> IntArray:
    """Margins of each arm's first and second message, (2, n_arms); the control's are not used.

    First messages are numbered by the place of their first arm, second messages after them.
    """
    pairs = [tuple(name.split("+")) for name in arms[1:]]
    wrong = [name for name, pair in zip(arms[1:], pairs, strict=True) if len(pair) != 2]
    if wrong:
        raise InputError(
            f"pairs: found arms {', '.join(map(repr, wrong))}; needed every arm but the control "
            "named like 'first+second'; rename them, or leave pairs out"
        )
    factor = np.zeros((2, len(arms)), np.int64)
    n_margins = 0
    for which in range(2):
        known: dict[str, int] = {}
        for k, pair in enumerate(pairs):
            factor[which, k + 1] = known.setdefault(pair[which], n_margins + len(known))
        n_margins += len(known)
    return factor


# The forest in words and a table.

_ASSUMED = (
    "Assumed: arms were drawn with the propensities given, and no unit's outcome depends on "
    "another's arm. Standard errors are for one unit at a time and leave the forest's bias out: "
    "effects are smoothed over neighbouring units, so intervals cover less than they say where "
    "effects change fast. Units picked for large effects need fresh data."
)


def forest_summary(forest: "CausalForest") -> str:
    """Table of the arms, what varies, and what is assumed."""
    width = max(3, *(len(name) for name in forest.arms))
    low, high = np.quantile(forest.effects_oob, [0.1, 0.9], axis=0)
    lines = [f"{'arm':<{width}}  average effect  middle 80% of units"]
    lines += [
        f"{name:<{width}}  {forest.ate[k]:>14.4g}  {low[k]:.4g} to {high[k]:.4g}"
        for k, name in enumerate(forest.arms)
    ]
    return "\n".join([*lines, "", _varies(forest), _grown(forest), _most(forest), _ASSUMED])


# Standard errors of a fitted share above which a difference is said to be found: 5 %, one-sided,
# where every pair of units that inform each other enters twice.
_FOUND = 1.645 * 2**0.5


def _varies(forest: "CausalForest") -> str:
    found = [n for n, (share, error) in forest.fitted.items() if share > _FOUND * error]
    parts = ", ".join(f"{share:.0%} of what is due to {n}" for n, share in forest.kept.items())
    gain = 1 - forest.loss / forest.loss_of_averages
    kept = (
        f"Of the forest's differences between units, {parts} was kept; with them the squared error "
        f"out of bag is {abs(gain):.2%} {'below' if gain >= 0 else 'above'} that of the average "
        f"effects. n = {forest.n_units:,}."
    )
    if found or (not forest.fitted and any(forest.kept.values())):
        return kept
    return (
        "No difference between units was found that predicts outcomes out of bag beyond chance: "
        f"the average effects may be all there is. {kept}"
    )


def _grown(forest: "CausalForest") -> str:
    how = "chosen out of bag" if forest.tuning else "given"
    dropped = f" Left out: {', '.join(forest.dropped)}." if forest.dropped else ""
    return (
        f"{forest.n_trees:,} trees; every leaf holds at least {forest.min_arm_leaf:,} units of "
        f"each arm ({how}).{dropped}"
    )


def _most(forest: "CausalForest") -> str:
    ranked = sorted(forest.variable_importance.items(), key=lambda item: -item[1])[:3]
    named = ", ".join(f"{name} ({share:.0%})" for name, share in ranked)
    return f"Splits sort units most by {named}."
