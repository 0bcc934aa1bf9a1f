"""Table 3 of the Kenya study: success probabilities from printed coefficients; raw numbers."""

from typing import Any

import numpy as np
from scipy import integrate, special

from wavewise.estimate.binomial.success import over_new_clusters

TOLERANCE = 5e-4  # .05 percentage points: the printed coefficients have two decimals


def _at_printed_beta(printed: dict[str, Any]) -> np.ndarray:
    table = printed["table_3"]
    return over_new_clusters(np.array([[*table["beta_mean"], np.log(table["kappa"])]]))[0]


def test_success_prob_at_printed_beta_is_the_printed_one(printed: dict[str, Any]) -> None:
    wanted = printed["table_3"]["success_prob"]
    assert np.abs(_at_printed_beta(printed) - wanted).max() < TOLERANCE


def test_it_is_the_mean_over_schools(printed: dict[str, Any]) -> None:
    """The same integral by adaptive quadrature, to 1e-9."""
    table = printed["table_3"]
    for beta, found in zip(table["beta_mean"], _at_printed_beta(printed), strict=True):

        def mass(z: float, beta: float = beta) -> float:
            return float(
                special.expit(beta + table["kappa"] * z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
            )

        exact, _ = integrate.quad(mass, -12, 12, epsabs=1e-12)
        assert abs(found - exact) < 1e-7


def test_logistic_of_beta_is_not(printed: dict[str, Any]) -> None:
    """Plain logistic(beta) is 0.4 points or more too low in every arm."""
    table = printed["table_3"]
    plain = special.expit(np.array(table["beta_mean"]))
    assert (np.array(table["success_prob"]) - plain > 0.004).all()


def test_raw_numbers_follow_from_counts_and_means(printed: dict[str, Any]) -> None:
    """Attempts are 9 a phone, shares are Table A.3's sums: one T1C phone has no call records."""
    waves = [np.array(printed["table_2"][w]["n_students"][:6]) for w in ("wave_1", "wave_2")]
    waves[1][2] -= 1
    attempts = printed["sets_per_wave"] * (waves[0] + waves[1])
    assert attempts.tolist() == printed["table_3"]["attempts"]
    means = [np.array([*printed["table_A3"][w], 0.0])[:6] for w in ("wave_1", "wave_2")]
    sums = [np.rint(n * mean) for n, mean in zip(waves, means, strict=True)]
    shares = (sums[0] + sums[1]) / attempts
    assert np.abs(shares - printed["table_3"]["share_successful"]).max() < 0.500001e-4
    both = (sums[0] + sums[1]) / (waves[0] + waves[1])
    assert np.abs(both - printed["table_A3"]["both"]).max() < 0.500001e-3
    for total, n, mean in zip(sums, waves, means, strict=True):
        assert np.abs(total[n > 0] / n[n > 0] - mean[n > 0]).max() < 0.500001e-3
