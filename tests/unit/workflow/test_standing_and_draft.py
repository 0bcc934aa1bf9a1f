"""Where a study stands, the plan as a draft, and three answers with the cost of a mistake."""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import wavewise as ww
from set_clock import Clock
from study_folders import STUDY, people
from wavewise.design import parse_spec, template_text
from wavewise.errors import SpecError, StateError
from wavewise.workflow.learn.three_answers import arm_labels, three_answers
from wavewise.workflow.prepare.draft import read_draft


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    return tmp_path


def test_the_next_step_follows_what_was_done(folder: Path) -> None:
    clock = Clock(datetime(2024, 2, 1, tzinfo=UTC))
    with ww.open_study(folder, clock=clock) as study:
        assert study.standing.next.verb == "register"
        assert not (folder / "study.db").exists()
        study.register()
        assert study.standing.next.verb == "people_import"
        study.people_import(people())
        assert (study.standing.next.verb, study.standing.next.wave) == ("wave_open", "one")
        trial = study.wave_open("one", dry_run=True)
        assert "Nothing was kept" in trial.summary()
        assert study.standing.wave("one").state == "not open"
        opened = study.wave_open("one")
        assert opened.facts()["assignment_hash"] == trial.facts()["assignment_hash"]
        wave = study.standing.wave("one")
        assert (wave.state, wave.n_units) == ("open", opened.n_units)
        assert [step.verb for step in study.standing.steps] == ["observe", "wave_close"]
        counts = study.status(counts=True).facts()
        assert (counts["waves"], counts["opt_outs"]) == ((), ())
        text = (folder / "study.toml").read_text(encoding="utf-8")
        (folder / "study.toml").write_text(text.replace("A small study", "B"), encoding="utf-8")
        assert study.standing.is_changed
        assert study.standing.next.verb == "amend"


def test_a_draft_is_written_only_where_it_is_sound_and_nobody_wrote_meanwhile(folder: Path) -> None:
    with ww.open_study(folder) as study:
        draft = study.draft
        assert draft.faults == ()
        wrong = draft.with_values({"waves[0].window_days": -3})
        assert [fault.path for fault in draft.faults_of(wrong)] == ["waves['one'].window_days"]
        with pytest.raises(SpecError, match="nothing was written"):
            draft.write(wrong, draft.mark)
        right = draft.with_values({"study.title": "Better"})
        draft.write(right, draft.mark)
        assert study.spec.study.title == "Better"
        with pytest.raises(StateError, match="changed meanwhile"):
            draft.write(right, "another")
            study.draft.write(draft.text, draft.mark)
        study.register()
        study.draft.write(draft.text, study.draft.mark)
        (change,) = study.draft.changes()
        assert (change["before"], change["after"]) == ("Better", "A small study")
        assert "A small study" in study.draft.registry_page()


def test_a_file_with_faults_is_still_a_draft(folder: Path) -> None:
    (folder / "study.toml").write_text("[study\n", encoding="utf-8")
    draft = read_draft(None, folder)
    assert draft.spec is None
    assert draft.faults
    assert draft.sizes() == ()
    with pytest.raises(SpecError):
        draft.registry_page()


def test_more_units_find_smaller_differences(tmp_path: Path) -> None:
    ww.init(tmp_path / "peru", "peru-school-year")
    with ww.open_study(tmp_path / "peru") as study:
        small, large = (study.draft.sizes(n)[-1].between_arms for n in (10_000, 40_000))
    assert small == pytest.approx(2 * large)


def _evaluation(estimates, errors, shared: float) -> dict:
    cov = np.full((2, 2), shared) + np.diag(np.square(errors) - shared)
    rows = [
        {"arm": arm, "estimate": e, "std_error": s, "conf_low": e - 2 * s, "conf_high": e + 2 * s}
        for arm, e, s in zip(("best", "forest"), estimates, errors, strict=True)
    ]
    effects = {"outcome": "login", "rows": rows, "cov": cov.tolist(), "level": 0.95}
    return {"outcome": "login", "effects": [{**effects, "control": "held out"}], "contrasts": []}


def test_the_cost_of_a_mistake_is_that_of_a_normal_posterior() -> None:
    spec = parse_spec(template_text("peru-school-year"))
    wave = spec.waves[1]
    found = _evaluation((0.01, 0.03), (0.02, 0.02), 0.0002)
    which, whether = three_answers(spec, wave, found)
    assert (which.choice, which.other) == ("Causal forest", "Best")
    assert which.gain == pytest.approx(0.02)
    assert which.std_error == pytest.approx(math.sqrt(2 * 0.0004 - 2 * 0.0002))
    drawn = np.random.default_rng(1).normal(which.gain, which.std_error, 1_000_000)
    assert which.prob_error == pytest.approx((drawn <= 0).mean(), abs=0.002)
    assert which.expected_loss == pytest.approx(np.maximum(-drawn, 0).mean(), abs=2e-5)
    assert (whether.choice, whether.other) == ("Causal forest", "no message")
    assert not which.is_told_apart


def test_what_harms_is_said_as_plainly_as_what_helps() -> None:
    spec = parse_spec(template_text("peru-school-year"))
    found = _evaluation((-0.05, -0.06), (0.01, 0.01), 0.0)
    whether = three_answers(spec, spec.waves[1], found)[-1]
    assert (whether.choice, whether.other) == ("no message", "Best")
    assert (whether.gain, whether.conf_low) == pytest.approx((0.05, 0.03))


def test_pairs_go_by_the_labels_of_their_messages() -> None:
    spec = parse_spec(template_text("peru-school-year"))
    labels = arm_labels(spec, spec.waves[0])
    assert labels["future+teacher"] == "Open doors, then Teacher's advice"
    assert labels["peers+peers"] == "Peers practise, twice"
