"""Long steps in processes of their own: done, failed, cancelled, stopped, begun again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import slow_verbs
from postgres_server import new_database
from study_folders import STUDY
from wavewise.design.parse import parse_spec
from wavewise.store import Store
from wavewise.workflow.study import Study
from wavewise.workflow.team.jobs import JobWorker, done_before

WORKER = """
import sys, time
from pathlib import Path
import slow_verbs
from wavewise.workflow.study import open_study
from wavewise.workflow.team.jobs import JobWorker
if __name__ == "__main__":
    folder, url = Path(sys.argv[1]), sys.argv[2]
    with open_study(folder, store_url=url) as study, JobWorker(study, url, slow_verbs.run):
        time.sleep(600)
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Study, str]]:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    url = f"sqlite:///{tmp_path / 'study.db'}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = new_database(server, f"jobs_{time.monotonic_ns()}")
    with Store.open(url) as store:
        yield Study(tmp_path, STUDY, parse_spec(STUDY), store), url


def until(true: Callable[[], object]) -> None:
    """Wait for something that happens in another process, as long as it takes."""
    while not true():
        time.sleep(0.02)


def states(study: Study) -> list[str]:
    return [job.state for job in reversed(study.store.jobs.all())]


def add(study: Study, verb: str, wave: str = "") -> int:
    return study.store.jobs.add(verb, {"wave": wave}, "ana", study.clock()).job_id


def n_begun(study: Study) -> int:
    path = study.folder / "begun.txt"
    return path.read_text(encoding="utf-8").count("\n") if path.exists() else 0


def test_each_step_ends_in_its_way(study: tuple[Study, str]) -> None:
    opened, url = study
    for verb in ("say", "fail", "break", "end"):
        add(opened, verb, "w1")
    with JobWorker(opened, url, slow_verbs.run):
        until(lambda: not any(job.is_open for job in opened.store.jobs.all()))
    said = {job.verb: (job.state, job.result_text) for job in opened.store.jobs.all()}
    assert said["say"] == ("done", "said w1")
    assert said["fail"] == ("failed", "found nothing; needed something; bring it")
    assert said["break"][0] == said["end"][0] == "failed"
    assert "ZeroDivisionError" in said["break"][1]
    outcomes = [(entry.verb, entry.outcome) for entry in opened.store.audit.all()]
    assert outcomes[:4] == [
        ("say", "begun"),
        ("say", "done"),
        ("fail", "begun"),
        ("fail", "failed"),
    ]
    assert opened.store.audit.first_fault() is None


def test_a_running_step_shows_how_far_it_is_and_can_be_cancelled(study: tuple[Study, str]) -> None:
    opened, url = study
    job_id = add(opened, "wait")
    with JobWorker(opened, url, slow_verbs.run):
        until(lambda: opened.store.jobs.get(job_id).n_steps == 2)
        assert opened.store.jobs.get(job_id).progress_text == "waiting"
        opened.store.jobs.cancel(job_id, opened.clock())
        until(lambda: not opened.store.jobs.get(job_id).is_open)
    assert states(opened) == ["cancelled"]
    assert [entry.outcome for entry in opened.store.audit.all()] == ["begun", "cancelled"]


def test_a_worker_that_is_told_to_stop_leaves_its_step_to_the_next(
    study: tuple[Study, str],
) -> None:
    opened, url = study
    job_id = add(opened, "wait")
    with JobWorker(opened, url, slow_verbs.run):
        until(lambda: n_begun(opened) == 1)
    assert states(opened) == ["queued"]
    (opened.folder / "go").touch()
    with JobWorker(opened, url, slow_verbs.run):
        until(lambda: not opened.store.jobs.get(job_id).is_open)
    assert states(opened) == ["done"]
    assert n_begun(opened) == 2


def test_a_step_whose_server_is_killed_ends_with_it_and_begins_again(
    study: tuple[Study, str],
) -> None:
    opened, url = study
    job_id = add(opened, "wait")
    command = [sys.executable, "-c", WORKER, str(opened.folder), url]
    paths = os.pathsep.join(path for path in sys.path if path)
    script = opened.folder / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    command[1:3] = [str(script)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}) as server:
        until(lambda: n_begun(opened) == 1)
        server.send_signal(signal.SIGKILL)
    pid = int((opened.folder / "begun.txt").read_text(encoding="utf-8"))
    until(lambda: not is_running(pid))
    assert states(opened) == ["running"]
    (opened.folder / "go").touch()
    later = Study(
        opened.folder,
        STUDY,
        opened.spec,
        opened.store,
        lambda: opened.clock() + timedelta(minutes=1),
    )
    with JobWorker(later, url, slow_verbs.run):
        until(lambda: not opened.store.jobs.get(job_id).is_open)
    found = opened.store.jobs.get(job_id)
    assert (found.state, found.attempts) == ("done", 2)
    outcomes = [entry.outcome for entry in opened.store.audit.all()]
    assert outcomes == ["begun", "begun", "done"]


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_wave_that_was_opened_just_before_the_kill_is_not_opened_again(
    study: tuple[Study, str],
) -> None:
    opened, _ = study
    now = datetime(2024, 3, 1, tzinfo=UTC)
    job = opened.store.jobs.add("wave_open", {"wave": "one"}, "ana", now)
    assert done_before(opened, job) == ""
    assert done_before(opened, opened.store.jobs.add("decide", {"wave": "one"}, "ana", now)) == ""
