"""Power: the size, the effect or the power of a planned comparison, each from the other two."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from wavewise.design.power import (
    Adjust,
    Cell,
    Comparison,
    OutcomeDistribution,
    critical_value,
    design_effect,
)
from wavewise.errors import InputError
from wavewise.shared.renamed import renamed
from wavewise.shared.results import NotEstimable, Record, Result

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Power", "power"]


# What a power calculation is asked: each value checked, with the nearest that works.


def outcome_distribution(
    rate: float | None,
    count: float | None,
    mean: float | None,
    std_dev: float | None,
    dispersion: float,
    trials: float,
) -> OutcomeDistribution:
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
        return OutcomeDistribution("binary", checked, dispersion=dispersion, trials=trials)
    if count is not None:
        return OutcomeDistribution("count", above_zero("count", count), dispersion=dispersion)
    return OutcomeDistribution(
        "continuous", float(mean or 0.0), above_zero("std_dev", std_dev or 0.0)
    )


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


def check_effect(effect: float, law: OutcomeDistribution) -> None:
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


# What a power calculation gives: the numbers under each convention, and the sentence.

Number = float | NotEstimable


@dataclass(frozen=True)
class ConventionRow(Record):
    """The comparison under one way of counting."""

    convention: str  # "whole arm", "treated part" or "difference of effects".
    n_compared: float  # Observed units of the first cell that is compared.
    # arm_std_error, std_error: Of that cell's mean, and of the comparison, without an effect.
    arm_std_error: float
    std_error: float
    # mde_up, mde_down: Smallest rise and smallest fall that is found, as sizes.
    mde_up: Number
    mde_down: Number
    effect_share: float  # Part of the messages' effect that the comparison shows.

    @property
    def message_mde_up(self) -> Number:
        """Smallest difference between the messages' own effects that is found, upwards."""
        return self.mde_up / self.effect_share if isinstance(self.mde_up, float) else self.mde_up

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what cannot be found is None."""
        row = {name: _plain(value) for name, value in vars(self).items()}
        return {**row, "message_mde_up": _plain(self.message_mde_up)}


@dataclass(frozen=True, eq=False)
class Power(Result):
    """What a planned comparison can be expected to find.

    Parameters
    ----------
    contrast, kind : str
        What is compared, and the kind of outcome.
    baseline_mean : float
    n_per_arm : float
        Units of an arm, before attrition; found where it was not given.
    level : float
        Size of the two-sided test.
    power : float
        Of the effect that was given; else what the smallest effects are found with.
    target_power : float
        What was asked for.
    effect : float or None
    std_error, arm_std_error : float
        Of the comparison, and of an arm's mean, without an effect.
    mde_up, mde_down : float or NotEstimable
        Smallest rise and smallest fall that is found with the power asked for, both as sizes.
    convention : str
        Which units are counted, in words.
    conventions : tuple of ConventionRow
        All ways of counting that are in use for this contrast.
    critical : float
        Critical value of the test.
    variance_factor : float
        Design effect times what strata and covariates leave.
    fewest_successes : float or None
        Least number of successes or failures that a cell expects.
    assumptions : tuple of str
    """

    contrast: str
    kind: str
    baseline_mean: float
    n_per_arm: float
    level: float
    power: float
    target_power: float
    effect: float | None
    std_error: float
    arm_std_error: float
    mde_up: Number
    mde_down: Number
    convention: str
    conventions: tuple[ConventionRow, ...]
    critical: float
    variance_factor: float
    fewest_successes: float | None
    assumptions: tuple[str, ...]

    def _facts(self) -> dict[str, Any]:
        rows = [row.to_dict() for row in self.conventions]
        return {"kind_of_result": "power", **super()._facts(), "conventions": rows}

    def _frame(self) -> "pl.DataFrame":
        """One row a convention."""
        import polars as pl  # heavy, and needed here only

        return pl.DataFrame([row.to_dict() for row in self.conventions], infer_schema_length=None)

    def summary(self) -> str:
        """The numbers in words, with the assumptions."""
        lines = [
            f"{self.contrast}, {self.kind} outcome of mean {self.baseline_mean:g}, "
            f"{self.n_per_arm:,.0f} units per arm, power {self.target_power:g}:"
        ]
        lines += [
            f"  {row.convention}: SE of an arm {row.arm_std_error:.4g}, of the comparison "
            f"{row.std_error:.4g}; MDE up {_text(row.mde_up)}, down {_text(row.mde_down)}"
            for row in self.conventions
        ]
        if self.effect is not None:
            lines.append(f"An effect of {self.effect:+.4g} is found with power {self.power:.3f}.")
        return "\n".join([*lines, f"Convention: {self.convention}.", *self._assumed()])

    def _assumed(self) -> list[str]:
        return [f"Assumed: {'; '.join(self.assumptions)}."]


def _plain(value: Any) -> Any:
    return None if isinstance(value, NotEstimable) else value


def _text(value: Number) -> str:
    return str(value) if isinstance(value, NotEstimable) else f"{value:.4g}"


Contrast = Literal["arms", "control", "pooled", "policy", "difference of effects"]
Convention = Literal["whole arm", "treated part"]

_CONVENTIONS = ("whole arm", "treated part", "difference of effects")
_MOST_UNITS = 1e12


@renamed(level="size")
def power(
    *,
    rate: float | None = None,
    count: float | None = None,
    mean: float | None = None,
    std_dev: float | None = None,
    dispersion: float = 1.0,
    trials: float = 1,
    n_per_arm: float | None = None,
    effect: float | None = None,
    contrast: Contrast = "arms",
    convention: Convention | None = None,
    size: float = 0.05,
    power: float = 0.8,
    n_control: float | None = None,
    n_pooled: int = 2,
    treated_share: float = 0.5,
    strata_r_squared: float = 0.0,
    r_squared: float = 0.0,
    cluster_size: float | Sequence[float] | None = None,
    cluster_size_cv: float = 0.0,
    intracluster_correlation: float = 0.0,
    attrition: float = 0.0,
    n_comparisons: int = 1,
    adjust: Adjust = "none",
) -> Power:
    """Smallest effect that is found, the power for an effect, or the size that it takes.

    Parameters
    ----------
    rate : float, optional
        Of a binary outcome without the effect, in (0, 1). Give one of `rate`, `count`, `std_dev`.
    count : float, optional
        Mean of a count.
    mean, std_dev : float, optional
        Of a continuous outcome between units; the mean is only shown.
    dispersion : float
        Variance of a count or a share over that of the Poisson or binomial law.
    trials : float
        Trials of one unit, whose outcome is the share of successes in them.
    n_per_arm : float, optional
        Units of an arm. Left out, it is found from `effect` and `power`.
    effect : float, optional
        With its sign. Beside `n_per_arm`, its power is found.
    contrast : {"arms", "control", "pooled", "policy", "difference of effects"}
        Two arms; an arm and a control of `n_control` units; `n_pooled` arms together and the
        control; two policy arms of which `treated_share` is treated; (treated - untreated) under
        one policy minus the same under another.
    convention : {"whole arm", "treated part"}, optional
        For "policy": whether arms are compared as assigned ("whole arm", the default) or their
        treated parts only. All conventions are in the result.
    size : float
        Size of the two-sided test, such as 0.05.
    power : float
        Probability of finding an effect, in (0, 1).
    n_control : float, optional
        Units of the control; by default as many as an arm has.
    n_pooled : int
    treated_share : float
        Part of a policy arm that is treated, in (0, 1).
    strata_r_squared, r_squared : float
        Share of the outcome's variance that lies between strata (within which arms are drawn), and
        share of the rest that covariates explain; in [0, 1).
    cluster_size : float or sequence of float, optional
        Where whole clusters are randomized: their mean size, or all sizes.
    cluster_size_cv : float
        Standard deviation of the sizes over their mean, beside a mean size.
    intracluster_correlation : float
    attrition : float
        Share of the units whose outcome is lost, in [0, 1).
    n_comparisons : int
        Arms that are looked at together.
    adjust : {"none", "bonferroni", "sidak", "dunnett"}
        How the test allows for them. Holm's test finds at least what Bonferroni's does.

    Returns
    -------
    Power
        With `mde_up`, `mde_down`, `std_error`, `convention`, `power`, `n_per_arm`.

    Raises
    ------
    InputError
        What is out of range, or does not fit together.

    Notes
    -----
    The comparison sum_g w_g m_g of cell means has variance sum_g w_g^2 f v(m_g) / n_g, with v the
    outcome's variance at the cell's mean *under the effect* and::

        f = (1 - R2_strata) (1 - R2) (1 + (sum m^2 / sum m - 1) rho)

    Power follows by the delta method (binary and count outcomes) or the noncentral t distribution
    (continuous ones, and clusters). At low rates rises are harder to find than falls of one size,
    since they bring variance with them. Wrong where a cell has fewer than about ten successes or
    failures, and where an effect is larger in some units than in others.

    References
    ----------
    Bloom (1995), *Evaluation Review* 19, 547-556. Eldridge, Ashby and Kerry (2006), *International
    Journal of Epidemiology* 35, 1292-1300. Dunnett (1955), *JASA* 50, 1096-1121.

    Examples
    --------
    >>> found = power(rate=0.36, n_per_arm=25_000, contrast="policy")
    >>> round(found.mde_up, 4), round(found.std_error, 4), found.convention[:9]
    (0.0121, 0.0043, 'whole arm')
    >>> round(power(rate=0.02, n_per_arm=25_000, contrast="policy",
    ...             convention="treated part").mde_up, 4)
    0.0053
    """
    asked = _Question(
        law=outcome_distribution(rate, count, mean, std_dev, dispersion, trials),
        contrast=one_of("contrast", contrast, get_args(Contrast)),
        size=between("size", size, 0.0, 0.5, "the size of the test, such as 0.05"),
        power=between("power", power, 0.0, 1.0, "such as 0.8"),
        n_control=None if n_control is None else above_zero("n_control", n_control),
        n_pooled=n_pooled,
        treated_share=between("treated_share", treated_share, 0.0, 1.0, "such as 0.5"),
        kept=1.0 - part("attrition", attrition),
        left=(1 - part("strata_r_squared", strata_r_squared)) * (1 - part("r_squared", r_squared)),
        cluster_effect=cluster_effect(
            cluster_size, cluster_size_cv, intracluster_correlation, 1.0 - attrition
        ),
        cluster_size=mean_size(cluster_size),
        n_comparisons=n_comparisons,
        adjust=one_of("adjust", adjust, get_args(Adjust)),
    )
    check_counts(n_comparisons, n_pooled)
    form = _form(asked.contrast, convention)
    if effect is not None:
        check_effect(effect, asked.law)
    if n_per_arm is None:
        n_per_arm = _size_needed(asked, form, effect)
    return _answer(asked, form, above_zero("n_per_arm", n_per_arm), effect)


@dataclass(frozen=True)
class _Question:
    """What was asked, checked."""

    law: OutcomeDistribution
    contrast: Contrast
    size: float
    power: float
    n_control: float | None
    n_pooled: int
    treated_share: float
    kept: float
    left: float
    cluster_effect: float
    cluster_size: float
    n_comparisons: int
    adjust: Adjust

    def comparison(self, n_per_arm: float, form: str) -> Comparison:
        """The comparison under a convention, with so many units per arm."""
        cells = tuple(
            Cell(cell.weight, cell.shift, cell.n_units * self.kept)
            for cell in _cells(form, n_per_arm, self)
        )
        total = sum(cell.n_units for cell in cells)
        degrees = math.inf
        if self.cluster_size > 1:
            degrees = max(total / (self.cluster_size * self.kept) - len(cells), 1.0)
        elif self.law.kind == "continuous":
            degrees = max(total - len(cells), 1.0)
        control = cells[-1].n_units
        critical = critical_value(
            self.size,
            n_comparisons=self.n_comparisons,
            adjust=self.adjust,
            correlation=cells[0].n_units / (cells[0].n_units + control),
            degrees=degrees,
        )
        return Comparison(self.law, cells, self.left * self.cluster_effect, critical, degrees)


def _cells(form: str, n: float, asked: _Question) -> tuple[Cell, ...]:
    share = asked.treated_share
    if form == "treated part":
        return Cell(1.0, 1.0, share * n), Cell(-1.0, 0.0, share * n)
    if form == "difference of effects":
        return (
            Cell(1.0, 1.0, share * n),
            Cell(-1.0, 0.0, (1 - share) * n),
            Cell(-1.0, 0.0, share * n),
            Cell(1.0, 0.0, (1 - share) * n),
        )
    if asked.contrast == "pooled":
        return Cell(1.0, 1.0, asked.n_pooled * n), Cell(-1.0, 0.0, asked.n_control or n)
    control = asked.n_control if asked.contrast == "control" and asked.n_control else n
    return Cell(1.0, 1.0, n), Cell(-1.0, 0.0, control)


def _answer(asked: _Question, form: str, n_per_arm: float, effect: float | None) -> Power:
    rows = tuple(
        _row(asked, name, n_per_arm)
        for name in (_CONVENTIONS if asked.contrast == "policy" else (form,))
    )
    own = next(row for row in rows if row.convention == form)
    comparison = asked.comparison(n_per_arm, form)
    return Power(
        contrast=asked.contrast,
        kind=asked.law.kind,
        baseline_mean=asked.law.mean,
        n_per_arm=n_per_arm,
        level=asked.size,
        power=asked.power if effect is None else comparison.power(effect),
        target_power=asked.power,
        effect=effect,
        std_error=own.std_error,
        arm_std_error=own.arm_std_error,
        mde_up=own.mde_up,
        mde_down=own.mde_down,
        convention=_explained(form, n_per_arm, asked, own),
        conventions=rows,
        critical=comparison.critical,
        variance_factor=comparison.factor,
        fewest_successes=_fewest(asked.law, comparison),
        assumptions=_assumptions(asked, comparison),
    )


def _row(asked: _Question, form: str, n_per_arm: float) -> ConventionRow:
    comparison = asked.comparison(n_per_arm, form)
    first = comparison.cells[0]
    one = Comparison(asked.law, (Cell(1.0, 0.0, first.n_units),), comparison.factor, 0.0)
    return ConventionRow(
        convention=form,
        n_compared=first.n_units,
        arm_std_error=one.std_error(),
        std_error=comparison.std_error(),
        mde_up=comparison.smallest_effect(asked.power, 1.0),
        mde_down=comparison.smallest_effect(asked.power, -1.0),
        effect_share=asked.treated_share if _diluted(asked, form) else 1.0,
    )


def _diluted(asked: _Question, form: str) -> bool:
    return asked.contrast == "policy" and form == "whole arm"


def _form(contrast: str, convention: str | None) -> str:
    if contrast == "difference of effects":
        return contrast
    if convention is None:
        return "whole arm"
    wanted = {"treated half": "treated part", "messaged part": "treated part"}.get(
        convention, convention
    )
    if contrast != "policy" and wanted != "whole arm":
        raise InputError(
            f"convention: found {convention!r} with contrast {contrast!r}; needed contrast "
            "'policy', whose arms are treated in part"
        )
    return str(one_of("convention", wanted, ("whole arm", "treated part")))


def _explained(form: str, n: float, asked: _Question, own: ConventionRow) -> str:
    share = asked.treated_share
    if form == "difference of effects":
        return (
            f"difference of effects: treated ({share:.0%}) minus untreated units under one policy, "
            f"minus the same under the other; four cells of {n:,.0f} units per arm"
        )
    if asked.contrast != "policy":
        return f"whole arm: all {n:,.0f} units of an arm are compared, before attrition"
    if form == "whole arm":
        return (
            f"whole arm: all {n:,.0f} units of each arm are compared as assigned, treated or not. "
            f"Only {share:.0%} of them are treated, so that messages must differ by "
            f"{1 / share:.3g} times as much; counted by treated parts alone, the standard error is "
            f"{1 / math.sqrt(share):.3g} times as large"
        )
    return (
        f"treated part: only the {share:.0%} of each arm that is treated, {own.n_compared:,.0f} "
        f"units, is compared; counted by whole arms, the standard error is {math.sqrt(share):.3g} "
        "times as large, for a difference that untreated units dilute"
    )


def _assumptions(asked: _Question, comparison: Comparison) -> tuple[str, ...]:
    """What the numbers rest on, one short text each."""
    texts = [f"two-sided test of size {asked.size:g}, critical value {comparison.critical:.3f}"]
    if asked.n_comparisons > 1 or asked.adjust != "none":
        texts.append(f"{asked.n_comparisons} comparisons, adjustment: {asked.adjust}")
    if asked.cluster_effect != 1:
        texts.append(f"whole clusters are randomized, design effect {asked.cluster_effect:.3g}")
    if asked.left != 1:
        texts.append(f"strata and covariates leave {asked.left:.0%} of the variance")
    if asked.kept != 1:
        texts.append(f"{1 - asked.kept:.0%} of the outcomes are lost, at random")
    if asked.law.dispersion != 1:
        texts.append(f"variance {asked.law.dispersion:g} times that of independent trials")
    fewest = _fewest(asked.law, comparison)
    if fewest is not None and fewest < 10:
        texts.append(f"a cell expects {fewest:.1f} successes or failures: too few for this formula")
    return tuple(texts)


def _fewest(law: OutcomeDistribution, comparison: Comparison) -> float | None:
    """Least number of successes or failures that a cell expects."""
    if law.kind == "continuous":
        return None
    least = min(cell.n_units for cell in comparison.cells) * law.trials
    rarer = min(law.mean, 1 - law.mean) if law.kind == "binary" else law.mean
    return least * rarer


def _size_needed(asked: _Question, form: str, effect: float | None) -> float:
    """Least whole number of units per arm at which the effect is found with the power."""
    if effect is None:
        raise InputError("found neither n_per_arm nor effect; needed one of them")
    low, high = 1.0, 8.0
    while asked.comparison(high, form).power(effect) < asked.power:
        low, high = high, 2.0 * high
        if high > _MOST_UNITS:
            control = asked.n_control
            raise InputError(
                f"effect: found {effect:g}, which no number of units per arm finds with power "
                f"{asked.power:g}"
                + (f" beside a control of {control:,.0f}; enlarge the control" if control else "")
            )
    while high - low > 1.0:
        middle = math.floor(0.5 * (low + high))
        enough = asked.comparison(middle, form).power(effect) >= asked.power
        low, high = (low, middle) if enough else (middle, high)
    return high
