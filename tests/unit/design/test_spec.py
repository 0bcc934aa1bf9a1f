"""Specs: expansion of arms, small values, canonical form and hash."""

import re
from datetime import date, time

import pytest

from wavewise.design import StudySpec, canonical_dict, canonical_json, parse_spec, spec_hash
from wavewise.design.messages import placeholders
from wavewise.design.templates import template_names, template_text
from wavewise.errors import SpecError

YEAR = template_text("peru-school-year")


def _spec(name: str) -> StudySpec:
    return parse_spec(template_text(name))


def test_ordered_pairs_of_four_messages_are_sixteen_arms_and_a_control() -> None:
    spec = _spec("peru-school-year")
    arms = spec.arms_of(spec.waves[0])
    assert len(arms) == 17
    assert [arm.id for arm in arms[:5]] == [
        "teacher+teacher", "teacher+peers", "teacher+parent", "teacher+future", "peers+teacher",
    ]  # fmt: skip
    assert arms[1].sequence == ("teacher", "peers")
    assert arms[-1].id == "control"
    assert arms[-1].sequence == ()
    assert arms[-1].content == "nothing"
    assert len({arm.id for arm in arms}) == 17


def test_contents_of_arms_in_words() -> None:
    spec = _spec("peru-school-year")
    assert spec.arms_of(spec.waves[0])[1].content == "teacher, then peers"
    assert spec.arms_of(spec.waves[1])[1].content == "policy: causal forest"


def test_a_control_that_is_listed_is_not_added_again() -> None:
    spec = _spec("get-out-the-vote")
    assert [arm.id for arm in spec.arms_of(spec.waves[0])] == [
        "control", "civic-duty", "hawthorne", "self", "neighbors",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "value"), [('"1/7"', 1 / 7), ('" 2 / 14 "', 1 / 7), ("0", 0.0), ("0.25", 0.25)]
)
def test_shares_are_numbers_or_fractions(written: str, value: float) -> None:
    text = YEAR.replace("control_share = 0.20", f"control_share = {written}")
    assert parse_spec(text).waves[0].control_share == value


@pytest.mark.parametrize("written", ['"7"', '"1/0"', "nan", "-0.1", "true", '"1e9/7"', '"1/7%"'])
def test_other_shares_are_refused(written: str) -> None:
    text = YEAR.replace("control_share = 0.20", f"control_share = {written}")
    with pytest.raises(SpecError, match="a share between 0 and 1"):
        parse_spec(text)


@pytest.mark.parametrize(
    ("written", "sound"),
    [('"17:00"', True), ("17:00:00", True), ('"24:00"', False), ('"5pm"', False),
     ("17:00:30", False), ('"١٧:٠٠"', False)],
)  # fmt: skip
def test_times_of_day(written: str, sound: bool) -> None:
    text = YEAR.replace('at = "17:00"', f"at = {written}")
    if sound:
        assert parse_spec(text).schedules["twice_weekly"].at == time(17)
    else:
        with pytest.raises(SpecError, match="time of day"):
            parse_spec(text)


@pytest.mark.parametrize(
    ("written", "sound"),
    [("2023-10-09", True), ('"2023-10-09"', True), ("2023-10-09T00:00:00", False), ("19639", False),
     ('"2023-02-30"', False), ("9999-12-31", False)],
)  # fmt: skip
def test_dates(written: str, sound: bool) -> None:
    text = YEAR.replace("starts = 2023-10-09", f"starts = {written}")
    if sound:
        assert parse_spec(text).waves[0].starts == date(2023, 10, 9)
    else:
        with pytest.raises(SpecError, match="a date such as"):
            parse_spec(text)


@pytest.mark.parametrize("zone", ["America/Lima", "Africa/Nairobi", "UTC"])
def test_time_zones(zone: str) -> None:
    assert parse_spec(YEAR.replace("America/Lima", zone)).study.time_zone == zone


@pytest.mark.parametrize("zone", ["Lima", "../etc/passwd", "america/lima", ""])
def test_other_time_zones_are_refused(zone: str) -> None:
    with pytest.raises(SpecError, match="IANA time zone"):
        parse_spec(YEAR.replace("America/Lima", zone))


