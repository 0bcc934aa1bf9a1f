"""Progress displays on standard error, plain where that is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Chunks", "Step", "chunk_progress", "progress"]

Step = Callable[[str, int, int], None]
Chunks = Callable[[int, int], None]


@contextmanager
def progress() -> Iterator[Step]:
    """A function that shows a step: its text, its number, and the number of all."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text, number, total: console.print(f"[{number}/{total}] {text}", markup=False)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def step(text: str, number: int, total: int) -> None:
            bar.update(task, description=text, completed=number - 1, total=total)

        yield step


@contextmanager
def chunk_progress(text: str) -> Iterator[Chunks]:
    """A function that shows how many chunks of all are done, and the time left."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda *_: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("time left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(text, total=None)

        def show(done: int, total: int) -> None:
            if done == 0 or bar.tasks[0].total != total:
                bar.reset(task, total=total, completed=done)
            bar.update(task, completed=done, total=total)

        yield show
