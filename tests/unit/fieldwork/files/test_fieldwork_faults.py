"""Faults are counted all, printed few, in the order of rows."""

import numpy as np
import pytest

from wavewise.errors import InputError
from wavewise.fieldwork.files.faults import MOST_SHOWN, FaultLog


def test_first_faults_by_row_across_columns() -> None:
    log = FaultLog()
    log.add_rows(np.arange(2, 202), "b", [str(i) for i in range(200)], "x")
    log.add_rows(np.array([9, 3]), "a", ["nine", "three"], "y", fix="fix")
    paths = [fault.path for fault in log.faults]
    assert log.n == 202
    assert len(paths) == MOST_SHOWN
    assert paths[:3] == ["row 2, column 'b'", "row 3, column 'b'", "row 3, column 'a'"]
    assert str(log.faults[2]) == "row 3, column 'a': found three; needed y; fix"


def test_error_says_how_many_more() -> None:
    log = FaultLog()
    log.add_rows(np.arange(2, 1202), "a", "nothing", "something")
    with pytest.raises(InputError, match=r"p.csv: 1,200 errors, the first 50 here, 1,150 more"):
        log.raise_if_any("p.csv")


def test_no_fault_no_error() -> None:
    log = FaultLog()
    log.raise_if_any("p.csv")
    assert (log.n, log.faults, log.rows.tolist(), log.is_fatal) == (0, (), [], False)


def test_general_faults_come_first_and_are_fatal() -> None:
    log = FaultLog()
    log.add_rows(np.array([2]), "a", "nothing", "something")
    log.also_bad(np.array([7, 2]))
    log.add("row 1", "no column", "a column")
    assert [fault.path for fault in log.faults] == ["row 1", "row 2, column 'a'"]
    assert log.is_fatal
    assert log.rows.tolist() == [2, 7]
