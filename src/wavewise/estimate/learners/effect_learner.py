"""Effects of every arm for every unit by several learners, weighted by how well they predict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError
from wavewise.estimate.forest.causal_forest import CausalForest, causal_forest, pair_factors
from wavewise.estimate.forest.data import Training, read_training
from wavewise.estimate.forest.engine import apply_trees, leaf_means
from wavewise.estimate.forest.shrinkage import (
    Averages,
    parts_of_arms,
    posterior_shares,
    shrunk_averages,
)
from wavewise.estimate.learners.crossfit import N_FOLDS, CrossFit, Sample, fold_of_parts
from wavewise.estimate.learners.quadratic import QuadraticBase, learn_base
from wavewise.estimate.learners.stack import FOREST, StackedModel, stack_weights
from wavewise.estimate.observational import may_be_estimated
from wavewise.estimate.provenance import Traced, UInt64Array, row_fingerprints, traced
from wavewise.shared.files import Source, from_archive, save_bytes, to_archive
from wavewise.shared.inputs import aligned, list_names
from wavewise.shared.results import FloatArray, IntArray, Provenance, Result, hash_arrays, read_only

if TYPE_CHECKING:
    import polars as pl

__all__ = ["EffectLearner", "effect_learner"]

_WORDS = {
    "forest": "forest",
    "r": "R-learner",
    "dr": "DR-learner",
    "t": "T-learner",
    "local-linear": "local-linear forest",
}
_KIND, _VERSION = "wavewise effect learner", 1
_NO_FILE = "effect learner: the file cannot be read; needed one that EffectLearner.save wrote"


@dataclass(frozen=True, eq=False, kw_only=True)
class EffectLearner(Result, kind="effect learner"):
    """Effects of every arm against the control for every unit, by a stack of learners.

    Made by `effect_learner`; arrays over arms are in the order of `arms`.

    Parameters
    ----------
    arms : tuple of str
        Names, the control left out, sorted.
    control : str
    n_units, n_missing : int
        Units of training; units left out since their outcome is missing.
    weights : mapping of learner to float
        Weights of the learners: none is negative, they sum to 1.
    losses : mapping of learner to float
        Mean squared residual of each learner on units left out: the R-loss.
    kept : mapping of learner to mapping of str to float
        Share of each learner's deviations from the average effects that is kept, part by part.
    loss, loss_of_averages, gain_std_error : float
        The same loss of the stack, and of the average effects alone; standard error of their
        difference.
    ate : (n_arms,) array of float
        Average effects: mean doubly robust scores, not shrunk.
    averages : (n_arms,) array of float
        The same shrunk towards their mean over arms (empirical Bayes): what `effects` deviate from.
    effects_oob : (n_units, n_arms) array of float
        Effects of each training unit by learners that did not use its outcome.
    dropped : tuple of str
        Arms left out for want of units.
    trained_rows : (n_units,) array of uint64
        Hashes of the rows, in their order: what a policy must not be judged on.
    provenance : Provenance
    """

    arms: tuple[str, ...]
    control: str
    n_units: int
    n_missing: int
    weights: Mapping[str, float]
    losses: Mapping[str, float]
    kept: Mapping[str, Mapping[str, float]]
    loss: float
    loss_of_averages: float
    gain_std_error: float
    ate: FloatArray
    averages: FloatArray
    effects_oob: FloatArray
    dropped: tuple[str, ...]
    trained_rows: UInt64Array
    provenance: Provenance
    _model: StackedModel = field(repr=False)
    _left_out: "LeftOut | None" = field(default=None, repr=False)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Covariates that new units need."""
        return self._model.base.space.names

    @cached_property
    def std_error_oob(self) -> FloatArray:
        """Spread of `effects_oob`, (n_units, n_arms); see `std_error`."""
        if self._left_out is None:
            raise InputError("effect learner: found no training units; load gives what was stored")
        return read_only(self._left_out.spread(self._model))

    def effects(self, X: Any) -> Traced:
        """Effects of every arm for new units, (n_units, n_arms).

        Parameters
        ----------
        X : (n_units, n_covariates) array, mapping or frame
            As in training; a frame's covariates are found by name.

        Raises
        ------
        InputError
            A covariate is absent, infinite or of another type.
        """
        return traced(self._model.effects(X), self.trained_rows)

    def std_error(self, X: Any) -> FloatArray:
        """Spread of the estimator at new units, (n_units, n_arms).

        ``sum_k w_k sqrt(s_k^2 + (tau_k - tau)^2)``: each learner's own spread, and how far it lies
        from the stack (Buckland, Burnham and Augustin 1997, eq. 9). It is no promise of coverage:
        a bias that all learners share is in no part of it.
        """
        return read_only(self._model.std_error(X))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything that `save` writes."""
        return _hash(*self._contents())

    def to_bytes(self) -> bytes:
        """The learners as the bytes of a plain file, without pickled objects."""
        header, arrays = self._contents()
        text = {"kind": _KIND, "version": _VERSION, "hash": self.hash, "header": header}
        return to_archive("json", text, arrays, ascii_only=True)

    def save(self, path: Source) -> str:
        """The learners as one plain file; its hash. It holds no covariate of a unit and no id."""
        save_bytes(path, self.to_bytes())
        return self.hash

    @classmethod
    def load(cls, path: Source) -> "EffectLearner":
        """The learners that `save` wrote; they give the same numbers to the last bit.

        Raises
        ------
        InputError
            Not such a file, of a later version, or changed since it was written.
        """
        text, arrays = from_archive(path, "json", _NO_FILE)
        found = (text.get("kind"), text.get("version"))
        if found != (_KIND, _VERSION) or _hash(text.get("header"), arrays) != text.get("hash"):
            raise InputError(
                f"effect learner: found a file of kind {found[0]!r}, version {found[1]!r}, or one "
                f"changed since it was written; needed an unchanged file of kind {_KIND!r}"
            )
        return cls._from_state({"header": text["header"], "arrays": arrays})

    def describe(self) -> str:
        """Which learners carry the effects, and by how much they predict."""
        carried = sorted(self.weights.items(), key=lambda item: -item[1])
        parts = ", ".join(f"{_WORDS[name]} {weight:.0%}" for name, weight in carried if weight > 0)
        gain = self.loss_of_averages - self.loss
        if gain <= 2 * self.gain_std_error:
            return (
                f"effects by {parts}; no difference between units was found that predicts the "
                "outcomes of units left out beyond chance"
            )
        share, error = (value / self.loss_of_averages for value in (gain, self.gain_std_error))
        return (
            f"effects by {parts}; on units left out their squared error is {share:.2%} (standard "
            f"error {error:.2%}) below that of the average effects"
        )

    def _frame(self) -> "pl.DataFrame":
        """One row per learner: weight, loss, and how far it is below that of the averages."""
        import polars as pl

        names = list(self.weights)
        losses = np.array([self.losses[name] for name in names])
        return pl.DataFrame(
            {
                "learner": [_WORDS[name] for name in names],
                "weight": list(self.weights.values()),
                "loss": losses,
                "below_averages": 1 - losses / self.loss_of_averages,
            }
        )

    def summary(self) -> str:
        """Average effects, the learners with their weights and losses, and what is assumed."""
        low, high = np.nanquantile(self.effects_oob, [0.1, 0.9], axis=0)
        width = max(3, *(len(name) for name in self.arms))
        lines = [f"{'arm':<{width}}  average effect  middle 80% of units"]
        lines += [
            f"{name:<{width}}  {self.ate[k]:>14.4g}  {low[k]:.4g} to {high[k]:.4g}"
            for k, name in enumerate(self.arms)
        ]
        said = self.describe()
        return "\n".join(
            [
                *lines,
                "",
                super().summary(),
                f"{said[0].upper()}{said[1:]}. n = {self.n_units:,}.",
                "Assumed: arms were drawn with the propensities given, and no unit's outcome "
                "depends on another's arm. The spread of the effects is that of the estimator; it "
                "leaves out what all learners get wrong alike. Units picked for large effects need "
                "fresh data.",
            ]
        )

    def _facts(self) -> dict[str, Any]:
        return {**self._settings(), "ate": self.ate, "averages": self.averages, "hash": self.hash}

    def _settings(self) -> dict[str, Any]:
        return {
            "arms": list(self.arms),
            "control": self.control,
            "covariates": list(self.covariates),
            "n_units": self.n_units,
            "n_missing": self.n_missing,
            "weights": dict(self.weights),
            "losses": dict(self.losses),
            "kept": {name: dict(shares) for name, shares in self.kept.items()},
            "loss": self.loss,
            "loss_of_averages": self.loss_of_averages,
            "gain_std_error": self.gain_std_error,
            "dropped": list(self.dropped),
        }

    def _contents(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Header and arrays of the file."""
        header = self._settings() | {
            "learners": list(self.weights),
            "space": self._model.base.space.to_dict(),
            "provenance": self.provenance.to_dict(),
        }
        names = ("effects_oob", "std_error_oob", "trained_rows")
        return header, self._model.to_arrays() | {name: getattr(self, name) for name in names}

    def _state(self) -> dict[str, Any]:
        return dict(zip(("header", "arrays"), self._contents(), strict=True))

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> "EffectLearner":
        header, arrays = state["header"], state["arrays"]
        model = StackedModel.from_parts(header, arrays)
        by_learner = ("weights", "losses", "kept")
        same = ("n_units", "n_missing", "loss", "loss_of_averages", "gain_std_error")
        held: dict[str, Any] = {name: header[name] for name in same}
        held |= {what: {k: header[what][k] for k in header["learners"]} for what in by_learner}
        found = cls(
            arms=tuple(header["arms"]),
            control=header["control"],
            dropped=tuple(header["dropped"]),
            ate=read_only(model.ate[model.position]),
            averages=read_only(model.averages[model.position]),
            effects_oob=read_only(arrays["effects_oob"]),
            trained_rows=read_only(arrays["trained_rows"]),
            provenance=Provenance(**header["provenance"]),
            _model=model,
            **held,
        )
        vars(found)["std_error_oob"] = read_only(arrays["std_error_oob"])  # what was stored
        return found


