"""SMPP, MQTT, web push and apprise against real servers on loopback."""

import asyncio
import base64
import gc
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from gateways import free_port, mosquitto, smpp_server
from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import (
    Accepted,
    NotSent,
    Outgoing,
    Refused,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets, open_channel

# aiosmpplib drops its streams without closing them; apprise asks for a module that Python drops
untidy_smpp = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
untidy_apprise = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def message(address: str, text: str = "¿Y Ana?", key: str = "k1") -> Outgoing:
    return Outgoing(key=key, address=address, text=text, title="Hola", message_id="peers")


def send(
    settings: ChannelSettings, secrets: dict[str, str], *messages: Outgoing
) -> list[SendResult]:
    """What a channel says of messages that are sent at the same time."""

    async def run() -> list[SendResult]:
        channel = open_channel(settings, Secrets(file=secrets))
        try:
            return list(await asyncio.gather(*(channel.send(one) for one in messages)))
        finally:
            await channel.close()

    found = asyncio.run(run())
    gc.collect()  # what a library left open is told of in the test that used it
    return found


def smpp(port: int, **changes: object) -> ChannelSettings:
    options = {"url": f"smpp://127.0.0.1:{port}", "user": "study", "from": "Conecta"}
    return ChannelSettings("sms", "smpp", timeout_seconds=3.0, options=options, **changes)


@untidy_smpp
@pytest.mark.system
def test_smpp_takes_refuses_hangs_and_breaks(tmp_path: Path) -> None:
    with smpp_server(tmp_path) as (port, log):
        ok, gone, busy, hangs = send(
            smpp(port),
            {"smpp_password": "secret"},
            message("+51900000001", key="a"),
            message("+51900000404", key="b"),
            message("+51900000429", key="c"),
            message("+51900000000", key="d"),
        )
        assert ok == Accepted("m1")
        assert gone == Refused("not a number that the gateway takes (SMPP ESME_RINVDSTADR)")
        assert isinstance(busy, NotSent)
        assert busy.retry
        assert hangs == Unknown("no answer in time")
        (broken,) = send(smpp(port), {"smpp_password": "secret"}, message("+51900000666"))
        assert isinstance(broken, Unknown)
        received = [json.loads(line) for line in log.read_text().splitlines()]
    assert received[0] == {"to": "51900000001", "text": "¿Y Ana?", "from": "Conecta"}
    assert len(received) == 5  # nothing was sent twice


@untidy_smpp
@pytest.mark.system
def test_smpp_carries_other_scripts_and_long_texts(tmp_path: Path) -> None:
    texts = ["Масштаб ✓", "x" * 300]
    with smpp_server(tmp_path) as (port, log):
        found = send(
            smpp(port),
            {"smpp_password": "secret"},
            *(message("+51900000001", text, key=text[:2]) for text in texts),
        )
        assert all(isinstance(one, Accepted) for one in found)
        received = {json.loads(line)["text"] for line in log.read_text().splitlines()}
    assert received == set(texts)


@untidy_smpp
@pytest.mark.system
def test_smpp_without_a_session_sends_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("wavewise.fieldwork.channels.smpp.BIND_SECONDS", 1.0)
    with smpp_server(tmp_path) as (port, log):
        (refused,) = send(smpp(port), {"smpp_password": "wrong"}, message("+51900000001"))
        assert isinstance(refused, NotSent)
        assert refused.retry
        assert log.read_text() == ""
    (nobody,) = send(smpp(free_port()), {"smpp_password": "secret"}, message("+51900000001"))
    assert isinstance(nobody, NotSent)


def test_smpp_names_a_password_that_the_protocol_has_no_room_for() -> None:
    with pytest.raises(InputError, match="needed at most 8") as told:
        send(smpp(free_port()), {"smpp_password": "ninechars"})
    assert "ninechars" not in str(told.value)


def mqtt(port: int, **options: str) -> ChannelSettings:
    own = {"url": f"mqtt://127.0.0.1:{port}", "topic": "wavewise/units", **options}
    return ChannelSettings("mqtt", "mqtt", timeout_seconds=3.0, options=own)


@pytest.mark.system
def test_mqtt_reaches_whoever_subscribed(tmp_path: Path) -> None:
    import aiomqtt

    async def run(port: int) -> tuple[list[SendResult], list[tuple[str, dict[str, str]]]]:
        heard: list[tuple[str, dict[str, str]]] = []
        async with aiomqtt.Client("127.0.0.1", port) as phone:
            await phone.subscribe("wavewise/units/#", qos=1)
            channel = open_channel(mqtt(port), Secrets())
            found = [await channel.send(message(a, key=a)) for a in ("u1", "u2", "u/#", "")]
            await channel.close()
            async with asyncio.timeout(60):
                async for one in phone.messages:
                    heard.append((str(one.topic), json.loads(one.payload)))
                    if len(heard) == 2:
                        break
        return found, heard

    with mosquitto(tmp_path) as port:
        found, heard = asyncio.run(run(port))
    assert found[:2] == [Accepted("u1"), Accepted("u2")]
    assert all(isinstance(one, NotSent) and not one.retry for one in found[2:])
    assert [topic for topic, _ in heard] == ["wavewise/units/u1", "wavewise/units/u2"]
    assert heard[0][1] == {"key": "u1", "message": "peers", "title": "Hola", "text": "¿Y Ana?"}


@pytest.mark.system
def test_mqtt_logs_in_and_says_what_stops_it(tmp_path: Path) -> None:
    with mosquitto(tmp_path, password="secret") as port:
        settings = mqtt(port, user="study")
        assert send(settings, {"mqtt_password": "secret"}, message("u1")) == [Accepted("k1")]
        (refused,) = send(settings, {"mqtt_password": "wrong"}, message("u1"))
        assert isinstance(refused, NotSent)
        assert refused.stops_channel
    (gone,) = send(mqtt(free_port()), {}, message("u1"))
    assert gone == NotSent("the broker cannot be reached", retry=True, of_provider=True)


class PushService(BaseHTTPRequestHandler):
    """A push service that keeps what it gets and answers what the path asks for."""

    received: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.received.append((self.path, dict(self.headers), body))
        status = int(self.path.rsplit("/", 1)[1])
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "7")
        if status == 201:
            self.send_header("Location", "/message/1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def push_service() -> Iterator[str]:
    PushService.received.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), PushService)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_web_push_is_what_the_browser_can_open(push_service: str) -> None:
    import http_ece
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from py_vapid import Vapid02

    browser, secret = ec.generate_private_key(ec.SECP256R1()), b"sixteen bytes 16"
    public = browser.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def text(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def subscription(status: int) -> str:
        keys = {"p256dh": text(public), "auth": text(secret)}
        return json.dumps({"endpoint": f"{push_service}/{status}", "keys": keys})

    vapid = Vapid02()
    vapid.generate_keys()
    raw = vapid.private_key.private_numbers().private_value.to_bytes(32, "big")
    settings = ChannelSettings(
        "web-push",
        "web-push",
        timeout_seconds=3.0,
        options={"contact": "mailto:team@example.test", "allow_http": True},
    )
    ok, gone, busy, broken, no = send(
        settings,
        {"web_push_private_key": text(raw)},
        *(message(subscription(status)) for status in (201, 410, 429, 503)),
        message("no subscription"),
    )
    assert ok == Accepted("/message/1")
    assert isinstance(gone, Refused)
    assert not gone.is_opt_out
    assert busy == NotSent("too many requests", retry=True, retry_after_seconds=7.0)
    assert isinstance(broken, Unknown)
    assert isinstance(no, NotSent)
    _, headers, body = next(one for one in PushService.received if one[0] == "/201")
    opened = http_ece.decrypt(body, private_key=browser, auth_secret=secret, version="aes128gcm")
    assert json.loads(opened) == {"title": "Hola", "body": "¿Y Ana?", "key": "k1"}
    token = headers["Authorization"].removeprefix("vapid t=").split(",")[0]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["aud"] == push_service
    assert claims["sub"] == "mailto:team@example.test"


@untidy_apprise
def test_apprise_notifies_or_knows_nothing(push_service: str) -> None:
    host = push_service.removeprefix("http://")
    settings = ChannelSettings("webhook", "apprise", timeout_seconds=3.0)
    secrets = {"apprise_url": f"json://{host}/{{address}}"}
    ok, broken = send(settings, secrets, message("200"), message("500"))
    assert ok == Accepted()
    assert isinstance(broken, Unknown)
    assert json.loads(PushService.received[0][2])["message"] == "¿Y Ana?"
    with pytest.raises(InputError, match="needed one such as"):
        send(settings, {"apprise_url": "not a url"}, message("1"))


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        (ChannelSettings("sms", "smpp", options={"url": "http://x"}), "user|smpp://"),
        (ChannelSettings("mqtt", "mqtt", options={"url": "x", "topic": "t"}), "mqtt://"),
        (ChannelSettings("web-push", "web-push", options={"contact": "me"}), "mailto"),
    ],
)
def test_wrong_settings_say_what_is_needed(settings: ChannelSettings, needed: str) -> None:
    secrets = {"smpp_password": "s", "web_push_private_key": "k"}
    with pytest.raises(InputError, match=needed):
        send(settings, secrets)
