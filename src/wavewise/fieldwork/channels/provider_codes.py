"""What providers' codes mean, and whom each is about.

A code about the recipient never stops a channel; one about the account never marks a recipient: the
message waits until the account is put right. Reasons carry the provider's own code and words, so
that they can be looked up and quoted to its support.

References
----------
Firebase, "FCM error codes". Twilio, "Error and warning dictionary". Africa's Talking, "SMS:
sending" and "Voice: make calls". SMPP 3.4, section 5.1.3. RFC 3463 (enhanced mail status codes).
"""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from wavewise.fieldwork.channels.base import NotSent, Refused, Unknown

About: TypeAlias = Literal["recipient", "opt-out", "message", "account", "busy", "unclear"]


@dataclass(frozen=True)
class Meaning:
    """Whom a code is about, and what it says."""

    about: About
    text: str


FCM = {
    "UNREGISTERED": Meaning("recipient", "the device token is not registered any more"),
    "SENDER_ID_MISMATCH": Meaning("recipient", "the device token belongs to another sender"),
    "INVALID_ARGUMENT": Meaning("message", "the device token or the message is not valid"),
    "THIRD_PARTY_AUTH_ERROR": Meaning(
        "message", "the APNs certificate or key (iPhones) or the web push key is missing or expired"
    ),
    "QUOTA_EXCEEDED": Meaning("busy", "too many messages for the project or the device"),
    "UNAUTHENTICATED": Meaning("account", "the service account was rejected"),
    "PERMISSION_DENIED": Meaning("account", "the service account may not send for this project"),
    "UNAVAILABLE": Meaning("unclear", "the server is overloaded"),
    "INTERNAL": Meaning("unclear", "the server failed"),
}

TWILIO = {
    14107: Meaning("busy", "too many messages"),
    20003: Meaning("account", "the credentials were rejected"),
    20005: Meaning("account", "the account is not active"),
    20006: Meaning("account", "the account has no access"),
    20008: Meaning("account", "test credentials cannot send"),
    20404: Meaning("account", "the account or the sender does not exist"),
    20429: Meaning("busy", "too many requests"),
    21211: Meaning("recipient", "not a valid phone number"),
    21214: Meaning("recipient", "the number cannot be reached"),
    21215: Meaning("message", "calls to this country are not enabled in the account"),
    21217: Meaning("recipient", "not a valid phone number"),
    21219: Meaning("account", "a trial account sends to verified numbers only"),
    21408: Meaning("message", "messages to this country are not enabled in the account"),
    21602: Meaning("message", "the text is empty"),
    21603: Meaning("account", "the sender is missing"),
    21605: Meaning("message", "the text is too long"),
    21606: Meaning("account", "the sender is not a number of the account that can send SMS"),
    21608: Meaning("account", "a trial account sends to verified numbers only"),
    21610: Meaning("opt-out", "the recipient unsubscribed"),
    21611: Meaning("busy", "the sender's queue is full"),
    21612: Meaning("recipient", "no route from the sender to this number"),
    21614: Meaning("recipient", "not a mobile number"),
    21617: Meaning("message", "the text is too long"),
    21635: Meaning("recipient", "a landline, which takes no SMS"),
    21659: Meaning("account", "the sender is not a Twilio number"),
    21660: Meaning("account", "the sender belongs to another account"),
    21661: Meaning("account", "the sender cannot send SMS"),
    21703: Meaning("account", "the messaging service has no sender"),
    21705: Meaning("account", "the messaging service does not exist"),
    30001: Meaning("busy", "the sender's queue is full"),
    30002: Meaning("account", "the account is suspended"),
    30003: Meaning("recipient", "the phone is off or out of reach"),
    30004: Meaning("recipient", "the recipient's phone or operator blocks the message"),
    30005: Meaning("recipient", "the number is unknown or no longer in use"),
    30006: Meaning("recipient", "a landline, or an operator that cannot be reached"),
    30007: Meaning("message", "filtered by the operator as spam"),
    30008: Meaning("unclear", "the operator gave no reason"),
    30010: Meaning("message", "dearer than the account's highest price"),
    30022: Meaning("busy", "above the rate of the registered campaign (A2P 10DLC)"),
    30023: Meaning("account", "the daily message limit is reached"),
    30024: Meaning("account", "the sender is not set up with the operator"),
    30027: Meaning("account", "the operator's daily message limit is reached"),
    30032: Meaning("account", "the toll-free number is not verified"),
    30034: Meaning("account", "the sender is not registered (A2P 10DLC)"),
    63003: Meaning("recipient", "not an address of this channel"),
    63007: Meaning("account", "the sender is not set up for this channel"),
    63016: Meaning("message", "outside the 24-hour window, without an approved template"),
    63018: Meaning("busy", "too many messages"),
    63024: Meaning("recipient", "the recipient cannot be messaged on this channel"),
    63038: Meaning("account", "the daily message limit is reached"),
}

