"""Verbs of the field: people, wave, observe, and the real data of the worked studies."""

from pathlib import Path
from typing import Annotated

import typer

from wavewise.cli import send_verbs
from wavewise.cli.common import Encoding, File, Folder, StoreUrl, WaveId, opened, verb
from wavewise.cli.contact_verbs import KeyFile
from wavewise.workflow.done import Done

__all__ = ["add_to"]

SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Import the sound rows where some are bad.")
]


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    _add_people(app)
    _add_waves(app)
    _add_observe(app)
    _add_data(app)
    send_verbs.add_to(app)


def _add_people(app: typer.Typer) -> None:
    people = typer.Typer(help="The units.", no_args_is_help=True)
    app.add_typer(people, name="people")

    @verb(people, "import", "wavewise people import my-study parents.csv")
    def import_people(
        folder: Folder,
        file: File,
        skip_bad: SkipBad = False,
        replace: Annotated[
            bool, typer.Option("--replace", help="Known units take their new rows.")
        ] = False,
        key_file: KeyFile = None,
        encoding: Encoding = "utf-8",
        store: StoreUrl = None,
    ) -> Done:
        """Import units from CSV or Parquet: every bad row is named, and nothing imported then."""
        from wavewise.workflow import people as work

        with opened(folder, store) as study:
            return work.import_people(
                study,
                file,
                skip_bad=skip_bad,
                replace=replace,
                key_file=key_file,
                encoding=encoding,
            )


def _add_waves(app: typer.Typer) -> None:
    wave = typer.Typer(help="Waves: open, close, import.", no_args_is_help=True)
    app.add_typer(wave, name="wave")

    @verb(wave, "open", "wavewise wave open my-study phase-1")
    def open_(
        folder: Folder,
        wave_id: WaveId,
        exploratory: Annotated[
            bool,
            typer.Option("--exploratory", help="Open without registration; marks all after it."),
        ] = False,
        store: StoreUrl = None,
    ) -> Done:
        """Randomize a wave: all of its units, or none."""
        from wavewise.workflow.open_wave import open_wave

        with opened(folder, store) as study:
            return open_wave(study, wave_id, exploratory=exploratory)

    @verb(wave, "close", "wavewise wave close my-study phase-1")
    def close(folder: Folder, wave_id: WaveId, store: StoreUrl = None) -> Done:
        """Freeze a wave's outcomes: one row a unit."""
        from wavewise.workflow.observe import close_wave

        with opened(folder, store) as study:
            return close_wave(study, wave_id)

    @verb(wave, "import", "wavewise wave import my-study election results.csv")
    def import_(
        folder: Folder,
        wave_id: WaveId,
        file: File,
        exploratory: Annotated[
            bool,
            typer.Option("--exploratory", help="Import without registration; marks all after it."),
        ] = False,
        encoding: Encoding = "utf-8",
        store: StoreUrl = None,
    ) -> Done:
        """Import a wave that ran elsewhere: assignment, outcomes, and people if there are none."""
        from wavewise.workflow.import_wave import import_wave

        with opened(folder, store) as study:
            return import_wave(study, wave_id, file, exploratory=exploratory, encoding=encoding)


def _add_observe(app: typer.Typer) -> None:
    @verb(app, "observe", "wavewise observe my-study events.csv")
    def observe(
        folder: Folder,
        file: File,
        kind: Annotated[
            str | None, typer.Option(help="Kind of all events in the file; or: scores.")
        ] = None,
        delivered: Annotated[
            str | None, typer.Option(help="Date of all scores, for a file without that column.")
        ] = None,
        encoding: Encoding = "utf-8",
        store: StoreUrl = None,
    ) -> Done:
        """Add events or scores from a file; the same one may come many times."""
        from wavewise.workflow.observe import observe as work

        with opened(folder, store) as study:
            return work(study, file, kind=kind, delivered=delivered, encoding=encoding)


def _add_data(app: typer.Typer) -> None:
    data = typer.Typer(help="Real data of the worked studies.", no_args_is_help=True)
    app.add_typer(data, name="data")

    @verb(data, "get", "wavewise data get gotv --from downloads/gotv.csv.gz")
    def get(
        name: Annotated[str, typer.Argument(metavar="NAME", help="gotv or pad.")],
        source: Annotated[
            Path | None, typer.Option("--from", help="A local copy, instead of a download.")
        ] = None,
    ) -> Done:
        """Bring a public data file into the cache, its SHA-256 checked, and print where it is."""
        from wavewise.workflow.data import get_data

        return get_data(name, source)
