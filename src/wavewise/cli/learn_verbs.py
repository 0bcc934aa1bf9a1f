"""Verbs of learning: analyze, decide, evaluate, report, compare, demo."""

from pathlib import Path
from typing import Annotated

import typer

from wavewise.cli.common import Folder, StoreUrl, WaveId, opened, verb
from wavewise.workflow.done import Done

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command line."""

    @verb(app, "analyze", "wavewise analyze my-study phase-1")
    def analyze(
        folder: Folder,
        wave_id: WaveId,
        randomization_draws: Annotated[
            int,
            typer.Option(min=0, help="Draw the arms again so often, for a randomization test."),
        ] = 0,
        store: StoreUrl = None,
    ) -> Done:
        """Estimate effects in a closed wave, and check its data."""
        from wavewise.workflow.analyze import analyze as work

        with opened(folder, store) as study:
            return work(study, wave_id, randomization_draws=randomization_draws)

    @verb(app, "decide", "wavewise decide my-study wave-1")
    def decide(folder: Folder, wave_id: WaveId, store: StoreUrl = None) -> Done:
        """Decide what follows from a closed wave: next shares, policies, or the final arm."""
        from wavewise.workflow.decide import decide as work

        with opened(folder, store) as study:
            return work(study, wave_id)

    @verb(app, "evaluate", "wavewise evaluate my-study phase-2")
    def evaluate(folder: Folder, wave_id: WaveId, store: StoreUrl = None) -> Done:
        """Say what the frozen policies of a closed wave are worth on its fresh outcomes."""
        from wavewise.workflow.evaluate import evaluate as work

        with opened(folder, store) as study:
            return work(study, wave_id)

    @verb(app, "report", "wavewise report my-study")
    def report(folder: Folder, store: StoreUrl = None) -> Done:
        """Write report/index.html: one page that opens without a network, and its figures."""
        from wavewise.workflow.report import write_report

        with opened(folder, store) as study:
            return write_report(study)

    _add_pages(app)


def _add_pages(app: typer.Typer) -> None:
    """Verbs that end with a page, not of one study in a folder."""

    @verb(app, "compare", "wavewise compare school-year summer --out contexts.html")
    def compare(
        folders: Annotated[
            list[Path], typer.Argument(metavar="DIR DIR...", help="Folders of evaluated studies.")
        ],
        out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Page to write.")] = Path(
            "contexts.html"
        ),
    ) -> Done:
        """Set the gains of policies in two or more studies side by side, on one page."""
        from wavewise.workflow.compare import compare as work

        return work(folders, out)

    @verb(app, "demo", "wavewise demo --units 20000 --seed 1")
    def demo(
        units: Annotated[int, typer.Option(min=100, help="Number of simulated parents.")] = 100_000,
        seed: Annotated[int, typer.Option(min=0, help="Seed of every random draw.")] = 1,
        out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to make.")] = Path(
            "wavewise-demo"
        ),
        summer: Annotated[
            bool, typer.Option("--summer", help="The summer study, when few use the app.")
        ] = False,
    ) -> Done:
        """Run the Peru study on simulated families: learn, freeze policies, test them, report."""
        from wavewise.cli.progress import progress
        from wavewise.simulated import Season
        from wavewise.workflow.demo import run_demo

        season: Season = "summer" if summer else "school year"
        with progress() as step:
            return run_demo(out, n_units=units, seed=seed, step=step, season=season)
