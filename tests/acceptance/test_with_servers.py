"""A whole study on PostgreSQL, and the report in a real browser."""

import shutil
from pathlib import Path

import pytest

from postgres_server import new_database, running_postgres
from study_folders import STUDY, done, events, people
from system_packages import lacking
from wavewise.store import Store

BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


@pytest.mark.system
def test_a_study_on_postgresql_gives_what_sqlite_gives(tmp_path: Path) -> None:
    with running_postgres() as server:
        urls = {
            "postgresql": new_database(server, "whole_study"),
            "sqlite": f"sqlite:///{tmp_path / 'whole.db'}",
        }
        found = {name: _whole_study(tmp_path / name, url) for name, url in urls.items()}
    assert found["postgresql"] == found["sqlite"]


def _whole_study(folder: Path, url: str) -> dict[str, object]:
    folder.mkdir()
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    people().write_csv(folder / "people.csv")
    store = ("--store", url)
    done("register", folder, *store)
    done("people", "import", folder, folder / "people.csv", *store)
    drawn = {}
    for wave, day in (("one", "2024-03-10"), ("two", "2024-04-05")):
        opened = done("wave", "open", folder, wave, *store, "--json").facts
        with Store.open(url) as opened_store:
            drawn[wave] = opened_store.waves.assignment(wave)
        done("observe", folder, events(folder, drawn[wave], day, wave), *store)
        done("wave", "close", folder, wave, *store)
        decided = done("decide", folder, wave, *store, "--json").facts
    analysis = done("analyze", folder, "two", *store, "--json").facts
    done("report", folder, *store)
    return {
        "assignment": opened["assignment_hash"],
        "decided": decided["prob_optimal"],
        "effects": [item["rows"] for item in analysis["effects"]],
    }


MOST_PIXELS = 8_000  # of the page's height on a screen of 1280 pixels; the rest is folded


@pytest.mark.system
def test_the_report_opens_in_a_browser_and_fits_screen_and_phone(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        lacking("chromium")
    from playwright.sync_api import sync_playwright

    facts = done("demo", "--units", "2000", "--out", tmp_path / "demo", "--json").facts
    page = Path(str(facts["report"])).resolve()
    done("history", tmp_path / "demo", "--export")
    registry = page.with_name("registry.html")
    found: dict[tuple[str, int, str], tuple[int, int]] = {}
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=BROWSER_FLAGS)
        for path in (page, registry):
            for width, scheme in ((1280, "light"), (390, "light"), (390, "dark")):
                context = opened.new_context(
                    viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
                )
                tab = context.new_page()
                tab.goto(path.as_uri())
                root = "document.documentElement"
                size = tab.evaluate(f"[{root}.scrollWidth, {root}.scrollHeight]")
                found[path.stem, width, scheme] = tuple(size)
                if path is page and width == 1280:
                    text = tab.inner_text("body")
                    assert tab.locator("h1").count() == 1
                    assert tab.locator("svg").count() >= 4
                context.close()
        opened.close()
    assert all(size[0] <= width for (_, width, _), size in found.items()), found
    assert found["index", 1280, "light"][1] <= MOST_PIXELS, found
    assert "2,000 parents in two waves" in text
    assert str(facts["chosen"]) in text
