"""Calls of a wave: telephones ring, or a provider asks; what was heard becomes outcomes."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

import web_server
from call_providers import Provider, post, provider_running
from calling_study import SIP, Book, calling_study, states
from study_folders import close_wave
from telephones import a_line, free_ports, need_baresip, press_when_answered
from wavewise.fieldwork.channels.settings import Secrets, open_channel, read_channels
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.server.app import build_app
from wavewise.server.authentication import Settings
from wavewise.workflow.send.worker import SendPlan, run_worker, send
from wavewise.workflow.study import Study


@pytest.mark.system
def test_telephones_ring_and_what_is_heard_becomes_an_outcome(tmp_path: Path) -> None:
    need_baresip()
    sip, control, rtp = free_ports(3)
    settings = SIP.format(sip=sip, control=control + 7_000, rtp=rtp + 30_000)

    async def call_everybody(study: Study) -> None:
        async with (
            a_line("answers", tmp_path, auto_answer=True) as (first, first_address),
            a_line("silent", tmp_path) as (_, silent_address),
            a_line("stops", tmp_path, auto_answer=True) as (third, third_address),
        ):
            book = Book(
                {"answers": first_address, "silent": silent_address, "stops": third_address}
            )
            owners = [
                asyncio.create_task(press_when_answered(first, [(1.0, "1")])),
                asyncio.create_task(press_when_answered(third, [(1.0, "9")])),
            ]
            channels = read_channels(tmp_path / "channels.toml", study.spec.flows)
            await run_worker(study, SendPlan(channels, Secrets(), book), "nothing is due")
            for owner in owners:
                owner.cancel()

    with calling_study(tmp_path, settings) as study:
        asyncio.run(call_everybody(study))
        found = states(study)
        assert found["answers"][0] == "answered"
        assert found["stops"][0] == "answered"
        assert found["silent"] == ("queued", "no answer")  # the schedule calls twice
        assert study.store.opt_outs.units("voice").to_list() == ["stops"]
        events = study.store.events.all()
        assert sorted(events.select("unit_id", "kind", "item").rows()) == [
            ("answers", "call", "1"),
            ("answers", "exercises_started", "1"),
            ("stops", "call", "1"),
        ]
        lengths = events.filter(kind="call")["value"]
        assert lengths.is_between(0, 60, closed="right").all()
        later = replace(study, clock=lambda: datetime.now(UTC) + timedelta(days=9))
        close_wave(later, "one")
        outcomes = study.store.waves.outcomes("one").sort("unit_id")
        assert outcomes["engaged"].to_list() == [1, 0, 0]
        assert outcomes["engaged.trials"].to_list() == [1, 1, 1]


@pytest.fixture
def provider() -> Iterator[str]:
    with provider_running() as address:
        yield address


def test_twilio_calls_follow_the_flow(
    tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVEWISE_TWILIO_AUTH_TOKEN", "token")
    channels = f"""
[voice]
provider = "twilio-voice"
base_url = "{provider}"
account = "AC1"
from = "+12025550100"
serve_url = "SERVE"
"""
    ring = KeyRing.new()
    numbers = {"answers": "+254700000001", "silent": "+254700000002", "stops": "+254700000003"}
    with calling_study(tmp_path, channels, phones=numbers, ring=ring) as study:
        server = Settings(study, ring, {"twilio_auth_token": "token"}.get)
        with web_server.running(build_app(server)) as base:
            (tmp_path / "channels.toml").write_text(channels.replace("SERVE", base))
            send(study, book=Book(numbers))
            calls = {form["To"]: form for _, form in Provider.asked}
            assert set(calls) == set(numbers.values())
            first = calls[numbers["answers"]]["Url"]
            begun = post(first, {"CallSid": "CA1"}, "token")
            gather = ET.fromstring(begun.text).find("Gather")
            assert gather.find("Play").text == f"{base}/v1/calls/prompts/greeting.wav"
            assert httpx2.get(gather.find("Play").text).headers["content-type"] == "audio/wav"
            step = post(gather.get("action"), {"CallSid": "CA1", "Digits": "1"}, "token")
            assert [part.tag for part in ET.fromstring(step.text)] == ["Play", "Hangup"]
            post(gather.get("action"), {"CallSid": "CA1", "Digits": "1"}, "token")  # told twice
            assert post(first, {"CallSid": "CA1"}, "wrong").status_code == 403
            silent = calls[numbers["silent"]]["StatusCallback"]
            post(silent, {"CallSid": "CA2", "CallStatus": "no-answer"}, "token")
            assert states(study)["silent"] == ("queued", "no answer")
            flash = {"From": numbers["silent"], "CallSid": "CA9"}
            ended = {"CallSid": "CA1", "CallStatus": "completed", "CallDuration": "37"}
            for _ in range(2):  # told twice, kept once
                post(calls[numbers["answers"]]["StatusCallback"], ended, "token")
            rung = post(f"{base}/v1/calls/twilio/inbound", flash, "token")
            assert ET.fromstring(rung.text).find("Reject") is not None
        n_before = len(Provider.asked)
        send(study, book=Book(numbers))  # whoever rang is called at once, not in two hours
        assert [form["To"] for _, form in Provider.asked[n_before:]] == [numbers["silent"]]
        events = study.store.events.all().select("unit_id", "kind", "item", "value").rows()
        assert sorted(events, key=lambda row: row[:2]) == [
            ("answers", "call", "1", 37.0),
            ("answers", "exercises_started", "1", None),
            ("silent", "flash", None, None),
        ]


def test_africas_talking_calls_follow_the_flow(
    tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVEWISE_AFRICAS_TALKING_API_KEY", "key")
    channels = f"""
[voice]
provider = "africas-talking-voice"
base_url = "{provider}"
username = "study"
from = "+254711000000"
"""
    numbers = {"answers": "+254700000001", "silent": "+254700000002", "stops": "+254700000003"}
    with calling_study(tmp_path, channels) as study:
        send(study, book=Book(numbers))
        asked = {form["to"]: form["clientRequestId"] for _, form in Provider.asked}
        server = Settings(study, None, {"africas_talking_callback_token": "t"}.get)
        with web_server.running(build_app(server)) as base:
            door = f"{base}/v1/calls/africas-talking?token=t"
            form = {
                "sessionId": "AT1",
                "isActive": "1",
                "direction": "Outbound",
                "clientRequestId": asked[numbers["stops"]],
            }
            digits = ET.fromstring(post(door, form).text).find("GetDigits")
            ended = post(digits.get("callbackUrl"), {**form, "dtmfDigits": "9"})
            assert ET.fromstring(ended.text).find("Play").get("url").endswith("greeting.wav")
            assert httpx2.post(f"{base}/v1/calls/africas-talking?token=x").status_code == 403
            post(door, {**form, "isActive": "0", "durationInSeconds": "12"})
            kept = study.store.events.all(kinds=["call"]).select("unit_id", "value").rows()
            assert kept == [("stops", 12.0)]
        assert study.store.opt_outs.units("voice").to_list() == ["stops"]


def test_wrong_settings_of_lines_are_named(tmp_path: Path) -> None:
    with calling_study(tmp_path, SIP.replace("120", "30").format(sip=1, control=2, rtp=3)):
        settings = read_channels(tmp_path / "channels.toml")["voice"]
        with pytest.raises(Exception, match="needed more than the longest call"):
            open_channel(settings, Secrets())
