"""Web push to browsers: encrypted for the browser, signed for its push service.

References
----------
RFC 8030 (delivery), RFC 8291 (encryption), RFC 8292 (VAPID signatures).
"""

import json
from typing import Any
from urllib.parse import urlsplit

import httpx2
from py_vapid import Vapid02
from pywebpush import WebPusher, WebPushException

from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import (
    Accepted,
    NotSent,
    Outgoing,
    Refused,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.http import Clients, call, unproven
from wavewise.fieldwork.channels.settings import CHANNELS_FILE, ChannelSettings, Secrets

__all__ = ["WebPushChannel", "open_channel"]

_GONE = {404, 410}
_LONGEST_SECONDS = 4 * 7 * 24 * 3_600


class WebPushChannel:
    """Notifications to a browser's subscription, whose JSON is the address."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, private_key: str) -> None:
        self.name = settings.channel
        self._contact = settings.option("contact")
        if not self._contact.startswith(("mailto:", "https://")):
            raise InputError(
                f"{CHANNELS_FILE}: found contact {self._contact!r} in [{self.name}]; needed "
                '"mailto:..." or "https://...", whom push services can reach'
            )
        self._ttl = int(settings.options.get("ttl_seconds", 86_400))
        if not 0 <= self._ttl <= _LONGEST_SECONDS:
            raise InputError(f"{CHANNELS_FILE}: ttl_seconds in [{self.name}]: needed 0 to 2419200")
        try:
            self._key = Vapid02.from_string(private_key)
        except (ValueError, TypeError) as error:
            raise InputError(
                "secret 'web_push_private_key': found no VAPID key; needed the base64 text of one"
            ) from error
        # Chromium's own service for tests listens in the clear on this machine.
        self._schemes = {"https", "http"} if settings.options.get("allow_http") else {"https"}
        self._clients = Clients(settings)

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Send once."""
        subscription = _subscription(outgoing.address)
        endpoint = urlsplit(subscription.get("endpoint", "")) if subscription else None
        if subscription is None or endpoint is None or endpoint.scheme not in self._schemes:
            return NotSent("not a subscription of a browser")
        body = {"title": outgoing.title, "body": outgoing.text, "key": outgoing.key}
        try:
            encrypted = WebPusher(subscription).encode(json.dumps(body).encode(), "aes128gcm")[
                "body"
            ]
        except (ValueError, KeyError, TypeError, WebPushException):
            return NotSent("not a subscription of a browser")
        claims = {"sub": self._contact, "aud": f"{endpoint.scheme}://{endpoint.netloc}"}
        headers = {
            **self._key.sign(claims),
            "content-encoding": "aes128gcm",
            "ttl": str(self._ttl),
            "topic": outgoing.key,  # at most 32 letters of base64: a second one would replace it
        }
        answer = await call(
            self._clients, "POST", subscription["endpoint"], content=encrypted, headers=headers
        )
        return answer if isinstance(answer, NotSent | Unknown) else _result(answer)

    async def close(self) -> None:
        """Give connections back."""
        await self._clients.aclose()


def open_channel(settings: ChannelSettings, secrets: Secrets) -> WebPushChannel:
    """The channel."""
    settings.know_only("contact", "ttl_seconds", "allow_http")
    return WebPushChannel(settings, secrets.need("web_push_private_key"))


def _result(answer: httpx2.Response) -> SendResult:
    if answer.status_code in {200, 201, 202, 204}:
        return Accepted(answer.headers.get("location"))
    if answer.status_code in _GONE:
        return Refused("the browser's subscription has ended")
    if answer.status_code == 403:  # RFC 8292, section 4.2: the subscription is another key's
        return Refused("the subscription was made with another key (web push 403)")
    if answer.status_code == 413:
        return NotSent("too long for the push service")
    return unproven(answer)


def _subscription(address: str) -> dict[str, Any] | None:
    try:
        found = json.loads(address)
    except ValueError:
        return None
    whole = isinstance(found, dict) and isinstance(found.get("endpoint"), str)
    return found if whole and isinstance(found.get("keys"), dict) else None
