"""Steps of a team: a second person, long steps in the background, a server killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import update

from study_folders import STUDY, assignment, done, events, make_study
from team_pages import PASSWORD, SECOND_PERSON, Team, cheap_passwords, served_team
from wavewise.store.schema import job
from wavewise.workflow.study import open_study


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_passwords(monkeypatch)


@pytest.fixture
def team(tmp_path: Path, store_url: str | None) -> Iterator[Team]:
    text = STUDY + SECOND_PERSON
    with served_team(tmp_path / "study", store_url, text=text, has_worker=True) as served:
        yield served


def until(true: Callable[[], object]) -> None:
    """Wait for something that happens elsewhere, as long as it takes."""
    while not true():
        time.sleep(0.05)


def request_id(page: str) -> str:
    return page.partition('name="request" value="')[2].partition('"')[0]


def outcomes(team: Team, verb: str) -> list[str]:
    return [entry.outcome for entry in team.study.store.audit.all() if entry.verb == verb]


def test_a_step_is_done_once_a_second_person_confirms_it(team: Team) -> None:
    analyst, owner = team.browsers["analyst"], team.browsers["owner"]
    waiting = f"{team.home}/team/waiting"
    answer = analyst.post(f"{team.home}/register")
    assert answer.headers["location"] == waiting
    assert team.study.version is None
    request = request_id(analyst.get(waiting).text)
    for role, status in (("analyst", 409), ("field", 409), ("viewer", 409)):
        form = {"request": request, "answer": "confirmed"}
        assert team.browsers[role].post(waiting, data=form).status_code == status
    assert team.study.version is None
    form = {"request": request, "answer": "confirmed"}
    assert owner.post(waiting, data=form).status_code == 303
    assert team.study.version.number == 1
    assert owner.post(waiting, data=form).status_code == 422  # not twice
    assert outcomes(team, "register") == ["asked", "begun", "done"]
    assert outcomes(team, "second_person") == ["done"]
    assert team.study.store.audit.first_fault() is None


def test_a_changed_file_or_a_person_who_may_not_any_more_ends_the_request(team: Team) -> None:
    analyst, owner = team.browsers["analyst"], team.browsers["owner"]
    waiting = f"{team.home}/team/waiting"
    analyst.post(f"{team.home}/register")
    form = {"request": request_id(owner.get(waiting).text), "answer": "confirmed"}
    path = team.study.folder / "study.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("seed = 5", "seed = 6"))
    changed = owner.post(waiting, data=form)
    assert changed.status_code == 409
    assert "has changed" in changed.text
    assert owner.post(waiting, data={**form, "answer": "declined"}).status_code == 303
    analyst.post(f"{team.home}/register")
    form = {"request": request_id(owner.get(waiting).text), "answer": "confirmed"}
    owner.post(f"{team.home}/team/role", data={"name": "analyst", "role": "viewer"})
    refused = owner.post(waiting, data=form)
    assert refused.status_code == 409
    assert "may not take it any more" in refused.text
    assert team.study.version is None


def test_taking_a_step_off_the_list_needs_a_second_person_too(team: Team) -> None:
    analyst, owner = team.browsers["analyst"], team.browsers["owner"]
    waiting = f"{team.home}/team/waiting"
    analyst.post(f"{team.home}/register")
    form = {"request": request_id(owner.get(waiting).text), "answer": "confirmed"}
    assert owner.post(waiting, data=form).status_code == 303
    path = team.study.folder / "study.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(SECOND_PERSON, "\n"))
    answer = analyst.post(f"{team.home}/register", data={"reason": "alone is quicker"})
    assert answer.headers["location"] == waiting
    assert team.study.version.number == 1


def test_a_long_step_runs_in_the_background_and_says_how_it_ended(team: Team) -> None:
    analyst = team.browsers["analyst"]
    answer = analyst.post(f"{team.home}/proof")
    shown = answer.headers["location"]
    until(lambda: "running" not in (page := analyst.get(shown).text) and "waits" not in page)
    page = analyst.get(shown).text
    assert "The step failed" in page or "The step is done" in page
    assert 'http-equiv="refresh"' not in page
    assert outcomes(team, "report")[:2] == ["asked", "begun"]
    assert analyst.get(f"{team.home}/steps").status_code == 200


# A server that is killed in the middle of `decide`.


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`wavewise serve --pages` in a process of its own; the store is the environment's."""
    script = "from wavewise.cli import main\nif __name__ == '__main__':\n    main()\n"
    path = folder.parent / "served.py"
    path.write_text(script, encoding="utf-8")
    command = [sys.executable, str(path), "serve", str(folder), "--port", "0", "--pages"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        try:
            yield process.stdout.readline().strip().rpartition(" ")[2], process
        finally:
            process.terminate()


def test_a_server_that_is_killed_in_the_middle_of_decide_goes_on_with_it(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "study", 120)
    done("wave", "open", folder, "one")
    path = events(folder, assignment(folder, "one"), "2024-03-05", "e")
    done("observe", folder, path)
    done("wave", "close", folder, "one")
    done("analyze", folder, "one")
    line = done("team", "invite", folder, "ana", "--role", "owner").out.split()[0]
    with (
        server(folder) as (url, process),
        httpx2.Client(base_url=url, headers={"Origin": url}, timeout=60) as ana,
    ):
        form = {"token": line.partition("=")[2], "password": PASSWORD, "again": PASSWORD}
        assert ana.post("/join", data=form).status_code == 303
        answer = ana.post("/studies/study/decide/one/decide")
        shown = answer.headers["location"]
        until(lambda: "running" in ana.get(shown).text)
        process.send_signal(signal.SIGKILL)
        process.wait()
        cookies = dict(ana.cookies)
    with open_study(folder) as study:
        (row,) = study.store.jobs.all()
        if row.state == "running":  # the lease need not be waited for
            with study.store.writing() as connection:
                connection.execute(update(job).values(lease_until_utc_us=1))
        with server(folder) as (url, _):
            until(lambda: not study.store.jobs.get(row.job_id).is_open)
            page = httpx2.get(f"{url}{shown}", cookies=cookies).text
        assert "The step is done" in page
        assert study.store.jobs.get(row.job_id).attempts == 2
        assert study.store.results.latest("two", "next-shares") is not None
        found = [e.outcome for e in study.store.audit.all() if e.verb == "decide"]
        assert found == ["asked", "begun", "begun", "done"]
        assert study.store.audit.first_fault() is None
