"""The pre-analysis plan says what the spec says, and nothing else."""

import re

import pytest

from wavewise.design import StudySpec, parse_spec
from wavewise.design.templates import template_names, template_text
from wavewise.report.documents.analysis_plan import analysis_plan, analysis_plan_html
from wavewise.report.documents.document import Bullets, Document, Grid, Section, html, markdown

SECTIONS = [
    "Objective", "Messages and delivery", "Arms, randomization and allocation", "Outcomes",
    "Average effects", "Multiple comparisons", "Models", "Policies and targeting", "Decision rule",
    "Power", "If data come late", "Missing outcomes", "Deviations",
]  # fmt: skip


def _plan(name: str, *pairs: tuple[str, str]) -> str:
    text = template_text(name)
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    return analysis_plan(parse_spec(text)).replace("\xa0", " ")


@pytest.mark.parametrize("name", template_names())
def test_the_sections(name: str) -> None:
    assert re.findall(r"(?m)^## (.*)$", _plan(name)) == SECTIONS


@pytest.mark.parametrize("name", template_names())
def test_both_forms_tell_the_same(name: str) -> None:
    spec = parse_spec(template_text(name))
    page = analysis_plan_html(spec)
    assert re.findall(r"<h2>(.*?)</h2>", page) == SECTIONS
    assert page.count("<tr>") == len(re.findall(r"(?m)^\| (?!-)", analysis_plan(spec)))


def test_the_kenyan_plan() -> None:
    plan = _plan("kenya-ivr")
    assert "shares in proportion to p (1 − p)" in plan
    assert "'control' keeps 14.29 %" in plan
    assert "learned on the outcomes of wave-1" in plan
    assert "The arm with the lowest expected regret under the model 'engagement'" in plan
    assert (
        "log-odds of success are the effect of its arm plus a normal effect of its school" in plan
    )
    assert "cluster-robust, CR2, with Satterthwaite degrees of freedom, clustered on school" in plan
    assert "shares of wave 2 rest on engagement alone" in plan
    assert "reading fluency: the treatment of units without a value is not specified" in plan


def test_the_peruvian_plan() -> None:
    plan = _plan("peru-school-year")
    assert "Contrast: 'forest' minus 'best'." in plan
    assert "Phase 2: there is no control arm" in plan
    assert "50 % of each arm are held out" in plan
    assert "the rule 'causal forest', learned on phase-1 and tested on the outcomes" in plan
    assert "TOC and Qini curves of the effect of 'best'" in plan
    assert "an indicator of each stratum (logged\\_in" not in plan
    assert "The rule by which a final arm is chosen is not specified." in plan


def test_the_imported_plan() -> None:
    plan = _plan("get-out-the-vote")
    assert "randomized elsewhere" in plan
    assert "groups of equal hh_id, each as a whole" in plan
    assert "cluster-robust, CR1, clustered on hh_id" in plan
    assert "stratum" not in plan


EFFECTS = 'effects = { estimator = "ols", strata = true, std_error = "HC2", adjust = "holm" }'


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ('estimator = "difference in means"', "difference between its mean outcome"),
        ('estimator = "lin", covariates = ["grade"]', "covariates (grade), centred and interacted"),
        ('estimator = "ols", covariates = ["grade"]', "stratum (logged_in_last_week) and cov"),
        ('estimator = "ols", strata = false', "on an indicator of each arm but the control."),
        ('std_error = "HC3"', "heteroskedasticity-robust, HC3"),
        ('adjust = "max-t"', "joint distribution of the largest t statistic"),
        ('adjust = "none"', "are not adjusted for the number of arms"),
    ],
)
def test_estimators_in_words(effects: str, said: str) -> None:
    assert said in _plan("peru-summer", (EFFECTS, f"effects = {{ {effects} }}"))


def test_what_is_silent_is_not_specified() -> None:
    """A bare spec: every section stands, and claims nothing that the spec does not hold."""
    text = template_text("peru-summer")
    plan = analysis_plan(parse_spec(text[: text.index("[analysis]")]))
    assert re.findall(r"(?m)^## (.*)$", plan) == SECTIONS
    for heading in ("Models", "Power", "If data come late"):
        assert re.search(rf"## {heading}\n\nNot specified", plan), heading
    assert "Hypotheses: not specified." in plan
    assert "Contrasts between arms: not specified." in plan


def test_thompson_and_strata() -> None:
    plan = _plan("kenya-ivr", ('rule = "exploration"', 'rule = "Thompson"'))
    assert "Thompson sampling: 'control' keeps 14.29 %" in plan
    shares = "{ by_stratum = { yes = { teacher = 0.8 }, no = { peers = 0.8 } } }"
    plan = _plan("peru-summer", ('shares = "equal"    ', f"shares = {shares}   "))
    assert "Shares differ by stratum: yes: teacher 80 %" in plan


def _document(text: str) -> Document:
    return Document("kind", text, (text,), (text,), (
        Section(text, (text, Bullets((text,)), Grid(text, (text, text), ((text, text),)))),
    ))  # fmt: skip


@pytest.mark.parametrize("text", ["<b>", "a | b", "*x*", "`x`", "[a](b)", "1. x", "# x", "a\nb"])
def test_marks_in_texts_are_escaped(text: str) -> None:
    written = markdown(_document(text))
    assert "<b>" not in written.replace("\\<b\\>", "")
    assert not re.search(r"(?<!\\)[*`\[]", written)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in written.splitlines()
               if line.startswith("|"))  # fmt: skip
    assert "<b>" not in html(_document(text))


def test_plans_are_pure(monkeypatch: pytest.MonkeyPatch) -> None:
    spec: StudySpec = parse_spec(template_text("kenya-ivr"))
    assert analysis_plan(spec) == analysis_plan(spec)
