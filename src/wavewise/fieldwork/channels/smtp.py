"""E-mail by SMTP, over a few connections that stay open.

Mail that the server did not take before the end of DATA was not sent: only a connection that breaks
while the server's last answer is awaited leaves a message unknown.

References
----------
RFC 5321 (replies, sections 4.2 and 4.5.3.2), RFC 8058 (one-click unsubscribing).
"""

import asyncio
import re
from email.charset import QP, Charset
from email.header import Header
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import formatdate, parseaddr
from typing import Any
from urllib.parse import urlsplit

import aiosmtplib

from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import (
    Accepted,
    NotSent,
    Outgoing,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.provider_codes import About, Meaning, mail_meaning, verdict
from wavewise.fieldwork.channels.settings import CHANNELS_FILE, ChannelSettings, Secrets

__all__ = ["SmtpChannel", "open_channel"]

_MOST_CONNECTIONS = 8
# The older way of making mail: the newer one parses each header that it is given, and needs three
# times as long.
_POLICY = compat32.clone(linesep="\r\n")
_UTF_8 = Charset("utf-8")
_UTF_8.body_encoding = QP
_PORTS = {"smtp": 587, "smtps": 465}
_CONNECTION = (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError)


class SmtpChannel:
    """E-mail to addresses."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, password: str | None) -> None:
        self.name = settings.channel
        url = urlsplit(settings.base_url or settings.option("url"))
        if url.scheme not in _PORTS or not url.hostname:
            raise InputError(
                f"{CHANNELS_FILE}: found no SMTP server in [{self.name}]; needed "
                'base_url = "smtp://host:587" or "smtps://host:465"'
            )
        self._from = settings.option("from")
        self._domain = parseaddr(self._from)[1].rpartition("@")[2] or "localhost"
        self._unsubscribe = settings.options.get("unsubscribe_url")
        self._footer: str = settings.options.get("unsubscribe_text", "")
        if self._footer and "{url}" not in self._footer:
            raise InputError(
                f"{CHANNELS_FILE}: found an unsubscribe_text in [{self.name}] without {{url}}; "
                "needed a line that shows the link, such as 'No more messages: {url}'"
            )
        self._how: dict[str, Any] = {
            "hostname": url.hostname,
            "port": url.port or _PORTS[url.scheme],
            "use_tls": url.scheme == "smtps",
            "start_tls": False if settings.options.get("starttls") is False else None,
            "timeout": settings.timeout_seconds,
        }
        if password is not None:
            self._how |= {"username": settings.option("user"), "password": password}
        n = min(settings.concurrency, _MOST_CONNECTIONS)
        self._free: asyncio.LifoQueue[aiosmtplib.SMTP | None] = asyncio.LifoQueue(n)
        for _ in range(n):
            self._free.put_nowait(None)

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Send once."""
        client = await self._free.get()
        try:
            if client is None or not client.is_connected:
                client = aiosmtplib.SMTP(**self._how)
                failed = await _connect(client)
                if failed is not None:
                    client = None
                    return failed
            return await self._deliver(client, outgoing)
        finally:
            self._free.put_nowait(client)

    async def close(self) -> None:
        """Say goodbye on every connection."""
        while not self._free.empty():
            client = self._free.get_nowait()
            if client is not None and client.is_connected:
                client.close()

    async def _deliver(self, client: aiosmtplib.SMTP, outgoing: Outgoing) -> SendResult:
        refused = await self._envelope(client, outgoing.address)
        if refused is not None:
            return refused
        try:
            await client.data(self._letter(outgoing))
        except aiosmtplib.SMTPResponseException as error:
            return _not_taken(error, "the server did not take the mail", is_recipient=False)
        except (*_CONNECTION, aiosmtplib.SMTPException):
            client.close()
            return Unknown("the connection broke before the server confirmed")
        return Accepted(f"{outgoing.key}@{self._domain}")

    async def _envelope(self, client: aiosmtplib.SMTP, address: str) -> SendResult | None:
        """Sender and recipient; why the server does not take them."""
        if any(ord(letter) < 33 for letter in address):
            return NotSent("not an e-mail address")
        try:
            await client.mail(parseaddr(self._from)[1])
            await client.rcpt(address)
        except aiosmtplib.SMTPRecipientRefused as error:
            await _reset(client)
            return _not_taken(error, "the server rejects the address", is_recipient=True)
        except aiosmtplib.SMTPResponseException as error:
            await _reset(client)
            return _sender(error)
        except _CONNECTION:
            client.close()
            text = "the connection broke before the mail was given over"
            return NotSent(text, retry=True, of_provider=True)
        except (aiosmtplib.SMTPException, ValueError, UnicodeError):
            await _reset(client)
            return NotSent("not an e-mail address that the server takes")
        return None

    def _letter(self, outgoing: Outgoing) -> bytes:
        link = outgoing.fields.get("unsubscribe_url") or self._unsubscribe
        text = outgoing.text + "\n"
        if link and self._footer:
            text += "\n" + self._footer.replace("{url}", link) + "\n"
        letter = MIMEText(text, "plain", _UTF_8)  # type: ignore[arg-type]
        letter["From"] = self._from
        letter["To"] = outgoing.address
        letter["Subject"] = _header(outgoing.title)
        letter["Date"] = formatdate(usegmt=True)
        letter["Message-ID"] = f"<{outgoing.key}@{self._domain}>"
        if outgoing.language:
            letter["Content-Language"] = outgoing.language
        if link:
            letter["List-Unsubscribe"] = f"<{_header(link)}>"
            letter["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        return letter.as_bytes(policy=_POLICY)


def _header(text: str) -> str:
    """A header of one line, encoded where it needs to be."""
    line = " ".join(text.split())
    return line if line.isascii() else Header(line, "utf-8").encode()


def open_channel(settings: ChannelSettings, secrets: Secrets) -> SmtpChannel:
    """The channel; it logs in where there is a password."""
    own = ("url", "from", "user", "starttls")
    settings.know_only(*own, "unsubscribe_url", "unsubscribe_base", "unsubscribe_text")
    return SmtpChannel(settings, secrets.get("smtp_password"))


async def _connect(client: aiosmtplib.SMTP) -> NotSent | None:
    try:
        await client.connect()
    except aiosmtplib.SMTPAuthenticationError:
        client.close()
        return NotSent("the mail server refuses the password", retry=True, stops_channel=True)
    except (*_CONNECTION, aiosmtplib.SMTPException):
        client.close()
        return NotSent("the mail server cannot be reached", retry=True, of_provider=True)
    return None


async def _reset(client: aiosmtplib.SMTP) -> None:
    try:
        await client.rset()
    except (*_CONNECTION, aiosmtplib.SMTPException):
        client.close()


def _not_taken(
    error: aiosmtplib.SMTPResponseException, text: str, *, is_recipient: bool
) -> SendResult:
    """What a reply about one mail proves: by its enhanced code, else by the step it answers."""
    code, meaning = mail_meaning(error.code, error.message)
    if error.code < 500 and (meaning is None or meaning.about != "account"):
        meaning = Meaning(
            "busy", meaning.text if meaning else "the server takes no mail for it now"
        )
    if (
        meaning is None or meaning.about == "unclear"
    ):  # the reply itself proves that it was not taken
        meaning = Meaning("recipient" if is_recipient else "message", text)
    return verdict("SMTP", code, meaning, _words(error))


def _sender(error: aiosmtplib.SMTPResponseException) -> SendResult:
    code, meaning = mail_meaning(error.code, error.message)
    about: About = "busy" if error.code < 500 else "account"
    text = "takes no mail now" if about == "busy" else "rejects the sender"
    meaning = Meaning(about, meaning.text if meaning else f"the server {text}")
    return verdict("SMTP", code, meaning, _words(error))


def _words(error: aiosmtplib.SMTPResponseException) -> str:
    return re.sub(r"^\s*[245]\.\d+\.\d+\s*", "", error.message)