def _hash(header: Any, arrays: dict[str, npt.NDArray[Any]]) -> str:
    return hash_arrays(header=[json.dumps(header, sort_keys=True)], **arrays)


@aligned("X", "arm", "outcome", "propensity", "cluster", "strata", "unit")
@may_be_estimated
def effect_learner(
    X: Any,
    arm: Any,
    outcome: Any,
    *,
    control: str,
    propensity: Any,
    rng: np.random.Generator,
    learners: Sequence[str] = ("forest", "r", "dr", "t"),
    cluster: Any = None,
    strata: Any = None,
    unit: Any = None,
    n_trees: int = 2000,
    pairs: Literal["two-factor"] | None = None,
    drop_small_arms: bool = False,
    n_threads: int | None = None,
) -> EffectLearner:
    """Effect tau_k(x) = E[Y(k) - Y(control) | X = x] of every arm k by a stack of learners.

    Parameters
    ----------
    X : (n_units, n_covariates) array, mapping or frame
        Covariates measured before assignment: numbers (missing as NaN) and, in a mapping or frame,
        text (missing as None) with at most 100 levels.
    arm : (n_units,) array
        Arm of each unit.
    outcome : (n_units,) array of float
    control : str
        The arm that effects are against.
    propensity : mapping of arm to share, (n_units, n_arms) array, or mapping of stratum
        Probabilities with which arms were drawn, as in `causal_forest`.
    rng : numpy.random.Generator
        Gives the forest's seed; the other learners need no chance.
    learners : sequence of {"forest", "r", "dr", "t", "local-linear"}
        Learners that are weighed: the causal forest, and the R-, DR- and T-learner over a
        quadratic ridge base; by name also the forest with a local-linear correction.
    cluster : (n_units,) array, optional
        What was randomized together; never divided between folds.
    strata : (n_units,) array, optional
        Only to look propensities up.
    unit : (n_units,) array, optional
        Ids, as in `causal_forest`.
    n_trees : int
        Of the forest.
    pairs : {"two-factor"}, optional
        Arms named "first+second" are ordered pairs of messages: what is due to a first message, a
        second, and the pair itself is penalized and shrunk apart.
    drop_small_arms : bool
        Whether arms with too few units are left out instead of refused.
    n_threads : int, optional
        Threads of the forest.

    Returns
    -------
    EffectLearner

    Raises
    ------
    InputError
        Lengths that differ; constant, all-missing or infinite covariates, or text with many levels;
        a propensity that is not above 0 or does not match the arms; an unknown learner.
    EstimationError
        Arms with too few units; an outcome that does not vary.

    Notes
    -----
    With nuisances m and mu_k from other folds, each learner gives deviations d_k(x) from the
    average effects. Its share in [0, 1], and then the weights w of the learners, minimize the
    R-loss on units left out,
    ``sum_i (Y_i - m(x_i) - sum_k (1{A_i = k} - e_k) (ate_k + sum_l w_l d_lk(x_i)))^2``, plus
    ``4 sigma^2 |w - forest|^2``; weights are non-negative and sum to 1. See the method's page.

    References
    ----------
    Nie and Wager (2021), *Biometrika* 108, eq. 4 and 7: R-learner and stack. Friedberg, Tibshirani,
    Athey and Wager (2021), *JCGS* 30: local-linear forests. Kennedy (2023),
    *Electronic Journal of Statistics* 17: DR-learner. Kunzel, Sekhon, Bickel and Yu (2019), *PNAS*
    116: T-learner.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> X = rng.normal(size=(2000, 3))
    >>> arm = np.array(["control", "sms"])[rng.integers(0, 2, 2000)]
    >>> outcome = X[:, 1] + (arm == "sms") * X[:, 0] + rng.normal(size=2000)
    >>> shares = {"control": 0.5, "sms": 0.5}
    >>> found = effect_learner(
    ...     X, arm, outcome, control="control", propensity=shares, n_trees=200, rng=rng
    ... )
    >>> low, high = found.effects([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])[:, 0]
    >>> bool(abs(low + 1) < 0.3 and abs(high - 1) < 0.3 and found.weights["forest"] < 0.5)
    True
    """
    names = _checked(learners)
    drawn = {"control": control, "propensity": propensity, "strata": strata, "cluster": cluster}
    drawn |= {"unit": unit, "drop_small_arms": drop_small_arms}
    training = read_training(X, arm, outcome, n_bins=None, **drawn)
    factor = pair_factors(training.arms) if pairs else None
    seed = int(rng.integers(0, 2**63))
    forest = None
    if set(FOREST) & set(names):
        forest = causal_forest(
            X,
            arm,
            outcome,
            n_trees=n_trees,
            pairs=pairs,
            n_threads=n_threads,
            rng=np.random.default_rng(seed),
            **drawn,
        )
    base, features = learn_base(X, np.flatnonzero(training.kept)[training.order])
    sample = Sample(
        features=features,
        is_product=base.is_product,
        arm=training.arm,
        outcome=training.outcome,
        propensity=training.propensity,
        fold=fold_of_parts(training.part, training.arm),
        parts=parts_of_arms(factor, len(training.arms) - 1),
        part=training.part,
    )
    fit = CrossFit(sample)
    model, said = _fit(training, fit, base, forest, names)
    how = f"effect learner, {', '.join(_WORDS[name] for name in names)}"
    options = f"{', two-factor pairs' * bool(pairs)}{', clusters' * training.clustered}"
    provenance = Provenance(method=how + options, data_hash=training.data_hash, seed=seed)
    rows = row_fingerprints(X, arm, outcome)
    return _result(X, training, model, said, fit, provenance, rows)


