"""The six formats of the Kenya template and a call that introduces it, by both providers.

What each format must play is written by hand here, not read from the template.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import wavewise.workflow.study as study_module
import web_server
from call_providers import Provider, post, provider_running
from set_clock import Clock, use_clock
from study_folders import done
from wavewise.server.app import build_app
from wavewise.server.authentication import Settings
from wavewise.workflow.contacts.keys import read_key_file

SETS_BEGIN = datetime(2021, 5, 11, 15, 1, tzinfo=UTC)  # 18:01 in Nairobi
INTRODUCTION_AT = SETS_BEGIN - timedelta(days=4)
LEAD = {"1": "parent_led", "2": "ivr_led"}
SCORES = {"basic": 10, "intermediate": 40, "advanced": 70}
CHANNELS = {
    "twilio": """
[voice]
provider = "twilio-voice"
base_url = "PROVIDER"
account = "AC1"
from = "+12025550100"
serve_url = "SERVE"
""",
    "africas-talking": """
[voice]
provider = "africas-talking-voice"
base_url = "PROVIDER"
username = "study"
from = "+254711000000"
""",
}
SECRETS = {"twilio_auth_token": "token", "africas_talking_callback_token": "t"}
INTRODUCTION = """
[flows.introduction]
start = "hello"
steps.hello = { prompt = "{voice}.wav", keys = { "1" = "goodbye", "9" = "stop" } }
steps.stop = { prompt = "stopped.wav", action = "opt out" }
steps.goodbye = { prompt = "goodbye.wav" }

[[messages]]
id = "mother"
channel = "voice"
flow = "introduction"
fields = { voice = "mother" }

[[messages]]
id = "teacher"
channel = "voice"
flow = "introduction"
fields = { voice = "teacher" }

[schedules.introduction]
days = ["fri"]
at = "18:00"
sets = 1
"""
FIRST_WAVE = """
[[waves]]
id = "wave-0"
label = "Introduction"
units = "all"
starts = 2021-05-07
schedule = "introduction"
window_days = 1
arms = ["mother", "teacher"]
shares = "equal"

[[waves]]
id = "wave-1"
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    for name, value in (("TWILIO_AUTH_TOKEN", "token"), ("AFRICAS_TALKING_API_KEY", "key")):
        monkeypatch.setenv(f"WAVEWISE_{name}", value)
    return use_clock(monkeypatch, INTRODUCTION_AT - timedelta(days=2))


def people(n: int = 84) -> pl.DataFrame:
    levels = list(SCORES)
    return pl.DataFrame(
        {
            "phone_id": [f"u{i:03d}" for i in range(n)],
            "school": ["north" if i % 2 else "south" for i in range(n)],
            "call_status": ["reached"] * n,
            "child_name": ["Amani"] * n,
            "score_term_2": [SCORES[levels[i % 3]] for i in range(n)],
            "class": ["3"] * n,
            "phone": [f"+2547000{i:05d}" for i in range(n)],
        }
    )


def expected(arm: str, level: str) -> list[str]:
    """What is played to who presses 1 everywhere, and 3 in the menu."""
    lead = LEAD[arm[1]]
    level = {"A": level, "B": "intermediate", "C": "advanced"}[arm[2]]
    menu = ["menu.wav"] if arm[2] == "C" else []
    exercises = [f"{lead}/{level}/1/{number}.wav" for number in range(1, 5)]
    return ["greeting.wav", *menu, *exercises, "goodbye.wav"]


class Caller:
    """One call, as a provider leads it."""

    def __init__(self, provider: str, base: str, form: dict[str, str], number: int) -> None:
        self.provider, self.base = provider, base
        self.call = {"CallSid": f"CA{number}"}
        self.url = form.get("Url", f"{base}/v1/calls/africas-talking?token=t")
        if provider == "africas-talking":
            self.call = {
                "sessionId": f"AT{number}",
                "isActive": "1",
                "direction": "Outbound",
                "clientRequestId": form["clientRequestId"],
            }

    def ask(self, digits: str | None) -> ET.Element:
        field = "Digits" if self.provider == "twilio" else "dtmfDigits"
        form = self.call | ({} if digits is None else {field: digits})
        token = "token" if self.provider == "twilio" else ""
        answer = post(self.url, form, token)
        assert answer.status_code == 200, answer.text
        return ET.fromstring(answer.text)

    def through(self, keys: dict[str, str]) -> list[str]:
        """Prompts in their order, pressing 1 or what `keys` says for a prompt."""
        heard: list[str] = []
        digits = None
        for _ in range(20):
            answer = self.ask(digits)
            played = [self._name(part) for part in answer.iter("Play")]
            heard += played
            wait = answer.find("Gather" if self.provider == "twilio" else "GetDigits")
            if wait is None:
                return heard
            self.url = wait.get("action") or wait.get("callbackUrl") or ""
            digits = keys.get(played[-1], "1")
        raise AssertionError("the call does not end")

    def _name(self, part: ET.Element) -> str:
        return (part.text or part.get("url") or "").split("/v1/calls/prompts/")[1]


