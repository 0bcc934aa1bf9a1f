"""What no text may hold is told of its own entry, by position or row, and stops no other."""

from typing import Any

import polars as pl
import pytest

from wavewise.errors import InputError
from wavewise.fieldwork.events import check_events, read_batch
from wavewise.fieldwork.files.cells import clean_text
from wavewise.fieldwork.receipts import twilio_receipt, webhook_receipt

BAD = {
    "a\0b": "a NUL character",
    "\ud83d": "half a character",
    "x\x1b[31m": "a control character",
    "x" * 301: "over 300 characters",
    10**4_000: "a number of over 300 digits",
}


def event(i: int, **more: Any) -> dict[str, Any]:
    return {"event_id": f"e{i}", "unit_id": "7", "kind": "login", "at": "2024-03-05T10:00Z", **more}


@pytest.mark.parametrize("value", BAD, ids=BAD.values())
@pytest.mark.parametrize("key", ["event_id", "unit_id", "kind", "at", "item"])
def test_one_event_is_refused_and_the_others_go_in(key: str, value: Any) -> None:
    batch = read_batch([event(0), event(1, **{key: value}), event(2)], default_time_zone="UTC")
    assert batch.events["event_id"].to_list() == ["e0", "e2"]
    assert batch.n_bad == 1
    assert batch.faults[0].path == f"events[1].{key}"
    assert batch.faults[0].found.startswith(BAD[value])


@pytest.mark.parametrize("at", ["03/04/2024 10:00", "5.6.2024 11:00"])
def test_a_doubt_about_the_order_of_dates_is_one_about_its_own_event(at: str) -> None:
    batch = read_batch([event(0), event(1, at=at), event(2)], default_time_zone="UTC")
    assert batch.events["event_id"].to_list() == ["e0", "e2"]
    assert [fault.path for fault in batch.faults] == ["events[1].at"]


def test_a_file_says_the_row() -> None:
    frame = pl.DataFrame([event(0), event(1, item="x\x00"), event(2, unit_id="y" * 400)])
    checked = check_events(frame)
    assert checked.events["event_id"].to_list() == ["e0"]
    assert [fault.row for fault in checked.faults] == [3, 4]


@pytest.mark.parametrize("value", ["a\0b", "\ud83d", "x" * 301])
@pytest.mark.parametrize("key", ["id", "channel", "message_key", "provider_id"])
def test_a_receipt_names_the_key(key: str, value: str) -> None:
    receipt = {"id": "1", "channel": "sms", "message_key": "k", "state": "sent", key: value}
    with pytest.raises(InputError, match=f"in '{key}'"):
        webhook_receipt(receipt)
    kept = webhook_receipt({**receipt, key: "sound", "reason": value})
    assert (kept.reason or "") == clean_text(value, 200)


def test_a_code_in_other_digits_is_no_code() -> None:
    form = {"MessageSid": "SM1", "MessageStatus": "failed", "ErrorCode": "²"}
    receipt = twilio_receipt(form)
    assert receipt is not None
    assert receipt.state == "failed"
