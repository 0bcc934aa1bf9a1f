"""Fuzzed requests to every door on both databases: no 500, no door that stays shut.

`tests/support/fuzz_doors.py` is the long run.
"""

import asyncio
from pathlib import Path

import httpx2

from field_study import make_field_study
from fuzz_doors import SECRETS, fuzz
from study_folders import done
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.server.app import build_app
from wavewise.server.authentication import Settings
from wavewise.workflow.study import open_study
from web_server import running


def test_no_request_breaks_a_door(tmp_path: Path, store_url: str | None) -> None:
    folder, key_file = make_field_study(tmp_path)
    key = done("keys", "make", folder, "--name", "app", "--json").facts["key"]
    ring = KeyRing.read(key_file.read_text(), "key")
    with (
        open_study(folder, store_url=store_url) as study,
        running(build_app(Settings(study, ring, SECRETS.get))) as url,
    ):
        made = asyncio.run(fuzz(url, key, ring, 240, seed=1))
        assert made.bad == []
        assert {200, 207, 401, 403, 404, 422} <= made.statuses.keys()
        assert 500 not in made.statuses
        assert 503 not in made.statuses
        good = {"event_id": "g", "unit_id": "p0001", "kind": "login", "at": "2024-03-05T10:00Z"}
        answer = httpx2.post(f"{url}/v1/events", json=good, headers={"X-API-Key": key})
        assert answer.json()["n_new"] == 1
