"""No message names a remedy that does not work: each command in a message is one that exists.

Every `wavewise ...` in a text of the source is parsed by the command line itself, with its
arguments filled in, and every option that a text tells people to add belongs to some command.
Remedies that are told after a mistake are run in tests/acceptance/test_remedies_work.py.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from wavewise.cli import app

SOURCE = Path(__file__).resolve().parents[2] / "src" / "wavewise"
FILLED = "x"  # what stands for a value that is known only when the message is made
COMMAND = re.compile(r"`wavewise ([^`]+)`")
ADVICE = re.compile(r"(?:add|give|with|needed|or)\s+(--[a-z][a-z-]+)")


def texts(path: Path) -> Iterator[str]:
    """Every text in a page, with FILLED for what is put in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            yield "".join(
                part.value if isinstance(part, ast.Constant) else FILLED for part in node.values
            )
        elif isinstance(getattr(node, "value", None), str) and id(node) not in inner:
            yield node.value


def commands() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for text in texts(path):
            for found in COMMAND.findall(" ".join(text.split())):
                yield f"{path.stem}: {found}", found


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and the words that are left for it."""
    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


FOUND = dict(commands())


def test_there_are_many() -> None:
    assert len(FOUND) > 25


@pytest.mark.parametrize("place", sorted(FOUND))
def test_a_command_in_a_message_can_be_called(place: str) -> None:
    command, words = resolved(shlex.split(FOUND[place]))
    if words in (["--help"], ["--version"]) or not (words or hasattr(command, "commands")):
        return  # a command that is only named says nothing of its arguments
    assert not hasattr(command, "commands"), f"there is no such command: {FOUND[place]}"
    options = {o: p for p in command.params for o in p.opts if p.param_type_name == "option"}
    given = [word for word in words if word.startswith("--")]
    assert [word for word in given if word not in options] == []
    needed = [name for name, option in options.items() if option.required]
    assert set(needed) <= set(given)
    values = {words[words.index(o) + 1] for o in given if not options[o].is_flag}
    arguments = [word for word in words if not word.startswith("--") and word not in values]
    required = [p for p in command.params if p.param_type_name == "argument" and p.required]
    assert len(arguments) >= len(required)


def test_options_that_texts_tell_people_to_add_exist() -> None:
    def options(command: Any) -> Iterator[str]:
        for param in command.params:
            yield from param.opts
        for inner in getattr(command, "commands", {}).values():
            yield from options(inner)

    known = set(options(get_command(app)))
    advised = {
        option
        for path in SOURCE.rglob("*.py")
        for text in texts(path)
        for option in ADVICE.findall(" ".join(text.split()))
    }
    assert len(advised) > 5
    assert advised - known == set()


def test_the_search_finds_a_command_that_does_not_exist() -> None:
    command, words = resolved(["wave", "undo", "x"])
    assert (hasattr(command, "commands"), words) == (True, ["undo", "x"])
