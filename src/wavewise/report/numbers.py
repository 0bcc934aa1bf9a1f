"""Numbers as they are printed: one place for digits, signs, percent and percentage points.

Every function takes quantities on their own scale (probabilities and shares in [0, 1]) and gives
text. A minus is U+2212; a number and its unit are held together by a no-break space.
"""

import math
from dataclasses import dataclass
from typing import Any

from wavewise.design.spec import Outcome

__all__ = [
    "UNKNOWN",
    "Scale",
    "count",
    "decimals_for",
    "fixed",
    "in_units",
    "outcome_facts",
    "p_value",
    "percent",
    "probability",
    "scale_of",
    "sentence",
    "signed",
]

NBSP = "\u00a0"
MINUS = "\u2212"
UNKNOWN = "\u2013"
MOST_DECIMALS = 6


def fixed(value: float, decimals: int) -> str:
    """A number with a fixed number of decimals, thousands separated.

    Examples
    --------
    >>> fixed(-1234.5, 1)
    '−1,234.5'
    >>> fixed(-0.001, 1)
    '0.0'
    """
    text = f"{value:,.{decimals}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float, decimals: int) -> str:
    """A number with its sign; zero has none.

    Examples
    --------
    >>> signed(0.5, 1), signed(-0.5, 1), signed(0.0, 1)
    ('+0.5', '−0.5', '0.0')
    """
    text = fixed(value, decimals)
    return text if text.startswith(MINUS) or not text.strip("0.,") else f"+{text}"


def count(value: int | None) -> str:
    """A number of units, thousands separated; a dash while it is not known."""
    return UNKNOWN if value is None else f"{int(value):,}"


def decimals_for(precision: float, digits: int = 2) -> int:
    """Decimals that give a precision (a standard error) its significant digits.

    Examples
    --------
    >>> decimals_for(0.34), decimals_for(12.0), decimals_for(0.34, digits=1)
    (2, 0, 1)
    """
    if not precision > 0:
        return 2
    return min(max(digits - 1 - math.floor(math.log10(precision)), 0), MOST_DECIMALS)


def percent(share: float, decimals: int | None = None) -> str:
    r"""A share of [0, 1] in percent; small ones keep two digits unless told otherwise.

    Examples
    --------
    >>> percent(0.4616), percent(0.0089), percent(0.0)
    ('46.2\xa0%', '0.89\xa0%', '0\xa0%')
    """
    if decimals is None:
        decimals = 0 if share in (0, 1) else max(decimals_for(min(100 * share, 1.0)), 1)
    return f"{fixed(100 * share, decimals)}{NBSP}%"


def probability(prob: float) -> str:
    r"""A probability in words that never say certain or impossible.

    Examples
    --------
    >>> probability(0.93), probability(0.9999), probability(1e-6)
    ('93\xa0%', 'more than 99.9\xa0%', 'less than 1 in 10,000')
    >>> probability(0.9934), probability(0.057), probability(0.0061)
    ('99.3\xa0%', '5.7\xa0%', '0.61\xa0%')
    """
    if prob > 0.999:
        return f"more than 99.9{NBSP}%"
    if prob < 0.0001:
        return "less than 1 in 10,000"
    if prob >= 0.99:
        return f"{fixed(math.floor(1000 * prob + 1e-9) / 10, 1)}{NBSP}%"
    decimals = 0 if prob >= 0.0995 else 1 if prob >= 0.00995 else 2
    return f"{fixed(100 * prob, decimals)}{NBSP}%"


def p_value(value: float | None) -> str:
    """A p-value: two digits, at most four decimals; a dash where there is none.

    Examples
    --------
    >>> p_value(0.0421), p_value(1.0), p_value(3e-9)
    ('0.042', '1.00', '< 0.0001')
    """
    if value is None:
        return UNKNOWN
    if value < 0.0001:
        return "< 0.0001"
    return fixed(value, min(decimals_for(min(value, 0.99)), 4))


