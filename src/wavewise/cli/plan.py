"""Verbs of the plan."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavewise.cli.verbs import Encoding, Folder, StoreUrl, verb

if TYPE_CHECKING:
    from rich.progress import Progress

# Progress on standard error, plain where that is no terminal.

Show = Callable[[str, int, int], None]  # What is done now, how much is done, of how much.


@contextmanager
def of_steps() -> Iterator[Show]:
    """Steps with texts; one line each where there is no terminal."""
    with _bar(time_left=False) as bar:
        if bar is not None:
            yield _shower(bar)
        else:
            yield _print_step


@contextmanager
def of_simulations() -> Iterator[Show]:
    """Many equal parts, with the time that is left; nothing where there is no terminal."""
    with _bar(time_left=True) as bar:
        yield (lambda *_: None) if bar is None else _shower(bar)


def _print_step(text: str, done: int, total: int) -> None:
    from rich.console import Console

    Console(stderr=True).print(f"[{done + 1}/{total}] {text}", markup=False)


@contextmanager
def _bar(*, time_left: bool) -> Iterator["Progress | None"]:
    """A bar on a terminal, None elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    time = (TextColumn("time left"), TimeRemainingColumn()) if time_left else (TimeElapsedColumn(),)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *time)
    with Progress(*columns, console=console, transient=True) as bar:
        yield bar


def _shower(bar: "Progress") -> Show:
    task = bar.add_task("", total=None)

    def show(text: str, done: int, total: int) -> None:
        if bar.tasks[0].total not in {None, total}:  # the next simulation begins
            bar.reset(task, total=total, completed=done)
        bar.update(task, description=text, completed=done, total=total)

    return show


# The verbs.

TEMPLATES = (
    "sms-two-waves, email-one-wave, peru-school-year, peru-summer, kenya-ivr, get-out-the-vote"
)


@verb("demo", "wavewise demo --units 20000 --seed 1", display=of_steps)
def demo(
    units: Annotated[int, typer.Option(min=100, help="Number of simulated parents.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random draw.")] = 1,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make.")] = Path(
        "wavewise-demo"
    ),
    summer: Annotated[
        bool, typer.Option("--summer", help="The summer study, when few use the app.")
    ] = False,
) -> None:
    """Run the Peru study on simulated families, to its report."""


@verb("init", "wavewise init my-study --template sms-two-waves")
def init(
    folder: Folder,
    template: Annotated[str | None, typer.Option(help=f"One of {TEMPLATES}.")] = None,
    people: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="People, from whose columns a study file is proposed."
        ),
    ] = None,
    encoding: Encoding = None,
) -> None:
    """Make a new study folder from a template or a people file."""


@verb("check", "wavewise check my-study")
def check(folder: Folder, store: StoreUrl = None) -> None:
    """Check the study file and its people; list every fault."""


@verb("design", "wavewise design my-study --simulations 2000 --jobs 2", display=of_simulations)
def design(
    folder: Folder,
    simulations: Annotated[
        int, typer.Option(min=2, help="Simulated experiments for each design.")
    ] = 1000,
    spread: Annotated[
        float, typer.Option(help="Prior standard deviation of the arms' log odds.")
    ] = 0.2,
    correlation: Annotated[
        float, typer.Option(help="Prior correlation between two arms' log odds.")
    ] = 0.0,
    clusters: Annotated[
        int, typer.Option(min=1, help="Number of clusters, where the model has them.")
    ] = 100,
    cluster_sd: Annotated[
        float, typer.Option(min=0, help="Standard deviation of the clusters' log odds.")
    ] = 0.5,
    budget: Annotated[float | None, typer.Option(help="Budget for all waves together.")] = None,
    total_days: Annotated[float | None, typer.Option(help="Days for all waves together.")] = None,
    wave_days: Annotated[
        float | None, typer.Option(help="Days for one wave; its window by default.")
    ] = None,
    discount: Annotated[
        float, typer.Option(help="Value of a benefit one wave later, relative to now.")
    ] = 1.0,
    heterogeneity: Annotated[
        float | None,
        typer.Option(help="Standard deviation of effects between units: personalization."),
    ] = None,
    best_effect: Annotated[
        float, typer.Option(help="Largest average effect, for personalization.")
    ] = 0.03,
    jobs: Annotated[int, typer.Option(help="Processes; -1 for one per core.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler, e.g. tcp://10.0.0.5:8786."),
    ] = None,
    store: StoreUrl = None,
) -> None:
    """Calculate power, simulate designs, choose the number of waves."""


@verb("rehearse", "wavewise rehearse my-study", display=of_steps)
def rehearse(
    folder: Folder,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR2", help="Folder to make; rehearsal in DIR by default."),
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option("--people", metavar="FILE", help="Units, where none are imported yet."),
    ] = None,
    store: StoreUrl = None,
) -> None:
    """Run the whole study on a copy, to its report."""


@verb("register", "wavewise register my-study")
def register(folder: Folder, store: StoreUrl = None) -> None:
    """Freeze version 1 of the plan; then it changes only by amend."""


@verb("amend", 'wavewise amend my-study --reason "the ministry moved the start"')
def amend(
    folder: Folder,
    reason: Annotated[str, typer.Option(help="Why the plan was changed.")],
    reword: Annotated[
        bool, typer.Option("--reword", help="Queue waiting messages anew in the new words.")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Freeze the plan as it stands now as the next version."""


@verb("history", "wavewise history my-study --export")
def history(
    folder: Folder,
    export: Annotated[
        bool, typer.Option("--export", help="Write the registry page and the analysis plan.")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Show every change of the plan, with date and reason."""


@verb("schema", "wavewise schema > study.schema.json")
def schema() -> None:
    """Print the JSON Schema of the study file, for editors."""
