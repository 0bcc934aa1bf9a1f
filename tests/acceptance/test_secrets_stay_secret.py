"""No channel lets its secret or an address into the database, a file, an output or an error.

Each provider meets a server that takes the connection, answers with an error and repeats in it all
that it was sent: what a careless provider does.
"""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import update

from sending_study import by_state, make_sending_study, outbox
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.store import schema
from wavewise.workflow.contacts.contacts import encrypted_contacts
from wavewise.workflow.send.queue import queue_wave
from wavewise.workflow.study import open_study

SECRET = "s3cretUnlikely0123456789"
SHORT_SECRET = "s3Cr7Xq9"  # SMPP takes no longer one
ADDRESS = "+254700123987"
CONTENT = '{"text": "Ana has homework.", "flow": "reading"}'
VOICE = 'serve_url = "https://study.example.test"\n'
PROVIDERS = {
    "twilio": ("sms", "base_url", 'account = "AC1"\nfrom = "+1"', "twilio_auth_token"),
    "africas-talking": ("sms", "base_url", 'username = "u"', "africas_talking_api_key"),
    "webhook": ("webhook", "base_url", "", "webhook_secret"),
    "twilio-voice": (
        "voice",
        "base_url",
        f'account = "AC1"\nfrom = "+1"\n{VOICE}',
        "twilio_auth_token",
    ),
    "africas-talking-voice": (
        "voice",
        "base_url",
        'username = "u"\nfrom = "+1"',
        "africas_talking_api_key",
    ),
    "smpp": ("sms", "smpp", 'user = "u"\nfrom = "Study"', "smpp_password"),
    "mqtt": ("mqtt", "mqtt", 'user = "u"\ntopic = "t"', "mqtt_password"),
    "smtp": ("email", "smtp", 'user = "u"\nfrom = "s@example.test"', "smtp_password"),
    "apprise": ("webhook", "apprise", "", "apprise_url"),
    "fcm": ("push", "base_url", "", "fcm_key_file"),
}


class Repeats(BaseHTTPRequestHandler):
    """Answers 500, and repeats what it got."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        answer = json.dumps(
            {"code": 1, "message": f"{self.headers} {body!r}", "errorMessage": str(self.headers)}
        ).encode()
        self.send_response(500)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Repeats)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def secret_of(provider: str, folder: Path, port: int) -> tuple[str, list[bytes]]:
    """The secret as it is configured, and what of it may be nowhere."""
    if provider == "apprise":
        return f"json://user:{SECRET}@127.0.0.1:{port}/{{address}}", [SECRET.encode()]
    if provider == "smpp":
        return SHORT_SECRET, [SHORT_SECRET.encode()]
    if provider != "fcm":
        basic = [base64.b64encode(f"{user}:{SECRET}".encode()) for user in ("AC1", "u")]
        return SECRET, [SECRET.encode(), *basic]
    key = rsa.generate_private_key(65537, 2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k",
        "private_key": text,
        "client_email": "c@example.test",
        "token_uri": f"http://127.0.0.1:{port}/token",
    }
    path = folder / "account.json"
    path.write_text(json.dumps(account))
    path.chmod(0o600)
    return str(path), [line.encode() for line in text.splitlines()[1:-1]]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_secrets_and_addresses_stay_out_of_everything(
    provider: str, tmp_path: Path, port: int
) -> None:
    channel, where, more, name = PROVIDERS[provider]
    url = {
        "base_url": f'base_url = "http://127.0.0.1:{port}"',
        "smpp": f'url = "smpp://127.0.0.1:{port}"',
        "mqtt": f'url = "mqtt://127.0.0.1:{port}"',
        "smtp": f'base_url = "smtp://127.0.0.1:{port}"',
        "apprise": "",
    }[where]
    text = f'[{channel}]\nprovider = "{provider}"\ntimeout_seconds = 2\n{url}\n{more}\n'
    address = {"email": "a@example.test", "mqtt": ADDRESS[1:]}.get(channel, ADDRESS)
    ring = KeyRing.new()
    key_file = tmp_path / "study.key"
    key_file.write_text(ring.text())
    key_file.chmod(0o600)
    folder = make_sending_study(
        tmp_path / "study", 2, '[x]\nprovider = "file"\n', channel="webhook"
    )
    with open_study(folder) as study:
        queue_wave(study, "one", study.clock())
        with study.store.writing() as connection:
            connection.execute(update(schema.outbox).values(content_json=CONTENT))
        ids = study.store.units.all()["unit_id"]
        encrypted = encrypted_contacts(ids, {"webhook": pl.Series([address] * 2)}, ring)
        study.store.contacts.put(encrypted, study.clock(), channels=["webhook"], of=ids)
    (folder / "channels.toml").write_text(text.replace(f"[{channel}]", "[webhook]"))
    study_file = folder / "study.toml"
    changed = study_file.read_text().replace(
        'fields = ["child_name"]', 'fields = ["child_name"]\naddress = { webhook = "phone" }'
    )
    study_file.write_text(changed)
    (folder / "people.csv").unlink()
    secret, hidden = secret_of(provider, tmp_path, port)
    run = subprocess.run(
        [sys.executable, "-c", "from wavewise.cli import main; main()", "send", str(folder)],
        env={
            **os.environ,
            f"WAVEWISE_{name.upper()}": secret,
            "WAVEWISE_KEY_FILE": str(key_file),
        },
        capture_output=True,
        check=False,
        timeout=300,
    )
    states = by_state(outbox(folder))
    assert sum(states.values()) == 2
    assert not set(states) & {"sent", "sending", "leased", "failed"}
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    told = run.stdout + run.stderr
    assert b"Traceback" not in told, told.decode()
    for what in [*hidden, address.encode()]:
        assert what not in told, told.decode()
        assert what not in kept
