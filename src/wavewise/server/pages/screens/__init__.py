"""Screens and their steps; each declares its addresses when it is loaded."""

__all__ = ["load"]


def load() -> None:
    """Declare every address."""
    from wavewise.server.pages.screens import (  # noqa: F401
        people,
        plan,
        results,
        studies,
        team,
        waves,
    )