AFRICAS_TALKING: dict[int | str, Meaning] = {
    401: Meaning("account", "held as a risk"),
    402: Meaning("account", "the sender id is not valid"),
    403: Meaning("recipient", "not a phone number"),
    404: Meaning("recipient", "not a number that takes SMS"),
    405: Meaning("account", "no credit is left"),
    406: Meaning("opt-out", "the recipient is in the blacklist"),
    407: Meaning("recipient", "no route to the number"),
    409: Meaning("opt-out", "the recipient asked not to be disturbed"),
    500: Meaning("unclear", "the server failed"),
    501: Meaning("unclear", "the gateway failed"),
    502: Meaning("recipient", "rejected by the gateway"),
    # Calls.
    "InvalidPhoneNumber": Meaning("recipient", "not a phone number"),
    "DestinationNotSupported": Meaning("recipient", "calls to this number are not supported"),
    "InsufficientCredit": Meaning("account", "no credit is left"),
    "InvalidPhoneNumber.CallerId": Meaning("account", "the caller id is not valid"),
    # Delivery reports of messages; credit is the subscriber's there.
    "AbsentSubscriber": Meaning("recipient", "the phone is off or out of reach"),
    "DeliveryFailure": Meaning("unclear", "the operator gave no reason"),
    "DoNotDisturbRejection": Meaning("opt-out", "the recipient asked not to be disturbed"),
    "NotNetworkSubscriber": Meaning("recipient", "the number belongs to another operator"),
    "UserAccountSuspended": Meaning("recipient", "the recipient's line is suspended"),
    "UserDoesNotExist": Meaning("recipient", "the number is not in use"),
    "UserInBlackList": Meaning("opt-out", "the recipient is in the blacklist"),
    "UserIsInactive": Meaning("recipient", "the recipient's line is not active"),
    "UserOptedOut": Meaning("opt-out", "the recipient unsubscribed"),
}

SMPP = {
    "ESME_RALYBND": Meaning("account", "the session is in use elsewhere"),
    "ESME_RBINDFAIL": Meaning("account", "the gateway rejected the session"),
    "ESME_RINVDSTADR": Meaning("recipient", "not a number that the gateway takes"),
    "ESME_RINVDSTNPI": Meaning("recipient", "not a number that the gateway takes"),
    "ESME_RINVDSTTON": Meaning("recipient", "not a number that the gateway takes"),
    "ESME_RINVMSGLEN": Meaning("message", "the text is too long for the gateway"),
    "ESME_RINVPASWD": Meaning("account", "the password was rejected"),
    "ESME_RINVSRCADR": Meaning("account", "the sender was rejected"),
    "ESME_RINVSRCNPI": Meaning("account", "the sender was rejected"),
    "ESME_RINVSRCTON": Meaning("account", "the sender was rejected"),
    "ESME_RINVSYSID": Meaning("account", "the user was rejected"),
    "ESME_RMSGQFUL": Meaning("busy", "the gateway's queue is full"),
    "ESME_RTHROTTLED": Meaning("busy", "too many messages"),
    "ESME_RX_T_APPN": Meaning("busy", "the gateway cannot take it now"),
}

