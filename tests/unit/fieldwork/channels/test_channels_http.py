"""Channels against local servers that speak the providers' documented forms and error codes."""

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import httpx2
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import (
    Accepted,
    Channel,
    LooksUp,
    NotSent,
    Outgoing,
    Refused,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.http import retry_after_seconds, unproven
from wavewise.fieldwork.channels.settings import (
    ChannelSettings,
    Secrets,
    open_channel,
    read_channels,
)

Reply = tuple[int, object, dict[str, str]]


@dataclass
class Provider:
    """What came in, and what to answer."""

    url: str = ""
    requests: list[dict[str, object]] = field(default_factory=list)
    answer: Callable[[dict[str, object]], Reply | None] = lambda _: (200, {}, {})


@contextmanager
def provider(answer: Callable[[dict[str, object]], Reply | None]) -> Iterator[Provider]:
    state = Provider(answer=answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            path = self.path
            request = {"path": path, "headers": self.headers, "body": body, "method": self.command}
            state.requests.append(request)
            reply = state.answer(request)
            if reply is None:  # the connection breaks after the request was taken
                self.close_connection = True
                return
            status, content, headers = reply
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_POST = _do
        do_GET = _do

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SECRETS = {
    "WAVEWISE_TWILIO_AUTH_TOKEN": "tw-secret",
    "WAVEWISE_AFRICAS_TALKING_API_KEY": "at-secret",
    "WAVEWISE_WEBHOOK_SECRET": "hook-secret",
}
OPTIONS = {
    "twilio": {"account": "AC1", "from": "+15550000", "status_callback": "https://x.org/r"},
    "africas-talking": {"username": "sandbox", "from": "WAVE"},
    "webhook": {},
}
MESSAGE = Outgoing(key="k1", address="+254700000001", text="¿Practicó Ana hoy?", title="Hola")


def send(
    name: str,
    url: str,
    message: Outgoing = MESSAGE,
    secrets: dict[str, str] | None = None,
    options: dict[str, object] | None = None,
    timeout: float = 60.0,
) -> SendResult:
    async def once() -> SendResult:
        settings = ChannelSettings(
            "sms",
            name,
            url,
            timeout_seconds=timeout,
            concurrency=2,
            options=OPTIONS.get(name, {}) if options is None else options,
        )
        channel = open_channel(settings, Secrets({**SECRETS, **(secrets or {})}))
        assert isinstance(channel, Channel)
        try:
            return await channel.send(message)
        finally:
            await channel.close()

    return asyncio.run(once())


# --- Twilio


def twilio(request: dict[str, object]) -> Reply:
    user = base64.b64encode(b"AC1:tw-secret").decode()
    if request["headers"]["authorization"] != f"Basic {user}":
        return 401, {"code": 20003, "message": "Authenticate", "status": 401}, {}
    form = parse_qs(str(request["body"]))
    errors = {
        "+1610": (400, 21610),
        "+1211": (400, 21211),
        "+1429": (429, 20429),
        "+1606": (400, 21606),
    }
    if form["To"][0] in errors:
        status, code = errors[form["To"][0]]
        return status, {"code": code, "message": "...", "status": status}, {"retry-after": "7"}
    return 201, {"sid": "SM1", "status": "queued", "body": form["Body"][0]}, {}


def test_twilio_takes_the_documented_form() -> None:
    with provider(twilio) as server:
        assert send("twilio", server.url) == Accepted("SM1")
        request = server.requests[0]
    assert request["path"] == "/2010-04-01/Accounts/AC1/Messages.json"
    assert parse_qs(request["body"]) == {
        "To": ["+254700000001"],
        "From": ["+15550000"],
        "Body": ["¿Practicó Ana hoy?"],
        "StatusCallback": ["https://x.org/r?message_key=k1"],
    }


@pytest.mark.parametrize(
    ("number", "kind", "wanted"),
    [
        ("+1610", Refused, {"is_opt_out": True}),
        ("+1211", Refused, {"is_opt_out": False}),
        ("+1429", NotSent, {"retry": True, "stops_channel": False}),
        ("+1606", NotSent, {"retry": True, "stops_channel": True}),
    ],
)
def test_twilio_error_codes(number: str, kind: type, wanted: dict[str, object]) -> None:
    with provider(twilio) as server:
        found = send("twilio", server.url, Outgoing(key="k", address=number, text="x"))
    assert isinstance(found, kind)
    assert {name: getattr(found, name) for name in wanted} == wanted
    assert number not in str(found)


def test_twilio_refuses_a_wrong_password() -> None:
    with provider(twilio) as server:
        wrong = {"WAVEWISE_TWILIO_AUTH_TOKEN": "wrong"}
        found = send("twilio", server.url, secrets=wrong)
    assert isinstance(found, NotSent) and found.stops_channel


def test_twilio_look_up_finds_what_an_answer_did_not_tell() -> None:
    def listed(request: dict[str, object]) -> Reply:
        if "/Messages/SM7.json" in str(request["path"]):
            return 200, {"sid": "SM7", "status": "undelivered", "error_code": 30003}, {}
        rows = [
            {"sid": "old", "body": "x", "date_created": "Mon, 02 Oct 2023 17:00:05 +0000"},
            {
                "sid": "SM9",
                "body": "x",
                "status": "delivered",
                "date_created": "Mon, 09 Oct 2023 17:00:05 +0000",
            },
            {"sid": "other", "body": "y", "date_created": "Mon, 09 Oct 2023 17:00:05 +0000"},
        ]
        return 200, {"messages": rows}, {}

    async def ask(url: str) -> list[SendResult | None]:
        settings = ChannelSettings("sms", "twilio", url, options=OPTIONS["twilio"], concurrency=1)
        channel = open_channel(settings, Secrets(SECRETS))
        assert isinstance(channel, LooksUp)
        since = datetime(2023, 10, 9, 17, tzinfo=UTC)
        own = Outgoing(key="k", address="+1", text="x")
        other = Outgoing(key="k", address="+1", text="never sent")
        found = [
            await channel.look_up(own, None, since),
            await channel.look_up(other, None, since),
            await channel.look_up(own, "SM7", since),
        ]
        await channel.close()
        return found

    with provider(listed) as server:
        by_text, absent, by_name = asyncio.run(ask(server.url))
    assert by_text == Accepted("SM9", "delivered")
    assert absent is None  # a list that lags behind proves nothing
    assert isinstance(by_name, NotSent)


# --- Africa's Talking


def africas_talking(request: dict[str, object]) -> Reply:
    if request["headers"]["apikey"] != "at-secret":
        return 401, "The supplied authentication is invalid", {}
    form = parse_qs(str(request["body"]))
    number = form["to"][0]
    if number == "none":
        return 201, {"SMSMessageData": {"Message": "InvalidSenderId", "Recipients": []}}, {}
    code = int(number[-3:]) if number.startswith("+9") else 101
    row = {
        "statusCode": code,
        "number": number,
        "status": "...",
        "cost": "KES 0.8000",
        "messageId": "ATXid_1",
    }
    return 201, {"SMSMessageData": {"Message": "Sent to 1/1", "Recipients": [row]}}, {}


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        ("+254700000001", Accepted("ATXid_1")),
        ("+9102", Accepted("ATXid_1")),
        (
            "+9406",
            Refused("the recipient is in the blacklist (Africa's Talking 406)", is_opt_out=True),
        ),
        ("+9403", Refused("not a phone number (Africa's Talking 403)")),
        ("+9405", NotSent("no credit is left (Africa's Talking 405)", True, None, True)),
        ("+9500", Unknown("the server failed (Africa's Talking 500)")),
        (
            "none",
            NotSent(
                "the sender id is not valid (Africa's Talking 402: InvalidSenderId)",
                True,
                None,
                True,
            ),
        ),
    ],
)
def test_africas_talking(number: str, wanted: SendResult) -> None:
    with provider(africas_talking) as server:
        found = send("africas-talking", server.url, Outgoing(key="k", address=number, text="x"))
        assert server.requests[0]["path"] == "/version1/messaging"
        assert parse_qs(server.requests[0]["body"])["username"] == ["sandbox"]
    assert found == wanted


