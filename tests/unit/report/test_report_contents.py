import json
from dataclasses import replace

import numpy as np
import pytest

from sample_contents import Belief, demo, effect, posterior
from wavewise.errors import InputError
from wavewise.report import ArmRow, WaveContents
from wavewise.report.contents import flow_table
from wavewise.report.numbers import UNKNOWN


def test_to_dict_is_versioned_json() -> None:
    told = json.loads(json.dumps(demo().to_dict()))
    assert told["version"] == 1
    assert told["effects"][0]["rows"][0]["estimate"] == 0.0581
    assert told["waves"][0]["checks"][0]["verdict"] == "pass"


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(InputError, match=r"'a': found std_error nan; needed a finite number"):
        replace(effect("a", 0.1, 0.1, 10), std_error=float("nan"))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_lie_between_zero_and_one(share: float) -> None:
    with pytest.raises(InputError, match=r"needed a value in \[0, 1\]"):
        ArmRow("a", "a message", share)
    with pytest.raises(InputError, match=r"needed a value in \[0, 1\]"):
        replace(demo().waves[0], next_shares={"a": share})


def test_an_arm_stands_once() -> None:
    contents = demo()
    with pytest.raises(InputError, match=r"'wave-1'.*more than once"):
        replace(contents, waves=contents.waves[:1] * 2)


def test_densities_have_as_many_heights_as_places_and_hold_all_probability() -> None:
    after = posterior([Belief("a", 20, 100, 0.3, 0.1), Belief("b", 40, 100, 0.7, 0.0)])
    for grid, height in after.densities.values():
        assert grid.shape == height.shape
        assert height[:-1] @ np.diff(grid) == pytest.approx(1, abs=0.01)


def test_missing_is_unknown_until_the_wave_is_closed() -> None:
    assert ArmRow("a", "x", 0.5, 10).n_missing is None
    assert ArmRow("a", "x", 0.5, 10, 8).n_missing == 2


def test_a_share_that_is_not_decided_is_no_number() -> None:
    undecided = ArmRow("a", "text", None)
    wave = WaveContents("w", "W", "planned", (undecided, ArmRow("b", "text", 0.4)))
    assert wave.shares == {"b": 0.4}
    assert flow_table(wave, "parents").rows[0][1] == UNKNOWN
