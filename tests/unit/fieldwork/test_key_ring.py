"""Encrypted contact details: bound to their record, found by their index, opened by no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavewise.errors import InputError
from wavewise.fieldwork.contact_details import KeyRing, normal_address

RING = KeyRing.new()
TEXT = st.text(min_size=1).filter(lambda t: max(t) < "\ud800" or min(t) > "\udfff")


@given(TEXT, TEXT, TEXT)
def test_what_was_sealed_opens(unit: str, channel: str, address: str) -> None:
    kept = RING.encrypt(unit, channel, address)
    assert RING.open(unit, channel, kept.key_id, kept.encrypted) == address
    assert kept.lookup in RING.lookups(channel, address)
    assert address not in kept.encrypted or len(address) < 6


@pytest.mark.parametrize(("unit", "channel"), [("b", "sms"), ("a", "email")])
def test_a_detail_moved_to_another_record_does_not_open(unit: str, channel: str) -> None:
    kept = RING.encrypt("a", "sms", "+51999000111")
    with pytest.raises(InputError, match="changed or moved") as caught:
        RING.open(unit, channel, kept.key_id, kept.encrypted)
    assert "999000111" not in str(caught.value)


def test_every_changed_byte_is_noticed() -> None:
    kept = RING.encrypt("a", "sms", "+51999000111")
    for i in range(0, len(kept.encrypted) - 4, 5):
        other = "A" if kept.encrypted[i] != "A" else "B"
        with pytest.raises(InputError):
            RING.open("a", "sms", kept.key_id, kept.encrypted[:i] + other + kept.encrypted[i + 1 :])


def test_equal_addresses_have_other_ciphertexts_and_the_same_index() -> None:
    one, two = (RING.encrypt(unit, "sms", "+51999000111") for unit in ("a", "b"))
    assert one.encrypted != two.encrypted
    assert one.lookup == two.lookup
    assert one.lookup != KeyRing.new().encrypt("a", "sms", "+51999000111").lookup


def test_after_rotation_old_details_open_until_the_old_key_is_gone() -> None:
    kept = RING.encrypt("a", "sms", "+51999000111")
    both = RING.rotated()
    assert both.open("a", "sms", kept.key_id, kept.encrypted) == "+51999000111"
    assert kept.lookup in both.lookups("sms", "+51999000111")
    with pytest.raises(InputError, match="not in the key file"):
        both.only_active().open("a", "sms", kept.key_id, kept.encrypted)
    assert both.only_active().unit_of_token(RING.unsubscribe_token("a")) == "a"


def test_ring_survives_its_file_and_shows_no_key() -> None:
    again = KeyRing.read(RING.text(), "file")
    assert again == RING
    assert "keys" not in repr(RING)
    for wrong in ("", "{}", "[]", RING.text()[:-20], RING.text().replace("keys 1", "keys 9")):
        with pytest.raises(InputError, match="no key ring"):
            KeyRing.read(wrong, "file")


@given(st.text())
def test_made_up_tokens_name_nobody(token: str) -> None:
    assert RING.unit_of_token(token) is None


def test_tokens_do_not_show_the_unit() -> None:
    token = RING.unsubscribe_token("parent-12345")
    assert RING.unit_of_token(token) == "parent-12345"
    assert "12345" not in token
    assert KeyRing.new().unit_of_token(token) is None


@pytest.mark.parametrize(
    "written", ["+254 712 345678", "00254712345678", "+254-712-345-678", " +254 (712) 345678"]
)
def test_one_number_in_many_spellings(written: str) -> None:
    assert normal_address("sms", written) == "+254712345678"
