"""What a provider is told to do next: the step of a call as TwiML or as Africa's Talking XML."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, SubElement, tostring

from wavewise.fieldwork.voice.call import END_OF_NUMBER, Call

__all__ = ["Answer", "africas_talking_xml", "call_from_query", "query_of", "reject_twiml", "twiml"]

PromptUrl = Callable[[str], str]


@dataclass(frozen=True)
class Answer:
    """What the provider is told, and where the call is after it."""

    text: str  # The XML.
    # The call at the step that waits for a key, or at its end; its records include those of the
    # announcements on the way.
    call: Call


def query_of(call: Call) -> str:
    """The place in a call as a URL's query, which the provider sends back with the next key."""
    place = {"step": call.step, "digits": call.digits, "wrong_keys": str(call.wrong_keys)}
    return urlencode({name: value for name, value in place.items() if value not in {"", "0"}})


def call_from_query(call: Call, query: dict[str, str]) -> Call:
    """The call at the place that :func:`query_of` wrote."""
    wrong_keys = query.get("wrong_keys", "0")
    return Call.at(
        call.script,
        query.get("step", call.script.start),
        query.get("digits", ""),
        int(wrong_keys) if wrong_keys.isdigit() else 0,
    )


def twiml(call: Call, action_url: str, prompt_url: PromptUrl) -> Answer:
    """TwiML that plays the call's prompts up to the next one that waits for a key.

    References
    ----------
    Twilio, TwiML for Programmable Voice: the verbs Gather, Play, Hangup.
    """
    response = Element("Response")
    here = _played_through(call, lambda prompt: _play(response, prompt_url(prompt)))
    if here.is_over:
        SubElement(response, "Hangup")
        return Answer(_text(response), here)
    step = here.current
    options = {
        "input": "dtmf",
        "timeout": f"{max(step.timeout_seconds, 1):.0f}",
        "actionOnEmptyResult": "true",
        "action": _with_query(action_url, here),
        "method": "POST",
    }
    if step.collect is None:
        options |= {"numDigits": "1", "finishOnKey": ""}
    else:
        options |= {"numDigits": str(step.collect.most), "finishOnKey": END_OF_NUMBER}
    _play(SubElement(response, "Gather", options), prompt_url(step.prompt))
    return Answer(_text(response), here)


def reject_twiml(reason: str = "busy") -> str:
    """TwiML that rejects an incoming call, so that the caller pays nothing (a missed call)."""
    response = Element("Response")
    SubElement(response, "Reject", {"reason": reason})
    return _text(response)


def africas_talking_xml(call: Call, action_url: str, prompt_url: PromptUrl) -> Answer:
    """Africa's Talking voice XML that plays up to the next prompt that waits for a key.

    References
    ----------
    Africa's Talking, Voice API: the elements GetDigits, Play, Reject.
    """
    response = Element("Response")
    here = _played_through(
        call, lambda prompt: SubElement(response, "Play", {"url": prompt_url(prompt)})
    )
    if here.is_over:  # a response in which nothing waits ends the call
        return Answer(_text(response), here)
    step = here.current
    options = {
        "timeout": f"{max(step.timeout_seconds, 1):.0f}",
        "finishOnKey": END_OF_NUMBER,
        "callbackUrl": _with_query(action_url, here),
    }
    options["numDigits"] = "1" if step.collect is None else str(step.collect.most)
    digits = SubElement(response, "GetDigits", options)
    SubElement(digits, "Play", {"url": prompt_url(step.prompt)})
    return Answer(_text(response), here)


def _played_through(call: Call, play: Callable[[str], object]) -> Call:
    """The call at the next step that waits for a key; what comes before is played."""
    while not call.is_over and call.current.is_announcement:
        play(call.current.prompt)
        call = call.prompt_ended()
    return call


def _play(parent: Element, url: str) -> None:
    SubElement(parent, "Play").text = url


def _with_query(url: str, call: Call) -> str:
    return f"{url}{'&' if '?' in url else '?'}{query_of(call)}"


def _text(response: Element) -> str:
    return '<?xml version="1.0" encoding="UTF-8"?>' + tostring(response, encoding="unicode")
