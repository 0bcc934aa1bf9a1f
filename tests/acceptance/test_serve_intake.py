"""The HTTP interface, served for real on loopback: events, inbound messages, unsubscribe links."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest
from sqlalchemy import select

from field_study import make_field_study, phone
from study_folders import call, done
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.server.app import build_app
from wavewise.server.authentication import Settings, sign_webhook, twilio_signature
from wavewise.store.schema import api_key
from wavewise.workflow.contacts.opt_outs import opt_out
from wavewise.workflow.study import Study, open_study
from web_server import running

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
SECRETS = {
    "twilio_auth_token": "tw",
    "africas_talking_callback_token": "at",
    "webhook_secret": "wh",
}


@pytest.fixture
def folders(tmp_path: Path, store_url: str | None) -> tuple[Path, Path]:
    return make_field_study(tmp_path)


@pytest.fixture
def study(folders: tuple[Path, Path], store_url: str | None) -> Iterator[Study]:
    ticks = count()
    with open_study(
        folders[0], store_url=store_url, clock=lambda: NOW + timedelta(microseconds=next(ticks))
    ) as opened:
        yield opened


@pytest.fixture
def ring(folders: tuple[Path, Path]) -> KeyRing:
    return KeyRing.read(folders[1].read_text(), "key")


@pytest.fixture
def url(study: Study, ring: KeyRing) -> Iterator[str]:
    with running(build_app(Settings(study, ring, SECRETS.get))) as base:
        yield base


@pytest.fixture
def app(url: str, folders: tuple[Path, Path]) -> Iterator[httpx2.Client]:
    key = done("keys", "make", folders[0], "--name", "app", "--json").facts["key"]
    with httpx2.Client(base_url=url, headers={"X-API-Key": key}) as client:
        yield client


@pytest.fixture
def stranger(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url) as client:
        yield client


def event(i: int, **more: Any) -> dict[str, Any]:
    at = f"2024-03-05T{i % 24:02}:{i % 60:02}:00Z"
    fields = {"event_id": f"e{i}", "unit_id": f"p{i % 40:04d}", "kind": "login", "at": at}
    return {**fields, **more}


def test_batches_in_any_order_and_repeated_give_the_same_events(
    app: httpx2.Client, study: Study
) -> None:
    events = [event(i, value=i / 8) for i in range(2_500)]
    rng = random.Random(3)
    batches = [events[i : i + 1_000] for i in range(0, 2_500, 1_000)] * 2
    for batch in batches:
        rng.shuffle(batch)
    rng.shuffle(batches)
    answers = [app.post("/v1/events", json={"events": batch}) for batch in batches]
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["n_new"] for answer in answers) == 2_500
    assert sum(answer.json()["n_repeated"] for answer in answers) == 2_500
    kept = study.store.events.all().sort("event_id")
    expected = sorted((e["event_id"], e["unit_id"], e["value"]) for e in events)
    assert kept.select("event_id", "unit_id", "value").rows() == expected


def test_one_bad_event_does_not_lose_the_others(app: httpx2.Client, study: Study) -> None:
    answer = app.post("/v1/events", json=[event(1), event(2, at="noon"), event(3)])
    assert answer.status_code == 207
    found = answer.json()
    assert (found["n_new"], found["n_bad"]) == (2, 1)
    assert found["faults"][0]["path"] == "events[1].at"
    assert study.store.events.count() == 2
    assert app.post("/v1/events", json=[{}]).status_code == 422
    again = app.post("/v1/events", json=event(1, kind="other")).json()
    assert (again["n_conflicting"], again["n_new"]) == (1, 0)


def test_strange_events_are_counted_and_kept(app: httpx2.Client, study: Study) -> None:
    odd = [event(1, unit_id="nobody"), event(2, at="2030-01-01T00:00:00Z"), event(3)]
    found = app.post("/v1/events", json=odd).json()
    assert (found["n_new"], found["n_unknown_unit"], found["n_future"]) == (3, 1, 1)
    assert study.store.events.count() == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b'{"events": [{"value": NaN}]}', 400),
        (b"[" * 100_000, 400),
        (b"7", 422),
        (b"[]", 422),
        (b'{"events": [], "x": 1}', 422),
        (json.dumps([event(i) for i in range(1_001)]).encode(), 413),
        (b" " * (5 << 20), 413),
    ],
)
def test_what_is_no_batch_is_refused_whole(
    app: httpx2.Client, study: Study, body: bytes, status: int
) -> None:
    answer = app.post("/v1/events", content=body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"kind", "message", "faults"}
    assert study.store.events.count() == 0


def test_only_a_key_in_force_opens_the_door(
    stranger: httpx2.Client, app: httpx2.Client, folders: tuple[Path, Path], study: Study
) -> None:
    made = done("keys", "make", folders[0], "--name", "old", "--json").facts
    wrong = made["key"][:-1] + ("0" if made["key"][-1] != "0" else "1")
    for key in ("", "x", "ww__", wrong, "ww_" + made["key_id"] + "_"):
        answer = stranger.post("/v1/events", json=event(1), headers={"X-API-Key": key})
        assert answer.status_code == 401
    bearer = {"Authorization": f"Bearer {made['key']}"}
    assert stranger.post("/v1/events", json=event(1), headers=bearer).status_code == 200
    done("keys", "revoke", folders[0], made["key_id"])
    assert stranger.post("/v1/events", json=event(2), headers=bearer).status_code == 401
    assert made["key"] not in done("keys", "list", folders[0]).out
    with study.store.reading() as connection:
        kept = [tuple(row) for row in connection.execute(select(api_key))]
    assert made["key"].split("_")[2] not in str(kept)
    assert study.store.events.count() == 1


def twilio(client: httpx2.Client, form: dict[str, str], token: str = "tw") -> httpx2.Response:
    url = f"{client.base_url}".rstrip("/") + "/v1/inbound/twilio"
    headers = {"X-Twilio-Signature": twilio_signature(token, url, form.items())}
    return client.post("/v1/inbound/twilio", data=form, headers=headers)


def test_a_stop_by_sms_refuses_once_for_good(
    stranger: httpx2.Client, study: Study, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    form = {"From": phone(3), "Body": "Alto!", "MessageSid": "SM1", "To": "+1"}
    for _ in range(2):
        answer = twilio(stranger, form)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/xml")
    assert study.store.opt_outs.units("sms").to_list() == ["p0003"]
    assert study.store.opt_outs.all()["source"].to_list() == ["stop keyword"]
    people = ("people", "import", folders[0], tmp_path / "people.csv", "--replace")
    done(*people, "--key-file", folders[1])
    assert study.store.opt_outs.units("email").to_list() == ["p0003"]
    assert twilio(stranger, form, token="guess").status_code == 403
    assert twilio(stranger, {**form, "From": "+19"}).status_code == 200


def test_a_start_takes_back_a_stop_on_its_channel_and_nothing_else(
    stranger: httpx2.Client, study: Study
) -> None:
    def says(text: str, sid: str, unit: int = 3, **more: str) -> None:
        form = {"From": phone(unit), "Body": text, "MessageSid": sid, **more}
        assert twilio(stranger, form).status_code == 200

    refused = study.store.opt_outs.units
    says("Alto", "SM1")
    for _ in range(2):
        says("START", "SM2")  # told twice
    assert refused("sms").is_empty()
    assert refused("email").to_list() == ["p0003"]
    assert study.store.opt_outs.all().height == study.store.opt_outs.opt_ins().height == 1
    says("stop", "SM3")
    assert refused("sms").to_list() == ["p0003"]
    for unit, source in enumerate(["by hand", "opt-out call", "unsubscribe link", "erasure"], 5):
        opt_out(study, [f"p{unit:04d}"], source, "x")
        says("Yes", f"SM1{unit}", unit)
    opt_out(study, ["p0004"], "provider block", "x", channel="sms")
    says("Start", "SM4", 4)
    assert "p0004" in refused("sms")
    says("Start", "SM5", 4, OptOutType="START")  # the provider lifted its own block
    assert refused("sms").to_list() == ["p0003", "p0005", "p0006", "p0007", "p0008"]
    says("yes", "SM6", 9)  # who refused nothing answers
    assert study.store.events.all()["unit_id"].to_list() == ["p0009"]


def test_an_answer_is_an_event_without_its_text(stranger: httpx2.Client, study: Study) -> None:
    form = {"From": phone(4), "Body": "Gracias, profesora", "MessageSid": "SM2"}
    for _ in range(2):
        assert twilio(stranger, form).status_code == 200
    kept = study.store.events.all()
    assert kept.select("unit_id", "kind", "item").rows() == [("p0004", "answer", "sms")]
    assert study.store.opt_outs.all().is_empty()
    twilio(stranger, {**form, "MessageSid": "SM3", "OptOutType": "STOP"})
    assert study.store.opt_outs.units().to_list() == ["p0004"]


def test_africas_talking_by_the_token_of_its_address(stranger: httpx2.Client, study: Study) -> None:
    form = {"from": phone(5), "text": "acha", "id": "AT1", "to": "12345"}
    assert stranger.post("/v1/inbound/africas-talking", data=form).status_code == 403
    path = "/v1/inbound/africas-talking?token=at"
    told = {"n_units": 1, "n_new": 1, "n_answers": 0, "n_resumed": 0}
    assert stranger.post(path, data=form).json() == told
    assert stranger.post(path, data=form).json()["n_new"] == 0
    left = {"senderId": "12345", "phoneNumber": phone(6)}
    out = "/v1/inbound/africas-talking/opt-out?token=at"
    assert [stranger.post(out, data=left).json()["n_new"] for _ in range(2)] == [1, 0]
    assert study.store.opt_outs.units("sms").to_list() == ["p0005", "p0006"]
    assert study.store.opt_outs.units("email").to_list() == ["p0005"]
    assert stranger.post(path, data={"from": phone(5)}).status_code == 422


def test_a_signed_webhook_within_its_window(stranger: httpx2.Client, study: Study) -> None:
    body = json.dumps({"channel": "email", "from": "ana7@EXAMPLE.org", "text": "stop", "id": "1"})
    path, raw, now = "/v1/inbound/webhook", body.encode(), int(NOW.timestamp())
    for at, status in ((now - 301, 403), (now + 301, 403), (now - 299, 200)):
        headers = {"X-Wavewise-Signature": sign_webhook("wh", raw, at)}
        assert stranger.post(path, content=raw, headers=headers).status_code == status
    headers = {"X-Wavewise-Signature": sign_webhook("wh", raw + b" ", now)}
    assert stranger.post(path, content=raw, headers=headers).status_code == 403
    assert study.store.opt_outs.units().to_list() == ["p0007"]


def test_looking_at_a_link_refuses_nothing_and_one_click_does(
    stranger: httpx2.Client, study: Study, ring: KeyRing
) -> None:
    link = f"/u/{ring.unsubscribe_token('p0008')}"
    page = stranger.get(link, headers={"Accept-Language": "es-PE,es;q=0.9"})
    assert page.status_code == 200
    assert "No recibir más mensajes" in page.text
    assert "p0008" not in page.text
    assert study.store.opt_outs.all().is_empty()
    for _ in range(2):
        one_click = {"List-Unsubscribe": "One-Click"}
        assert stranger.post(link, data=one_click).status_code == 200
    assert study.store.opt_outs.all()["source"].to_list() == ["unsubscribe link"]
    assert study.store.opt_outs.units().to_list() == ["p0008"]
    for wrong in ("/u/x", "/u/" + "A" * 40, link[:-1]):
        assert stranger.get(wrong).status_code == 404
        assert stranger.post(wrong).status_code == 404


def test_without_key_or_secret_a_provider_is_told_to_come_again(study: Study) -> None:
    keyless = build_app(Settings(study, None, SECRETS.get))
    with running(keyless) as url, httpx2.Client(base_url=url) as client:
        form = {"From": phone(3), "Body": "stop", "MessageSid": "SM1"}
        assert twilio(client, form).status_code == 503
    with running(build_app(Settings(study))) as url, httpx2.Client(base_url=url) as client:
        answer = client.post("/v1/inbound/twilio", data={})
        assert answer.status_code == 503
        assert "WAVEWISE_TWILIO_AUTH_TOKEN" in answer.json()["error"]["message"]


def test_errors_and_pages_say_little(stranger: httpx2.Client) -> None:
    assert stranger.get("/v1/health").json()["status"] == "ok"
    assert stranger.get("/nothing").json()["error"]["kind"] == "HttpError"
    assert stranger.get("/v1/events").status_code == 405
    assert stranger.get("/docs").status_code == 404


@contextmanager
def served(folder: Path, *options: str | Path, **environment: str) -> Iterator[str]:
    """Base URL of the command itself in a process of its own, which ends in order."""
    command = [sys.executable, "-c", "from wavewise.cli import main; main()", "serve"]
    process = subprocess.Popen(
        [*command, str(folder), "--port", "0", *map(str, options)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip().rpartition(" ")[2]
        assert url.startswith("http://127.0.0.1:")
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx2.get(f"{url}/v1/health").status_code == 200
                break
            except httpx2.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
    assert process.returncode in {0, -15}


def test_the_command_serves_and_stops(folders: tuple[Path, Path]) -> None:
    with served(folders[0]) as url:
        taken = call("serve", folders[0], "--port", url.rpartition(":")[2])
        assert taken.code == 4


def test_secrets_come_from_a_file_too(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets.toml"
    secrets.write_text('twilio_auth_token = "of the file"\n')
    monkeypatch.setenv("WAVEWISE_SECRETS_FILE", str(secrets))
    secrets.chmod(0o644)
    open_to_others = call("serve", folders[0], "--port", "0")
    assert open_to_others.code == 4
    assert "chmod 600" in open_to_others.err
    assert "of the file" not in open_to_others.err
    secrets.chmod(0o600)
    options = ("--key-file", folders[1])
    form = {"From": phone(3), "Body": "stop", "MessageSid": "SM1"}
    with served(folders[0], *options) as url, httpx2.Client(base_url=url) as client:
        assert twilio(client, form, token="guess").status_code == 403
        assert twilio(client, form, token="of the file").status_code == 200
    environment = {"WAVEWISE_TWILIO_AUTH_TOKEN": "of the environment"}
    with (
        served(folders[0], *options, **environment) as url,
        httpx2.Client(base_url=url) as client,
    ):
        assert twilio(client, form, token="of the file").status_code == 403
        assert twilio(client, form, token="of the environment").status_code == 200


def test_an_opt_out_by_hand_keeps_arm_and_outcome(study: Study, folders: tuple[Path, Path]) -> None:
    done("wave", "open", folders[0], "one")
    drawn = study.store.waves.assignment("one")
    unit = drawn["unit_id"][0]
    done("refuse", folders[0], "--unit", unit)
    assert study.store.opt_outs.units("sms").to_list() == [unit]
    assert study.store.waves.assignment("one").equals(drawn)
    refused = call("refuse", folders[0], "--unit", "secret-name")
    assert refused.code == 4
    assert "secret-name" not in refused.err
    assert pl.Series(study.store.opt_outs.all()["channel"]).null_count() == 1
