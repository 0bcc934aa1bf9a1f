"""Who opens something closes it, also where something else goes wrong first."""

import gc
import io
import tempfile
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import pytest

from sending_study import make_sending_study
from wavewise.errors import InputError, StoreError, UnavailableError
from wavewise.fieldwork.channels.file import FileChannel
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets
from wavewise.fieldwork.channels.sip import open_channel
from wavewise.store import Store
from wavewise.workflow.prepare import datasets as data
from wavewise.workflow.send.outbox_writer import OutboxWriter
from wavewise.workflow.send.worker import send
from wavewise.workflow.study import open_study


def test_channels_close_where_the_database_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    ends, closes = OutboxWriter.close, FileChannel.close

    async def gives_up(writer: OutboxWriter) -> None:
        await ends(writer)
        raise StoreError("the disk is full")

    async def told(channel: FileChannel) -> None:
        await closes(channel)
        closed.append(channel.name)

    monkeypatch.setattr(OutboxWriter, "close", gives_up)
    monkeypatch.setattr(FileChannel, "close", told)
    folder = make_sending_study(tmp_path, 2, '[webhook]\nprovider = "file"\n')
    with open_study(folder) as study, pytest.raises(StoreError, match="disk is full"):
        send(study)
    assert closed == ["webhook"]


def test_a_line_without_a_user_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_sending_study(tmp_path / "study", 1, '[webhook]\nprovider = "file"\n')
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    settings = ChannelSettings(
        "voice", "sip", timeout_seconds=900.0, folder=folder, options={"domain": "example.org"}
    )
    with pytest.raises(InputError, match="user"):
        open_channel(settings, Secrets())
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_answer_that_is_an_error_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = io.BytesIO(b"gone")
    error = urllib.error.HTTPError("https://example.org", 410, "Gone", Message(), body)

    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", refused)
    with pytest.raises(UnavailableError, match="410"):
        data._download(next(one for one in data.DATA_SETS.values() if one.address))
    assert body.closed


def test_a_file_that_is_no_database_is_closed(tmp_path: Path) -> None:
    """From Python 3.13 on a connection that is dropped says so, and the test fails."""
    path = tmp_path / "study.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError):
        Store.open(f"sqlite:///{path}")
    gc.collect()
