"""What is sent is what is registered: words, versions, and what an amendment does to the queue."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memory_study import Desk, memory_study
from study_folders import STUDY
from wavewise.design.parse import parse_spec
from wavewise.errors import RegistrationError
from wavewise.workflow.prepare.registration import amend
from wavewise.workflow.run.open_wave import open_wave
from wavewise.workflow.send.queue import queue_wave
from wavewise.workflow.send.wording import wording_table
from wavewise.workflow.send.worker import address_outbox, send
from wavewise.workflow.study import Study

MONDAY = datetime(2024, 3, 4, 22, 30, tzinfo=UTC)
NEW = STUDY.replace("Many practise.", "Almost all practise.")


def edited(desk: Desk, text: str = NEW) -> Study:
    from dataclasses import replace

    return replace(desk.study, text=text, spec=parse_spec(text))


def texts(study: Study) -> set[str]:
    import json

    from sqlalchemy import select

    from wavewise.store.schema import outbox

    with study.store.reading() as connection:
        rows = connection.scalars(select(outbox.c.content_json)).all()
    return {json.loads(row)["text"].partition(" And")[0] for row in rows}


def test_an_edited_file_words_nothing_until_it_is_amended(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        study = edited(desk)
        queue_wave(study, "one", MONDAY + timedelta(hours=1))
        assert texts(study) == {"Many practise.", "Your teacher recommends it."}
        with pytest.raises(RegistrationError, match="differs from version 1"):
            send(study)
        rows = study.store.deliveries.rows()
        assert set(rows["spec_hash"]) == {study.version.hash}
        assert rows["wording_hash"].n_unique() == 2


def test_an_amendment_tells_of_old_words_and_rewords_when_told_to(tmp_path: Path) -> None:
    (tmp_path / "channels.toml").write_text('[push]\nprovider = "file"\n', encoding="utf-8")
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        desk.clock.now = MONDAY
        queue_wave(desk.study, "one", MONDAY + timedelta(hours=1))
        n_peers = desk.study.store.deliveries.rows().filter(message_id="peers").height
        study = edited(desk)
        done = amend(study, "clearer")
        assert done.facts()["queued_in_old_words"] == {"peers": n_peers}
        assert done.facts()["n_reworded"] == 0
        assert f"{n_peers} messages were queued as the version before has them" in done.summary()
        assert texts(study) == {"Many practise.", "Your teacher recommends it."}
        assert address_outbox(study, "reword").facts() == {"n_reworded": n_peers}
        assert address_outbox(study, "reword").facts() == {"n_reworded": 0}
        send(study)
        assert texts(study) == {"Almost all practise.", "Your teacher recommends it."}
        table = wording_table(study, "one")
        assert table.select("message", "version").rows() == [("peers", 2), ("teacher", 1)]
        assert table["text"].to_list()[0] == "en: Almost all practise. And {child_name}?"
        assert table["n_sent"].sum() > 0


def test_an_amendment_rewords_in_one_go(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        n = queue_wave(desk.study, "one", MONDAY + timedelta(hours=1))
        study = edited(desk)
        done = amend(study, "clearer", reword=True)
        assert done.facts()["n_reworded"] == done.facts()["queued_in_old_words"]["peers"]
        assert queue_wave(study, "one", MONDAY + timedelta(hours=1)) == done.n_reworded
        assert study.store.deliveries.rows().height == n
        assert texts(study) == {"Almost all practise.", "Your teacher recommends it."}


def test_a_worker_that_words_meanwhile_queues_nothing_of_the_old_plan(tmp_path: Path) -> None:
    with memory_study(tmp_path, n_people=40) as desk:
        open_wave(desk.study, "one")
        row = desk.study.store.waves.get("one")
        queue_wave(desk.study, "one", MONDAY + timedelta(hours=1))
        frame = desk.study.store.deliveries.rows().with_columns(time_zone=_zone())
        old = desk.study.version.hash
        amend(edited(desk), "clearer", reword=True)
        queue = desk.study.store.outbox.queue
        assert queue(frame, MONDAY, opened_at=row.opened_at, spec_hash=old) is None
        later = row.opened_at + timedelta(seconds=1)
        assert queue(frame, MONDAY, opened_at=later, spec_hash=desk.study.version.hash) is None


def _zone():
    import polars as pl

    return pl.lit("America/Lima")


def test_a_study_that_is_not_registered_sends_nothing(tmp_path: Path) -> None:
    with memory_study(tmp_path) as desk, pytest.raises(RegistrationError, match="not registered"):
        send(desk.study)
