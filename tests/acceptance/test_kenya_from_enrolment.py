"""Kenya whole: enrolment before each wave, two waves, and the columns of Table 5 at the end.

The funnel is the paper's: 3,163 children with one phone each, 1,581 and 1,582 invited, 1,494 and
1,384 randomized. At small size it is a tenth of that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import wavewise as ww
from postgres_server import new_database
from set_clock import Clock
from study_folders import close_wave
from wavewise.design.templates import template_text
from wavewise.fieldwork.channels.base import CallEvent
from wavewise.fieldwork.receipts import DeliveryReceipt
from wavewise.workflow.contacts.contacts import contact_book
from wavewise.workflow.contacts.keys import make_key_file, read_key_file
from wavewise.workflow.contacts.opt_outs import record_receipts
from wavewise.workflow.learn.analyze import analyze
from wavewise.workflow.learn.decide import decide
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register, show_history
from wavewise.workflow.report.report import write_report
from wavewise.workflow.run.enrol import close_enrolment, open_enrolment
from wavewise.workflow.run.export import export
from wavewise.workflow.run.observe import observe
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.send.calls import record_call_events
from wavewise.workflow.send.worker import send
from wavewise.workflow.study import Study, open_study

_NUMBERS = count(1)
FILES = '[voice]\nprovider = "file"\nrate_per_second = inf\n\n[sms]\nprovider = "file"\n' + (
    "rate_per_second = inf\n"
)
ENGAGED = {"T1A": 0.08, "T1B": 0.12, "T1C": 0.07, "T2A": 0.06, "T2B": 0.08, "T2C": 0.03}
INFLATED = 'leave_out = [{ where = { school = "inflated" }, reason = "very inflated scores" }]\n'


@dataclass(frozen=True)
class Funnel:
    """Sizes: phones, schools, children more on the phones, and who leaves each wave."""

    n_phones: int
    n_schools: int
    n_siblings: int
    # wave: refused, number not valid, answered
    leaves: Mapping[str, tuple[int, int, int]]


SMALL = Funnel(316, 11, 8, {"wave-1": (4, 5, 70), "wave-2": (9, 11, 60)})
FULL = Funnel(3_163, 108, 40, {"wave-1": (41, 46, 698), "wave-2": (92, 106, 640)})


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.system, pytest.mark.full])]
)
def url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "sqlite":
        return None
    return new_database(request.getfixturevalue("postgres"), f"enrolment_{next(_NUMBERS)}")


def children(funnel: Funnel) -> pl.DataFrame:
    """One child for each phone, siblings, a tiny school and one with inflated scores."""
    n, schools = funnel.n_phones, funnel.n_schools
    phones = [*range(n), *range(funnel.n_siblings), *range(n, n + 4), *range(n + 4, n + 34)]
    school = [f"school-{i % schools:03d}" for i in range(n)]
    school += [f"school-{i % schools:03d}" for i in range(funnel.n_siblings)]
    school += ["tiny"] * 4 + ["inflated"] * 30
    return pl.DataFrame(
        {
            "phone_id": [f"c{i:05d}" for i in range(len(phones))],
            "school": school,
            "child_name": ["Amani"] * len(phones),
            "score_term_2": [10 + i % 70 for i in range(len(phones))],
            "class": ["1"] * len(phones),
            "phone": [f"+2547{phone:08d}" for phone in phones],
        }
    )


def study_text() -> str:
    """The template without reading scores, and with a school that is left out."""
    text = template_text("kenya-ivr")
    text = _without(text, '[[outcomes]]\nid = "reading"', "[models.engagement]")
    text = _without(text, "[models.reading]", "[[enrolment]]")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("reading ="))
    return text.replace("least_size =", f"{INFLATED}least_size =")


def _without(text: str, first: str, after: str) -> str:
    start = text.index(first)
    return text[:start] + text[text.index(after, start) :]


@pytest.fixture
def ran(
    tmp_path: Path, url: str | None, request: pytest.FixtureRequest
) -> Iterator[tuple[Study, Funnel, dict[str, dict[str, int]]]]:
    funnel: Funnel = request.param
    folder, key, clock = (
        tmp_path / "study",
        tmp_path / "study.key",
        Clock(datetime(2021, 4, 26, tzinfo=UTC)),
    )
    folder.mkdir()
    (folder / "study.toml").write_text(study_text(), encoding="utf-8")
    (folder / "channels.toml").write_text(FILES, encoding="utf-8")
    make_key_file(key)
    with open_study(folder, store_url=url, clock=clock) as study:
        register(study)
        import_people(study, children(funnel), key_file=key)
        numbers = {}
        for n in (1, 2):
            found = enrol(study, clock, key, funnel, f"enrolment-{n}", f"wave-{n}")
            numbers[f"wave-{n}"] = found
            run_wave(study, clock, f"wave-{n}")
            decide(study, f"wave-{n}")
        yield study, funnel, numbers


def enrol(
    study: Study, clock: Clock, key: Path, funnel: Funnel, enrolment: str, wave: str
) -> dict[str, int]:
    """Calls on Monday, messages on Tuesday; some refuse, some numbers are nobody's, few answer."""
    n_refused, n_invalid, n_answered = funnel.leaves[wave]
    starts = datetime.combine(study.enrolment(enrolment).starts, datetime.min.time(), tzinfo=UTC)
    clock.now = starts - timedelta(days=1)
    opened = open_enrolment(study, enrolment)
    clock.now = starts + timedelta(hours=14, minutes=1)  # 17:01 in Nairobi
    book, ring = contact_book(study, key), read_key_file(key)
    send(study, key_file=key, book=book)
    rows = study.store.enrolments.units(enrolment).filter(status="invited")["unit_id"]
    order = rows.sample(fraction=1.0, shuffle=True, seed=1).to_list()
    refuse, invalid = order[:n_refused], order[n_refused : n_refused + n_invalid]
    answer = order[n_refused + n_invalid :][:n_answered]
    calls = {row.unit_id: row for row in calls_of(study, enrolment)}
    for unit in refuse:
        heard = CallEvent("refused", action="opt out")
        record_call_events(study, calls[unit], f"{calls[unit].message_key}:1", [heard], ring)
    for unit in answer:
        heard = CallEvent("agreed", event="consent")
        record_call_events(study, calls[unit], f"{calls[unit].message_key}:1", [heard], ring)
    clock.now += timedelta(days=1)
    send(study, key_file=key, book=book)
    for unit in invalid:
        receipt = DeliveryReceipt(
            f"r-{unit}", "voice", "failed", message_key=calls[unit].message_key,
            reason="the number is not in use (UserDoesNotExist)",
        )  # fmt: skip
        record_receipts(study, ring, receipt)
    clock.now += timedelta(days=1)
    closed = close_enrolment(study, enrolment)
    assert {one["reason"]: one["n"] for one in closed.left} == {
        "refused": n_refused,
        "number or address not valid": n_invalid,
    }
    assert closed.n_answered == n_answered
    return {"invited": opened.n_invited, "enrolled": closed.n_enrolled}


