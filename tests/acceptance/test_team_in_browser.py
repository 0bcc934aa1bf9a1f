"""Four people, one for each role, run a study in Chromium; two of them where one is not enough."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from study_folders import STUDY, people
from system_packages import lacking
from team_pages import PASSWORD, ROLES, SECOND_PERSON, cheap_passwords, served_team

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync", "--no-first-run"]


class Colleague:
    """Somebody of the team at a browser of their own."""

    def __init__(self, browser: Any, url: str, role: str, *, script: bool) -> None:
        self.page = browser.new_context(java_script_enabled=script, base_url=url).new_page()
        self.page.goto("/")
        self.page.get_by_label("Name").fill(role)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        assert f"Signed in as {role} ({role})" in self.page.inner_text("header")

    def opens(self, path: str) -> str:
        """What a screen of the study says."""
        self.page.goto(f"/studies/study/{path}")
        return self.page.inner_text("main")

    def press(self, name: str) -> str:
        """Press a button; what comes then."""
        self.page.get_by_role("button", name=name).first.click()
        return self.page.inner_text("main")

    def sees_done(self) -> str:
        """A long step, once it has ended; the page looks again by itself."""
        self.page.get_by_role("heading", level=1, name="The step is done").wait_for(timeout=120_000)
        return self.page.inner_text("main")


@pytest.mark.system
@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_four_people_run_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: bool
) -> None:
    program = shutil.which("chromium")
    if program is None:
        lacking("chromium")
    from playwright.sync_api import sync_playwright

    cheap_passwords(monkeypatch)
    people(120).write_csv(tmp_path / "people.csv")
    served = served_team(tmp_path / "study", text=STUDY + SECOND_PERSON, has_worker=True)
    with served as team, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=OPTIONS)
        owner, analyst, field, viewer = (
            Colleague(browser, team.url, role, script=script) for role in ROLES
        )
        # Registered by two.
        analyst.opens("register")
        assert "One step waits" in analyst.press("Register version 1")
        assert "Withdraw" in analyst.opens("team/waiting")
        assert "Confirm" not in viewer.opens("team/waiting")
        owner.opens("team/waiting")
        assert "No step waits" in owner.press("Confirm and do it")
        assert "Version 1 is registered" in viewer.opens("register")
        # People are brought by the one who knows them.
        field.opens("people")
        field.page.set_input_files("input[type=file]", tmp_path / "people.csv")
        field.page.locator("form[enctype] button").first.click()
        field.page.locator("form[action$='/people'] button.go, .decide button.go").first.click()
        assert team.study.store.units.count() == 120
        # A wave is opened by two, in the background.
        analyst.opens("open/one")
        assert "One step waits" in analyst.press("Open")
        owner.opens("team/waiting")
        owner.press("Confirm and do it")
        assert "120" in owner.sees_done() or team.study.store.waves.get("one") is not None
        assert team.study.store.waves.get("one").state == "open"
        # All of it stands in the log, which only two may take along.
        assert "The log is whole" in viewer.opens("audit")
        assert viewer.page.get_by_role("link", name="As CSV").count() == 0
        with analyst.page.expect_download() as saved:
            analyst.opens("audit")
            analyst.page.get_by_role("link", name="As CSV").click()
        text = Path(saved.value.path()).read_text(encoding="utf-8")
        assert "wave_open,done" in text
        # Who is removed is out at once.
        owner.opens("team")
        owner.page.get_by_role("button", name="Remove viewer").click()
        viewer.page.goto("/")
        assert "Sign in to Wavewise" in viewer.page.inner_text("main")
        browser.close()
