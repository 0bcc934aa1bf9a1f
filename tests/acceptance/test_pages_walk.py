"""The pages without a browser: the whole study by forms, and what every answer keeps to."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from page_study import PageStudy


def client_of(pages: PageStudy) -> TestClient:
    """A browser that is signed in, as far as headers go."""
    client = pages.client()
    assert client.get("/enter", params={"token": pages.keeper.token}).status_code == 200
    return client


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[PageStudy]:
    found = PageStudy(tmp_path, 600)
    yield found
    found.studies.close()


def heading(text: str) -> str:
    """The one question of a screen."""
    found = re.findall(r"<h1>(.*?)</h1>", text)
    assert len(found) == 1
    return found[0]


def post(client: TestClient, path: str, data=None, upload: Path | None = None) -> str:
    """A step that is taken; the screen that follows it."""
    files = None if upload is None else {"upload": (upload.name, upload.read_bytes())}
    answer = client.post(f"/studies/peru/{path}", data=data, files=files)
    assert answer.status_code == 200, answer.text
    assert "That was not done" not in answer.text
    return answer.text


def bring(client: TestClient, kind: str, path: Path) -> str:
    """A file: looked at first, then imported."""
    shown = post(client, f"{kind}/look", upload=path)
    mark = re.search(r'name="file" value="([^"]+)"', shown)
    assert mark is not None
    assert "as they are read" in shown
    return post(client, kind, {"file": mark[1]})


def n_lines(path: Path) -> int:
    """Messages that went to the file."""
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def test_a_whole_study_by_forms(pages: PageStudy) -> None:
    client = client_of(pages)
    assert heading(client.get("/").text) == "Begin the first study"
    made = client.post("/new", data={"name": "peru", "template": "peru-school-year"})
    assert heading(made.text) == "May the plan be registered?"
    sent = pages.dry_channel()
    assert heading(post(client, "register")) == "Who is in the study?"
    assert "600 parents were imported" in bring(client, "people", pages.people)
    for wave in ("phase-1", "phase-2"):
        assert "new events were kept" in bring(client, "events", pages.before(wave))
        phones = client.get("/studies/peru/messages").text
        assert phones.count('class="phone"') == 10
        shown = client.get(f"/studies/peru/open/{wave}").text
        assert heading(shown).startswith("May Phase")
        assert pages.studies.find("peru").study.standing.wave(wave).state == "not open"
        opened = post(client, f"open/{wave}")
        assert "600 were drawn" in opened
        assert heading(opened).endswith("running as planned?")
        assert "Paused" in post(client, f"field/{wave}/pause")
        post(client, f"field/{wave}/resume")
        pages.first_messages_are_due(wave)
        n_before = n_lines(sent)
        post(client, f"field/{wave}/send")
        n_messaged = 480 if wave == "phase-1" else 300
        assert n_lines(sent) - n_before == n_messaged
        counts = client.get(f"/studies/peru/field/{wave}/counts").text
        assert f"{n_messaged} messages due so far, {n_messaged} sent" in counts
        early = client.post(f"/studies/peru/decide/{wave}/close")
        assert early.status_code == 409
        assert "That was not done" in early.text
        bring(client, "events", pages.after(wave))
        post(client, f"decide/{wave}/close")
        post(client, f"decide/{wave}/analyze")
        step = "decide" if wave == "phase-1" else "evaluate"
        post(client, f"decide/{wave}/{step}")
    answers = client.get("/studies/peru/decide/phase-2").text
    for question in ("Which?", "For whom?", "Whether?"):
        assert question in answers
    assert answers.count("Chance of error") == 3
    proof = post(client, "proof")
    assert heading(proof) == "What is the answer?"
    assert "Read the whole report" in proof
    report = client.get("/studies/peru/report")
    assert "script" not in report.headers["content-security-policy"]
    record = post(client, "record/documents")
    assert "registry.html" in record
    data = client.post("/studies/peru/record/data")
    assert data.content[:2] == b"PK"
    assert client.post("/studies/peru/record/backup").content[:6] == b"SQLite"
    key = post(client, "record/keys", {"name": "the <b>app</b>"})
    assert "the &lt;b&gt;app&lt;/b&gt;" in key
    assert client.get("/").status_code == 200
