"""Effects of arms against the control, and everything that follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from wavewise.errors import InputError
from wavewise.estimate.effects.covariance import ArmMeans, Precision
from wavewise.estimate.effects.table import EffectTable, Estimate, single_estimate
from wavewise.shared.results import FloatArray, NotEstimable, Provenance, read_only
from wavewise.shared.text_tables import Printed, text_table

__all__ = ["Effects", "contrast_table", "pair_margins", "table_lines"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Effects(EffectTable, kind="effects"):
    """Intent-to-treat effects of each arm against the control.

    The rows (`names`, `estimate`, `std_error`, `df`, `cov`, ...) are the arms other than the
    control; see `EffectTable`.

    Parameters
    ----------
    control : str
        The control.
    arms : tuple of str
        All arms, the control first.
    arm_counts : mapping of str to int
        Analysed units by arm.
    n_missing : mapping of str to int
        Units by arm left out since their outcome is missing.
    n_excluded : mapping of str to int
        Units by arm left out since their stratum compares nothing (one unit, or no link to the
        control).
    n_strata, n_clusters : int or None
        Strata with effects, clusters of the covariance.
    covariates : tuple of str
        Covariates that were adjusted for.
    interacted : bool
        Whether they were interacted with the arms (Lin 2013).
    weighted : bool
        Whether units were weighted.
    provenance : Provenance
        Method, data hash and version.
    planned : EffectTable or None
        Contrasts that were asked for with the estimates.
    """

    control: str
    arms: tuple[str, ...]
    arm_counts: Mapping[str, int]
    n_missing: Mapping[str, int]
    n_excluded: Mapping[str, int]
    n_strata: int | None
    n_clusters: int | None
    covariates: tuple[str, ...]
    interacted: bool
    weighted: bool
    provenance: Provenance
    planned: EffectTable | None = None
    _means: ArmMeans = field(repr=False)
    _precision: Precision = field(repr=False)
    _estimable: tuple[str, ...] = field(repr=False)

    @property
    def control_mean(self) -> Estimate:
        """Mean outcome of the control, unadjusted."""
        return self._mean(0)

    def means(self) -> pl.DataFrame:
        """Unadjusted mean outcome by arm, the control first; null where there is no number."""
        rows = [self._mean(k).facts() for k in range(len(self.arms))]
        return pl.DataFrame(
            {
                "arm": list(self.arms),
                "mean": [row["estimate"] for row in rows],
                "std_error": [row["std_error"] for row in rows],
                "conf_low": [row["conf"][0] for row in rows],
                "conf_high": [row["conf"][1] for row in rows],
                "n_units": [self.arm_counts[arm] for arm in self.arms],
                "n_missing": [self.n_missing[arm] for arm in self.arms],
            },
            schema_overrides=dict.fromkeys(
                ["mean", "std_error", "conf_low", "conf_high"], pl.Float64
            ),
        )

    def contrast(self, weights: Mapping[str, float], name: str | None = None) -> Estimate:
        """A weighted sum of arm means, with its own standard error and degrees of freedom.

        Parameters
        ----------
        weights : mapping of str to float
            Weight of each arm. Where the control is not named it gets what makes the sum zero:
            ``{"a": 1, "b": -1}`` compares `a` with `b`, ``{"a": 0.5, "b": 0.5}`` compares the
            mean of both with the control.
        name : str, optional
            Name of the contrast.
        """
        label = name or _label(weights)
        return self.contrasts({label: weights})[label]

    def pool(
        self,
        arms: Sequence[str],
        weights: Sequence[float] | Mapping[str, float] | None = None,
        name: str | None = None,
    ) -> Estimate:
        """Mean effect of several arms against the control.

        Parameters
        ----------
        arms : sequence of str
            Arms that are pooled.
        weights : sequence or mapping of float, optional
            Weight of each arm, scaled to sum to one; equal by default.
        name : str, optional
            Name of the pooled effect.
        """
        label = name or "mean of " + ", ".join(arms)
        return self.contrast(pool_weights(arms, weights), label)

    def contrasts(self, contrasts: Mapping[str, Mapping[str, float]]) -> EffectTable:
        """Several contrasts with their joint covariance, so that they can be adjusted together.

        Parameters
        ----------
        contrasts : mapping of str to mapping of str to float
            Weights of each contrast by its name; see `contrast`. `pair_margins` makes those of
            the margins of ordered pairs.
        """
        if not contrasts:
            raise InputError("contrasts: found none; needed {name: {arm: weight}}")
        rows = [effect_weights(w, self.arms, str(name)) for name, w in contrasts.items()]
        names = tuple(str(name) for name in contrasts)
        units = [self._units_of(row) for row in rows]
        return contrast_table(
            self,
            self._precision,
            self._estimable,
            names=names,
            weights=np.stack(rows),
            n_units=units,
        )

    def _frame(self) -> pl.DataFrame:
        """One row per arm other than the control, then planned contrasts; null for no number."""
        frame = super()._frame()
        return frame if self.planned is None else frame.vstack(self.planned._frame())

    def _facts(self) -> dict[str, Any]:
        return super()._facts() | {
            "control": self.control,
            "arms": self.arms,
            "rows": EffectTable._frame(self),
            "means": self.means(),
            "control_mean": self.control_mean,
            "n_missing": self.n_missing,
            "n_excluded": self.n_excluded,
            "n_strata": self.n_strata,
            "n_clusters": self.n_clusters,
            "covariates": self.covariates,
            "interacted": self.interacted,
            "weighted": self.weighted,
            "contrasts": self.planned,
            "assumptions": self.assumptions,
        }

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the estimates and intervals to mean what they say."""
        unit = "clusters" if self.n_clusters else "units"
        texts = [
            "Intent to treat: every unit counts in the arm that it was assigned to, whether or not "
            "a message reached it.",
            f"Arms were assigned at random to {unit}"
            + (" within strata." if self.n_strata else "."),
            f"The outcome of one of the {unit} does not depend on the arms of others.",
            "Whether an outcome is missing does not depend on the arm and the outcome together.",
        ]
        if self.n_strata and not self.weighted:
            texts.append(
                "Strata count by their units times the product of the arms' shares; this is the "
                "average effect over units where shares are the same in all strata, or effects are."
            )
        if self.provenance.observational is not None:
            texts[:2] = [self.provenance.observational]
        return tuple(texts)

    def summary(self) -> str:
        """Table of the effects, what it says in a sentence, and the assumptions."""
        mean = _number(_float(self.control_mean.estimate))
        observational = self.provenance.observational is not None
        what = "Adjusted differences" if observational else "Intent-to-treat effects"
        lines = [
            f"{what} against '{self.control}' (mean {mean})",
            self.provenance.method,
            "",
            *table_lines(self._frame()),
            "",
            f"Intervals at level {self.level:g}, each by itself; {_df_text(self)}.",
            sentence(self),
            *_notes(self),
            "Assumptions:",
            *(f"- {text}" for text in self.assumptions),
        ]
        return "\n".join(lines)

    def _mean(self, k: int) -> Estimate:
        arm = self.arms[k]
        mean, std_error = float(self._means.mean[k]), float(self._means.std_error[k])
        n_units = self.arm_counts[arm]
        if n_units == 0:
            reason = self.not_estimable.get(arm, NotEstimable("it has no units with an outcome"))
            return single_estimate(arm, reason, reason, self.level, n_units)
        if np.isfinite(std_error):
            df = float(self._means.df[k])
            return single_estimate(arm, mean, (std_error, df), self.level, n_units)
        reason = NotEstimable("its outcomes do not vary, or it is a single unit or cluster")
        return single_estimate(arm, mean, reason, self.level, n_units)

    def _units_of(self, weights: FloatArray) -> int:
        involved = [arm for arm, w in zip(self.arms[1:], weights, strict=True) if w]
        if abs(weights.sum()) > 1e-9 * np.abs(weights).sum():
            involved.append(self.control)
        return sum(self.arm_counts[arm] for arm in involved)