def test_trials() -> None:
    kenya, peru = _spec("kenya-ivr"), _spec("peru-summer")
    engaged, reading = kenya.outcomes
    assert kenya.trials(engaged, kenya.waves[0]) == 9
    assert kenya.trials(reading, kenya.waves[0]) is None
    assert peru.trials(peru.primary, peru.waves[0]) == 1


def test_number_of_sends() -> None:
    assert _spec("peru-summer").schedules["twice_weekly"].n_sends == 6


def test_columns_leave_contact_details_out() -> None:
    columns = _spec("peru-summer").units.columns()
    assert "device_token" not in columns
    assert columns[:2] == ("parent_id", "logged_in_last_week")
    assert len(set(columns)) == len(columns)


def test_placeholders_refuse_what_cannot_be_filled() -> None:
    assert placeholders("{a} and {{b}}") == ["a"]
    with pytest.raises(ValueError, match="without a name"):
        placeholders("{}")


# Canonical form


def _sections(text: str) -> list[str]:
    return re.split(r"(?m)^(?=\[)", text)


@pytest.mark.parametrize("name", template_names())
def test_the_hash_ignores_comments_and_blank_lines(name: str) -> None:
    text = template_text(name)
    bare = "\n".join(re.sub(r"\s+# [^\"]*$", "", line) for line in text.splitlines() if line)
    assert bare != text
    assert spec_hash(parse_spec(bare)) == spec_hash(parse_spec(text))


def test_the_hash_ignores_the_order_of_sections_and_keys() -> None:
    head, *sections = _sections(YEAR)
    single = [part for part in sections if not part.startswith("[[")]
    listed = [part for part in sections if part.startswith("[[")]
    shuffled = head + "".join([*listed, *reversed(single)])
    shuffled = shuffled.replace('kind = "any" ', "").replace(
        "primary = true", 'kind = "any"\nprimary = true'
    )
    assert spec_hash(parse_spec(shuffled)) == spec_hash(parse_spec(YEAR))


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ('shares = "equal"    ', "# "),
        ('units = "all"\nstarts = 2023-10-09', "starts = 2023-10-09"),
        ("control_share = 0.20 ", 'control_share = "1/5" '),
        ("level = 0.95 ", "# "),
        ('if_late = "skip" ', "# "),
        ('learned_on = "phase-1" } }', 'learned_on = ["phase-1"] } }'),
        ('status = "in_development"', ""),
        ("starts = 2023-10-09", 'starts = "2023-10-09"'),
        ('at = "17:00"', "at = 17:00:00"),
    ],
)
def test_the_hash_ignores_defaults_and_forms(short: str, long: str) -> None:
    assert short in YEAR
    assert spec_hash(parse_spec(YEAR.replace(short, long))) == spec_hash(parse_spec(YEAR))


@pytest.mark.parametrize(
    ("before", "after"),
    [("seed = 12190", "seed = 12191"), ('"17:00"', '"17:01"'), ("Miles de", "Miles  de"),
     ('["teacher", "peers", "parent", "future"]', '["peers", "teacher", "parent", "future"]')],
)  # fmt: skip
def test_the_hash_sees_what_matters(before: str, after: str) -> None:
    assert before in YEAR
    assert spec_hash(parse_spec(YEAR.replace(before, after))) != spec_hash(parse_spec(YEAR))


@pytest.mark.parametrize("name", template_names())
def test_the_canonical_form_makes_the_same_spec(name: str) -> None:
    """Nothing is lost: the canonical form, read back, is the spec."""
    spec = _spec(name)
    values = canonical_dict(spec)
    assert values.pop("canonical_version") == 1
    again = StudySpec.model_validate(values)
    assert again == spec
    assert canonical_json(again) == canonical_json(spec)


def test_specs_are_frozen() -> None:
    spec = _spec("peru-summer")
    with pytest.raises(ValueError, match="frozen"):
        spec.study.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "text", ["{child_name:.2f}", "{child_name!r}", "{child_name!s:>9}", "{child_name:{level}}"]
)
def test_a_field_with_a_format_is_refused(text: str) -> None:
    assert placeholders("{{braces}} {child_name}") == ["child_name"]
    with pytest.raises(ValueError, match="a field with a format"):
        placeholders(f"Read {text} pages")
