"""Where lower is better, the lowest is best: in shares, choices, policies and words."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from policy_waves import first_phase
from score_study import STUDY as SCORES
from score_study import make_score_study, scores
from study_folders import STUDY, assignment, done, make_study
from wavewise.design import template_text
from wavewise.design.waves import PolicyRule
from wavewise.shared.streams import stream
from wavewise.simulated import FamilyWorld, simulate_families
from wavewise.workflow.frames import read_closed
from wavewise.workflow.learn.policies import read_learner
from wavewise.workflow.report.contents import posterior_after
from wavewise.workflow.study import Study, open_study

LOWER = STUDY.replace("primary = true", "primary = true\nhigher_is_better = false")
HIERARCHICAL = 'kind = "hierarchical binomial"\ncluster = "grade"'
EVERY = {"peers": 2, "teacher": 3, "control": 3}  # one unit of so many has the event


def run(folder: Path, wave: str, day: str) -> None:
    done("wave", "open", folder, wave)
    rows = [
        (f"{wave}{unit}", unit, "login", f"{day}T12:00:00Z")
        for i, (unit, arm) in enumerate(assignment(folder, wave).select("unit_id", "arm").rows())
        if i % EVERY[arm] == 0
    ]
    names = ["event_id", "unit_id", "kind", "at"]
    path = folder / f"{wave}.csv"
    pl.DataFrame(rows, schema=names, orient="row").write_csv(path)
    done("observe", folder, path)
    done("wave", "close", folder, wave)


@pytest.mark.parametrize("kind", ['kind = "beta binomial"', HIERARCHICAL])
def test_shares_and_choice_go_to_the_lowest(tmp_path: Path, kind: str) -> None:
    folder = make_study(tmp_path / "s", text=LOWER.replace('kind = "beta binomial"', kind))
    run(folder, "one", "2024-03-10")
    decided = done("decide", folder, "one", "--json").facts
    assert decided["prob_optimal"]["teacher"] > 0.8
    assert "Lower is better" in done("decide", folder, "one").out
    run(folder, "two", "2024-04-05")
    choice = done("decide", folder, "two", "--json").facts
    assert choice["arm"] == "teacher"
    with open_study(folder) as study:
        after = posterior_after(read_closed(study, ("one", "two")), "two")
    for row in after.rows:  # as measured: the share that had the event
        assert row.mean == pytest.approx(row.successes / row.trials, abs=0.03)
        assert row.low < row.mean < row.high
    for arm, (grid, height) in after.densities.items():
        row = next(row for row in after.rows if row.arm == arm)
        assert (np.diff(grid) > 0).all()
        assert (grid * height).sum() / height.sum() == pytest.approx(row.mean, abs=0.01)
    done("report", folder)
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "the best arm is the one that brings the lowest" in page


def test_models_of_scores_choose_the_lowest(tmp_path: Path) -> None:
    text = SCORES.replace("primary = true", "primary = true\nhigher_is_better = false")
    folder = make_score_study(tmp_path / "s", text=text)
    path = folder / "scores.csv"
    scores(folder, "one").write_csv(path)
    done("observe", folder, path, "--kind", "scores", "--delivered", "2021-06-12")
    done("wave", "close", folder, "one")
    decided = done("decide", folder, "one", "--json").facts
    assert decided["prob_optimal"]["texts"] > 0.9  # gains of 2 and of 6


@pytest.fixture(scope="module")
def world() -> FamilyWorld:
    return simulate_families(3_000, stream(3, "world"))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, world: FamilyWorld) -> Iterator[Study]:
    """The summer study as if logins were unwanted, its first phase closed."""
    folder = tmp_path_factory.mktemp("fewer")
    text = template_text("peru-summer").replace(
        "primary = true", "primary = true\nhigher_is_better = false"
    )
    with first_phase(folder, text, world) as study:
        yield study


@pytest.mark.full
def test_policies_learn_what_brings_the_least(learned: Study) -> None:
    assert not learned.spec.primary.higher_is_better
    first = learned.spec.waves[0].id
    learner = read_learner(learned, (first,))
    assert learner.outcome.max() == 0
    assert learner.outcome.min() == -1
    means = {arm: learner.effects[arm].estimate for arm in learner.arms}

    def policy(rule: str):
        return learner.policy(PolicyRule(rule=rule, learned_on=(first,)), rule)

    assert policy("best").arms == (min(means, key=means.__getitem__),)
    matched = policy("neighbours")
    oob = learner.matcher.effects_oob
    given = np.array(matched.assign_oob())
    assert (given == np.array(learner.matcher.arms)[oob.argmax(axis=1)]).mean() > 0.99
    # effects of the negated outcome: their mean is that of the outcome, times -1
    for k, arm in enumerate(learner.matcher.arms):
        assert oob[:, k].mean() == pytest.approx(-means[arm], abs=0.03)
