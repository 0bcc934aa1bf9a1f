"""Verbs of a running study: people, waves, what was observed."""

from pathlib import Path
from typing import Annotated

import typer

from wavewise.cli.verbs import (
    DryRun,
    Encoding,
    FileReading,
    Folder,
    KeepUnmatched,
    KeyFile,
    MatchIds,
    SkipBadContacts,
    StoreUrl,
    Wave,
    group,
    verb,
)

_Data = Annotated[
    Path, typer.Argument(metavar="FILE", help="CSV, Excel, Stata, SPSS, Parquet, NDJSON.")
]
_Exploratory = Annotated[
    bool,
    typer.Option(
        "--exploratory", help="Skip registration; all later results are marked exploratory."
    ),
]

group("people", "Import units.")
group("wave", "Open, close or import waves.")


@verb("people import", "wavewise people import my-study parents.csv --dry-run")
def people_import(
    folder: Folder,
    data: _Data,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Import the good rows where some are bad.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the rows of units imported before.")
    ] = False,
    key_file: KeyFile = None,
    skip_bad_contacts: SkipBadContacts = False,
    dry_run: DryRun = False,
    encoding: Encoding = None,
    reading: FileReading = None,
    store: StoreUrl = None,
) -> None:
    """Import units. If a row is bad, nothing is imported and every bad row is named."""


@verb("wave open", "wavewise wave open my-study phase-1")
def wave_open(
    folder: Folder, wave: Wave, exploratory: _Exploratory = False, store: StoreUrl = None
) -> None:
    """Randomize a wave: all of its units, or none."""


@verb("wave close", "wavewise wave close my-study phase-1")
def wave_close(folder: Folder, wave: Wave, store: StoreUrl = None) -> None:
    """Freeze a wave's outcomes: one row per unit."""


@verb("wave import", "wavewise wave import my-study election results.csv")
def wave_import(
    folder: Folder,
    wave: Wave,
    data: _Data,
    exploratory: _Exploratory = False,
    match_ids: MatchIds = False,
    keep_unmatched: KeepUnmatched = False,
    dry_run: DryRun = False,
    encoding: Encoding = None,
    reading: FileReading = None,
    store: StoreUrl = None,
) -> None:
    """Import a wave that ran elsewhere: assignment and outcomes."""


@verb("observe", "wavewise observe my-study events.csv")
def observe(
    folder: Folder,
    data: _Data,
    kind: Annotated[
        str | None, typer.Option(help="Kind of all events in the file, or `scores`.")
    ] = None,
    delivered: Annotated[
        str | None,
        typer.Option(help="Delivery date of all scores, if no column has it."),
    ] = None,
    match_ids: MatchIds = False,
    keep_unmatched: KeepUnmatched = False,
    dry_run: DryRun = False,
    encoding: Encoding = None,
    reading: FileReading = None,
    store: StoreUrl = None,
) -> None:
    """Import events or scores; repeating a file changes nothing."""


@verb("data-check", "wavewise data-check my-study --wave phase-1")
def data_check(
    folder: Folder,
    wave: Annotated[
        str | None,
        typer.Option("--wave", metavar="WAVE", help="One wave; all open ones by default."),
    ] = None,
    ids: Annotated[
        bool, typer.Option("--ids", help="List the ids that name nobody, with likely people.")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Judge people and events: what matches nothing, and why."""


@verb("status", "wavewise status my-study")
def status(folder: Folder, store: StoreUrl = None) -> None:
    """Show messages sent and received, failures, opt-outs."""
