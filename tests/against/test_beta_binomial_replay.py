"""A real adaptive roll-out replayed: the shares that were issued before each wave."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest

from wavewise.decide import exploration_shares
from wavewise.estimate import beta_binomial

WAVE_SIZE = 600

# 600 q before each adaptive wave, to 0.1 of a person (exact Beta(1, 1) posterior)
EXPECTED = {
    "06-05": (91.4, 277.6, 91.4, 59.1, 21.4, 59.1),
    "06-07": (81.0, 232.0, 161.9, 47.6, 10.2, 67.4),
    "06-09": (148.7, 256.8, 78.4, 22.4, 14.3, 79.4),
    "06-11": (45.2, 250.7, 112.2, 8.1, 96.2, 87.7),
    "06-13": (35.7, 186.3, 122.6, 5.5, 172.5, 77.4),
    "06-15": (77.0, 212.0, 79.1, 5.5, 75.9, 150.5),
    "06-18": (29.9, 228.8, 84.5, 7.7, 104.5, 144.6),
    "06-20": (48.8, 194.1, 172.6, 11.3, 67.4, 105.8),
    "06-22": (49.7, 188.8, 156.6, 7.8, 94.9, 102.3),
    "06-24": (35.4, 244.9, 163.4, 19.4, 58.1, 78.8),
    "06-26": (35.4, 259.2, 188.5, 8.1, 39.6, 69.2),
    "06-28": (39.8, 276.9, 122.7, 16.8, 64.7, 79.2),
    "06-30": (47.6, 279.1, 136.6, 18.2, 62.2, 56.3),
}


@pytest.fixture(scope="module")
def counts(shared_data):
    """(successes, trials) of each wave, by date in order of time."""
    frame = pl.read_csv(shared_data / "pad" / "pad_combined_outcomes.csv")
    dates = [datetime.strptime(text, "%m/%d/%Y").strftime("%m-%d") for text in frame["date"]]
    frame = frame.with_columns(day=pl.Series(dates))
    waves = {}
    for day in sorted(set(dates)):
        wave = frame.filter(pl.col("day") == day)
        arm = wave["treatment"].to_numpy() - 1
        outcome = wave["outcome"].to_numpy()
        waves[day] = np.bincount(arm, outcome, 6).astype(int), np.bincount(arm, minlength=6)
    return waves


@pytest.mark.data
def test_the_shares_before_each_of_the_13_waves(counts):
    successes, trials = np.zeros(6, dtype=int), np.zeros(6, dtype=int)
    replayed = {}
    for day, (y, n) in counts.items():
        if trials.sum():
            replayed[day] = WAVE_SIZE * exploration_shares(beta_binomial(successes, trials))
        successes, trials = successes + y, trials + n
    assert list(replayed) == list(EXPECTED)
    for day, shares in replayed.items():
        np.testing.assert_allclose(shares, EXPECTED[day], atol=0.0501, err_msg=day)
    assert trials.sum() == 8400


@pytest.mark.data
def test_the_counts_that_were_issued_lie_near(counts):
    """The roll-out drew its probabilities by simulation: a few people beside the exact shares."""
    issued = {day: n for day, (_, n) in counts.items()}
    gaps = [np.abs(issued[day] - EXPECTED[day]).max() for day in EXPECTED]
    assert max(gaps) < 6


def test_the_final_posterior():
    posterior = beta_binomial(
        [139, 624, 324, 48, 166, 222], [867, 3188, 1766, 334, 987, 1258], prior=(1, 1)
    )
    np.testing.assert_allclose(
        posterior.prob_optimal,
        [0.005915, 0.777613, 0.132059, 0.008252, 0.019548, 0.056613],
        atol=1e-6,
    )
    np.testing.assert_allclose(
        exploration_shares(posterior.prob_optimal),
        [0.015713, 0.462150, 0.306315, 0.021872, 0.051220, 0.142730],
        atol=1e-6,
    )
    np.testing.assert_allclose(
        posterior.policy_regret,
        [0.036244, 0.001424, 0.013525, 0.051515, 0.028491, 0.020364],
        atol=1e-6,
    )
