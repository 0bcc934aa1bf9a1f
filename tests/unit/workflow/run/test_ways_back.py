"""Ways back: what can be taken back or put right, what stays of it, and who is told."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from memory_study import AFTER, Desk, memory_study
from study_folders import STUDY, close_wave, people
from wavewise.design.parse import parse_spec
from wavewise.errors import InputError, StateError
from wavewise.store import to_us
from wavewise.workflow.frames import wave_data
from wavewise.workflow.learn.analyze import analyze
from wavewise.workflow.learn.decide import decide
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import amend
from wavewise.workflow.report.contents import report_contents
from wavewise.workflow.report.report import write_report
from wavewise.workflow.run.observe import (
    discard_wave,
    observe,
    reopen_wave,
    withdraw,
)
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.send.queue import queue_wave
from wavewise.workflow.study import Study

SENDING = datetime(2024, 3, 4, 22, 30, tzinfo=UTC)  # half an hour after the first send in Lima


def events(desk: Desk, prefix: str = "e", *, lost: int = 0) -> pl.DataFrame:
    """Every second unit logs in; of the first ones the id is not the unit's."""
    rows = [
        {
            "event_id": f"{prefix}{i}",
            "unit_id": f"x{unit}" if i < lost else unit,
            "kind": "login",
            "at": "2024-03-05T12:00:00Z",
            "value": None,
        }
        for i, unit in enumerate(sorted(desk.arms))
        if i % 2 == 0
    ]
    return pl.DataFrame(rows, schema_overrides={"value": pl.Float64})


def closed(desk: Desk, *, lost: int = 0) -> None:
    open_wave(desk.study, "one")
    observe(desk.study, events(desk, lost=lost))
    desk.clock.now = AFTER
    close_wave(desk.study, "one")


def n_logins(desk: Desk) -> int:
    return int(desk.study.store.waves.outcomes("one")["login"].sum())


# A wave that is discarded.


