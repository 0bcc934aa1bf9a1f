"""The Kenya example: both waves from spec to report, then every table beside the printed one."""

import json
import os
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

PROGRAMS = Path(sys.executable).parent
DRAWS = 2_000

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def ran(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and output of one run."""
    out = tmp_path_factory.mktemp("kenya")
    run = subprocess.run(
        [str(repository / "examples" / "kenya-ivr" / "run"), str(out)],
        env={**os.environ, "WAVEWISE_BIN": str(PROGRAMS), "KENYA_DRAWS": str(DRAWS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert run.returncode == 0, run.stderr + run.stdout
    return out, run.stdout


@pytest.fixture(scope="module")
def tables(ran: tuple[Path, str]) -> dict[str, Any]:
    return json.loads((ran[0] / "tables.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def figures(repository: Path) -> dict[str, Any]:
    path = repository / "examples" / "kenya-ivr" / "printed.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_allocation_is_the_printed_one(tables: dict[str, Any], figures: dict[str, Any]) -> None:
    table, printed = tables["2"], figures["table_2"]
    assert np.round(table["target"], 4).tolist() == printed["wave_2"]["target"]
    assert table["n_students"]["wave-1"] == printed["wave_1"]["n_students"]
    assert table["n_students"]["wave-2"] == printed["wave_2"]["n_students"]


def test_what_was_decided_after_wave_1(tables: dict[str, Any]) -> None:
    """The workflow's own shares: the control keeps a seventh, T1B gets most, T2C hardly any."""
    decided = tables["2"]["decided"]
    assert decided[-1] == pytest.approx(1 / 7, abs=1e-12)
    assert sum(decided) == pytest.approx(1, abs=1e-9)
    assert int(np.argmax(decided)) == 1
    assert decided[5] < 0.001
    assert 0.76 < tables["2"]["prob_optimal_T1B"] < 0.97


def test_raw_numbers_and_success_probability(
    tables: dict[str, Any], figures: dict[str, Any]
) -> None:
    table, printed = tables["3"], figures["table_3"]
    assert table["attempts"] == printed["attempts"]
    assert table["successes"] == [215, 590, 336, 122, 205, 81]
    shares = np.array(table["successes"]) / table["attempts"]
    assert np.round(shares, 4).tolist() == pytest.approx(printed["share_successful"], abs=1e-9)
    at_printed = np.array(table["success_prob_at_printed_beta"])
    assert np.abs(at_printed - printed["success_prob"]).max() < 5e-4


def test_means_of_engagement(tables: dict[str, Any], figures: dict[str, Any]) -> None:
    for key, found in tables["A.3"]["mean"].items():
        known = [mean for mean in found if mean is not None]
        assert np.round(known, 3).tolist() == pytest.approx(figures["table_A3"][key], abs=1e-9)


def test_sizes_of_the_reading_samples(tables: dict[str, Any], figures: dict[str, Any]) -> None:
    for key in ("balanced", "unbalanced"):
        found, printed = tables["4"][key], figures["table_4"][key]
        assert found["n_scores"] == printed["n_observations"]
        assert found["n_students"] == printed["n_students"]


def test_posteriors_are_near_the_printed_ones(
    tables: dict[str, Any], figures: dict[str, Any]
) -> None:
    """In kind: same sizes of standard errors, coefficients within two of them."""
    table, printed = tables["1"]["both"], figures["table_1"]["both"]
    assert table["n_students"] == printed["n_students"]
    low, high = np.array(table["cred_int"]).T
    width = np.array(printed["high"]) - printed["low"]
    assert np.abs((high - low) / width - 1).max() < 0.15
    assert np.abs(np.array(table["mean"]) - printed["mean"]).max() < width.min() / 2
    # known truth, drawn scores: all arms within four posterior standard deviations
    truth = figures["table_4"]["unbalanced"]["mean"][1:]
    for term, effect in zip(tables["4"]["unbalanced"]["terms"][1:], truth, strict=True):
        assert abs(term["mean"] - effect) < 4 * term["sd"]


def test_both_models_choose_the_arm_that_was_chosen(tables: dict[str, Any]) -> None:
    assert int(np.argmin(tables["3"]["policy_regret"])) == 1
    checks = tables["model check"]
    assert checks["plain"]["check"] == "fail"
    assert checks["overdispersed"]["check"] == "pass"
    plain, loose = (checks[name]["prob_optimal"] for name in ("plain", "overdispersed"))
    assert int(np.argmax(plain)) == int(np.argmax(loose)) == 1
    # the plain model is too sure
    assert loose[1] < plain[1] - 0.02


def test_every_table_says_whether_it_can_be_had(ran: tuple[Path, str]) -> None:
    told = ran[1]
    verdicts = {
        "1": "in kind", "2": "exactly", "3": "in part exactly", "4": "in part exactly",
        "5": "in part exactly", "A.1": "in part exactly", "A.2": "in kind",
        "A.3": "exactly", "A.4": "in kind", "A.6": "in kind", "A.7": "in kind",
    }  # fmt: skip
    for number, verdict in verdicts.items():
        part = told.split(f"Table {number}: ")[1].split("\nTable ")[0]
        assert f"Reproduced {verdict}. " in part
    assert "Every figure that the published totals determine agrees." in told


def test_figures_and_priors(ran: tuple[Path, str], tables: dict[str, Any]) -> None:
    for name in ("figure-3", "figure-4"):
        assert (ran[0] / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert (ran[0] / f"{name}.svg").read_text("utf-8").startswith("<svg")
    engagement, reading = (tables[f"priors, {name}"] for name in ("engagement", "reading"))
    assert len(engagement["priors"]) == 8
    assert {prior["best_arm"] for prior in engagement["priors"]} == {"T1B"}
    assert len(reading["priors"]) == 9


def test_the_workflow_fits_the_reading_model_to_what_was_delivered(
    ran: tuple[Path, str], tables: dict[str, Any]
) -> None:
    """The same samples as Table 4, from deliveries that were observed and frozen."""
    decided = json.loads((ran[0] / "study" / "decided-after-wave-2.json").read_text("utf-8"))
    (model,) = decided["score_models"]
    for sample, key in zip(model["samples"], ("balanced", "unbalanced"), strict=True):
        table = tables["4"][key]
        assert sum(map(sum, sample["by_arm"]["n_observed"])) == table["n_scores"]
        assert sample["by_arm"]["n_units"] == table["n_students"]
        # another prior (scaled to the scores) and other draws: effects hardly move
        ours = {row["term"]: row for row in sample["by_arm"]["terms"]}
        for row in table["terms"][1:]:
            assert abs(ours[row["term"]]["mean"] - row["mean"]) < row["sd"] / 3
    text = (ran[0] / "study" / "analysis-of-wave-2.txt").read_text("utf-8")
    assert "Panel A: effect by arm" in text
    page = (ran[0] / "study" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Scores by period" in page


def test_participants_scaled_effects_and_figures(
    ran: tuple[Path, str], tables: dict[str, Any], figures: dict[str, Any]
) -> None:
    found = tables["participants"]
    printed = figures["participants"]
    assert {arm: round(found["share"][arm], 4) for arm in printed} == printed
    welfare = found["welfare"]
    assert welfare["equal"] < welfare["adaptive"] < 0.0840
    scaled = tables["4, scaled"]
    assert scaled["printed_baseline_sd"] == pytest.approx(25.8, abs=0.1)
    assert len(tables["figure A.2"]) == 6
    for name in ("figure-1", "figure-2", "figure-3", "figure-4", "figure-A1", "figure-A2"):
        assert (ran[0] / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "Figure A.2: Observed call engagement" in ran[1]


def test_decision_and_report(ran: tuple[Path, str]) -> None:
    decided = json.loads((ran[0] / "study" / "decided-after-wave-2.json").read_text("utf-8"))
    assert decided["arm"] == "T1B"
    assert decided["policy_regret"] < 0.001
    page = (ran[0] / "study" / "report" / "index.html").read_text(encoding="utf-8")
    assert "T1B" in page
    assert "posterior predictive check" in page.lower()


def test_data_meet_the_totals_and_are_the_same_each_time(
    ran: tuple[Path, str], repository: Path, tmp_path: Path
) -> None:
    script = repository / "examples" / "kenya-ivr" / "make_data.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
    names = ("people.csv", "wave-1.csv", "wave-2.csv", "scores.csv", "scores-1.csv", "scores-2.csv")
    for name in names:
        assert (tmp_path / name).read_bytes() == (ran[0] / "data" / name).read_bytes()
    people = pl.read_csv(tmp_path / "people.csv")
    assert people["school"].n_unique() == 108
    scores = pl.read_csv(tmp_path / "scores.csv")
    seen = scores.group_by("period").agg(pl.col("score").count() / pl.col("phone_id").count())
    found = {period: round(share, 3) for period, share in seen.iter_rows()}
    assert found == {"E2": 0.889, "M3": 0.735, "E3": 0.803}
    late = (
        scores.drop_nulls("score")
        .group_by("period")
        .agg(n=(pl.col("delivered") == "2021-08-20").sum())
    )
    assert dict(late.iter_rows()) == {"E2": 286, "M3": 0, "E3": 425}
    wave_1 = pl.read_csv(tmp_path / "wave-1.csv")
    sums = dict(wave_1.group_by("arm").agg(pl.col("engaged").sum()).iter_rows())
    wanted = {"T1A": 127, "T1B": 164, "T1C": 131, "T2A": 116, "T2B": 122, "T2C": 81, "control": 0}
    assert sums == wanted


def test_the_study_file_is_the_template_with_imported_waves(repository: Path) -> None:
    text = (repository / "examples" / "kenya-ivr" / "study.toml").read_text(encoding="utf-8")
    home = resources.files("wavewise.design.templates")
    template = tomllib.loads((home / "kenya-ivr.toml").read_text(encoding="utf-8"))
    ours = tomllib.loads(text)
    assert [outcome for outcome in ours["outcomes"] if outcome["id"] != "answered"] == (
        template["outcomes"]
    )
    for wave, planned in zip(ours["waves"], template["waves"], strict=True):
        assert "imported" in wave
        same = set(planned) - {"units"}
        assert {key: wave[key] for key in same} == {key: planned[key] for key in same}
    # who is in an imported wave was enrolled elsewhere
    invited = {name for one in template.pop("enrolment") for name in one["messages"]}
    template["messages"] = [one for one in template["messages"] if one["id"] not in invited]
    del template["flows"]["introduction"], template["schedules"]["introduction"]
    same = set(template) - {"units", "outcomes", "waves"}
    assert {key: ours[key] for key in same} == {key: template[key] for key in same}
