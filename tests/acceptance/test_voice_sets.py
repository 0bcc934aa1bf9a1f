"""Nine exercise sets over SIP, called until somebody answers: successes out of nine.

The other side is SIPp: telephones that are busy, out of reach, ring in vain, are answered in
silence, and send keys as RFC 2833 events and as INFO. Every verb is the command line's own; only
its clock is set, so that nine days pass.
"""

import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest

import wavewise.workflow.study as study_module
from calling_study import SIP
from set_clock import Clock, use_clock
from sipp import flash, need_sipp, telephones
from study_folders import done
from telephones import free_ports, is_free, need_baresip, write_tone

pytestmark = pytest.mark.system

BEGINS = datetime(2021, 5, 11, 17, tzinfo=UTC)
N_SETS = 9
STUDY = """
[study]
id = "nine-sets"
title = "Nine exercise sets"
seed = 5
time_zone = "UTC"

[units]
id = "phone_id"
address = { voice = "phone" }

[flows.reading]
start = "greeting"
steps.greeting.prompt = "greeting.wav"
steps.greeting.keys = { "1" = "exercise", "9" = "stop" }
steps.greeting.timeout_seconds = 1
steps.exercise = { prompt = "{set}.wav", event = "exercises_started" }
steps.stop = { prompt = "greeting.wav", action = "opt out" }

[[messages]]
id = "T1"
channel = "voice"
flow = "reading"

[[messages]]
id = "T2"
channel = "voice"
flow = "reading"

[schedules.daily]
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
at = "17:00"
sets = 9
attempts = { most = 3, every_hours = 2, call_back = true }

[[outcomes]]
id = "engaged"
primary = true
kind = "successes"
event = "exercises_started"
out_of = "sets"

[[waves]]
id = "one"
starts = 2021-05-11
window_days = 12
schedule = "daily"
control_share = "1/3"
arms = ["T1", "T2"]
"""
# What a telephone does at each attempt of a set; sets that are not named are as "else".
KEY = "presses 1" if os.geteuid() == 0 else "presses 1 (INFO)"  # SIPp plays sound as root only
PLANS: tuple[dict[int | str, tuple[str, ...]], ...] = (
    {"else": (KEY,)},
    {1: ("busy", KEY), 2: ("unavailable", "rings", "presses 1 (INFO)"), "else": (KEY,)},
    {"else": ("answers",)},
    {1: (KEY,), 3: ("presses 9 (INFO)",), 2: ("answers",), "else": ()},
    {1: ("busy", "busy", "busy"), 4: ("answers",), "else": ("presses 1 (INFO)",)},
    {3: ("busy", "flash", KEY), "else": (KEY,)},
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return use_clock(monkeypatch, BEGINS)


def opened_study(folder: Path, clock: Clock, ports: list[int]) -> tuple[Path, list[str]]:
    """A study of nine telephones in an open wave; the treated ones in the order of their ids."""
    study, key = folder / "study", folder / "study.key"
    (study / "prompts").mkdir(parents=True)
    (study / "study.toml").write_text(STUDY, encoding="utf-8")
    port = ports[0]  # of each kind seven lines, 10 apart
    lines = SIP.format(sip=port, control=port + 7_000, rtp=port + 30_000).replace("= 2\n", "= 6\n")
    (study / "channels.toml").write_text(lines.replace("1.5", "1"), encoding="utf-8")
    for name in ("greeting", *(str(s + 1) for s in range(N_SETS))):
        write_tone(study / "prompts" / f"{name}.wav", 440.0, 0.2)
    ids = [f"phone-{i}" for i in range(9)]
    phones = [f"sip:{unit}@127.0.0.1:{port}" for unit, port in zip(ids, ports[20:], strict=False)]
    pl.DataFrame({"phone_id": ids, "phone": phones}).write_csv(folder / "people.csv")
    clock.now = BEGINS - timedelta(days=1)
    done("contacts", "make-key", key)
    done("register", study)
    done("people", "import", study, folder / "people.csv", "--key-file", key)
    done("wave", "open", study, "one")
    with study_module.open_study(study) as opened:
        arms = dict(opened.store.waves.assignment("one").select("unit_id", "arm").iter_rows())
    return study, [unit for unit in ids if arms[unit] != "control"]


@pytest.mark.full
def test_engagement_is_successes_out_of_nine_sets(tmp_path: Path, clock: Clock) -> None:
    need_baresip()
    need_sipp()
    ports = free_ports(40)
    study, treated = opened_study(tmp_path, clock, ports)
    assert len(treated) == len(PLANS)
    port_of = {f"phone-{i}": port for i, port in enumerate(ports[20:29])}
    plan_of = dict(zip(treated, PLANS, strict=True))
    send = partial(done, "send", study, "--key-file", tmp_path / "study.key")
    n_calls = 0
    for number in range(1, N_SETS + 1):
        plans = {unit: plan.get(number, plan["else"]) for unit, plan in plan_of.items()}
        for attempt in range(3):
            does = {u: plan[attempt] for u, plan in plans.items() if len(plan) > attempt}
            due = BEGINS + timedelta(days=number - 1, hours=2 * attempt, minutes=1)
            flashers = [unit for unit, what in does.items() if what == "flash"]
            for unit in flashers:  # who rings is called back at once, not at the next attempt
                _flash(study, tmp_path, clock, unit, port_of[unit], due - timedelta(hours=1))
                plans[unit] = tuple(w for w in plans[unit] if w != "flash")
                does[unit] = plans[unit][attempt]
            called = {port_of[unit]: what for unit, what in does.items()}
            if not called:
                continue
            clock.now = due if not flashers else due - timedelta(minutes=58)
            n_calls += len(called)
            with telephones(tmp_path, called):
                send()
    clock.now = BEGINS + timedelta(days=30)
    done("wave", "close", study, "one")
    expected = {unit: _successes(plan) for unit, plan in plan_of.items()}
    with study_module.open_study(study) as opened:
        rows = (
            opened.store.waves.outcomes("one").select("unit_id", "engaged", "engaged.trials").rows()
        )
        outbox = opened.store.deliveries.rows()
        opt_outs = opened.store.opt_outs.all()
    assert {unit: n for unit, n, _ in rows} == {
        f"phone-{i}": expected.get(f"phone-{i}", 0) for i in range(9)
    }
    assert sorted(expected.values()) == [0, 1, 7, 9, 9, 9]
    assert {trials for _, _, trials in rows} == {N_SETS}
    assert outbox["unit_id"].unique().sort().to_list() == treated  # no control is called
    assert outbox["attempts"].sum() == n_calls
    failed = outbox.filter(state="failed").select("unit_id", "slot", "reason").rows()
    assert failed == [(treated[4], 0, "busy (3 calls)")]
    assert opt_outs.select("unit_id", "source").rows() == [(treated[3], "opt-out call")]
    assert outbox.filter(unit_id=treated[3])["state"].to_list()[:3] == ["answered"] * 3
    analysis = done("analyze", study, "one", "--json").facts
    assert {row["arm"] for row in analysis["effects"][0]["rows"]} >= {"T1", "T2"}


def _successes(plan: dict[int | str, tuple[str, ...]]) -> int:
    sets = (plan.get(number, plan["else"]) for number in range(1, N_SETS + 1))
    return sum(any(what.startswith("presses 1") for what in one) for one in sets)


def _flash(study: Path, folder: Path, clock: Clock, unit: str, port: int, at: datetime) -> None:
    """Ring the study's number while a worker runs that has nothing else to do."""
    import asyncio

    from wavewise.workflow.contacts.keys import read_key_file
    from wavewise.workflow.send.calls import FLASH
    from wavewise.workflow.send.worker import find_send_plan, run_worker

    clock.now = at
    options = (study / "channels.toml").read_text().split("sip_port = ")[1]
    number = f"sip:study@127.0.0.1:{int(options.split()[0])}"
    key = folder / "study.key"
    assert read_key_file(key)

    async def ring() -> None:
        with study_module.open_study(study) as opened:
            opened.store.outbox.pause(clock.now)  # the call itself comes with the next worker
            stop = asyncio.Event()
            ways = find_send_plan(opened, key)
            worker = asyncio.create_task(run_worker(opened, ways, "stopped", stop))
            while is_free(int(options.split()[0])):  # the line is not there yet
                await asyncio.sleep(0.1)
            await asyncio.sleep(1.5)
            await asyncio.to_thread(flash, folder, number, unit, port, hangs_up=True)
            for _ in range(600):
                if opened.store.events.all(kinds=[FLASH]).height:
                    break
                await asyncio.sleep(0.05)
            stop.set()
            await worker
            assert opened.store.events.all(kinds=[FLASH])["unit_id"].to_list() == [unit]
            opened.store.outbox.resume()

    asyncio.run(ring())