def calls_of(study: Study, enrolment: str) -> Iterator:
    keys = study.store.deliveries.rows(enrolment).filter(channel="voice")["message_key"]
    for key in keys:
        yield study.store.calls.message(key)


def run_wave(study: Study, clock: Clock, wave_id: str) -> None:
    """The wave drawn, its exercises started or not, and closed."""
    wave = study.wave(wave_id)
    starts = datetime.combine(wave.starts, datetime.min.time(), tzinfo=UTC)
    clock.now = starts - timedelta(hours=6)
    open_wave(study, wave_id)
    drawn = study.store.waves.assignment(wave_id).filter(pl.col("arm") != "control")
    rng = np.random.default_rng(7)
    n = rng.binomial(9, [ENGAGED[arm] for arm in drawn["arm"]])
    rows = [
        (f"{wave_id}-{unit}-{item}", unit, "exercises_started", str(item + 1))
        for unit, k in zip(drawn["unit_id"], n, strict=True)
        for item in range(k)
    ]
    at = f"{wave.starts + timedelta(days=1)}T16:00:00Z"
    events = pl.DataFrame(rows, schema=["event_id", "unit_id", "kind", "item"], orient="row")
    observe(study, events.with_columns(at=pl.lit(at)))
    clock.now = starts + timedelta(days=wave.window_days + 1)
    close_wave(study, wave_id)


