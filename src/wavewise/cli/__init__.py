"""The command line: it parses, calls the method of the same name, and prints the result.

Verbs load what they need when they run, so that ``--help`` answers at once.
"""

from wavewise.cli import plan, run, send, serve  # noqa: F401  (declare the verbs)
from wavewise.cli.verbs import app, version_option

__all__ = ["app", "main"]

app.callback()(version_option)


def main() -> None:
    """Entry point of the ``wavewise`` command."""
    app()
