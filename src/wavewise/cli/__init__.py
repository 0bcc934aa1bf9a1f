"""The command line. Verbs import what they need when they run, so ``--help`` answers at once."""

import typer

from wavewise.cli import (
    contact_verbs,
    design_verbs,
    field_verbs,
    learn_verbs,
    send_verbs,
    serve_verbs,
    study_verbs,
)
from wavewise.cli.common import version_option

__all__ = ["app", "main"]

app = typer.Typer(
    name="wavewise",
    help="Which message works, for whom, and whether to message at all: plan, register, randomize, "
    "observe, learn, decide, report.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.callback()(version_option)
study_verbs.add_to(app)
design_verbs.add_to(app)
field_verbs.add_to(app)
contact_verbs.add_to(app)
serve_verbs.add_to(app)
send_verbs.add_to(app)
learn_verbs.add_to(app)


def main() -> None:
    """Entry point of the ``wavewise`` command."""
    app()