def _label(weights: Mapping[str, Any]) -> str:
    parts = [f"{w:+g} {arm}" for arm, w in weights.items() if isinstance(w, int | float)]
    return " ".join(parts) or "contrast"


# Linear combinations of effects, as a table of their own.


def contrast_table(
    effects: EffectTable,
    precision: Precision,
    estimable: tuple[str, ...],
    *,
    names: tuple[str, ...],
    weights: FloatArray,
    n_units: Sequence[int],
) -> EffectTable:
    """Linear combinations of effects, each with its own degrees of freedom."""
    columns = [effects.names.index(arm) for arm in estimable]
    inner = weights[:, columns]
    estimate = inner @ effects.estimate[columns]
    cov = inner @ precision.cov @ inner.T
    df = np.full(len(names), np.nan)
    reasons: dict[str, NotEstimable] = {}
    for row, name in enumerate(names):
        missing = [a for a, w in zip(effects.names, weights[row], strict=True) if w]
        missing = [a for a in missing if a not in estimable]
        if missing:
            reasons[name] = _inherited(effects, missing[0], name)
            estimate[row] = np.nan
        elif (refusal := precision.refusal(inner[row])) is not None:
            reasons[name] = NotEstimable(refusal)
        else:
            df[row] = precision.df(inner[row])
            continue
        cov[row, :] = cov[:, row] = np.nan
    return EffectTable(
        names=names,
        estimate=read_only(estimate),
        cov=read_only(cov),
        df=read_only(df),
        n_units=read_only(n_units, np.int64),
        level=effects.level,
        se=effects.se,
        not_estimable=reasons,
    )


