"""People who ring the study's number over SIP, and what they change: the worker hears them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from calling_study import SIP, calling_study, states
from telephones import a_line, free_ports, need_baresip, press_when_answered
from wavewise.fieldwork.channels.settings import Secrets, read_channels
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.workflow.contacts.contacts import ContactBook, list_changes, restore_contact
from wavewise.workflow.contacts.opt_outs import opt_out
from wavewise.workflow.send.calls import FLASH, UNKNOWN_CALLER, VOICE, call_again, call_back
from wavewise.workflow.send.worker import SendPlan, run_worker
from wavewise.workflow.study import Study

PHONES = {"parent": "+254700000001", "refuses": "+254700000002", "later": "+254700000003"}


async def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.1)


def settings_and_number() -> tuple[str, str]:
    """Settings of lines on free ports, and the address that people ring."""
    sip, control, rtp = free_ports(3)
    text = SIP.format(sip=sip, control=control + 7_000, rtp=rtp + 30_000)
    return text, f"sip:study@127.0.0.1:{sip}"


@asynccontextmanager
async def working(study: Study, ring: KeyRing | None) -> AsyncIterator[None]:
    """A worker that goes on until the block ends."""
    channels = read_channels(study.folder / "channels.toml", study.spec.flows)
    book = None if ring is None else ContactBook(study.store, ring)
    stop = asyncio.Event()
    ways = SendPlan(channels, Secrets(), book, ring=ring)
    worker = asyncio.create_task(run_worker(study, ways, "stopped", stop))
    try:
        yield
    finally:
        stop.set()
        await worker


def flash_events(study: Study) -> list[str]:
    return study.store.events.all(kinds=[FLASH])["unit_id"].sort().to_list()


@pytest.mark.system
def test_who_rings_is_called_back_and_whoever_refused_is_not(tmp_path: Path) -> None:
    need_baresip()
    channels, number = settings_and_number()
    ring = KeyRing.new()

    async def run() -> None:
        async with (
            a_line("parent", tmp_path, auto_answer=True) as (parent, parent_address),
            a_line("refuses", tmp_path) as (refuses, refuses_address),
            a_line("stranger", tmp_path) as (stranger, _),
        ):
            phones = {"parent": parent_address, "refuses": refuses_address}
            with calling_study(tmp_path, channels, phones=phones, ring=ring) as study:
                opt_out(study, ["refuses"], "by hand", "word of mouth")
                study.store.outbox.pause(study.clock())  # until the next try is two hours off
                async with working(study, ring):
                    waiting = study.store.calls.waiting
                    await until(lambda: len(waiting(VOICE, ["parent"])) == 1)
                    (row,) = waiting(VOICE, ["parent"])
                    later = study.clock() + timedelta(hours=2)
                    us = round(later.timestamp() * 1e6)
                    study.store.outbox.postpone([row.outbox_id], us, us + 1)
                    study.store.outbox.resume()
                    for phone in (stranger, refuses, parent):
                        await phone.command("dial", number)
                    await until(lambda: len(flash_events(study)) == 3)
                    assert flash_events(study) == ["parent", "refuses", UNKNOWN_CALLER]
                    parent.forget_events()
                    owner = asyncio.create_task(press_when_answered(parent, [(1.0, "1")]))
                    await until(lambda: states(study)["parent"][0] == "answered")
                    owner.cancel()
                assert states(study)["refuses"] == ("cancelled", "refused")
                found = study.store.events.all(kinds=["exercises_started"])
                assert found["unit_id"].to_list() == ["parent"]

    asyncio.run(run())


@pytest.mark.system
def test_a_number_that_is_typed_during_a_call_is_called_from_then_on(tmp_path: Path) -> None:
    need_baresip()
    channels, _ = settings_and_number()
    ring = KeyRing.new()

    async def run() -> None:
        async with a_line("parent", tmp_path, auto_answer=True) as (parent, address):
            phones = {"parent": address}
            with calling_study(tmp_path, channels, phones=phones, ring=ring) as study:
                keys = [(1.2, "2"), *((0.25, key) for key in "700000009"), (0.3, "#")]
                owner = asyncio.create_task(press_when_answered(parent, keys))
                async with working(study, ring):
                    await until(lambda: states(study).get("parent", ("",))[0] == "answered")
                owner.cancel()
                book = ContactBook(study.store, ring)
                assert book.addresses(VOICE, ["parent"]) == {"parent": "700000009"}
                (change,) = study.store.contacts.changes("parent").to_dicts()
                assert (change["source"], change["channel"]) == ("call", VOICE)
                former = (change["former_key_id"], change["former_encrypted"])
                assert ring.open("parent", VOICE, *former) == address
                for name in ("study.db", "study.db-wal"):
                    assert b"700000009" not in (tmp_path / name).read_bytes()
                assert "call" in list_changes(study).summary()
                restore_contact(study, "parent", ring=ring)
                assert book.addresses(VOICE, ["parent"]) == {"parent": address}
                assert study.store.contacts.changes("parent")["source"].to_list() == [
                    "call",
                    "restored by hand",
                ]

    asyncio.run(run())


@pytest.mark.system
def test_an_opt_out_call_cancels_at_once_even_if_the_worker_dies(tmp_path: Path) -> None:
    """The opt-out is on disk while the last prompt still plays; kill -9 leaves no line behind."""
    need_baresip()
    channels, _ = settings_and_number()
    ring = KeyRing.new()
    worker = """
