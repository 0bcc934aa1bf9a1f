"""What providers tell of a message, in the outbox's words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wavewise.errors import InputError
from wavewise.fieldwork.channels.provider_codes import AFRICAS_TALKING, TWILIO, Meaning, told
from wavewise.fieldwork.files.cells import clean_text, text_fault

__all__ = ["DeliveryReceipt", "africas_talking_receipt", "twilio_receipt", "webhook_receipt"]

STATES = ("sent", "failed", "delivered", "read", "answered")
# Twilio, MessageStatus; what comes before "sent" tells nothing new.
_TWILIO = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "undelivered": "failed",
    "failed": "failed",
}
_TWILIO_EARLIER = {"accepted", "scheduled", "queued", "sending", "canceled"}

_AFRICAS_TALKING = {
    "Success": "delivered",
    "Sent": "sent",
    "Submitted": "sent",
    "Buffered": "sent",
    "Rejected": "failed",
    "Failed": "failed",
    "AbsentSubscriber": "failed",
    "Expired": "failed",
}
# A subscriber without credit cannot take some messages: this is not the account's credit.
_AFRICAS_TALKING_REASONS = {
    str(code).lower(): meaning for code, meaning in AFRICAS_TALKING.items()
} | {"insufficientcredit": Meaning("recipient", "the recipient has no credit")}


@dataclass(frozen=True)
class DeliveryReceipt:
    """One receipt."""

    receipt_id: str  # The same for the same receipt, however often it comes.
    channel: str  # The study file's name of the channel.
    state: str  # What became of it.
    # provider_id, message_key: Either names the message.
    provider_id: str | None = None
    message_key: str | None = None
    reason: str | None = None  # Why it failed; no address.
    is_opt_out: bool = False  # Whether the person refuses this sender at the provider.
    # The recipient, for an opt-out whose message is not known; never kept.
    address: str | None = None
    at: datetime | None = None  # When it happened; None where the provider does not say.


def twilio_receipt(
    form: Mapping[str, str], message_key: str | None = None
) -> DeliveryReceipt | None:
    """A status callback of Twilio's messages; None where it tells nothing new.

    Examples
    --------
    >>> form = {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30003"}
    >>> receipt = twilio_receipt(form)
    >>> receipt.state, receipt.reason
    ('failed', 'the phone is off or out of reach (Twilio 30003)')
    """
    sid, status = _text(form, "MessageSid"), _text(form, "MessageStatus").lower()
    if status in _TWILIO_EARLIER:
        return None
    state = _state(_TWILIO, status)
    code = form.get("ErrorCode") or ""
    meaning = TWILIO.get(int(code)) if code.isascii() and code.isdigit() else None
    failed = state == "failed"
    return DeliveryReceipt(
        f"twilio:{sid}:{status}",
        "sms",
        state,
        provider_id=sid,
        message_key=message_key,
        reason=told("Twilio", code[:8] or "without a code", meaning) if failed else None,
        is_opt_out=failed and meaning is not None and meaning.about == "opt-out",
        address=form.get("To"),
    )


def africas_talking_receipt(
    form: Mapping[str, str], message_key: str | None = None
) -> DeliveryReceipt:
    """A delivery report of Africa's Talking.

    Examples
    --------
    >>> receipt = africas_talking_receipt(
    ...     {"id": "AT1", "status": "Rejected", "failureReason": "UserInBlackList"})
    >>> receipt.state, receipt.is_opt_out
    ('failed', True)
    """
    message, status = _text(form, "id"), _text(form, "status")
    state = _state(_AFRICAS_TALKING, status)
    why = "".join(c for c in form.get("failureReason") or "" if c.isalpha())[:40]
    meaning = _AFRICAS_TALKING_REASONS.get((why or status).lower())
    failed = state == "failed"
    return DeliveryReceipt(
        f"africas-talking:{message}:{status}",
        "sms",
        state,
        provider_id=message,
        message_key=message_key,
        reason=told("Africa's Talking", why or status, meaning) if failed else None,
        is_opt_out=failed and meaning is not None and meaning.about == "opt-out",
        address=form.get("phoneNumber"),
    )


def webhook_receipt(found: Any) -> DeliveryReceipt:
    """A receipt of a channel of the user's own.

    Keys: id, channel, state, message_key or provider_id; where they apply reason, refused (true),
    at (ISO 8601 with an offset).
    """
    if not isinstance(found, dict):
        raise InputError("found no JSON object; needed a receipt with id, channel and state")
    key, provider = (_maybe(found, name) for name in ("message_key", "provider_id"))
    if key is None and provider is None:
        raise InputError("found neither message_key nor provider_id; needed one of them")
    state = _text(found, "state")
    reason = found.get("reason")  # a text for people: cleaned, never a reason to refuse
    return DeliveryReceipt(
        f"webhook:{_text(found, 'id')}",
        _text(found, "channel"),
        _state(dict(zip(STATES, STATES, strict=True)), state),
        provider_id=provider,
        message_key=key,
        reason=clean_text(str(reason), 200) or None if reason is not None else None,
        is_opt_out=found.get("refused") is True,
        at=_moment(_maybe(found, "at")),
    )


def _text(form: Mapping[str, Any], name: str) -> str:
    value = form.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"found no '{name}'; needed it; nothing was stored")
    if (fault := text_fault(value)) is not None:
        raise InputError(f"found {fault} in '{name}'; needed text without it; nothing was stored")
    return value.strip()


def _maybe(form: Mapping[str, Any], name: str) -> str | None:
    return None if form.get(name) is None else _text(form, name)


def _state(states: Mapping[str, str], status: str) -> str:
    if status not in states:
        known = ", ".join(states)
        raise InputError(f"found status {status[:40]!r}; needed one of {known}; nothing was stored")
    return states[status]


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    wrong = InputError("found another 'at'; needed a time as 2024-03-05T17:02:11-05:00")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise wrong from None
    if moment.tzinfo is None:
        raise wrong
    return moment
