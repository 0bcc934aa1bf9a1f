"""Enrolment before a wave: who is eligible, who leaves, one unit per phone, the flow adds up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from set_clock import Clock
from wavewise.design.parse import parse_spec
from wavewise.errors import InputError, SpecError, StateError
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.store import Store
from wavewise.store.rows import Recorded
from wavewise.workflow.contacts.contacts import encrypted_contacts
from wavewise.workflow.contacts.keys import make_key_file, read_key_file
from wavewise.workflow.contacts.opt_outs import inbound_message, opt_out, record_opt_out
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.run.enrol import (
    close_enrolment,
    discard_enrolment,
    enrolment_status,
    open_enrolment,
)
from wavewise.workflow.run.observe import observe
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.send.queue import queue_wave
from wavewise.workflow.study import Study

STUDY = """
[study]
id = "small"
title = "A small study"
seed = 5
time_zone = "Africa/Nairobi"
country = "KE"

[units]
id = "child_id"
name = "children"
strata = ["school"]
cluster = "school"
fields = ["class"]
address = { sms = "phone" }

[[messages]]
id = "introduction"
channel = "sms"
text.en = "We begin on Monday. Reply STOP if you do not want it, YES if you do."

[[messages]]
id = "read"
channel = "sms"
text.en = "Read together tonight."

[schedules.asking]
days = ["wed"]
at = "10:00"

[schedules.weekly]
days = ["mon"]
at = "17:00"
weeks = 2

[[outcomes]]
id = "login"
kind = "any"
event = "login"

[[enrolment]]
id = "asked"
waves = ["one"]
starts = 2024-02-28
schedule = "asking"
messages = ["introduction"]
RULES

[[waves]]
id = "one"
UNITS
starts = 2024-03-04
window_days = 14
schedule = "weekly"
control_share = 0.5
arms = ["read"]
LATER
"""
SECOND = """
[[enrolment]]
id = "asked-again"
waves = ["two"]
starts = 2024-03-27
schedule = "asking"
messages = ["introduction"]
RULES

[[waves]]
id = "two"
units = "rest"
starts = 2024-04-01
window_days = 14
schedule = "weekly"
control_share = 0.5
arms = ["read"]
"""
BEFORE = datetime(2024, 2, 1, tzinfo=UTC)
ASKED = datetime(2024, 2, 28, 8, tzinfo=UTC)


def text_of(rules: str = "", units: str = "", *, two: bool = False) -> str:
    text = STUDY.replace("LATER", SECOND if two else "")
    return text.replace("RULES", rules).replace("UNITS", units)


def children(n: int = 40, per_phone: int = 1) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "child_id": [f"c{i:03d}" for i in range(n)],
            "school": [f"s{i % 2}" for i in range(n)],
            "class": [1 + i % 4 for i in range(n)],
            "phone": [f"+2547{i // per_phone:08d}" for i in range(n)],
        }
    )


@dataclass(frozen=True)
class Desk:
    study: Study
    clock: Clock
    ring: KeyRing

    def status_of(self, enrolment: str = "asked") -> dict[str, tuple[str, str | None]]:
        rows = self.study.store.enrolments.units(enrolment)
        return {u: (s, r) for u, s, r in rows.select("unit_id", "status", "reason").iter_rows()}

    def send(self) -> None:
        """Everything that is due now goes out, and is delivered."""
        queue_wave(self.study, "asked", self.clock() + timedelta(days=1))
        rows = self.study.store.deliveries.rows().filter(state="queued")
        self.fate(rows["unit_id"].to_list(), "delivered")

    def fate(self, units: list[str], state: str, reason: str | None = None) -> None:
        rows = self.study.store.deliveries.rows().filter(pl.col("unit_id").is_in(units))
        ids = rows.filter(state="queued")["outbox_id"].to_list()
        store = self.study.store.outbox
        store.claim("sms", "w", self.clock(), 60, 10_000)
        store.begin_and_record("w", ids, [], self.clock(), 60)
        store.record("w", [Recorded(i, state, reason) for i in ids], self.clock())
        store.release("w")

    def answer(self, unit: str, text: str = "Thank you") -> None:
        address = self.people.filter(child_id=unit)["phone"][0]
        inbound_message(self.study, self.ring, "sms", address, text, f"m-{unit}-{text}")

    @property
    def people(self) -> pl.DataFrame:
        return self.study.cache["people"]


@contextmanager
def desk(folder: Path, text: str, people: pl.DataFrame, url: str = "sqlite://") -> Iterator[Desk]:
    clock, key = Clock(BEFORE), folder / "study.key"
    if not key.exists():
        make_key_file(key)
    with Store.open(url) as store:
        study = Study(folder / "study", text, parse_spec(text), store, clock)
        register(study)
        import_people(study, people, key_file=key)
        study.cache["people"] = people
        yield Desk(study, clock, read_key_file(key))


def test_who_is_invited_who_leaves_and_who_is_drawn(tmp_path: Path) -> None:
    rules = """