import asyncio, sys
from pathlib import Path
from wavewise.cli import main
main()
"""

    async def run() -> None:
        async with a_line("parent", tmp_path, auto_answer=True) as (parent, address):
            phones = {"parent": address}
            with calling_study(tmp_path, channels, phones=phones, ring=ring) as study:
                environment = {**os.environ, "WAVEWISE_KEYS": ring.text()}
                command = [sys.executable, "-c", worker, "send", str(tmp_path), "--until-done"]
                with subprocess.Popen(command, env=environment, start_new_session=True) as process:
                    # Pressed more than once: on a busy machine one key can come too early or late.
                    keys = [(0.7, "9")] * 4
                    owner = asyncio.create_task(press_when_answered(parent, keys))
                    refused = study.store.opt_outs.units
                    try:
                        await until(lambda: refused(VOICE).to_list() == ["parent"], 90.0)
                    finally:
                        process.kill()
                owner.cancel()
                assert states(study)["parent"][0] in {"sending", "answered"}
                (opt_out,) = study.store.opt_outs.all().to_dicts()
                assert opt_out["source"] == "opt-out call"
        control = read_channels(tmp_path / "channels.toml")["voice"].options["control_port"]
        await until(lambda: not listens(int(control)) and not listens(int(control) + 10))

    asyncio.run(run())


def listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_each_call_of_a_set_has_time_of_its_own(tmp_path: Path) -> None:
    """Three calls two hours apart take longer than a message may be late: all three go out."""
    with calling_study(tmp_path, '[voice]\nprovider = "file"\n', phones=PHONES) as study:
        from wavewise.workflow.send.queue import queue_wave

        queue_wave(study, "one", study.clock())
        (row, *_) = study.store.calls.waiting(VOICE, ["parent"])
        more = {**row.content, "attempts": {"most": 3, "every_hours": 2.0}}
        due = row.due_at_utc_us
        for n_calls, hours in ((1, 2), (2, 4)):
            now = datetime.now(UTC) + timedelta(hours=hours - 2)
            then = replace(study, clock=lambda now=now: now)
            at, until_us = call_again(then, replace(row, attempts=n_calls, content=more))
            assert at >= due + hours * 3_600_000_000
            assert until_us >= at + 3 * 3_600_000_000
        assert call_again(study, replace(row, attempts=3, content=more)) is None


def test_nothing_that_is_due_later_is_brought_forward(tmp_path: Path) -> None:
    ring = KeyRing.new()
    channels = '[voice]\nprovider = "file"\n'
    with calling_study(tmp_path, channels, phones=PHONES, ring=ring) as study:
        from wavewise.workflow.send.queue import queue_wave

        queue_wave(study, "one", study.clock())
        early = replace(study, clock=lambda: datetime.now(UTC) - timedelta(hours=1))
        told = call_back(early, ring, "sip:254700000003@provider.example;user=phone", "c1")
        assert (told.n_units, told.n_moved) == (1, 0)
        now = call_back(study, ring, "tel:+254-700-000-003", "c2")
        assert (now.n_units, now.n_moved) == (1, 1)
        again = call_back(study, ring, "tel:+254-700-000-003", "c2")  # told twice
        assert (again.n_units, flash_events(study)) == (1, ["later", "later"])
        assert call_back(study, None, "+254700000003", "c3").n_units == 0
        assert b"700000003" not in (tmp_path / "study.db").read_bytes()
