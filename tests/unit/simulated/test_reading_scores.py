"""Simulated reading scores have the effects, the spread and the gaps that they state."""

import numpy as np
import polars as pl
import pytest

from wavewise.errors import InputError
from wavewise.shared.streams import stream
from wavewise.simulated.reading import ReadingWorld, simulate_reading_calls
from wavewise.simulated.reading_scores import ScoreTruth, simulate_reading_scores

BEGINS = {"wave-1": "M3", "wave-2": "E3"}
ARMS = ("T1A", "T1B", "T1C", "T2A", "T2B", "T2C", "control")


@pytest.fixture(scope="module")
def world() -> ReadingWorld:
    return simulate_reading_calls(20_000, stream(1, "world"), n_schools=700)


@pytest.fixture(scope="module")
def drawn(world: ReadingWorld) -> pl.DataFrame:
    n = world.people.height
    return pl.DataFrame(
        {
            "unit_id": world.people["phone_id"],
            "wave": ["wave-1" if i % 2 else "wave-2" for i in range(n)],
            "arm": [ARMS[(i // 2) % 7] for i in range(n)],
        }
    )


def _wide(scores: pl.DataFrame) -> pl.DataFrame:
    return scores.pivot("period", index=["unit_id", "wave", "arm"], values="score")


def _all_seen(drawn: pl.DataFrame) -> dict[str, dict[str, int]]:
    return {wave: {"111": n} for wave, n in drawn["wave"].value_counts().iter_rows()}


@pytest.mark.parametrize("arm", ["T1B", "T2C"])
def test_gains_are_the_stated_ones(world: ReadingWorld, drawn: pl.DataFrame, arm: str) -> None:
    """Before against after within children, minus the same in the control group."""
    scores = simulate_reading_scores(
        world, drawn, begins=BEGINS, rng=stream(1, "gain"), patterns=_all_seen(drawn)
    )
    wide = _wide(scores).filter(wave="wave-1")
    gain = (wide["M3"] + wide["E3"]) / 2 - wide["E2"]
    means = {}
    for name in (arm, "control"):
        of_arm = gain.filter(wide["arm"] == name)
        means[name] = (of_arm.mean(), of_arm.std() / np.sqrt(len(of_arm)))
    found = means[arm][0] - means["control"][0]
    error = np.hypot(means[arm][1], means["control"][1])
    assert abs(found - ScoreTruth().effects[arm]) < 4 * error
    assert error < 1


def test_nobody_gains_before_the_calls_begin(world: ReadingWorld, drawn: pl.DataFrame) -> None:
    plain, strong = (
        simulate_reading_scores(
            world, drawn, begins=BEGINS, rng=stream(1, "same"),
            truth=ScoreTruth(effects={"T1B": effect}),
        )
        for effect in (0.0, 30.0)
    )  # fmt: skip
    moved = (strong["score"] - plain["score"]).fill_null(0.0)
    expected = plain["treated"] & (plain["arm"] == "T1B") & plain["score"].is_not_null()
    assert np.allclose(moved, 30.0 * expected.cast(pl.Float64))
    begun = plain.group_by("wave", "period").agg(pl.col("treated").mean()).rows()
    assert {(w, p) for w, p, share in begun if share == 1} == {
        ("wave-1", "M3"), ("wave-1", "E3"), ("wave-2", "E3")
    }  # fmt: skip


def test_spread_is_the_stated_one(world: ReadingWorld, drawn: pl.DataFrame) -> None:
    truth = ScoreTruth(effects={})
    scores = simulate_reading_scores(
        world, drawn, begins=BEGINS, rng=stream(1, "spread"), truth=truth,
        patterns=_all_seen(drawn),
    )  # fmt: skip
    wide = _wide(scores)
    noise = (wide["M3"] - wide["E2"]).std() / np.sqrt(2)
    assert noise == pytest.approx(truth.noise_sd, rel=0.03)
    total = truth.school_sd**2 + truth.child_sd**2 + truth.noise_sd**2
    assert wide["E2"].var() == pytest.approx(total, rel=0.05)
    # between schools: covariance of two children of one school
    centred = wide["E2"].to_numpy() - wide["E2"].mean()
    pairs = centred[:-1] * centred[1:]
    same = world.school[:-1] == world.school[1:]
    assert pairs[same].mean() == pytest.approx(truth.school_sd**2, rel=0.35)


def test_missing_scores_have_the_published_shares(world: ReadingWorld, drawn: pl.DataFrame) -> None:
    """Table A.1: 88.9, 73.5 and 80.3 % observed."""
    scores = simulate_reading_scores(world, drawn, begins=BEGINS, rng=stream(1, "gaps"))
    seen = scores.group_by("period").agg(pl.col("score").count() / pl.len())
    found = dict(seen.iter_rows())
    for period, share in (("E2", 0.889), ("M3", 0.735), ("E3", 0.803)):
        assert found[period] == pytest.approx(share, abs=0.002)


def test_missing_does_not_hang_on_the_score(world: ReadingWorld, drawn: pl.DataFrame) -> None:
    patterns = {wave: {"111": 6_000} for wave in BEGINS}
    some = simulate_reading_scores(
        world, drawn, begins=BEGINS, rng=stream(1, "mar"), patterns=patterns
    )
    whole = simulate_reading_scores(
        world, drawn, begins=BEGINS, rng=stream(1, "mar"), patterns=_all_seen(drawn)
    )
    lost = some["score"].is_null()
    by_school = pl.DataFrame(
        {"school": np.repeat(world.school, 3), "lost": lost, "y": whole["score"]}
    )
    inside = by_school.with_columns(
        y=pl.col("y") - pl.col("y").mean().over("school"),
        lost=pl.col("lost").cast(pl.Float64) - pl.col("lost").mean().over("school"),
    )
    correlation = np.corrcoef(inside["y"], inside["lost"])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(world.people.height)


def test_patterns_are_counted_exactly_and_gather_in_schools(
    world: ReadingWorld, drawn: pl.DataFrame
) -> None:
    patterns = {"wave-1": {"111": 900, "101": 77, "001": 3}, "wave-2": {"110": 50}}
    scores = simulate_reading_scores(
        world, drawn, begins=BEGINS, rng=stream(1, "patterns"), patterns=patterns
    )
    wide = _wide(scores).with_columns(
        pattern=pl.concat_str(pl.col(p).is_not_null().cast(pl.Int8) for p in ("E2", "M3", "E3"))
    )
    found = {
        wave: dict(part["pattern"].value_counts().iter_rows())
        for (wave,), part in wide.partition_by("wave", as_dict=True).items()
    }
    assert found["wave-1"] == patterns["wave-1"] | {"000": 10_000 - 980}
    assert found["wave-2"] == patterns["wave-2"] | {"000": 10_000 - 50}


def test_limits_and_order(world: ReadingWorld, drawn: pl.DataFrame) -> None:
    scores, again = (
        simulate_reading_scores(
            world, frame, begins=BEGINS, rng=stream(1, "limits"), limits=(0, 85)
        )
        for frame in (drawn, drawn.sample(fraction=1, shuffle=True, seed=3))
    )
    assert scores.equals(again)
    seen = scores["score"].drop_nulls()
    assert (seen.min(), seen.max()) == (0, 85)
    assert (seen == seen.round()).all()


def test_bad_input_is_refused(world: ReadingWorld, drawn: pl.DataFrame) -> None:
    rng = stream(1, "bad")
    with pytest.raises(InputError, match="found X9; needed exams of E2, M3, E3"):
        simulate_reading_scores(world, drawn, begins={"wave-1": "X9"}, rng=rng)
    with pytest.raises(InputError, match="found no exam for wave-2"):
        simulate_reading_scores(world, drawn, begins={"wave-1": "M3"}, rng=rng)
    with pytest.raises(InputError, match="found 10001 children in wave-1; needed at most 10000"):
        simulate_reading_scores(
            world, drawn, begins=BEGINS, rng=rng, patterns={"wave-1": {"111": 10_001}}
        )
