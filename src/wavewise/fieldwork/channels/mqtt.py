"""Messages by MQTT 5 or 3.1.1: one topic a unit, at quality of service 1.

References
----------
OASIS, "MQTT Version 5.0", section 4.3.2: at least once. The broker's PUBACK is what says that it
took the message.
"""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import aiomqtt

from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import Accepted, NotSent, Outgoing, SendResult, Unknown
from wavewise.fieldwork.channels.settings import CHANNELS_FILE, ChannelSettings, Secrets

__all__ = ["MqttChannel", "open_channel"]

PORTS = {"mqtt": 1883, "mqtts": 8883}
FORBIDDEN = frozenset("+#\0")  # wildcards: a message would not be for one unit


class MqttChannel:
    """Publishes JSON (key, message, title, text) to ``topic/ADDRESS``."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, password: str | None) -> None:
        self.name = settings.channel
        url = urlsplit(settings.option("url"))
        if url.scheme not in PORTS or not url.hostname:
            raise InputError(
                f"{CHANNELS_FILE}: found no MQTT broker in [{self.name}]; needed "
                'url = "mqtt://host:1883" or "mqtts://host:8883"'
            )
        self._topic = settings.option("topic").rstrip("/")
        self._seconds = settings.timeout_seconds
        self._how: dict[str, Any] = {
            "hostname": url.hostname,
            "port": url.port or PORTS[url.scheme],
            "timeout": settings.timeout_seconds,
            "max_concurrent_outgoing_calls": settings.concurrency,
        }
        if url.scheme == "mqtts":
            self._how["tls_params"] = aiomqtt.TLSParameters()
        if password is not None:
            self._how |= {"username": settings.option("user"), "password": password}
        self._client: aiomqtt.Client | None = None
        self._opening = asyncio.Lock()

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Publish once, and wait for the broker's word."""
        if not outgoing.address or FORBIDDEN & set(outgoing.address):
            return NotSent("not an address that a topic can hold")
        opened = await self._opened()
        if isinstance(opened, NotSent):
            return opened
        body = {
            "key": outgoing.key,
            "message": outgoing.message_id,
            "title": outgoing.title,
            "text": outgoing.text,
        }
        payload = json.dumps(body, ensure_ascii=False)
        try:
            await opened.publish(
                f"{self._topic}/{outgoing.address}", payload, qos=1, timeout=self._seconds
            )
        except (aiomqtt.MqttError, TimeoutError):
            await self._forget(opened)
            return Unknown("the broker did not confirm in time")
        return Accepted(outgoing.key)

    async def close(self) -> None:
        """Say goodbye to the broker."""
        if self._client is not None:
            await self._forget(self._client)

    async def _opened(self) -> "aiomqtt.Client | NotSent":
        async with self._opening:
            if self._client is None:
                client = aiomqtt.Client(**self._how)
                try:
                    await client.__aenter__()
                except aiomqtt.MqttCodeError:  # the broker answered, and refused
                    text = "the broker refuses the connection or the password"
                    return NotSent(text, retry=True, stops_channel=True)
                except (aiomqtt.MqttError, TimeoutError, OSError):
                    text = "the broker cannot be reached"
                    return NotSent(text, retry=True, of_provider=True)
                self._client = client
            return self._client

    async def _forget(self, client: aiomqtt.Client) -> None:
        """Drop a connection, so that the next message opens a new one."""
        if self._client is client:
            self._client = None
        try:
            await client.__aexit__(None, None, None)
        except (aiomqtt.MqttError, TimeoutError):
            return


def open_channel(settings: ChannelSettings, secrets: Secrets) -> MqttChannel:
    """The channel; it logs in where there is a password."""
    settings.know_only("url", "topic", "user")
    return MqttChannel(settings, secrets.get("mqtt_password"))
