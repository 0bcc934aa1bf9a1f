"""Voice calls by Africa's Talking: asked for here, their steps are told by `wavewise serve`.

References
----------
Africa's Talking, "Voice: make a call", with the statuses of entries.
"""

from typing import Any

from wavewise.fieldwork.channels.base import Accepted, NotSent, Outgoing, SendResult, Unknown
from wavewise.fieldwork.channels.http import Clients, call, json_of, unproven
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets

__all__ = ["AfricasTalkingVoice", "open_channel"]

BASE_URL = "https://voice.africastalking.com"
_STOPS = {"InsufficientCredit", "InvalidPhoneNumber.CallerId", "DestinationNotSupported"}


class AfricasTalkingVoice:
    """Calls to telephone numbers that follow a study's call flows."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, key: str) -> None:
        self.name = settings.channel
        self._url = f"{settings.base_url or BASE_URL}/call"
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
        return _result(json_of(answer))

    async def close(self) -> None:
        """Give connections back."""
        await self._clients.aclose()


def open_channel(settings: ChannelSettings, secrets: Secrets) -> AfricasTalkingVoice:
    """The channel.

    Raises
    ------
    InputError
        A setting or the secret is missing.
    """
    settings.know_only("username", "from")
    return AfricasTalkingVoice(settings, secrets.need("africas_talking_api_key"))


def _result(body: dict[str, Any]) -> SendResult:
    entries = body.get("entries")
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        told = str(body.get("errorMessage", ""))
        if told and told != "None":
            return NotSent("Africa's Talking refuses the call", retry=True, stops_channel=True)
        return Unknown("Africa's Talking gave an answer of another form")
    status = str(entries[0].get("status", ""))
    if status == "Queued":
        return Accepted(entries[0].get("sessionId"))
    if status in _STOPS:
        return NotSent(f"Africa's Talking: {status}", retry=True, stops_channel=True)
    return NotSent(f"Africa's Talking: {status or 'no status'}")
