"""A call through a flow: the six formats of the study, typed numbers, wrong keys, providers."""

import tomllib
import xml.etree.ElementTree as ET
from urllib.parse import parse_qsl, urlsplit

import pytest

from wavewise.design import find_faults, template_text
from wavewise.design.messages import Flow
from wavewise.errors import InputError
from wavewise.fieldwork.voice.answers import (
    africas_talking_xml,
    call_from_query,
    query_of,
    reject_twiml,
    twiml,
)
from wavewise.fieldwork.voice.call import Call, make_script
from wavewise.fieldwork.voice.prompts import PromptFolder

OPT_OUT = {
    "start": "introduction",
    "steps": {
        "introduction": {"prompt": "intro.wav", "keys": {"9": "stop", "2": "type_number"}},
        "stop": {"prompt": "stopped.wav", "action": "opt out"},
        "type_number": {
            "prompt": "type.wav",
            "collect": {"least": 9, "most": 12, "next": "changed"},
        },
        "changed": {"prompt": "changed.wav", "action": "change number"},
    },
}


def begin(flow: dict, **fields: str) -> Call:
    return Call.begin(make_script("a flow", Flow.model_validate(flow), fields))


def listen(call: Call, keys: str) -> list[str]:
    """The prompts in the order in which somebody who presses these keys hears them."""
    heard = [call.prompt]
    for key in keys:
        call = call.press(key) if key != "." else call.silence()
        heard.append(call.prompt)
    return heard


@pytest.mark.parametrize("by", ["parent_led", "ivr_led"])
@pytest.mark.parametrize(("level", "fixed"), [("advanced", False), ("intermediate", True)])
def test_kenya_formats_with_a_level(by: str, level: str, fixed: bool) -> None:
    flow = kenya_flow(by)
    call = Call.begin(make_script(by, flow, {"level": level, "set": "4"}))
    exercises = [f"{by}/{level}/4/{k}.wav" for k in (1, 2, 2, 3, 4)]
    assert listen(call, "11011") == ["greeting.wav", *exercises]
    assert [r.event for r in call.press_all("1").records] == ["exercises_started"]
    assert call.silence().is_over


@pytest.mark.parametrize("by", ["parent_led", "ivr_led"])
def test_kenya_formats_with_a_menu(by: str) -> None:
    call = Call.begin(make_script(by, kenya_flow(f"{by}_menu"), {"set": "9"}))
    assert listen(call, "131") == [
        "greeting.wav",
        "menu.wav",
        f"{by}/advanced/9/1.wav",
        f"{by}/advanced/9/2.wav",
    ]
    started = call.press("1").press("2").records
    assert [(r.step, r.event) for r in started] == [("intermediate_1", "exercises_started")]


def kenya_flow(name: str) -> Flow:
    return Flow.model_validate(tomllib.loads(template_text("kenya-ivr"))["flows"][name])


def test_the_third_wrong_key_counts_as_silence() -> None:
    call = begin(OPT_OUT)
    assert call.press("5").prompt == "intro.wav"
    assert call.press("5").press("5").press("9").records[0].action == "opt out"
    assert call.press("5").press("5").press("5").is_over


def test_a_number_is_typed() -> None:
    call = begin(OPT_OUT).press("2")
    for typed in ("0712345678#", "254712345678"):  # ended by #, or by the last digit
        after = call.press_all(typed)
        assert after.records[-1].action == "change number"
        assert after.records[-1].number == typed.rstrip("#")
    assert call.press_all("0712#").records == ()  # too short: asked again
    assert call.press_all("0712#").digits == ""
    assert call.silence().is_over


def test_twiml_plays_to_the_next_key_and_comes_back_to_the_same_place() -> None:
    call = begin(OPT_OUT)
    answer = twiml(call, "https://example.test/calls/7", lambda p: f"https://example.test/{p}")
    gather = ET.fromstring(answer.text).find("Gather")
    assert gather.find("Play").text == "https://example.test/intro.wav"
    assert (gather.get("numDigits"), gather.get("timeout")) == ("1", "8")
    back = call_from_query(call, dict(parse_qsl(urlsplit(gather.get("action")).query)))
    assert (back.step, back.digits, back.wrong_keys) == (call.step, "", 0)

    ended = twiml(back.press("9"), "u", lambda p: p)
    root = ET.fromstring(ended.text)
    assert [child.tag for child in root] == ["Play", "Hangup"]
    assert [r.action for r in ended.call.records] == ["opt out"]
    wrong = back.press("5")
    assert call_from_query(call, dict(parse_qsl(query_of(wrong)))).wrong_keys == 1


def test_twiml_gathers_a_number_up_to_its_end_key() -> None:
    answer = twiml(begin(OPT_OUT).press("2"), "u", lambda p: p)
    gather = ET.fromstring(answer.text).find("Gather")
    assert (gather.get("numDigits"), gather.get("finishOnKey")) == ("12", "#")
    # Twilio sends the digits without the end key
    assert answer.call.press_all("0712345678").records[-1].number == "0712345678"


def test_africas_talking_xml() -> None:
    call = begin(OPT_OUT)
    answer = africas_talking_xml(call, "https://example.test/c?key=1", lambda p: f"h/{p}")
    digits = ET.fromstring(answer.text).find("GetDigits")
    assert digits.find("Play").get("url") == "h/intro.wav"
    assert digits.get("callbackUrl") == "https://example.test/c?key=1&step=introduction"
    ended = africas_talking_xml(call.press("9"), "u", lambda p: p)
    assert [child.tag for child in ET.fromstring(ended.text)] == ["Play"]
    assert ET.fromstring(reject_twiml()).find("Reject").get("reason") == "busy"


def test_what_cannot_be_played_is_found_before_a_call(tmp_path) -> None:
    with pytest.raises(InputError, match="'level' in the prompt"):
        make_script("a", kenya_flow("parent_led"), {"set": "1"})
    circle = {
        "start": "a",
        "steps": {
            "a": {"prompt": "a", "on_timeout": "b"},
            "b": {"prompt": "b", "on_timeout": "a"},
        },
    }
    with pytest.raises(InputError, match="for ever"):
        begin(circle)
    with pytest.raises(InputError, match="needed one of its steps"):
        Call.at(begin(OPT_OUT).script, "nowhere")
    (tmp_path / "not.wav").write_bytes(b"RIFF????WAVE")
    folder = PromptFolder(tmp_path)
    places = [str(f) for f in folder.faults(("missing.wav", "not.wav", "../../etc/passwd"))]
    assert len(places) == 3
    assert "no such file" in places[0]
    assert "leaves the folder" in places[2]


def test_a_study_file_with_a_wrong_flow_names_each_fault() -> None:
    text = template_text("kenya-ivr").replace(
        "[[messages]]",
        """[flows.welcome]
start = "hello"
steps.hello = { prompt = "a.wav", keys = { "12" = "type" } }
steps.type = { prompt = "b.wav", collect = { least = 9, most = 3, next = "nowhere" } }

[[messages]]""",
        1,
    )
    faults = {fault.path for fault in find_faults(tomllib.loads(text))}
    assert {
        "flows.welcome.steps.hello.keys.12",
        "flows.welcome.steps.type.collect",
        "flows.welcome.steps.type.collect.next",
    } <= faults
