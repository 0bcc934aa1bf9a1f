"""Whether a provider's call is the provider's own."""

import base64
import hashlib
import hmac
from collections.abc import Iterable

__all__ = ["REPLAY_WINDOW_SECONDS", "sign_webhook", "twilio_signature", "webhook_fault"]

REPLAY_WINDOW_SECONDS = 300


def twilio_signature(token: str, url: str, form: Iterable[tuple[str, str]]) -> str:
    """What Twilio puts into ``X-Twilio-Signature``.

    Parameters
    ----------
    token : str
        The account's auth token.
    url : str
        The address as it was given to Twilio, with its query.
    form : iterable of (name, value)
        The fields of the posted form.

    Notes
    -----
    HMAC-SHA1, in base 64, of the address followed by the form's names and values in the order of
    names. A field that comes several times counts once a value, in the order of values.

    References
    ----------
    Twilio, Webhooks security: the X-Twilio-Signature header.

    Examples
    --------
    >>> form = [("Digits", "1234"), ("To", "+18005551212"), ("From", "+14158675310"),
    ...         ("Caller", "+14158675310"), ("CallSid", "CA1234567890ABCDE")]
    >>> twilio_signature("12345", "https://example.com/myapp.php?foo=1&bar=2", form)
    'L/OH5YylLD5NRKLltdqwSvS0BnU='
    """
    signed = url + "".join(name + value for name, value in sorted(set(form)))
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def sign_webhook(secret: str, body: bytes, at_seconds: int) -> str:
    """The header ``X-Wavewise-Signature`` for a body sent at a time: ``t=SECONDS,v1=HEX``.

    The signature is HMAC-SHA256 of the time, a full stop and the body.
    """
    signed = str(at_seconds).encode() + b"." + body
    return f"t={at_seconds},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def webhook_fault(secret: str, body: bytes, header: str, now_seconds: float) -> str | None:
    """Why a signed call is refused; None where it is sound.

    Examples
    --------
    >>> header = sign_webhook("secret", b"{}", 1_700_000_000)
    >>> webhook_fault("secret", b"{}", header, 1_700_000_010) is None
    True
    >>> webhook_fault("secret", b"{}", header, 1_700_000_400)
    'found a time-stamp 400 seconds away; needed one within 300 seconds'
    """
    parts = dict(part.strip().partition("=")[::2] for part in header.split(","))
    stamp = parts.get("t", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return "found no time-stamp in X-Wavewise-Signature; needed t=SECONDS,v1=HEX"
    expected = sign_webhook(secret, body, int(stamp)).partition("v1=")[2]
    if not hmac.compare_digest(expected.encode(), parts.get("v1", "").encode()):
        return "found a signature that does not fit; needed HMAC-SHA256 of time, full stop and body"
    away = abs(now_seconds - int(stamp))
    if away > REPLAY_WINDOW_SECONDS:
        return (
            f"found a time-stamp {away:.0f} seconds away; needed one within "
            f"{REPLAY_WINDOW_SECONDS} seconds"
        )
    return None
