"""Scores by period from delivery to decision: late, revised, repeated, out of order, bad."""

import json
from pathlib import Path

import polars as pl
import pytest

from score_study import STUDY, make_score_study, scores
from study_folders import assignment, call, done
from wavewise.store import Store


def written(folder: Path, name: str, frame: pl.DataFrame) -> Path:
    path = folder / name
    frame.write_csv(path)
    return path


def kept(folder: Path) -> pl.DataFrame:
    with Store.open(f"sqlite:///{folder / 'study.db'}") as store:
        return store.scores.deliveries().drop("received_at_utc_us")


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    return make_score_study(tmp_path / "study", n=64)


def test_delivered_twice_in_any_order_is_the_same(opened: Path, tmp_path: Path) -> None:
    early = scores(opened, "one", ("E2",)).with_columns(delivered=pl.lit("2021-05-08"))
    late = early.head(5).with_columns(score=pl.col("score") + 15, delivered=pl.lit("2021-07-30"))
    first, second = written(opened, "a.csv", early), written(opened, "b.csv", late)
    n_early, n_late = early["score"].count(), late["score"].count()
    facts = done("observe", opened, first, "--kind", "scores", "--json").facts
    assert (facts["n_new"], facts["n_repeated"]) == (n_early, 0)
    assert facts["n_missing"] == early.height - n_early > 0
    assert done("observe", opened, first, "--kind", "scores", "--json").facts["n_repeated"] == (
        n_early
    )
    done("observe", opened, second, "--kind", "scores")
    other = make_score_study(tmp_path / "other", n=64)
    for path in (second, first, second):
        done("observe", other, path, "--kind", "scores")
    assert kept(opened).equals(kept(other))
    assert kept(opened).height == n_early + n_late


def test_date_of_delivery_may_be_given_beside_the_file(opened: Path) -> None:
    frame = scores(opened, "one", ("E2",))
    path = written(opened, "plain.csv", frame)
    refused = call("observe", opened, path, "--kind", "scores")
    assert refused.code != 0
    assert "delivered" in refused.err
    done("observe", opened, path, "--kind", "scores", "--delivered", "2021-05-08")
    assert set(kept(opened)["delivery"]) == {"2021-05-08"}


def test_every_bad_row_is_named_and_nothing_added(opened: Path) -> None:
    unit = scores(opened, "one")["phone_id"][0]
    path = opened / "bad.csv"
    path.write_text(
        "phone_id,period,score,delivered\n"
        f"{unit},E2,41,2021-05-08\n"
        f"{unit},E9,41,2021-05-08\n"
        f"{unit},E3,many,2021-05-08\n"
        f",E3,41,2021-05-08\n"
        f"{unit},M3,41,someday\n"
        f"{unit},E2,44,2021-05-08\n"
        f"{unit},M3,44,2199-01-01\n",
        encoding="utf-8",
    )
    refused = call("observe", opened, path, "--kind", "scores")
    assert refused.code != 0
    for row in (3, 4, 5, 6, 7, 8):
        assert f"row {row}" in refused.err
    assert "row 2" not in refused.err
    assert "'E9'; needed one of 'E2', 'M3', 'E3'" in refused.err
    assert unit not in refused.err
    assert kept(opened).is_empty()


def test_contradiction_of_a_kept_delivery_is_refused(opened: Path) -> None:
    frame = scores(opened, "one", ("E2",)).drop_nulls()
    frame = frame.with_columns(delivered=pl.lit("2021-05-08"))
    done("observe", opened, written(opened, "a.csv", frame), "--kind", "scores")
    changed = frame.head(3).with_columns(score=pl.col("score") + 1)
    refused = call("observe", opened, written(opened, "b.csv", changed), "--kind", "scores")
    assert refused.code != 0
    assert "is kept for the same unit, period and delivery" in refused.err
    assert kept(opened).height == frame.height


def test_scores_need_an_outcome_with_periods(tmp_path: Path) -> None:
    text = STUDY.replace('periods = ["E2", "M3", "E3"]\n', "")
    folder = make_score_study(tmp_path / "study", n=64, text=text)
    path = written(folder, "a.csv", pl.DataFrame({"phone_id": ["c0001"]}))
    refused = call("observe", folder, path, "--kind", "scores")
    assert "no outcome of kind 'score' with periods" in refused.err


