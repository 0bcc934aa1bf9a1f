"""SMS by SMPP 3.4, the protocol of operators and gateways, over one bound session.

References
----------
SMPP Developers Forum (1999), "Short Message Peer to Peer Protocol Specification v3.4", sections 4.4
(submit_sm) and 5.1.3 (command_status).
"""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from aiosmpplib import (
    ESME,
    NPI,
    TON,
    AbstractHook,
    BindMode,
    PhoneNumber,
    SmppCommandStatus,
    SmppMessage,
    SmppSessionState,
    SubmitSm,
    SubmitSmResp,
)

from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import Accepted, NotSent, Outgoing, SendResult, Unknown
from wavewise.fieldwork.channels.provider_codes import SMPP, told, verdict
from wavewise.fieldwork.channels.settings import CHANNELS_FILE, ChannelSettings, Secrets
from wavewise.fieldwork.rendering import sms_length

__all__ = ["SmppChannel", "open_channel"]

BIND_SECONDS = 10.0


class _Answers(AbstractHook):  # type: ignore[misc]
    """Gives each message the answer to it, by the key that it carries."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[SendResult]] = {}
        self.left: set[str] = set()

    async def sending(self, smpp_message: SmppMessage, pdu: bytes, client_id: str) -> None:
        del pdu, client_id
        if isinstance(smpp_message, SubmitSm):
            self.left.add(str(smpp_message.log_id))

    async def received(self, smpp_message: SmppMessage | None, pdu: bytes, client_id: str) -> None:
        del pdu, client_id
        if isinstance(smpp_message, SubmitSmResp):
            self.settle(str(smpp_message.log_id), _result(smpp_message))

    async def send_error(self, smpp_message: SmppMessage, error: Exception, client_id: str) -> None:
        del client_id
        key = str(getattr(smpp_message, "log_id", ""))
        if isinstance(error, ValueError):
            self.settle(key, NotSent("a text or a number that SMPP cannot carry"))
        elif key not in self.left:
            text = "the gateway cannot be reached"
            self.settle(key, NotSent(text, retry=True, of_provider=True))
        else:
            self.settle(key, Unknown("the connection broke before an answer"))

    def settle(self, key: str, result: SendResult) -> None:
        waiting = self.waiting.get(key)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)


class SmppChannel:
    """SMS to telephone numbers through one transceiver session."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, password: str) -> None:
        self.name = settings.channel
        url = urlsplit(settings.option("url"))
        if url.scheme != "smpp" or not url.hostname:
            raise InputError(
                f"{CHANNELS_FILE}: found no SMPP gateway in [{self.name}]; needed "
                'url = "smpp://host:2775"'
            )
        _refuse_long(settings, password)
        self._source = _number(settings.option("from"))
        self._seconds = settings.timeout_seconds
        self._answers = _Answers()
        self._how: dict[str, Any] = {
            "smsc_host": url.hostname,
            "smsc_port": url.port or 2775,
            "system_id": settings.option("user"),
            "password": password,
            "system_type": settings.options.get("system_type", ""),
            "bind_mode": BindMode.TRANSCEIVER,
            "hook": self._answers,
            "log_level": "CRITICAL",  # its log holds numbers and texts
            "socket_timeout": settings.timeout_seconds,
        }
        self._session: ESME | None = None
        self._running: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Submit once, and wait for the gateway's answer."""
        session = await self._bound()
        if session is None:
            text = "the gateway cannot be reached, or refuses the session"
            return NotSent(text, retry=True, of_provider=True)
        waiting: asyncio.Future[SendResult] = asyncio.get_running_loop().create_future()
        self._answers.waiting[outgoing.key] = waiting
        is_gsm = sms_length(outgoing.text).encoding == "GSM-7"
        message = SubmitSm(
            short_message=outgoing.text,
            source=self._source,
            destination=_number(outgoing.address),
            encoding="gsm0338" if is_gsm else "ucs2",
            auto_message_payload=True,
            log_id=outgoing.key,
        )
        try:
            await session.broker.enqueue(message)
            return await asyncio.wait_for(waiting, self._seconds)
        except TimeoutError:
            return Unknown("no answer in time")
        finally:
            self._answers.waiting.pop(outgoing.key, None)
            self._answers.left.discard(outgoing.key)

    async def close(self) -> None:
        """Unbind."""
        if self._session is not None:
            writer = getattr(self._session, "_writer", None)
            await self._session.stop()
            if writer is not None:  # the library drops it without closing
                writer.close()
        if self._running is not None:
            await asyncio.wait([self._running], timeout=5.0)
        self._session = None

    async def _bound(self) -> ESME | None:
        """The session once it is bound; None where the gateway does not bind it in time."""
        async with self._opening:
            if self._session is None:
                self._session = ESME(**self._how)
                self._running = asyncio.create_task(self._session.start())
            end = asyncio.get_running_loop().time() + BIND_SECONDS
            while asyncio.get_running_loop().time() < end:
                if self._session.session_state is SmppSessionState.BOUND_TRX:
                    return self._session
                if self._running is not None and self._running.done():
                    break
                await asyncio.sleep(0.02)
            await self.close()
            return None


def open_channel(settings: ChannelSettings, secrets: Secrets) -> SmppChannel:
    """The channel."""
    settings.know_only("url", "user", "from", "system_type")
    return SmppChannel(settings, secrets.need("smpp_password"))


def _refuse_long(settings: ChannelSettings, password: str) -> None:
    """Refuse what the protocol has no room for (sections 5.2.1 to 5.2.3), before it is begun."""
    texts = {
        "secret smpp_password": (password, 8),
        "user": (settings.option("user"), 15),
        "system_type": (str(settings.options.get("system_type", "")), 12),
    }
    for name, (text, most) in texts.items():
        if len(text) > most:
            raise InputError(
                f"[{settings.channel}], {name}: found {len(text)} letters; needed at most {most}, "
                "for which SMPP 3.4 has room; ask the gateway for one; nothing was sent"
            )


def _number(text: str) -> PhoneNumber:
    """A number with its type: international digits, a short code, or a name."""
    digits = text.lstrip("+")
    if not digits.isdigit():
        return PhoneNumber(text, TON.ALPHANUMERIC, NPI.UNKNOWN)
    if len(digits) <= 6:
        return PhoneNumber(digits, TON.NETWORK_SPECIFIC, NPI.UNKNOWN)
    return PhoneNumber(digits, TON.INTERNATIONAL, NPI.ISDN)


def _result(answer: SubmitSmResp) -> SendResult:
    status = answer.command_status
    if status == SmppCommandStatus.ESME_ROK:
        return Accepted(answer.message_id or None)
    name = status.name
    if name in SMPP:
        return verdict("SMPP", name, SMPP[name])
    return NotSent(told("SMPP", name, None))