def _checked(learners: Sequence[str]) -> tuple[str, ...]:
    names = (learners,) if isinstance(learners, str) else tuple(learners)
    unknown = [name for name in names if name not in _WORDS]
    if unknown or not names or len(set(names)) < len(names):
        raise InputError(
            f"learners: found {list_names([str(name) for name in names]) or 'none'}; needed one or "
            f"more of {list_names(list(_WORDS))}, each once"
        )
    return names


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Predictions for the training units by learners without them; units without outcome last."""

    row: IntArray  # (n_units,): Row of the caller's at which each stands.
    n_rows: int
    features: FloatArray
    averages: FloatArray  # (n_units, n_effects): Average effects without the unit's fold.
    deviations: FloatArray  # (n_learners, n_units, n_effects): Shrunk.

    def effects(self, model: StackedModel) -> FloatArray:
        """Effects by the stack, in the caller's order of rows."""
        found = self.averages + np.tensordot(model.weights, self.deviations, 1)
        return self._in_rows(found[:, model.position])

    def spread(self, model: StackedModel) -> FloatArray:
        """Spread of the stack, in the caller's order of rows."""
        trees = None
        if model.forest is not None:
            trees = model.to_internal(model.forest.std_error_oob[self.row])
        found = model.spreads(self.features, self.deviations, trees)
        return self._in_rows(found[:, model.position])

    def _in_rows(self, values: FloatArray) -> FloatArray:
        """Not-a-number where the arm was left out."""
        rows = np.full((self.n_rows, values.shape[1]), np.nan)
        rows[self.row] = values
        return rows


