"""Signatures of providers against their own published examples, and what a stranger can do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavewise.server.authentication import sign_webhook, twilio_signature, webhook_fault

URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FORM = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
    ("Caller", "+14158675309"),
]


def test_the_published_example_of_twilio() -> None:
    """The vector in the test suite of Twilio's own Python package."""
    assert twilio_signature("12345", URL, FORM) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize(
    ("token", "url", "form"),
    [
        ("12346", URL, FORM),
        ("12345", URL + "0", FORM),
        ("12345", URL, FORM[1:]),
        ("12345", URL, [*FORM, ("x", "")]),
    ],
)
def test_another_key_address_or_field_gives_another_signature(token, url, form) -> None:
    assert twilio_signature(token, url, form) != "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@given(st.binary(), st.integers(0, 10**10), st.integers(-300, 300))
def test_a_signed_body_is_taken_within_the_window(body: bytes, at: int, away: int) -> None:
    assert webhook_fault("s", body, sign_webhook("s", body, at), at + away) is None


@given(st.binary(), st.text())
def test_no_made_up_header_is_taken(body: bytes, header: str) -> None:
    assert webhook_fault("s", body, header, 0) is not None


@pytest.mark.parametrize("away", [301, -301])
def test_a_replay_outside_of_the_window_is_refused(away: int) -> None:
    fault = webhook_fault("s", b"x", sign_webhook("s", b"x", 1_000), 1_000 + away)
    assert fault is not None
    assert "301 seconds" in fault


def test_a_moved_time_stamp_breaks_the_signature() -> None:
    header = sign_webhook("s", b"x", 1_000).replace("t=1000", "t=2000")
    fault = webhook_fault("s", b"x", header, 2_000)
    assert fault is not None
    assert "does not fit" in fault