# RFC 3463: subject and detail, whatever the class. The longest that fits decides.
MAIL = {
    "1": Meaning("recipient", "the address does not exist"),
    "1.7": Meaning("account", "the sender's address is not valid"),
    "1.8": Meaning("account", "the sender's domain is not valid"),
    "2": Meaning("recipient", "the mailbox takes no mail"),
    "2.2": Meaning("recipient", "the mailbox is full"),
    "3": Meaning("unclear", "the recipient's mail system failed"),
    "3.4": Meaning("message", "the mail is too large"),
    "4": Meaning("unclear", "the mail cannot be routed"),
    "4.5": Meaning("account", "the sending limit is reached"),
    "5": Meaning("unclear", "the mail servers do not understand each other"),
    "6": Meaning("message", "the content was rejected"),
    "7": Meaning("message", "the server's policy rejects the mail"),
    "7.2": Meaning("recipient", "the recipient takes no mail from this sender"),
    "7.13": Meaning("recipient", "the recipient's account is disabled"),
    "7.17": Meaning("recipient", "the mailbox has changed hands"),
}


# What providers say of a number or address that is nobody's, or takes no messages of this kind.
INVALID_ADDRESS = frozenset(
    {
        "not a valid phone number",
        "not a mobile number",
        "not a phone number",
        "not a number that takes SMS",
        "not a number that the gateway takes",
        "a landline, which takes no SMS",
        "the number is unknown or no longer in use",
        "the number is not in use",
        "the number does not exist",
        "the address does not exist",
        "the address is gone",
        "the device token is not registered any more",
    }
)


def verdict(
    provider: str, code: object, meaning: Meaning, words: str = "", wait: float | None = None
) -> NotSent | Refused | Unknown:
    """What a provider's error proves; ``wait`` is how many seconds it asks for."""
    reason = told(provider, code, meaning, words)
    match meaning.about:
        case "opt-out":
            return Refused(reason, is_opt_out=True)
        case "recipient":
            return Refused(reason)
        case "account":
            return NotSent(reason, retry=True, retry_after_seconds=wait, stops_channel=True)
        case "busy":
            return NotSent(reason, retry=True, retry_after_seconds=wait)
        case "message":
            return NotSent(reason)
        case _:
            return Unknown(reason)


def told(provider: str, code: object, meaning: Meaning | None, words: str = "") -> str:
    """A reason: the documented meaning, then the provider's own code and words."""
    own = without_addresses(words)
    source = f"{provider} {code}" + (f": {own}" if own else "")
    return f"{meaning.text} ({source})" if meaning else source


def is_invalid_address(reason: str | None) -> bool:
    """Whether a provider's reason says that a number or address is nobody's.

    A phone that is off, or that blocks messages, has a number.

    Examples
    --------
    >>> is_invalid_address("not a valid phone number (Twilio 21211)")
    True
    >>> is_invalid_address("the phone is off or out of reach (Twilio 30003)")
    False
    """
    return reason is not None and reason.partition(" (")[0] in INVALID_ADDRESS


def without_addresses(words: str, longest: int = 120) -> str:
    """A provider's words on one line, without anything that could name a person."""
    text = re.sub(r"\S+://\S+|\S*@\S+|\S{25,}", "…", " ".join(words.split()))
    text = re.sub(r"\+?\d[\d\s().-]{3,}\d", "…", text)
    if not any(c.isalpha() for c in text):
        return ""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def mail_meaning(status: int, words: str) -> tuple[str, Meaning | None]:
    """The code to name and what it means; None where a mail server's reply says nothing more."""
    found = re.match(r"\s*[245]\.(\d{1,3})\.(\d{1,3})\b", words)
    if found is None:
        return str(status), None
    subject, detail = found.groups()
    return found.group().strip(), MAIL.get(f"{subject}.{detail}") or MAIL.get(subject)
