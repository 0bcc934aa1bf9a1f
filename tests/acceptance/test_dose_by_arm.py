"""What was delivered by arm: a wave goes out, one arm's messages fail, and analyze says so."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Lock

import polars as pl
import pytest

from handler_server import handling
from sending_study import make_sending_study, outbox
from study_folders import close_wave, done
from wavewise.workflow.learn.analyze import analyze
from wavewise.workflow.report.report import write_report
from wavewise.workflow.study import open_study, utc_now

NAME = "exposure by arm"
N_UNITS = 80


@contextmanager
def gateway(refuses: Callable[[str, int], bool]) -> Iterator[tuple[str, list[str]]]:
    """A web address on loopback that records texts and refuses some of them for good."""
    texts: list[str] = []
    one_at_a_time = Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = str(json.loads(self.rfile.read(int(self.headers["content-length"])))["text"])
            with one_at_a_time:
                status = 400 if refuses(text, texts.count(text)) else 200
                texts.append(text)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with handling(Handler) as url:
        yield f'[webhook]\nprovider = "webhook"\nbase_url = "{url}/"\n', texts


def sent_study(tmp_path: Path, refuses: Callable[[str, int], bool]) -> tuple[Path, list[str]]:
    with gateway(refuses) as (channels, texts):
        folder = make_sending_study(tmp_path / "study", N_UNITS, channels)
        done("send", folder)
    return folder, texts


def closed_and_analysed(folder: Path) -> tuple[dict[str, object], str, str]:
    """The check, what analyze prints, and the report, three weeks later."""
    with open_study(folder, clock=lambda: utc_now() + timedelta(days=21)) as study:
        close_wave(study, "one")
        found = analyze(study, "one")
        write_report(study)
    page = (folder / "report" / "index.html").read_text("utf-8")
    check = next(one for one in found.facts()["checks"] if one["name"] == NAME)
    return check, found.summary(), page


def test_failures_in_one_arm_reach_the_verdict(tmp_path: Path) -> None:
    folder, texts = sent_study(tmp_path, lambda text, n: "homework" in text and n % 2 == 1)
    rows = outbox(folder)
    assert len(texts) == N_UNITS
    failed = dict(rows.filter(state="failed").group_by("arm").len().iter_rows())
    assert failed == {"teacher": 20}
    check, text, page = closed_and_analysed(folder)
    assert check["verdict"] == "fail"
    assert check["number"] == pytest.approx(0.5)
    table = {row["arm"]: row for row in check["table"]}
    assert (table["teacher"]["n_due"], table["teacher"]["n_delivered"]) == (40, 20)
    assert (table["peers"]["n_due"], table["peers"]["n_delivered"]) == (40, 40)
    assert table["teacher"]["n_none"] == 20
    sentence = "Between 50.0% and 100.0% of an arm's messages arrived. Arms differ by more than"
    for shown in (text, page.replace("&#39;", "'")):
        assert sentence in shown
        assert "fix the channel" in shown


def test_failures_alike_in_all_arms_pass(tmp_path: Path) -> None:
    folder, _ = sent_study(tmp_path, lambda _, n: n % 4 == 3)
    check, text, page = closed_and_analysed(folder)
    assert check["verdict"] == "pass"
    assert check["number"] == pytest.approx(0.75)
    assert "Between 75.0% and 75.0% of an arm's messages arrived." in text
    assert "of an arm" in page
    assert check["table"] == pl.DataFrame(check["table"]).sort("arm").to_dicts()
