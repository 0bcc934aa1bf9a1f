"""One value of a study file changed in its text."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavewise.design import parse_spec
from wavewise.design.edit import value_at, with_value
from wavewise.design.templates import template_names, template_text
from wavewise.errors import InputError

TEXT = """\
# a study
[study]
title = "A # in it"   # the title
seed = 1

[[waves]]
id = "one"
arms = [
  "a",  # first
  "b",
]

[[waves]]
id = "two"   # again
text.es = 'Hola'
"""


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("study.title", 'B "q" \\ é', 'title = "B \\"q\\" \\\\ é"   # the title'),
        ("study.seed", 7, "seed = 7"),
        ("waves[1].id", "three", 'id = "three"   # again'),
        ("waves[1].text.es", "¿Y?", 'text.es = "¿Y?"'),
        ("waves[0].arms", ["c"], 'arms = ["c"]'),
        ("waves[1].held_out_share", 0.4, "held_out_share = 0.4"),
    ],
)
def test_one_line_changes_and_no_other(path: str, value, line: str) -> None:
    after = with_value(TEXT, path, value)
    assert value_at(tomllib.loads(after), path) == value
    assert line in after.splitlines()
    assert "# a study" in after


def test_none_takes_a_key_out_and_the_same_value_changes_nothing() -> None:
    assert "seed" not in with_value(TEXT, "study.seed", None)
    assert with_value(TEXT, "study.seed", 1) == TEXT
    assert with_value(TEXT, "study.nothing", None) == TEXT


@pytest.mark.parametrize("path", ["planning.n_units", "waves[2].id", "waves.id", "a b", "study"])
def test_what_stands_in_no_table_is_left_to_the_text(path: str) -> None:
    with pytest.raises(InputError):
        with_value(TEXT, path, 3)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_text_comes_back_as_it_was(value: str) -> None:
    after = with_value(TEXT, "study.title", value)
    assert tomllib.loads(after)["study"]["title"] == value


@pytest.mark.parametrize("name", template_names())
def test_templates_can_be_changed(name: str) -> None:
    text = template_text(name)
    after = with_value(text, "study.title", "Another")
    assert parse_spec(after).study.title == "Another"
    assert sum(a != b for a, b in zip(text.splitlines(), after.splitlines(), strict=True)) == 1
