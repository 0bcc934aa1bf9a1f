"""What channels over HTTP share: clients, and what an answer or its absence proves."""

import asyncio
import email.utils
from datetime import UTC, datetime
from typing import Any

import httpx2

from wavewise.fieldwork.channels.base import NotSent, Unknown
from wavewise.fieldwork.channels.provider_codes import without_addresses
from wavewise.fieldwork.channels.settings import ChannelSettings

__all__ = ["Clients", "call", "json_of", "retry_after_seconds", "unproven"]

# Idle connections are given up before common servers drop them: a request on a connection that is
# being dropped could not be told from one that was lost.
_IDLE_SECONDS = 4.0
# The request did not leave: nobody answered, or no connection was free.
_NOTHING_LEFT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Clients:
    """As many clients as messages may be in flight, each with one connection.

    One client with many connections looks at each of them before every request; that cost more
    than all the rest of sending.
    """

    def __init__(self, settings: ChannelSettings, **options: Any) -> None:
        limits = httpx2.Limits(max_connections=1, keepalive_expiry=_IDLE_SECONDS)
        context = httpx2.create_ssl_context()
        self._all = [
            httpx2.AsyncClient(
                limits=limits,
                timeout=httpx2.Timeout(settings.timeout_seconds),
                verify=context,
                **options,
            )
            for _ in range(settings.concurrency)
        ]
        self._free: asyncio.LifoQueue[httpx2.AsyncClient] = asyncio.LifoQueue()
        for client in self._all:
            self._free.put_nowait(client)

    async def request(self, method: str, url: str, **options: Any) -> httpx2.Response:
        """The answer to a request; redirects are not followed."""
        client = await self._free.get()
        try:
            return await client.request(method, url, **options)
        finally:
            self._free.put_nowait(client)

    async def aclose(self) -> None:
        """Give connections back."""
        await asyncio.gather(*(client.aclose() for client in self._all))


async def call(
    clients: Clients, method: str, url: str, **options: Any
) -> httpx2.Response | NotSent | Unknown:
    """The answer to a request; without one, what is proven. Errors' own texts hold addresses."""
    try:
        return await clients.request(method, url, **options)
    except _NOTHING_LEFT:
        return NotSent("the provider cannot be reached", retry=True, of_provider=True)
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError):
        return NotSent("the provider's URL is not valid", retry=True, stops_channel=True)
    except httpx2.TimeoutException:
        return Unknown("no answer in time")
    except httpx2.RequestError:
        return Unknown("the connection broke before an answer")


def json_of(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON object of an answer; an empty one where it is none."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def retry_after_seconds(answer: httpx2.Response) -> float | None:
    """Seconds of a Retry-After header: a number, or a date in any form of HTTP.

    A date counts from the answer's own Date, so that neither clock has to be right.

    References
    ----------
    RFC 9110, sections 10.2.3 (Retry-After) and 5.6.7 (the three forms of a date).
    """
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    until = _date(text)
    if until is None:
        return None
    now = _date(answer.headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _date(text: str) -> datetime | None:
    """A date of HTTP; the two older forms name no zone, and mean UTC."""
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


_ACCOUNT = {
    401: "the credentials were rejected",
    402: "no credit is left",
    403: "the credentials were rejected",
    407: "the proxy rejected the credentials",
}
# A request that did not come whole, or too early: it may be made again.
_AGAIN = {408, 425}
# Another request with the same key is being worked on.
_CONFLICT = 409


def unproven(answer: httpx2.Response, words: str = "") -> NotSent | Unknown:
    """What a status proves by itself, where the provider's own code says nothing more.

    A redirect took nothing: it is not followed. 429 is refused before any work. An error of 500 or
    above can come after the message was taken, and so can a conflict with an earlier request.
    """
    own = without_addresses(words)
    own = f": {own}" if own else ""
    status, wait = answer.status_code, retry_after_seconds(answer)
    if status == 429:
        return NotSent(f"too many requests{own}", retry=True, retry_after_seconds=wait)
    if status in _ACCOUNT:
        return NotSent(f"{_ACCOUNT[status]}{own}", retry=True, stops_channel=True)
    if 300 <= status < 400:
        return NotSent(f"the provider redirects to another URL ({status}{own})", of_provider=True)
    if status in _AGAIN:
        text = f"the provider did not take the request ({status}{own})"
        return NotSent(text, retry=True, retry_after_seconds=wait, of_provider=True)
    if 400 <= status < 500 and status != _CONFLICT:
        return NotSent(f"the provider rejected the request ({status}{own})", of_provider=True)
    return Unknown(f"the provider answered {status}{own}", retry_after_seconds=wait)
