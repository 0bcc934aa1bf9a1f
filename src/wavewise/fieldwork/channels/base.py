"""What every channel takes and gives back. A channel sends one message once; it never retries.

The four results differ in what they prove, since that alone decides whether a message may be tried
again: ``Accepted`` (it went out), ``NotSent`` (nothing went out), ``Refused`` (the recipient does
not take it), ``Unknown`` (it may have gone out).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from wavewise.design.messages import Flow

__all__ = [
    "Accepted",
    "CallEvent",
    "Channel",
    "Listens",
    "LooksUp",
    "NotSent",
    "Outgoing",
    "Refused",
    "SendResult",
    "Unknown",
]


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


def _ignore(_: "CallEvent") -> None:
    return


@dataclass(frozen=True)
class Outgoing:
    """One message to one address."""

    key: str  # Names this message for good, the same in every attempt: the idempotency key.
    # Telephone number, device token, e-mail address: what the channel sends to.
    address: str = field(repr=False)
    text: str = field(default="", repr=False)  # What is sent, rendered.
    # Heading of a notification or subject of an e-mail; may be empty.
    title: str = field(default="", repr=False)
    message_id: str = ""  # Id of the message in the study file.
    language: str = ""  # Of the text; may be empty.
    # The unit's fields, rendered: for call flows, and for whatever a provider shows itself.
    fields: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    content: str = ""  # Name of the call flow, for voice; else empty.
    # The call flow of the version that the message was queued under, where one is known.
    flow: "Flow | None" = field(default=None, repr=False, compare=False)
    attempt: int = 1  # 1 for the first.
    # Called with what a person does during a call, immediately: an opt-out counts even if the line
    # or the worker dies before the call ends.
    on_event: "Callable[[CallEvent], None]" = field(default=_ignore, repr=False, compare=False)


ANSWERED_CALL = "call"  # kind of the event whose value is the length of a call in seconds


@dataclass(frozen=True)
class CallEvent:
    """What a step of a call recorded, or how long the whole call was."""

    step: str  # Name of the step.
    event: str | None = None  # Kind of the event, where the step has one.
    action: str | None = None  # What the person asked for.
    number: str | None = field(default=None, repr=False)  # The new number, for 'change number'.
    seconds: float | None = None  # From the answer to the end, where it is the whole call.

    @classmethod
    def of_call(cls, seconds: float) -> "CallEvent":
        """The length of a call that was answered."""
        return cls("(whole call)", ANSWERED_CALL, seconds=round(seconds, 1))


@dataclass(frozen=True)
class Accepted:
    """The provider took the message; receipts may follow."""

    # The provider's name for the message, which its receipts carry.
    provider_id: str | None = None
    state: Literal["sent", "delivered", "answered"] = "sent"  # What is known already.


@dataclass(frozen=True)
class NotSent:
    """Proof that nothing went out."""

    reason: str  # Why, in a few words without addresses or secrets.
    retry: bool = False  # Whether a later attempt may succeed.
    retry_after_seconds: float | None = None  # How long the provider asks to wait.
    # Whether every other message would fail alike (credentials refused, no credit): the worker
    # stops the channel and says so, and the message stays queued.
    stops_channel: bool = False
    unanswered: bool = False
    # Whether it speaks of the provider or its address and not of this message: several in a row
    # hold the channel.
    of_provider: bool = False


@dataclass(frozen=True)
class Refused:
    """The recipient does not take it, and nothing went out."""

    reason: str  # Such as "blocked the sender" or "device token not registered".
    # Whether the person asked for no more messages, so that all that is queued is cancelled;
    # False where the address is merely gone.
    is_opt_out: bool = False


@dataclass(frozen=True)
class Unknown:
    """It may have gone out, or not: a time-out, a lost connection, an error after accepting."""

    reason: str  # What happened.
    provider_id: str | None = None  # Where the provider named the message all the same.
    retry_after_seconds: float | None = None  # How long the provider asks to wait.


SendResult: TypeAlias = Accepted | NotSent | Refused | Unknown


@runtime_checkable
class Channel(Protocol):
    """One way out, opened for as long as a worker runs."""

    name: str  # The study file's name of the channel: push, sms, email, voice, ...
    # Whether the provider drops a message whose key it has seen, so that an unknown one may be
    # sent again.
    is_idempotent: bool

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Send once. Whatever goes wrong is a result; only faults of the program are raised."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


@runtime_checkable
class LooksUp(Protocol):
    """A channel whose provider can be asked what became of a message."""

    async def look_up(
        self, outgoing: Outgoing, provider_id: str | None, since: datetime
    ) -> SendResult | None:
        """What became of a message sent at ``since`` or later; None where nobody can tell."""
        ...


@runtime_checkable
class Listens(Protocol):
    """A channel that people can ring."""

    async def listen(self, rung: Callable[[str], Awaitable[None]]) -> None:
        """Tell of the address of everybody who rings, until it is cancelled; take no call."""
        ...
