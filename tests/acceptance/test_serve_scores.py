"""Scores over HTTP: deliveries kept whole or not at all, revisions beside what came before."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from score_study import make_score_study
from study_folders import done
from wavewise.server.app import build_app
from wavewise.server.authentication import Settings
from wavewise.workflow.study import Study, open_study
from web_server import running

NOW = datetime(2021, 9, 1, 12, tzinfo=UTC)


@pytest.fixture
def study(tmp_path: Path, store_url: str | None) -> Iterator[Study]:
    folder = make_score_study(tmp_path / "study", 48)
    with open_study(folder, store_url=store_url, clock=lambda: NOW) as opened:
        yield opened


@pytest.fixture
def app(study: Study) -> Iterator[httpx2.Client]:
    key = done("keys", "make", study.folder, "--name", "app", "--json").facts["key"]
    with (
        running(build_app(Settings(study))) as url,
        httpx2.Client(base_url=url, headers={"X-API-Key": key}) as client,
    ):
        yield client


def delivery(first: int, last: int, add: float = 0.0, **more: Any) -> dict[str, Any]:
    rows = [
        {"unit_id": f"c{i:04d}", "period": "E2", "score": 30 + i + add} for i in range(first, last)
    ]
    return {"delivered": "2021-07-20", "scores": rows, **more}


def test_a_delivery_in_parts_repeated_and_in_any_order_counts_once(
    app: httpx2.Client, study: Study
) -> None:
    parts = [delivery(20, 40), delivery(0, 20), delivery(0, 20), delivery(10, 40)]
    answers = [app.post("/v1/scores", json=part).json() for part in parts]
    assert [answer["n_new"] for answer in answers] == [20, 20, 0, 0]
    assert [answer["n_repeated"] for answer in answers] == [0, 0, 20, 30]
    kept = study.store.scores.deliveries()
    assert kept["score"].to_list() == [30.0 + i for i in range(40)]
    assert set(kept["delivery"]) == {"2021-07-20"}


def test_a_revision_is_a_delivery_beside_the_first(app: httpx2.Client, study: Study) -> None:
    app.post("/v1/scores", json=delivery(0, 10, delivery="first"))
    revised = delivery(0, 10, add=15, delivered="2021-08-02T08:30:00+03:00", delivery="second")
    assert app.post("/v1/scores", json=revised).json()["n_new"] == 10
    kept = study.store.scores.deliveries().sort("unit_id", "delivered_at_utc_us")
    assert kept["delivery"].to_list() == ["first", "second"] * 10
    assert kept["score"].to_list()[:2] == [30.0, 45.0]
    # a file brings the same ones: they are known
    path = study.folder / "scores.csv"
    lines = [f"c{i:04d},E2,{30 + i},first,2021-07-20" for i in range(10)]
    path.write_text("unit_id,period,score,delivery,delivered\n" + "\n".join(lines) + "\n")
    assert "0 new scores, 10 known" in done("observe", study.folder, path, "--kind", "scores").out


def test_another_score_for_the_same_delivery_is_refused_with_all_others(
    app: httpx2.Client, study: Study
) -> None:
    app.post("/v1/scores", json=delivery(5, 6))
    answer = app.post("/v1/scores", json=delivery(0, 10, add=1))
    assert answer.status_code == 422
    faults = answer.json()["error"]["faults"]
    assert [fault["path"] for fault in faults] == ["scores[5]"]
    assert "c0005" not in answer.text
    assert study.store.scores.deliveries().height == 1


def test_missing_scores_and_unknown_units_are_counted(app: httpx2.Client, study: Study) -> None:
    sent = delivery(0, 3)
    sent["scores"][1]["score"] = None
    sent["scores"][2]["unit_id"] = "nobody"
    answer = app.post("/v1/scores", json=sent)
    assert answer.status_code == 200
    assert answer.json() == {"n_new": 2, "n_repeated": 0, "n_unknown_unit": 1, "n_missing": 1}
    assert study.store.scores.deliveries().height == 2


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"period": "E9"}, "scores[1].period"),
        ({"period": ""}, "scores[1].period"),
        ({"score": "31"}, "scores[1].score"),
        ({"score": True}, "scores[1].score"),
        ({"unit_id": None}, "scores[1].unit_id"),
        ({"outcome": "maths"}, "scores[1].outcome"),
        ({"grade": 2}, "scores[1]"),
    ],
)
def test_one_wrong_score_refuses_the_delivery(
    app: httpx2.Client, study: Study, changed: dict[str, Any], path: str
) -> None:
    sent = delivery(0, 3)
    sent["scores"][1] |= changed
    answer = app.post("/v1/scores", json=sent)
    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json()["error"]["faults"]] == [path]
    assert study.store.scores.deliveries().is_empty()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b"7", 422),
        (json.dumps({**delivery(0, 2), "scores": []}).encode(), 422),
        (json.dumps({**delivery(0, 2), "delivered": "in July"}).encode(), 422),
        (json.dumps({**delivery(0, 2), "delivered": "2031-07-20"}).encode(), 422),
        (json.dumps({"scores": delivery(0, 2)["scores"]}).encode(), 422),
        (json.dumps({**delivery(0, 2), "x": 1}).encode(), 422),
        (json.dumps(delivery(0, 1_001)).encode(), 413),
    ],
)
def test_what_is_no_delivery_is_refused_whole(
    app: httpx2.Client, study: Study, body: bytes, status: int
) -> None:
    assert app.post("/v1/scores", content=body).status_code == status
    assert study.store.scores.deliveries().is_empty()


def test_no_scores_without_a_key(app: httpx2.Client, study: Study) -> None:
    answer = httpx2.post(app.base_url.join("/v1/scores"), json=delivery(0, 2))
    assert answer.status_code == 401
    assert study.store.scores.deliveries().is_empty()
