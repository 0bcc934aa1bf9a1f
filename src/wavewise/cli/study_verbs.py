"""Verbs of the plan: init, check, schema, register, amend, history."""

import json
from typing import Annotated

import typer

from wavewise.cli.common import Folder, StoreUrl, opened, verb
from wavewise.workflow.done import Done

__all__ = ["add_to"]

TEMPLATES = "peru-school-year, peru-summer, kenya-ivr, get-out-the-vote"


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command line."""

    @verb(app, "init", "wavewise init my-study --template peru-school-year")
    def init(
        folder: Folder,
        template: Annotated[str, typer.Option(help=f"One of {TEMPLATES}.")],
    ) -> Done:
        """Make a new study folder from a template."""
        from wavewise.workflow import start

        return start.init(folder, template)

    @verb(app, "check", "wavewise check my-study")
    def check(folder: Folder, store: StoreUrl = None) -> Done:
        """Say what is wrong with the study file and its people: every fault at once."""
        from wavewise.workflow import start

        return start.check(folder, store)

    @verb(app, "schema", "wavewise schema > study.schema.json")
    def schema() -> Done:
        """Print the JSON Schema of the study file, for editors."""
        from wavewise.design.schema import json_schema

        found = json_schema()
        return Done(json.dumps(found, indent=1, ensure_ascii=False), found)

    @verb(app, "register", "wavewise register my-study")
    def register(folder: Folder, store: StoreUrl = None) -> Done:
        """Freeze version 1 of the spec; afterwards it changes only by amend."""
        from wavewise.workflow import registry

        with opened(folder, store) as study:
            return registry.register(study)

    @verb(app, "amend", 'wavewise amend my-study --reason "the ministry moved the start"')
    def amend(
        folder: Folder,
        reason: Annotated[str, typer.Option(help="Why the spec was changed.")],
        store: StoreUrl = None,
    ) -> Done:
        """Freeze the spec as it stands now as the next version."""
        from wavewise.workflow import registry

        with opened(folder, store) as study:
            return registry.amend(study, reason)

    @verb(app, "history", "wavewise history my-study --export")
    def history(
        folder: Folder,
        export: Annotated[
            bool, typer.Option("--export", help="Write the registry page and the analysis plan.")
        ] = False,
        store: StoreUrl = None,
    ) -> Done:
        """Print every change of the spec: field, before, after, with date and reason."""
        from wavewise.workflow import registry

        with opened(folder, store) as study:
            return registry.show_history(study, export=export)
