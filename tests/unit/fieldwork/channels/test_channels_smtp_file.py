"""SMTP against aiosmtpd; the file channel on a disk that is full."""

import asyncio
import json
import os
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from mail_server import mail_server
from wavewise.fieldwork.channels.base import (
    Accepted,
    NotSent,
    Outgoing,
    Refused,
    SendResult,
    Unknown,
)
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets, open_channel


class Post:
    """A mail server: some addresses are refused, and some mail is taken without a word."""

    def __init__(self) -> None:
        self.letters: list[Envelope] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: object
    ) -> str:
        if address.startswith("gone"):
            return "550 no such mailbox"
        if address.startswith("full"):
            return "452 mailbox full"
        if address.startswith("unknown"):
            return "550 5.1.1 <unknown@x.org>: user unknown"
        if address.startswith("closed"):
            return "550 5.7.1 access denied for +51 900 000 001"
        if address.startswith("quota"):
            return "550 5.4.5 Daily user sending quota exceeded"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if envelope.rcpt_tos[0].startswith("spam"):
            return "554 refused as spam"
        self.letters.append(envelope)
        if envelope.rcpt_tos[0].startswith("breaks"):
            server.transport.abort()
        return "250 taken"


@pytest.fixture
def post() -> Iterator[tuple[Post, str]]:
    handler = Post()
    with mail_server(handler) as url:
        yield handler, url


def mail(url: str, *addresses: str) -> list[SendResult]:
    async def all_of_them() -> list[SendResult]:
        options = {"from": "Wave <wave@example.org>", "unsubscribe_url": "https://example.org/u"}
        settings = ChannelSettings("email", "smtp", url, concurrency=1, options=options)
        channel = open_channel(settings, Secrets({}))
        found = [
            await channel.send(
                Outgoing(
                    key=f"k{i}", address=a, text="Señor,\n.\nbye", title="Año\nnuevo", language="es"
                )
            )
            for i, a in enumerate(addresses)
        ]
        await channel.close()
        return found

    return asyncio.run(all_of_them())


def test_each_answer_of_a_mail_server(post: tuple[Post, str]) -> None:
    server, url = post
    found = mail(url, "a@x.org", "gone@x.org", "full@x.org", "spam@x.org", "b@x.org", "a b@x.org")
    assert found == [
        Accepted("k0@example.org"),
        Refused("the server rejects the address (SMTP 550: no such mailbox)"),
        NotSent("the server takes no mail for it now (SMTP 452: mailbox full)", retry=True),
        NotSent("the server did not take the mail (SMTP 554: refused as spam)"),
        Accepted("k4@example.org"),
        NotSent("not an e-mail address"),
    ]
    assert [letter.rcpt_tos for letter in server.letters] == [["a@x.org"], ["b@x.org"]]


def test_enhanced_codes_tell_the_recipient_from_the_account(post: tuple[Post, str]) -> None:
    """RFC 3463: the same 550 is about the address, the mail, or whoever sends it."""
    _, url = post
    unknown, closed, quota = mail(url, "unknown@x.org", "closed@x.org", "quota@x.org")
    assert unknown == Refused("the address does not exist (SMTP 5.1.1: … user unknown)")
    policy = "the server's policy rejects the mail (SMTP 5.7.1: access denied for …)"
    assert closed == NotSent(policy)
    limit = "the sending limit is reached (SMTP 5.4.5: Daily user sending quota exceeded)"
    assert quota == NotSent(limit, retry=True, stops_channel=True)


def test_the_letter(post: tuple[Post, str]) -> None:
    server, url = post
    mail(url, "a@x.org")
    letter = message_from_bytes(server.letters[0].content, policy=default)
    assert letter.get_content().replace("\r", "") == "Señor,\n.\nbye\n"
    assert letter["subject"] == "Año nuevo"
    assert letter["message-id"] == "<k0@example.org>"
    assert letter["list-unsubscribe"] == "<https://example.org/u>"


def test_a_connection_that_breaks_after_the_letter_leaves_it_unknown(
    post: tuple[Post, str],
) -> None:
    server, url = post
    found = mail(url, "breaks@x.org", "a@x.org")
    assert found[0] == Unknown("the connection broke before the server confirmed")
    assert found[1] == Accepted("k1@example.org")  # over a new connection
    assert len(server.letters) == 2


def test_nobody_there() -> None:
    assert mail("smtp://127.0.0.1:9", "a@x.org") == [
        NotSent("the mail server cannot be reached", retry=True, of_provider=True)
    ]


def write(path: Path, *messages: Outgoing) -> list[SendResult]:
    async def all_of_them() -> list[SendResult]:
        settings = ChannelSettings("letter", "file", options={"path": str(path)})
        channel = open_channel(settings, Secrets({}))
        found = [await channel.send(message) for message in messages]
        await channel.close()
        return found

    return asyncio.run(all_of_them())


def test_file_has_a_line_a_message(tmp_path: Path) -> None:
    path = tmp_path / "out" / "letters.ndjson"
    assert write(path, Outgoing("k1", "a", "ñ"), Outgoing("k2", "b", "x\ny")) == [
        Accepted("k1"),
        Accepted("k2"),
    ]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["key"], line["to"], line["text"]) for line in lines] == [
        ("k1", "a", "ñ"),
        ("k2", "b", "x\ny"),
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_stops_the_channel() -> None:
    found = write(Path("/dev/full"), Outgoing("k1", "a", "x"))[0]
    assert isinstance(found, NotSent)
    assert found.stops_channel
    assert os.strerror(28) in found.reason
