"""Targets in the study file: what they may be made of, and who may learn from them."""

import tomllib

import pytest

from study_folders import STUDY
from wavewise.design import find_faults, parse_spec
from wavewise.report.documents.spec_sections import target_text

INDEX = """
[[targets]]
id = "goal"
outcomes = ["login", "minutes"]
"""


def faults(more: str, old: str = "", new: str = "") -> str:
    return "\n".join(map(str, find_faults(tomllib.loads(STUDY.replace(old, new) + more))))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('[[targets]]\nid = "goal"\n', "the outcomes that it is made of"),
        ('[[targets]]\nid = "goal"\noutcomes = ["logins"]\n', "'logins'; needed the name"),
        ('[[targets]]\nid = "goal"\nweights = { login = 0, minutes = 0 }\n', "that sum to 0"),
        ('[[targets]]\nid = "goal"\nweights = { login = -1 }\n', "weights"),
        ('[[targets]]\nid = "goal"\nkind = "weighted"\noutcomes = ["login"]\n', "how much each"),
        ('[[targets]]\nid = "login"\noutcomes = ["minutes"]\n', "the id of an outcome"),
        ('[[targets]]\nid = "goal"\nkind = "surrogate"\noutcomes = ["login"]\n', "the later"),
        (f'{INDEX}learned_on = ["one"]\n', "kind 'surrogate' beside it"),
        (f"{INDEX}primary = true\n", "2 primary outcomes"),
        (f'{INDEX}[models.goal]\nkind = "beta binomial"\noutcome = "goal"\n', "kind 'any'"),
        (f'{INDEX}[models.goal]\nkind = "normal"\noutcome = "gaol"\n', "an outcome or target"),
    ],
)  # fmt: skip
def test_what_is_refused(more: str, told: str) -> None:
    assert told in faults(more)


def test_an_index_needs_a_control() -> None:
    assert "no control in 'one', 'two'" in faults(INDEX, "control_share = 0.25\n", "")


def test_a_target_stands_beside_outcomes() -> None:
    spec = parse_spec(STUDY.replace("primary = true\n", "") + INDEX + "primary = true\n")
    assert [goal.id for goal in spec.goals] == ["login", "minutes", "goal"]
    assert spec.primary.id == "goal"
    assert spec.outcome("goal").unit == "standard deviations"
    assert "inverse covariance" in target_text(spec, spec.targets[0])


def test_words_say_which_sign_is_turned() -> None:
    text = STUDY.replace('value = "minutes"', 'value = "minutes"\nhigher_is_better = false')
    spec = parse_spec(text + INDEX)
    assert "minutes with the sign turned" in target_text(spec, spec.targets[0])
