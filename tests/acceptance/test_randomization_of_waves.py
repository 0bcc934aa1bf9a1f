"""The command line draws a study's waves again: one wave, and an adaptive one with its teacher."""

import pytest

from study_folders import assignment, call, done, events, make_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("again") / "study")
    for wave, starts in (("one", "2024-03-04"), ("two", "2024-04-01")):
        done("wave", "open", folder, wave)
        done("observe", folder, events(folder, assignment(folder, wave), starts, f"{wave}.csv"))
        done("wave", "close", folder, wave)
        if wave == "one":
            assert call("analyze", folder, "two", "--randomization-draws", 50).code == 6
            done("decide", folder, "one")
    return folder


def test_one_wave_has_intervals(study) -> None:
    facts = done("analyze", study, "one", "--randomization-draws", 200, "--json").facts
    found = facts["randomization_test"]
    assert found["waves"] == ["one"]
    assert found["control"] == "control"
    assert 0 < found["p_value"] <= 1
    assert found["mc_error"] > 0
    assert {row["arm"] for row in found["rows"]} == {"peers", "teacher"}
    assert all(row["conf_low"] < row["estimate"] < row["conf_high"] for row in found["rows"])
    assert "randomization_test" not in done("analyze", study, "one", "--json").facts


def test_adaptive_wave_is_drawn_again_with_the_wave_it_learned_on(study) -> None:
    first = done("analyze", study, "two", "--randomization-draws", 100, "--json").facts
    found = first["randomization_test"]
    assert found["waves"] == ["one", "two"]
    assert found["draws"] == 100
    assert all(row["conf_low"] is None for row in found["rows"])
    again = done("analyze", study, "two", "--randomization-draws", 100, "--json").facts
    assert again["randomization_test"] == found
    assert "Monte Carlo error" in call("analyze", study, "two", "--randomization-draws", 50).out


def test_a_wave_with_small_strata_is_drawn_again_unasked(tmp_path) -> None:
    """Fewer than five units per arm and stratum: normal intervals are in doubt."""
    folder = make_study(tmp_path / "study", n=40)
    done("wave", "open", folder, "one")
    done("observe", folder, events(folder, assignment(folder, "one"), "2024-03-04", "one.csv"))
    done("wave", "close", folder, "one")
    found = done("analyze", folder, "one", "--json").facts["randomization_test"]
    assert (found["draws"], found["waves"]) == (1_000, ["one"])
    assert {row["arm"] for row in found["rows"]} == {"peers", "teacher"}
    assert "Re-randomization of waves one" in call("analyze", folder, "one").out
    without = done("analyze", folder, "one", "--randomization-draws", 0, "--json").facts
    assert "randomization_test" not in without