@pytest.mark.parametrize(
    "ran",
    [
        pytest.param(SMALL, id="small"),
        pytest.param(FULL, id="full", marks=pytest.mark.slow),
    ],
    indirect=True,
)
def test_from_enrolment_to_table_5(ran: tuple) -> None:
    study, funnel, numbers = ran
    invited = [numbers[wave]["invited"] for wave in ("wave-1", "wave-2")]
    assert sum(invited) == funnel.n_phones
    assert invited[0] == funnel.n_phones // 2
    drawn = {wave: study.store.waves.assignment(wave) for wave in ("wave-1", "wave-2")}
    for wave, (n_refused, n_invalid, _) in funnel.leaves.items():
        assert drawn[wave].height == numbers[wave]["invited"] - n_refused - n_invalid
        strata = drawn[wave]["stratum"].str.split("|").list.get(1)
        assert set(strata) == {"answered", "no answer"}
    if funnel is FULL:
        assert invited == [1_581, 1_582]
        assert [rows.height for rows in drawn.values()] == [1_494, 1_384]
    both = pl.concat(drawn.values())
    assert both["unit_id"].is_unique().all()
    phones = both.join(children(funnel), left_on="unit_id", right_on="phone_id")["phone"]
    assert phones.is_unique().all()
    refused = study.store.opt_outs.units("voice")
    assert not both["unit_id"].is_in(refused.implode()).any()
    _table_5(study, drawn)
    _told(study, numbers)


def _table_5(study: Study, drawn: Mapping[str, pl.DataFrame]) -> None:
    """Panel A, unweighted and weighted, with the winner's intervals of panel B."""
    outcomes = pl.concat(study.store.waves.outcomes(wave) for wave in drawn)
    rows = pl.concat(drawn.values()).join(outcomes, on="unit_id")
    rows = rows.filter(pl.col("arm") != "control")
    found = ww.estimate.adaptive_comparison(
        rows["engaged"].to_numpy(),
        rows["arm"].to_list(),
        rows["propensity"].to_numpy(),
        family="binomial",
        trials=np.full(rows.height, 9),
        arms=list(ENGAGED),
    )
    assert [column.label for column in found.columns] == ["Unweighted", "Weighted"]
    for column in found.columns:
        assert np.isfinite(column.std_error).all()
        assert set(column.winners) >= {"projection", "hybrid", "conditional"}
    totals = rows.group_by("arm").agg(pl.col("engaged").sum() / (9 * pl.len()))
    share = dict(totals.iter_rows())
    logit = [np.log(share[arm] / (1 - share[arm])) for arm in ENGAGED]
    assert np.allclose(found.columns[0].estimate, logit, atol=1e-6)


def _told(study: Study, numbers: Mapping[str, Mapping[str, int]]) -> None:
    """The flow of participants in the report, the registry's page and the export."""
    analyze(study, "wave-2")
    write_report(study)
    page = (study.folder / "report" / "index.html").read_text(encoding="utf-8")
    show_history(study, export=True)
    registry = (study.folder / "report" / "registry.html").read_text(encoding="utf-8")
    export(study, study.folder / "out")
    flow = pl.read_csv(study.folder / "out" / "participants.csv")
    for wave, counts in numbers.items():
        for text in (page, registry):
            assert f"{counts['invited']:,}" in text
            assert "number or address not valid" in text
        steps = flow.filter(pl.col("wave") == wave, pl.col("left_for").is_null())
        assert steps.filter(step="Invited")["n"].to_list() == [counts["invited"]]
        left = flow.filter(pl.col("wave") == wave, pl.col("left_for").is_not_null())
        by_step = dict(left.group_by("step").agg(pl.col("n").sum()).iter_rows())
        names, n = steps["step"].to_list(), steps["n"].to_list()
        assert names[-1] == "Randomized"
        for place, name in enumerate(names[:-1]):
            assert n[place + 1] == n[place] - by_step.get(name, 0)
    assert pl.read_csv(study.folder / "out" / "enrolment.csv").height > 0
