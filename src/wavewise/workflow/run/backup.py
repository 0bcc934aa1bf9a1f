"""``backup`` and ``restore``: copies of a study's database, and what may have gone out since."""

import contextlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from wavewise.errors import InputError, StateError
from wavewise.shared.files import replace_private, write_private
from wavewise.workflow.result import VerbResult
from wavewise.workflow.send.queue import queue_wave
from wavewise.workflow.study import DATABASE_FILE, Study, database_url, read_study_file, utc_now

if TYPE_CHECKING:
    from wavewise.store import Store

__all__ = ["GoneOut", "backup", "note_sending", "require_not_held", "restore", "resume_restored"]

GoneOut = Literal["due", "none"]
_MARK_FILE = ".sending.json"
MAY_HAVE_GONE = "may have gone out before an earlier copy was restored"


@dataclass(frozen=True, eq=False)
class DatabaseBackup(VerbResult):
    """A copy of the study's database."""

    out: str
    n_bytes: int

    def summary(self) -> str:
        """Where it is, and what does not lie in it."""
        return (
            f"Wrote {self.out} ({self.n_bytes:,} bytes), readable by you alone. It holds "
            "covariates, outcomes and encrypted contact details; the key file and the study "
            "folder's other files need copies of their own."
        )


@dataclass(frozen=True, eq=False)
class DatabaseRestore(VerbResult):
    """A copy that took the place of the study's database."""

    folder: str
    kept: str | None  # Where the database that was there is kept.

    def summary(self) -> str:
        """What is held, and what to say to let it go on."""
        kept = "" if self.kept is None else f"What was there is kept as {self.kept}. "
        return (
            f"Restored. {kept}Nothing is sent until you say what may have gone out since the copy "
            f"was made: `wavewise outbox resume {self.folder} --gone-out due` (all that was due; "
            "none of it is sent again), or `--gone-out none` if no worker ran since."
        )


def backup(study: Study, out: Path) -> DatabaseBackup:
    """Copy the database while it is in use; a copy that is put back later is told from it."""
    from wavewise.store.engine import copy_database

    if out.exists():
        raise InputError(f"found something at {out}; needed a new path; nothing was written")
    if not out.parent.is_dir():
        raise InputError(f"found no folder {out.parent}; needed one that exists; make it")
    copy_database(study.store, out)
    note_sending(study)
    return DatabaseBackup(str(out), out.stat().st_size)


def restore(
    folder: Path, source: Path, *, url: str | None = None, now: datetime | None = None
) -> DatabaseRestore:
    """Put a copy in the place of the study's database, and hold all sending."""
    from wavewise.store.engine import put_back

    read_study_file(folder)
    if not source.is_file():
        raise InputError(f"found no file {source}; needed what `wavewise backup` wrote")
    moment = now or utc_now()
    place, keep = folder / DATABASE_FILE, None
    if url is None and place.exists():
        keep = folder / f"{DATABASE_FILE}.before-{moment:%Y%m%dT%H%M%S%f}"
    put_back(database_url(folder, url), source, _bring_up_to_date, keep, moment)
    with _open(database_url(folder, url)) as store:
        store.copies.hold(moment)
        store.sessions.end_all(moment)  # some may have been ended since the copy was made
        store.audit.add("command line", "restore", "done", moment)
    is_kept = keep is not None and keep.exists()
    return DatabaseRestore(str(folder), str(keep) if is_kept else None)


def _open(url: str) -> "Store":
    from wavewise.store import Store

    return Store.open(url, create=False)


def _bring_up_to_date(url: str) -> None:
    _open(url).close()


# What tells that a database is an older copy than the one that sent last from this folder.


def note_sending(study: Study, *, trusted: bool = False) -> bool:
    """Note, in the database and in a file beside it, that this folder sends from it.

    Each back-up and each minute of sending makes a new note. Where the database's is not the
    file's, an older copy was put in its place, by whatever way: all sending is held, and False
    given. A folder that cannot be written keeps no note.
    """
    path, url = study.folder / _MARK_FILE, study.store.url
    if url in {"sqlite://", "sqlite:///:memory:"}:
        return True
    name = DATABASE_FILE if url.endswith(f"/{DATABASE_FILE}") else url
    place, new = _place(path, name), secrets.token_hex(8)

    def read() -> list[str]:
        return list(_noted(path, name).get("marks", []))

    def write(marks: Collection[str]) -> None:
        whole = {**_read(path), name: {"place": place, "marks": list(marks)}}
        replace_private(path, json.dumps(whole, indent=1) + "\n")

    try:
        if trusted:
            study.store.copies.trust(place, new, write)
            return True
        if study.store.copies.advance(place, read, new, write):
            return True
    except OSError:
        return True
    study.store.copies.hold(study.clock())
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _place(path: Path, name: str) -> str:
    """The folder's own name for itself; of several workers that begin, one makes it for all."""
    made = secrets.token_hex(8)
    if not path.exists():
        beside = path.with_name(f"{path.name}.{made}")
        with contextlib.suppress(OSError):  # another was first, or nothing can be written here
            write_private(beside, json.dumps({name: {"place": made, "marks": []}}) + "\n")
            try:
                path.hardlink_to(beside)  # whole, or not at all
            finally:
                beside.unlink()
    return str(_noted(path, name).get("place") or made)


def _noted(path: Path, name: str) -> dict[str, Any]:
    found = _read(path).get(name)
    return found if isinstance(found, dict) else {}


def require_not_held(study: Study) -> None:
    """Raise where sending waits for somebody to say what went out since a copy was made."""
    if study.store.copies.is_held():
        raise StateError(
            "an earlier copy of the database was restored; needed to know what went out since it "
            f"was made; say `wavewise outbox resume {study.folder} --gone-out due` (all that was "
            "due: none of it is sent again) or `--gone-out none`"
        )


def resume_restored(study: Study, gone_out: GoneOut) -> int:
    """End the hold after a restore; number of messages that may have gone out."""
    now, n = study.clock(), 0
    if gone_out == "due":
        for row in study.store.waves.all():
            wave = study.spec.wave(row.wave_id)
            if row.state == "open" and wave is not None and wave.imported is None:
                queue_wave(study, row.wave_id, now)  # what the copy does not know of yet
        n = study.store.outbox.presume_sent(now, MAY_HAVE_GONE)
    note_sending(study, trusted=True)
    study.store.outbox.resume()
    return n
