"""One form of a phone number, however it is written, against the library that has the plans."""

import random

import phonenumbers
import polars as pl
import pytest

from wavewise.fieldwork.contact_details import (
    address_fault,
    normal_address,
    normal_addresses,
)

ONE = [
    "+51 987 654 321", "+51987654321", "0051987654321", "51987654321", "987654321", "987 654 321",
    "9876-54321", "(987) 654.321", "whatsapp:+51987654321", "tel:+51-987-654-321", "987654321.0",
    "9.87654321E+08", "\uff0b51987654321", "\u202a+51987654321\u202c", "\u00a0987654321 ",
]  # fmt: skip


@pytest.mark.parametrize("written", ONE)
def test_one_number_in_many_forms(written: str) -> None:
    assert normal_address("sms", written, "PE") == "+51987654321"
    assert normal_address("voice", written, "PE") == "+51987654321"
    assert address_fault("sms", written, "PE") == ""


@pytest.mark.parametrize(
    "written",
    ["9.8765E+08", "0", "no tiene", "#N/A", "NULL", "12345", "9" * 17, "+51 12", "0" * 9, "-"],
)
def test_what_is_no_number(written: str) -> None:
    assert address_fault("sms", written, "PE")
    table = normal_addresses("sms", pl.Series([written, "987654321"]), "PE")
    assert [bool(fault) for fault in table["fault"]] == [True, False]


@pytest.mark.parametrize("written", ["9.8765E+08", "0", "no tiene", "#N/A"])
def test_what_is_no_number_in_any_country(written: str) -> None:
    assert address_fault("sms", written)


@pytest.mark.parametrize(
    "country", ["PE", "KE", "US", "IN", "BR", "MX", "AR", "IT", "GB", "DE", "ZA"]
)
def test_a_column_at_once_is_as_each_by_itself(country: str) -> None:
    rng = random.Random(country)
    code = phonenumbers.country_code_for_region(country)
    examples = [phonenumbers.example_number_for_type(country, kind) for kind in (0, 1)]
    cells = []
    for _ in range(150):
        digits = list(str(rng.choice([e for e in examples if e]).national_number))
        for _ in range(rng.randrange(4)):
            digits[rng.randrange(len(digits))] = str(rng.randrange(10))
        cells.append(rng.choice(["", "0", f"+{code}", f"{code}", f"00{code}"]) + "".join(digits))
    table = normal_addresses("sms", pl.Series(cells), country)
    assert table["address"].to_list() == [normal_address("sms", c, country) for c in cells]
    assert table["fault"].to_list() == [address_fault("sms", c, country) for c in cells]


@pytest.mark.parametrize(
    ("channel", "address", "fault"),
    [
        ("email", "ana@example.org", ""),
        ("email", "ana", "no e-mail address"),
        ("push", "token-1", ""),
        ("push", "#N/A", "an error value, or a word for nothing"),
    ],
)
def test_other_addresses(channel: str, address: str, fault: str) -> None:
    assert address_fault(channel, address) == fault
