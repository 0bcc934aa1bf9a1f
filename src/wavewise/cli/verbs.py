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
    "DryRun",
    "Encoding",
    "FileReading",
    "Folder",
    "KeepUnmatched",
    "KeyFile",
    "MatchIds",
    "SkipBadContacts",
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
    str | None,
    typer.Option("--encoding", help="Encoding of a text file that is not UTF-8: cp1252, ..."),
]
MatchIds = Annotated[
    bool,
    typer.Option("--match-ids", help="Take ids that differ from a unit's only in zeros, case, ..."),
]
KeepUnmatched = Annotated[
    bool, typer.Option("--keep-unmatched", help="Keep rows whose ids are like a unit's, as others.")
]
SkipBadContacts = Annotated[
    bool,
    typer.Option("--skip-bad-contacts", help="Leave out contact details that cannot be right."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show how each column is read; import nothing.")
]
# How a file is read, where it does not say so itself: on the command line one option a key.
FileReading = Annotated[Any, None]
_READING = {
    "separator": Annotated[
        str | None, typer.Option("--separator", help="Between cells: , ; | or tab.")
    ],
    "decimal": Annotated[str | None, typer.Option("--decimal", help="Decimal mark: , or .")],
    "date_format": Annotated[
        str | None,
        typer.Option("--date-format", help="DMY, MDY, YMD, or a pattern: %d.%m.%Y %H:%M."),
    ],
    "sheet": Annotated[str | None, typer.Option("--sheet", help="Sheet of a spreadsheet.")],
    "header_row": Annotated[
        int | None, typer.Option("--header-row", help="Row that has the names of the columns.")
    ],
    "missing": Annotated[
        list[str] | None,
        typer.Option("--missing", metavar="WORD", help="What stands for an empty cell."),
    ],
    "column": Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=THEIRS", help="A column's name in the file."),
    ],
    "as_text": Annotated[
        list[str] | None,
        typer.Option("--as-text", metavar="COLUMN", help="Take its cells as they stand."),
    ],
    "value_labels": Annotated[
        bool, typer.Option("--value-labels", help="Stata, SPSS: labels, not codes.")
    ],
}
READING = "reading"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

# Verbs and groups of verbs by the stage of a study, as --help shows them.
STAGES = {
    "Plan": (
        *("demo", "init", "check", "design", "rehearse"),
        *("register", "amend", "history", "schema"),
    ),
    "Run": ("people", "enrol", "wave", "observe", "withdraw", "data-check", "status"),
    "Learn": ("analyze", "decide", "evaluate", "report", "compare"),
    "Send": ("contacts", "preview", "send", "outbox", "opt-out"),
    "Data": ("data", "export", "erase", "backup", "restore"),
    "Serve": ("app", "serve", "keys", "team", "audit"),
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
            if READING in inspect.signature(function).parameters:
                told = {name: arguments.pop(name) for name in _READING}
                arguments[READING] = _reading(told)
            _print(_call(method, arguments, display), as_json=as_json)

    run.__signature__ = _with_json(function)  # type: ignore[attr-defined]
    place, _, last = name.rpartition(" ")
    _GROUPS[place].command(last, epilog=f"Example: {example}", hidden=now is not None)(run)


def _with_json(function: Declaration) -> inspect.Signature:
    signature = inspect.signature(function, eval_str=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter("as_json", kind, default=False, annotation=_Json)]
    kept = [one for one in signature.parameters.values() if one.name != READING]
    if len(kept) < len(signature.parameters):
        added = [
            *(
                inspect.Parameter(
                    name, kind, default=False if name == "value_labels" else None, annotation=how
                )
                for name, how in _READING.items()
            ),
            *added,
        ]
    return signature.replace(parameters=[*kept, *added], return_annotation=None)


def _reading(told: dict[str, Any]) -> dict[str, Any]:
    """The options of reading a file, as [import.people] of the study file has them."""
    from wavewise.errors import InputError

    found = {name: value for name, value in told.items() if value}
    columns: dict[str, Any] = {}
    for pair in found.pop("column", ()):
        name, mark, theirs = pair.partition("=")
        if not (mark and name.strip() and theirs.strip()):
            raise InputError(
                f"found --column {pair!r}; needed the study's name, =, the file's name"
            )
        columns[name.strip()] = {"from": theirs.strip()}
    for name in found.pop("as_text", ()):
        columns[name] = {**columns.get(name, {}), "as_text": True}
    if found.get("separator") in {"tab", "\\t"}:
        found["separator"] = "\t"
    return {**found, **({"columns": columns} if columns else {})}


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
