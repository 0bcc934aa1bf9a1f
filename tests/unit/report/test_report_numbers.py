import pytest

from wavewise.design.spec import Outcome
from wavewise.report.numbers import (
    decimals_for,
    fixed,
    in_units,
    p_value,
    percent,
    probability,
    scale_of,
    signed,
)

BINARY = scale_of(Outcome(id="login", label="login rate", kind="any"))
MINUTES = scale_of(Outcome(id="minutes", label="minutes", kind="sum", unit="minutes"))


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u2212", "-")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.93, "93 %"),
        (0.5, "50 %"),
        (0.9893, "99 %"),
        (0.989, "99 %"),
        (0.9951, "99.5 %"),
        (0.99899, "99.8 %"),  # cut, never rounded towards certainty
        (0.9991, "more than 99.9 %"),
        (1.0, "more than 99.9 %"),
        (0.0995, "10 %"),
        (0.0994, "9.9 %"),
        (0.0123, "1.2 %"),
        (0.00994, "0.99 %"),
        (0.0001, "0.01 %"),
        (0.00009, "less than 1 in 10,000"),
        (0.0, "less than 1 in 10,000"),
    ],
)
def test_probability_never_says_certain_or_impossible(value: float, text: str) -> None:
    assert plain(probability(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.05, "0.050"), (0.5, "0.50"), (1.0, "1.00"), (0.00012, "0.0001"), (9e-5, "< 0.0001")],
)
def test_p_value(value: float, text: str) -> None:
    assert p_value(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0002, "2 in 10,000 parents"),
        (0.081, "8 in 100 parents"),
        (0.001424, "14 in 10,000 parents"),
        (0.035, "35 in 1,000 parents"),
        (1.0, "100 in 100 parents"),
        (0.0000021, "2 in 1,000,000 parents"),
        (0.0, "fewer than 1 in 1,000,000 parents"),
    ],
)
def test_in_units_is_within_five_per_cent(share: float, text: str) -> None:
    assert in_units(share, "parents") == text


def test_signs_and_zero() -> None:
    assert [plain(signed(x, 1)) for x in (1.25, -0.04, 0.0, -3)] == ["+1.2", "0.0", "0.0", "-3.0"]
    assert plain(fixed(-1234567.891, 2)) == "-1,234,567.89"


def test_decimals_follow_the_standard_error() -> None:
    assert [decimals_for(x) for x in (0.31, 3.1, 31.0, 0.031, 0.0)] == [2, 1, 0, 3, 2]


def test_binary_outcomes_are_in_per_cent_and_points() -> None:
    assert plain(BINARY.effect(0.0813, 1)) == "+8.1 percentage points"
    assert plain(BINARY.level(0.378, 1)) == "37.8 %"
    assert plain(BINARY.amount(0.0002)) == "0.02 percentage points"
    assert plain(BINARY.amount(1e-9)) == "less than 0.0001 percentage points"
    assert plain(MINUTES.effect(-2.5, 1)) == "-2.5 minutes"


def test_a_bound_that_is_not_zero_is_not_printed_as_zero() -> None:
    low, high = BINARY.bounds(0.0002, 0.0124, 1)
    assert (plain(low), plain(high)) == ("+0.02", "+1.24")
    assert tuple(map(plain, BINARY.bounds(0.0, 0.02, 1))) == ("0.0", "+2.0")


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (1.0, "100 %"), (0.4616, "46.2 %"), (0.00001, "0.0010 %")]
)
def test_percent(share: float, text: str) -> None:
    assert plain(percent(share)) == text
