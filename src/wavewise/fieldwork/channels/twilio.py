"""SMS by Twilio.

References
----------
Twilio, "Messages resource" and "Error and warning dictionary".
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from wavewise.fieldwork.channels.base import (
    Accepted,
    NotSent,
    Outgoing,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.http import (
    Clients,
    call,
    json_of,
    retry_after_seconds,
    unproven,
)
from wavewise.fieldwork.channels.provider_codes import TWILIO, told, verdict
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets

BASE_URL = "https://api.twilio.com"
_DELIVERED = {"delivered", "read"}
_FAILED = {"failed", "undelivered", "canceled"}


class TwilioSms:
    """SMS to telephone numbers."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, token: str) -> None:
        self.name = settings.channel
        account = settings.option("account")
        base = settings.base_url or BASE_URL
        self._url = f"{base}/2010-04-01/Accounts/{account}/Messages"
        self._from = _sender(settings)
        self._callback = settings.options.get("status_callback")
        user = settings.option("api_key_sid", account)
        self._clients = Clients(settings, auth=(user, token))

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Send once."""
        form = {"To": outgoing.address, "Body": outgoing.text, **self._from}
        if self._callback:
            # The key lets a receipt find its message even where the answer below was lost.
            form["StatusCallback"] = f"{self._callback}?message_key={outgoing.key}"
        answer = await call(self._clients, "POST", f"{self._url}.json", data=form)
        if isinstance(answer, NotSent | Unknown):
            return answer
        body = json_of(answer)
        if answer.status_code in {200, 201}:
            return Accepted(body.get("sid"))
        return _not_taken(answer)

    async def look_up(
        self, outgoing: Outgoing, provider_id: str | None, since: datetime
    ) -> SendResult | None:
        """What Twilio knows of a message: by its name, else by number, text and time.

        That a list does not hold it proves nothing: it may lag behind.
        """
        if provider_id is not None:
            answer = await call(self._clients, "GET", f"{self._url}/{provider_id}.json")
            if isinstance(answer, NotSent | Unknown) or answer.status_code != 200:
                return None
            return _known(json_of(answer))
        query = {"To": outgoing.address, "DateSent>": f"{since.astimezone(UTC):%Y-%m-%d}"}
        answer = await call(self._clients, "GET", f"{self._url}.json", params=query)
        if isinstance(answer, NotSent | Unknown) or answer.status_code != 200:
            return None
        listed = json_of(answer).get("messages") or ()
        found = [m for m in listed if m.get("body") == outgoing.text and _created(m) >= since]
        return _known(found[0]) if len(found) == 1 else None

    async def close(self) -> None:
        """Give connections back."""
        await self._clients.aclose()


def open_channel(settings: ChannelSettings, secrets: Secrets) -> TwilioSms:
    """The channel."""
    settings.know_only("account", "api_key_sid", "from", "messaging_service", "status_callback")
    return TwilioSms(settings, secrets.need("twilio_auth_token"))


def _sender(settings: ChannelSettings) -> dict[str, str]:
    service = settings.options.get("messaging_service")
    if isinstance(service, str):
        return {"MessagingServiceSid": service}
    return {"From": settings.option("from")}


def _not_taken(answer: httpx2.Response) -> SendResult:
    """What Twilio's own code proves, else the status."""
    body = json_of(answer)
    code, words = body.get("code"), str(body.get("message") or "")
    if code in TWILIO:
        return verdict("Twilio", code, TWILIO[code], words, retry_after_seconds(answer))
    return unproven(answer, words if code is None else f"Twilio {code}: {words}")


def _known(message: dict[str, Any]) -> SendResult:
    status, sid = message.get("status"), message.get("sid")
    if status in _FAILED:
        code = message.get("error_code")
        words = str(message.get("error_message") or "")
        meaning = TWILIO.get(code) if isinstance(code, int) else None
        return NotSent(told("Twilio", code or status, meaning, words))
    return Accepted(sid, "delivered" if status in _DELIVERED else "sent")


def _created(message: dict[str, Any]) -> datetime:
    try:
        return parsedate_to_datetime(str(message.get("date_created")))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


# Voice calls by Twilio: the call is asked for here, its steps are told by `wavewise serve`.


class TwilioVoice:
    """Calls to telephone numbers that follow a study's call flows."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, token: str) -> None:
        self.name = settings.channel
        account = settings.option("account")
        base = settings.base_url or BASE_URL
        self._url = f"{base}/2010-04-01/Accounts/{account}/Calls.json"
        self._steps = settings.option("serve_url").rstrip("/") + "/v1/calls/twilio"
        self._form = {
            "From": settings.option("from"),
            "Method": "POST",
            "StatusCallbackMethod": "POST",
            "Timeout": str(int(settings.options.get("ring_seconds", 45))),
        }
        user = settings.option("api_key_sid", account)
        self._clients = Clients(settings, auth=(user, token))

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Ask for one call; that it was answered is told by its first step."""
        if not outgoing.content:
            return NotSent("the message has no call flow")
        steps = f"{self._steps}/{outgoing.key}"
        form = {
            **self._form,
            "To": outgoing.address,
            "Url": steps,
            "StatusCallback": f"{steps}/status",
        }
        answer = await call(self._clients, "POST", self._url, data=form)
        if isinstance(answer, NotSent | Unknown):
            return answer
        body = json_of(answer)
        if answer.status_code in {200, 201}:
            return Accepted(body.get("sid"))
        return _not_taken(answer)

    async def close(self) -> None:
        """Give connections back."""
        await self._clients.aclose()


def open_voice_channel(settings: ChannelSettings, secrets: Secrets) -> TwilioVoice:
    """The channel."""
    settings.know_only("account", "api_key_sid", "from", "serve_url", "ring_seconds")
    return TwilioVoice(settings, secrets.need("twilio_auth_token"))
