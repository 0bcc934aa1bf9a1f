import json
from dataclasses import replace

import pytest

from sample_contents import demo, effect
from wavewise.errors import InputError
from wavewise.report import ArmRow, Density, ShareRow, WaveContents
from wavewise.report.tables import UNKNOWN, flow_table


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
        ShareRow("a", share)


def test_an_arm_stands_once() -> None:
    contents = demo()
    with pytest.raises(InputError, match=r"'wave-1'.*more than once"):
        replace(contents, waves=contents.waves[:1] * 2)


def test_densities_have_as_many_heights_as_places() -> None:
    with pytest.raises(InputError, match="found 2 grid points and 1 densities"):
        Density("a", (0.0, 1.0), (1.0,))


def test_missing_is_unknown_until_the_wave_is_closed() -> None:
    assert ArmRow("a", "x", 0.5, 10).n_missing is None
    assert ArmRow("a", "x", 0.5, 10, 8).n_missing == 2


def test_a_share_that_is_not_decided_is_no_number() -> None:
    undecided = ArmRow("a", "text", None)
    wave = WaveContents("w", "W", "planned", (undecided, ArmRow("b", "text", 0.4)))
    assert wave.known_shares == {"b": 0.4}
    assert flow_table(wave, "parents").rows[0][1] == UNKNOWN
