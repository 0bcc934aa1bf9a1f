"""kill -9 at random points: nothing twice, nothing lost, the outbox agrees with the provider."""

from pathlib import Path

import pytest

from kill_workers import Story, kill_workers
from postgres_server import new_database, running_postgres


def told_the_truth(story: Story) -> None:
    assert story.n_received_twice == 0
    assert story.n_sent_not_received == 0
    assert story.n_received_but_queued == 0
    assert story.n_received_but_cancelled_or_failed == 0
    assert story.n_lost == 0
    assert story.n_failed_at_worst == 0
    assert story.n_unknown_for_nothing == 0
    n_failed = story.states.get("failed", 0)
    assert story.states.get("sent", 0) + story.n_unknown + n_failed == story.n_messages
    assert story.n_received == story.states["sent"] + story.n_unknown_received
    # kills did hit something that was on its way
    assert story.n_unknown > 0


@pytest.mark.parametrize(
    ("n_kills", "n_messages", "rate"),
    [
        (3, 300, 60.0),
        pytest.param(6, 1_000, 60.0, marks=pytest.mark.full),
        pytest.param(200, 20_000, 40.0, marks=pytest.mark.slow),
    ],
)
def test_killed_on_sqlite(tmp_path: Path, n_kills: int, n_messages: int, rate: float) -> None:
    told_the_truth(kill_workers(tmp_path, n_kills, n_messages, rate, 1, None))


@pytest.mark.full
@pytest.mark.system
@pytest.mark.parametrize(
    ("n_kills", "n_messages", "rate"),
    [(6, 1_000, 60.0), pytest.param(200, 20_000, 40.0, marks=pytest.mark.slow)],
)
def test_killed_on_postgresql(tmp_path: Path, n_kills: int, n_messages: int, rate: float) -> None:
    with running_postgres() as server:
        url = new_database(server, "kill_test")
        told_the_truth(kill_workers(tmp_path, n_kills, n_messages, rate, 2, url))


@pytest.mark.parametrize(
    ("n_kills", "n_messages"),
    [
        pytest.param(4, 250, marks=pytest.mark.full),
        pytest.param(100, 8_000, marks=pytest.mark.full),
        pytest.param(5_000, 400_000, marks=pytest.mark.slow),
    ],
)
def test_killed_while_the_provider_answers_badly(
    tmp_path: Path, n_kills: int, n_messages: int
) -> None:
    told_the_truth(kill_workers(tmp_path, n_kills, n_messages, 80.0, 3, None, moods=7))


@pytest.mark.full
@pytest.mark.system
@pytest.mark.parametrize(
    ("n_kills", "n_messages"),
    [(100, 8_000), pytest.param(5_000, 400_000, marks=pytest.mark.slow)],
)
def test_killed_on_postgresql_while_the_provider_answers_badly(
    tmp_path: Path, n_kills: int, n_messages: int
) -> None:
    with running_postgres() as server:
        url = new_database(server, "kill_test")
        told_the_truth(kill_workers(tmp_path, n_kills, n_messages, 80.0, 4, url, moods=8))
