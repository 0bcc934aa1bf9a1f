"""Printed figures, and the simulation of Table 7."""

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def printed(repository: Path) -> dict[str, Any]:
    """Figures of the Kenya study, typed from the paper."""
    path = repository / "examples" / "kenya-ivr" / "printed.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def table_7() -> ModuleType:
    """The simulation, which is a script as well."""
    path = Path(__file__).with_name("kenya_table_7.py")
    spec = importlib.util.spec_from_file_location("kenya_table_7", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
