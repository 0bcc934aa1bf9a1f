"""Who may what: every address times every role times signed out, from the declared addresses."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import wavewise.study as door
from team_pages import ROLES, Team, cheap_passwords, served_team
from wavewise.server.pages import screens
from wavewise.server.pages.app import build_pages
from wavewise.server.pages.entry import Alone
from wavewise.server.pages.routes import ROUTES, Right, Route
from wavewise.server.pages.studies_folder import StudiesFolder

screens.load()
EVERYBODY = set(ROLES)
# Written out once more: a changed rule has to be changed here too.
MAY: dict[str, set[str]] = {
    "see": EVERYBODY,
    "edit": {"owner", "analyst"},
    "field": {"owner", "field"},
    "send": {"owner", "field"},
    "freeze": {"owner", "analyst"},
    "export": {"owner", "analyst"},
    "erase": {"owner"},
    "keys": {"owner"},
    "accounts": {"owner"},
}


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with pytest.MonkeyPatch.context() as patch:
        cheap_passwords(patch)
        with served_team(tmp_path_factory.mktemp("team") / "study") as served:
            yield served


def test_every_right_has_its_rule() -> None:
    assert {*MAY, "open"} == set(get_args(Right))
    assert {route.right for route in ROUTES} <= {*MAY, "open"}


def test_there_is_no_address_that_is_not_declared(tmp_path: Path) -> None:
    app = build_pages(StudiesFolder(door, tmp_path, lambda: None), Alone())
    declared = {(route.method, route.path) for route in ROUTES}
    for route in app.routes:
        if not route.path.startswith("/static/"):
            assert {(method, route.path) for method in route.methods - {"HEAD"}} <= declared


def test_what_is_open_to_everybody_is_known() -> None:
    found = {named(route) for route in ROUTES if route.right == "open"}
    entry = {"GET /enter", "GET /sign-in", "POST /sign-in", "POST /sign-out", "POST /language"}
    assert found == {*entry, "GET /join", "POST /join"}


@pytest.mark.parametrize("route", ROUTES, ids=named)
@pytest.mark.parametrize("role", [*ROLES, None])
def test_who_may_open_it(team: Team, route: Route, role: str | None) -> None:
    browser = team.browsers[role]
    names = {"study": team.study.folder.name, "wave": "one", "job": "1", "name": "audit.csv"}
    path = route.path
    for name in ("study", "wave", "job", "name"):
        path = path.replace("{" + name + "}", names[name])
    path = "".join("x" if part.startswith("{") else part for part in path.split("|"))
    answer = browser.request(route.method, path, data={} if route.method == "POST" else None)
    assert answer.status_code < 500
    to_sign_in = answer.status_code == 303 and answer.headers["location"] == "/sign-in"
    if route.path == "/sign-out":
        assert to_sign_in
        if role is not None:
            team.sign_in(role)
    elif route.right == "open":
        assert answer.status_code != 403
    elif role is None:
        assert to_sign_in
    else:
        assert not to_sign_in
        assert (answer.status_code != 403) == (role in MAY[route.right])


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method == "POST"], ids=named)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.org"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example.org"},
    ],
    ids=["other", "null", "empty", "cross-site"],
)
def test_a_form_from_elsewhere_is_refused(
    team: Team, route: Route, headers: dict[str, str]
) -> None:
    path = route.path.replace("{study}", team.study.folder.name)
    before = team.study.store.audit.all()
    answer = team.browsers["owner"].post(path, data={}, headers=headers)
    assert answer.status_code == 403
    assert team.study.store.audit.all() == before


def test_a_form_that_does_not_say_where_it_is_from_is_refused(team: Team) -> None:
    browser = team.browsers["owner"]
    said = browser.headers.pop("Origin")
    try:
        assert browser.post(f"{team.home}/team/invite", data={}).status_code == 403
    finally:
        browser.headers["Origin"] = said
