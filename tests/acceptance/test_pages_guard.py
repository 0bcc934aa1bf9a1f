"""Who gets in, from where a form comes, and what becomes of HTML in names and texts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from starlette.testclient import TestClient

from page_study import HOST, PageStudy
from wavewise.server.pages.app import STRICT
from wavewise.server.pages.entry import COOKIE
from wavewise.server.pages.routes import ROUTES, Person, Right

NAMES = {"study": "peru", "wave": "phase-1", "name": "registry.html", "job": "1"}


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[PageStudy]:
    found = PageStudy(tmp_path, 100)
    yield found
    found.studies.close()


@pytest.fixture
def client(pages: PageStudy) -> TestClient:
    return pages.client()


@pytest.fixture
def owner(pages: PageStudy, client: TestClient) -> TestClient:
    return pages.owner(client)


def ask(client: TestClient, route, **options):
    return client.request(route.method, route.path.format(**NAMES), **options)


def test_the_token_works_once(pages: PageStudy, client: TestClient) -> None:
    token = pages.keeper.token
    assert client.get("/enter", params={"token": token + "x"}).status_code == 401
    assert client.get("/enter", params={"token": token}).status_code == 200
    client.cookies.clear()
    assert client.get("/enter", params={"token": token}).status_code == 401
    assert client.get("/enter", params={"token": ""}).status_code == 401


def test_the_cookie_is_ours_alone(pages: PageStudy, client: TestClient) -> None:
    answer = client.get("/enter", params={"token": pages.keeper.token}, follow_redirects=False)
    set_cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in set_cookie
    assert "samesite=strict" in set_cookie
    good = client.cookies[COOKIE]
    for forged in (good[:-1] + ("0" if good[-1] != "0" else "1"), "x." + good, good.split(".")[0]):
        client.cookies.clear()
        client.cookies.set(COOKIE, forged)
        assert client.get("/", follow_redirects=False).status_code == 303


def test_sign_out_ends_the_session_on_the_server(owner: TestClient) -> None:
    kept = owner.cookies[COOKIE]
    owner.post("/sign-out")
    owner.cookies.set(COOKIE, kept)
    assert owner.get("/", follow_redirects=False).headers["location"] == "/sign-in"


def test_whoever_is_signed_out_gets_nowhere(owner: TestClient) -> None:
    owner.cookies.clear()
    for route in ROUTES:
        answer = ask(owner, route, follow_redirects=False)
        if route.right != "open":
            assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in"), route.path


@pytest.mark.parametrize("right", get_args(Right))
def test_each_right_opens_its_own_addresses_alone(
    pages: PageStudy, owner: TestClient, monkeypatch: pytest.MonkeyPatch, right: Right
) -> None:
    person = Person("somebody", frozenset({"open", right}), "tried")
    monkeypatch.setattr(pages.keeper, "who", lambda _: person)
    for route in ROUTES:
        if route.right not in person.rights:
            assert ask(owner, route).status_code == 403, route.path


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", HOST + "5", None])
def test_a_form_from_elsewhere_does_nothing(owner: TestClient, origin: str | None) -> None:
    owner.headers.pop("origin")
    headers = {} if origin is None else {"origin": origin}
    for route in ROUTES:
        if route.method == "POST":
            assert ask(owner, route, headers=headers).status_code == 403, route.path
    assert "Not registered yet" in owner.get("/").text


def test_every_answer_has_a_strict_policy(owner: TestClient) -> None:
    for route in ROUTES:
        if route.method == "GET":
            answer = ask(owner, route)
            policy = answer.headers["content-security-policy"]
            if route.path.endswith("/register/page"):
                assert "script-src" not in policy
                assert "sandbox" in policy
                continue
            assert policy == STRICT, route.path
            assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", answer.text)
            assert answer.headers["cache-control"] == "no-store"
    assert "unsafe" not in STRICT


def test_every_route_states_a_right_and_a_verb_that_exists() -> None:
    import wavewise as ww

    for route in ROUTES:
        assert route.right in get_args(Right)
        assert route.method == "GET" or route.back in {r.path for r in ROUTES}
        if route.verb:
            assert hasattr(ww.OpenStudy, route.verb) or hasattr(ww, route.verb), route.path


def test_names_and_texts_full_of_html_are_shown_as_they_are(
    pages: PageStudy, owner: TestClient
) -> None:
    evil = '<script>alert("1")</script><img src=x onerror=alert(2)>'
    path = pages.studies.folder / "peru" / "study.toml"
    text = path.read_text(encoding="utf-8")
    text = text.replace('title = "How much do we gain from personalization?"', f"title = '{evil}'")
    text = text.replace("Su apoyo es lo que", evil.replace('"', "") + " Su apoyo es lo que")
    text = text.replace('label = "Phase 1"', f"label = '{evil}'")
    path.write_text(text, encoding="utf-8")
    people = pages.people.read_text(encoding="utf-8").replace("Ana", "<b onclick=x>Ana</b>")
    owner.post("/studies/peru/register")
    shown = owner.post(
        "/studies/peru/people/look", files={"upload": (f"{evil}.csv", people.encode())}
    )
    mark = re.search(r'name="file" value="([^"]+)"', shown.text)[1]
    done = owner.post("/studies/peru/people", data={"file": mark})
    assert done.status_code == 200
    seen = [shown.text, owner.get("/").text]
    seen += [ask(owner, route).text for route in ROUTES if route.method == "GET"]
    for one in seen:
        if "frame-ancestors" not in one and "<html" in one:
            assert "<script>alert" not in one
            assert "<img src=x" not in one
            assert "<b onclick" not in one
    assert "&lt;script&gt;alert" in seen[1]


def test_no_study_but_those_of_the_folder(owner: TestClient, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "study.toml").write_text("[study]\n", encoding="utf-8")
    for name in ("..", "%2e%2e", "..%2foutside", "outside", "x"):
        assert owner.get(f"/studies/{name}/plan").status_code == 404
    for name in ("../x", "a/b", "", "x" * 200):
        answer = owner.post("/new", data={"name": name, "template": "peru-summer"})
        assert answer.status_code == 422
    assert sorted(path.name for path in pages_in(owner)) == ["peru"]


def pages_in(client: TestClient) -> list[Path]:
    return list(client.app.state.studies.folder.iterdir())


def test_a_plan_is_kept_only_where_it_is_sound(pages: PageStudy, owner: TestClient) -> None:
    shown = owner.get("/studies/peru/plan").text
    mark = re.search(r'name="mark" value="(\w+)"', shown)[1]
    path = pages.studies.folder / "peru" / "study.toml"
    before = path.read_text(encoding="utf-8")
    wrong = {"mark": mark, "do": "save", "waves[1].held_out_share": "150"}
    answer = owner.post("/studies/peru/plan", data=wrong)
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert path.read_text(encoding="utf-8") == before
    right = wrong | {"waves[1].held_out_share": "40"}
    assert "The draft was kept" in owner.post("/studies/peru/plan", data=right).text
    changed = path.read_text(encoding="utf-8")
    assert changed == before.replace("held_out_share = 0.5 ", "held_out_share = 0.4 ")
    late = owner.post("/studies/peru/plan", data=wrong | {"waves[1].held_out_share": "30"})
    assert late.status_code == 409  # somebody wrote meanwhile
    assert path.read_text(encoding="utf-8") == changed


def test_what_is_checked_as_one_types_is_written_nowhere(
    pages: PageStudy, owner: TestClient
) -> None:
    path = pages.studies.folder / "peru" / "study.toml"
    before = path.read_text(encoding="utf-8")
    answer = owner.post("/studies/peru/plan", data={"do": "check", "waves[0].starts": "2023-02-31"})
    assert "Not yet: one fault" in answer.text
    assert path.read_text(encoding="utf-8") == before


def test_a_changed_plan_needs_a_reason(owner: TestClient) -> None:
    owner.post("/studies/peru/register")
    mark = re.search(r'name="mark" value="(\w+)"', owner.get("/studies/peru/plan").text)[1]
    owner.post(
        "/studies/peru/plan", data={"mark": mark, "do": "save", "waves[1].held_out_share": "40"}
    )
    shown = owner.get("/studies/peru/register").text
    assert "<del>" in shown
    assert "<ins>" in shown
    assert owner.post("/studies/peru/register", data={"reason": " "}).status_code == 422
    done = owner.post("/studies/peru/register", data={"reason": "more precise"})
    assert "Version 2 is registered" in done.text
