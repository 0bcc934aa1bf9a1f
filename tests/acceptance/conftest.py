"""Acceptance tests of the server and the monitor run on SQLite and on PostgreSQL."""

from itertools import count

import pytest

from postgres_server import new_database

_NUMBERS = count(1)


# Whole studies on a server are a part of the full set; `tests/unit/store` has each query on both.
SERVER = pytest.param("postgresql", marks=[pytest.mark.system, pytest.mark.full])


@pytest.fixture(scope="module", params=["sqlite", SERVER])
def database(request: pytest.FixtureRequest) -> str:
    """Which database the studies of a test are kept in."""
    return str(request.param)


@pytest.fixture
def store_url(
    database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str | None:
    """URL for `open_study`; the command line takes it from the environment. None: SQLite's file."""
    if database == "sqlite":
        return None
    url = new_database(request.getfixturevalue("postgres"), f"acceptance_{next(_NUMBERS)}")
    monkeypatch.setenv("WAVEWISE_STORE", url)
    return url
