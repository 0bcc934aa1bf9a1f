"""Back-ups, copies that were put back by any way, and databases that vanish."""

import os
import shutil
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

import wavewise as ww
from field_study import make_field_study
from sending_study import by_state, make_sending_study, outbox
from study_folders import STUDY, call, done
from wavewise.errors import StoreError
from wavewise.workflow.study import open_study

CHANNELS = '[webhook]\nprovider = "file"\npath = "{}"\nrate_per_second = inf\n'
N = 40


@pytest.fixture
def folder(tmp_path: Path, store_url: str | None) -> Path:
    channels = CHANNELS.format(tmp_path / "sent.ndjson")
    return make_sending_study(tmp_path / "study", N, channels, store_url=store_url)


def n_received(folder: Path) -> int:
    path = folder.parent / "sent.ndjson"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("gone_out", ["due", "none"])
def test_after_a_restore_nothing_goes_out_until_somebody_says_what_did(
    folder: Path, store_url: str | None, gone_out: str
) -> None:
    copy = folder.parent / "copy"
    done("backup", folder, "--out", copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    done("send", folder)
    assert n_received(folder) == N
    told = done("restore", folder, copy).out
    assert "Nothing is sent until you say" in told
    held = call("send", folder)
    assert held.code == 6
    assert "--gone-out due" in held.err
    assert call("outbox", "resume", folder).code == 6
    assert call("outbox", "resume", folder, "--gone-out", "some").code == 4
    done("outbox", "resume", folder, "--gone-out", gone_out)
    done("send", folder)
    expected = {"unknown": N} if gone_out == "due" else {"sent": N}
    assert by_state(outbox(folder, store_url)) == expected
    assert n_received(folder) == (N if gone_out == "due" else 2 * N)
    done("send", folder)  # held once, not for ever


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_copy_that_took_the_files_place_by_hand_is_told(folder: Path) -> None:
    done("send", folder)
    copy = folder.parent / "copy"
    done("backup", folder, "--out", copy)
    for path in folder.glob("study.db*"):
        path.unlink()
    shutil.copy(copy, folder / "study.db")
    held = call("send", folder)
    assert held.code == 6
    assert "--gone-out due" in held.err


def test_several_workers_and_folders_note_without_mistaking_each_other(
    folder: Path, store_url: str | None
) -> None:
    from wavewise.workflow.run.backup import note_sending

    other = folder.parent / "other"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("study.db*", ".sending*"))
    url = store_url or f"sqlite:///{folder / 'study.db'}"
    found: list[bool] = []

    def notes(place: Path) -> None:
        with open_study(place, store_url=url) as study:
            found.extend(note_sending(study) for _ in range(8))

    threads = [threading.Thread(target=notes, args=(place,)) for place in (folder, folder, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 24


def test_a_restore_keeps_what_was_there_and_refuses_what_is_no_copy(tmp_path: Path) -> None:
    folder, key = make_field_study(tmp_path, n=4)
    copy = tmp_path / "copy"
    done("backup", folder, "--out", copy)
    assert call("backup", folder, "--out", copy).code == 4
    done("erase", folder, "--unit", "p0001")
    for wrong in (key, folder / "study.toml"):
        refused = call("restore", folder, wrong)
        assert refused.code == 9
        assert "no copy of a study's database" in refused.err
    done("restore", folder, copy)
    kept = list(folder.glob("study.db.before-*"))
    assert len(kept) == 1
    assert stat.S_IMODE(kept[0].stat().st_mode) == 0o600
    done("restore", folder, kept[0])
    (folder / "study.db").unlink()
    done("restore", folder, copy)
    (folder / "study.db").write_bytes(b"no database at all" * 500)
    done("restore", folder, copy)
    assert len(list(folder.glob("study.db.broken-*"))) == 1
    assert ww.open_study(folder).spec.study.id


def test_an_open_study_sees_the_copy_and_no_old_log(tmp_path: Path) -> None:
    folder, _ = make_field_study(tmp_path, n=4)
    copy = tmp_path / "copy"
    done("backup", folder, "--out", copy)
    with open_study(folder) as study:
        study.store.opt_outs.n_unknown()
        done("opt-out", folder, "--unit", "p0001")
        assert study.store.opt_outs.units().len() == 1
        done("restore", folder, copy)
        assert study.store.opt_outs.units().len() == 0
        assert study.store.copies.is_held()


@pytest.mark.parametrize(
    "verb",
    [
        ("status",),
        ("wave", "open", "one"),
        ("send",),
        ("keys", "make", "--name", "x"),
        ("observe", "events.csv"),
        ("export", "--out", "out"),
        ("serve", "--port", "0"),
        ("outbox", "pause"),
    ],
)
def test_a_database_that_vanished_is_not_made_anew(tmp_path: Path, verb: tuple[str, ...]) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    words = [word for word in verb if not word.startswith("-")][: 2 if verb[0] in GROUPS else 1]
    rest = verb[len(words) :]
    found = call(*words, tmp_path, *rest)
    assert found.code == 9
    assert "wavewise restore" in found.err
    assert not (tmp_path / "study.db").exists()


GROUPS = {"wave", "keys", "outbox"}


@pytest.mark.parametrize("verb", [("check",), ("history",), ("data-check",)])
def test_a_look_at_a_study_that_has_not_begun_makes_nothing(
    tmp_path: Path, verb: tuple[str, ...]
) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    call(*verb, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_a_file_that_was_removed_takes_no_more(tmp_path: Path) -> None:
    folder, _ = make_field_study(tmp_path, n=4)
    with open_study(folder) as study:
        assert study.store.units.count() == 4
        for path in folder.glob("study.db*"):
            path.unlink()
        with pytest.raises(StoreError, match="removed or replaced"):
            study.store.units.count()
        with pytest.raises(StoreError, match="removed or replaced"):
            study.store.outbox.pause(datetime.now(UTC))
    assert not (folder / "study.db").exists()


def test_a_database_is_its_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        folder, _ = make_field_study(tmp_path, n=4)
        with open_study(folder) as study:
            study.store.outbox.pause(datetime.now(UTC))
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("study.db*")
            }
        done("export", folder, "--out", tmp_path / "out")
    finally:
        os.umask(old)
    assert set(modes.values()) == {0o600}
    out = tmp_path / "out"
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}