# --- FCM


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, rsa.RSAPublicKey]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("fcm") / "key.json"
    values = {"client_email": "x@y", "private_key": pem.decode(), "project_id": "proj"}
    path.write_text(json.dumps({**values, "token_uri": "TOKEN"}))
    return path, key.public_key()


def fcm_error(
    status: int, code: str, detail: str | None = None, wait: str = "", words: str = "..."
) -> Reply:
    error: dict[str, object] = {"code": status, "status": code, "message": words}
    if detail:
        kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
        error["details"] = [{"@type": kind, "errorCode": detail}]
    return status, {"error": error}, {"retry-after": wait} if wait else {}


def fcm_server(public: rsa.RSAPublicKey) -> Callable[[dict[str, object]], Reply]:
    def answer(request: dict[str, object]) -> Reply:
        if request["path"] == "/token":
            claim = parse_qs(str(request["body"]))["assertion"][0]
            signed, _, signature = claim.rpartition(".")
            public.verify(
                base64.urlsafe_b64decode(signature + "=="),
                signed.encode(),
                padding.PKCS1v15(),
                hashes.SHA256(),
            )
            return 200, {"access_token": "ya29", "expires_in": 3_600}, {}
        assert request["path"] == "/v1/projects/proj/messages:send"
        assert request["headers"]["authorization"] == "Bearer ya29"
        token = json.loads(str(request["body"]))["message"]["token"]
        later = format_datetime(datetime(2099, 3, 1, tzinfo=UTC), usegmt=True)
        table = {
            "gone": fcm_error(404, "NOT_FOUND", "UNREGISTERED"),
            "bad": fcm_error(400, "INVALID_ARGUMENT"),
            "other": fcm_error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
            "quota": fcm_error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "12"),
            "date": fcm_error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", later),
            "busy": fcm_error(503, "UNAVAILABLE", "UNAVAILABLE"),
            "iphone": fcm_error(
                401,
                "UNAUTHENTICATED",
                "THIRD_PARTY_AUTH_ERROR",
                words="Auth error from APNS or Web Push Service",
            ),
        }
        return table.get(token, (200, {"name": "projects/proj/messages/0:1"}, {}))

    return answer


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        ("good", Accepted("projects/proj/messages/0:1")),
        ("gone", Refused("the device token is not registered any more (FCM UNREGISTERED)")),
        ("bad", NotSent("the device token or the message is not valid (FCM INVALID_ARGUMENT)")),
        ("other", Refused("the device token belongs to another sender (FCM SENDER_ID_MISMATCH)")),
        (
            "quota",
            NotSent(
                "too many messages for the project or the device (FCM QUOTA_EXCEEDED)",
                retry=True,
                retry_after_seconds=12.0,
            ),
        ),
        (
            "iphone",
            NotSent(
                "the APNs certificate or key (iPhones) or the web push key is missing or expired "
                "(FCM THIRD_PARTY_AUTH_ERROR: Auth error from APNS or Web Push Service)"
            ),
        ),
        ("busy", Unknown("the server is overloaded (FCM UNAVAILABLE)")),
    ],
)
def test_fcm(account: tuple[Path, rsa.RSAPublicKey], token: str, wanted: SendResult) -> None:
    path, public = account
    with provider(fcm_server(public)) as server:
        own = path.with_name("own.json")
        own.write_text(path.read_text().replace("TOKEN", f"{server.url}/token"))
        found = send(
            "fcm",
            server.url,
            Outgoing(key="k", address=token, text="x"),
            secrets={"WAVEWISE_FCM_KEY_FILE": str(own)},
            options={},
        )
    assert found == wanted