def _fit(
    training: Training, fit: CrossFit, base: QuadraticBase, forest: CausalForest | None, names: Any
) -> tuple[StackedModel, dict[str, Any]]:
    """The stacked model, and what the result says of it."""
    sample, arms = fit.sample, training.arms[1:]
    position = np.array([arms.index(name) for name in sorted(arms)])
    linear = {name: "dr" if name == "local-linear" else name for name in names if name != "forest"}
    fitted = tuple(dict.fromkeys(linear.values()))
    whole, trees, leaves, moved = fit.without(None, fitted), None, None, None
    if forest is not None:
        row = np.flatnonzero(training.kept)[training.order]
        trees = (forest.effects_oob - forest.averages)[row][:, np.argsort(position)]
    if forest is not None and "local-linear" in names:
        leaves, moved = _local_covariates(forest, training, base, sample.features)
    deviations, averages, target = _left_out(fit, linear, moved)
    covariance, spread, share = fit.spread()
    known = Averages(whole.ate, np.zeros((0, whole.ate.size)), covariance)
    shrunk = shrunk_averages(known, sample.parts)
    averages = averages @ shrunk.T
    treated = (sample.arm[:, None] == np.arange(1, sample.n_arms)) - sample.propensity[:, 1:]
    target = target - (treated * averages).sum(axis=1)
    unit = float(np.abs(target).max())  # fourth powers stay within floating point
    target, treated = target / unit, treated / unit
    kept, shrink = _shrink(sample, deviations, trees, target, treated)
    if forest is not None and trees is not None:
        deviations["forest"], kept["forest"] = trees, dict(forest.kept)
    z = np.stack([(treated * deviations[name]).sum(axis=1) for name in names], axis=1)
    weights = stack_weights(target, z, names.index("forest") if "forest" in names else None)
    model = StackedModel(
        learners=names,
        weights=weights,
        ate=whole.ate,
        averages=shrunk @ whole.ate,
        variance=np.diag(covariance),
        base=base,
        coefficients={
            name: _without_constant(whole.coefficients[of]) @ shrink[name]
            for name, of in linear.items()
        },
        forest=forest,
        leaf_means=leaves,
        spread=spread,
        spread_share=share,
        position=position,
    )
    gain = target**2 - (target - z @ weights) ** 2
    losses = unit**2 * ((target[:, None] - z) ** 2).mean(axis=0)
    said = {
        "weights": dict(zip(names, weights.tolist(), strict=True)),
        "losses": dict(zip(names, losses.tolist(), strict=True)),
        "kept": {name: kept[name] for name in names},
        "loss": unit**2 * float(((target - z @ weights) ** 2).mean()),
        "loss_of_averages": unit**2 * float((target**2).mean()),
        "gain_std_error": unit**2 * float(np.sqrt(fit.covariance_of_means(gain[:, None])[0, 0])),
    }
    return model, said | {"deviations": deviations, "averages": averages}


