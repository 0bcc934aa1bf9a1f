"""Verbs of data: public files, what leaves a study, what is erased from it."""

from pathlib import Path
from typing import Annotated

import typer

from wavewise.cli.verbs import Folder, StoreUrl, Unit, group, verb

group("data", "Get the public data of the worked studies.")


@verb("data get", "wavewise data get gotv --from downloads/gotv.csv.gz")
def data_get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="gotv or pad.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A local copy, instead of a download.")
    ] = None,
) -> None:
    """Put a public data file into the cache, its SHA-256 checked."""


@verb("export", "wavewise export my-study --out my-study-data")
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", metavar="DIR2", help="Folder to make.")],
    store: StoreUrl = None,
) -> None:
    """Write research data as CSV: no contact details, no names."""


@verb("erase", "wavewise erase my-study --unit 007")
def erase(folder: Folder, unit: Unit, store: StoreUrl = None) -> None:
    """Erase what identifies a unit; it gets no more messages."""
