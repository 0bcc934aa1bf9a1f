"""Experiments that ran elsewhere: their own spellings, and every bad row named."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from study_folders import Answer, call, done
from wavewise.store import Store

SPEC = """
[study]
id = "elsewhere"
title = "Ran elsewhere"
seed = 1
time_zone = "UTC"

[units]
id = "row"
strata = ["block"]
randomize_by = "house"

[[messages]]
id = "letter"
channel = "letter"

[[outcomes]]
id = "voted"
primary = true
kind = "any"

[[outcomes]]
id = "donated"
kind = "sum"

[[waves]]
id = "only"
starts = 2020-01-01
window_days = 10
control = "control"
arms = [{ id = "control" }, "letter"]
shares = { control = 0.5, letter = 0.5 }

[waves.imported]
arm = "treatment"
arm_names = { "Control" = "control", "Letter" = "letter" }
outcomes = { voted = "voted", donated = "money" }
"""


def _table(n: int = 40) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "block": [str(i // 20) for i in range(n)],
            "house": [str(i // 2) for i in range(n)],
            "treatment": [" Letter" if (i // 2) % 2 else " Control" for i in range(n)],
            "voted": ["Yes" if i % 3 else "no" for i in range(n)],
            "money": [None if i % 10 == 9 else str(i * 0.5) for i in range(n)],
        }
    )


def _study(folder: Path, table: pl.DataFrame, spec: str = SPEC) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(spec, encoding="utf-8")
    table.write_csv(folder / "data.csv")
    done("register", folder)
    return folder


def _import(folder: Path) -> Answer:
    return call("wave", "import", folder, "only", folder / "data.csv")


def test_people_assignment_and_outcomes_come_in_one_step(tmp_path: Path) -> None:
    study = _study(tmp_path, _table())
    assert _import(study).code == 0
    done("wave", "close", study, "only")
    with Store.open(f"sqlite:///{study / 'study.db'}") as store:
        drawn, frozen = store.waves.assignment("only"), store.waves.outcomes("only")
    assert dict(drawn["arm"].value_counts().iter_rows()) == {"control": 20, "letter": 20}
    assert set(drawn["propensity"]) == {0.5}
    assert set(drawn["stratum"]) == {"0", "1"}
    rows = {
        int(unit): values for unit, *values in frozen.select("unit_id", "voted", "donated").rows()
    }
    assert rows[1] == [0.0, 0.0]
    assert rows[2] == [1.0, 0.5]
    assert rows[10] == [1.0 if 9 % 3 else 0.0, None], "a blank outcome is missing, not zero"
    analysis = done("analyze", study, "only", "--json").facts
    voted = {item["estimator"]: item for item in analysis["effects"] if item["outcome"] == "voted"}
    by_arm = drawn.join(frozen, on="unit_id").group_by("arm").agg(pl.col("voted").mean())
    means = dict(by_arm.rows())
    found = voted["difference in means"]["rows"][0]["estimate"]
    assert found == pytest.approx(means["letter"] - means["control"])


@pytest.mark.parametrize(
    ("column", "value", "place"),
    [
        ("treatment", "Postcard", "row 8, column 'treatment'"),
        ("voted", "perhaps", "row 8, column 'voted'"),
        ("money", "lots", "row 8, column 'money'"),
        ("money", "inf", "row 8, column 'money'"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(
    tmp_path: Path, column: str, value: str, place: str
) -> None:
    table = _table().with_row_index("i")
    changed = pl.when(pl.col("i") == 6).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    study = _study(tmp_path, table.with_columns(changed).drop("i"))
    refused = _import(study)
    assert refused.code == 4
    assert place in refused.err
    with Store.open(f"sqlite:///{study / 'study.db'}") as store:
        assert store.units.count() == 0
        assert store.waves.all() == ()


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    study = _study(tmp_path, _table().drop("treatment"))
    refused = _import(study)
    assert refused.code == 4
    assert "'treatment'" in refused.err


def test_a_wave_is_imported_once(tmp_path: Path) -> None:
    study = _study(tmp_path, _table())
    assert "wave import" in call("wave", "open", study, "only").err, "it is not drawn here"
    assert _import(study).code == 0
    assert _import(study).code == 6
    assert call("wave", "open", study, "only").code == 6


def test_propensities_come_from_the_file_where_it_has_them(tmp_path: Path) -> None:
    spec = SPEC.replace('arm = "treatment"\n', 'arm = "treatment"\npropensity = "p"\n')
    study = _study(tmp_path, _table().with_columns(p=pl.lit("0.25")), spec)
    assert _import(study).code == 0
    with Store.open(f"sqlite:///{study / 'study.db'}") as store:
        assert set(store.waves.assignment("only")["propensity"]) == {0.25}
    bad = _study(tmp_path / "bad", _table().with_columns(p=pl.lit("0")), spec)
    assert "column 'p'" in _import(bad).err


def test_a_wave_that_is_drawn_here_is_not_imported(tmp_path: Path) -> None:
    spec = SPEC[: SPEC.index("[waves.imported]")].replace(
        "window_days = 10", 'window_days = 10\nschedule = "once"'
    )
    spec = spec.replace('kind = "any"', 'kind = "any"\nevent = "vote"').replace(
        'kind = "sum"', 'kind = "sum"\nevent = "gift"\nvalue = "amount"'
    )
    study = _study(tmp_path, _table(), spec + '[schedules.once]\ndays = ["mon"]\nat = "10:00"\n')
    assert _import(study).code == 6


@pytest.mark.parametrize(
    ("blank", "verdict"),
    [
        (lambda i: i == 6, "inconclusive"),
        (lambda i: i % 5 == 0, "pass"),
        (lambda i: (i // 2) % 2 == 1 and i % 8 == 3, "fail"),
        (lambda i: (i // 2) % 2 == 1, "fail"),  # all of one arm: no effect, and no number for it
    ],
)
def test_outcomes_that_are_missing_by_arm_are_found(tmp_path: Path, blank, verdict: str) -> None:
    table = _table(400)
    voted = [None if blank(i) else value for i, value in enumerate(table["voted"])]
    study = _study(tmp_path, table.with_columns(voted=pl.Series(voted, dtype=pl.String)))
    assert _import(study).code == 0
    done("wave", "close", study, "only")
    checks = done("analyze", study, "only", "--json").facts["checks"]
    missing = next(check for check in checks if check["name"] == "missing outcomes")
    assert missing["verdict"] == verdict


def _programme(folder: Path, spec: str) -> Path:
    """A programme in which the letter went to older people, who vote more often anyway."""
    rng = np.random.default_rng(1)
    age = rng.normal(50, 10, 2000).round()
    letter = rng.random(2000) < 1 / (1 + np.exp(-(age - 50) / 10))
    voted = rng.random(2000) < np.clip(0.5 + (age - 50) / 50 + 0.1 * letter, 0, 1)
    table = pl.DataFrame(
        {
            "row": [f"p{i}" for i in range(2000)],
            "age": age,
            "treatment": np.where(letter, "Letter", "Control"),
            "voted": np.where(voted, "Yes", "no"),
        }
    )
    return _study(folder, table, spec)


OBSERVATIONAL = (
    SPEC.replace('strata = ["block"]\nrandomize_by = "house"', 'covariates = ["age"]')
    .replace("shares = { control = 0.5, letter = 0.5 }\n", "")
    .replace(
        'outcomes = { voted = "voted", donated = "money" }',
        'outcomes = { voted = "voted" }\nrandomized = false',
    )
    .replace('[[outcomes]]\nid = "donated"\nkind = "sum"\n', "")
)


def test_a_programme_that_was_not_randomized_is_marked_everywhere(tmp_path: Path) -> None:
    study = _programme(tmp_path / "seen", OBSERVATIONAL)
    assert "OBSERVATIONAL: its arms were not randomized" in _import(study).out
    done("wave", "close", study, "only")
    with Store.open(f"sqlite:///{study / 'study.db'}") as store:
        assert store.waves.assignment("only")["propensity"].null_count() == 2000
    told = call("analyze", study, "only").out
    assert "doubly robust" in told
    assert "Observational: arms were not randomized" in told
    assert "Intent" not in told
    found = json.loads(call("analyze", study, "only", "--json").out)["effects"]
    assert [item["estimator"] for item in found] == ["doubly robust"]
    row = found[0]["rows"][0]
    assert row["conf_low"] < 0.1 < row["conf_high"]  # the difference in means is about .3
    assert found[0]["provenance"]["observational"].startswith("Observational")
    assert call("report", study).code == 0
    page = (study / "report" / "index.html").read_text(encoding="utf-8")
    assert "Observational: arms were not randomized" in page
    assert "Intent to treat." not in page


def test_an_observational_wave_needs_covariates_and_no_propensities(tmp_path: Path) -> None:
    bare = OBSERVATIONAL.replace('covariates = ["age"]', "")
    answer = _import(_programme(tmp_path / "bare", bare))
    assert "was not randomized and units.covariates names no column" in answer.err
    both = OBSERVATIONAL.replace("randomized = false", 'randomized = false\npropensity = "age"')
    folder = tmp_path / "both"
    folder.mkdir()
    (folder / "study.toml").write_text(both, encoding="utf-8")
    answer = call("check", folder)
    assert "needed none: they are estimated" in answer.out + answer.err