@pytest.fixture(params=list(CHANNELS))
def study(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Path]:
    folder = tmp_path / "study"
    done("init", folder, "--template", "kenya-ivr")
    text = (folder / "study.toml").read_text(encoding="utf-8")
    text = _without(text, '[[outcomes]]\nid = "reading"', "[models.engagement]")
    text = _without(text, "[models.reading]", "[[waves]]")  # and the enrolment
    text = _without(text, "# Before each wave a call", '[[messages]]\nid = "T1A"')
    text = _without(text, "[schedules.introduction]", "[schedules.exercise_sets]")
    text = _without(text, '[[waves]]\nid = "wave-2"', "[analysis]")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("reading ="))
    text = text.replace("units = { share = 0.5 }", 'units = "all"').replace(', "wave-2"]', "]")
    text = text.replace('[[waves]]\nid = "wave-1"\n', INTRODUCTION + FIRST_WAVE, 1)
    (folder / "study.toml").write_text(text, encoding="utf-8")
    people().write_csv(tmp_path / "people.csv")
    done("contacts", "make-key", tmp_path / "study.key")
    done("register", folder)
    done("people", "import", folder, tmp_path / "people.csv", "--key-file", tmp_path / "study.key")
    yield folder


def _without(text: str, first: str, after: str) -> str:
    start = text.index(first)
    return text[:start] + text[text.index(after, start) :]


def run_calls(
    folder: Path, provider: str, wave: str, keys: dict[str, dict[str, str]]
) -> dict[str, list[str]]:
    """Send what is due and lead every call that the provider was asked for; prompts by unit."""
    key = folder.parent / "study.key"
    heard: dict[str, list[str]] = {}
    unit_of = dict(people().select("phone", "phone_id").iter_rows())
    with provider_running() as address, study_module.open_study(folder) as opened:
        settings = Settings(opened, read_key_file(key), SECRETS.get)
        with web_server.running(build_app(settings)) as base:
            channels = CHANNELS[provider].replace("PROVIDER", address).replace("SERVE", base)
            (folder / "channels.toml").write_text(channels, encoding="utf-8")
            done("wave", "open", folder, wave)
            done("send", folder, "--key-file", key)
            for number, (_, form) in enumerate(Provider.asked):
                unit = unit_of[form.get("To") or form["to"]]
                caller = Caller(provider, base, form, number)
                heard[unit] = caller.through(keys.get(unit, {}))
    return heard


def test_introduction_then_six_formats(
    study: Path, clock: Clock, request: pytest.FixtureRequest
) -> None:
    provider = request.node.callspec.params["study"]
    ids = people()["phone_id"].to_list()
    stops = {unit: {"mother.wav": "9", "teacher.wav": "9"} for unit in ids[::10]}
    clock.now = INTRODUCTION_AT
    heard = run_calls(study, provider, "wave-0", stops)
    assert sorted(heard) == ids  # everybody is asked, the later control too
    for unit, (hello, end) in heard.items():
        assert hello in {"mother.wav", "teacher.wav"}
        assert end == ("stopped.wav" if unit in stops else "goodbye.wav")
    with study_module.open_study(study) as opened:
        assert sorted(opened.store.opt_outs.units("voice").to_list()) == sorted(stops)

    clock.now = SETS_BEGIN
    heard = run_calls(study, provider, "wave-1", {u: {"menu.wav": "3"} for u in ids})
    with study_module.open_study(study) as opened:
        arms = dict(opened.store.waves.assignment("wave-1").select("unit_id", "arm").iter_rows())
        started = (
            opened.store.events.all(kinds=["exercises_started"]).select("unit_id", "item").rows()
        )
    called = {unit for unit, arm in arms.items() if arm != "control"}
    assert set(arms) == set(ids) - set(stops)  # who refused is not drawn
    assert set(heard) == called
    assert {arms[unit] for unit in heard} == {"T1A", "T1B", "T1C", "T2A", "T2B", "T2C"}
    level_of = dict(zip(ids, list(SCORES) * (len(ids) // 3), strict=True))
    for unit, prompts in heard.items():
        assert prompts == expected(arms[unit], level_of[unit]), arms[unit]
    assert sorted(started) == sorted((unit, "1") for unit in called)
