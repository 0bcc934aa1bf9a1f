"""A provider that takes nothing: its channel is held, no message is lost or called failed."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import select

from hooks import Hook
from sending_study import by_state, make_sending_study, outbox
from study_folders import call, done
from wavewise.store import Store
from wavewise.store.schema import outbox as outbox_table


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook(lambda *_: 200) as found:
        yield found


def attempts(folder: Path) -> set[int]:
    with Store.open(f"sqlite:///{folder / 'study.db'}") as store, store.reading() as connection:
        return set(connection.scalars(select(outbox_table.c.attempts)))


@pytest.mark.parametrize("status", [301, 302, 400, 404, 405])
def test_a_wrong_address_holds_the_channel_and_fails_nothing(
    tmp_path: Path, hook: Hook, status: int
) -> None:
    folder = make_sending_study(tmp_path, 40, hook.channels())
    hook.answer = lambda *_: status
    answer = call("send", folder)
    assert answer.code == 11
    assert f"({status})" in answer.err
    assert "held since" in answer.err
    assert len(hook.bodies) <= 9
    assert by_state(outbox(folder)) == {"queued": 40}
    hook.answer = lambda *_: 200  # somebody put it right
    done("send", folder, "--until-done")
    assert by_state(outbox(folder)) == {"sent": 40}


@pytest.mark.parametrize("status", [502, 503])
def test_a_page_of_maintenance_costs_a_few_messages(
    tmp_path: Path, hook: Hook, status: int
) -> None:
    folder = make_sending_study(tmp_path, 40, hook.channels(backoff_seconds=30))
    hook.answer = lambda *_: status
    assert call("send", folder).code == 11
    assert call("send", folder).code == 11  # a probe, and no more
    states = by_state(outbox(folder))
    assert states["unknown"] <= 10
    assert states["unknown"] + states["queued"] == 40
    assert len(hook.bodies) == states["unknown"]


def test_nobody_there_burns_no_attempts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        url = f"http://127.0.0.1:{one.getsockname()[1]}"
    channels = f'[webhook]\nprovider = "webhook"\nbase_url = "{url}"\nbackoff_seconds = 0.01\n'
    folder = make_sending_study(tmp_path, 30, channels)
    for _ in range(3):
        assert call("send", folder).code == 11
    assert by_state(outbox(folder)) == {"queued": 30}
    assert attempts(folder) == {0}


def test_bad_messages_among_good_ones_fail_by_themselves(tmp_path: Path, hook: Hook) -> None:
    """Many at the head of the queue look like a wrong address, until a probe finds a good one."""
    folder = make_sending_study(tmp_path, 300, hook.channels())
    hook.answer = lambda body, _: 400 if str(body["to"]) < "p000012" else 200
    done("send", folder, "--until-done")
    rows = outbox(folder)
    assert by_state(rows) == {"failed": 12, "sent": 288}
    assert set(rows.filter(state="failed")["unit_id"]) == {f"p{i:06d}" for i in range(12)}


def test_what_may_have_been_taken_is_never_called_failed(tmp_path: Path, hook: Hook) -> None:
    folder = make_sending_study(tmp_path, 6, hook.channels(idempotent=True))
    hook.answer = lambda body, _: 503 if body["to"] == "p000003" else 200
    done("send", folder, "--until-done")
    rows = outbox(folder)
    assert by_state(rows) == {"sent": 5, "unknown": 1}
    assert rows.filter(state="unknown")["reason"].to_list() == [
        "the provider answered 503 (8 attempts)"
    ]


def test_what_failed_for_a_reason_is_retried(tmp_path: Path, hook: Hook) -> None:
    folder = make_sending_study(tmp_path, 3, hook.channels())
    hook.answer = lambda *_: 404
    done("send", folder)
    assert by_state(outbox(folder)) == {"failed": 3}
    hook.answer = lambda *_: 200
    assert done("outbox", "retry", folder, "--reason", "no answer", "--json").facts == {
        "n_queued": 0
    }
    assert call("outbox", "retry", folder, "--reason", " ").code == 4
    again = done("outbox", "retry", folder, "--reason", "the provider rejected", "--json")
    assert again.facts == {"n_queued": 3}
    done("send", folder)
    assert by_state(outbox(folder)) == {"sent": 3}
    assert len(set(hook.keys)) == 3


def test_a_closed_wave_sends_nothing_more(tmp_path: Path, hook: Hook) -> None:
    folder = make_sending_study(tmp_path, 20, hook.channels(concurrency=1))

    def close_at_the_fourth(*_: object) -> int:
        if len(hook.bodies) == 4:
            with Store.open(f"sqlite:///{folder / 'study.db'}") as store:
                from datetime import UTC, datetime

                store.waves.close(
                    "one",
                    datetime.now(UTC),
                    pl.DataFrame(
                        {"unit_id": [], "values_json": []},
                        schema={"unit_id": pl.String, "values_json": pl.String},
                    ),
                )
        return 200

    hook.answer = close_at_the_fourth
    done("send", folder)
    assert len(hook.bodies) == 4
    rows = outbox(folder)
    assert by_state(rows) == {"sent": 4, "cancelled": 16}
    assert set(rows.filter(state="cancelled")["reason"]) == {"the wave was closed"}


def test_status_of_a_held_channel_is_told(tmp_path: Path, hook: Hook) -> None:
    folder = make_sending_study(tmp_path, 20, hook.channels())
    hook.answer = lambda *_: 404
    call("send", folder)
    facts = done("status", folder, "--json").facts
    assert [(one["channel"], one["reason"]) for one in facts["held"]] == [
        ("webhook", "the provider rejected the request (404)")
    ]
    assert "Held: webhook" in done("status", folder).out
    assert json.dumps(facts)
