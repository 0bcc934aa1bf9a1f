"""Printed figures."""

import tomllib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def printed(repository: Path) -> dict[str, Any]:
    """Figures of the Kenya study, typed from the paper."""
    path = repository / "examples" / "kenya-ivr" / "printed.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))
