"""People, events and messages: files are read and shown before anything is stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wavewise.errors import InputError, WavewiseError
from wavewise.fieldwork.rendering import sms_length
from wavewise.server.pages.forms import Upload
from wavewise.server.pages.languages import count
from wavewise.server.pages.languages import gettext as _
from wavewise.server.pages.routes import Answer, Go, Screen, Visit, screen, step

N_SHOWN = 10  # People as whom messages are shown.


# A file on its way: looked at first, imported then. It lies in a private folder until then.


def _keep(visit: Visit, upload: Upload) -> str:
    """A file that was handed over, kept for the next step; its mark."""
    folder = visit.studies.new_private_folder()
    (folder / (upload.name or "file")).write_bytes(upload.content)
    return folder.name


def _kept(visit: Visit, mark: str) -> Path | None:
    """The file of a mark; None where there is none any more."""
    if not mark or not all(c.isalnum() or c in "-_" for c in mark):
        return None
    folder = visit.studies.private_folder() / mark
    return next(iter(folder.iterdir()), None) if folder.is_dir() else None


def _file_of(visit: Visit) -> Path:
    found = _kept(visit, visit.form.get("file"))
    if found is None:
        raise InputError("found no file; needed one: choose it again")
    return found


def _reading(visit: Visit) -> dict[str, Any] | None:
    """How the columns are matched, as [import.people] of the study file has it."""
    columns = {
        name.removeprefix("column."): {"from": value.strip()}
        for name, value in visit.form.texts.items()
        if name.startswith("column.") and value.strip()
    }
    how: dict[str, Any] = {"columns": columns} if columns else {}
    for name in ("separator", "decimal", "date_format", "sheet"):
        if visit.form.get(name):
            how[name] = visit.form.get(name)
    return how or None


def _looked_at(visit: Visit, verb: str, *wave: str, **options: Any) -> Mapping[str, Any]:
    """How a file would be read, or why it cannot be."""
    mark = visit.form.get("file")
    path = _kept(visit, mark)
    if path is None:
        return {"read": None, "mark": "", "fault": None}
    try:
        method = getattr(visit.study, verb)
        found = method(*wave, path, dry_run=True, reading=_reading(visit), **options)
    except WavewiseError as error:
        return {"read": None, "mark": mark, "fault": error, "name": path.name}
    facts = found.facts()
    # Doubtful columns come first.
    columns = sorted(facts["columns"], key=lambda c: (not c["note"], not c["n_empty"]))
    return {"read": facts | {"columns": columns}, "mark": mark, "fault": None, "name": path.name}


def _look(visit: Visit) -> None:
    """Take up the file of the form, so that its reading can be shown."""
    upload = visit.form.files.get("upload")
    if upload is not None:
        visit.form.texts["file"] = _keep(visit, upload)
    elif not visit.form.get("file"):
        raise InputError("found no file; needed one; choose it first")


@screen("/studies/{study}/people", verb="people_import")
def people(visit: Visit) -> Answer:
    """Who is in the study."""
    study = visit.study
    standing, spec = study.standing, study.spec
    imported = spec.waves[0].imported is not None
    verb, wave = ("wave_import", (spec.waves[0].id,)) if imported else ("people_import", ())
    options = {} if imported else {"key_file": visit.studies.key_file}
    look = _looked_at(visit, verb, *wave, **options)
    needed = list(dict.fromkeys([spec.units.id, *spec.people_columns]))
    return Screen(
        "people.html",
        {
            **look,
            "standing": standing,
            "needed": needed,
            "optional": [c for c in (spec.units.time_zone, spec.units.language) if c],
            "address": dict(spec.units.address),
            "has_key": visit.studies.key_file is not None,
            "imported": imported,
            "enrolments": study.enrol_status().facts()
            if spec.enrolment and standing.n_units
            else None,
            "command": "wavewise wave import" if imported else "wavewise people import",
        },
    )


@step("/studies/{study}/people/look", "field", "people_import", back="/studies/{study}/people")
def look_at_people(visit: Visit) -> Answer:
    """How each column of a file would be read."""
    _look(visit)
    return people(visit)


@step("/studies/{study}/people", "field", "people_import", back="/studies/{study}/people")
def bring_people(visit: Visit) -> Answer:
    """Import the file that was shown."""
    path, spec = _file_of(visit), visit.study.spec
    first = spec.waves[0]
    if first.imported is not None:
        visit.do("wave_import", first.id, path, reading=_reading(visit))
        return Go(visit.url(), _("The wave was imported."))
    done = visit.do(
        "people_import",
        path,
        skip_bad=visit.form.has("skip_bad"),
        replace=visit.form.has("replace"),
        skip_bad_contacts=visit.form.has("skip_bad_contacts"),
        key_file=visit.studies.key_file,
        reading=_reading(visit),
    )
    text = _("%(n)s %(units)s were imported.")
    n = count(done.facts()["n_imported"])
    return Go(visit.url("people"), text % {"n": n, "units": spec.units.name})


# Events: what happened, from which outcomes are made.


@screen("/studies/{study}/events", verb="observe")
def events(visit: Visit) -> Answer:
    """What happened: files of events or scores."""
    kind = visit.form.get("kind") or None
    spec = visit.study.spec
    used = [one.event for one in (*spec.outcomes, *spec.derived.values()) if one.event]
    kinds = {name for one in used for name in ([one] if isinstance(one, str) else one)}
    look = _looked_at(visit, "observe", kind=kind)
    return Screen("events.html", {**look, "kinds": sorted(kinds), "kind": kind or ""})


@step("/studies/{study}/events/look", "field", "observe", back="/studies/{study}/events")
def look_at_events(visit: Visit) -> Answer:
    """How each column of a file would be read."""
    _look(visit)
    return events(visit)


@step("/studies/{study}/events", "field", "observe", back="/studies/{study}/events")
def bring_events(visit: Visit) -> Answer:
    """Import the events that were shown."""
    done = visit.do(
        "observe",
        _file_of(visit),
        kind=visit.form.get("kind") or None,
        match_ids=visit.form.has("match_ids"),
        reading=_reading(visit),
    )
    facts = done.facts()
    n = count(facts.get("n_new", 0))
    return Go(visit.url("events"), _("%(n)s new events were kept.") % {"n": n})


# Messages: as ten real people would get them.


@screen("/studies/{study}/messages", verb="preview")
def messages(visit: Visit) -> Answer:
    """Every text, and ten people's phones for those who may know the people."""
    study = visit.study
    standing, spec = study.standing, study.spec
    wave = next((w for w in standing.waves if w.state == "not open"), standing.waves[-1])
    shown: list[Mapping[str, Any]] = []
    problem = None
    if standing.n_units and visit.may("field"):
        try:
            of = (visit.names["study"], wave.id, study.draft.mark, standing.n_units)
            remember = visit.studies.remember
            found = remember(of, lambda: study.preview(wave.id, units=N_SHOWN).facts())
            shown, due = list(found["messages"]), found["due"]
        except WavewiseError as error:
            problem, due = error, []
    else:
        due = []
    languages = sorted({code for message in spec.messages for code in message.text})
    labels = spec.message_names
    texts = [
        {
            "label": labels[message.id],
            "mechanism": message.mechanism or "",
            "channel": message.channel,
            "texts": [message.text.get(code, "") for code in languages],
            "lengths": [_length(message.text.get(code, "")) for code in languages],
        }
        for message in spec.messages
    ]
    return Screen(
        "messages.html",
        {
            "standing": standing,
            "wave": wave,
            "shown": [_phone(one, labels) for one in shown],
            "n_long": sum(1 for one in shown if one.get("n_segments", 1) > 1),
            "n_missing": sum(1 for one in shown if one["missing"]),
            "problem": problem,
            "languages": languages,
            "texts": texts,
            "n_due": len(due),
        },
    )


def _length(text: str) -> str:
    """Characters and SMS parts of a text, its fields as they stand."""
    if not text:
        return ""
    found = sms_length(text)
    return f"{found.n_letters} / {found.n_segments}"


def _phone(one: Mapping[str, Any], labels: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "unit": one["unit"],
        "place": str(one["time_zone"]).rpartition("/")[2].replace("_", " "),
        "language": one["language"] or "",
        "title": one.get("title") or "",
        "text": one.get("text") or "",
        "label": labels.get(one["message"], one["message"]),
        "channel": one["channel"],
        "letters": one.get("n_letters") or len(one.get("text") or ""),
        "parts": one.get("n_segments"),
        "missing": one["missing"],
    }