@pytest.mark.parametrize(
    ("delivery", "wanted"),
    [('"latest"', 62.0), ('"first"', 40.0), ("2021-06-30", 50.0), ("2021-05-01", None)],
)
def test_an_outcome_says_which_delivery_counts(
    tmp_path: Path, delivery: str, wanted: float | None
) -> None:
    text = STUDY.replace('delivery = "latest"', f"delivery = {delivery}")
    folder = make_score_study(tmp_path / "study", n=64, text=text)
    unit = assignment(folder, "one")["unit_id"][0]
    rows = [("2021-07-15", 62.0), ("2021-05-08", 40.0), ("2021-06-30", 50.0), ("2021-07-20", None)]
    frame = pl.DataFrame(
        [(unit, "M3", score, day) for day, score in rows],
        schema=["phone_id", "period", "score", "delivered"],
        orient="row",
    )
    done("observe", folder, written(folder, "a.csv", frame), "--kind", "scores")
    done("wave", "close", folder, "one")
    with Store.open(f"sqlite:///{folder / 'study.db'}") as store:
        frozen = store.scores.frozen("one")
    assert frozen["score"].to_list() == ([] if wanted is None else [wanted])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both waves closed, analysed, decided and reported."""
    folder = make_score_study(tmp_path_factory.mktemp("scores") / "study")
    first = scores(folder, "one", ("E2", "M3"))
    path = written(folder, "first.csv", first)
    done("observe", folder, path, "--kind", "scores", "--delivered", "2021-06-12")
    done("wave", "close", folder, "one")
    done("decide", folder, "one")
    done("wave", "open", folder, "two")
    for wave in ("one", "two"):
        path = written(folder, f"{wave}.csv", scores(folder, wave))
        done("observe", folder, path, "--kind", "scores", "--delivered", "2021-07-20")
    done("wave", "close", folder, "two")
    return folder


def test_shares_follow_from_a_model_of_scores(finished: Path) -> None:
    with Store.open(f"sqlite:///{finished / 'study.db'}") as store:
        shares = store.results.latest("two", "next-shares").payload["shares"]
    assert shares["control"] == 0.25
    assert shares["calls"] == pytest.approx(0.375, abs=1e-9)  # two arms: p (1 - p) is the same


def test_analysis_has_both_samples_in_the_layout_of_table_4(finished: Path) -> None:
    answer = done("analyze", finished, "two")
    for text in ("Panel A: effect by arm", "Panel B: pooled treatment", "Complete panel", "All"):
        assert text in answer.out
    facts = done("analyze", finished, "two", "--json").facts
    model = facts["score_models"][0]
    assert model["waves"] == ["one", "two"]
    complete, everyone = model["samples"]
    assert complete["by_arm"]["n_units"] < everyone["by_arm"]["n_units"]
    for sample in (complete, everyone):
        terms = {row["term"]: row for row in sample["by_arm"]["terms"]}
        for arm, truth in (("calls", 6.0), ("texts", 2.0)):
            assert abs(terms[arm]["mean"] - truth) < 4 * terms[arm]["sd"]
    # a wave's own score is that before the next wave began
    effects = {item["outcome"]: item for item in facts["effects"]}
    assert effects["reading"]["outcome"] == "reading"


def test_decision_by_scores_and_report(finished: Path) -> None:
    decided = done("decide", finished, "two", "--json").facts
    assert decided["arm"] == "calls"
    assert decided["prob_optimal"] > 0.9
    done("report", finished)
    numbers = json.loads((finished / "report" / "report.json").read_text("utf-8"))
    assert numbers["decision"]["arm"] == "calls"


def test_the_export_has_deliveries_and_what_waves_froze_of_them(
    finished: Path, tmp_path: Path
) -> None:
    done("export", finished, "--out", tmp_path / "data")
    frozen = pl.read_csv(tmp_path / "data" / "frozen_scores.csv")
    assert set(frozen["wave"]) == {"one", "two"}
    assert frozen.columns[2:] == ["unit_id", "period", "score", "delivery", "delivered_at"]
    with Store.open(f"sqlite:///{finished / 'study.db'}") as store:
        n_frozen = sum(store.scores.frozen(wave).height for wave in ("one", "two"))
    assert frozen.height == n_frozen > 0
    assert pl.read_csv(tmp_path / "data" / "scores.csv").height >= n_frozen / 2


def test_closing_freezes_and_later_scores_are_told(finished: Path) -> None:
    before = done("analyze", finished, "two", "--json").facts
    revised = scores(finished, "two", ("E3",)).drop_nulls().head(7)
    revised = revised.with_columns(score=pl.col("score") + 15)
    path = written(finished, "revised.csv", revised)
    answer = done("observe", finished, path, "--kind", "scores", "--delivered", "2021-09-01")
    assert "0 scores came and 7 were revised" in answer.out
    after = done("analyze", finished, "two", "--json").facts
    assert after["score_models"] == before["score_models"]


def test_early_and_late_deliveries_side_by_side(finished: Path) -> None:
    from wavewise.workflow.intake import delivered_scores
    from wavewise.workflow.study import open_study

    with open_study(finished) as study:
        table = delivered_scores(study)
    again = table.filter(period="E2", wave="one", place=2)
    assert again["n_deliveries"].min() == 2
    assert set(again["delivery"]) == {"2021-07-20"}
    assert set(table["arm"]) == {"calls", "texts", "control"}


def test_what_another_wave_is_worth_to_scores(tmp_path: Path) -> None:
    text = (
        STUDY
        + """
[planning]
n_units = 96

[planning.another_wave]
cost_per_unit = 1.0
cost_per_wave = 100.0
beneficiaries = 10_000
value_per_success = 0.5
"""
    )
    folder = make_score_study(tmp_path / "study", n=96, text=text)
    path = written(folder, "first.csv", scores(folder, "one", ("E2", "M3")))
    done("observe", folder, path, "--kind", "scores", "--delivered", "2021-06-12")
    done("wave", "close", folder, "one")
    facts = done("decide", folder, "one", "--json").facts
    assert facts["another_wave"]["verdict"] in {"go on", "stop", "too close to call"}
