"""Studies: what waits for whom, in one line each; and a new one."""

from collections.abc import Mapping
from typing import Any

from wavewise.design.templates import template_names, template_summary
from wavewise.errors import InputError, WavewiseError
from wavewise.server.pages.languages import count, ngettext, word
from wavewise.server.pages.languages import gettext as _
from wavewise.server.pages.routes import Answer, Go, Screen, Visit, screen, step
from wavewise.server.pages.studies_folder import ListedStudy
from wavewise.workflow.standing import Standing

__all__ = ["next_of"]

# Where each next step is taken, and the question that it answers.
_SCREEN_OF = {
    "register": "register",
    "amend": "register",
    "people_import": "people",
    "wave_import": "people",
    "wave_open": "open/{wave}",
    "observe": "field/{wave}",
    "wave_close": "decide/{wave}",
    "analyze": "decide/{wave}",
    "decide": "decide/{wave}",
    "evaluate": "decide/{wave}",
    "report": "proof",
}


def next_of(standing: Standing) -> Mapping[str, str]:
    """The next step of a study: its question, the screen that it is taken on, a word for it."""
    following = standing.next
    wave = standing.wave(following.wave or "") or next(
        (one for one in standing.waves if not one.is_done), standing.waves[-1]
    )
    questions = {
        "register": _("May the plan be registered?"),
        "amend": _("May the changed plan be registered?"),
        "people_import": _("Who is in the study?"),
        "wave_import": _("Who is in the study, and what happened?"),
        "wave_open": _("May %(wave)s open?") % {"wave": wave.label},
        "observe": _("Is %(wave)s running as planned?") % {"wave": wave.label},
        "wave_close": _("May %(wave)s be closed?") % {"wave": wave.label},
        "analyze": _("What follows from %(wave)s?") % {"wave": wave.label},
        "decide": _("What follows from %(wave)s?") % {"wave": wave.label},
        "evaluate": _("What follows from %(wave)s?") % {"wave": wave.label},
        "report": _("What is the answer?"),
    }
    words = {
        "register": _("Review the plan"),
        "amend": _("Review the change"),
        "people_import": _("Bring the people"),
        "wave_import": _("Bring the data"),
        "wave_open": _("Review the opening"),
        "observe": _("Watch"),
        "report": _("Read"),
    }
    verb = following.verb
    return {
        "question": questions[verb],
        "rest": _SCREEN_OF[verb].format(wave=wave.id),
        "word": words.get(verb, _("Decide")),
        "kind": {"observe": "now", "report": "ok"}.get(verb, "warn"),
        "state": {"observe": _("Runs by itself"), "report": _("Finished")}.get(
            verb, _("Waits for you")
        ),
    }


def _line(place: ListedStudy) -> Mapping[str, Any]:
    """One study on one line; one whose file has faults says how many."""
    try:
        standing: Standing = _standing(place)
    except WavewiseError as error:
        n = max(1, len(error.faults))
        text = ngettext("One fault in the study file.", "%(n)s faults in the study file.", n)
        return {
            "name": place.name, "title": place.name, "text": text % {"n": n}, "kind": "bad",
            "question": _("May the plan be registered?"), "rest": "plan",
            "word": _("See the faults"), "state": _("Waits for you"), "waits": 0,
        }  # fmt: skip
    found_next = next_of(standing)
    version = (
        _("not registered yet")
        if standing.version is None
        else _("version %(n)s is registered") % {"n": standing.version}
    )
    text = _("%(version)s; %(n)s %(units)s; %(waves)s.") % {
        "version": version[0].upper() + version[1:],
        "n": count(standing.n_units),
        "units": standing.units,
        "waves": ", ".join(f"{w.label} {word(w.state)}" for w in standing.waves),
    }
    order = {"warn": 0, "now": 1, "ok": 2}[found_next["kind"]]
    line = {"name": place.name, "title": standing.title, "text": text, "waits": order}
    return {**line, **found_next}


def _standing(place: ListedStudy) -> Standing:
    if place.error is not None:
        raise place.error
    found: Standing = place.study.standing
    return found


@screen("/")
def studies(visit: Visit) -> Answer:
    """What waits for whom."""
    lines = sorted(map(_line, visit.studies.all()), key=lambda line: (line["waits"], line["name"]))
    waiting = [line for line in lines if line["waits"] == 0]
    return Screen(
        "studies.html",
        {
            "first": waiting[0] if waiting else None,
            "lines": lines[1:] if waiting else lines,
            "n_waiting": len(waiting),
            "one_study": visit.studies.is_one_study,
            "templates": template_names(),
        },
    )


@screen("/new", "edit", "init")
def new_study(_visit: Visit) -> Answer:
    """From a template or from a people file."""
    return Screen(
        "new.html", {"templates": [(name, template_summary(name)) for name in template_names()]}
    )


@step("/new", "edit", "init", back="/new")
def make_study(visit: Visit) -> Answer:
    """A new study folder."""
    name = visit.form.get("name")
    folder = visit.studies.new_folder(name)
    template, upload = visit.form.get("template"), visit.form.files.get("people")
    if upload is not None:
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as kept:
            path = Path(kept) / upload.name
            path.write_bytes(upload.content)
            visit.keeper.carry_out(
                visit, "init", lambda: visit.studies.door.init(folder, people=path)
            )
    elif template in template_names():
        visit.keeper.carry_out(visit, "init", lambda: visit.studies.door.init(folder, template))
    else:
        raise InputError("found neither a template nor a people file; needed one of them")
    return Go(f"/studies/{name}/plan", _("The study was made; nothing is registered yet."))


@screen("/studies/{study}/")
def next_step(visit: Visit) -> Answer:
    """A study by its name alone: the screen of its next step."""
    if visit.listed is None or visit.listed.error is not None:
        return Go(visit.url("plan"))
    return Go(visit.url(next_of(visit.study.standing)["rest"]))
