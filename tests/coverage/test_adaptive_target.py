"""Two waves that adapt on an index lose less of it than two that adapt on one of its outcomes."""

import numpy as np

import wavewise as ww

ARMS = np.array(["a", "b", "c", "d"])
# True effects on two outcomes in standard deviations: a wins on the first alone, d on both.
EFFECT = np.array([[0.40, -0.20], [0.20, 0.10], [0.10, 0.10], [0.30, 0.35]])
WORTH = EFFECT.mean(axis=1)  # the index, its two outcomes weighted alike


def _wave(shares: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    counts = np.floor(shares * n).astype(int) + 2
    arm = np.repeat(np.arange(ARMS.size), counts)
    return arm, EFFECT[arm] + rng.normal(size=(arm.size, 2))


def _goal(outcomes: np.ndarray, on_index: bool) -> np.ndarray:
    return outcomes.mean(axis=1) if on_index else outcomes[:, 0]


def _losses(on_index: bool, runs: int, n: int) -> tuple[float, float]:
    """Mean loss of the chosen arm, and of the units of the second wave, in the index."""
    chosen, units = 0.0, 0.0
    for run in range(runs):
        rng = np.random.default_rng([11, run])
        arm, outcomes = _wave(np.full(4, 0.25), n, rng)
        first = ww.estimate.normal_means(_goal(outcomes, on_index), ARMS[arm], arms=ARMS.tolist())
        shares = np.asarray(ww.decide.next_shares(first, rule="exploration").shares)
        more, later = _wave(shares, n, rng)
        units += (WORTH.max() - WORTH[more]).mean()
        last = ww.estimate.normal_means(
            _goal(np.vstack([outcomes, later]), on_index),
            ARMS[np.concatenate([arm, more])],
            arms=ARMS.tolist(),
        )
        chosen += WORTH.max() - WORTH[ww.decide.best_arm(last).arm == ARMS][0]
    return chosen / runs, units / runs


def test_adapting_on_the_goal_itself_loses_less_of_it() -> None:
    on_index, units_index = _losses(True, 20, 400)
    on_one, units_one = _losses(False, 20, 400)
    assert on_index < 0.02  # of the .325 between the best arm and none
    assert on_one > 0.15  # the arm that wins on one outcome is not the best one
    assert units_index < units_one