def _inherited(effects: EffectTable, arm: str, name: str) -> NotEstimable:
    reason = effects.not_estimable[arm]
    return reason if arm == name else NotEstimable(f"'{arm}': {reason.reason}")


# Weights of contrasts: any combination of arms, pooled arms, margins of ordered pairs.

_POSITIONS = ("first", "second")


def effect_weights(
    weights: Mapping[str, float], arms: Sequence[str], name: str = "contrast"
) -> FloatArray:
    """Weights of the effects against the control that make up a contrast of arms.

    Examples
    --------
    >>> effect_weights({"a": 1, "b": -1}, ["control", "a", "b"])
    array([ 1., -1.])
    """
    unknown = [str(arm) for arm in weights if str(arm) not in arms]
    if unknown:
        raise InputError(
            f"{name}: found the arm {', '.join(unknown)}; the arms are {', '.join(arms)}"
        )
    try:
        given = {str(arm): float(weight) for arm, weight in weights.items()}
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: found weights that are not numbers; needed numbers") from error
    values = np.array([given.get(arm, 0.0) for arm in arms])
    if not np.isfinite(values).all() or not values.any():
        raise InputError(f"{name}: found weights {values.tolist()}; needed finite ones, not all 0")
    if arms[0] in given and abs(values.sum()) > 1e-9 * np.abs(values).sum():
        raise InputError(
            f"{name}: found weights that sum to {values.sum():.6g} with the control among them; "
            "needed a sum of 0; leave the control out to have it balance them"
        )
    if not values[1:].any():
        raise InputError(f"{name}: found a weight for the control alone; name the arms to compare")
    return values[1:]


def pool_weights(
    arms: Sequence[str], weights: Sequence[float] | Mapping[str, float] | None = None
) -> dict[str, float]:
    """Weights of a weighted mean of arms, scaled to sum to one.

    Examples
    --------
    >>> pool_weights(["a", "b"], [1, 3])
    {'a': 0.25, 'b': 0.75}
    """
    if not arms or len(set(arms)) < len(arms):
        raise InputError(f"pool: found the arms {list(arms)}; needed one or more, each once")
    given = dict.fromkeys(arms, 1.0) if weights is None else _by_arm(arms, weights)
    values = np.array([given[arm] for arm in arms])
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise InputError(f"pool: found weights {values.tolist()}; needed weights of 0 or more")
    return {arm: float(value / values.sum()) for arm, value in zip(arms, values, strict=True)}


def _by_arm(
    arms: Sequence[str], weights: Sequence[float] | Mapping[str, float]
) -> dict[str, float]:
    if isinstance(weights, Mapping):
        fits = set(weights) == set(arms)
        given = {str(arm): float(weight) for arm, weight in weights.items()}
    else:
        fits = len(weights) == len(arms)
        given = {arm: float(weight) for arm, weight in zip(arms, weights, strict=False)}
    if not fits:
        raise InputError(
            f"pool: found {len(weights)} weights for {len(arms)} arms; needed one each"
        )
    return given


