"""Verbs: each declares its parameters, and the method of the same name does the work."""

import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from wavewise.shared.version import __version__

if TYPE_CHECKING:
    from wavewise.shared.results import Result

__all__ = [
    "STAGES",
    "VERBS",
    "Declaration",
    "Encoding",
    "Folder",
    "KeyFile",
    "StoreUrl",
    "Unit",
    "Wave",
    "app",
    "group",
    "verb",
    "version_option",
]

Declaration = Callable[..., None]
Display = Callable[[], AbstractContextManager[Any]]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The study folder.")]
Wave = Annotated[str, typer.Argument(metavar="WAVE", help="Id of a wave in the study file.")]
Unit = Annotated[str, typer.Option("--unit", metavar="ID", help="The unit's id.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        envvar="WAVEWISE_KEY_FILE",
        help="Key file for contact details, kept outside DIR.",
    ),
]
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
    str, typer.Option("--encoding", help="Encoding of a text file: utf-8, utf-8-sig, latin-1.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

# Verbs and groups of verbs by the stage of a study, as --help shows them.
STAGES = {
    "Plan": ("demo", "init", "check", "design", "register", "amend", "history", "schema"),
    "Run": ("people", "wave", "observe", "status"),
    "Learn": ("analyze", "decide", "evaluate", "report", "compare"),
    "Send": ("contacts", "preview", "send", "outbox", "opt-out"),
    "Data": ("data", "export", "erase"),
    "Serve": ("serve", "keys"),
}


class _Stages(TyperGroup):
    """Lists verbs by the stage of a study."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  (of the base)
        wide = max(len(name) for names in STAGES.values() for name in names)
        limit = formatter.width - 6 - wide
        for stage, names in STAGES.items():
            rows = [(n.ljust(wide), self.commands[n].get_short_help_str(limit)) for n in names]
            with formatter.section(stage):
                formatter.write_dl(rows)


app = typer.Typer(
    name="wavewise",
    cls=_Stages,
    help="Which message works, for whom, and whether to message at all.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_GROUPS = {"": app}
# Every verb by its full name, as "wave open"; a test holds them against the methods.
VERBS: dict[str, Declaration] = {}


def group(name: str, text: str) -> None:
    """Begin a group of verbs, as ``wave`` in ``wave open``."""
    _GROUPS[name] = typer.Typer(help=text, no_args_is_help=True)
    app.add_typer(_GROUPS[name], name=name)


def verb(
    name: str, example: str, *, formerly: str | None = None, display: Display | None = None
) -> Callable[[Declaration], Declaration]:
    """Declare a verb: parameters by the function's signature, help by its docstring.

    The method of the same name does the work. A former name works for one version more, unlisted;
    a display is given to the method as its `progress`.
    """

    def declare(function: Declaration) -> Declaration:
        VERBS[name] = function
        _add(name, function, example, display)
        if formerly is not None:
            _add(formerly, function, example, display, now=name)
        return function

    return declare


def _add(
    name: str, function: Declaration, example: str, display: Display | None, now: str | None = None
) -> None:
    method = (now or name).replace(" ", "_").replace("-", "_")

    @functools.wraps(function)
    def run(*, as_json: bool, **arguments: Any) -> None:
        if now is not None:
            typer.echo(f"wavewise: `{name}` is now called `{now}`", err=True)
        with _errors(as_json=as_json):
            _print(_call(method, arguments, display), as_json=as_json)

    run.__signature__ = _with_json(function)  # type: ignore[attr-defined]
    place, _, last = name.rpartition(" ")
    _GROUPS[place].command(last, epilog=f"Example: {example}", hidden=now is not None)(run)


def _with_json(function: Declaration) -> inspect.Signature:
    signature = inspect.signature(function, eval_str=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    added = inspect.Parameter("as_json", kind, default=False, annotation=_Json)
    return signature.replace(
        parameters=[*signature.parameters.values(), added], return_annotation=None
    )


def _call(method: str, arguments: dict[str, Any], display: Display | None) -> Any:
    """What the method of an open study gives, or the function where the verb needs no study."""
    from wavewise import study as door

    with (display or nullcontext)() as progress:
        if progress is not None:
            arguments["progress"] = progress
        if not hasattr(door.OpenStudy, method):
            return getattr(door, method)(**arguments)
        folder, store = arguments.pop("folder"), arguments.pop("store")
        with door.open_study(folder, store=store) as study:
            return getattr(study, method)(**arguments)


def _print(result: "Result", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result.facts(), ensure_ascii=False, indent=2, default=str))
    else:
        typer.echo(result.summary())


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
