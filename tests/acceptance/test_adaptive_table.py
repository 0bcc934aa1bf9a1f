"""A wave whose shares were learned is compared with those it learned on, in analyze and report."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import wavewise as ww
from study_folders import STUDY, assignment, call, done, events, make_study

DAYS = (("one", "2024-03-10"), ("two", "2024-04-05"))


def _run(study: Path) -> None:
    for wave, day in DAYS:
        done("wave", "open", study, wave)
        done("observe", study, events(study, assignment(study, wave), day, wave))
        done("wave", "close", study, wave)
        if wave == "one":
            done("decide", study, "one")


def _stacked(study: Path) -> tuple[pl.DataFrame, np.ndarray]:
    """Assignment of both waves, and the outcome that the events give."""
    parts = [assignment(study, wave).sort("unit_id") for wave, _ in DAYS]
    outcome = [
        float(i % (4 if arm == "control" else 2) == 0)
        for part in parts
        for i, arm in enumerate(part["arm"])
    ]
    waves = [wave for (wave, _), part in zip(DAYS, parts, strict=True) for _ in range(len(part))]
    return pl.concat(parts).with_columns(wave=pl.Series(waves)), np.array(outcome)


def test_both_panels_come_with_analyze_and_stand_in_the_report(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    _run(study)
    assert "adaptive" not in done("analyze", study, "one", "--json").facts
    facts = done("analyze", study, "two", "--json").facts["adaptive"]
    assert facts["waves"] == ["one", "two"]
    rows, outcome = _stacked(study)
    expected = ww.estimate.adaptive_comparison(
        outcome,
        rows["arm"],
        rows["propensity"],
        wave=rows["wave"],
        control="control",
        arms=["control", "peers", "teacher"],
    ).to_frame()
    found = pl.DataFrame(facts["rows"], infer_schema_length=None)
    assert set(found["column"]) == {"Unweighted", "Weighted", "Batched"}
    keys = ["panel", "row", "column"]
    both = found.join(expected, on=keys, suffix=" expected")
    assert both.height == expected.height == 21
    assert both["arm"].equals(both["arm expected"], null_equal=True)
    for name in ("estimate", "conf_low", "conf_high"):
        assert np.allclose(both[name], both[f"{name} expected"], atol=1e-12)
    out = done("analyze", study, "two").out
    assert "Use the one-sided interval" in out
    assert "login, waves one, two together" in out
    done("report", study)
    page = (study / "report" / "index.html").read_text("utf-8")
    section = page[page.index('id="winner"') :]
    for words in ("one-sided", "projection", "hybrid", "conditional", "Weighted"):
        assert words in section[: section.index("</section>")]


IMPORTED = """
[waves.imported]
arm = "drawn"
outcomes = {{ login = "login", minutes = "minutes" }}
{column}
"""


def _elsewhere(tmp_path: Path, propensity: str | None) -> Path:
    """Two waves that ran elsewhere, the second by shares that were learned on the first."""
    column = "" if propensity is None else 'propensity = "p"'
    head, one, two = STUDY.replace(' minutes = "minutes" ', "").split("[[waves]]")
    two, tail = two.split("[decision]")
    text = head + "".join(
        "[[waves]]" + wave.replace('schedule = "weekly"\n', "") + IMPORTED.format(column=column)
        for wave in (
            one.replace("{ share = 0.5 }", '{ where = { grade = ["1", "2", "3"] } }'),
            two.replace('"rest"', '{ where = { grade = ["4", "5", "6"] } }'),
        )
    )
    study = tmp_path / "study"
    make_study(study, text=f"{text}[decision]{tail}")
    n, rng = 400, np.random.default_rng(2)
    table = pl.read_csv(study / "people.csv", infer_schema=False).with_columns(
        drawn=pl.Series(rng.choice(["control", "peers", "teacher"], n)),
        login=pl.Series(rng.choice(["yes", "no"], n)),
        minutes=pl.lit("3"),
        p=pl.lit("0.33" if propensity is None else propensity),
    )
    table.write_csv(study / "waves.csv")
    return study


@pytest.mark.parametrize(
    ("propensity", "reason"), [(None, "was not stored"), ("1", "probability of 1")]
)
def test_imported_waves_without_sound_propensities_give_the_reason(
    tmp_path: Path, propensity: str | None, reason: str
) -> None:
    study = _elsewhere(tmp_path, propensity)
    for wave in ("one", "two"):
        done("wave", "import", study, wave, study / "waves.csv")
        done("wave", "close", study, wave)
    facts = done("analyze", study, "two", "--json").facts["adaptive"]
    assert reason in facts["not_estimable"]
    assert "rows" not in facts
    assert reason in done("analyze", study, "two").out
    done("report", study)
    assert reason in (study / "report" / "index.html").read_text("utf-8")


def test_a_propensity_of_zero_is_refused_at_import_with_its_row(tmp_path: Path) -> None:
    study = _elsewhere(tmp_path, "0")
    answer = call("wave", "import", study, "one", study / "waves.csv")
    assert answer.code == 4
    assert "row 2, column 'p'" in answer.err


def test_an_arm_whose_outcomes_are_all_missing_has_a_reason(tmp_path: Path) -> None:
    study = _elsewhere(tmp_path, "0.33")
    table = pl.read_csv(study / "waves.csv", infer_schema=False)
    none = pl.when(pl.col("drawn") == "peers").then(None).otherwise(pl.col("login"))
    table.with_columns(login=none).write_csv(study / "waves.csv")
    for wave in ("one", "two"):
        done("wave", "import", study, wave, study / "waves.csv")
        done("wave", "close", study, wave)
    rows = pl.DataFrame(
        done("analyze", study, "two", "--json").facts["adaptive"]["rows"], infer_schema_length=None
    )
    peers = rows.filter(panel="A", row="peers")
    assert peers["estimate"].null_count() == peers.height == 3
    assert peers["reason"].str.contains("outcomes of the arm are missing").all()
    assert set(rows.filter(panel="B")["reason"]) == {
        "found 1 arms with an estimate; needed two or more to win"
    }
    out = done("analyze", study, "two").out
    assert "outcomes of the arm are missing" in out