def test_a_discarded_wave_leaves_its_reason_and_gives_the_same_draw_again(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        first = desk.arms
        queue_wave(desk.study, "one", AFTER)
        told = discard_wave(desk.study, "one", "the wrong list")
        assert told.n_units == 20
        assert desk.study.store.waves.get("one") is None
        assert desk.study.store.deliveries.counts().is_empty()
        record = desk.study.store.results.latest("one", "discarded").payload
        assert record["reason"] == "the wrong list"
        assert record["details"]["assignment_hash"] == told.assignment_hash
        open_wave(desk.study, "one")
        assert desk.arms == first
        assert queue_wave(desk.study, "one", AFTER) > 0, "its messages are queued anew"


@pytest.mark.parametrize("state", ["sending", "sent", "unknown", "failed"])
def test_a_wave_of_which_something_may_have_gone_out_is_not_discarded(
    tmp_path: Path, state: str
) -> None:
    from wavewise.store.rows import Recorded

    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        queue_wave(desk.study, "one", AFTER)
        outbox, now = desk.study.store.outbox, SENDING
        row = outbox.claim("push", "me", now, 60.0, 1)[0]
        outbox.begin_and_record("me", [row.outbox_id], [], now, 60.0)
        if state != "sending":
            outbox.record("me", [Recorded(row.outbox_id, state)], now)
        before = desk.arms
        with pytest.raises(StateError, match="1 messages that went out or may have"):
            discard_wave(desk.study, "one", "too late")
        assert desk.arms == before
        waiting = desk.study.store.deliveries.rows().filter(state="queued")
        assert waiting.height > 0, "nothing was cancelled either"


def test_what_was_learned_from_a_wave_goes_first(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        closed(desk)
        decide(desk.study, "one")
        open_wave(desk.study, "two", accept_late=True)
        reopen_wave(desk.study, "one", "why")
        with pytest.raises(StateError, match=r"wave discard .* two"):
            discard_wave(desk.study, "one", "why")
        discard_wave(desk.study, "two", "why")
        discard_wave(desk.study, "one", "why")


@pytest.mark.parametrize("reason", ["", "  "])
def test_every_way_back_needs_a_reason(tmp_path: Path, reason: str) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        closed(desk)
        for step in (
            lambda: discard_wave(desk.study, "one", reason),
            lambda: reopen_wave(desk.study, "one", reason),
            lambda: withdraw(desk.study, reason, event="e0"),
            lambda: observe(desk.study, events(desk), correct=True, reason=reason),
        ):
            with pytest.raises(InputError, match="--reason TEXT"):
                step()


# A wave that is closed, and reopened.


def test_a_closed_wave_sends_nothing(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        n_queued = queue_wave(desk.study, "one", AFTER)
        desk.clock.now = AFTER
        assert close_wave(desk.study, "one").n_cancelled == n_queued > 0
        outbox = desk.study.store.outbox
        assert outbox.claim("push", "me", SENDING, 60.0, 99) == ()
        reopen_wave(desk.study, "one", "why")
        assert outbox.claim("push", "me", SENDING, 60.0, 99) == ()
        assert outbox.resend_unknown(AFTER) == 0
        assert set(desk.study.store.deliveries.rows()["reason"]) == {"the wave was closed"}


def test_what_a_worker_gives_back_after_closing_ends_too(tmp_path: Path) -> None:
    from wavewise.store.rows import Recorded

    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        queue_wave(desk.study, "one", AFTER)
        outbox = desk.study.store.outbox
        begun, claimed = outbox.claim("push", "me", SENDING, 60.0, 2)
        outbox.begin_and_record("me", [begun.outbox_id], [], SENDING, 60.0)
        desk.clock.now = AFTER
        close_wave(desk.study, "one")
        assert outbox.begin_and_record("me", [claimed.outbox_id], [], SENDING, 60.0) == set()
        again = Recorded(begun.outbox_id, "queued", "busy", next_at_utc_us=to_us(SENDING))
        outbox.record("me", [again], SENDING)
        outbox.sweep_leases(SENDING)
        assert set(desk.study.store.deliveries.rows()["state"]) == {"cancelled"}


def test_outcomes_become_version_2_and_the_report_shows_both(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        closed(desk, lost=6)
        assert n_logins(desk) == 7
        analyze(desk.study, "one")
        decide(desk.study, "one")
        told = observe(desk.study, events(desk))
        assert (told.n_conflicting, told.n_corrected) == (3, 0)
        assert "--correct --reason" in told.summary()
        told = observe(desk.study, events(desk), correct=True, reason="zeros were lost")
        assert (told.n_new, told.n_corrected, told.n_repeated, told.n_conflicting) == (0, 3, 7, 0)
        assert "wave reopen" in told.summary()
        assert n_logins(desk) == 7, "what was frozen stays until somebody reopens the wave"
        reopened = reopen_wave(desk.study, "one", "zeros were lost")
        assert {one["kind"] for one in reopened.made_from_former} == {"analysis", "next-shares"}
        with pytest.raises(StateError, match="reopened"):
            analyze(desk.study, "one")
        assert close_wave(desk.study, "one").version == 2
        assert n_logins(desk) == 10
        assert desk.study.store.waves.outcomes("one", 1)["login"].sum() == 7
        wave = report_contents(desk.study).waves[0]
        (former,) = wave.former
        assert (former.version, former.reason) == (1, "zeros were lost")
        assert len(former.made_from) == 2
        assert former.means != former.means_now
        page = Path(write_report(desk.study).page).read_text(encoding="utf-8")
        assert "Version 1" in page
        assert "zeros were lost" in page


def test_a_choice_made_from_a_former_version_is_marked_until_it_is_made_again(
    tmp_path: Path,
) -> None:
    text = STUDY.replace('learned_on = ["one", "two"]', 'learned_on = ["one"]').replace(
        'shares = { rule = "exploration", model = "login", learned_on = ["one"] }', ""
    )
    with memory_study(tmp_path, text, n_people=40) as desk:
        closed(desk)
        decide(desk.study, "one")
        for _ in range(2):
            reopen_wave(desk.study, "one", "why")
            close_wave(desk.study, "one")
        decision = report_contents(desk.study).decision
        assert "version 1 of the outcomes of wave one" in decision.made_from_former
        assert "version 2" not in decision.made_from_former
        decide(desk.study, "one")
        assert report_contents(desk.study).decision.made_from_former == ""


# Events that are corrected or withdrawn.


def test_a_withdrawn_event_does_not_count_nor_come_back_with_its_file(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        observe(desk.study, events(desk))
        assert withdraw(desk.study, "a test", event="e0").n_withdrawn == 1
        ids = pl.DataFrame({"event_id": ["e2", "e4", "e0", "nobody's"]})
        told = withdraw(desk.study, "a test", data=ids)
        assert (told.n_withdrawn, told.n_before, told.n_unknown) == (2, 1, 1)
        assert observe(desk.study, events(desk)).n_repeated == 10
        assert desk.study.store.events.count() == 7
        trace = desk.study.store.corrections.all()
        assert trace["action"].to_list() == ["withdrawn"] * 3
        assert set(trace["reason"]) == {"a test"}
        assert '"event_id":"e0"' in trace["former_json"][0]
        told = observe(desk.study, events(desk), correct=True, reason="not a test after all")
        assert told.n_corrected == 3
        assert desk.study.store.events.count() == 10


def test_withdrawing_what_is_not_there_says_so(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        with pytest.raises(InputError, match="no event of this id"):
            withdraw(desk.study, "why", event="nobody's")
        with pytest.raises(InputError, match="neither a file nor --event"):
            withdraw(desk.study, "why")


def test_an_event_without_its_value_can_be_put_right_or_left_out(tmp_path: Path) -> None:
    """Both remedies of the message work, before the wave is closed."""
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        units = sorted(desk.arms)
        empty = pl.DataFrame(
            {
                "event_id": ["s1", "s2"],
                "unit_id": units[:2],
                "kind": ["session"] * 2,
                "at": ["2024-03-05T12:00:00Z"] * 2,
                "value": [None, None],
            },
            schema_overrides={"value": pl.Float64},
        )
        observe(desk.study, empty)
        desk.clock.now = AFTER
        with pytest.raises(InputError, match=r"observe DIR FILE --correct .* withdraw DIR FILE"):
            close_wave(desk.study, "one")
        right = empty.head(1).with_columns(value=7.0)
        observe(desk.study, right, correct=True, reason="the export had lost it")
        withdraw(desk.study, "nobody knows it", data=empty.tail(1))
        close_wave(desk.study, "one")
        minutes = desk.study.store.waves.outcomes("one")["minutes"].to_list()
        assert minutes[:2] == [7.0, 0.0]


# Units that are measured again.


def remeasured() -> pl.DataFrame:
    return people(40).with_columns(grade=pl.lit(9), active=pl.lit("yes"))


def test_a_covariate_measured_again_is_that_of_later_waves(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        closed(desk)
        before = wave_data(desk.study, "one")
        told = import_people(desk.study, remeasured(), replace=True)
        assert "keep what they were drawn with" in told.summary()
        fresh = Study(tmp_path, STUDY, parse_spec(STUDY), desk.study.store, desk.clock)
        after = wave_data(fresh, "one")
        assert after.units.fields["grade"].equals(before.units.fields["grade"])
        assert after.stratum.equals(before.stratum)
        decide(fresh, "one")
        open_wave(fresh, "two", accept_late=True)
        assert set(wave_data(fresh, "two").units.fields["grade"]) == {9}
        assert set(wave_data(fresh, "two").stratum) == {"yes"}
        assert fresh.store.units.replaced().height == 40


def test_a_covariate_added_by_amend_is_taken_and_its_date_is_told(tmp_path: Path) -> None:
    more = STUDY.replace('covariates = ["grade"]', 'covariates = ["grade", "phones"]')
    plan = '\n[analysis.effects]\nestimator = "lin"\ncovariates = ["grade", "phones"]\n'
    with memory_study(tmp_path, n_people=40) as desk:
        closed(desk)
        amended = Study(
            tmp_path, more + plan, parse_spec(more + plan), desk.study.store, desk.clock
        )
        amend(amended, "asked again")
        with pytest.raises(InputError, match=r"'phones'.* people import"):
            analyze(amended, "one")
        added = people(40).with_columns(phones=pl.Series([i % 3 for i in range(40)]))
        told = import_people(amended, added, replace=True)
        assert "new for waves that were drawn before: phones." in told.summary()
        found = analyze(amended, "one")
        (check,) = [c for c in found.checks if c.name == "covariates measured after the draw"]
        assert (check.passed, "phones" in check.text, "grade" in check.text) == (None, True, False)
        # measured once more: of wave one the first value stays
        first = wave_data(amended, "one").units.fields["phones"]
        import_people(amended, added.with_columns(phones=pl.lit(8)), replace=True)
        again = Study(tmp_path, more + plan, amended.spec, desk.study.store, desk.clock)
        assert wave_data(again, "one").units.fields["phones"].equals(first)


# A wave none of whose messages went out is no finding.


def test_a_wave_whose_messages_are_all_late_is_not_opened_unless_told(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        desk.clock.now = AFTER
        with pytest.raises(StateError, match=r"all 2 sends late already.*--accept-late"):
            open_wave(desk.study, "one")
        assert desk.study.store.waves.get("one") is None
        open_wave(desk.study, "one", accept_late=True)


def test_a_wave_that_sent_nothing_is_never_called_a_finding(tmp_path: Path) -> None:
    text = STUDY.replace('learned_on = ["one", "two"]', 'learned_on = ["one"]').replace(
        'shares = { rule = "exploration", model = "login", learned_on = ["one"] }', ""
    )
    with memory_study(tmp_path, text, n_people=40) as desk:
        closed(desk)
        assert "No message of this wave went out" in analyze(desk.study, "one").summary()[:400]
        assert "No message of this wave went out" in decide(desk.study, "one").summary()[:400]
        page = Path(write_report(desk.study).page).read_text(encoding="utf-8")
        assert "This study cannot say: no message went out" in page
        assert "Use peers" not in page
        assert "Use teacher" not in page


def test_a_wave_that_did_send_begins_with_what_was_received(tmp_path: Path) -> None:
    from wavewise.store.rows import Recorded

    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        queue_wave(desk.study, "one", AFTER)
        outbox = desk.study.store.outbox
        rows = outbox.claim("push", "me", SENDING, 60.0, 99)
        ids = [row.outbox_id for row in rows]
        outbox.begin_and_record("me", ids, [], SENDING, 60.0)
        outbox.record("me", [Recorded(i, "sent") for i in ids], SENDING)
        desk.clock.now = AFTER
        close_wave(desk.study, "one")
        told = analyze(desk.study, "one").summary()
        assert told.startswith(f"Messages of wave one: 30 planned so far, {len(ids)} sent")
        assert "No message" not in told
        assert not report_contents(desk.study).nothing_sent
