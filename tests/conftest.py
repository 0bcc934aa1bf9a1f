"""What all tests share: real data, and skips that cannot hide."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres_server import running_postgres

ROOT = Path(__file__).resolve().parents[1]
REQUIRE_SYSTEM = os.environ.get("WAVEWISE_REQUIRE_SYSTEM") == "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the full statistical studies too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="a full study: add --run-slow"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Under WAVEWISE_REQUIRE_SYSTEM=1, a skip for want of a server or of data is a failure."""
    outcome = yield
    report = outcome.get_result()
    wanted = {"system", "data"} & set(item.keywords)
    if REQUIRE_SYSTEM and report.skipped and wanted and "slow" not in item.keywords:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and WAVEWISE_REQUIRE_SYSTEM=1 forbids it"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data: beside the checkout, or as the variable WAVEWISE_DATA says."""
    folder = Path(os.environ.get("WAVEWISE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set WAVEWISE_DATA to a folder with gotv/ and pad/")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL (without a database) of a private PostgreSQL server."""
    with running_postgres() as server:
        yield server
