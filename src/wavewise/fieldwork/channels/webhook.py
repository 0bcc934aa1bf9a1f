"""A web address of the user's own: each message as JSON, signed, with an idempotency key."""

import hashlib
import hmac
import json
import time

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

__all__ = ["WebhookChannel", "open_channel", "signature"]

SIGNATURE = "x-wavewise-signature"


class WebhookChannel:
    """Messages to a server of the user's own."""

    def __init__(self, settings: ChannelSettings, secret: str | None) -> None:
        self.name = settings.channel
        self.is_idempotent = settings.options.get("idempotent") is True
        self._url = settings.base_url or settings.option("url")
        self._secret = secret
        self._clients = Clients(settings)

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Send once."""
        body = json.dumps(
            {
                "key": outgoing.key,
                "channel": self.name,
                "to": outgoing.address,
                "message": outgoing.message_id,
                "title": outgoing.title,
                "text": outgoing.text,
                "language": outgoing.language,
                "fields": dict(outgoing.fields),
                "attempt": outgoing.attempt,
            },
            ensure_ascii=False,
        ).encode()
        headers = {"content-type": "application/json", "idempotency-key": outgoing.key}
        if self._secret is not None:
            headers[SIGNATURE] = signature(self._secret, body, int(time.time()))
        answer = await call(self._clients, "POST", self._url, content=body, headers=headers)
        if isinstance(answer, NotSent | Unknown):
            return answer
        if 200 <= answer.status_code < 300:
            name = json_of(answer).get("id") if answer.content else None
            return Accepted(name if isinstance(name, str) else outgoing.key)
        if answer.status_code == 410:
            return Refused("the address is gone")
        if answer.status_code == 451:
            return Refused("the recipient refuses messages", is_opt_out=True)
        return unproven(answer)

    async def close(self) -> None:
        """Give connections back."""
        await self._clients.aclose()


def signature(secret: str, body: bytes, at: int) -> str:
    """Time-stamp and HMAC-SHA256 of ``time.body``, as ``t=...,v1=...``.

    Examples
    --------
    >>> signature("secret", b"{}", 1)[:10]
    't=1,v1=112'
    """
    made = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={made}"


def open_channel(settings: ChannelSettings, secrets: Secrets) -> WebhookChannel:
    """The channel; requests are signed where there is a secret."""
    settings.know_only("url", "idempotent", "unsubscribe_base")
    return WebhookChannel(settings, secrets.get("webhook_secret"))
