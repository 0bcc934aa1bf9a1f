"""The JSON Schema and the templates."""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import jsonschema
import polars as pl
import pytest

import wavewise as ww
from wavewise.design.parse import json_schema
from wavewise.design.templates import template_names, template_summary, template_text
from wavewise.errors import InputError

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def _raw(name: str) -> dict[str, Any]:
    """A template as editors see it: dates are strings."""
    raw: dict[str, Any] = json.loads(json.dumps(tomllib.loads(template_text(name)), default=str))
    return raw


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema of a table with known keys."""
    if isinstance(value, dict):
        if "properties" in value:
            yield value
        for inner in value.values():
            yield from _tables(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _tables(inner)


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("name", template_names())
def test_templates_are_valid(name: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(_raw(name))] == []


@pytest.mark.parametrize(
    ("path", "key"),
    [((), "wave"), (("study",), "titel"), (("waves", 0), "window"), (("messages", 0), "chanel"),
     (("schedules", "twice_weekly", ), "hour"), (("analysis", "effects"), "se"),
     (("waves", 1, "arms", 0, "policy"), "learnt_on"), (("registration",), "text")],
)  # fmt: skip
def test_unknown_keys_are_refused(path: tuple[Any, ...], key: str) -> None:
    raw = _raw("peru-summer")
    place: Any = raw
    for part in path:
        place = place[part]
    place[key] = "x"
    assert not VALIDATOR.is_valid(raw)


@pytest.mark.parametrize(
    ("path", "value"),
    [(("study", "seed"), "x"), (("study", "level"), 1), (("outcomes", 0, "kind"), "mean"),
     (("waves", 0, "control_share"), "20%"), (("waves", 0, "window_days"), 0),
     (("schedules", "twice_weekly", "at"), "5pm"), (("messages", 0, "id"), "two words")],
)  # fmt: skip
def test_bad_values_are_refused(path: tuple[Any, ...], value: Any) -> None:
    raw = _raw("peru-summer")
    place: Any = raw
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert not VALIDATOR.is_valid(raw)


def test_fractions_are_shares() -> None:
    raw = _raw("peru-summer")
    raw["waves"][0]["control_share"] = "1/7"
    assert VALIDATOR.is_valid(raw)


def test_every_table_is_closed_and_every_key_described() -> None:
    tables = list(_tables(SCHEMA))
    assert len(tables) > 25
    for table in tables:
        assert table["additionalProperties"] is False
        for key, value in table["properties"].items():
            assert "description" in value or "$ref" in value, key


def test_keys_have_their_names_in_the_file() -> None:
    assert "from" in SCHEMA["$defs"]["Derived"]["properties"]


def test_nothing_that_toml_lacks() -> None:
    assert '"null"' not in json.dumps(SCHEMA)


# Templates


def test_names_of_the_templates() -> None:
    assert template_names() == (
        "peru-school-year", "peru-summer", "kenya-ivr", "sms-two-waves", "email-one-wave",
        "get-out-the-vote",
    )  # fmt: skip
    assert all(template_summary(name) for name in template_names())


def test_a_template_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="found template 'peru'; needed one of peru-school-year"):
        template_text("peru")


@pytest.mark.parametrize("name", template_names())
def test_templates_are_commented_and_short_of_line(name: str) -> None:
    lines = template_text(name).splitlines()
    assert lines[0].startswith("# ")
    assert sum("#" in line for line in lines) > 20
    assert all(len(line) <= 165 for line in lines)


@pytest.mark.parametrize("name", ["peru-school-year", "peru-summer"])
def test_peruvian_messages_speak_both_languages(name: str) -> None:
    messages = _raw(name)["messages"]
    assert [message["id"] for message in messages] == ["teacher", "peers", "parent", "future"]
    assert all(set(message["text"]) == {"es", "en"} for message in messages)


@pytest.mark.parametrize(
    ("name", "arm", "outcome"),
    [("sms-two-waves", "reserved", "vaccinated"), ("email-one-wave", "next_lesson", "returned")],
)
def test_a_template_with_data_runs_from_init_to_report(tmp_path, name, arm, outcome):
    """The planted effects come back: the events fit the arms that the template's seed draws."""
    made = ww.init(tmp_path / name, name)
    assert "people.csv" in made.summary()
    with ww.open_study(tmp_path / name) as study:
        study.check()
        study.register()
        study.people_import(tmp_path / name / "people.csv")
        *_, last = waves = study.spec.waves
        for wave in waves:
            study.wave_open(wave.id)
            study.observe(tmp_path / name / f"events-{wave.id}.csv")
            study.wave_close(wave.id)
            people = study.outcomes(wave.id).join(study.assignments(wave.id), on="unit_id")
            rate = dict(people.group_by("arm").agg(pl.col(outcome).mean()).iter_rows())
            assert rate[arm] > rate["control"] + 0.05
            if wave.id != last.id:
                study.decide(wave.id)
        assert study.report()
    with pytest.raises(InputError, match="needed a folder without a study"):
        ww.init(tmp_path / name, name)
