"""Accounts, sessions, the audit log, second persons and jobs, on each database."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, text, update

from wavewise.errors import InputError, StateError, StoreError
from wavewise.store import Store
from wavewise.store.schema import audit_entry, second_person
from wavewise.store.team.jobs import MOST_ATTEMPTS

NOW = datetime(2024, 3, 1, 9, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
WEEK = NOW + timedelta(days=7)


def joined(store: Store, name: str, role: str = "owner") -> str:
    store.accounts.invite(name, name, role, f"token of {name}", NOW, WEEK)
    return store.accounts.take_up(f"token of {name}", "hash", NOW).account_id


# Accounts and sessions.


def test_an_invitation_works_once_and_until_its_end(store: Store) -> None:
    store.accounts.invite("1", "ana", "owner", "token", NOW, WEEK)
    assert store.accounts.named("ana") is None
    assert store.accounts.take_up("token", "hash", WEEK) is None
    assert store.accounts.take_up("token", "hash", NOW).state == "joined"
    assert store.accounts.take_up("token", "other", NOW) is None
    assert store.accounts.named("ana").password_hash == "hash"


def test_a_new_invitation_ends_the_former_one(store: Store) -> None:
    store.accounts.invite("1", "ana", "owner", "first", NOW, WEEK)
    assert store.accounts.invite("2", "ana", "field", "second", NOW, WEEK) == "1"
    assert store.accounts.take_up("first", "hash", NOW) is None
    assert store.accounts.take_up("second", "hash", NOW).role == "field"
    with pytest.raises(StateError, match="has joined"):
        store.accounts.invite("3", "ana", "owner", "third", NOW, WEEK)


def test_the_only_owner_stays(store: Store) -> None:
    ana = joined(store, "ana")
    with pytest.raises(StateError, match="only owner"):
        store.accounts.remove(ana, NOW)
    with pytest.raises(StateError, match="only owner"):
        store.accounts.set_role(ana, "viewer", NOW)
    ben = joined(store, "ben")
    store.accounts.remove(ana, NOW)
    assert [row.state for row in store.accounts.all()] == ["removed", "joined"]
    with pytest.raises(StateError, match="only owner"):
        store.accounts.remove(ben, NOW)
    with pytest.raises(InputError, match="no such account"):
        store.accounts.remove(ana, NOW)


def test_of_two_owners_who_remove_each_other_one_stays(store: Store) -> None:
    accounts = [joined(store, name) for name in ("ana", "ben")]

    def remove(account_id: str) -> bool:
        try:
            store.accounts.remove(account_id, NOW)
        except StateError:
            return False
        return True

    with ThreadPoolExecutor(1 if store.url == "sqlite://" else 2) as pool:
        assert sorted(pool.map(remove, accounts)) == [False, True]


def test_a_session_ends_by_itself_by_sign_out_and_with_its_account(store: Store) -> None:
    ana, ben = joined(store, "ana"), joined(store, "ben")
    for number, account_id in enumerate((ana, ana, ben)):
        assert store.sessions.begin(f"s{number}", account_id, f"t{number}", NOW, LATER)
    assert store.sessions.find("t0", NOW)[1].name == "ana"
    assert store.sessions.find("t0", LATER) is None
    assert store.sessions.find("other", NOW) is None
    assert store.sessions.end("s0", NOW)
    assert not store.sessions.end("s0", NOW)
    assert store.sessions.find("t0", NOW) is None
    store.accounts.set_role(ben, "field", NOW)
    assert store.sessions.find("t2", NOW) is None
    assert [row.session_id for row in store.sessions.open(NOW)] == ["s1"]
    assert store.sessions.end_all(NOW) == 1
    store.accounts.set_role(ben, "owner", NOW)
    store.accounts.remove(ana, NOW)
    assert not store.sessions.begin("s3", ana, "t3", NOW, LATER)


def test_somebody_of_an_identity_provider_joins_by_an_invitation_alone(store: Store) -> None:
    joined(store, "ana")
    store.accounts.invite("2", "ben", "field", "token", NOW, WEEK)
    assert store.accounts.of_subject("idp|1", "ana", NOW) is None
    assert store.accounts.of_subject("idp|2", "eve", NOW) is None
    assert store.accounts.of_subject("idp|3", "ben", NOW).account_id == "2"
    assert store.accounts.of_subject("idp|3", "ben@new", LATER).account_id == "2"
    assert store.accounts.take_up("token", "hash", NOW) is None
    store.accounts.remove("2", LATER)
    assert store.accounts.of_subject("idp|3", "ben", LATER) is None


# The audit log.


def filled(store: Store, n: int = 4) -> None:
    for number in range(n):
        arguments = {"wave": f"w{number}"}
        store.audit.add("ana", "wave_open", "done", NOW, arguments=arguments, reason="ñ")


@pytest.mark.parametrize(
    "change",
    [
        update(audit_entry).values(reason="other"),
        delete(audit_entry).where(audit_entry.c.entry_id == 2),
        text("INSERT OR REPLACE INTO audit_entry SELECT * FROM audit_entry WHERE entry_id = 2"),
        text("TRUNCATE audit_entry"),
    ],
    ids=["update", "delete", "replace", "truncate"],
)
def test_the_database_itself_refuses_to_change_an_entry(store: Store, change: object) -> None:
    filled(store)
    before = store.audit.all()
    with pytest.raises(StoreError), store.writing() as connection:
        connection.execute(change)
    assert store.audit.all() == before
    assert store.audit.first_fault() is None


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_an_entry_that_is_gone_all_the_same_shows(store: Store, gone: int) -> None:
    filled(store)
    without_rule(store)
    with store.writing() as connection:
        connection.execute(delete(audit_entry).where(audit_entry.c.entry_id == gone))
    assert store.audit.first_fault() == gone


def test_an_entry_that_was_changed_all_the_same_shows(store: Store) -> None:
    filled(store)
    without_rule(store)
    with store.writing() as connection:
        changed = update(audit_entry).where(audit_entry.c.entry_id == 3)
        connection.execute(changed.values(arguments_json=json.dumps({"wave": "other"})))
    assert store.audit.first_fault() == 3


def without_rule(store: Store) -> None:
    """As somebody does who owns the database."""
    if store.engine.dialect.name == "postgresql":
        statements = ["DROP TRIGGER audit_only_grows ON audit_entry"]
    else:
        statements = [f"DROP TRIGGER audit_no_{name}" for name in ("update", "delete", "replace")]
    with store.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_entries_of_many_at_once_make_one_chain(store: Store) -> None:
    def add(number: int) -> int:
        return store.audit.add(f"a{number}", "status", "done", NOW).entry_id

    with ThreadPoolExecutor(1 if store.url == "sqlite://" else 4) as pool:
        assert sorted(pool.map(add, range(12))) == list(range(1, 13))
    assert store.audit.first_fault() is None
    assert [entry.entry_id for entry in store.audit.all(3)] == [10, 11, 12]


def test_an_entry_has_the_version_of_its_time(store: Store) -> None:
    first = store.audit.add("ana", "register", "begun", NOW)
    spec = {"spec_toml": "", "spec_json": "{}", "hash": "h"}
    store.versions.add(1, NOW, "first", **spec)
    second = store.audit.add("ana", "register", "done", NOW)
    assert (first.version, second.version) == (None, 1)


# Second persons.


def asked(store: Store, by: str = "ana", spec_hash: str = "h") -> str:
    return store.second_persons.ask(
        f"r of {by} {spec_hash}",
        "open",
        "wave_open",
        {"wave": "w1"},
        spec_hash=spec_hash,
        reason="",
        asked_by=by,
        now=NOW,
        until=WEEK,
    ).request_id


def test_nobody_confirms_their_own_step(store: Store) -> None:
    ana, ben = joined(store, "ana"), joined(store, "ben")
    request = asked(store)
    assert asked(store) == request
    with pytest.raises(StateError, match="second one"):
        store.second_persons.answer(request, "confirmed", ana, "h", NOW)
    with pytest.raises(StateError, match="that one to withdraw"):
        store.second_persons.answer(request, "withdrawn", ben, "h", NOW)
    found = store.second_persons.answer(request, "confirmed", ben, "h", NOW)
    assert (found.asked_by, found.answered_by, found.answer) == (ana, ben, "confirmed")
    with pytest.raises(InputError, match="that waits"):
        store.second_persons.answer(request, "confirmed", ben, "h", NOW)
    assert store.second_persons.waiting(NOW) == ()


def test_the_database_itself_knows_that_two_are_two(store: Store) -> None:
    ana = joined(store, "ana")
    asked(store)
    with pytest.raises(StoreError), store.writing() as connection:
        values = {"answer": "confirmed", "answered_by": ana}
        connection.execute(update(second_person).values(values))


def test_a_step_is_confirmed_for_the_file_that_both_saw_and_in_time(store: Store) -> None:
    joined(store, "ana")
    ben = joined(store, "ben")
    request = asked(store)
    with pytest.raises(StateError, match="has changed"):
        store.second_persons.answer(request, "confirmed", ben, "other", NOW)
    with pytest.raises(InputError, match="expired"):
        store.second_persons.answer(request, "confirmed", ben, "h", WEEK)
    assert store.second_persons.answer(request, "declined", ben, "other", NOW).answer == "declined"


# Jobs.


def test_a_step_is_queued_once_and_runs_alone(store: Store) -> None:
    first = store.jobs.add("decide", {"wave": "w1"}, "ana", NOW)
    assert store.jobs.add("decide", {"wave": "w1"}, "ben", NOW) == first
    second = store.jobs.add("report", {}, "ana", NOW)
    taken = store.jobs.claim("one", NOW, 30)
    assert (taken.job_id, taken.state, taken.attempts) == (first.job_id, "running", 1)
    assert store.jobs.claim("two", NOW, 30) is None
    assert store.jobs.beat(first.job_id, "one", NOW, 30, ("half", 1, 2))
    assert not store.jobs.beat(first.job_id, "two", NOW, 30, ("", 0, 0))
    assert not store.jobs.finish(first.job_id, "two", "done", "", NOW)
    assert store.jobs.finish(first.job_id, "one", "done", "Decided.", NOW)
    assert store.jobs.get(first.job_id).result_text == "Decided."
    assert store.jobs.claim("two", NOW, 30).job_id == second.job_id
    assert store.jobs.add("decide", {"wave": "w1"}, "ana", NOW).job_id not in {1, 2}


def test_a_step_whose_worker_was_killed_begins_again_three_times_at_most(store: Store) -> None:
    job_id = store.jobs.add("decide", {"wave": "w1"}, "ana", NOW).job_id
    at = NOW
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert store.jobs.claim(f"w{attempt}", at, 30).attempts == attempt
        assert store.jobs.claim("other", at + timedelta(seconds=20), 30) is None
        at += timedelta(seconds=31)
    assert store.jobs.claim("last", at, 30) is None
    found = store.jobs.get(job_id)
    assert (found.state, found.is_open) == ("failed", False)
    assert "3 times" in found.result_text


def test_a_worker_that_stops_gives_its_step_back(store: Store) -> None:
    store.jobs.add("report", {}, "ana", NOW)
    store.jobs.claim("one", NOW, 30)
    store.jobs.release("one")
    assert store.jobs.claim("two", NOW, 30).attempts == 1


def test_a_step_is_cancelled_at_once_or_at_its_next_beat(store: Store) -> None:
    one = store.jobs.add("report", {}, "ana", NOW)
    assert store.jobs.cancel(one.job_id, NOW).state == "cancelled"
    two = store.jobs.add("report", {}, "ana", NOW)
    store.jobs.claim("w", NOW, 30)
    assert store.jobs.cancel(two.job_id, NOW).cancel_asked
    assert not store.jobs.beat(two.job_id, "w", NOW, 30, ("", 0, 0))
    store.jobs.finish(two.job_id, "w", "cancelled", "", NOW)
    three = store.jobs.add("report", {}, "ana", NOW)
    store.jobs.claim("killed", NOW, 30)
    store.jobs.cancel(three.job_id, NOW)
    assert store.jobs.claim("next", NOW + timedelta(seconds=31), 30) is None
    assert [job.state for job in store.jobs.all()] == ["cancelled"] * 3
    with pytest.raises(InputError, match="no such step"):
        store.jobs.cancel(99, NOW)
