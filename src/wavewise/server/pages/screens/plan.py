"""Plan and Register: whether the plan may be registered, and what that freezes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from wavewise.design.messages import Schedule
from wavewise.design.spec import StudySpec
from wavewise.errors import Fault, InputError, SpecError
from wavewise.report import numbers
from wavewise.server.pages.languages import count, fixed, percent, word
from wavewise.server.pages.languages import gettext as _
from wavewise.server.pages.routes import Answer, File, Go, Page, Screen, Visit, screen, step
from wavewise.workflow.prepare.draft import Draft, PlannedSize, read_draft
from wavewise.workflow.standing import Standing
from wavewise.workflow.study import STUDY_FILE

SIZES = 12  # Numbers of units in the figure of power.


def draft_of(visit: Visit) -> Draft:
    """The plan as it stands, also where it has faults."""
    place = visit.listed
    if place is None:
        raise InputError("found no study; needed one of the list")
    return read_draft(None, place.folder) if place.study is None else place.study.draft


@dataclass(frozen=True)
class Field:
    """One value of the plan, with what is said beside it."""

    path: str
    label: str
    hint: str
    value: str
    kind: str = "text"  # Of the input.
    unit: str = ""
    lock: str = ""  # Why it cannot be changed, where it cannot.
    key: str = ""  # The path as faults and changes name it, where that is another.
    said: str = ""
    verdict: str = "ok"

    @property
    def name(self) -> str:
        """What faults and changes call it."""
        return self.key or self.path

    @property
    def id(self) -> str:
        """Of the input."""
        return "f-" + "".join(c if c.isalnum() else "-" for c in self.path)

    def read(self, typed: str) -> Any:
        """What was typed, as the study file has it; what cannot be read stays as it is."""
        text = typed.strip()
        if not text:
            return None
        try:
            if self.kind == "date":
                return date.fromisoformat(text)
            if self.unit == "%":
                return float(f"{float(text.replace(',', '.')) / 100:.6g}")
            if self.kind == "number":
                return int(text.replace(",", "").replace("\N{NO-BREAK SPACE}", ""))
        except ValueError:
            return text
        return text


def fields_of(draft: Draft, standing: Standing | None) -> Iterator[tuple[str, list[Field]]]:
    """The values that are changed most, by part of the plan; the rest is changed in the text."""
    spec = draft.spec
    if spec is None:
        return
    waves = () if standing is None else standing.waves
    opened = {wave.id for wave in waves if wave.state != "not open"}
    yield _("The study"), list(_of_study(spec))
    for place, wave in enumerate(spec.waves):
        lock = _("Opened; cannot be changed by anyone.") if wave.id in opened else ""
        yield wave.name, list(_of_wave(place, wave, lock))
    for name, schedule in spec.schedules.items():
        used = any(wave.schedule == name and wave.id in opened for wave in spec.waves)
        lock = _("A wave that is open sends by it.") if used else ""
        yield _("Schedule %(name)s") % {"name": name}, list(_of_schedule(name, schedule, lock))


def _of_study(spec: StudySpec) -> Iterator[Field]:
    study, wait = spec.study, spec.registration.wait_days
    yield Field("study.title", _("Title"), _("as reports print it"), study.title)
    yield Field("study.time_zone", _("Time zone"), _("of people who bring none"), study.time_zone)
    if spec.planning is not None:
        n, hint = f"{spec.planning.n_units}", _("that the design is planned on")
        yield Field("planning.n_units", _("Number of people"), hint, n, "number", spec.units.name)
    if wait is not None:
        hint = _("days to wait before the close")
        yield Field(
            "registration.wait_days", _("Late events"), hint, f"{wait}", "number", _("days")
        )


def _of_schedule(name: str, schedule: Schedule, lock: str) -> Iterator[Field]:
    path, at = f"schedules.{name}", f"{schedule.at:%H:%M}"
    yield Field(f"{path}.at", _("Sent at"), _("each person's own time"), at, "time", lock=lock)
    if schedule.weeks:
        weeks, hint = f"{schedule.weeks}", _("from the wave's start")
        yield Field(f"{path}.weeks", _("For"), hint, weeks, "number", _("weeks"), lock)


def _of_wave(place: int, wave: Any, lock: str) -> Iterator[Field]:
    path, named = f"waves[{place}]", f"waves['{wave.id}']"
    yield Field(
        f"{path}.starts",
        _("Starts"),
        _("first day"),
        wave.starts.isoformat(),
        "date",
        "",
        lock,
        f"{named}.starts",
    )
    yield Field(
        f"{path}.window_days",
        _("Outcomes count for"),
        _("days from the start"),
        f"{wave.window_days}",
        "number",
        _("days"),
        lock,
        f"{named}.window_days",
    )
    shares = (
        ("control_share", _("Without a message"), _("share of the control arm")),
        ("held_out_share", _("Held out"), _("of each arm")),
    )
    for key, label, hint in shares:
        share = getattr(wave, key)
        if share is not None:
            yield Field(
                f"{path}.{key}",
                label,
                hint,
                f"{100 * share:g}",
                "text",
                "%",
                lock,
                f"{named}.{key}",
            )


def _judged(
    field: Field, typed: str | None, faults: tuple[Fault, ...], changed: Mapping[str, Any]
) -> Field:
    """A field with what was typed, and what `check` says of it."""
    shown = field if typed is None else replace(field, value=typed)
    own = [fault for fault in faults if _is_of(fault.path, field.name)]
    if field.lock:
        return replace(shown, verdict="lock", said=field.lock)
    if own:
        found = own[0]
        said = _("Found %(found)s; needed %(needed)s.") % {
            "found": found.found,
            "needed": found.needed,
        }
        return replace(shown, verdict="bad", said=f"{said} {found.fix}".strip())
    before = next((one["before"] for name, one in changed.items() if name == field.name), None)
    if before is not None:
        return replace(shown, verdict="warn", said=_("Was %(before)s.") % {"before": before})
    return shown


def _is_of(fault: str, path: str) -> bool:
    """Whether a fault's place is a field's: `waves[1].starts` is also `waves['b'].starts`."""
    return fault == path or fault.startswith(f"{path}.") or fault.rpartition(" ")[0] == path


@screen("/studies/{study}/plan", verb="check")
def plan(visit: Visit) -> Answer:
    """Whether it is large enough and sound, and what it changes."""
    draft = draft_of(visit)
    standing = None if draft.spec is None or visit.listed is None else visit.study.standing
    typed = dict(visit.form.texts)
    faults, checked = draft.faults, False
    groups = list(fields_of(draft, standing))
    if typed and draft.spec is not None:
        checked = True
        try:
            faults = draft.faults_of(_typed_text(draft, groups, typed))
        except InputError as error:
            faults = (Fault(STUDY_FILE, error.message, _("a value that fits")),)
    changed = {one["field"]: one for one in draft.changes()}
    judged = [
        (name, [_judged(one, typed.get(one.path), faults, changed) for one in rows])
        for name, rows in groups
    ]
    shown = {one.name for _name, rows in judged for one in rows if one.verdict == "bad"}
    rest = [fault for fault in faults if not any(_is_of(fault.path, name) for name in shown)]
    n_units = visit.request.query_params.get("n", "").replace(",", "")
    n = int(n_units) if n_units.isdigit() and 0 < len(n_units) < 10 and int(n_units) else None
    title = draft.spec.study.title if draft.spec is not None else visit.names["study"]
    return Screen(
        "plan.html",
        {
            "title": title,
            "draft": draft,
            "groups_of_fields": judged,
            "faults": faults,
            "other_faults": rest,
            "checked": checked,
            "changes": draft.changes(),
            "standing": standing,
            "power": power_facts(draft, n),
        },
    )


def _typed_text(
    draft: Draft, groups: list[tuple[str, list[Field]]], typed: Mapping[str, str]
) -> str:
    """The study file with what was typed; locked fields stay."""
    values = {
        one.path: one.read(typed[one.path])
        for _name, rows in groups
        for one in rows
        if one.path in typed and not one.lock and typed[one.path].strip() != one.value
    }
    return draft.with_values(values)


def power_facts(draft: Draft, n_units: int | None) -> Mapping[str, Any] | None:
    """What the size finds, in a sentence and a figure; None where nothing was planned."""
    sizes = draft.sizes(n_units)
    if not sizes or draft.spec is None or draft.spec.planning is None:
        return None
    planned = int(draft.spec.planning.n_units)
    low, high = max(planned // 5, 10), planned * 2
    steps = [round(low + (high - low) * k / (SIZES - 1)) for k in range(SIZES)]
    curve = [(n, _smallest(draft.sizes(n)[-1])) for n in steps]
    known = [(n, value) for n, value in curve if value is not None]
    last = sizes[-1]
    smallest = _smallest(last)
    if smallest is None:
        last = next((one for one in sizes if _smallest(one) is not None), last)
        smallest = _smallest(last)
        known = [(n, _smallest(draft.sizes(n)[sizes.index(last)]) or 0.0) for n in steps]
    if smallest is None:
        return None
    return {
        "n_units": last.n_units,
        "low": low,
        "high": high,
        "wave": last.wave,
        "outcome": last.outcome,
        "big": fixed(last.scale.factor * smallest, 1),
        "unit": word(last.scale.effect_unit),
        "short": word(last.scale.short_unit),
        "power": percent(last.power, 0),
        "size": percent(1 - last.level, 0),
        "rows": [_line(one) for one in sizes if _smallest(one) is not None],
        "curve": _curve(known, (last.n_units, smallest)),
    }


def _smallest(size: PlannedSize) -> float | None:
    found = [one for one in (size.between_arms, size.against_control) if one is not None]
    return max(found, default=None)


def _line(size: PlannedSize) -> tuple[str, str, str]:
    def text(value: float | None) -> str:
        if value is None:
            return numbers.UNKNOWN
        return f"{fixed(size.scale.factor * value, 1)} {word(size.scale.short_unit)}"

    return size.wave, text(size.between_arms), text(size.against_control)


def _curve(known: list[tuple[int, float]], here: tuple[int, float]) -> Mapping[str, Any]:
    """The smallest effect by number of units, in percent coordinates."""
    top = max(value for _n, value in known) or 1.0
    first, last = known[0][0], known[-1][0]

    def at(n: int, value: float) -> tuple[float, float]:
        x = min(max((n - first) / (last - first), 0.0), 1.0) if last > first else 0.0
        return round(100 * x, 2), round(100 * (1 - min(value / top, 1.0)) * 0.94 + 4, 2)

    path = "L".join(f"{x} {y}" for x, y in (at(*point) for point in known))
    x, y = at(*here)
    return {"path": f"M{path}", "x": x, "y": y, "first": count(first), "last": count(last)}


@screen("/studies/{study}/plan/power", verb="design")
def power_part(visit: Visit) -> Answer:
    """The power sentence alone, as the size moves."""
    draft = draft_of(visit)
    n = visit.request.query_params.get("n", "").replace(",", "")
    units = int(n) if n.isdigit() and 0 < len(n) < 10 and int(n) else None
    return Screen("power.html", {"power": power_facts(draft, units)})


@step("/studies/{study}/plan", "edit", "check", back="/studies/{study}/plan")
def save_plan(visit: Visit) -> Answer:
    """Check what was typed, or keep it as a draft."""
    if visit.form.get("do") == "check":
        return plan(visit)
    draft = draft_of(visit)
    standing = None if draft.spec is None else visit.study.standing
    groups = list(fields_of(draft, standing))
    text = _typed_text(draft, groups, visit.form.texts)
    visit.keeper.carry_out(visit, "edit", lambda: draft.write(text, visit.form.get("mark")))
    return Go(visit.url("plan"), _("The draft was kept. Nothing is registered by that."))


@screen("/studies/{study}/plan/text", verb="check")
def plan_text(visit: Visit) -> Answer:
    """The study file itself."""
    draft = draft_of(visit)
    typed = visit.form.texts.get("text")
    faults = visit.error.faults if isinstance(visit.error, SpecError) else draft.faults
    return Screen(
        "plan_text.html",
        {
            "draft": draft,
            "text": draft.text if typed is None else typed.replace("\r\n", "\n"),
            "mark": visit.form.get("mark") or draft.mark,
            "faults": faults,
        },
    )


@step("/studies/{study}/plan/text", "edit", "check", back="/studies/{study}/plan/text")
def save_text(visit: Visit) -> Answer:
    """Another text of the study file, where it is sound."""
    text = visit.form.texts.get("text", "").replace("\r\n", "\n").rstrip("\n") + "\n"
    draft = draft_of(visit)
    visit.keeper.carry_out(visit, "edit", lambda: draft.write(text, visit.form.get("mark")))
    return Go(visit.url("plan"), _("The text was kept. Nothing is registered by that."))


@screen("/studies/{study}/plan/study.toml")
def download_text(visit: Visit) -> Answer:
    """The study file, to keep."""
    return File(draft_of(visit).folder / STUDY_FILE, STUDY_FILE, "application/toml")


# Register: what is frozen, and what the registry will say.


@screen("/studies/{study}/register", verb="register")
def register(visit: Visit) -> Answer:
    """What registration freezes."""
    draft = draft_of(visit)
    if draft.spec is None:
        return Go(visit.url("plan"))
    standing, history = visit.study.standing, visit.study.history().facts()
    return Screen(
        "register.html",
        {
            "draft": draft,
            "spec": draft.spec,
            "standing": standing,
            "changes": draft.changes(),
            "history": history,
            "version_rows": [
                (one["number"], one["date"], one["reason"]) for one in history["versions"]
            ],
            "command": "wavewise register"
            if standing.version is None
            else "wavewise amend --reason",
        },
    )


@step("/studies/{study}/register", "freeze", "register", back="/studies/{study}/register")
def freeze_plan(visit: Visit) -> Answer:
    """Freeze the plan as the next version."""
    if visit.study.standing.version is None:
        done = visit.do("register")
    else:
        done = visit.do("amend", visit.form.get("reason"), reword=visit.form.has("reword"))
    return Go(
        visit.url(),
        _("Version %(n)s is registered.") % {"n": done.facts()["version"]},
    )


@screen("/studies/{study}/register/page", verb="history")
def registry(visit: Visit) -> Answer:
    """The registry page as it will stand."""
    return Page(draft_of(visit).registry_page())
