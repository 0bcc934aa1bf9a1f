"""Invitations, passwords and sessions, with their place in the audit log."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from memory_study import Desk, memory_study
from wavewise.errors import InputError, StateError
from wavewise.workflow.team import accounts
from wavewise.workflow.team.audit import audit

PASSWORD = "four words in a row"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "COST", {"iterations": 1, "lanes": 1, "memory_cost": 8})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with memory_study(tmp_path) as opened:
        yield opened


def test_who_is_invited_joins_and_signs_in(desk: Desk) -> None:
    invitation = accounts.invite(desk.study, " Ana@Example.org ", "owner")
    assert invitation.token in invitation.summary()
    assert accounts.verified_account(desk.study, "ana@example.org", PASSWORD) is None
    row = accounts.join(desk.study, invitation.token, PASSWORD)
    assert (row.name, row.role) == ("ana@example.org", "owner")
    assert accounts.verified_account(desk.study, "ANA@example.org", PASSWORD) == row
    assert accounts.verified_account(desk.study, "ana@example.org", PASSWORD + "x") is None
    assert accounts.verified_account(desk.study, "eve", PASSWORD) is None
    assert accounts.verified_account(desk.study, "\0", PASSWORD) is None


def test_a_password_is_kept_by_argon2_alone(desk: Desk) -> None:
    token = accounts.invite(desk.study, "ana", "owner").token
    accounts.join(desk.study, token, PASSWORD)
    (row,) = desk.study.store.accounts.all()
    assert row.password_hash.startswith("$argon2id$v=19$")
    assert PASSWORD not in repr(row)


@pytest.mark.parametrize(
    "password", ["short", "a" * 40, "ana@example.org", "x" * 2_000, "abababababab"]
)
def test_an_easy_password_leaves_the_invitation_open(desk: Desk, password: str) -> None:
    token = accounts.invite(desk.study, "ana@example.org", "owner").token
    with pytest.raises(InputError, match="found a password"):
        accounts.join(desk.study, token, password)
    assert accounts.join(desk.study, token, PASSWORD).state == "joined"


def test_an_invitation_is_not_taken_up_twice_nor_late(desk: Desk) -> None:
    token = accounts.invite(desk.study, "ana", "owner").token
    accounts.join(desk.study, token, PASSWORD)
    late = accounts.invite(desk.study, "ben", "field").token
    desk.clock.now += timedelta(days=8)
    for one in (token, late, "", "other"):
        with pytest.raises(InputError, match="no invitation"):
            accounts.join(desk.study, one, PASSWORD)


def test_a_session_has_a_token_of_its_own_and_ends(desk: Desk) -> None:
    token = accounts.invite(desk.study, "ana", "owner").token
    row = accounts.join(desk.study, token, PASSWORD)
    first, second = (accounts.begin_session(desk.study, row.account_id) for _ in range(2))
    assert first != second
    assert accounts.find_session(desk.study, first)[1].account_id == row.account_id
    assert accounts.find_session(desk.study, "") is None
    desk.clock.now += timedelta(hours=13)
    assert accounts.find_session(desk.study, first) is None


@pytest.mark.parametrize(("name", "role"), [("", "owner"), ("ana", "boss"), ("x" * 300, "owner")])
def test_what_is_no_name_or_role_is_refused(desk: Desk, name: str, role: str) -> None:
    with pytest.raises(InputError):
        accounts.invite(desk.study, name, role)
    assert accounts.list_accounts(desk.study).accounts == ()


def test_changes_stand_in_the_log_without_names(desk: Desk) -> None:
    for name in ("ana@example.org", "ben@example.org"):
        token = accounts.invite(desk.study, name, "owner").token
        accounts.join(desk.study, token, PASSWORD)
    accounts.change_role(desk.study, "ben@example.org", "field")
    accounts.remove_account(desk.study, "ben@example.org")
    with pytest.raises(StateError, match="only owner"):
        accounts.remove_account(desk.study, "ana@example.org")
    verbs = [entry.verb for entry in desk.study.store.audit.all()]
    assert verbs == ["team_invite", "team_join"] * 2 + ["team_role", "team_remove"]
    kept = repr(desk.study.store.audit.all())
    assert "example.org" not in kept
    assert "ben@example.org" in audit(desk.study).summary()
