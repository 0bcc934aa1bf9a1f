"""Sending through the command line: what people get, what the outbox says, whatever breaks."""

import json
import sqlite3
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from hooks import Hook
from sending_study import by_state, make_sending_study, outbox
from study_folders import call, done
from wavewise.workflow.study import open_study


def test_everybody_gets_their_message_once(tmp_path: Path) -> None:
    with Hook(lambda *_: 200) as hook:
        more = {"lang": ["es", "en"] * 15}
        folder = make_sending_study(
            tmp_path, 30, hook.channels(), units='language = "lang"', more=more
        )
        done("send", folder)
        again = done("send", folder, "--json")
    assert len(hook.bodies) == len(set(hook.keys)) == 30
    assert again.facts["this_run"] == {}
    rows = outbox(folder)
    assert by_state(rows) == {"sent": 30}
    by_key = {body["key"]: body for body in hook.bodies}
    for key, unit, message in rows.select("message_key", "unit_id", "message_id").iter_rows():
        spanish = message == "teacher" and int(unit[1:]) % 2 == 0
        text = {"peers": "Many practise. And Ana?", "teacher": "Ana has homework."}[message]
        assert by_key[key]["text"] == ("Ana tiene tarea." if spanish else text)
        assert by_key[key]["to"] == unit
        assert unit not in key


def test_only_what_proves_that_nothing_was_sent_is_tried_again(tmp_path: Path) -> None:
    kinds = [200, 429, 503, 400, 410]

    def answer(body: dict[str, object], time_seen: int) -> int:
        status = kinds[int(str(body["to"])[1:]) % 5]
        return 200 if status == 429 and time_seen > 2 else status

    with Hook(answer) as hook:
        folder = make_sending_study(tmp_path, 25, hook.channels())
        done("send", folder, "--until-done")
    assert by_state(outbox(folder)) == {"sent": 10, "unknown": 5, "failed": 10}
    rows = outbox(folder)
    seen = {
        unit: hook.keys.count(key) for unit, key in rows.select("unit_id", "message_key").rows()
    }
    assert {seen[f"p{i:06d}"] for i in range(25) if i % 5 == 1} == {3}
    assert {seen[f"p{i:06d}"] for i in range(25) if i % 5 != 1} == {1}
    # again on a human's word only
    done("send", folder)
    assert len(hook.bodies) == 35
    reasons = set(rows.filter(state="unknown")["reason"])
    assert reasons == {"the provider answered 503"}


def test_unknown_is_sent_again_on_a_humans_word(tmp_path: Path) -> None:
    with Hook(lambda _, times: 503 if times == 1 else 200) as hook:
        folder = make_sending_study(tmp_path, 6, hook.channels())
        done("send", folder)
        assert by_state(outbox(folder)) == {"unknown": 6}
        assert done("outbox", "resend", folder, "--json").facts == {"n_queued": 6}
        done("send", folder)
    assert by_state(outbox(folder)) == {"sent": 6}
    assert len(hook.bodies) == 12
    assert len(set(hook.keys)) == 6  # the same key: the receiver can tell


def test_an_idempotent_receiver_gets_it_again_without_a_word(tmp_path: Path) -> None:
    with Hook(lambda _, times: 503 if times == 1 else 200) as hook:
        folder = make_sending_study(tmp_path, 6, hook.channels(idempotent=True))
        done("send", folder, "--until-done")
    assert by_state(outbox(folder)) == {"sent": 6}
    assert len(set(hook.keys)) == 6


def test_an_opt_out_cancels_and_is_kept(tmp_path: Path) -> None:
    from wavewise.store import Store

    with Hook(lambda body, _: 451 if str(body["to"]).endswith("3") else 200) as hook:
        folder = make_sending_study(tmp_path, 10, hook.channels())
        done("send", folder)
    rows = outbox(folder)
    assert by_state(rows) == {"sent": 9, "failed": 1}
    with Store.open(f"sqlite:///{folder / 'study.db'}") as store:
        assert store.opt_outs.units("webhook").to_list() == ["p000003"]


def test_wrong_credentials_stop_the_channel_and_lose_nothing(tmp_path: Path) -> None:
    with Hook(lambda *_: 401) as hook:
        folder = make_sending_study(tmp_path, 200, hook.channels(concurrency=4))
        answer = call("send", folder)
        assert answer.code == 11
        assert "the credentials were rejected" in answer.err
        assert len(hook.bodies) <= 8
    assert by_state(outbox(folder)) == {"queued": 200}


