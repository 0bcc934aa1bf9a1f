"""Contexts side by side: gains against each context's own mean, and whether they differ."""

from dataclasses import replace

import pytest

from sample_evaluations import evaluation
from wavewise.errors import InputError
from wavewise.report.documents.contexts import Context, contexts_document
from wavewise.report.documents.document import Grid, Picture, html, markdown


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u2212", "-")


def document(first: float, second: float) -> str:
    summer = replace(evaluation(gain=second, std_error=0.001), baseline=0.02)
    contexts = (
        Context("school year", "parents", evaluation(gain=first, std_error=0.003)),
        Context("summer", "parents", summer),
    )
    return plain(markdown(contexts_document("Contexts", contexts)))


def test_gains_stand_beside_the_means_they_are_a_part_of() -> None:
    told = document(0.018, 0.001)
    assert "36.00 %" in told
    assert "2.00 %" in told
    assert "+1.80 percentage points \u00b1 0.30 (5.0 %)" in told
    assert "+0.10 percentage points \u00b1 0.10 (5.0 %)" in told


def test_a_difference_of_contexts_is_told_with_the_error_of_both() -> None:
    # sqrt(.003**2 + .001**2) = .00316: 1.7 points are five of it, .2 points less than one
    assert "+1.7 percentage points (standard error 0.3" in document(0.018, 0.001)
    assert "the gain differs between the two" in document(0.018, 0.001)
    assert "the gain does not differ significantly between the two" in document(0.003, 0.001)


def test_what_a_study_lacks_is_a_dash_and_one_study_is_refused() -> None:
    bare = replace(evaluation(), spending=(), curves=(), contrasts=(), baseline=None)
    contexts = (Context("a", "parents", evaluation()), Context("b", "parents", bare))
    shown = contexts_document("Contexts", contexts)
    grid = next(block for block in shown.sections[1].blocks if isinstance(block, Grid))
    assert {row[2] for row in grid.rows} == {"\u2013"}
    assert "No contrast is in both studies." in markdown(shown)
    with pytest.raises(InputError, match="two or more"):
        contexts_document("Contexts", contexts[:1])


def test_names_are_escaped() -> None:
    nasty = "<script>alert(1)</script>"
    contexts = (Context(nasty, "p", evaluation()), Context("b", "p", evaluation()))
    assert "<script>" not in html(contexts_document(nasty, contexts))


def test_the_figure_shows_gains_as_parts_of_the_means() -> None:
    contexts = (Context("a", "p", evaluation(gain=0.018)), Context("b", "p", evaluation()))
    picture = contexts_document("Contexts", contexts).sections[1].blocks[0]
    assert isinstance(picture, Picture)
    values = [row["value"] for row in picture.figure.wide["data"]["values"]]
    assert values[0] == pytest.approx(5.0)  # 1.8 points of 36 %
    assert len(values) == 4
    assert "a: forest minus best: +5.0" in picture.figure.alt
