"""Proof and Record: the answer, and everything that another team needs to check it."""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wavewise.errors import InputError
from wavewise.server.pages.languages import count
from wavewise.server.pages.languages import gettext as _
from wavewise.server.pages.routes import Answer, File, Go, Page, Screen, Visit, screen, step
from wavewise.server.pages.screens.waves import answers_of, effects_of
from wavewise.workflow.standing import Standing

REPORT = "report/index.html"


@screen("/studies/{study}/proof", verb="report")
def proof(visit: Visit) -> Answer:
    """What is the answer: wave by wave, and the report."""
    standing: Standing = visit.study.standing
    waves = []
    for wave in reversed(standing.waves):
        plan = visit.study.spec.wave(wave.id)
        waves.append(
            {
                "wave": wave,
                "answers": answers_of(visit.study.spec, plan, wave),
                "effects": effects_of(visit.study.spec, plan, wave),
            }
        )
    path = visit.study.folder / REPORT
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.is_file() else None
    answers = next((one["answers"] for one in waves if one["answers"]), [])
    return Screen(
        "proof.html",
        {
            "standing": standing,
            "waves": [one for one in waves if one["effects"] or one["answers"]],
            "answers": answers,
            "written": written,
            "n_closed": sum(1 for wave in standing.waves if wave.state == "closed"),
        },
    )


@step("/studies/{study}/proof", "edit", "report", back="/studies/{study}/proof")
def write_report(visit: Visit) -> Answer:
    """Make the report anew from the frozen data."""
    visit.do("report")
    return Go(visit.url("proof"), _("The report was written."))


@screen("/studies/{study}/report", verb="report")
def report(visit: Visit) -> Answer:
    """The whole report, as it was written."""
    path = visit.study.folder / REPORT
    if not path.is_file():
        return Go(visit.url("proof"))
    return Page(path.read_text(encoding="utf-8"))


# Record: versions, downloads, data protection, keys.

_MADE = {
    "registry.html": "text/html",
    "registry.md": "text/markdown",
    "registry.json": "application/json",
    "analysis-plan.html": "text/html",
    "analysis-plan.md": "text/markdown",
}


@screen("/studies/{study}/record", verb="history")
def record(visit: Visit) -> Answer:
    """What happened, and what can be taken away."""
    return Screen("record.html", _record_facts(visit))


def _record_facts(visit: Visit, new_key: str = "") -> Mapping[str, Any]:
    study = visit.study
    standing: Standing = study.standing
    history = study.history().facts()
    begun = (study.folder / "study.db").is_file() or visit.studies.store is not None
    keys = study.keys_list().facts().get("keys", []) if begun and visit.may("keys") else []
    happened = sorted(_happened(standing), key=lambda one: one[0], reverse=True)
    return {
        "standing": standing,
        "versions": history["versions"],
        "changes": history["changes"],
        "made": [n for n in _MADE if (study.folder / "report" / n).is_file()],
        "has_report": (study.folder / REPORT).is_file(),
        "begun": begun,
        "keys": keys,
        "n_entries": len(study.audit().entries),
        "new_key": new_key,
        "happened": happened,
        "happened_rows": lambda words: [(words.when(when), text) for when, text in happened],
    }


def _happened(standing: Standing) -> list[tuple[datetime, str]]:
    """Steps that cannot be undone, of which the study keeps when they were taken."""
    found = []
    for wave in standing.waves:
        if wave.opened_at is not None:
            text = _("%(wave)s opened: %(n)s drawn") % {
                "wave": wave.label,
                "n": count(wave.n_units),
            }
            found.append((wave.opened_at, text))
        if wave.closed_at is not None:
            found.append((wave.closed_at, _("%(wave)s closed") % {"wave": wave.label}))
    return found


_RECORD = "/studies/{study}/record"


@step(f"{_RECORD}/documents", "edit", "history", back=_RECORD)
def make_documents(visit: Visit) -> Answer:
    """Write the registry entry and the analysis plan."""
    visit.do("history", export=True)
    return Go(visit.url("record"), _("The registry entry and the analysis plan were written."))


@screen("/studies/{study}/record/documents/{name}", verb="history")
def document(visit: Visit) -> Answer:
    """One of the documents that were written."""
    name = visit.names["name"]
    path = visit.study.folder / "report" / name
    if name not in _MADE or not path.is_file():
        raise InputError("found no such document; needed one of those that were written")
    return File(path, name, _MADE[name])


@step(f"{_RECORD}/data", "export", "export", back=_RECORD)
def research_data(visit: Visit) -> Answer:
    """Research data: ids only, as a zip of CSV files."""
    folder = visit.studies.new_private_folder()
    visit.do("export", folder / "data")
    archive = shutil.make_archive(str(folder / "data"), "zip", folder / "data")
    return File(Path(archive), f"{visit.names['study']}-data.zip", "application/zip")


@step(f"{_RECORD}/backup", "keys", "backup", back=_RECORD)
def back_up(visit: Visit) -> Answer:
    """A copy of the database."""
    folder = visit.studies.new_private_folder()
    path = folder / f"{visit.names['study']}.backup"
    visit.do("backup", path)
    return File(path, path.name)


@step(f"{_RECORD}/erase", "erase", "erase", back=_RECORD)
def erase(visit: Visit) -> Answer:
    """Erase what identifies one person."""
    if not visit.form.has("sure"):
        raise InputError("it cannot be undone; needed the box ticked that says you know it")
    visit.do("erase", visit.form.get("unit"))
    return Go(visit.url("record"), _("What identifies the person was erased."))


@step(f"{_RECORD}/keys", "keys", "keys_make", back=_RECORD)
def make_key(visit: Visit) -> Answer:
    """A new API key, shown once."""
    if not visit.form.get("name"):
        raise InputError("found no name; needed who will use the key")
    done = visit.do("keys_make", visit.form.get("name"))
    return Screen("record.html", _record_facts(visit, done.facts()["key"]))


@step(f"{_RECORD}/keys/revoke", "keys", "keys_revoke", back=_RECORD)
def revoke_key(visit: Visit) -> Answer:
    """A key that works no more."""
    visit.do("keys_revoke", visit.form.get("key"))
    return Go(visit.url("record"), _("The key was revoked."))
