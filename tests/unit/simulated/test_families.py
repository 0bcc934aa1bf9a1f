"""The simulated field answers with the truth that it states."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from wavewise.errors import InputError
from wavewise.shared.streams import stream
from wavewise.simulated import FamilyWorld, simulate_families

STARTS = datetime(2023, 10, 9, tzinfo=ZoneInfo("America/Lima"))
SEQUENCES = {"control": (), "parent": ("parent",), "peers+teacher": ("peers", "teacher")}


@pytest.fixture(scope="module")
def world() -> FamilyWorld:
    return simulate_families(40_000, stream(3, "families"))


def _events(world: FamilyWorld, arms: list[str], name: str) -> pl.DataFrame:
    drawn = pl.DataFrame({"unit_id": world.people["parent_id"], "arm": arms})
    return world.events(
        drawn, SEQUENCES, starts=STARTS, window_days=21, rng=stream(3, name), prefix=name
    )


@pytest.mark.parametrize("arm", list(SEQUENCES))
def test_logins_come_at_the_stated_rate(world: FamilyWorld, arm: str) -> None:
    n = world.people.height
    events = _events(world, [arm] * n, arm)
    rate = events.filter(pl.col("kind") == "login")["unit_id"].n_unique() / n
    truth = world.login_prob(SEQUENCES[arm])
    std_error = np.sqrt((truth * (1 - truth)).sum()) / n
    assert abs(rate - world.arm_mean(SEQUENCES[arm])) < 4 * std_error


def test_messages_differ_and_families_differ(world: FamilyWorld) -> None:
    control = world.login_prob(())
    gains = {m: world.login_prob((m,)) - control for m in ("teacher", "peers", "parent", "future")}
    means = {message: gain.mean() for message, gain in gains.items()}
    assert max(means, key=means.get) == "parent"
    assert all(gain.std() > 0.001 for gain in gains.values())


def test_events_lie_in_the_window_and_carry_what_they_need(world: FamilyWorld) -> None:
    arms = [list(SEQUENCES)[i % 3] for i in range(world.people.height)]
    events = _events(world, arms, "mixed").with_columns(
        pl.col("at").str.to_datetime(time_zone="UTC")
    )
    assert events["event_id"].n_unique() == events.height
    assert events["at"].min() >= STARTS
    assert (events["at"].max() - STARTS).days < 21
    sessions = events.filter(pl.col("kind") == "session")
    assert sessions["value"].null_count() == 0
    assert sessions["value"].min() >= 0


def test_the_order_of_the_assignment_does_not_matter(world: FamilyWorld) -> None:
    arms = [list(SEQUENCES)[i % 3] for i in range(world.people.height)]
    drawn = pl.DataFrame({"unit_id": world.people["parent_id"], "arm": arms})
    made = [
        world.events(frame, SEQUENCES, starts=STARTS, window_days=21, rng=stream(3, "order"))
        for frame in (drawn, drawn.sample(fraction=1.0, shuffle=True, seed=2))
    ]
    assert made[0].equals(made[1])


def test_unassigned_families_do_nothing(world: FamilyWorld) -> None:
    some = pl.DataFrame({"unit_id": world.people["parent_id"][:10], "arm": ["control"] * 10})
    events = world.events(some, SEQUENCES, starts=STARTS, window_days=7, rng=stream(3, "few"))
    assert set(events["unit_id"]) <= set(some["unit_id"])


def test_unknown_messages_and_no_families_are_refused(world: FamilyWorld) -> None:
    with pytest.raises(InputError, match="found message 'nobody'"):
        world.login_prob(("nobody",))
    with pytest.raises(InputError, match="found 0 units"):
        simulate_families(0, stream(1, "none"))


PAIRS = {
    f"{first}+{second}": (first, second)
    for first in ("teacher", "peers", "parent", "future")
    for second in ("teacher", "peers", "parent", "future")
}


def test_both_seasons_have_the_registered_login_rates(world: FamilyWorld) -> None:
    summer = simulate_families(40_000, stream(3, "families"), season="summer")
    assert summer.people.equals(world.people)
    found = (world.arm_mean(()), world.arm_mean((), later=True), summer.arm_mean((), later=True))
    assert np.allclose(found, (0.42, 0.36, 0.02), atol=0.01)
    with pytest.raises(InputError, match="found 'winter'"):
        simulate_families(10, stream(1, "none"), season="winter")  # type: ignore[arg-type]


def test_the_truth_of_policies(world: FamilyWorld) -> None:
    n = world.people.height
    uniform = np.zeros((n, 2))
    uniform[:, 1] = 1.0
    arms = ("teacher+peers", "parent+parent")
    assert np.isclose(
        world.policy_mean(uniform, arms, PAIRS), world.arm_mean(("parent", "parent"), later=True)
    )
    half = world.policy_mean(np.full((n, 2), 0.5), arms, PAIRS)
    assert np.isclose(half, np.mean([world.arm_mean(PAIRS[a], later=True) for a in arms]))
    by_hand = np.column_stack([world.login_prob(s, later=True) for s in PAIRS.values()])
    best = world.best_mean(PAIRS)
    assert np.isclose(best, by_hand.max(axis=1).mean())
    # choosing for each family is worth more than a percentage point in the school year
    assert best - by_hand.mean(axis=0).max() > 0.01
    chosen = np.eye(len(PAIRS))[by_hand.argmax(axis=1)]
    assert np.isclose(world.policy_mean(chosen, tuple(PAIRS), PAIRS), best)
    with pytest.raises(InputError, match="one row for each of"):
        world.policy_mean(uniform[:5], arms, PAIRS)


def test_later_waves_are_drawn_at_the_later_rate(world: FamilyWorld) -> None:
    n = world.people.height
    drawn = pl.DataFrame({"unit_id": world.people["parent_id"], "arm": ["control"] * n})
    events = world.events(
        drawn, SEQUENCES, starts=STARTS, window_days=21, rng=stream(3, "later"), later=True
    )
    rate = events.filter(pl.col("kind") == "login")["unit_id"].n_unique() / n
    assert abs(rate - world.arm_mean((), later=True)) < 4 * np.sqrt(0.25 / n)
