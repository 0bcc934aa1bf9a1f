"""What all tests share: surroundings of their own, real data, and skips that cannot hide."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import own_surroundings
from postgres_server import running_postgres
from system_packages import told_at_the_end
from watch import Watch

ROOT = Path(__file__).resolve().parents[1]
REQUIRE_SYSTEM = os.environ.get("WAVEWISE_REQUIRE_SYSTEM") == "1"
OPTIONS = {
    "slow": ("--run-slow", "run the full statistical studies too", "a full study"),
    "full": (
        "--run-full",
        "run worked studies, long sets and whole studies on a server too",
        "the full set",
    ),
}
# Support modules have names of their own; a warning that they cause is ours.
SUPPORT = "|".join(sorted(path.stem for path in (ROOT / "tests" / "support").glob("*.py")))

own_surroundings.enter()
_WATCH = pytest.StashKey[Watch]()


def _be_patient() -> None:
    """A machine that is busy with other work is no fault of a test."""
    from hypothesis import HealthCheck, settings  # once the surroundings are set

    settings.register_profile(
        "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("any machine")


_be_patient()


def pytest_addoption(parser: pytest.Parser) -> None:
    for option, text, _ in OPTIONS.values():
        parser.addoption(option, action="store_true", help=text)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", rf"error:::({SUPPORT})$")
    config.stash[_WATCH] = Watch()
    config.stash[_WATCH].begin()


def pytest_unconfigure() -> None:
    own_surroundings.leave()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """During tests, and nowhere else, the real home is out of bounds."""
    watch = item.config.stash[_WATCH]
    watch.is_testing = True
    try:
        return (yield)
    finally:
        watch.is_testing = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for marker, (option, _, what) in OPTIONS.items():
        if config.getoption(option):
            continue
        for item in items:
            if marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"{what}: add {option}"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Under WAVEWISE_REQUIRE_SYSTEM=1, a skip for want of a server or of data is a failure."""
    outcome = yield
    report = outcome.get_result()
    wanted = {"system", "data"} & set(item.keywords)
    left_out = any(
        marker in item.keywords and not item.config.getoption(option)
        for marker, (option, *_) in OPTIONS.items()
    )
    if REQUIRE_SYSTEM and report.skipped and wanted and not left_out:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and WAVEWISE_REQUIRE_SYSTEM=1 forbids it"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", [])]
    reasons = [found[2] for found in skipped if isinstance(found, tuple)]
    for line in told_at_the_end(reasons):
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session")
def watch(request: pytest.FixtureRequest) -> Watch:
    """What watches this process."""
    return request.config.stash[_WATCH]


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
