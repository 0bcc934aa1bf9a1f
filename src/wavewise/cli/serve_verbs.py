"""Verbs of the HTTP interface and the monitor: serve, keys, refuse, status."""

from typing import Annotated

import typer

from wavewise.cli.common import Folder, StoreUrl, opened, verb
from wavewise.cli.contact_verbs import KeyFile
from wavewise.workflow.done import Done

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    _add_serve(app)
    _add_keys(app)
    _add_refuse(app)
    _add_status(app)


def _add_status(app: typer.Typer) -> None:
    @verb(app, "status", "wavewise status my-study")
    def status(folder: Folder, store: StoreUrl = None) -> Done:
        """Show what was due, sent, delivered, failed and refused, and what reached people."""
        from wavewise.workflow.status import status as work

        with opened(folder, store) as study:
            return work(study)


def _add_serve(app: typer.Typer) -> None:
    @verb(app, "serve", "wavewise serve my-study --port 8080 --key-file study.key")
    def serve(
        folder: Folder,
        port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
        host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
        key_file: KeyFile = None,
        public_url: Annotated[
            str | None,
            typer.Option("--public-url", help="Address by which providers reach it."),
        ] = None,
        send: Annotated[bool, typer.Option("--send", help="Send what is due, too.")] = False,
        store: StoreUrl = None,
    ) -> Done:
        """Take events, inbound messages and refusals over HTTP, until it is stopped."""
        from wavewise.server.run import serve as work

        with opened(folder, store) as study:
            return work(
                study, host=host, port=port, key_file=key_file, public_url=public_url, send=send
            )


def _add_keys(app: typer.Typer) -> None:
    keys = typer.Typer(help="Keys of the HTTP interface.", no_args_is_help=True)
    app.add_typer(keys, name="keys")

    @verb(keys, "make", 'wavewise keys make my-study --name "the app"')
    def make(
        folder: Folder,
        name: Annotated[str, typer.Option(help="Whose key it is.")],
        store: StoreUrl = None,
    ) -> Done:
        """Make a key and print it, this once."""
        from wavewise.workflow.api_keys import make_key

        with opened(folder, store) as study:
            return make_key(study, name)

    @verb(keys, "list", "wavewise keys list my-study")
    def list_(folder: Folder, store: StoreUrl = None) -> Done:
        """List keys by id and name; their secrets are nowhere kept."""
        from wavewise.workflow.api_keys import list_keys

        with opened(folder, store) as study:
            return list_keys(study)

    @verb(keys, "revoke", "wavewise keys revoke my-study 1f3a9c02")
    def revoke(
        folder: Folder,
        key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="Of `keys list`.")],
        store: StoreUrl = None,
    ) -> Done:
        """Make a key useless from now on."""
        from wavewise.workflow.api_keys import revoke_key

        with opened(folder, store) as study:
            return revoke_key(study, key_id)


def _add_refuse(app: typer.Typer) -> None:
    @verb(app, "refuse", "wavewise refuse my-study --unit 007")
    def refuse(
        folder: Folder,
        unit: Annotated[str, typer.Option("--unit", metavar="ID", help="The unit's id.")],
        channel: Annotated[
            str | None, typer.Option(help="Only this channel; all by default.")
        ] = None,
        store: StoreUrl = None,
    ) -> Done:
        """Keep a unit's refusal and cancel what is queued for it; its arm and outcomes stay."""
        from wavewise.workflow.refusals import refuse_by_hand

        with opened(folder, store) as study:
            return refuse_by_hand(study, unit, channel)
