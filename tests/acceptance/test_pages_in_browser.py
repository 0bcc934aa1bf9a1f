"""The pages in Chromium: by mouse, without script, wide and narrow, and what axe finds."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import web_server
from page_study import PageStudy
from system_packages import lacking

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
WIDTHS = (390, 768, 1280, 1600)
ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / ".node" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = pytest.mark.system

# Controls that are less than 44 pixels high; a box counts with its label.
SMALL = """() => [...document.querySelectorAll('a, button, input, select, textarea, summary')]
  .filter((e) => e.type !== 'hidden' && !e.classList.contains('skip') && !e.closest('p'))
  .map((e) => (['radio', 'checkbox'].includes(e.type) ? e.closest('label') : e))
  .filter((e) => { const box = e.getBoundingClientRect(); return box.width && box.height < 43.5; })
  .map((e) => e.outerHTML.slice(0, 100))"""
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@contextmanager
def browser_page(**options) -> Iterator:
    """A page of Debian's Chromium."""
    program = shutil.which("chromium")
    if program is None:
        lacking("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=OPTIONS)
        page = browser.new_context(**options).new_page()
        page.set_default_timeout(120_000)
        said: list[str] = []
        page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        yield page
        assert [text for text in said if "Content Security Policy" in text] == []
        browser.close()


class Walk:
    """Somebody who takes a study through its screens; every screen is looked at."""

    def __init__(self, pages: PageStudy, page, base: str, look) -> None:
        self.pages, self.page, self.base, self.look = pages, page, base, look

    def go(self, path: str) -> None:
        self.page.goto(f"{self.base}/{path}")
        self.look(self.page)

    def act(self) -> None:
        """The one primary action of the screen."""
        self.page.click(".btn.go")
        self.look(self.page)

    def bring(self, kind: str, path: Path) -> None:
        self.page.goto(f"{self.base}/studies/peru/{kind}")
        self.page.set_input_files("#upload", str(path))
        self.page.click("text=Show how it is read")
        self.look(self.page)
        self.act()

    def whole_study(self) -> None:
        """From the address that the program prints to the proof."""
        self.go(f"enter?token={self.pages.keeper.token}")
        self.act()  # begin a study
        self.page.fill("#name", "peru")
        self.page.check("[value=peru-school-year]")
        self.act()
        self.pages.dry_channel()
        self.act()  # review registration
        self.act()  # register
        self.bring("people", self.pages.people)
        for wave in ("phase-1", "phase-2"):
            self.bring("events", self.pages.before(wave))
            self.go("studies/peru/messages")
            self.go(f"studies/peru/open/{wave}")
            self.act()
            self.pages.first_messages_are_due(wave)
            self.page.click("text=Send what is due now")
            self.go(f"studies/peru/decide/{wave}")
            self.bring("events", self.pages.after(wave))
            self.go(f"studies/peru/decide/{wave}")
            for _step in ("close", "analyze", "decide or evaluate"):
                self.act()
        self.go("studies/peru/proof")
        self.act()
        self.go("studies/peru/record")
        self.go("")
        self.go("studies/peru/proof")
        assert self.page.inner_text("h1") == "What is the answer?"
        assert self.page.locator(".answer").count() == 3


def one_question(page) -> None:
    """One h1, one primary action, a title that says the question."""
    assert page.locator("h1").count() == 1
    assert page.locator(".btn.go").count() == 1, page.url
    assert page.inner_text("h1") in page.title()
    assert "That was not done" not in page.content()


def no_overflow(page) -> None:
    one_question(page)
    assert page.evaluate(WIDER) <= 0, page.url
    assert page.evaluate(SMALL) == [], page.url


def accessible(page) -> None:
    """axe finds nothing, at any width, light and dark."""
    script = AXE.read_text(encoding="utf-8")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        no_overflow(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.evaluate(script)
            found = page.evaluate("axe.run()")["violations"]
            told = [(v["id"], [n["html"][:100] for n in v["nodes"]]) for v in found]
            assert told == [], (page.url, width, scheme)


def walk(tmp_path: Path, look, n_families: int, **options) -> None:
    pages = PageStudy(tmp_path, n_families)
    with web_server.running(pages.app()) as base, browser_page(**options) as page:
        Walk(pages, page, base, look).whole_study()
    pages.studies.close()


@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.full)])
def test_by_mouse_and_without_script(tmp_path: Path, width: int) -> None:
    size = {"width": width, "height": 900}
    walk(tmp_path, one_question, 600, viewport=size, java_script_enabled=False)


def test_by_mouse_with_script(tmp_path: Path) -> None:
    walk(tmp_path, no_overflow, 600, viewport={"width": 390, "height": 844})


@pytest.mark.full
def test_on_five_thousand_parents(tmp_path: Path) -> None:
    walk(tmp_path, no_overflow, 5_000, viewport={"width": 1280, "height": 900})


@pytest.mark.full
def test_axe_finds_nothing_on_any_screen(tmp_path: Path) -> None:
    if not AXE.is_file():
        lacking("npm:axe-core")
    walk(tmp_path, accessible, 600, bypass_csp=True)


def test_what_is_typed_is_checked_beside_the_field(tmp_path: Path) -> None:
    pages = PageStudy(tmp_path, 100)
    with web_server.running(pages.app()) as base, browser_page() as page:
        page.goto(f"{base}/enter?token={pages.keeper.token}")
        page.goto(f"{base}/new")
        page.fill("#name", "peru")
        page.check("[value=peru-school-year]")
        page.click(".btn.go")
        page.fill("[name='waves[1].held_out_share']", "150")
        page.wait_for_selector("#verdict .st.bad")
        beside = "[id='f-waves-1--held-out-share-m'].bad"
        page.wait_for_selector(beside)
        page.fill("[name='waves[1].held_out_share']", "40")
        page.wait_for_selector("#verdict .st.ok")
        before = page.inner_text("#power .big")
        page.focus("#n")
        page.keyboard.press("Home")
        page.wait_for_function(
            "(was) => document.querySelector('#power .big').innerText !== was", arg=before
        )
    pages.studies.close()
