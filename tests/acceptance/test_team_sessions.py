"""Sessions and passwords: fixed, forged, replayed, guessed; invitations; roles that change."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from study_folders import make_study
from team_pages import PASSWORD, Team, cheap_passwords, served_team
from wavewise.server.connections import Limits
from wavewise.server.pages.entry import COOKIE


@pytest.fixture
def team(tmp_path: Path, store_url: str | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    cheap_passwords(monkeypatch)
    with served_team(tmp_path / "study", store_url) as served:
        yield served


def is_in(browser: httpx2.Client) -> bool:
    return browser.get("/").status_code == 200


def test_a_session_that_was_there_before_is_not_taken_over(team: Team) -> None:
    """Whoever sets somebody's cookie before they sign in knows no session of theirs."""
    browser = team.browsers[None]
    for planted in ("fixed-by-somebody-else", team.browsers["viewer"].cookies[COOKIE]):
        browser.cookies.clear()
        browser.cookies.set(COOKIE, planted, domain=urlsplit(team.url).hostname)
        answer = browser.post("/sign-in", data={"name": "owner", "password": PASSWORD})
        assert answer.status_code == 303
        assert answer.cookies[COOKIE] != planted
        outside = httpx2.get(f"{team.url}/", headers={"Cookie": f"{COOKIE}={planted}"})
        assert outside.status_code == 303
    assert not is_in(team.browsers["viewer"])  # its session was replaced by the owner's


def test_a_cookie_is_for_this_site_alone_and_not_for_scripts(team: Team) -> None:
    (said,) = team.sign_in("owner").headers.get_list("set-cookie")
    assert {"httponly", "samesite=strict", "path=/"} <= {
        part.strip().lower() for part in said.split(";")
    }


def test_behind_a_proxy_with_tls_it_is_secure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap_passwords(monkeypatch)
    with served_team(tmp_path / "study", public_url="https://study.example.org") as team:
        assert "secure" in team.sign_in("owner").headers["set-cookie"].lower()
        assert not is_in(team.browsers["owner"])  # it does not go over plain HTTP


@pytest.mark.parametrize("forged", ["", "x", "owner", "0" * 64, "\xff", "a" * 5_000])
def test_a_forged_session_lets_nobody_in(team: Team, forged: str) -> None:
    headers = {"Cookie": f"{COOKIE}={forged}".encode("latin-1")}
    assert httpx2.get(f"{team.url}/", headers=headers).status_code == 303


def test_what_is_kept_of_a_session_opens_none(team: Team) -> None:
    with team.study.store.reading() as connection:
        rows = connection.exec_driver_sql("SELECT session_id, token_hash FROM session").all()
    for value in (part for row in rows for part in row):
        headers = {"Cookie": f"{COOKIE}={value}"}
        assert httpx2.get(f"{team.url}/", headers=headers).status_code == 303


def test_a_session_is_not_replayed_after_sign_out_nor_after_its_time(team: Team) -> None:
    browser = team.browsers["owner"]
    cookie = browser.cookies[COOKIE]
    assert is_in(browser)
    assert browser.post("/sign-out").status_code == 303
    headers = {"Cookie": f"{COOKIE}={cookie}"}
    assert httpx2.get(f"{team.url}/", headers=headers).status_code == 303
    assert is_in(team.browsers["field"])
    team.clock.now += timedelta(hours=12)
    assert not is_in(team.browsers["field"])


