"""Facts with a date: what a wave freezes of its units, and what later data leave as it is."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory_study import BEFORE, Desk, memory_study
from study_folders import STUDY, close_wave, people
from wavewise.design.parse import parse_spec
from wavewise.errors import InputError, StateError
from wavewise.workflow.frames import units_for, wave_data
from wavewise.workflow.learn.analyze import analyze
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.run.data_check import data_check
from wavewise.workflow.run.observe import discard_wave, observe
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.send.preview import preview
from wavewise.workflow.send.queue import queue_wave

DERIVED = """
[derived.recent]
event = "login"
within_days = 7

[derived.n_logins]
event = "login"
summary = "count"
"""
TEXT = STUDY.replace('units = { share = 0.5 }', 'units = "all"\nstrata = ["recent"]').replace(
    'covariates = ["grade"]', 'covariates = ["grade", "n_logins"]'
).replace("[[messages]]", f"{DERIVED}\n[[messages]]", 1).replace('units = "rest"', (
    'strata = ["recent", "active"]\ncovariates = ["grade"]\nwhere = { grade = [1, 2, 3] }'
))  # fmt: skip
OPENING = datetime(2024, 3, 4, 12, tzinfo=UTC)
N = 60


def logins(day: str, units: range, prefix: str = "e", **more: object) -> pl.DataFrame:
    rows = [
        {"event_id": f"{prefix}{day}-{i}", "unit_id": f"p{i:04d}", "kind": "login",
         "at": f"{day}T12:00:00Z", "value": None, **more}
        for i in units
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"value": pl.Float64})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with memory_study(tmp_path, TEXT, n_people=N) as made:
        made.clock.now = OPENING
        yield made


def arrived(desk: Desk) -> None:
    """Logins of the first thirty in the week before wave one, and of the last ten long before."""
    observe(desk.study, logins("2024-02-28", range(30)))
    observe(desk.study, logins("2024-02-10", range(50, N)))
    observe(desk.study, logins("2024-03-04", range(40, 45)))  # the wave has begun


def recent(desk: Desk, wave: str = "one") -> list[bool]:
    return wave_data(desk.study, wave).units.fields["recent"].to_list()


def test_a_wave_is_drawn_within_strata_of_the_week_before_it(desk: Desk) -> None:
    arrived(desk)
    opened = open_wave(desk.study, "one")
    assert opened.n_strata == 2
    data = wave_data(desk.study, "one")
    assert data.stratum.to_list() == ["yes"] * 30 + ["no"] * 30
    assert (
        data.units.covariates(["n_logins"])["n_logins"].to_list()
        == [1.0] * 30 + [0.0] * 20 + [1.0] * 10
    )
    by_arm = pl.DataFrame({"s": data.stratum, "a": data.arm}).group_by("s", "a").len()
    shares = {(s, a): n for s, a, n in by_arm.iter_rows()}
    assert shares["yes", "control"] in {7, 8}
    assert shares["no", "control"] in {7, 8}


def test_the_next_wave_has_strata_and_eligibility_of_its_own(desk: Desk) -> None:
    arrived(desk)
    open_wave(desk.study, "one")
    desk.clock.now = datetime(2024, 4, 1, 12, tzinfo=UTC)
    observe(desk.study, logins("2024-03-29", range(10, 20)))
    observe(desk.study, logins("2024-04-01", range(3)))
    close_wave(desk.study, "one")
    from wavewise.workflow.learn.decide import decide

    decide(desk.study, "one")
    open_wave(desk.study, "two")
    data = wave_data(desk.study, "two")
    assert set(data.units.fields["grade"]) == {1, 2, 3}
    assert len(data) == N / 2
    assert set(data.stratum) <= {"yes|yes", "yes|no", "no|yes", "no|no"}
    assert sum(recent(desk, "two")) == sum(10 <= i < 20 and i % 6 < 3 for i in range(N))
    assert sum(recent(desk)) == 30, "wave one keeps what it froze"
    assert analyze(desk.study, "one").facts()


def test_what_arrives_later_changes_nothing_and_is_told(desk: Desk) -> None:
    arrived(desk)
    open_wave(desk.study, "one")
    before = desk.study.store.waves.facts("one")
    observe(desk.study, logins("2024-03-01", range(28, 35), prefix="late"))
    assert desk.study.store.waves.facts("one").equals(before)
    (found,) = [f for f in data_check(desk.study, "one").findings if f.name == "frozen-facts"]
    assert found.verdict == "warn"
    assert "recent of 5 parents, n_logins of 7 parents" in found.text
    desk.clock.now = datetime(2024, 4, 1, tzinfo=UTC)
    closed = close_wave(desk.study, "one")
    assert closed.facts()["changed_facts"] == {"recent": 5, "n_logins": 7}
    assert found.text in closed.summary()


def test_a_kind_that_was_never_seen_is_named_before_the_draw(desk: Desk) -> None:
    with pytest.raises(InputError, match="no event of kind 'login' yet") as told:
        open_wave(desk.study, "one")
    assert {fault.path for fault in told.value.faults} == {
        "derived.recent.event",
        "derived.n_logins.event",
    }
    assert desk.study.store.waves.get("one") is None


def test_facts_that_only_a_later_wave_uses_stop_nobody(tmp_path: Path) -> None:
    text = (
        TEXT.replace('event = "login"\nsummary', 'event = "never"\nsummary')
        .replace('covariates = ["grade", "n_logins"]', 'covariates = ["grade"]')
        .replace('covariates = ["grade"]\nwhere', 'covariates = ["grade", "n_logins"]\nwhere')
    )
    with memory_study(tmp_path, text, n_people=N) as desk:
        desk.clock.now = OPENING
        arrived(desk)
        open_wave(desk.study, "one")
        assert wave_data(desk.study, "one").units.fields["n_logins"].to_list() == [0] * N
        _, found = units_for(desk.study, desk.study.wave("two"))
        assert "no event of kind 'never' yet" in found.incomplete[0].found


def test_a_fact_that_the_plan_names_later_is_derived_and_marked(desk: Desk) -> None:
    arrived(desk)
    open_wave(desk.study, "one")
    added = '[derived.ever]\nevent = "login"\nbefore = 2024-03-01\n'
    text = TEXT.replace("[derived.recent]", f"{added}\n[derived.recent]", 1)
    amended = replace(desk.study, text=text, spec=parse_spec(text), cache={})
    units = wave_data(amended, "one").units
    assert units.later == ("ever",)
    assert units.fields["ever"].to_list() == [True] * 30 + [False] * 20 + [True] * 10


def test_a_wave_before_its_facts_are_complete_says_until_when_events_came(desk: Desk) -> None:
    desk.clock.now = datetime(2024, 3, 3, 9, 30, tzinfo=UTC)
    observe(desk.study, logins("2024-02-28", range(30)))
    with pytest.raises(InputError, match="events received until 2024-03-03 09:30 UTC") as told:
        open_wave(desk.study, "one")
    assert "until 2024-03-04 05:00 UTC" in str(told.value)
    assert "--accept-incomplete" in str(told.value)
    opened = open_wave(desk.study, "one", accept_incomplete=True)
    assert opened.n_units == N
    row = desk.study.store.waves.get("one")
    assert row.details["facts_received_until"].startswith("2024-03-03T09:30")


def test_a_stratum_that_half_of_the_units_lack_is_named(tmp_path: Path) -> None:
    text = TEXT.replace("within_days = 7", 'within_days = 7\nsummary = "days since last"')
    with memory_study(tmp_path, text, n_people=N) as desk:
        desk.clock.now = OPENING
        arrived(desk)
        with pytest.raises(InputError, match="30 of 60 units have no 'recent'"):
            open_wave(desk.study, "one")
    cut = (
        'within_days = 7\nsummary = "days since last"\ncut = { days = [0, 7] }\nmissing = ["never"]'
    )
    with memory_study(tmp_path, TEXT.replace("within_days = 7", cut), n_people=N) as desk:
        desk.clock.now = OPENING
        arrived(desk)
        open_wave(desk.study, "one")
        assert wave_data(desk.study, "one").stratum.to_list() == ["days"] * 30 + ["never"] * 30


def test_events_without_values_cannot_be_summed(tmp_path: Path) -> None:
    with memory_study(tmp_path, TEXT.replace('"count"', '"sum"'), n_people=N) as desk:
        desk.clock.now = OPENING
        arrived(desk)
        with pytest.raises(InputError, match="40 of 40 'login' events before the wave without"):
            open_wave(desk.study, "one", accept_incomplete=True)


# Columns that are measured again.


def measured(grade: int, units: range) -> pl.DataFrame:
    return pl.DataFrame({"parent_id": [f"p{i:04d}" for i in units], "grade": [grade] * len(units)})


def test_columns_measured_for_a_wave_go_before_those_of_the_people_file(desk: Desk) -> None:
    arrived(desk)
    told = import_people(desk.study, measured(2, range(N - 3)), for_wave="two")
    assert told.facts()["as_of"] == "2024-04-01 (wave two)"
    open_wave(desk.study, "one")
    assert wave_data(desk.study, "one").units.fields["grade"].to_list() == [
        1 + i % 6 for i in range(N)
    ]
    desk.clock.now = datetime(2024, 4, 2, tzinfo=UTC)
    observe(desk.study, logins("2024-04-01", range(3)))
    close_wave(desk.study, "one")
    from wavewise.workflow.learn.decide import decide

    decide(desk.study, "one")
    open_wave(desk.study, "two", accept_late=True)
    assert len(wave_data(desk.study, "two")) == N - 3, "the others are in grades 4, 5 and 6"
    with pytest.raises(StateError, match="what its units looked like is frozen"):
        import_people(desk.study, measured(2, range(3)), for_wave="two")


def test_the_latest_measurement_up_to_a_wave_counts_and_later_ones_do_not(desk: Desk) -> None:
    arrived(desk)
    for day, grade in (("2024-02-20", 5), ("2024-03-04", 6), ("2024-03-05", 4)):
        import_people(desk.study, measured(grade, range(10)), as_of=day)
    open_wave(desk.study, "one")
    assert wave_data(desk.study, "one").units.fields["grade"].to_list()[:11] == [6] * 10 + [5]
    told = import_people(desk.study, measured(1, range(10)), as_of="2024-03-01")
    assert "waves one were drawn before, and keep what was frozen then" in told.summary()
    assert wave_data(desk.study, "one").units.fields["grade"].to_list()[:10] == [6] * 10


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"as_of": "2024-13-01"}, "'2024-13-01' as a date"),
        ({"as_of": "2024-05-01"}, "which is yet to come"),
        ({"as_of": "2024-02-01", "for_wave": "two"}, "both a day and a wave"),
        ({"as_of": "2024-02-01", "replace": True}, "replace beside a date"),
        ({"for_wave": "none"}, "found wave 'none'"),
    ],
)
def test_a_date_that_cannot_be_is_named(desk: Desk, keys: dict, found: str) -> None:
    with pytest.raises(InputError, match=found):
        import_people(desk.study, measured(1, range(3)), **keys)
    assert desk.study.store.units.measurements().is_empty()


def test_units_that_are_not_in_the_study_are_counted_and_not_named(desk: Desk) -> None:
    with pytest.raises(InputError, match="5 of 7 rows of units that were not imported") as told:
        import_people(desk.study, measured(1, range(N - 2, N + 5)), as_of="2024-02-02")
    assert "p00" not in str(told.value)
    with pytest.raises(InputError, match="no column of the study beside the id"):
        import_people(desk.study, people(3).select("parent_id", "zone"), as_of="2024-02-02")


# What else sees facts.


def test_messages_tell_facts_as_of_their_wave(tmp_path: Path) -> None:
    text = TEXT.replace(
        "Your teacher recommends it.", "{n_logins} logins so far; active: {recent}."
    )
    with memory_study(tmp_path, text, n_people=N) as desk:
        desk.clock.now = OPENING
        arrived(desk)
        told = preview(desk.study, "one", "p0003")
        assert "1 logins so far; active: yes." in told.summary()
        open_wave(desk.study, "one")
        observe(desk.study, logins("2024-03-01", range(N), prefix="late"))
        assert queue_wave(desk.study, "one", datetime(2024, 3, 20, tzinfo=UTC))
        texts = set(desk.study.store.deliveries.rows().filter(message_id="teacher")["content_json"])
        said = {text for one in texts for text in one.split('"') if "so far" in text}
        assert said <= {f"{n} logins so far; active: {a}." for n, a in ((1, "yes"), (0, "no"),
                                                                       (1, "no"))}  # fmt: skip


def test_a_discarded_wave_freezes_anew(desk: Desk) -> None:
    arrived(desk)
    open_wave(desk.study, "one")
    discard_wave(desk.study, "one", "events were missing")
    observe(desk.study, logins("2024-03-01", range(30, 40), prefix="late"))
    open_wave(desk.study, "one")
    assert sum(recent(desk)) == 40


_LATE = st.lists(
    st.tuples(st.integers(0, N - 1), st.sampled_from(["2024-02-27", "2024-03-03", "2024-03-06"])),
    max_size=12,
)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(early=_LATE, late=_LATE)
def test_no_order_of_arrival_changes_what_was_frozen(
    tmp_path: Path, early: list[tuple[int, str]], late: list[tuple[int, str]]
) -> None:
    frozen = []
    for first, second in ((early, late), (early[::-1], late[::-1])):
        with memory_study(tmp_path, TEXT, n_people=N) as desk:
            desk.clock.now = OPENING
            arrived(desk)
            for k, (unit, day) in enumerate(first):
                observe(desk.study, logins(day, range(unit, unit + 1), prefix=f"early{k}"))
            open_wave(desk.study, "one")
            before, arms = desk.study.store.waves.facts("one"), desk.arms
            for k, (unit, day) in enumerate(second):
                observe(desk.study, logins(day, range(unit, unit + 1), prefix=f"late{k}"))
            assert desk.study.store.waves.facts("one").equals(before)
            frozen.append((before, arms))
    assert frozen[0][0].equals(frozen[1][0])
    assert frozen[0][1] == frozen[1][1]


def test_a_study_without_facts_writes_none(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=N) as desk:
        assert desk.clock.now == BEFORE
        open_wave(desk.study, "one")
        assert desk.study.store.waves.facts("one").is_empty()
        assert not {"facts", "facts_received_until"} & set(
            desk.study.store.waves.get("one").details
        )
