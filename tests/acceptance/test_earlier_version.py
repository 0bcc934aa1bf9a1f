"""Studies of an earlier version, opened and made again: every number, draw and hash is the same.

`tests/fixtures/earlier_version` holds four studies and what the earlier version answered. Only the
command line and public functions are called here, so that the test outlives moves of modules.

What must be the same on any machine: draws, policies byte for byte, hashes of plans, whole numbers,
names. Fractions are held to a relative 1e-12 where the machine rounds as the one that made the
answers. Elsewhere, other kernels of linear algebra move posteriors of hierarchical models by a
millionth, and `earlier_version.LOOSE` holds.

What may differ: names of keys, as `earlier_version.RENAMED` says; keys and tables that were added;
the wording of sentences; and what is of the moment, such as today's date.
"""

from pathlib import Path
from typing import Any

import pytest

from earlier_calculations import CALCULATIONS, plain
from earlier_replay import STEPS, asked, compared, demonstration, fresh, pages, replayed
from earlier_version import (
    MOVED_PAGES,
    RENAMED,
    check,
    check_tables,
    database_rows,
    differences,
    expected,
    facts,
    rounds_as_before,
    unpacked,
    wavewise,
)

# what an earlier script calls has a better name by now, and is taken with a warning
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(is now called|by position|now comes first):DeprecationWarning"
)

STUDIES = sorted(STEPS)


@pytest.fixture(autouse=True)
def _no_other_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WAVEWISE_STORE", "WAVEWISE_KEY_FILE", "WAVEWISE_KEYS"):
        monkeypatch.delenv(name, raising=False)


def test_this_machine_rounds_as_the_one_that_made_the_answers() -> None:
    if not rounds_as_before():
        pytest.skip("another processor: fractions are held to a relative 1e-4 only")


@pytest.mark.parametrize("name", STUDIES)
def test_opening_a_study_leaves_every_row_as_it_was(name: str, tmp_path: Path) -> None:
    folder = unpacked(name, tmp_path / name)
    before = database_rows(folder / "study.db")
    facts(folder, "status", folder)
    wavewise("history", folder)
    after = database_rows(folder / "study.db")
    before.pop("alembic_version"), after.pop("alembic_version")
    for table, rows in before.items():
        columns = list(rows[0]) if rows else []
        # a migration may add columns, and give tables and columns other names
        new = {column: RENAMED.get(column, column) for column in columns}
        kept = after[RENAMED.get(table, table)]
        now = [{column: row[new[column]] for column in columns} for row in kept]
        assert sorted(map(repr, rows)) == sorted(map(repr, now)), table


@pytest.mark.parametrize("name", STUDIES)
def test_a_kept_study_answers_as_before(name: str, tmp_path: Path) -> None:
    folder = unpacked(name, tmp_path / name)
    check(expected(f"{name}-asked"), asked(name, folder), f"{name} asked")
    now = pages(folder)
    for page, tables in expected(f"{name}-pages").items():
        if page in MOVED_PAGES:
            assert now[page], MOVED_PAGES[page]
            continue
        check_tables(tables, now[page])


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_made_again_is_the_same(name: str, tmp_path: Path) -> None:
    """The same plan, seed and data: the same hash of the plan, draws, policies and results."""
    folder = fresh(name, tmp_path / name)
    before = expected(f"{name}-replayed")
    check(before, replayed(name, folder), f"{name} made again")
    kept = unpacked(name, tmp_path / "kept")
    learned_otherwise = ("forest", "neighbours")  # CHANGELOG: Numbers
    for path in kept.glob("policies/*.npz"):
        if any(name in path.name for name in learned_otherwise):
            continue
        assert (folder / "policies" / path.name).read_bytes() == path.read_bytes()


def test_the_demonstration_is_the_same(tmp_path: Path) -> None:
    check(expected("demonstration"), demonstration(tmp_path / "demo"), "demonstration")


def test_studies_side_by_side_are_the_same(tmp_path: Path) -> None:
    before, now = expected("compared"), compared(tmp_path)
    check(before["told"], now["told"])
    check_tables(before["tables"], now["tables"])


@pytest.mark.parametrize("name", sorted(CALCULATIONS))
def test_functions_on_arrays_give_the_same(name: str) -> None:
    check(expected("calculations")[name], plain(CALCULATIONS[name]()), name)


def test_every_calculation_is_still_made() -> None:
    assert set(expected("calculations")) <= set(CALCULATIONS)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"a": 1.0}, {"a": 1.0 + 1e-11}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": [1, 2]}, {"a": [1]}),
        ({"a": "abc"}, {"a": "abd"}),
        ({"a": None}, {"a": 0}),
        ({"a": True}, {"a": 1}),
        ({"a": 0.5}, {"a": None}),
        ({"provenance": {"data_hash": "x"}}, {"provenance": {"data_hash": "y"}}),
    ],
)
def test_a_changed_or_missing_value_is_found(before: Any, now: Any) -> None:
    assert list(differences(before, now))
    assert not list(differences(before, before | {"added": 1}))
