"""SMS by Africa's Talking.

References
----------
Africa's Talking, "SMS: sending", with the status codes of recipients.
"""

from typing import Any

from wavewise.fieldwork.channels.base import (
    Accepted,
    NotSent,
    Outgoing,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.http import Clients, call, json_of, unproven
from wavewise.fieldwork.channels.provider_codes import AFRICAS_TALKING, Meaning, told, verdict
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets

PROVIDER = "Africa's Talking"
BASE_URL = "https://api.africastalking.com"
_TAKEN = {100, 101, 102}  # processed, sent, queued


class AfricasTalkingSms:
    """SMS to telephone numbers."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, key: str) -> None:
        self.name = settings.channel
        self._url = f"{settings.base_url or BASE_URL}/version1/messaging"
        self._form = {"username": settings.option("username")}
        if "from" in settings.options:
            self._form["from"] = settings.option("from")
        headers = {"apiKey": key, "accept": "application/json"}
        self._clients = Clients(settings, headers=headers)

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Send once."""
        form = {**self._form, "to": outgoing.address, "message": outgoing.text}
        answer = await call(self._clients, "POST", self._url, data=form)
        if isinstance(answer, NotSent | Unknown):
            return answer
        if answer.status_code not in {200, 201}:
            return unproven(answer)
        return _result(json_of(answer))

    async def close(self) -> None:
        """Give connections back."""
        await self._clients.aclose()


def open_channel(settings: ChannelSettings, secrets: Secrets) -> AfricasTalkingSms:
    """The channel."""
    settings.know_only("username", "from")
    return AfricasTalkingSms(settings, secrets.need("africas_talking_api_key"))


def _result(body: dict[str, Any]) -> SendResult:
    data = body.get("SMSMessageData")
    recipients = data.get("Recipients") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(recipients, list):
        return Unknown("Africa's Talking gave an answer of another form")
    if not recipients:
        # Nobody was sent anything; the text says why, for the whole request.
        words = str(data.get("Message") or "")
        if "sender" in words.lower():
            return verdict(PROVIDER, 402, AFRICAS_TALKING[402], words)
        return NotSent(told(PROVIDER, "took no recipient", None, words))
    code, words = recipients[0].get("statusCode"), str(recipients[0].get("status") or "")
    if code in _TAKEN:
        return Accepted(recipients[0].get("messageId"))
    if code in AFRICAS_TALKING:
        return verdict(PROVIDER, code, AFRICAS_TALKING[code], words)
    return Unknown(told(PROVIDER, f"status {code}", None, words))


# Voice calls by Africa's Talking: asked for here, their steps are told by `wavewise serve`.

VOICE_URL = "https://voice.africastalking.com"


class AfricasTalkingVoice:
    """Calls to telephone numbers that follow a study's call flows."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, key: str) -> None:
        self.name = settings.channel
        self._url = f"{settings.base_url or VOICE_URL}/call"
        self._form = {"username": settings.option("username"), "from": settings.option("from")}
        headers = {"apiKey": key, "accept": "application/json"}
        self._clients = Clients(settings, headers=headers)

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Ask for one call; the key travels as the client's request id, back to the steps."""
        if not outgoing.content:
            return NotSent("the message has no call flow")
        form = {**self._form, "to": outgoing.address, "clientRequestId": outgoing.key}
        answer = await call(self._clients, "POST", self._url, data=form)
        if isinstance(answer, NotSent | Unknown):
            return answer
        if answer.status_code not in {200, 201}:
            return unproven(answer)
        return _call_result(json_of(answer))

    async def close(self) -> None:
        """Give connections back."""
        await self._clients.aclose()


def open_voice_channel(settings: ChannelSettings, secrets: Secrets) -> AfricasTalkingVoice:
    """The channel."""
    settings.know_only("username", "from")
    return AfricasTalkingVoice(settings, secrets.need("africas_talking_api_key"))


def _call_result(body: dict[str, Any]) -> SendResult:
    entries = body.get("entries")
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        words = str(body.get("errorMessage", ""))
        if words and words != "None":
            meaning = Meaning("account", "the call was rejected")
            return verdict(PROVIDER, "calls", meaning, words)
        return Unknown("Africa's Talking gave an answer of another form")
    status = str(entries[0].get("status", ""))
    if status == "Queued":
        return Accepted(entries[0].get("sessionId"))
    if status in AFRICAS_TALKING:
        return verdict(PROVIDER, status, AFRICAS_TALKING[status])
    return NotSent(told(PROVIDER, status or "no status", None))
