"""Receipts of providers over HTTP, and opt-outs that cancel what is queued."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import polars as pl
import pytest

from field_study import make_field_study, phone
from outbox_rows import queued
from study_folders import done
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.server.app import build_app
from wavewise.server.authentication import Settings, sign_webhook, twilio_signature
from wavewise.store.rows import Recorded
from wavewise.workflow.study import Study, open_study
from web_server import running

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
SECRETS = {"twilio_auth_token": "tw", "africas_talking_callback_token": "at", "webhook_secret": "w"}
PUBLIC = "https://study.example.org"


@pytest.fixture
def study(tmp_path: Path, store_url: str | None) -> Iterator[Study]:
    folder, _ = make_field_study(tmp_path)
    done("wave", "open", folder, "one")
    with open_study(folder, store_url=store_url, clock=lambda: NOW) as opened:
        yield opened


@pytest.fixture
def units(study: Study) -> list[str]:
    """Units with one queued message each; the first two messages are with the provider."""
    drawn = study.store.waves.assignment("one").filter(arm="peers")
    study.store.outbox.queue(queued(drawn["unit_id"].to_list(), drawn["arm"].to_list()), NOW)
    claimed = study.store.outbox.claim("sms", "w", NOW, 60, 2)
    ids = [row.outbox_id for row in claimed]
    study.store.outbox.begin_and_record("w", ids, [], NOW, 60)
    results = [Recorded(row, "sent", provider_id=f"SM{i}") for i, row in enumerate(ids)]
    study.store.outbox.record("w", results, NOW)
    return [row.unit_id for row in claimed]


@pytest.fixture
def client(study: Study, tmp_path: Path) -> Iterator[httpx2.Client]:
    ring = KeyRing.read((tmp_path / "study.key").read_text(), "key")
    app = build_app(Settings(study, ring, SECRETS.get, PUBLIC))
    with running(app) as url, httpx2.Client(base_url=url) as opened:
        yield opened


def twilio(client: httpx2.Client, query: str = "", **form: str) -> int:
    path = "/v1/receipts/twilio" + query
    signature = twilio_signature("tw", PUBLIC + path, form.items())
    headers = {"X-Twilio-Signature": signature}
    return client.post(path, data=form, headers=headers).status_code


def states(study: Study) -> dict[str, str]:
    return dict(study.store.deliveries.rows("one").select("unit_id", "state").iter_rows())


@pytest.mark.parametrize("order", list(itertools.permutations(["sent", "delivered", "read"])))
def test_receipts_in_any_order_end_alike(
    client: httpx2.Client, study: Study, units: list[str], order: tuple[str, ...]
) -> None:
    for status in (*order, *order):
        assert twilio(client, MessageSid="SM0", MessageStatus=status) == 204
    assert states(study)[units[0]] == "read"
    assert states(study)[units[1]] == "sent"


def test_a_receipt_finds_its_message_by_our_key(
    client: httpx2.Client, study: Study, units: list[str]
) -> None:
    key = f"?message_key=key-sms-{units[1]}"
    assert twilio(client, key, MessageSid="SM-late", MessageStatus="delivered") == 204
    assert states(study)[units[1]] == "delivered"


def test_a_blocked_sender_is_an_opt_out_of_that_channel(
    client: httpx2.Client, study: Study, units: list[str]
) -> None:
    email = queued([units[0]], ["peers"], channel="email").with_columns(slot=1)
    study.store.outbox.queue(email, NOW)
    sms = queued([units[0]], ["peers"]).with_columns(slot=2, message_key=pl.lit("next"))
    study.store.outbox.queue(sms, NOW)
    form = {"MessageSid": "SM0", "MessageStatus": "failed", "ErrorCode": "21610", "To": "+1"}
    for _ in range(2):
        assert twilio(client, **form) == 204
    rows = study.store.deliveries.rows("one").filter(unit_id=units[0])
    found = dict(rows.select("slot", "state").iter_rows())
    assert found == {0: "failed", 1: "queued", 2: "cancelled"}
    assert study.store.opt_outs.all().select("source", "channel").rows() == [
        ("provider block", "sms")
    ]
    assert rows.filter(slot=2)["reason"].to_list() == ["refused"]


def test_a_block_that_overtakes_the_answer_is_known_by_its_number(
    client: httpx2.Client, study: Study, units: list[str]
) -> None:
    number = phone(int(units[1][1:]))
    form = {"MessageSid": "SM9", "MessageStatus": "failed", "ErrorCode": "21610", "To": number}
    assert twilio(client, **form) == 204
    assert study.store.opt_outs.units("sms").to_list() == [units[1]]


def test_delivery_reports_of_africas_talking(
    client: httpx2.Client, study: Study, units: list[str]
) -> None:
    path = "/v1/receipts/africas-talking?token=at"
    form = {"id": "SM0", "status": "Success", "phoneNumber": "+1", "networkCode": "63902"}
    assert client.post(path, data=form).json()["n_moved"] == 1
    assert client.post(path, data=form).json()["n_repeated"] == 1
    black = {"id": "SM1", "status": "Rejected", "failureReason": "UserInBlackList"}
    assert client.post(path, data=black).json()["n_refused"] == 1
    assert [states(study)[unit] for unit in units] == ["delivered", "failed"]
    assert client.post(path, data={"id": "SM1", "status": "?"}).status_code == 422
    assert client.post(path.replace("=at", "=x"), data=form).status_code == 403


def test_a_wrong_receipt_of_ones_own_channel_is_named_and_stops_no_other(
    client: httpx2.Client, study: Study, units: list[str]
) -> None:
    receipt = [
        {"id": str(i), "channel": "sms", "provider_id": f"SM{i}", "state": "delivered"}
        for i in range(2)
    ]

    def post(value: object) -> httpx2.Response:
        body = json.dumps(value).encode()
        headers = {"X-Wavewise-Signature": sign_webhook("w", body, int(NOW.timestamp()))}
        return client.post("/v1/receipts/webhook", content=body, headers=headers)

    assert post({"id": "2", "channel": "sms"}).status_code == 422
    wrong = [{"id": "2", "channel": "sms"}, {**receipt[0], "id": "x\0"}, 7]
    answer = post([wrong[0], receipt[0], *wrong[1:], receipt[1]])
    assert answer.status_code == 207
    found = answer.json()
    assert (found["n_moved"], found["n_bad"]) == (2, 3)
    places = ["receipts[0]", "receipts[2]", "receipts[3]"]
    assert [fault["path"] for fault in found["faults"]] == places
    assert found["faults"][1]["found"] == "a NUL character in 'id'"
    assert post(receipt).status_code == 200
    assert [states(study)[unit] for unit in units] == ["delivered", "delivered"]


def test_a_stop_cancels_what_is_queued_at_once_and_keeps_the_arm(
    client: httpx2.Client, study: Study, units: list[str]
) -> None:
    waiting = [unit for unit, state in states(study).items() if state == "queued"]
    drawn = study.store.waves.assignment("one")
    url = PUBLIC + "/v1/inbound/twilio"
    form = {"From": phone(int(waiting[0][1:])), "Body": "STOP", "MessageSid": "SM7"}
    headers = {"X-Twilio-Signature": twilio_signature("tw", url, form.items())}
    assert client.post("/v1/inbound/twilio", data=form, headers=headers).status_code == 200
    assert states(study)[waiting[0]] == "cancelled"
    assert set(map(states(study).get, waiting[1:])) == {"queued"}
    assert study.store.waves.assignment("one").equals(drawn)
