"""Screens and their steps; each declares its addresses when it is loaded."""

from importlib import import_module

__all__ = ["load"]

SCREENS = ("entry", "studies", "plan")


def load() -> None:
    """Declare every address."""
    for name in SCREENS:
        import_module(f"wavewise.server.pages.screens.{name}")