# --- what every channel over HTTP shares


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ((200, {"id": "h1"}, {}), Accepted),
        ((204, "", {}), Accepted),
        ((301, "", {"location": "/x"}), NotSent),
        ((400, "", {}), NotSent),
        ((402, "", {}), NotSent),
        ((408, "", {}), NotSent),
        ((409, "", {}), Unknown),  # an earlier request with the same key may be taken
        ((410, "", {}), Refused),
        ((451, "", {}), Refused),
        ((500, "", {}), Unknown),
        ((503, "", {"retry-after": "3"}), Unknown),  # it may have been taken before
        (None, Unknown),
    ],
)
def test_what_a_webhook_answer_proves(reply: Reply | None, kind: type) -> None:
    with provider(lambda _: reply) as server:
        found = send("webhook", server.url)
        request = server.requests[0]
    assert isinstance(found, kind)
    assert request["headers"]["idempotency-key"] == "k1"
    stamp, made = request["headers"]["x-wavewise-signature"].split(",")
    from wavewise.fieldwork.channels.webhook import signature

    again = signature("hook-secret", request["body"].encode(), int(stamp[2:]))
    assert again == f"{stamp},{made}"


def test_a_provider_that_hangs_leaves_it_unknown() -> None:
    released = threading.Event()

    def hang(_: dict[str, object]) -> Reply:
        released.wait(10)
        return 200, {}, {}

    with provider(hang) as server:
        found = send("webhook", server.url, timeout=0.3)
        released.set()
    assert found == Unknown("no answer in time")


