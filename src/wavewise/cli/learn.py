"""Verbs of learning."""

from pathlib import Path
from typing import Annotated

import typer

from wavewise.cli.verbs import Folder, StoreUrl, Wave, verb


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
