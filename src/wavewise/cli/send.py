"""Verbs of sending: contact details, messages, opt-outs."""

from pathlib import Path
from typing import Annotated

import typer

from wavewise.cli.verbs import (
    DryRun,
    Encoding,
    FileReading,
    Folder,
    KeyFile,
    SkipBadContacts,
    StoreUrl,
    Unit,
    Wave,
    group,
    verb,
)

_OneWave = Annotated[
    str | None, typer.Option("--wave", metavar="WAVE", help="Only this wave; all by default.")
]
_Data = Annotated[
    Path, typer.Argument(metavar="FILE", help="CSV, Excel, Stata, SPSS, Parquet, NDJSON.")
]

group("contacts", "Contact details, encrypted and kept apart.")
group("outbox", "Pause, resume, cancel, resend, retry or reword messages.")


@verb("contacts make-key", "wavewise contacts make-key ~/keys/study.key")
def contacts_make_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The key file to make.")],
) -> None:
    """Make a key file. Keep a copy: no contact detail can be read without it."""


@verb("contacts import", "wavewise contacts import my-study numbers.csv --key-file study.key")
def contacts_import(
    folder: Folder,
    data: _Data,
    key_file: KeyFile = None,
    skip_bad_contacts: SkipBadContacts = False,
    dry_run: DryRun = False,
    encoding: Encoding = None,
    reading: FileReading = None,
    store: StoreUrl = None,
) -> None:
    """Import changed contact details of known units."""


@verb("contacts rotate", "wavewise contacts rotate my-study --key-file study.key")
def contacts_rotate(
    folder: Folder,
    key_file: Annotated[
        Path,
        typer.Option(
            "--key-file", metavar="FILE", envvar="WAVEWISE_KEY_FILE", help="The key file."
        ),
    ],
    store: StoreUrl = None,
) -> None:
    """Encrypt all contact details with a new key."""


@verb("contacts changes", "wavewise contacts changes my-study")
def contacts_changes(folder: Folder, store: StoreUrl = None) -> None:
    """List who changed a number in a call, never the numbers."""


@verb("contacts restore", "wavewise contacts restore my-study --unit 007 --key-file study.key")
def contacts_restore(
    folder: Folder, unit: Unit, key_file: KeyFile = None, store: StoreUrl = None
) -> None:
    """Restore the number that a unit had before its last change."""


@verb("preview", "wavewise preview my-study phase-1 --unit 007")
def preview(
    folder: Folder,
    wave: Wave,
    unit: Annotated[
        str | None, typer.Option("--unit", metavar="ID", help="The first unit by default.")
    ] = None,
    units: Annotated[
        int, typer.Option(min=1, max=1_000, help="So many units, each with one message.")
    ] = 1,
    store: StoreUrl = None,
) -> None:
    """Show a wave's messages as one unit would get them."""


@verb("send", "wavewise send my-study --until-done")
def send(
    folder: Folder,
    until_done: Annotated[
        bool,
        typer.Option("--until-done", help="Run until all messages of open waves are out."),
    ] = False,
    key_file: KeyFile = None,
    store: StoreUrl = None,
) -> None:
    """Send what is due, each message at most once."""


@verb("outbox pause", "wavewise outbox pause my-study --wave phase-1")
def outbox_pause(folder: Folder, wave: _OneWave = None, store: StoreUrl = None) -> None:
    """Stop sending immediately."""


@verb("outbox resume", "wavewise outbox resume my-study --wave phase-1")
def outbox_resume(
    folder: Folder,
    wave: _OneWave = None,
    gone_out: Annotated[
        str | None,
        typer.Option(
            "--gone-out", metavar="due|none", help="After a restore: what went out since the copy."
        ),
    ] = None,
    store: StoreUrl = None,
) -> None:
    """Resume sending what was paused."""


@verb("outbox cancel", "wavewise outbox cancel my-study --wave phase-1")
def outbox_cancel(folder: Folder, wave: _OneWave = None, store: StoreUrl = None) -> None:
    """Cancel all messages that are not sent yet, for good."""


@verb("outbox resend", "wavewise outbox resend my-study --wave phase-1")
def outbox_resend(folder: Folder, wave: _OneWave = None, store: StoreUrl = None) -> None:
    """Send messages of unknown fate again; some may arrive twice."""


@verb("outbox retry", 'wavewise outbox retry my-study --reason "the provider rejected"')
def outbox_retry(
    folder: Folder,
    reason: Annotated[
        str, typer.Option(help="Why they failed, as `status` shows it, or its first words.")
    ],
    wave: _OneWave = None,
    store: StoreUrl = None,
) -> None:
    """Send messages again that failed for a reason, once it is gone."""


@verb("outbox reword", "wavewise outbox reword my-study")
def outbox_reword(folder: Folder, wave: _OneWave = None, store: StoreUrl = None) -> None:
    """Queue waiting messages anew in the words of the registered plan."""


@verb("opt-out", "wavewise opt-out my-study --unit 007", formerly="refuse")
def opt_out(
    folder: Folder,
    unit: Unit,
    channel: Annotated[str | None, typer.Option(help="Only this channel; all by default.")] = None,
    store: StoreUrl = None,
) -> None:
    """Record an opt-out and cancel what is queued for the unit."""
