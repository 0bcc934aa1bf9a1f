"""What a power calculation gives: the numbers under each convention, and the sentence."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wavewise.results import NotEstimable

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ConventionRow", "Power"]

Number = float | NotEstimable


@dataclass(frozen=True)
class ConventionRow:
    """The comparison under one way of counting.

    Parameters
    ----------
    convention : str
        "whole arm", "treated part" or "difference of effects".
    n_compared : float
        Observed units of the first cell that is compared.
    arm_std_error, std_error : float
        Of that cell's mean, and of the comparison, without an effect.
    mde_up, mde_down : float or NotEstimable
        Smallest rise and smallest fall that is found, as sizes.
    effect_share : float
        Part of the messages' effect that the comparison shows.
    """

    convention: str
    n_compared: float
    arm_std_error: float
    std_error: float
    mde_up: Number
    mde_down: Number
    effect_share: float

    @property
    def message_mde_up(self) -> Number:
        """Smallest difference between the messages' own effects that is found, upwards."""
        return self.mde_up / self.effect_share if isinstance(self.mde_up, float) else self.mde_up

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what cannot be found is None."""
        row = {name: _plain(value) for name, value in vars(self).items()}
        return {**row, "message_mde_up": _plain(self.message_mde_up)}


@dataclass(frozen=True)
class Power:
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = {name: _plain(value) for name, value in vars(self).items()}
        rows = [row.to_dict() for row in self.conventions]
        return {"version": 1, "kind_of_result": "power", **plain, "conventions": rows}

    def to_frame(self) -> "pl.DataFrame":
        """One row a convention."""
        import polars as pl  # noqa: PLC0415  # heavy, and needed here only

        return pl.DataFrame([row.to_dict() for row in self.conventions], infer_schema_length=None)

    def summary(self) -> str:
        """The numbers in words, with the assumptions."""
        lines = [
            f"{self.contrast}, {self.kind} outcome of mean {self.baseline_mean:g}, "
            f"{self.n_per_arm:,.0f} units an arm, power {self.target_power:g}:"
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
