"""Every store test runs on a SQLite file, on SQLite in memory, and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import polars as pl
import pytest

from postgres_server import new_database
from wavewise.store import Store

_NUMBERS = count(1)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database that several processes can open."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    return new_database(request.getfixturevalue("postgres"), f"store_{next(_NUMBERS)}")


@pytest.fixture(scope="session")
def made_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with empty tables, to copy."""
    path = tmp_path_factory.mktemp("made") / "study.db"
    Store.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def made_database(postgres: str) -> str:
    """Name of a PostgreSQL database with empty tables, to copy."""
    Store.open(new_database(postgres, "made")).close()
    return "made"


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, on each database in turn."""
    with Store.open(_new_store(request, tmp_path)) as opened:
        yield opened


def _new_store(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "memory":
        return "sqlite://"
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("made_file"), folder / "study.db")
        return f"sqlite:///{folder / 'study.db'}"
    template = request.getfixturevalue("made_database")
    server = request.getfixturevalue("postgres")
    return new_database(server, f"store_{next(_NUMBERS)}", template)


@pytest.fixture
def units() -> pl.DataFrame:
    """Six units, as a people file gives them."""
    return pl.DataFrame(
        {
            "unit_id": ["007", "b", "ñ", "a", "Z", "1"],
            "cluster": ["h1", "h1", None, "h2", "h2", "h3"],
            "time_zone": ["America/Lima", None, None, "Africa/Nairobi", None, None],
            "language": ["es", None, None, None, None, "en"],
            "fields_json": [f'{{"age":{i},"name":"x, \\"y\\"\\n"}}' for i in range(6)],
        }
    )


@pytest.fixture
def assigned(units: pl.DataFrame) -> pl.DataFrame:
    """An assignment of the six units."""
    return units.select(
        "unit_id",
        stratum=pl.lit("s, 1"),
        arm=pl.Series(["control", "peers", "control", "peers", "peers+parent", "peers"]),
        propensity=pl.Series([0.1, 1 / 3, 0.2, 0.1 + 0.2, 1.0, 5e-324]),
        held_out=pl.Series([True, False, None, True, False, None]),
        content=pl.Series(["sms", None, None, "call", None, None]),
        content_propensity=pl.Series([1.0, None, None, 0.5, None, None]),
    )
