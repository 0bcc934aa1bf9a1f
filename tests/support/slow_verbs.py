"""Verbs that end when a test lets them, for steps that run in a process of their own."""

import os
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from wavewise.errors import InputError


def run(
    folder: Path,
    store: str,
    verb: str,
    arguments: Mapping[str, Any],
    *,
    ahead: timedelta,
    progress: Callable[[str, int, int], None],
) -> str:
    """``say`` ends at once, ``wait`` once a file is there; the others fail in their ways."""
    with (folder / "begun.txt").open("a", encoding="utf-8") as begun:
        begun.write(f"{os.getpid()}\n")
    if verb == "fail":
        raise InputError("found nothing; needed something; bring it")
    if verb == "break":
        raise ZeroDivisionError
    if verb == "end":
        os._exit(7)
    if verb == "wait":
        progress("waiting", 1, 2)
        while not (folder / "go").exists():
            time.sleep(0.02)
    return f"said {arguments.get('wave', '')}"
