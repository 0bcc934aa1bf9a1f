"""Each migration test runs on a SQLite file and on PostgreSQL."""

from itertools import count
from pathlib import Path

import pytest

from postgres_server import new_database

_NUMBERS = count(1)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    return new_database(request.getfixturevalue("postgres"), f"migration_{next(_NUMBERS)}")
