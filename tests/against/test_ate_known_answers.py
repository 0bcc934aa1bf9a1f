"""Get-out-the-vote (Gerber, Green and Larimer 2008): effects and standard errors to the digits.

Expected numbers: statsmodels 0.15.0, on 344,084 registered voters in 180,002 households within
10,000 blocks.
"""

import numpy as np
import polars as pl
import pytest

from wavewise.estimate.effects.ate import ate

ARMS = ("Civic Duty", "Hawthorne", "Self", "Neighbors")
DIFFERENCE = (0.017899, 0.025736, 0.048513, 0.081310)
HC2 = (0.002595, 0.002609, 0.002647, 0.002692)
CR1 = (0.003237, 0.003258, 0.003300, 0.003370)
WITH_BLOCKS = (0.018042, 0.026157, 0.048885, 0.081838)
CR1_WITH_BLOCKS = (0.003011, 0.003020, 0.003063, 0.003134)

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def voters(shared_data):
    path = shared_data / "gotv" / "GerberGreenLarimer_APSR_2008_social_pressure.csv.gz"
    frame = pl.read_csv(path, schema_overrides={"hh_id": pl.Float64})
    return {
        "outcome": (frame["voted"].str.to_lowercase() == "yes").to_numpy(),
        "arm": frame["treatment"].str.strip_chars(),
        "household": frame["hh_id"],
        "block": frame["cluster"],
    }


def check(result, estimates, std_errors):
    rows = [result[arm] for arm in ARMS]
    np.testing.assert_allclose([row.estimate for row in rows], estimates, atol=1e-6)
    np.testing.assert_allclose([row.std_error for row in rows], std_errors, atol=1e-5)


def test_units(voters):
    result = ate(voters["outcome"], voters["arm"], control="Control", arms=("Control", *ARMS))
    check(result, DIFFERENCE, HC2)
    assert result.names == ARMS
    assert result.control_mean.estimate == pytest.approx(0.296638, abs=1e-6)
    assert result.control_mean.std_error == pytest.approx(0.001045, abs=1e-6)
    assert result.n_units.tolist() == [38218, 38204, 38218, 38201]
    assert result.arm_counts["Control"] == 191243


def test_households(voters):
    options = {"cluster": voters["household"], "se": "CR1"}
    result = ate(voters["outcome"], voters["arm"], control="Control", **options)
    check(result, DIFFERENCE, CR1)
    assert result.control_mean.std_error == pytest.approx(0.001310, abs=1e-6)
    assert result.n_clusters == 180_002


def test_households_within_blocks(voters):
    options = {"strata": voters["block"], "cluster": voters["household"], "se": "CR1"}
    result = ate(voters["outcome"], voters["arm"], control="Control", **options)
    check(result, WITH_BLOCKS, CR1_WITH_BLOCKS)
    assert result.n_strata == 10_000
