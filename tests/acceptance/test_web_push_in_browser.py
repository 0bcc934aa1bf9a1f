"""A web push as a browser takes it: Chromium's push event shows what the channel sent."""

import json
import shutil
from pathlib import Path

import pytest
from fastapi import FastAPI, Response

import web_server
from system_packages import lacking
from wavewise.server.app import build_app
from wavewise.server.authentication import Settings
from wavewise.workflow.study import open_study

PAGE = """<!doctype html><title>page</title><script>
window.shown = [];
const workers = navigator.serviceWorker;
workers.addEventListener('message', (event) => window.shown.push(event.data.shown));
workers.register('/v1/push/worker.js', {scope: '/'}).then(() => { window.ready = 1; });
</script>"""


def page_app(folder: Path) -> FastAPI:
    """The study's own interface, with a page that takes pushes."""
    from study_folders import STUDY

    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    study = folder / "study.toml"
    assert study.exists()
    with open_study(folder) as opened:
        app = build_app(Settings(opened))

    @app.get("/page")
    def page() -> Response:
        return Response(PAGE, media_type="text/html")

    return app


@pytest.mark.system
def test_the_push_event_shows_what_was_sent(tmp_path: Path) -> None:
    program = shutil.which("chromium")
    if program is None:
        lacking("chromium")
    from playwright.sync_api import sync_playwright

    sent = {"title": "Hola", "body": "¿Y Ana?", "key": "k1"}
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += ["--disable-component-update", "--disable-sync", "--no-first-run"]
    with web_server.running(page_app(tmp_path)) as base, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=options)
        context = browser.new_context(permissions=["notifications"])
        page = context.new_page()
        page.goto(f"{base}/page")
        page.wait_for_function("window.ready === 1")
        found: list[str] = []
        session = context.new_cdp_session(page)
        session.on(
            "ServiceWorker.workerRegistrationUpdated",
            lambda event: found.extend(r["registrationId"] for r in event["registrations"]),
        )
        session.send("ServiceWorker.enable")
        while not found:  # the browser has a time-out of its own for the page
            page.wait_for_timeout(100)
        session.send(
            "ServiceWorker.deliverPushMessage",
            {"origin": base, "registrationId": found[-1], "data": json.dumps(sent)},
        )
        page.wait_for_function("window.shown.length === 1", timeout=60_000)
        assert page.evaluate("window.shown[0]") == sent
        titles = page.evaluate(
            "navigator.serviceWorker.ready.then(r => r.getNotifications())"
            ".then(all => all.map(n => [n.title, n.body]))"
        )
        assert titles == [["Hola", "¿Y Ana?"]]
        browser.close()
