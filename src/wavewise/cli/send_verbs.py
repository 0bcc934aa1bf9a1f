"""Verbs of sending: preview, send, outbox."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from wavewise.cli.common import Folder, StoreUrl, WaveId, opened, verb
from wavewise.workflow.done import Done

__all__ = ["add_to"]

_Wave = Annotated[
    str | None, typer.Option("--wave", metavar="WAVE", help="Only this wave; all by default.")
]


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command line."""

    @verb(app, "preview", "wavewise preview my-study phase-1 --unit 007")
    def preview(
        folder: Folder,
        wave_id: WaveId,
        unit: Annotated[
            str | None, typer.Option("--unit", metavar="ID", help="The first unit by default.")
        ] = None,
        store: StoreUrl = None,
    ) -> Done:
        """Show every message of a wave as a unit would get it, with its length and due times."""
        from wavewise.workflow.preview import preview as work

        with opened(folder, store) as study:
            return work(study, wave_id, unit)

    @verb(app, "send", "wavewise send my-study --until-done")
    def send(
        folder: Folder,
        until_done: Annotated[
            bool,
            typer.Option("--until-done", help="Stay until all messages of open waves are out."),
        ] = False,
        key_file: Annotated[
            Path | None, typer.Option("--key-file", help="Key of the contact details.")
        ] = None,
        store: StoreUrl = None,
    ) -> Done:
        """Send what is due, each message at most once; several workers may run at a time."""
        from wavewise.workflow.send import send as work

        with opened(folder, store) as study:
            return work(study, until_done=until_done, key_file=key_file)

    _add_outbox(app)


def _add_outbox(app: typer.Typer) -> None:
    outbox = typer.Typer(help="Messages: pause, resume, cancel, resend.", no_args_is_help=True)
    app.add_typer(outbox, name="outbox")
    words: tuple[tuple[Literal["pause", "resume", "cancel", "resend"], str], ...] = (
        ("pause", "Begin no more messages, at once."),
        ("resume", "Go on with what was paused."),
        ("cancel", "Cancel every message that was not begun, at once and for good."),
        ("resend", "Send unknown messages again: some people may get them twice."),
    )
    for word, text in words:
        _add_word(outbox, word, text)


def _add_word(outbox: typer.Typer, word: str, text: str) -> None:
    def run(folder: Folder, wave_id: _Wave = None, store: StoreUrl = None) -> Done:
        from wavewise.workflow.send import address_outbox

        with opened(folder, store) as study:
            return address_outbox(study, word, wave_id)

    run.__doc__ = text
    verb(outbox, word, f"wavewise outbox {word} my-study --wave phase-1")(run)
