import pytest

from wavewise.fieldwork.channels.base import NotSent, Refused, Unknown
from wavewise.fieldwork.channels.provider_codes import (
    AFRICAS_TALKING,
    FCM,
    SMPP,
    TWILIO,
    Meaning,
    told,
    verdict,
    without_addresses,
)
from wavewise.fieldwork.receipts import africas_talking_receipt, twilio_receipt


@pytest.mark.parametrize(
    ("about", "wanted"),
    [
        ("recipient", Refused("why (P 7)")),
        ("opt-out", Refused("why (P 7)", is_opt_out=True)),
        ("message", NotSent("why (P 7)")),
        ("account", NotSent("why (P 7)", retry=True, retry_after_seconds=9.0, stops_channel=True)),
        ("busy", NotSent("why (P 7)", retry=True, retry_after_seconds=9.0)),
        ("unclear", Unknown("why (P 7)")),
    ],
)
def test_only_an_account_stops_a_channel(about, wanted):
    assert verdict("P", 7, Meaning(about, "why"), "", 9.0) == wanted


@pytest.mark.parametrize(
    ("codes", "code", "about"),
    [
        (FCM, "THIRD_PARTY_AUTH_ERROR", "message"),
        (FCM, "SENDER_ID_MISMATCH", "recipient"),
        (FCM, "PERMISSION_DENIED", "account"),
        (TWILIO, 30003, "recipient"),
        (TWILIO, 30005, "recipient"),
        (TWILIO, 30023, "account"),  # daily limits are the account's
        (TWILIO, 30027, "account"),
        (TWILIO, 63038, "account"),
        (TWILIO, 21408, "message"),  # one country that is not enabled
        (AFRICAS_TALKING, 405, "account"),
        (AFRICAS_TALKING, "DestinationNotSupported", "recipient"),
        (SMPP, "ESME_RINVDSTADR", "recipient"),
        (SMPP, "ESME_RTHROTTLED", "busy"),
    ],
)
def test_whom_a_code_is_about(codes, code, about):
    assert codes[code].about == about


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("The 'To' number +51 900 000-001 is not valid.", "The 'To' number … is not valid."),
        ("user ana@x.org\n unknown", "user … unknown"),
        ("see https://p.example/errors/7", "see …"),
        ("token cX9:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx is gone", "token … is gone"),
        ("...", ""),
        ("a " * 100, "a " * 59 + "a…"),
    ],
)
def test_words_that_could_name_a_person_are_left_out(words, wanted):
    assert without_addresses(words) == wanted


def test_a_code_without_a_meaning_stands_in_the_provider_s_words():
    assert told("Twilio", 99999, None, "Something new") == "Twilio 99999: Something new"


def test_receipts_carry_the_meaning():
    sid = {"MessageSid": "SM1", "MessageStatus": "undelivered"}
    limit = twilio_receipt({**sid, "ErrorCode": "30023"})
    assert limit.reason == "the daily message limit is reached (Twilio 30023)"
    assert not limit.is_opt_out
    assert twilio_receipt({**sid, "ErrorCode": "21610"}).is_opt_out
    assert twilio_receipt(sid).reason == "Twilio without a code"
    report = {"id": "AT1", "status": "Failed", "failureReason": "InsufficientCredit"}
    assert africas_talking_receipt(report).reason == (
        "the recipient has no credit (Africa's Talking InsufficientCredit)"
    )
