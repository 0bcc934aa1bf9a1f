"""Calls between real telephones on loopback: prompts are heard, keys are heard, the call ends."""

import asyncio
from pathlib import Path

import pytest

from telephones import a_line, heard, need_baresip, press_when_answered, write_tone
from wavewise.design.messages import Flow
from wavewise.errors import UnavailableError
from wavewise.fieldwork.voice.baresip import LineSettings, open_line
from wavewise.fieldwork.voice.call import Script, make_script
from wavewise.fieldwork.voice.place_call import CallResult, missed_calls, place_call
from wavewise.fieldwork.voice.prompts import PromptFolder

pytestmark = pytest.mark.system
PITCHES = {"greeting": 440.0, "basic": 880.0, "again": 1_320.0}


def reading(timeout_seconds: float = 5.0) -> Script:
    flow = {
        "start": "greeting",
        "steps": {
            "greeting": {
                "prompt": "greeting.wav",
                "keys": {"1": "exercise"},
                "timeout_seconds": timeout_seconds,
            },
            "exercise": {
                "prompt": "{level}/{set}.wav",
                "keys": {"1": "goodbye", "0": "exercise"},
                "event": "exercises_started",
            },
            "goodbye": {"prompt": "again.wav"},
        },
    }
    return make_script("reading", Flow.model_validate(flow), {"level": "basic", "set": "3"})


@pytest.fixture
def prompts(tmp_path: Path) -> PromptFolder:
    need_baresip()
    folder = tmp_path / "prompts"
    write_tone(folder / "greeting.wav", PITCHES["greeting"], 1.0)
    write_tone(folder / "basic" / "3.wav", PITCHES["basic"], 1.0)
    write_tone(folder / "again.wav", PITCHES["again"], 0.6)
    return PromptFolder(folder)


def call_phone(
    prompts: PromptFolder,
    folder: Path,
    keys: list[tuple[float, str]],
    *,
    auto_answer: bool = True,
    timeout_seconds: float = 5.0,
    ring_seconds: float = 20.0,
) -> tuple[CallResult, list[str]]:
    """A call to a phone whose owner presses keys; its result and the events told on the way."""

    async def run() -> tuple[CallResult, list[str]]:
        told: list[str] = []
        async with (
            a_line("caller", folder) as (line, _),
            a_line("phone", folder, auto_answer=auto_answer) as (phone, address),
        ):
            owner = asyncio.create_task(press_when_answered(phone, keys))
            result = await place_call(
                line,
                address,
                reading(timeout_seconds),
                prompts,
                folder,
                ring_seconds=ring_seconds,
                on_record=lambda record: told.append(record.event or ""),
            )
            owner.cancel()
        return result, told

    return asyncio.run(run())


def test_prompts_play_keys_are_heard_and_the_call_ends(prompts, tmp_path) -> None:
    # press 1 during the greeting's wait, 0 to hear the exercise again, 1 to go on
    result, told = call_phone(prompts, tmp_path, [(1.6, "1"), (1.6, "0"), (1.6, "1")])
    assert result.ended == "by us"
    assert [r.step for r in result.records] == ["exercise", "exercise"]
    assert told == ["exercises_started", "exercises_started", "call"]  # last its length
    assert 4.5 < result.seconds < 20
    (recording,) = (tmp_path / "phone").glob("*-dec.wav")
    assert heard(recording, list(PITCHES.values())) == [440.0, 880.0, 1_320.0]


def test_a_hang_up_keeps_what_was_recorded(prompts, tmp_path) -> None:
    result, told = call_phone(prompts, tmp_path, [(1.2, "1"), (1.0, "hang up")])
    assert (result.ended, told) == ("by them", ["exercises_started", "call"])


def test_silence_ends_the_call_by_time_out(prompts, tmp_path) -> None:
    result, told = call_phone(prompts, tmp_path, [], timeout_seconds=1.0)
    assert (result.ended, told) == ("by us", ["call"])
    assert 1.5 < result.seconds < 10


def test_nobody_answers(prompts, tmp_path) -> None:
    result, _ = call_phone(prompts, tmp_path, [], auto_answer=False, ring_seconds=1.5)
    assert (result.ended, result.was_answered, result.seconds) == ("no answer", False, 0.0)


def test_who_rings_is_called_back_and_not_charged(prompts, tmp_path) -> None:
    async def run() -> CallResult:
        async with (
            a_line("service", tmp_path) as (line, number),
            a_line("parent", tmp_path, auto_answer=True) as (phone, address),
        ):
            await phone.command("dial", number)
            who = await asyncio.wait_for(anext(missed_calls(line)), 10.0)
            assert who == address
            phone.forget_events()
            owner = asyncio.create_task(press_when_answered(phone, [(1.2, "1"), (1.2, "1")]))
            result = await place_call(line, who, reading(), prompts, tmp_path)
            owner.cancel()
            return result

    assert asyncio.run(run()).records[0].event == "exercises_started"


def test_a_line_that_cannot_start_says_so(prompts, tmp_path, monkeypatch) -> None:
    async def run() -> None:
        async with open_line(LineSettings("a", "127.0.0.1"), tmp_path / "silence.wav"):
            pass

    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UnavailableError, match="apt-get install baresip"):
        asyncio.run(run())
