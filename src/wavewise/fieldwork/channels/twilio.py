"""SMS by Twilio.

References
----------
Twilio, "Messages resource" and "Error and warning dictionary".
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from wavewise.fieldwork.channels.base import (
    Accepted,
    NotSent,
    Outgoing,
    Refused,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.http import Clients, call, json_of, unproven
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets

__all__ = ["BASE_URL", "TwilioSms", "open_channel", "refusal"]

BASE_URL = "https://api.twilio.com"
_UNSUBSCRIBED = {21610}
_GONE = {21211, 21214, 21217, 21612, 21614}  # not a number, or none that takes SMS
_NO_ACCOUNT = {20003, 20005, 20006, 21606, 21659, 21660, 30002}  # credentials, account, sender
_TOO_MANY = {20429, 14107, 21611, 30001}
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
        return refusal(body) or unproven(answer)

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
    """The channel.

    Raises
    ------
    InputError
        A setting or the secret is missing.
    """
    settings.know_only("account", "api_key_sid", "from", "messaging_service", "status_callback")
    return TwilioSms(settings, secrets.need("twilio_auth_token"))


def _sender(settings: ChannelSettings) -> dict[str, str]:
    service = settings.options.get("messaging_service")
    if isinstance(service, str):
        return {"MessagingServiceSid": service}
    return {"From": settings.option("from")}


def refusal(body: dict[str, Any]) -> SendResult | None:
    """What Twilio's own code proves; None where it says nothing."""
    code = body.get("code")
    if code in _UNSUBSCRIBED:
        return Refused("the recipient unsubscribed", is_refusal=True)
    if code in _GONE:
        return NotSent(f"not a number that takes SMS (Twilio {code})")
    if code in _NO_ACCOUNT:
        text = f"Twilio refuses the account or the sender ({code})"
        return NotSent(text, retry=True, stops_channel=True)
    if code in _TOO_MANY:
        return NotSent(f"too many requests (Twilio {code})", retry=True)
    return None


def _known(message: dict[str, Any]) -> SendResult:
    status, sid = message.get("status"), message.get("sid")
    if status in _FAILED:
        return NotSent(f"Twilio could not deliver it ({message.get('error_code') or status})")
    return Accepted(sid, "delivered" if status in _DELIVERED else "sent")


def _created(message: dict[str, Any]) -> datetime:
    try:
        return parsedate_to_datetime(str(message.get("date_created")))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
