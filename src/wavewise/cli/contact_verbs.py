"""Verbs for contact details and refusals, and for what leaves or leaves behind a study."""

from pathlib import Path
from typing import Annotated

import typer

from wavewise.cli.common import Encoding, File, Folder, StoreUrl, opened, verb
from wavewise.workflow.done import Done

__all__ = ["KeyFile", "add_to"]

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        envvar="WAVEWISE_KEY_FILE",
        help="Key file for contact details, kept outside of DIR.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    _add_contacts(app)
    _add_data(app)


def _add_contacts(app: typer.Typer) -> None:
    contacts = typer.Typer(
        help="Contact details, sealed apart from research data.", no_args_is_help=True
    )
    app.add_typer(contacts, name="contacts")

    @verb(contacts, "make-key", "wavewise contacts make-key ~/keys/study.key")
    def make_key(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="The key file to make.")],
    ) -> Done:
        """Make a key file. Keep a copy: without it contact details cannot be read."""
        from wavewise.workflow.keys import make_key_file

        return make_key_file(file)

    @verb(contacts, "import", "wavewise contacts import my-study numbers.csv --key-file study.key")
    def import_(
        folder: Folder,
        file: File,
        key_file: KeyFile = None,
        encoding: Encoding = "utf-8",
        store: StoreUrl = None,
    ) -> Done:
        """Import new contact details of known units, such as changed numbers."""
        from wavewise.workflow.contacts import import_contacts

        with opened(folder, store) as study:
            return import_contacts(study, file, key_file=key_file, encoding=encoding)

    @verb(contacts, "rotate", "wavewise contacts rotate my-study --key-file study.key")
    def rotate(
        folder: Folder,
        key_file: Annotated[
            Path,
            typer.Option(
                "--key-file", metavar="FILE", envvar="WAVEWISE_KEY_FILE", help="The key file."
            ),
        ],
        store: StoreUrl = None,
    ) -> Done:
        """Seal all contact details with a new key, and take the old one out of the file."""
        from wavewise.workflow.contacts import rotate_keys

        with opened(folder, store) as study:
            return rotate_keys(study, key_file)

    _add_changes(contacts)


def _add_changes(contacts: typer.Typer) -> None:
    @verb(contacts, "changes", "wavewise contacts changes my-study")
    def changes(folder: Folder, store: StoreUrl = None) -> Done:
        """List who changed a number during a call, and when; never the numbers."""
        from wavewise.workflow.contact_changes import list_changes

        with opened(folder, store) as study:
            return list_changes(study)

    @verb(contacts, "restore", "wavewise contacts restore my-study --unit 007 --key-file study.key")
    def restore(
        folder: Folder,
        unit: Annotated[str, typer.Option("--unit", metavar="ID", help="The unit's id.")],
        key_file: KeyFile = None,
        store: StoreUrl = None,
    ) -> Done:
        """Put back the number that a unit had before it changed it, such as to a mistyped one."""
        from wavewise.workflow.contact_changes import restore_contact

        with opened(folder, store) as study:
            return restore_contact(study, unit, key_file=key_file)


def _add_data(app: typer.Typer) -> None:
    @verb(app, "export", "wavewise export my-study --out my-study-data")
    def export(
        folder: Folder,
        out: Annotated[Path, typer.Option("--out", metavar="DIR2", help="Folder to make.")],
        store: StoreUrl = None,
    ) -> Done:
        """Write the research data as CSV files: ids only, no contact details and no names."""
        from wavewise.workflow.export import export as work

        with opened(folder, store) as study:
            return work(study, out)

    @verb(app, "erase", "wavewise erase my-study --unit 007")
    def erase(
        folder: Folder,
        unit: Annotated[str, typer.Option("--unit", metavar="ID", help="The unit's id.")],
        store: StoreUrl = None,
    ) -> Done:
        """Erase what identifies a unit: contact details, names. It is never sent to again."""
        from wavewise.workflow.export import erase as work

        with opened(folder, store) as study:
            return work(study, unit)
