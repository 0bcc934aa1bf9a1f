"""The pages of a study of simulated families: its files, its clock, its server."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from fastapi import FastAPI
from starlette.testclient import TestClient

import wavewise.workflow.demo as demo
from set_clock import Clock
from wavewise import study as door
from wavewise.server.pages.app import build_pages
from wavewise.server.pages.entry import Alone
from wavewise.server.pages.studies_folder import StudiesFolder
from wavewise.shared.streams import stream
from wavewise.simulated import FamilyWorld, simulate_families
from wavewise.workflow.run.open_wave import window_start

HOST = "http://127.0.0.1:1234"
PLANNED = datetime(2023, 10, 2, 14, tzinfo=UTC)


class PageStudy:
    """A folder of studies behind pages, and the world that answers its messages."""

    def __init__(self, folder: Path, n_families: int) -> None:
        self.folder, self.clock, self.keeper = folder, Clock(PLANNED), Alone()
        self.key_file = folder / "study.key"
        door.contacts_make_key(self.key_file)
        self.studies = StudiesFolder(door, folder / "studies", self.clock, key_file=self.key_file)
        self.studies.folder.mkdir(exist_ok=True)
        self.world: FamilyWorld = simulate_families(n_families, stream(1, "demo", "families"))
        self.people = folder / "people.csv"
        self.world.people.write_csv(self.people)

    def app(self) -> FastAPI:
        """The pages."""
        return build_pages(self.studies, self.keeper)

    def client(self) -> TestClient:
        """A browser, as far as headers go; nobody is signed in."""
        return TestClient(self.app(), base_url=HOST, headers={"origin": HOST})

    def owner(self, client: TestClient) -> TestClient:
        """The browser, signed in, with a study made from the template."""
        client.get("/enter", params={"token": self.keeper.token})
        client.post("/new", data={"name": "peru", "template": "peru-school-year"})
        return client

    def dry_channel(self) -> Path:
        """Messages of the study go to a file; the file."""
        path = self.folder / "sent.jsonl"
        text = f'[push]\nprovider = "file"\npath = "{path}"\n'
        (self.studies.folder / "peru" / "channels.toml").write_text(text, encoding="utf-8")
        return path

    def first_messages_are_due(self, wave_id: str) -> None:
        """The clock stands a minute after the first messages of a wave are due."""
        study = self._study
        starts = window_start(study, study.wave(wave_id))
        self.clock.now = starts + timedelta(hours=17, minutes=1)

    def before(self, wave_id: str) -> Path:
        """Logins until a wave begins, as a file; the clock stands at its beginning."""
        study = self._study
        self.clock.now = window_start(study, study.wave(wave_id))
        return self._written(demo._observe_before, wave_id, f"events-before-{wave_id}.csv")

    def after(self, wave_id: str) -> Path:
        """What happened in a wave, as a file; the clock stands after the registered wait."""
        study = self._study
        wave = study.wave(wave_id)
        days = wave.window_days + (study.spec.registration.wait_days or 1)
        self.clock.now = window_start(study, wave) + timedelta(days=days)
        return self._written(demo._observe, wave_id, f"events-{wave_id}.csv")

    @property
    def _study(self):
        return self.studies.find("peru").study._study

    def _written(self, make, wave_id: str, name: str) -> Path:
        """The file that the demonstration would import, left for the pages to import."""
        study, kept = self._study, []
        patched = demo.observe
        demo.observe = lambda _study, path: kept.append(path)
        try:
            make(study, study.wave(wave_id), self.world, 1)
        finally:
            demo.observe = patched
        assert kept == [study.folder / name]
        path = self.folder / name
        pl.read_csv(kept[0], infer_schema=False).write_csv(path)
        kept[0].unlink()
        return path