def pair_margins(arms: Sequence[str], separator: str = "+") -> dict[str, dict[str, float]]:
    """First-message and second-message margins of ordered pairs of messages, as pooled arms.

    Parameters
    ----------
    arms : sequence of str
        Arm names. Those without the separator, such as the control, are passed over.
    separator : str
        What stands between the two messages of a pair.

    Returns
    -------
    dict of str to dict of str to float
        For each message and place, e.g. ``"first teacher"``, equal weights that sum to one on the
        pairs with that message in that place: the mean of their effects against the control.

    Raises
    ------
    InputError
        Where no arm is a pair, or a name has more than two parts.

    Notes
    -----
    A margin averages over the other message with equal weights, whatever the numbers of units.
    Where the set of pairs is not complete, margins of different messages average over different
    partners, and their difference is not an effect of the message alone.

    Examples
    --------
    >>> margins = pair_margins(["control", "a+a", "a+b", "b+a", "b+b"])
    >>> list(margins)
    ['first a', 'first b', 'second a', 'second b']
    >>> margins["second b"]
    {'a+b': 0.5, 'b+b': 0.5}
    """
    pairs = {arm: arm.split(separator) for arm in arms if separator in arm}
    wrong = [arm for arm, parts in pairs.items() if len(parts) != 2 or not all(parts)]
    if wrong or not pairs:
        raise InputError(
            f"margins: found {', '.join(wrong) if wrong else 'no pair'}; needed arms named "
            f"first{separator}second"
        )
    margins: dict[str, dict[str, float]] = {}
    for place, position in enumerate(_POSITIONS):
        for message in dict.fromkeys(parts[place] for parts in pairs.values()):
            members = [arm for arm, parts in pairs.items() if parts[place] == message]
            margins[f"{position} {message}"] = pool_weights(members)
    return margins


# Effects in words: the table, one sentence, the assumptions.

_HEADER = ("arm", "estimate", "std. error", "conf. low", "conf. high", "p value", "units")


def sentence(effects: "Effects") -> str:
    """The largest effect, with its interval, in words."""
    frame = effects._frame().head(len(effects.names)).drop_nulls("std_error")
    if frame.is_empty():
        return "No effect has a standard error."
    top = frame.sort(["estimate", "arm"], descending=[True, False]).row(0, named=True)
    return (
        f"The largest effect is that of '{top['arm']}': {_number(top['estimate'])} "
        f"({_number(top['conf_low'])} to {_number(top['conf_high'])}), picked as the largest of "
        f"{frame.height}, so that it tends to be too high."
        if frame.height > 1
        else f"The effect of '{top['arm']}' is {_number(top['estimate'])} "
        f"({_number(top['conf_low'])} to {_number(top['conf_high'])})."
    )


def _notes(effects: "Effects") -> list[str]:
    notes = [f"'{name}': {why}." for name, why in effects.not_estimable.items()]
    if effects.planned is not None:
        notes += [f"'{name}': {why}." for name, why in effects.planned.not_estimable.items()]
    for counts, text in (
        (effects.n_missing, "units left out, their outcome is missing"),
        (effects.n_excluded, "units left out, their stratum compares nothing"),
    ):
        if any(counts.values()):
            by_arm = ", ".join(f"{arm} {n:,}" for arm, n in counts.items())
            notes.append(f"{sum(counts.values()):,} {text} ({by_arm}).")
    return notes


def _df_text(effects: "Effects") -> str:
    if effects.se in {"HC2", "CR2"}:
        return "Student's t with Satterthwaite degrees of freedom"
    if effects.se.startswith("CR"):
        return "Student's t with one degree of freedom less than clusters"
    return "Student's t with residual degrees of freedom"


def table_lines(frame: pl.DataFrame) -> list[str]:
    """Rows of effects as lines of text, columns aligned."""
    body = [
        (row[0], *(_number(value) for value in row[1:5]), _p_value(row[5]), f"{row[6]:,}")
        for row in frame.rows()
    ]
    return text_table(Printed(_HEADER, body)).split("\n")


def _float(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _number(value: float | None) -> str:
    return "not est." if value is None else f"{value:.5g}"


def _p_value(value: float | None) -> str:
    if value is None:
        return "not est."
    return f"{value:.4f}" if value >= 1e-4 else f"{value:.1e}"
