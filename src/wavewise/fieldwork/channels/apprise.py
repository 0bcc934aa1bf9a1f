"""Anything that apprise knows: chat services, gateways, telephones, by its URLs.

apprise tells only whether a service took a notification, not what a failure proves, so that every
failure leaves the message unknown.
"""

import asyncio

import apprise

from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import Accepted, NotSent, Outgoing, SendResult, Unknown
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets

__all__ = ["AppriseChannel", "open_channel"]

PLACE = "{address}"


class AppriseChannel:
    """One notification to one address, put into apprise's URL."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, url: str) -> None:
        self.name = settings.channel
        if PLACE not in url or apprise.Apprise.instantiate(url.replace(PLACE, "0")) is None:
            raise InputError(
                "secret 'apprise_url': found no URL of apprise with {address} in it; needed one "
                "such as ntfys://host/{address}"
            )
        self._url, self._seconds = url, settings.timeout_seconds

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Notify once."""
        service = apprise.Apprise()
        if not service.add(self._url.replace(PLACE, outgoing.address)):
            return NotSent("not an address that the service takes")
        notify = asyncio.to_thread(service.notify, body=outgoing.text, title=outgoing.title)
        try:
            taken = await asyncio.wait_for(notify, self._seconds)
        except TimeoutError:
            return Unknown("no answer in time")
        return Accepted() if taken else Unknown("the service did not confirm")

    async def close(self) -> None:
        """Nothing is held open."""


def open_channel(settings: ChannelSettings, secrets: Secrets) -> AppriseChannel:
    """The channel. The URL holds passwords, so that it is a secret."""
    settings.know_only()
    return AppriseChannel(settings, secrets.need("apprise_url"))
