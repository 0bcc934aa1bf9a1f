"""The worked studies run on real data, and the demonstration on none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from study_folders import done

PROGRAMS = Path(sys.executable).parent


def _run(repository: Path, name: str, data: Path, out: Path, *more: str) -> str:
    run = subprocess.run(
        [str(repository / "examples" / name / "run"), str(data), str(out), *more],
        env={"WAVEWISE_BIN": str(PROGRAMS), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert run.returncode == 0, run.stderr + run.stdout
    return run.stdout


@pytest.mark.full
@pytest.mark.data
def test_get_out_the_vote(repository: Path, shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "gotv" / "GerberGreenLarimer_APSR_2008_social_pressure.csv.gz"
    told = _run(repository, "get-out-the-vote", file, tmp_path, "100")
    assert "All estimates agree within 1e-6, all standard errors within 1e-5." in told
    page = (tmp_path / "study" / "report" / "index.html").read_text(encoding="utf-8")
    assert "neighbors" in page.lower()
    assert "180,002 clusters" in page
    # rules learned on even households, tested on odd ones, against the strongest letter for all
    assert "No: forest and best send everybody the same message." in told
    assert "forest minus best is exactly 0 (standard error 0)" in told
    assert "No: untuned forest does worse than best" in told
    page = (tmp_path / "study" / "targeting" / "index.html").read_text(encoding="utf-8")
    assert "Does it pay to choose the letter for each voter?" in page


@pytest.mark.full
@pytest.mark.data
def test_precision_agriculture(repository: Path, shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "pad" / "pad_combined_outcomes.csv"
    told = _run(repository, "precision-agriculture", file, tmp_path)
    assert told.count("before 06-") == 13
    assert "method-2" in told


@pytest.mark.full
def test_demo_finds_the_truth_and_repeats_itself(tmp_path: Path) -> None:
    first = done("demo", "--units", "3000", "--seed", "4", "--out", tmp_path / "a", "--json").facts
    again = done("demo", "--units", "3000", "--seed", "4", "--out", tmp_path / "b", "--json").facts
    for key in ("effects", "policies", "contrasts"):
        assert first[key] == again[key]
    pages = [(tmp_path / name / "report" / "index.html").read_bytes() for name in "ab"]
    assert pages[0] == pages[1]
    assert len(first["effects"]) == 16
    assert [row["policy"] for row in first["policies"]] == [
        "best",
        "forest",
        "neighbours",
        "random",
    ]
    assert (first["contrasts"][0]["first"], first["contrasts"][0]["second"]) == ("forest", "best")
    contrasts = [row["doubly_robust"] | {"truth": row["truth"]} for row in first["contrasts"]]
    for row in [*first["effects"], *first["policies"], *contrasts]:
        # four standard errors: a false alarm once in ten thousand seeds, and the seed is fixed
        assert abs(row["estimate"] - row["truth"]) <= 4 * row["std_error"]
    assert max(row["truth"] for row in first["policies"]) < first["ceiling"]
    assert b"imulated" in pages[0]
    assert b"does choosing pay, on new outcomes?" in pages[0]
    alone = json.loads((tmp_path / "a/report/figures/effects-phase-1-login.vl.json").read_text())
    drawn = [row["truth"] for row in alone["data"]["values"]]
    assert sorted(drawn) == pytest.approx(sorted(100 * row["truth"] for row in first["effects"]))
    assert len(list((tmp_path / "a" / "policies").iterdir())) == 4
    page = tmp_path / "contexts.html"
    told = done("compare", tmp_path / "a", tmp_path / "b", "--out", page, "--json")
    assert "forest minus best" in page.read_text(encoding="utf-8")
    assert told.facts["page"] == str(page)


def test_demo_spares_other_folders(tmp_path: Path) -> None:
    from study_folders import call

    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    assert call("demo", "--units", "1000", "--out", tmp_path).code == 4
    assert (tmp_path / "mine.txt").exists()
