"""Push notifications by Firebase Cloud Messaging, HTTP v1.

References
----------
Firebase, "Send a message using FCM HTTP v1 API" and "FCM error codes"; RFC 7523 (the signed claim
by which a service account gets its access token).
"""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import (
    Accepted,
    NotSent,
    Outgoing,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.http import (
    Clients,
    call,
    json_of,
    retry_after_seconds,
    unproven,
)
from wavewise.fieldwork.channels.provider_codes import FCM, verdict
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets

__all__ = ["FcmChannel", "open_channel"]

BASE_URL = "https://fcm.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
KEY_FILE = "fcm_key_file"
_TOKEN_SECONDS = 3_600
_RENEW_BEFORE_SECONDS = 300
_NEEDED = ("client_email", "private_key", "token_uri", "project_id")


class FcmChannel:
    """Push to device tokens."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, account: dict[str, str]) -> None:
        self.name = settings.channel
        self._account = account
        project = settings.option("project", account["project_id"])
        base = settings.base_url or BASE_URL
        self._url = f"{base}/v1/projects/{project}/messages:send"
        self._clients = Clients(settings)
        self._access = ""
        self._ends = 0.0
        self._renewing = asyncio.Lock()

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Send once."""
        failed = await self._renew()
        if failed is not None:
            return failed
        notification = {"title": outgoing.title, "body": outgoing.text}
        message: dict[str, Any] = {
            "token": outgoing.address,
            "notification": {key: value for key, value in notification.items() if value},
            "data": {"message_key": outgoing.key},  # for the app: drop repeats, report opening
        }
        headers = {"authorization": f"Bearer {self._access}"}
        answer = await call(
            self._clients, "POST", self._url, json={"message": message}, headers=headers
        )
        if isinstance(answer, NotSent | Unknown):
            return answer
        if answer.status_code == 200:
            name = json_of(answer).get("name")
            return Accepted(name if isinstance(name, str) else None)
        code, words = _error(json_of(answer))
        if code == "UNAUTHENTICATED":
            self._ends = 0.0  # a new token before the next message
        if code in FCM:
            return verdict("FCM", code, FCM[code], words, retry_after_seconds(answer))
        return unproven(answer, words)

    async def close(self) -> None:
        """Give connections back."""
        await self._clients.aclose()

    async def _renew(self) -> SendResult | None:
        """A fresh access token where the old one ends soon; why there is none."""
        async with self._renewing:
            if time.monotonic() < self._ends:
                return None
            form = {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": signed_claim(self._account, int(time.time())),
            }
            answer = await call(self._clients, "POST", self._account["token_uri"], data=form)
            if isinstance(answer, NotSent | Unknown):
                return NotSent(
                    "no access token: the server cannot be reached", retry=True, of_provider=True
                )
            found = json_of(answer)
            if answer.status_code >= 500:
                return NotSent("no access token: the server failed", retry=True, of_provider=True)
            if answer.status_code != 200 or not isinstance(found.get("access_token"), str):
                text = "no access token: the service account is refused"
                return NotSent(text, retry=True, stops_channel=True)
            self._access = found["access_token"]
            lasts = float(found.get("expires_in", _TOKEN_SECONDS))
            self._ends = time.monotonic() + max(1.0, lasts - _RENEW_BEFORE_SECONDS)
            return None


def signed_claim(account: dict[str, str], now: int) -> str:
    """The claim of a service account, signed with its key (RS256)."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    claim = {
        "iss": account["client_email"],
        "scope": SCOPE,
        "aud": account["token_uri"],
        "iat": now,
        "exp": now + _TOKEN_SECONDS,
    }
    text = f"{_encoded({'alg': 'RS256', 'typ': 'JWT'})}.{_encoded(claim)}"
    try:
        key = serialization.load_pem_private_key(account["private_key"].encode(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InputError("the FCM key file holds no RSA key; needed the one that Google gave")
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{_base64(signature)}"


def open_channel(settings: ChannelSettings, secrets: Secrets) -> FcmChannel:
    """The channel, its service account read from the key file."""
    settings.know_only("project")
    return FcmChannel(settings, _account(Path(secrets.need(KEY_FILE))))


def _account(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    if not all(isinstance(found.get(name), str) for name in _NEEDED):
        raise InputError(
            f"{KEY_FILE}: found no service account there; needed Google's JSON key file with "
            f"{', '.join(_NEEDED)}"
        )
    return {name: found[name] for name in _NEEDED}


def _error(body: dict[str, Any]) -> tuple[str, str]:
    """FCM's own error code (in the details, else the status) and its words."""
    error = body.get("error")
    if not isinstance(error, dict):
        return "", ""
    words = str(error.get("message") or "")
    for detail in error.get("details") or ():
        if isinstance(detail, dict) and isinstance(detail.get("errorCode"), str):
            return str(detail["errorCode"]), words
    return str(error.get("status", "")), words


def _encoded(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