def _shrink(
    sample: Sample,
    deviations: dict[str, FloatArray],
    trees: FloatArray | None,
    target: FloatArray,
    treated: FloatArray,
) -> tuple[dict[str, dict[str, float]], dict[str, FloatArray]]:
    """Shares kept by learner, and as matrices; the deviations are shrunk where they stand."""
    kept, shrink, parts = {}, {}, sample.parts
    for name, found in deviations.items():
        z = np.stack([(treated * (found @ part)).sum(axis=1) for part in parts.values()], axis=1)
        whole = trees if name == "local-linear" and trees is not None else np.zeros_like(found)
        rest = target - (treated * whole).sum(axis=1)
        shares = posterior_shares(z, rest, sample.part)[2]
        kept[name] = dict(zip(parts, shares.tolist(), strict=True))
        shrink[name] = np.tensordot(shares, list(parts.values()), 1)
        deviations[name] = whole + found @ shrink[name]
    return kept, shrink


def _local_covariates(
    forest: CausalForest, training: Training, base: QuadraticBase, features: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean covariates by leaf; change of features from the forest's mean covariates out of bag."""
    trees, columns = forest._model.trees, features[:, 1 : base.low.size + 1]
    leaves = leaf_means(trees, np.ascontiguousarray(columns), training.bins)
    found = apply_trees(trees, leaves, training.bins, out_of_bag=True)
    return leaves, base.moved(features, found.mean)


def _without_constant(coefficients: FloatArray) -> FloatArray:
    """The same around the average effects: features but the constant have the mean 0."""
    return np.concatenate([np.zeros((1, coefficients.shape[1])), coefficients[1:]])


def _left_out(
    fit: CrossFit, linear: Mapping[str, str], moved: FloatArray | None
) -> tuple[dict[str, FloatArray], FloatArray, FloatArray]:
    """Deviations by learner, average effects and centred outcomes, all without the unit's fold."""
    sample = fit.sample
    shape = sample.arm.size, sample.n_arms - 1
    deviations = {name: np.empty(shape) for name in linear}
    averages, centred = np.empty(shape), np.empty(shape[0])
    for fold in range(N_FOLDS):
        rows = np.flatnonzero(sample.fold == fold)
        found = fit.without(fold, tuple(dict.fromkeys(linear.values())))
        for name, of in linear.items():
            z = moved if name == "local-linear" and moved is not None else sample.features
            deviations[name][rows] = z[rows, 1:] @ found.coefficients[of][1:]
        averages[rows] = found.ate
        centred[rows] = fit.scores(rows, found.mean)[1]
    return deviations, averages, centred


def _result(
    X: Any,
    training: Training,
    model: StackedModel,
    said: dict[str, Any],
    fit: CrossFit,
    provenance: Provenance,
    rows: UInt64Array,
) -> EffectLearner:
    deviations, averages = said.pop("deviations"), said.pop("averages")
    held = np.stack([deviations[name] for name in model.learners])
    features, row = fit.sample.features, np.flatnonzero(training.kept)[training.order]
    silent = np.flatnonzero(training.silent)
    if silent.size:  # no learner used them: they are as new units
        found = model.base.features(X)[silent]
        new = model.deviations(X)[:, silent]
        features, row = np.concatenate([features, found]), np.concatenate([row, silent])
        held = np.concatenate([held, new], axis=1)
        averages = np.concatenate([averages, np.tile(model.averages, (silent.size, 1))])
    left_out = LeftOut(row, training.kept.size, features, averages, held)
    return EffectLearner(
        arms=tuple(sorted(training.arms[1:])),
        control=training.arms[0],
        n_units=training.n_units,
        n_missing=silent.size,
        ate=read_only(model.ate[model.position]),
        averages=read_only(model.averages[model.position]),
        effects_oob=read_only(left_out.effects(model)),
        dropped=training.dropped,
        trained_rows=read_only(rows),
        provenance=provenance,
        _model=model,
        _left_out=left_out,
        **said,
    )
