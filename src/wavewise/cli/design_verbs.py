"""Verbs before the start: design."""

from typing import Annotated

import typer

from wavewise.cli.common import Folder, StoreUrl, opened, verb
from wavewise.workflow.done import Done

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command line."""

    @verb(app, "design", "wavewise design my-study --simulations 2000 --jobs 2")
    def design(
        folder: Folder,
        simulations: Annotated[
            int, typer.Option(min=2, help="Simulated experiments of each design.")
        ] = 1000,
        spread: Annotated[
            float, typer.Option(help="How far arms differ: standard deviation of log odds.")
        ] = 0.2,
        correlation: Annotated[
            float, typer.Option(help="Of two arms' log odds before anything is known.")
        ] = 0.0,
        clusters: Annotated[
            int, typer.Option(min=1, help="Number of clusters, where the model has them.")
        ] = 100,
        cluster_sd: Annotated[
            float, typer.Option(min=0, help="Standard deviation of clusters' log odds.")
        ] = 0.5,
        budget: Annotated[float | None, typer.Option(help="What all waves may cost.")] = None,
        total_days: Annotated[float | None, typer.Option(help="Time for all waves.")] = None,
        wave_days: Annotated[
            float | None, typer.Option(help="Time of one wave; its window by default.")
        ] = None,
        discount: Annotated[
            float, typer.Option(help="Worth of a benefit that comes one wave later.")
        ] = 1.0,
        heterogeneity: Annotated[
            float | None,
            typer.Option(help="Standard deviation of effects between units: personalization."),
        ] = None,
        best_effect: Annotated[
            float, typer.Option(help="Largest average effect, for personalization.")
        ] = 0.03,
        jobs: Annotated[int, typer.Option(help="Processes; -1 for one a core.")] = 1,
        scheduler: Annotated[
            str | None,
            typer.Option(metavar="ADDRESS", help="Dask scheduler, e.g. tcp://10.0.0.5:8786."),
        ] = None,
        store: StoreUrl = None,
    ) -> Done:
        """Write report/design.html and .pdf: power, simulated designs, number of waves."""
        from wavewise.cli.progress import chunk_progress
        from wavewise.workflow.design import DesignOptions, design_study

        options = DesignOptions(
            n_simulations=simulations,
            spread=spread,
            correlation=correlation,
            n_clusters=clusters,
            cluster_sd=cluster_sd,
            budget=budget,
            total_days=total_days,
            wave_days=wave_days,
            discount=discount,
            heterogeneity=heterogeneity,
            best_effect=best_effect,
            n_jobs=jobs,
            scheduler=scheduler,
        )
        with opened(folder, store) as study, chunk_progress("simulated experiments") as show:
            return design_study(study, options, show)