def test_nobody_there_proves_that_nothing_was_sent() -> None:
    found = send("webhook", "http://127.0.0.1:9")
    assert found == NotSent("the provider cannot be reached", retry=True, of_provider=True)


@pytest.mark.parametrize("name", ["twilio", "africas-talking", "fcm"])
def test_a_missing_secret_is_named_and_none_is_shown(name: str) -> None:
    async def opened() -> None:
        open_channel(ChannelSettings("sms", name, options=OPTIONS.get(name, {})), Secrets({}))

    with pytest.raises(InputError, match="found no secret '"):
        asyncio.run(opened())
    assert "tw-secret" not in repr(Secrets(SECRETS))


def test_channels_file_holds_no_secrets(tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    path.write_text('[sms]\nprovider = "twilio"\nauth_token = "x"\nrate_per_second = 0\n')
    with pytest.raises(InputError) as caught:
        read_channels(path)
    assert [fault.path for fault in caught.value.faults] == [
        "sms.auth_token",
        "sms.rate_per_second",
    ]


def test_secrets_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets.toml"
    path.write_text('smtp_password = "p"\n')
    path.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        Secrets.read({"WAVEWISE_SECRETS_FILE": str(path)})
    path.chmod(0o600)
    assert Secrets.read({"WAVEWISE_SECRETS_FILE": str(path)}).need("smtp_password") == "p"


def test_only_the_rate_may_be_without_limit(tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    path.write_text('[sms]\nprovider = "twilio"\nrate_per_second = inf\n')
    assert read_channels(path)["sms"].rate_per_second == float("inf")
    path.write_text('[sms]\nprovider = "twilio"\nconcurrency = inf\ntimeout_seconds = inf\n')
    with pytest.raises(InputError) as caught:
        read_channels(path)
    paths = [fault.path for fault in caught.value.faults]
    assert paths == ["sms.timeout_seconds", "sms.concurrency"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0661", None),
        ("", None),
    ],
)
def test_retry_after_in_every_form(text: str, wanted: float | None) -> None:
    """A date counts from the answer's own: neither clock has to be right."""
    headers = {"date": "Sun, 06 Nov 1994 08:49:37 GMT", "retry-after": text.encode()}
    assert retry_after_seconds(httpx2.Response(503, headers=headers)) == wanted


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 405, 422])
def test_a_bare_status_speaks_of_the_provider_and_proves_that_nothing_was_taken(
    status: int,
) -> None:
    found = unproven(httpx2.Response(status))
    assert isinstance(found, NotSent)
    assert found.of_provider
    assert not found.retry