where = { class = [1, 2] }
least_size = { school = 5 }
leave_out = [{ where = { school = "s9" }, reason = "very inflated scores" }]
"""
    people = children(40).with_columns(
        school=pl.when(pl.int_range(40) >= 36).then(pl.lit("s9")).otherwise("school")
    )
    people = pl.concat(
        [people, pl.DataFrame({"child_id": ["x1"], "school": ["tiny"], "class": [1],
                               "phone": ["+254799999999"]})]
    )  # fmt: skip
    with desk(tmp_path, text_of(rules), people) as d:
        record_opt_out(d.study, "c000")
        opened = open_enrolment(d.study, "asked")
        assert opened.n_considered == 41
        assert opened.left_out == (
            {"reason": "not eligible: class", "n": 20},
            {"reason": "very inflated scores", "n": 2},
            {"reason": "fewer than 5 eligible in the same school", "n": 1},
            {"reason": "had refused messages before", "n": 1},
        )
        assert opened.n_invited == 17
        with pytest.raises(StateError, match="still open"):
            open_wave(d.study, "one")
        with pytest.raises(StateError, match="1 sends to come"):
            close_enrolment(d.study, "asked")
        d.clock.now = ASKED
        queue_wave(d.study, "asked", ASKED + timedelta(days=1))
        d.fate(["c001"], "failed", "not a valid phone number (Twilio 21211)")
        d.fate(["c004"], "failed", "the phone is off or out of reach (Twilio 30003)")
        d.send()
        with pytest.raises(StateError, match="found no answer of 17 children"):
            close_enrolment(d.study, "asked")
        d.answer("c005")
        d.answer("c008", "STOP")
        closed = close_enrolment(d.study, "asked")
        assert closed.left == (
            {"reason": "refused", "n": 1},
            {"reason": "number or address not valid", "n": 1},
        )
        assert (closed.n_enrolled, closed.n_answered) == (15, 1)
        d.clock.now += timedelta(days=1)
        record_opt_out(d.study, "c009")
        wave = open_wave(d.study, "one")
        assert wave.n_units == 14
        assert "1 children are left out: refused after the enrolment." in wave.notes
        drawn = set(d.study.store.waves.assignment("one")["unit_id"])
        assert not drawn & {"c000", "c001", "c008", "c009", "x1"}
        assert "enrolled" in enrolment_status(d.study).summary()


def test_a_new_number_makes_up_for_an_invalid_one(tmp_path: Path) -> None:
    with desk(tmp_path, text_of(), children(10)) as d:
        open_enrolment(d.study, "asked")
        d.clock.now = ASKED
        queue_wave(d.study, "asked", ASKED + timedelta(days=1))
        d.fate(["c001", "c002"], "failed", "the number is not in use (Africa's Talking 1)")
        d.send()
        d.clock.now += timedelta(hours=1)
        new = encrypted_contacts(pl.Series(["c001"]), {"sms": pl.Series(["+254711111111"])}, d.ring)
        d.study.store.contacts.change(new, "change-1", "call", d.clock())
        d.answer("c003")
        closed = close_enrolment(d.study, "asked")
        assert closed.left == ({"reason": "number or address not valid", "n": 1},)
        assert closed.n_changed_number == 1
        assert "1 changed their number in a call." in closed.summary()
        assert d.status_of()["c002"][0] == "left out"


@pytest.mark.parametrize("rule", ['one_per = "phone"', 'randomize_by = "phone"'])
def test_never_two_arms_on_one_phone(tmp_path: Path, rule: str) -> None:
    """400 units on 200 phones, in two waves."""
    text = text_of(rule, "units = { share = 0.5 }", two=True)
    people = children(400, per_phone=2).with_columns(school=pl.lit("s"))
    with desk(tmp_path, text, people) as d:
        for enrolment, wave, at in (
            ("asked", "one", ASKED),
            ("asked-again", "two", ASKED + timedelta(days=28)),
        ):
            d.clock.now = at - timedelta(days=1)
            open_enrolment(d.study, enrolment)
            d.clock.now = at
            close_enrolment(d.study, enrolment, early=True, accept_silence=True)
            open_wave(d.study, wave, accept_late=True)
        rows = pl.concat(
            d.study.store.waves.assignment(wave).with_columns(wave=pl.lit(wave))
            for wave in ("one", "two")
        ).join(people, left_on="unit_id", right_on="child_id")
        by_phone = rows.group_by("phone").agg(pl.struct("wave", "arm").n_unique(), n=pl.len())
        assert by_phone["wave"].max() == 1
        assert by_phone.height == 200
        assert by_phone["n"].unique().to_list() == [1 if "one_per" in rule else 2]
        n = 50 if "one_per" in rule else 100
        counts = rows.group_by("wave", "arm").len()["len"].to_list()
        assert counts == [n] * 4


def test_shared_phones_need_a_rule(tmp_path: Path) -> None:
    people = children(20, per_phone=2)
    with desk(tmp_path, text_of(), people) as d:
        with pytest.raises(InputError, match="10 phones shared by 20 children"):
            open_enrolment(d.study, "asked")
        assert d.study.store.enrolments.all() == ()


def test_a_phone_of_units_of_different_eligibility_is_named(tmp_path: Path) -> None:
    rules = 'one_per = "phone"\nwhere = { class = 1 }'
    people = children(20, per_phone=2)  # a class-1 child shares with one of class 2
    mixed = pytest.raises(InputError, match="5 phones shared by 10 children of whom some")
    with desk(tmp_path, text_of(rules), people) as d, mixed:
        open_enrolment(d.study, "asked")
    for choice, n in (("take eligible", 5), ("leave out", 0)):
        with desk(tmp_path, text_of(f'{rules}\nmixed_phones = "{choice}"'), people) as d:
            if n:
                assert open_enrolment(d.study, "asked").n_invited == n
            else:
                with pytest.raises(InputError, match="shares a phone with somebody"):
                    open_enrolment(d.study, "asked")


def test_explicit_consent_is_kept_with_its_proof(tmp_path: Path) -> None:
    with desk(tmp_path, text_of('consent = "explicit"'), children(10)) as d:
        open_enrolment(d.study, "asked")
        d.clock.now = ASKED
        d.send()
        with pytest.raises(StateError, match="nobody is left of 10 children invited"):
            close_enrolment(d.study, "asked")
        d.clock.now += timedelta(minutes=5)
        d.answer("c001", "YES")
        d.answer("c002", "maybe")
        paper = pl.DataFrame(
            {"event_id": ["form-17"], "unit_id": ["c003"], "kind": ["consent"],
             "at": ["2024-02-20T09:00:00Z"]}
        )  # fmt: skip
        observe(d.study, paper)
        closed = close_enrolment(d.study, "asked")
        assert closed.left == ({"reason": "did not agree", "n": 8},)
        rows = d.study.store.enrolments.units("asked").filter(status="enrolled")
        assert rows["unit_id"].to_list() == ["c001", "c003"]
        proof = dict(rows.select("unit_id", "consent_proof").iter_rows())
        assert proof == {"c001": "consent:m-c001-YES:c001", "c003": "form-17"}
        assert rows["consent_message"].to_list() == ["introduction", None]
        assert rows["consent_language"].to_list() == ["en", None]
        texts = d.study.store.enrolments.get("asked").details["texts"]
        assert texts["introduction"]["text"]["en"].startswith("We begin on Monday.")


def test_without_an_enrolment_too_who_refuses_is_never_drawn(tmp_path: Path) -> None:
    text = text_of()
    start = text.index("[[enrolment]]")
    text = text[:start] + text[text.index("[[waves]]") :]
    with desk(tmp_path, text, children(40)) as d:
        opt_out(d.study, ["c000", "c001"], "by hand", "x")
        opened = open_wave(d.study, "one")
        assert opened.n_units == 38
        assert "2 children are left out: had refused messages before." in opened.notes
        row = d.study.store.waves.get("one")
        assert row.details["left_out"] == [{"reason": "had refused messages before", "n": 2}]


def test_an_enrolment_of_which_nothing_went_out_is_taken_back(tmp_path: Path) -> None:
    with desk(tmp_path, text_of(), children(10)) as d:
        open_enrolment(d.study, "asked")
        with pytest.raises(StateError, match="opened once"):
            open_enrolment(d.study, "asked")
        discard_enrolment(d.study, "asked", "the wrong list")
        open_enrolment(d.study, "asked")
        d.clock.now = ASKED
        d.send()
        with pytest.raises(StateError, match="10 messages that went out"):
            discard_enrolment(d.study, "asked", "the wrong list")


def test_faults_of_the_study_file_are_named() -> None:
    rules = 'one_per = "phone"\nrandomize_by = "phone"\nwhere = { grade = 1 }'
    with pytest.raises(SpecError) as told:
        parse_spec(text_of(rules).replace('waves = ["one"]', 'waves = ["one", "none"]'))
    text = "\n".join(map(str, told.value.faults))
    assert "enrolment['asked'].waves" in text
    assert "one_per and randomize_by" in text
    assert "enrolment['asked'].where" in text


FATES = ["silent", "answers", "refuses", "invalid", "refuses later", "refused before"]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(fates=st.lists(st.sampled_from(FATES), min_size=8, max_size=24), per_phone=st.integers(1, 3))
def test_the_flow_adds_up_at_every_step(tmp_path: Path, fates: list[str], per_phone: int) -> None:
    people = children(len(fates), per_phone)
    rules = 'one_per = "phone"\nwhere = { class = [1, 2, 3] }\nmixed_phones = "take eligible"'
    fate = dict(zip(people["child_id"], fates, strict=True))
    with desk(tmp_path, text_of(rules), people) as d:
        opt_out(d.study, [u for u, f in fate.items() if f == "refused before"], "by hand", "1")
        try:
            opened = open_enrolment(d.study, "asked")
        except InputError:
            return  # nobody to invite
        rows = d.study.store.enrolments.units("asked")
        assert rows["unit_id"].to_list() == people["child_id"].to_list()
        assert opened.n_considered == people.height
        assert opened.n_considered == opened.n_invited + sum(x["n"] for x in opened.left_out)
        d.clock.now = ASKED
        queue_wave(d.study, "asked", ASKED + timedelta(days=1))
        invited = rows.filter(status="invited")["unit_id"].to_list()
        bad = [u for u in invited if fate[u] == "invalid"]
        d.fate(bad, "failed", "not a phone number (Africa's Talking 403)")
        d.send()
        opt_out(d.study, [u for u in invited if fate[u] == "refuses"], "by hand", "2")
        for unit in invited:
            if fate[unit] == "answers":
                d.answer(unit)
        try:
            closed = close_enrolment(d.study, "asked", accept_silence=True)
        except StateError:
            return  # nobody is left
        assert closed.n_invited == opened.n_invited
        assert closed.n_invited == closed.n_enrolled + sum(x["n"] for x in closed.left)
        opt_out(d.study, [u for u in invited if fate[u] == "refuses later"], "by hand", "3")
        try:
            wave = open_wave(d.study, "one")
        except InputError:
            return
        left = sum(x["n"] for x in d.study.store.waves.get("one").details["left_out"])
        assert closed.n_enrolled == wave.n_units + left
        assert wave.n_units == sum(count["n_units"] for count in wave.counts)
        drawn = d.study.store.waves.assignment("one")["unit_id"]
        assert not {fate[u] for u in drawn} & {"refuses", "invalid", "refuses later"}
