"""A study in memory: verbs are called apart, on SQLite without a file, at a set time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from set_clock import Clock
from study_folders import STUDY, people
from wavewise.design.parse import parse_spec
from wavewise.store import Store
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.study import Study

BEFORE = datetime(2024, 2, 1, tzinfo=UTC)
DURING = datetime(2024, 3, 5, 12, tzinfo=UTC)
AFTER = datetime(2024, 3, 20, tzinfo=UTC)


@dataclass(frozen=True)
class Desk:
    """A study and the clock that it sees."""

    study: Study
    clock: Clock

    @property
    def arms(self) -> dict[str, str]:
        """Unit: arm, in wave one."""
        rows = self.study.store.waves.assignment("one")
        return dict(rows.select("unit_id", "arm").iter_rows())


@contextmanager
def memory_study(folder: Path, text: str = STUDY, n_people: int = 0) -> Iterator[Desk]:
    """An open study; with people, it is registered too."""
    clock = Clock(BEFORE)
    with Store.open("sqlite://") as store:
        study = Study(folder, text, parse_spec(text), store, clock)
        if n_people:
            register(study)
            import_people(study, people(n_people))
        yield Desk(study, clock)
