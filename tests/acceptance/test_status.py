"""The monitor: messages counted once, exposures, ratio of what was delivered, both effects."""

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from field_study import make_field_study
from outbox_rows import queued
from postgres_server import new_database
from study_folders import done, events
from wavewise.estimate.effects.instruments import cace
from wavewise.store.rows import Recorded
from wavewise.workflow.contacts.opt_outs import opt_out
from wavewise.workflow.report.contents import report_contents
from wavewise.workflow.send.calls import call_back
from wavewise.workflow.study import Study, open_study

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
N = 400


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, database: str, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A closed wave: two of three messages delivered, some failed, unknown, refused, waiting."""
    with pytest.MonkeyPatch.context() as patched:
        if database == "postgresql":
            url = new_database(request.getfixturevalue("postgres"), "monitor")
            patched.setenv("WAVEWISE_STORE", url)
        yield make_folder(tmp_path_factory)


def opened(folder: Path, **more: Any) -> AbstractContextManager[Study]:
    """The study, in the database that the command line uses."""
    return open_study(folder, store_url=os.environ.get("WAVEWISE_STORE"), **more)


def make_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, _ = make_field_study(tmp_path_factory.mktemp("monitor"), N)
    done("wave", "open", folder, "one")
    with opened(folder, clock=lambda: NOW) as study:
        drawn = study.store.waves.assignment("one")
        sent = drawn.filter(pl.col("arm") != "control")
        rows = queued(sent["unit_id"].to_list(), sent["arm"].to_list())
        late = pl.when(pl.int_range(pl.len()) < 5).then(10**18).otherwise("due_at_utc_us")
        study.store.outbox.queue(rows.with_columns(due_at_utc_us=late), NOW)
        claimed = study.store.outbox.claim("sms", "w", NOW, 60, 120)
        ids = [row.outbox_id for row in claimed]
        study.store.outbox.begin_and_record("w", ids, [], NOW, 60)
        results = [
            Recorded(row, *outcome(i), provider_id=f"P{i}") for i, row in enumerate(ids)
        ]  # fmt: skip
        study.store.outbox.record("w", results, NOW)
        waiting = study.store.deliveries.rows("one").filter(state="queued")["unit_id"].to_list()
        opt_out(study, waiting[:3], "stop keyword", "r1")
        study.store.outbox.release("w")
    done("observe", folder, events(folder, drawn, "2024-03-05", "one"))
    done("wave", "close", folder, "one")
    return folder


def outcome(i: int) -> tuple[str, str | None]:
    if i % 10 == 8:
        return "failed", "not a number"
    if i % 10 == 9:
        return "unknown", "time-out"
    return ("delivered", None) if i % 3 else ("sent", None)


def test_every_message_is_counted_once(folder: Path) -> None:
    facts = done("status", folder, "--json").facts
    table = pl.DataFrame(facts["deliveries"])
    ends = ["sent", "waiting", "failed", "unknown", "refused", "cancelled"]
    with opened(folder) as study:
        rows = study.store.deliveries.rows("one")
    assert table.select(ends).sum().sum_horizontal()[0] == rows.height
    assert table["due"].sum() == rows.height - 5
    assert table["failed"].sum() == table["unknown"].sum() == 12
    assert table["refused"].sum() == 3
    for arm, channel, state in (("peers", "sms", "failed"), ("teacher", "sms", "unknown")):
        counted = table.filter(arm=arm, channel=channel)[state][0]
        assert counted == rows.filter(arm=arm, state=state).height
    reasons = {(row["state"], row["reason"]) for row in facts["failures"]}
    assert reasons == {("failed", "not a number"), ("unknown", "time-out")}
    assert sum(row["n_units"] for row in facts["opt_outs"]) == 3


def test_doses_and_the_ratio_of_what_was_delivered(folder: Path) -> None:
    wave = done("status", folder, "--json").facts["waves"][0]
    doses = {row["arm"]: row for row in wave["doses"]}
    assert doses["control"]["mean_messages"] == 0
    with opened(folder) as study:
        rows = study.store.deliveries.rows("one").filter(arm="peers")
        n = study.store.waves.assignment("one").filter(arm="peers").height
    assert doses["peers"]["n_units"] == n
    delivered = rows.filter(state="delivered").height
    assert doses["peers"]["share_reached"] == pytest.approx(delivered / n)
    assert wave["ratio"]["verdict"] == "pass"
    assert "receipt of delivery (sms)" in wave["received_means"]


def test_both_effects_from_the_same_frozen_outcomes(folder: Path) -> None:
    facts = done("status", folder, "--json").facts["waves"][0]["effects_on_reached"]
    with opened(folder) as study:
        data = study.store.waves.assignment("one").join(
            study.store.waves.outcomes("one"), on="unit_id"
        )
        rows = study.store.deliveries.rows("one").filter(state="delivered")
    reached = data["unit_id"].is_in(rows["unit_id"].implode()).to_numpy()
    expected = cace(
        data["login"].to_numpy(), data["arm"], reached, strata=data["stratum"]
    ).to_frame()
    found = pl.DataFrame(facts["rows"]).sort("arm")
    for name in ("estimate", "std_error", "itt"):
        np.testing.assert_allclose(found[name], expected.sort("arm")[name], rtol=1e-10)
    text = done("status", folder).out
    assert "beside intent to treat" in text
    assert "p0001" not in text


def test_the_report_shows_the_same_numbers(folder: Path) -> None:
    status = done("status", folder, "--json").facts
    done("report", folder)
    report = json.loads((folder / "report" / "report.json").read_text("utf-8"))
    (wave,) = report["deliveries"]
    shown = [{"wave": "one", **row} for row in wave["messages"]]
    assert shown == status["deliveries"]
    assert [{"wave_id": "one", **row} for row in wave["reasons"]] == [
        {"wave_id": row.pop("wave"), **row} for row in status["failures"]
    ]
    assert sum(row["n_units"] for row in wave["opt_outs"]) == 3
    assert wave["doses"] == status["waves"][0]["doses"]
    with opened(folder) as study:
        due = study.store.deliveries.rows("one").filter(pl.col("due_at_utc_us") < 10**18)
    counted = due.group_by("arm").agg(due=pl.len(), received=(pl.col("state") == "delivered").sum())
    assert 0 < counted["received"].min() < counted["due"].min()
    assert wave["sends"] == [
        {"arm": row["arm"], "send": 1, "due": row["due"], "received": row["received"]}
        for row in counted.sort("arm").to_dicts()
    ]
    both = {row["arm"]: row for row in status["waves"][0]["effects_on_reached"]["rows"]}
    assert len(wave["effects"]) == 2
    for row in wave["effects"]:
        assert row == {name: both[row["arm"]][name] for name in row}
    names = [check["name"] for check in report["waves"][0]["checks"]]
    assert names.count("sample ratio of what was delivered") == 1
    assert "Both effects on" in (folder / "report" / "index.html").read_text("utf-8")


def test_calls_and_who_rang_have_a_line_where_the_study_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAVEWISE_STORE", raising=False)
    folder, _ = make_field_study(tmp_path)
    done("wave", "open", folder, "one")
    assert "Calls:" not in done("status", folder).out
    with opened(folder, clock=lambda: NOW) as study:
        arms = study.store.waves.assignment("one").filter(pl.col("arm") != "control").head(4)
        rows = queued(arms["unit_id"].to_list(), arms["arm"].to_list(), channel="voice")
        study.store.outbox.queue(rows, NOW)
        ids = [row.outbox_id for row in study.store.outbox.claim("voice", "w", NOW, 60, 3)]
        study.store.outbox.begin_and_record("w", ids, [], NOW, 60)
        results = [Recorded(ids[0], "answered"), Recorded(ids[1], "failed", "busy")]
        study.store.outbox.record("w", results, NOW)
        call_back(study, None, "+254700000001", "r1")
        call_back(study, None, "+254700000001", "r1")  # told twice
        call_back(study, None, "+254700000001", "r2")
    facts = done("status", folder, "--json").facts
    assert facts["calls"] == {"n_messages": 4, "n_calls": 3, "n_answered": 1}
    assert facts["events"]["n_missed_calls"] == 2
    line = "Calls: 3 begun for 4 messages; messages answered: 1; missed calls: 2."
    assert line in done("status", folder).out


def test_where_no_receipts_come_the_report_counts_what_was_sent_by_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAVEWISE_STORE", raising=False)
    folder, _ = make_field_study(tmp_path)
    done("wave", "open", folder, "one")
    with opened(folder, clock=lambda: NOW) as study:
        units = study.store.waves.assignment("one").filter(arm="peers")["unit_id"].head(3).to_list()
        first = queued(units, ["peers"] * 3)
        key = pl.concat_str("message_key", pl.lit("-second"))
        study.store.outbox.queue(
            pl.concat([first, first.with_columns(slot=pl.lit(1, pl.Int64), message_key=key)]), NOW
        )
        ids = [row.outbox_id for row in study.store.outbox.claim("sms", "w", NOW, 60, 5)]
        study.store.outbox.begin_and_record("w", ids, [], NOW, 60)
        study.store.outbox.record("w", [Recorded(row, "sent") for row in ids], NOW)
        rows = study.store.deliveries.rows("one")
        (wave,) = report_contents(study).deliveries
    out = [rows.filter(slot=slot, state="sent").height for slot in (0, 1)]
    assert sum(out) == 5
    assert wave.sends.select("send", "due", "received").rows() == [
        (1, 3, out[0]),
        (2, 3, out[1]),
    ]


def test_a_study_before_any_wave_has_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAVEWISE_STORE", raising=False)
    folder, _ = make_field_study(tmp_path)
    assert "No messages are queued" in done("status", folder).out
    assert done("status", folder, "--json").facts["events"]["n"] == 0
