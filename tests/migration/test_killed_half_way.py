"""A migration that is killed half-way leaves the database as it was, and the next one ends it."""

import subprocess
import sys

import pytest
from sqlalchemy import inspect

from wavewise.store import Store
from wavewise.store.engine import current_revision, engine_for
from wavewise.store.schema import HEAD, metadata

KILLED = """
import os, sys
from alembic import command
from alembic.config import Config
from sqlalchemy import event
from wavewise.store import Store
from wavewise.store.engine import SCRIPTS, WRITE, engine_for

url, old, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
engine = engine_for(url, create=True)
config = Config()
config.set_main_option("script_location", str(SCRIPTS))
with engine.connect() as plain:
    connection = plain.execution_options(**{WRITE: True})
    with connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, old)
engine.dispose()
done = [0]

def end(*_):
    done[0] += 1
    if done[0] == last:
        os._exit(9)

from sqlalchemy.engine import Engine
event.listen(Engine, "after_cursor_execute", end)
Store.open(url)
"""


@pytest.mark.parametrize("last", [8, 20, 60])
def test_the_next_one_ends_it(url: str, last: int) -> None:
    command = [sys.executable, "-c", KILLED, url, "0003", str(last)]
    assert subprocess.run(command, check=False, timeout=120).returncode == 9
    engine = engine_for(url, create=False)
    with engine.connect() as connection:
        assert current_revision(connection, url) == "0003"
    with Store.open(url, create=False) as store, store.reading() as connection:
        assert current_revision(connection, url) == HEAD
        assert set(metadata.tables) <= set(inspect(connection).get_table_names())
    engine.dispose()
