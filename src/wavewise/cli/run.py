"""Verbs of a running study: people, waves, what was observed, what is learned from it."""

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

_Enrolment = Annotated[
    str, typer.Argument(metavar="ENROLMENT", help="Id of an enrolment in the study file.")
]
_Reason = Annotated[str, typer.Option(help="Why; it is kept with what was done.")]

group("people", "Import units.")
group("enrol", "Invite people before a wave, and keep who remains.")
group("wave", "Open, close, reopen, discard or import waves.")


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
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="DATE", help="Columns as they were measured on this day."),
    ] = None,
    for_wave: Annotated[
        str | None,
        typer.Option("--for-wave", metavar="WAVE", help="Columns as they were measured for it."),
    ] = None,
    key_file: KeyFile = None,
    skip_bad_contacts: SkipBadContacts = False,
    dry_run: DryRun = False,
    encoding: Encoding = None,
    reading: FileReading = None,
    store: StoreUrl = None,
) -> None:
    """Import units. If a row is bad, nothing is imported and every bad row is named."""


@verb("enrol open", "wavewise enrol open my-study enrolment-1")
def enrol_open(
    folder: Folder,
    enrolment: _Enrolment,
    exploratory: _Exploratory = False,
    accept_late: Annotated[
        bool, typer.Option("--accept-late", help="Open it although sends are late already.")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Find out who is eligible, and invite them."""


@verb("enrol status", "wavewise enrol status my-study")
def enrol_status(folder: Folder, store: StoreUrl = None) -> None:
    """Show how many remain at each step, and why others left."""


@verb("enrol close", "wavewise enrol close my-study enrolment-1")
def enrol_close(
    folder: Folder,
    enrolment: _Enrolment,
    early: Annotated[
        bool, typer.Option("--early", help="Cancel messages that are still to come.")
    ] = False,
    accept_silence: Annotated[
        bool, typer.Option("--accept-silence", help="Close it although nobody answered.")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Keep who enrolled; waves are drawn from them."""


@verb("enrol discard", 'wavewise enrol discard my-study enrolment-1 --reason "the wrong list"')
def enrol_discard(
    folder: Folder, enrolment: _Enrolment, reason: _Reason, store: StoreUrl = None
) -> None:
    """Take back an enrolment of which nothing was sent."""


@verb("wave open", "wavewise wave open my-study phase-1")
def wave_open(
    folder: Folder,
    wave: Wave,
    exploratory: _Exploratory = False,
    accept_late: Annotated[
        bool, typer.Option("--accept-late", help="Open it although sends are late already.")
    ] = False,
    accept_incomplete: Annotated[
        bool,
        typer.Option(
            "--accept-incomplete", help="Open it although events that facts count may still arrive."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the draw and its checks; keep nothing.")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Randomize a wave: all of its units, or none."""


@verb("wave close", "wavewise wave close my-study phase-1")
def wave_close(
    folder: Folder,
    wave: Wave,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECK", help="A check of `data-check` to accept though it fails."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why it is accepted; it goes on record.")] = "",
    store: StoreUrl = None,
) -> None:
    """Freeze a wave's outcomes: one row per unit."""


@verb("wave reopen", 'wavewise wave reopen my-study phase-1 --reason "ids were corrected"')
def wave_reopen(folder: Folder, wave: Wave, reason: _Reason, store: StoreUrl = None) -> None:
    """Set a closed wave's outcomes aside; closing it makes them anew."""


@verb("wave discard", 'wavewise wave discard my-study phase-1 --reason "the wrong list"')
def wave_discard(folder: Folder, wave: Wave, reason: _Reason, store: StoreUrl = None) -> None:
    """Take back a wave of which nothing was sent."""


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
    correct: Annotated[
        bool, typer.Option("--correct", help="Replace what is kept under the same ids.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why, where --correct is given.")] = None,
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


@verb("withdraw", 'wavewise withdraw my-study wrong.csv --reason "sent by the test server"')
def withdraw(
    folder: Folder,
    reason: _Reason,
    data: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Events to withdraw, or their ids.")
    ] = None,
    event: Annotated[
        str | None, typer.Option("--event", metavar="ID", help="One event, by its id.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Kind of all events in the file, or `scores`.")
    ] = None,
    delivered: Annotated[
        str | None,
        typer.Option(help="Delivery date of all scores, if no column has it."),
    ] = None,
    match_ids: MatchIds = False,
    encoding: Encoding = None,
    reading: FileReading = None,
    store: StoreUrl = None,
) -> None:
    """Withdraw events or scores: they no longer count."""


@verb("status", "wavewise status my-study")
def status(
    folder: Folder,
    counts: Annotated[
        bool, typer.Option("--counts", help="Only counts of messages: at once, also while it runs.")
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Show messages sent and received, failures, opt-outs."""


# What is learned.


@verb("analyze", "wavewise analyze my-study phase-1")
def analyze(
    folder: Folder,
    wave: Wave,
    randomization_draws: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of re-randomizations for a randomization test; "
            "1,000 by default where strata are small.",
        ),
    ] = None,
    store: StoreUrl = None,
) -> None:
    """Estimate effects in a closed wave, and check its data."""


@verb("decide", "wavewise decide my-study wave-1")
def decide(folder: Folder, wave: Wave, store: StoreUrl = None) -> None:
    """Choose the next shares, the policies, or the final arm."""


@verb("evaluate", "wavewise evaluate my-study phase-2")
def evaluate(folder: Folder, wave: Wave, store: StoreUrl = None) -> None:
    """Evaluate frozen policies on a closed wave's fresh outcomes."""


@verb("report", "wavewise report my-study")
def report(folder: Folder, store: StoreUrl = None) -> None:
    """Write the report: report/index.html and its figures."""


@verb("compare", "wavewise compare school-year summer --out contexts.html")
def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR DIR...", help="Folders of evaluated studies.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Page to write.")] = Path(
        "contexts.html"
    ),
) -> None:
    """Compare the gains from policies in two or more studies."""
