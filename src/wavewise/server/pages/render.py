"""Screens as HTML: templates, words, numbers and times as they are shown."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from wavewise.errors import WavewiseError
from wavewise.report import numbers
from wavewise.server.pages import languages
from wavewise.server.pages.languages import gettext, ngettext, pgettext
from wavewise.server.pages.routes import Screen, Visit

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Words", "render", "wave_steps"]


class Words:
    """Times and numbers as a screen shows them, in the study's own zone."""

    def __init__(self, zone: str) -> None:
        self._zone, self._name = ZoneInfo(zone), zone.rpartition("/")[2].replace("_", " ")

    @property
    def place(self) -> str:
        """City of the zone."""
        return self._name

    def when(self, moment: datetime | None, otherwise: str = "") -> str:
        """A day and a time, as ``Mon 13 Nov 2023, 09:20``."""
        if moment is None:
            return otherwise
        return languages.clock_time(moment.astimezone(self._zone))

    def when_iso(self, text: str) -> str:
        """The same for a time as text."""
        return self.when(datetime.fromisoformat(text))

    def day(self, moment: Any, otherwise: str = "") -> str:
        """A day, as ``Mon 13 Nov 2023``."""
        if moment is None:
            return otherwise
        local = moment.astimezone(self._zone) if isinstance(moment, datetime) else moment
        return languages.day(local)

    def now(self, moment: datetime) -> str:
        """The time now, where the study is and where the server is."""
        return gettext("%(when)s in %(place)s (%(utc)s UTC)") % {
            "when": self.when(moment),
            "place": self._name,
            "utc": f"{moment.astimezone(ZoneInfo('UTC')):%H:%M}",
        }


@cache
def environment() -> "Environment":
    """Templates of this package, in the reader's language."""
    from wavewise.report.blocks import strict_environment

    found = strict_environment("wavewise.server.pages", extensions=["jinja2.ext.i18n"])
    found.install_gettext_callables(  # type: ignore[attr-defined]
        gettext, ngettext, newstyle=True, pgettext=pgettext
    )
    found.filters["count"] = languages.count
    found.filters["word"] = languages.word
    found.filters["share"] = _share
    found.filters["value"] = _value
    found.filters["code"] = _code
    return found


def _code(text: str) -> Any:
    """A text, its commands between backticks as code."""
    from markupsafe import Markup, escape

    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # a backtick that nothing closes
        return text
    marked = [f"<code>{escape(x)}</code>" if n % 2 else escape(x) for n, x in enumerate(parts)]
    return Markup("").join(map(Markup, marked))


def _value(value: Any) -> str:
    """A value of the study file in words."""
    from wavewise.report.documents.registry_page import value_text

    return languages.word(value_text(value))


def _share(part: float, whole: float) -> str:
    """A part of a whole in percent; a dash where there is no whole."""
    return languages.percent(part / whole, 1) if whole else numbers.UNKNOWN


def render(visit: Visit, shown: Screen) -> str:
    """A screen's HTML."""
    facts = dict(_frame(visit)) if visit.listed is not None else {}
    zone = "UTC"
    if visit.listed is not None and visit.listed.study is not None:
        zone = visit.study.spec.study.time_zone
    return (
        environment()
        .get_template(shown.template)
        .render(
            visit=visit,
            error=told(visit.error),
            words=Words(zone),
            page_language=languages.spoken(),
            page_languages=languages.LANGUAGES,
            this_page=_this_page(visit),
            **{
                "command": f"wavewise {visit.route.verb.replace('_', ' ')}",
                **facts,
                **shown.facts,
            },
        )
    )


def _this_page(visit: Visit) -> str:
    """Where the screen can be asked for again: after a step, the screen that it came from."""
    url, route = visit.request.url, visit.route
    if visit.request.method != "POST":
        return f"{url.path}?{url.query}" if url.query else url.path
    return (route.path if route.method == "GET" else route.back).format_map(visit.names)


def told(error: WavewiseError | None) -> Mapping[str, Any] | None:
    """An error as a screen shows it: what is wrong, and each fault with its place."""
    if error is None:
        return None
    return {"message": error.message, "faults": error.faults}


def _frame(visit: Visit) -> Mapping[str, Any]:
    """What the frame of a study's screen shows: its title, its steps, the one that is current."""
    place = visit.listed
    if place is None or place.study is None:
        title = visit.names.get("study", "")
        return {"title": title, "groups": (), "standing": None}
    standing = place.study.standing
    return {"title": standing.title, "groups": wave_steps(visit, standing), "standing": standing}


def wave_steps(visit: Visit, standing: Any) -> tuple[Mapping[str, Any], ...]:
    """The steps of a study, in groups: to prepare, each wave, results."""
    registered = standing.version is not None
    has_people = standing.n_units > 0
    ready = registered and has_people
    imported = all(wave.is_imported for wave in standing.waves)
    prepare = [
        _item(visit, "plan", gettext("Plan"), "done" if registered else "now"),
        _item(
            visit,
            "people",
            gettext("People"),
            "done" if has_people else "now" if registered else "wait",
        ),
        _item(visit, "messages", gettext("Messages"), "done" if registered else "wait"),
        _item(
            visit,
            "register",
            gettext("Register"),
            "warn" if standing.is_changed else "done" if registered else "now",
        ),
    ]
    if imported:
        prepare.pop(2)
    else:
        state = "doc" if has_people else "wait"
        prepare.append(_item(visit, "events", gettext("Events"), state))
    groups = [{"label": gettext("Prepare"), "items": prepare}]
    reached = False
    for wave in standing.waves:
        groups.append(
            {"label": wave.label, "items": _of_wave(visit, wave, reached=reached, ready=ready)}
        )
        reached = reached or not wave.is_done
    results = [
        _item(visit, "proof", gettext("Proof"), "doc"),
        _item(visit, "record", gettext("Record"), "doc"),
    ]
    return (*groups, {"label": gettext("Results"), "items": results})


def _of_wave(visit: Visit, wave: Any, *, reached: bool, ready: bool) -> list[Mapping[str, Any]]:
    """Steps of one wave; one that is done is a single line."""
    if wave.is_done:
        return [_item(visit, f"decide/{wave.id}", gettext("Closed and decided"), "done")]
    opened = wave.state != "not open"
    first = "wait" if reached or not ready else "now"
    return [
        _item(visit, f"open/{wave.id}", gettext("Open"), "done" if opened else first),
        _item(
            visit,
            f"field/{wave.id}",
            pgettext("field work", "Field"),
            "done" if wave.state == "closed" else "now" if opened else "wait",
        ),
        _item(visit, f"decide/{wave.id}", gettext("Close and decide"), "now" if opened else "wait"),
    ]


def _item(visit: Visit, rest: str, label: str, state: str) -> Mapping[str, Any]:
    url, shown = visit.url(rest), visit.route.path.format_map(visit.names)
    return {"url": url, "label": label, "state": state, "here": f"{shown}/".startswith(f"{url}/")}
