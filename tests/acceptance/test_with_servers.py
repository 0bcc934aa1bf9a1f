"""A whole study on PostgreSQL, and the report in a real browser."""

import shutil
import subprocess
import tempfile
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


@pytest.mark.system
def test_the_report_opens_in_a_browser_without_a_network(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        lacking("chromium")
    facts = done("demo", "--units", "2000", "--out", tmp_path / "demo", "--json").facts
    page = Path(str(facts["report"])).resolve()
    with tempfile.TemporaryDirectory() as profile:
        run = subprocess.run(
            [browser, *BROWSER_FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    assert "What works best?" in run.stdout
    assert run.stdout.count("<svg") >= 4
    assert str(facts["chosen"]) in run.stdout
