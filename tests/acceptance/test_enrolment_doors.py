"""The Kenya template's enrolment by real telephones and a real SMS gateway, up to the draw."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from calling_study import SIP
from gateways import smpp_server
from telephones import a_line, free_ports, need_baresip, press_when_answered, write_tone
from wavewise.design.templates import template_text
from wavewise.fieldwork.channels.settings import Secrets, read_channels
from wavewise.workflow.contacts.keys import make_key_file
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.run.enrol import close_enrolment, open_enrolment
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.send.worker import SendPlan, run_worker
from wavewise.workflow.study import Study, open_study

CALLED = datetime(2021, 5, 3, 14, 1, tzinfo=UTC)  # Monday, 17:01 in Nairobi
SMPP = """
[sms]
provider = "smpp"
url = "smpp://127.0.0.1:{port}"
user = "study"
from = "Study"
timeout_seconds = 3.0
"""
ROLES = ("agrees", "refuses", "silent", "gone")


class Book:
    """Addresses of units, by channel."""

    def __init__(self, known: Mapping[str, Mapping[str, str]]) -> None:
        self._known = known

    def addresses(self, channel: str, unit_ids: Sequence[str]) -> dict[str, str]:
        known = self._known[channel]
        return {unit: known[unit] for unit in unit_ids if unit in known}


@pytest.mark.system
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_who_is_called_confirms_refuses_or_has_no_number(tmp_path: Path) -> None:
    need_baresip()
    folder = tmp_path / "study"
    prepare(folder)
    with (
        smpp_server(tmp_path) as (port, log),
        open_study(folder, clock=lambda: CALLED - timedelta(days=1)) as study,
    ):
        sip, control, rtp = free_ports(3)
        channels = SIP.format(sip=sip, control=control + 7_000, rtp=rtp + 30_000)
        (folder / "channels.toml").write_text(channels + SMPP.format(port=port), encoding="utf-8")
        register(study)
        import_people(study, folder / "people.csv", key_file=tmp_path / "study.key")
        opened = open_enrolment(study, "enrolment-1")
        assert opened.n_invited == 4
        assert {one["reason"] for one in opened.left_out} == {
            "fewer than 5 eligible in the same school",
            "not in this wave's part",
        }
        rows = study.store.enrolments.units("enrolment-1").filter(status="invited")
        unit_of = dict(zip(ROLES, rows["unit_id"], strict=True))
        asyncio.run(ask(study, tmp_path, unit_of))
        texts = log.read_text(encoding="utf-8")
        assert texts.count("reading exercises") == 3  # none to whoever refused in the call
        later = replace(study, clock=lambda: CALLED + timedelta(days=2))
        closed = close_enrolment(later, "enrolment-1")
        status = dict(
            study.store.enrolments.units("enrolment-1").select("unit_id", "reason").iter_rows()
        )
        found = {role: status[unit] for role, unit in unit_of.items()}
        assert found == {
            "agrees": None,
            "refuses": "refused",
            "silent": None,
            "gone": "number or address not valid",
        }
        assert (closed.n_enrolled, closed.n_answered) == (2, 1)
        kept = study.store.enrolments.units("enrolment-1").filter(unit_id=unit_of["agrees"])
        assert kept["consent_proof"][0].startswith("call:")
        assert kept["consent_message"][0] == "introduction"
        drawn = open_wave(later, "wave-1")
        assert drawn.n_units == 2
        strata = study.store.waves.assignment("wave-1").select("unit_id", "stratum").rows()
        assert dict(strata) == {
            unit_of["agrees"]: "north|answered",
            unit_of["silent"]: "north|no answer",
        }


def prepare(folder: Path) -> None:
    """The template's own study file, nine children, and sounds."""
    folder.mkdir()
    (folder / "study.toml").write_text(template_text("kenya-ivr"), encoding="utf-8")
    n = 9
    pl.DataFrame(
        {
            "phone_id": [f"u{i}" for i in range(n)],
            "school": ["north"] * (n - 1) + ["tiny"],
            "child_name": ["Amani"] * n,
            "score_term_2": [40] * n,
            "class": ["1"] * n,
            "phone": [f"+25470000{i:04d}" for i in range(n)],
        }
    ).write_csv(folder / "people.csv")
    for name in ("hello", "agreed", "refused", "number", "changed"):
        write_tone(folder / "prompts" / "introduction" / f"{name}.wav", 440.0, 0.5)
    make_key_file(folder.parent / "study.key")


async def ask(study: Study, folder: Path, unit_of: Mapping[str, str]) -> None:
    """Monday's calls and Tuesday's messages."""
    channels = read_channels(study.folder / "channels.toml", study.spec.flows)
    secrets = Secrets(environment={"WAVEWISE_SMPP_PASSWORD": "secret"})
    numbers = {unit: f"+254700000{i:03d}" for i, unit in enumerate(unit_of.values(), 1)}
    numbers[unit_of["gone"]] = "+254700000404"
    async with (
        a_line("agrees", folder, auto_answer=True) as (first, first_at),
        a_line("silent", folder) as (_, silent_at),
        a_line("refuses", folder, auto_answer=True) as (third, third_at),
    ):
        lines = {"agrees": first_at, "silent": silent_at, "refuses": third_at}
        lines["gone"] = third_at.replace("sip:refuses", "sip:nobody")
        voices = {unit_of[role]: address for role, address in lines.items()}
        book = Book({"voice": voices, "sms": numbers})
        owners = [
            asyncio.create_task(press_when_answered(first, [(1.0, "1")])),
            asyncio.create_task(press_when_answered(third, [(1.0, "2")])),
        ]
        plan = SendPlan(channels, secrets, book)
        await run_worker(replace(study, clock=lambda: CALLED), plan, "nothing is due")
        for owner in owners:
            owner.cancel()
    next_day = replace(study, clock=lambda: CALLED + timedelta(days=1))
    await run_worker(next_day, SendPlan(channels, secrets, book), "nothing is due")