def test_pause_resume_cancel(tmp_path: Path) -> None:
    with Hook(lambda *_: 200) as hook:
        folder = make_sending_study(tmp_path, 20, hook.channels())
        done("outbox", "pause", folder)
        assert "Paused: all waves" in done("send", folder).out
        assert not hook.bodies
        done("outbox", "resume", folder, "--wave", "one")  # that one was not paused by itself
        done("send", folder)
        assert not hook.bodies
        done("outbox", "resume", folder)
        assert (
            done("outbox", "cancel", folder, "--wave", "one", "--json").facts["n_cancelled"] == 20
        )
        done("send", folder)
    assert not hook.bodies
    assert by_state(outbox(folder)) == {"cancelled": 20}


def test_a_hanging_provider_leaves_them_unknown(tmp_path: Path) -> None:
    released = threading.Event()
    with Hook(lambda *_: released.wait(90) and 200) as hook:
        folder = make_sending_study(tmp_path, 8, hook.channels(timeout_seconds=0.3, concurrency=8))
        begun = time.monotonic()
        done("send", folder)
        assert time.monotonic() - begun < 60  # it hung for 90
        released.set()
    rows = outbox(folder)
    assert by_state(rows) == {"unknown": 8}
    assert set(rows["reason"]) == {"no answer in time"}
    assert len(set(hook.keys)) == 8


def test_a_locked_database_holds_up_and_loses_nothing(tmp_path: Path) -> None:
    locked = threading.Event()

    def lock_for_seconds() -> None:
        connection = sqlite3.connect(folder / "study.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        locked.set()
        time.sleep(6.5)  # longer than the store waits for a lock by itself
        connection.execute("ROLLBACK")
        connection.close()

    holder = threading.Thread(target=lock_for_seconds)

    def answer(*_: object) -> int:
        if not locked.is_set() and len(hook.bodies) == 3:
            holder.start()
            locked.wait(60)
        return 200

    with Hook(answer) as hook:
        folder = make_sending_study(tmp_path, 40, hook.channels(concurrency=2))
        done("send", folder)
        holder.join()
    assert by_state(outbox(folder)) == {"sent": 40}
    assert len(hook.keys) == len(set(hook.keys)) == 40


def test_no_settings_and_no_address_are_named_before_anything(tmp_path: Path) -> None:
    folder = make_sending_study(tmp_path / "a", 3, "")
    answer = call("send", folder)
    assert answer.code == 4
    assert "found no settings of webhook" in answer.err
    folder = make_sending_study(
        tmp_path / "b", 3, '[sms]\nprovider = "twilio"\naccount = "a"\nfrom = "+1"\n', channel="sms"
    )
    answer = call("send", folder)
    assert "found no column of addresses for sms" in answer.err


def test_a_dry_run_into_a_file(tmp_path: Path) -> None:
    folder = make_sending_study(tmp_path, 12, '[sms]\nprovider = "file"\n', channel="sms")
    done("send", folder)
    lines = (folder / "outbox" / "sms.ndjson").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == 12
    assert by_state(outbox(folder)) == {"sent": 12}


def test_preview_shows_text_length_and_times(tmp_path: Path) -> None:
    folder = make_sending_study(
        tmp_path, 3, "", channel="sms", units='language = "lang"', more={"lang": ["es"] * 3}
    )
    facts = done("preview", folder, "one", "--unit", "p000001", "--json").facts
    assert [m["text"] for m in facts["messages"]] == ["Many practise. And Ana?", "Ana tiene tarea."]
    assert [m["n_segments"] for m in facts["messages"]] == [1, 1]
    assert len(facts["due"]) == 1
    assert "Ana tiene tarea." in done("preview", folder, "one").out
    answer = call("preview", folder, "one", "--unit", "nobody")
    assert answer.code == 4
    assert "nobody" not in answer.err


LATER = """
[[waves]]
id = "two"
starts = 2099-03-02
window_days = 14
schedule = "once"
arms = ["peers", "teacher"]
"""


def test_missing_fields_and_due_times_show_before_a_wave_opens(tmp_path: Path) -> None:
    folder = make_sending_study(
        tmp_path,
        4,
        "",
        units='time_zone = "zone"',
        more={"zone": ["Asia/Tokyo", "America/Lima"] * 2},
        later=LATER,
    )
    facts = done("wave", "open", folder, "two", "--json").facts
    (due,) = facts["due"]
    assert (
        datetime.fromisoformat(due["last"]) - datetime.fromisoformat(due["first"])
    ) == timedelta(hours=14)
    other = make_sending_study(tmp_path / "other", 4, "", later=LATER)
    with open_study(other) as study:
        rows = study.store.units.all().with_columns(fields_json=pl.lit("{}"))
        study.store.units.add(rows.drop("imported_at_utc_us"), study.clock(), replace=True)
    answer = call("wave", "open", other, "two")
    assert answer.code == 4
    assert "4 of 4 units without {child_name}" in answer.err
    with open_study(other) as study:
        assert study.store.waves.get("two") is None
