"""An e-mail's link, followed: real mail, the real interface, and nothing more for that unit."""

from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import httpx2
import polars as pl
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from mail_server import mail_server
from outbox_rows import queued
from sending_study import make_sending_study
from study_folders import call, done
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.server.app import build_app
from wavewise.server.authentication import Settings
from wavewise.store import to_us
from wavewise.workflow.study import Study, open_study
from web_server import running

N = 4
UNITS = 'address = { email = "mail" }'


class Post:
    """A mail server that keeps what it takes, by recipient."""

    def __init__(self) -> None:
        self.letters: dict[str, EmailMessage] = {}

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        letter = message_from_bytes(envelope.content, policy=default)
        assert isinstance(letter, EmailMessage)
        self.letters[envelope.rcpt_tos[0]] = letter
        return "250 taken"


@pytest.fixture
def post() -> Iterator[tuple[Post, str]]:
    handler = Post()
    with mail_server(handler) as url:
        yield handler, url


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "study.key"
    done("contacts", "make-key", path)
    monkeypatch.setenv("WAVEWISE_KEY_FILE", str(path))
    return path


def channels(smtp: str, base: str, more: str = "") -> str:
    return f"""
[email]
provider = "smtp"
base_url = "{smtp}"
from = "Study <study@example.org>"
starttls = false
unsubscribe_base = "{base}"
{more}
"""


def make_mail_study(folder: Path, text: str) -> Path:
    mail = {"mail": [f"p{i}@example.org" for i in range(N)]}
    return make_sending_study(folder, N, text, channel="email", units=UNITS, more=mail)


def queue_tomorrow(study: Study) -> None:
    """A second message for everybody, due tomorrow."""
    drawn = study.store.waves.assignment("one")
    rows = queued(drawn["unit_id"].to_list(), drawn["arm"].to_list(), channel="email")
    due = pl.lit(to_us(study.clock() + timedelta(days=1)), pl.Int64)
    rows = rows.with_columns(
        slot=pl.lit(1),
        due_at_utc_us=due,
        next_at_utc_us=due,
        message_key="later-" + pl.col("unit_id"),
    )
    assert study.store.outbox.queue(rows, study.clock()) == N


def test_the_link_in_the_mail_ends_all_messages(
    tmp_path: Path, key: Path, post: tuple[Post, str]
) -> None:
    handler, smtp = post
    folder = make_mail_study(tmp_path / "study", channels(smtp, "https://example.org"))
    ring = KeyRing.read(key.read_text(), "key")
    with open_study(folder) as study, running(build_app(Settings(study, ring))) as base:
        more = 'unsubscribe_text = "No more messages: {url}"'
        (folder / "channels.toml").write_text(channels(smtp, f"{base}/", more))
        done("send", folder)
        assert len(handler.letters) == N
        links = {
            to: str(mail["List-Unsubscribe"]).strip()[1:-1] for to, mail in handler.letters.items()
        }
        assert len(set(links.values())) == N
        queue_tomorrow(study)

        link = links["p2@example.org"]
        letter = handler.letters["p2@example.org"]
        assert link.startswith(f"{base}/u/")
        assert "p000002" not in link
        assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert letter.get_content().splitlines()[-1] == f"No more messages: {link}"
        assert httpx2.get(link).status_code == 200
        assert study.store.opt_outs.all().is_empty()
        one_click = {"List-Unsubscribe": "One-Click"}
        assert httpx2.post(link, data=one_click).status_code == 200

        assert study.store.opt_outs.all().select("unit_id", "source").rows() == [
            ("p000002", "unsubscribe link")
        ]
        rows = study.store.deliveries.rows().sort("unit_id", "slot")
        states = rows.filter(slot=1).select("unit_id", "state", "reason").rows()
        assert states == [
            (f"p{i:06d}", *(("cancelled", "refused") if i == 2 else ("queued", None)))
            for i in range(N)
        ]
        assert rows.filter(slot=0)["state"].to_list() == ["sent"] * N
        assert link.rpartition("/")[2] not in "".join(rows["content_json"])  # nowhere kept


def test_a_link_needs_a_key_a_base_and_a_place(
    tmp_path: Path, key: Path, post: tuple[Post, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, smtp = post
    folder = make_mail_study(tmp_path / "study", channels(smtp, "example.org"))
    no_url = call("send", folder)
    assert no_url.code == 4
    assert "unsubscribe_base in [email] that is no URL" in no_url.err
    plain = channels(smtp, "https://example.org", 'unsubscribe_text = "Stop?"')
    (folder / "channels.toml").write_text(plain)
    assert "without {url}" in call("send", folder).err
    (folder / "channels.toml").write_text(channels(smtp, "https://example.org"))
    monkeypatch.delenv("WAVEWISE_KEY_FILE")
    assert call("send", folder).code == 4
    assert handler.letters == {}
