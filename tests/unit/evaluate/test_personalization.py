"""Power of personalization: no differences, large ones, and what the second phase shows."""

import numpy as np
import pytest
from scipy import special

import wavewise as ww
from wavewise.errors import InputError
from wavewise.shared.results import NotEstimable

E = ww.evaluate


def _power(heterogeneity: float, **options) -> E.PersonalizationPower:
    options = {"n_first": [1_000, 6_000], "n_simulations": 4, **options}
    return E.personalization_power(
        E.Assumptions(0.36, [0.02, 0.03, 0.01], heterogeneity, shape="step"),
        n_per_policy=25_000,
        n_trees=40,
        min_arm_leaf=25,
        rng=np.random.default_rng(5),
        **options,
    )


def test_without_differences_there_is_nothing_to_gain() -> None:
    found = _power(0.0)
    assert isinstance(found.pays_from, NotEstimable)
    for row in found.rows:
        assert row.oracle_gain == 0
        assert row.gain.value <= row.gain.mc_error
        assert row.power.value < 0.05


def test_large_differences_are_found() -> None:
    found = _power(0.12)
    first, second = found.rows
    assert second.gain.value > first.gain.value
    assert 0 < second.gain.value < second.oracle_gain
    assert second.power.value > 0.9
    assert isinstance(found.pays_from, float)
    assert found.to_frame().height == 2
    assert f"{found.rows[0].n_first:,}" in found.summary()


def test_power_is_that_of_the_second_phase() -> None:
    found = _power(0.12, n_first=2_000)
    second = E.power(rate=0.39, n_per_arm=25_000, contrast="policy", convention="treated part")
    assert found.std_error == second.std_error
    assert found.convention == second.convention
    whole = _power(0.12, n_first=2_000, convention="whole arm")
    assert whole.rows[0].gain == found.rows[0].gain
    assert whole.rows[0].power.value <= found.rows[0].power.value


def test_second_phases_in_full_find_it_as_often() -> None:
    """Given a gain, two treated parts compared as real ones are."""
    gain, n = 0.012, 12_500
    second = E.power(rate=0.39, n_per_arm=2 * n, contrast="policy", convention="treated part")
    rng = np.random.default_rng(1)
    rates = rng.binomial(n, [0.39 + gain, 0.39], size=(20_000, 2)) / n
    error = np.sqrt((rates * (1 - rates) / n).sum(axis=1))
    found = np.mean(rates[:, 0] - rates[:, 1] > 1.96 * error)
    formula = special.ndtr(gain / second.std_error - second.critical)
    assert found == pytest.approx(formula, abs=0.01 + 3.5 * np.sqrt(0.25 / 20_000))


def test_guess_from_first_phase_data() -> None:
    rng = np.random.default_rng(2)
    guess = E.Assumptions(0.36, [0.02, 0.05], 0.1)
    X = rng.normal(size=(6_000, 6))
    arm = rng.integers(0, 3, 6_000)
    tau = np.column_stack([np.zeros(6_000), guess.tau(X)])[np.arange(6_000), arm]
    y = (rng.random(6_000) < np.clip(guess.base(X) + tau, 0, 1)).astype(float)
    names = np.array(["control", "a", "b"])[arm]
    forest = ww.estimate.causal_forest(
        X, names, y, control="control", propensity=dict.fromkeys(["control", "a", "b"], 1 / 3),
        n_trees=100, min_arm_leaf=25, rng=rng,
    )  # fmt: skip
    again = E.Assumptions.from_forest(forest, 0.36)
    assert again.effects == pytest.approx([0.02, 0.05], abs=0.06)
    assert 0.03 < again.heterogeneity_sd < 0.13


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: E.Assumptions(1.2, [0.1, 0.2], 0.1), "rate"),
        (lambda: E.Assumptions(0.2, [0.1], 0.1), "two effects"),
        (lambda: E.Assumptions(0.2, [0.1, 0.2], -0.1), "such as 0.02"),
        (lambda: _power(0.1, n_first=30), "80 or more"),
        (lambda: _power(0.1, n_first=[2_000, 1_000]), "small to large"),
        (lambda: _power(0.1, n_simulations=1), "such as 50"),
    ],
)
def test_bad_input_is_named(make, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