def test_guessed_passwords_make_the_guesser_wait_and_nobody_else(
    tmp_path: Path, store_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap_passwords(monkeypatch)
    with served_team(tmp_path / "study", store_url, limits=Limits(n_wrong=5)) as team:
        said = [
            team.browsers[None].post("/sign-in", data={"name": "owner", "password": f"wrong {i}"})
            for i in range(9)
        ]
        assert [one.status_code for one in said] == [401] * 5 + [422] * 4
        assert "too many wrong passwords" in said[-1].text
        # Whoever was right before is heard, also from the same address.
        assert team.sign_in("owner").status_code == 303
        assert is_in(team.browsers["viewer"])


def test_a_wrong_name_and_a_wrong_password_look_the_same(team: Team) -> None:
    browser, names = team.browsers[None], ("owner", "nobody")
    answers = [
        browser.post("/sign-in", data={"name": name, "password": "wrong words here"})
        for name in names
    ]
    assert [one.status_code for one in answers] == [401, 401]
    shown = [
        one.text.replace(f'value="{name}"', "") for one, name in zip(answers, names, strict=True)
    ]
    assert shown[0] == shown[1]


def test_an_invitation_lets_one_person_in_once(team: Team) -> None:
    owner, guest = team.browsers["owner"], team.browsers[None]
    page = owner.post(f"{team.home}/team/invite", data={"name": "Eve", "role": "viewer"}).text
    address = page.partition('<code id="address">')[2].partition("</code>")[0]
    token = address.partition("token=")[2]
    assert guest.get(f"/join?token={token}").status_code == 200
    form = {"token": token, "password": PASSWORD, "again": PASSWORD}
    wrong = guest.post("/join", data={**form, "again": "another one here"})
    assert wrong.status_code == 422
    assert token in wrong.text  # it can be sent once more
    assert guest.post("/join", data=form).status_code == 303
    assert "eve (viewer)" in guest.get("/").text
    with httpx2.Client(base_url=team.url, headers={"Origin": team.url}) as second:
        assert second.post("/join", data=form).status_code == 422
        assert not is_in(second)


def test_who_is_removed_or_has_another_role_is_out_at_once(team: Team) -> None:
    owner = team.browsers["owner"]
    assert owner.post(f"{team.home}/team/remove", data={"name": "viewer"}).status_code == 303
    assert not is_in(team.browsers["viewer"])
    assert team.sign_in("viewer").status_code == 401
    change = {"name": "analyst", "role": "field"}
    assert owner.post(f"{team.home}/team/role", data=change).status_code == 303
    assert not is_in(team.browsers["analyst"])
    team.sign_in("analyst")
    assert team.browsers["analyst"].get(f"{team.home}/plan").status_code == 200
    assert team.browsers["analyst"].post(f"{team.home}/register").status_code == 403
    only = owner.post(f"{team.home}/team/remove", data={"name": "owner"})
    assert only.status_code == 409
    assert is_in(owner)


def test_names_full_of_html_stay_text(team: Team) -> None:
    owner, name = team.browsers["owner"], "<img src=x onerror=alert(1)>\"'"
    page = owner.post(f"{team.home}/team/invite", data={"name": name, "role": "viewer"}).text
    assert "<img" not in page
    assert "&lt;img" in page
    assert "<img" not in owner.get(f"{team.home}/audit").text


def test_keys_are_made_and_revoked_there(team: Team) -> None:
    owner = team.browsers["owner"]
    page = owner.post(f"{team.home}/record/keys", data={"name": "the app"}).text
    key = page.partition("<code>ww_")[2].partition("</code>")[0]
    assert key
    headers = {"X-API-Key": f"ww_{key}"}
    metrics = f"{team.url}/v1/metrics"
    assert httpx2.get(metrics, headers=headers).status_code != 401
    owner.post(f"{team.home}/record/keys/revoke", data={"key": key.partition("_")[0]})
    assert httpx2.get(metrics, headers=headers).status_code == 401
    assert "keys make" in owner.get(f"{team.home}/audit").text


def test_people_and_their_names_are_shown_to_those_who_work_in_the_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap_passwords(monkeypatch)
    folder = make_study(tmp_path / "study", 20)
    with served_team(folder) as team:
        for role, sees in (("owner", True), ("field", True), ("analyst", False), ("viewer", False)):
            page = team.browsers[role].get(f"{team.home}/messages")
            assert page.status_code == 200
            assert ("And Ana?" in page.text, "p00" in page.text) == (sees, sees), role
            assert "And {child_name}?" in page.text
