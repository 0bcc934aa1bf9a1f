"""The pages of a team as it sees them: a served study, one signed-in browser for each role."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

import wavewise.study as door
from set_clock import Clock
from study_folders import STUDY
from wavewise.server.app import Pages, build_app
from wavewise.server.authentication import Settings
from wavewise.server.connections import Limits
from wavewise.workflow.study import Study, open_study
from wavewise.workflow.team import accounts
from web_server import running

PASSWORD = "four words in a row"
ROLES = ("owner", "analyst", "field", "viewer")
SECOND_PERSON = '\n[team]\nsecond_person = ["register", "open", "decide", "erase"]\n'
NOW = datetime(2024, 2, 1, 12, tzinfo=UTC)


@dataclass
class Team:
    """A served study and the browsers of its people."""

    url: str
    study: Study
    clock: Clock
    browsers: dict[str | None, httpx2.Client]  # None: nobody is signed in

    @property
    def home(self) -> str:
        """Address of the study."""
        return f"/studies/{self.study.folder.name}"

    def sign_in(self, name: str, password: str = PASSWORD) -> httpx2.Response:
        """Sign somebody in with the browser of their name."""
        browser = self.browsers[name]
        return browser.post("/sign-in", data={"name": name, "password": password})


def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost nothing: what they cost is not what these tests are about."""
    monkeypatch.setattr(accounts, "COST", {"iterations": 1, "lanes": 1, "memory_cost": 8})
    monkeypatch.setattr(accounts, "_DECOYS", {})


@contextmanager
def served_team(
    folder: Path,
    store_url: str | None = None,
    *,
    text: str = STUDY,
    limits: Limits | None = None,
    public_url: str | None = None,
    has_worker: bool = False,
) -> Iterator[Team]:
    """A study with one account for each role, named by it; everybody is signed in."""
    folder.mkdir(exist_ok=True)
    if not (folder / "study.toml").exists():
        (folder / "study.toml").write_text(text, encoding="utf-8")
    clock = Clock(NOW)
    pages = Pages(door, door.run_verb)
    with ExitStack() as stack:
        study = stack.enter_context(open_study(folder, store_url=store_url, clock=clock))
        for role in ROLES:
            if not any(row.name == role for row in study.store.accounts.all()):
                accounts.join(study, accounts.invite(study, role, role).token, PASSWORD)
        settings = Settings(study, limits=limits or Limits(n_wrong=1_000))
        shown: list[object] = []

        def build(guesses: object) -> object:
            shown.append(pages.app(study, None, public_url, guesses))
            return shown[0]

        app = build_app(settings, build)
        stack.callback(shown[0].state.studies.close)
        url = stack.enter_context(running(app))
        if has_worker:
            stack.enter_context(pages.worker(study))
        browsers = {
            name: stack.enter_context(
                httpx2.Client(base_url=url, headers={"Origin": url}, timeout=60)
            )
            for name in (*ROLES, None)
        }
        team = Team(url, study, clock, browsers)
        for role in ROLES:
            assert team.sign_in(role).status_code == 303
        yield team
