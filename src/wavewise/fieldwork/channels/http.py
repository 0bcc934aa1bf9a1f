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
        return NotSent("the provider cannot be reached", retry=True)
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
    """Seconds of a Retry-After header, whether it is a number or a date."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdigit():
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def unproven(answer: httpx2.Response, words: str = "") -> NotSent | Unknown:
    """What a status proves by itself, where the provider's own code says nothing more.

    429 is refused before any work. An error of 500 or above can come after the message was taken.
    """
    own = without_addresses(words)
    own = f": {own}" if own else ""
    if answer.status_code == 429:
        wait = retry_after_seconds(answer)
        return NotSent(f"too many requests{own}", retry=True, retry_after_seconds=wait)
    if answer.status_code in {401, 403}:
        return NotSent(f"the credentials were rejected{own}", retry=True, stops_channel=True)
    if 400 <= answer.status_code < 500:
        return NotSent(f"the provider rejected the request ({answer.status_code}{own})")
    return Unknown(f"the provider answered {answer.status_code}{own}")
