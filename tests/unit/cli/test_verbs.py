"""Every verb of the command line is a method of a study, or a function, of the same name."""

import inspect
from inspect import Parameter

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import wavewise as ww
from wavewise.cli import app
from wavewise.cli.verbs import STAGES, VERBS

# What a method has beyond its verb, and a verb beyond its method.
PYTHON_ONLY = {"self", "progress"}
ONE_OF_TWO = {("init", "template")}  # or a people file
SHELL_ONLY = {"folder", "store"}
FRAMES = {"assignments", "events", "outcomes"}
OPENING = {"OpenStudy", "open_study"}
WIDTH = 80


def _python_name(verb: str) -> str:
    return verb.replace(" ", "_").replace("-", "_")


def _method(verb: str):
    name = _python_name(verb)
    return getattr(ww.OpenStudy, name, None) or getattr(ww, name, None)


def _commands(group, path=""):
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            yield from _commands(command, full)
        else:
            yield full, command


COMMANDS = dict(_commands(get_command(app)))


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_method_with_its_arguments_and_defaults(verb: str) -> None:
    method = _method(verb)
    assert method is not None, f"no method for `wavewise {verb}`"
    needs_study = hasattr(ww.OpenStudy, _python_name(verb))
    shell = {
        name: parameter.default
        for name, parameter in inspect.signature(VERBS[verb]).parameters.items()
        if not (needs_study and name in SHELL_ONLY)
    }
    python = {
        name: parameter
        for name, parameter in inspect.signature(method).parameters.items()
        if name not in PYTHON_ONLY
    }
    assert {name: parameter.default for name, parameter in python.items()} == shell
    for parameter in python.values():
        needed = parameter.default is Parameter.empty or (verb, parameter.name) in ONE_OF_TWO
        assert parameter.kind == (
            Parameter.POSITIONAL_OR_KEYWORD if needed else Parameter.KEYWORD_ONLY
        )


def test_a_method_has_a_verb() -> None:
    methods = {
        name
        for name, item in vars(ww.OpenStudy).items()
        if inspect.isfunction(item) and not name.startswith("_")
    }
    functions = {name for name in ww.__all__ if inspect.isfunction(getattr(ww, name))}
    known = {_python_name(verb) for verb in VERBS}
    assert methods | functions == known | FRAMES | (OPENING - {"OpenStudy"}) | {"close"}


def test_verbs_are_all_there_is_on_the_command_line() -> None:
    listed = {name for name, command in COMMANDS.items() if not command.hidden}
    assert listed == set(VERBS)
    assert {name for name, command in COMMANDS.items() if command.hidden} == {"refuse"}


def test_help_lists_each_verb_in_one_stage_and_cuts_no_line(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    text = CliRunner().invoke(app, ["--help"]).stdout
    top = {verb.partition(" ")[0] for verb in VERBS}
    assert sorted(name for names in STAGES.values() for name in names) == sorted(top)
    assert [line[:-1] for line in text.splitlines() if line.endswith(":")] == ["Options", *STAGES]
    assert "..." not in text.partition("Plan:")[2]
    assert max(len(line) for line in text.splitlines()) <= WIDTH


@pytest.mark.parametrize("name", ["people", "wave", "contacts", "outbox", "data", "keys"])
def test_help_of_a_group_cuts_no_line(name: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    text = CliRunner().invoke(app, [name, "--help"]).stdout
    assert "..." not in text.partition("Commands:")[2]


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_an_example_and_json(verb: str) -> None:
    text = CliRunner().invoke(app, [*verb.split(), "--help"]).stdout
    assert f"Example: wavewise {verb}" in text
    assert "--json" in text


def test_a_former_name_still_works_and_says_the_new_one(tmp_path) -> None:
    found = CliRunner().invoke(app, ["refuse", str(tmp_path), "--unit", "1"])
    assert "`refuse` is now called `opt-out`" in found.stderr
    assert "found no study.toml" in found.stderr
    assert (
        found.exit_code
        == CliRunner().invoke(app, ["opt-out", str(tmp_path), "--unit", "1"]).exit_code
    )
