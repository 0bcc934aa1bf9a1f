"""What all verbs share: options, output for people and machines, errors with their exit codes."""

import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavewise import __version__
from wavewise.workflow.done import Done

if TYPE_CHECKING:
    from wavewise.workflow.study import Study

__all__ = [
    "Encoding",
    "File",
    "Folder",
    "StoreUrl",
    "WaveId",
    "opened",
    "verb",
    "version_option",
]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The study folder.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="The file to read.")]
WaveId = Annotated[str, typer.Argument(metavar="WAVE", help="Id of a wave in the study file.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the facts as JSON, for machines.")]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="WAVEWISE_STORE",
        help="Database, e.g. postgresql://...; the file study.db in DIR by default.",
    ),
]
Encoding = Annotated[
    str, typer.Option("--encoding", help="Of a text file: utf-8, utf-8-sig, latin-1.")
]


def verb(
    app: typer.Typer, name: str, example: str
) -> Callable[[Callable[..., Done]], Callable[..., Done]]:
    """Register a function as a verb: it gives a ``Done``, ``--json`` prints its facts."""

    def register(function: Callable[..., Done]) -> Callable[..., Done]:
        @functools.wraps(function)
        def run(*args: Any, as_json: bool, **kwargs: Any) -> None:
            with _errors(as_json=as_json):
                _print(function(*args, **kwargs), as_json=as_json)

        run.__signature__ = _with_json(function)  # type: ignore[attr-defined]
        app.command(name, epilog=f"Example: {example}")(run)
        return function

    return register


def _with_json(function: Callable[..., Done]) -> inspect.Signature:
    signature = inspect.signature(function, eval_str=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    added = inspect.Parameter("as_json", kind, default=False, annotation=_Json)
    return signature.replace(parameters=[*signature.parameters.values(), added])


def _print(done: Done, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(dict(done.facts), ensure_ascii=False, indent=2, default=str))
    else:
        typer.echo(done.text)


@contextmanager
def _errors(*, as_json: bool) -> Iterator[None]:
    from wavewise.errors import WavewiseError, exit_code

    try:
        yield
    except WavewiseError as error:
        if as_json:
            facts = {
                "error": type(error).__name__,
                "message": error.message,
                "faults": [fault.to_dict() for fault in error.faults],
            }
            typer.echo(json.dumps(facts, ensure_ascii=False, indent=2))
        else:
            typer.echo(f"wavewise: {error}", err=True)
        raise typer.Exit(exit_code(error)) from error


@contextmanager
def opened(folder: Path, store_url: str | None) -> "Iterator[Study]":
    """The study in a folder, open for one verb."""
    from wavewise.workflow.study import open_study

    with open_study(folder, store_url=store_url) as study:
        yield study


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wavewise {__version__} (Python {sys.version.split()[0]})")
        raise typer.Exit


def version_option(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options of the command itself."""