def in_units(share: float, unit_name: str) -> str:
    """A share as a number of units out of a round number of them.

    The round number is the smallest power of ten for which rounding costs at most 5 %.

    Examples
    --------
    >>> in_units(0.0002, "parents"), in_units(0.081, "parents"), in_units(1e-9, "parents")
    ('2 in 10,000 parents', '8 in 100 parents', 'fewer than 1 in 1,000,000 parents')
    """
    if share < 1e-6:
        return f"fewer than 1 in 1,000,000 {unit_name}"
    for base in (100, 1_000, 10_000, 100_000, 1_000_000):
        units = round(share * base)
        if units and abs(units - share * base) <= 0.05 * share * base:
            break
    return f"{units:,} in {base:,} {unit_name}"


def sentence(text: str) -> str:
    """A text that ends with one full stop; nothing stays nothing."""
    return f"{text.rstrip('. ')}." if text.strip() else ""


@dataclass(frozen=True)
class Scale:
    """How an outcome's values are printed."""

    factor: float  # From the outcome's scale to the printed one: 100 for binary outcomes.
    level_unit: str  # Unit of a level (``%``).
    effect_unit: str  # Unit of a difference (``percentage points``).
    short_unit: str  # Unit of a difference in a narrow place (``pp``).

    def decimals(self, std_error: float, digits: int = 1) -> int:
        """Decimals on the printed scale for a standard error on the outcome's scale.

        Percent and percentage points keep at least one.
        """
        least = 1 if self.level_unit == "%" else 0
        return max(decimals_for(self.factor * std_error, digits), least)

    def level(self, value: float, decimals: int) -> str:
        """A level with its unit, e.g. ``37.8 %``."""
        return _with_unit(fixed(self.factor * value, decimals), self.level_unit)

    def effect(self, value: float, decimals: int) -> str:
        """A difference with sign and unit, e.g. ``+8.1 percentage points``."""
        return _with_unit(signed(self.factor * value, decimals), self.effect_unit)

    def amount(self, value: float) -> str:
        """A loss or gain without sign, two digits, e.g. ``0.02 percentage points``."""
        printed = abs(self.factor * value)
        if printed < 10**-4:
            return _with_unit("less than 0.0001", self.effect_unit)
        digits = 1 if printed < 0.1 else 2
        return _with_unit(fixed(printed, decimals_for(printed, digits)), self.effect_unit)

    def unit_in_brackets(self) -> str:
        """The short unit for a heading, e.g. `` (pp)``; nothing without a unit."""
        return f" ({self.short_unit})" if self.short_unit else ""

    def interval(self, low: float, high: float, decimals: int) -> str:
        """Both ends, e.g. ``+0.2 to +1.4``."""
        return " to ".join(self.bounds(low, high, decimals))

    def bounds(self, low: float, high: float, decimals: int) -> tuple[str, str]:
        """Both ends of an interval of differences, with signs.

        Decimals are added until an end that is not zero is not printed as zero.
        """
        ends = (self.factor * low, self.factor * high)
        while decimals < MOST_DECIMALS and any(
            end and not float(f"{end:.{decimals}f}") for end in ends
        ):
            decimals += 1
        return signed(ends[0], decimals), signed(ends[1], decimals)


def scale_of(outcome: Outcome) -> Scale:
    """How this outcome's values are printed."""
    if outcome.scale == "binary":
        return Scale(100.0, "%", "percentage points", "pp")
    unit = outcome.unit or ""
    return Scale(1.0, unit, unit, unit)


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    """What a reader must know of an outcome, as plain values."""
    return {
        "id": outcome.id,
        "label": outcome.name,
        "kind": outcome.scale,
        "unit": outcome.unit or "",
        "primary": outcome.primary,
        "higher_is_better": outcome.higher_is_better,
        "description": "",
    }


def _with_unit(text: str, unit: str) -> str:
    return f"{text}{NBSP}{unit}" if unit else text
