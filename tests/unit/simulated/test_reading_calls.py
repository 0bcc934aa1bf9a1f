"""Simulated calls answer with the truth that they state, and with totals that are asked for."""

import numpy as np
import polars as pl
import pytest
from scipy import integrate, special

from wavewise.errors import InputError
from wavewise.shared.streams import stream
from wavewise.simulated.reading import (
    ANSWER_LEVELS,
    ANSWER_SCHOOL_SD,
    CALL_LEVELS,
    ReadingWorld,
    school_sizes,
    simulate_reading_calls,
)

ARMS = (*CALL_LEVELS, "control")


@pytest.fixture(scope="module")
def large() -> ReadingWorld:
    return simulate_reading_calls(60_000, stream(5, "large"), n_schools=2_000)


def _assigned(world: ReadingWorld, arm: str | None = None) -> pl.DataFrame:
    n = world.people.height
    arms = [arm] * n if arm else [ARMS[i % len(ARMS)] for i in range(n)]
    return pl.DataFrame({"unit_id": world.people["phone_id"], "arm": arms})


def _by_school(world: ReadingWorld, values: np.ndarray) -> tuple[float, float]:
    """Mean over units, and its standard error over schools."""
    sums = np.bincount(world.school, values, len(world.school_effect))
    sizes = np.bincount(world.school)
    mean = values.mean()
    return float(mean), float(np.sqrt(((sums - mean * sizes) ** 2).sum()) / values.size)


@pytest.mark.parametrize("arm", ["T1B", "T2C"])
def test_sets_are_engaged_in_at_the_stated_rate(large: ReadingWorld, arm: str) -> None:
    calls = large.calls(_assigned(large, arm), rng=stream(5, arm))
    rate = calls["engaged"].to_numpy() / large.n_sets
    gap = rate - large.engagement_prob(arm)
    mean, error = _by_school(large, gap)
    assert abs(mean) < 4 * error
    overall, error = _by_school(large, rate)
    # over schools that could have been drawn: the integral over school effects
    assert abs(overall - large.success_prob(arm)) < 4 * error


def test_success_prob_is_the_integral_over_schools(large: ReadingWorld) -> None:
    for arm, level in CALL_LEVELS.items():

        def mass(z: float, level: float = level) -> float:
            return float(special.expit(level + 0.5 * z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi))

        assert abs(large.success_prob(arm) - integrate.quad(mass, -12, 12)[0]) < 1e-7


@pytest.mark.parametrize(("correlation", "ratio"), [(0.0, 1.0), (0.25, 3.0)])
def test_parents_differ_as_much_as_stated(correlation: float, ratio: float) -> None:
    world = simulate_reading_calls(
        60_000, stream(6, "even"), n_schools=2_000, school_sd=0.0, correlation=correlation
    )
    engaged = world.calls(_assigned(world, "T1B"), rng=stream(6, "calls"))["engaged"].to_numpy()
    prob = world.success_prob("T1B")
    squares = (engaged - 9 * prob) ** 2
    error = squares.std() / np.sqrt(squares.size)
    assert abs(squares.mean() - ratio * 9 * prob * (1 - prob)) < 4 * error


def test_phones_are_answered_at_the_stated_rate(large: ReadingWorld) -> None:
    calls = large.calls(_assigned(large, "T2A"), rng=stream(7, "answer"))
    answered = calls["answered"].cast(pl.Float64).to_numpy()
    level = ANSWER_LEVELS["T2A"] + ANSWER_SCHOOL_SD * large.school_effect[:, 1]
    mean, error = _by_school(large, answered - special.expit(level)[large.school])
    assert abs(mean) < 4 * error
    # nobody takes part without answering
    assert calls.filter((pl.col("engaged") > 0) & ~pl.col("answered")).is_empty()


def test_answering_is_near_the_published_means() -> None:
    """Table A.7, column 3: 84.12, 85.70, 86.59, 81.70, 85.92, 85.40 %, within half a point."""
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    levels = np.array(list(ANSWER_LEVELS.values()))[:, None]
    mean = special.expit(levels + ANSWER_SCHOOL_SD * node) @ weight / weight.sum()
    assert np.abs(100 * mean - [84.12, 85.70, 86.59, 81.70, 85.92, 85.40]).max() < 0.5


def test_totals_are_met_exactly_and_keep_the_order_of_parents() -> None:
    world = simulate_reading_calls(2_878, stream(8, "world"))
    drawn = _assigned(world)
    free = world.calls(drawn, rng=stream(8, "calls"))
    totals = {"T1A": 127, "T1B": 640, "T2A": 0, "T2C": 9 * 411}
    bound = world.calls(drawn, rng=stream(8, "calls"), totals=totals)
    sums = dict(bound.group_by("arm").agg(pl.col("engaged").sum()).iter_rows())
    assert {arm: sums[arm] for arm in totals} == totals
    others = ~pl.col("arm").is_in(list(totals))
    assert bound.filter(others).equals(free.filter(others))
    more = bound.filter(arm="T1B")["engaged"] - free.filter(arm="T1B")["engaged"]
    assert more.min() >= 0


def test_control_and_unassigned_units_get_no_calls() -> None:
    world = simulate_reading_calls(2_878, stream(9, "world"))
    calls = world.calls(_assigned(world)[:700], rng=stream(9, "calls"))
    assert calls.height == 700
    control = calls.filter(arm="control")
    assert control["engaged"].sum() == 0
    assert control["answered"].null_count() == control.height
    assert calls.filter(pl.col("arm") != "control")["answered"].null_count() == 0


def test_row_order_and_other_units_do_not_matter() -> None:
    world = simulate_reading_calls(2_878, stream(10, "world"))
    drawn = _assigned(world)
    whole = world.calls(drawn, rng=stream(10, "calls"))
    mixed = world.calls(drawn.sample(fraction=1, shuffle=True, seed=1), rng=stream(10, "calls"))
    assert mixed.equals(whole)
    part = world.calls(drawn[100:900], rng=stream(10, "calls"))
    assert part.equals(whole[100:900])


def test_schools_are_unequal_and_within_bounds() -> None:
    sizes = school_sizes(2_878, 108, stream(11, "sizes"))
    assert sizes.sum() == 2_878
    assert 8 <= sizes.min() < 15
    assert 45 < sizes.max() <= 67
    assert school_sizes(8 * 5, 5, stream(11, "least")).tolist() == [8] * 5
    assert school_sizes(67 * 5, 5, stream(11, "most")).tolist() == [67] * 5


def test_bad_input_is_refused() -> None:
    rng = stream(12, "bad")
    with pytest.raises(InputError, match="found 100 units for 108 schools"):
        simulate_reading_calls(100, rng)
    with pytest.raises(InputError, match="found 3 units for 0 schools"):
        school_sizes(3, 0, rng)
    with pytest.raises(InputError, match=r"correlation 1\.0"):
        simulate_reading_calls(2_878, rng, correlation=1.0)
    world = simulate_reading_calls(2_878, rng)
    drawn = _assigned(world)
    with pytest.raises(InputError, match="found 1 rows of unknown or repeated units"):
        world.calls(drawn.vstack(drawn[:1]), rng=rng)
    stranger = pl.DataFrame({"unit_id": ["nobody"], "arm": ["T1A"]})
    with pytest.raises(InputError, match="found 1 rows of unknown or repeated units"):
        world.calls(stranger, rng=rng)
    with pytest.raises(InputError, match="found 9999 for T1A with 412 units"):
        world.calls(drawn, rng=rng, totals={"T1A": 9_999})
    with pytest.raises(InputError, match="found 'T9Z'"):
        world.arm_mean("T9Z")
