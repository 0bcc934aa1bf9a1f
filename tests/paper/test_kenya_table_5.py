"""Table 5 of the Kenya study from its published totals, and panel B from panel A."""

from typing import Any

import numpy as np
import pytest

import wavewise as ww

SETS = 9


def totals(printed: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Phones with records, engaged sets and propensities, one entry an arm and wave."""
    first = np.array(printed["table_2"]["wave_1"]["n_students"][:6])
    second = np.array(printed["table_3"]["attempts"]) // SETS - first  # one T1C phone has none
    mean = printed["table_A3"]
    engaged = np.concatenate(
        [np.round(first * mean["wave_1"]), np.round(second[:5] * mean["wave_2"])]
    )
    best = np.array(printed["table_2"]["best_draws"]) / printed["mcmc_draws"]
    shares = ww.decide.shares(best, rule="exploration", control_share=1 / 7)
    phones = np.concatenate([first, second[:5]])
    return phones, engaged, np.concatenate([np.full(6, 1 / 7), shares[:5]])


@pytest.mark.parametrize(
    ("stabilizer", "column"), [("none", "without_school"), ("sqrt", "weighted")]
)
def test_both_columns_without_school_effects_to_every_digit(
    printed: dict[str, Any], stabilizer: str, column: str
) -> None:
    """Estimates need totals by arm and wave only; all twelve are the printed ones."""
    phones, engaged, propensity = totals(printed)
    # any spread over phones gives the same estimates: here as many as can be engage in all sets
    each = [
        np.clip(sets - SETS * np.arange(n), 0, SETS)
        for n, sets in zip(phones, engaged, strict=True)
    ]
    found = ww.estimate.weighted_m(
        np.concatenate(each),
        np.repeat([*range(6), *range(5)], phones),
        np.repeat(propensity, phones),
        family="binomial",
        trials=SETS,
        stabilizer=stabilizer,
    )
    assert np.round(found.arm_estimate, 2).tolist() == printed["table_5"][column]["mean"]


@pytest.mark.parametrize("column", ["with_school", "without_school", "weighted"])
def test_panel_b_is_the_projection_interval_of_panel_a(
    printed: dict[str, Any], column: str
) -> None:
    panel = printed["table_5"][column]
    std_error = (np.array(panel["high"]) - np.array(panel["low"])) / (2 * 1.959964)
    found = ww.estimate.winner(panel["mean"], std_error**2, method="projection")
    assert found.arm == 1
    assert np.allclose(found.conf, panel["winner"][1:], atol=0.0101)
    # the others are narrower by more than rounding
    for method in ("hybrid", "conditional"):
        other = ww.estimate.winner(panel["mean"], std_error**2, method=method)
        assert other.conf_high < panel["winner"][2] - 0.0101
