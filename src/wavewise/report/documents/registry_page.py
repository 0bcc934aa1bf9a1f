"""The registry page of a study: what was planned, and every change since, in the registry's words.

As a page, as Markdown and as JSON, and the history for a terminal.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias

from wavewise.design.spec import StudySpec
from wavewise.design.versions import (
    Change,
    VersionRecord,
    changes,
    history,
    steps,
    with_defaults,
)
from wavewise.report.contents import FlowStep
from wavewise.report.documents.document import (
    Block,
    Changes,
    Document,
    Grid,
    Section,
    html,
    markdown,
    paragraphs,
)
from wavewise.report.documents.registry_fields import (
    LAST_PUBLISHED,
    RegistryField,
    registry_fields,
)
from wavewise.report.documents.spec_sections import NOT_SPECIFIED, day, joined, share_text

__all__ = [
    "Release",
    "addendum_text",
    "change_text",
    "history_text",
    "registry_facts",
    "registry_markdown",
    "registry_page",
    "releases",
    "value_text",
]

Flows: TypeAlias = Mapping[str, Sequence[FlowStep]]  # By wave.
NONE = "(none)"
DASH = "\u2013"
NOTHING = "Nothing was changed since the first registration."


# Versions as the registry numbers them, with the fields of its form that changed.


@dataclass(frozen=True)
class FieldChange:
    """A field of the registry's form that two versions fill differently."""

    field: str
    before: str
    after: str
    group: str
    is_major: bool


@dataclass(frozen=True)
class Release:
    """A registered version, and what it changed."""

    version: VersionRecord
    number: str  # As the registry numbers it: 1.0; 2.0 after a major change, 1.1 after a minor one.
    fields: tuple[FieldChange, ...] = ()  # In the registry's order.
    keys: tuple[Change, ...] = ()  # Of the study file.

    @property
    def kind(self) -> str:
        """Major or Minor; the first registration is neither."""
        if self.version.number == 1:
            return DASH
        return "Major" if self.number.endswith(".0") else "Minor"


def releases(versions: Sequence[VersionRecord]) -> tuple[Release, ...]:
    """The versions in their order, numbered as the registry numbers them."""
    ordered = sorted(versions, key=lambda version: version.number)
    if not ordered:
        return ()
    made, major, minor = [Release(ordered[0], "1.0")], 1, 0
    for old, new in pairwise(ordered):
        before, after = old.spec, new.spec
        fields = _field_changes(registry_fields(before, old.at), registry_fields(after, new.at))
        keys = with_defaults(changes(old.canonical, new.canonical), before, after)
        is_major = any(one.is_major for one in fields) or any(map(_is_plan, keys))
        major, minor = (major + 1, 0) if is_major else (major, minor + 1)
        made.append(Release(new, f"{major}.{minor}", fields, keys))
    return tuple(made)


def _field_changes(
    before: Sequence[RegistryField], after: Sequence[RegistryField]
) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(new.name, old.text, new.text, new.group, old.is_major or new.is_major)
        for old, new in zip(before, after, strict=True)
        if old.text != new.text or new.name == LAST_PUBLISHED
    )


def _is_plan(change: Change) -> bool:
    """Whether a key is part of the plan, not a description of the entry or of files."""
    place = steps(change.field.removeprefix("order of "))
    if (
        place[0] == "registration"
    ):  # the other texts are fields of the form, which say it themselves
        return place[1] in {"wait_days", "if_data_late"}
    return place[0] not in {"import", "team"}


# The page.


def registry_page(
    spec: StudySpec, versions: Sequence[VersionRecord] = (), flows: Flows = MappingProxyType({})
) -> str:
    """The registry page as one self-contained HTML file."""
    return html(_document(spec, versions, flows))


def registry_markdown(
    spec: StudySpec, versions: Sequence[VersionRecord] = (), flows: Flows = MappingProxyType({})
) -> str:
    """The registry page as Markdown."""
    return markdown(_document(spec, versions, flows))


def registry_facts(
    spec: StudySpec, versions: Sequence[VersionRecord] = (), flows: Flows = MappingProxyType({})
) -> dict[str, Any]:
    """The registry page as plain values, for JSON."""
    made = releases(versions)
    return {
        "study": spec.study.id,
        "version": made[-1].number if made else None,
        "fields": [
            {"field": one.name, "group": one.group, "value": one.text}
            for one in registry_fields(spec, made[-1].version.at if made else None)
        ],
        "participants": {
            wave: [{"step": one.name, "n": one.n, "left": dict(one.left)} for one in flow]
            for wave, flow in flows.items()
            if flow
        },
        "addendum_disclosure": "\n\n".join(addendum_text(spec, made)),
        "history": [
            {
                "version": one.number,
                "kind": one.kind if one.fields or one.keys else "First registration",
                "published": one.version.at.isoformat(),
                "reason": one.version.reason,
                "addendum": one.version.addendum,
                "fields_changed": [vars(change) for change in one.fields],
                "study_file": [key_facts(change, one.version.spec) for change in one.keys],
            }
            for one in made
        ],
    }


def _document(spec: StudySpec, versions: Sequence[VersionRecord], flows: Flows) -> Document:
    made = releases(versions)
    fields = registry_fields(spec, made[-1].version.at if made else None)
    disclosed = addendum_text(spec, made)
    flow = tuple(_flows(spec, flows))
    return Document(
        kind="Registry page",
        title=spec.study.title,
        meta=_meta(spec, made),
        notices=_notices(spec, made),
        sections=(
            *(Section(one.name, _given(one)) for one in fields),
            *((Section("Participants", flow),) if flow else ()),
            *((Section("Addendum disclosure", disclosed),) if disclosed else ()),
            Section("History", tuple(_history(made))),
        ),
        style="form",
    )


def _flows(spec: StudySpec, flows: Flows) -> Iterator[Block]:
    """The flow of participants of each wave that people were enrolled for, or had refused."""
    for wave in spec.waves:
        rows: list[tuple[str, ...]] = []
        for step in flows.get(wave.id, ()):
            rows.append((step.name, f"{step.n:,}", ""))
            rows += [(reason, "", f"{n:,}") for reason, n in step.left]
        if rows:
            columns = ("Step", "Number", "Left")
            yield Grid(
                f"Flow of {spec.units.name}: {wave.name}", columns, tuple(rows), frozenset({1, 2})
            )


def _given(field: RegistryField) -> tuple[Block, ...]:
    return field.blocks or (f"{NOT_SPECIFIED.capitalize()}.",)


def _meta(spec: StudySpec, made: Sequence[Release]) -> tuple[str, ...]:
    study = f"Study {spec.study.id}"
    if not made:
        return (f"{study} \u00b7 not registered",)
    first, last = made[0].version, made[-1].version
    return (
        f"{study} \u00b7 version {made[-1].number}",
        f"First registered on {day(first.date)} \u00b7 last changed on {day(last.date)}",
    )


def _notices(spec: StudySpec, made: Sequence[Release]) -> tuple[str, ...]:
    notices = paragraphs(spec.registration.addendum)
    if made and made[0].version.addendum:
        notices = (*notices, f"First registered {made[0].version.addendum}.")
    late = [one.number for one in made[1:] if one.version.addendum]
    if late:
        word = "Version" if len(late) == 1 else "Versions"
        notices = (
            *notices,
            f"{word} {joined(late)}: addendum, made after data were seen; see History.",
        )
    return notices


def addendum_text(spec: StudySpec, made: Sequence[Release]) -> tuple[str, ...]:
    """What the registry must be told of what was not registered in advance; nothing if all was."""
    texts = list(paragraphs(spec.registration.addendum))
    for one in made:
        version = one.version
        if version.addendum:
            what = f" It changed: {joined([f.field for f in one.fields])}." if one.fields else ""
            reason = f" Reason: {version.reason.rstrip('.')}." if version.number > 1 else ""
            texts.append(
                f"Version {one.number} of {day(version.date)} was registered "
                f"{version.addendum}.{reason}{what}"
            )
    return tuple(texts)


def _history(made: Sequence[Release]) -> Iterator[Block]:
    if not made:
        yield "The study is not registered."
        return
    yield Grid(
        "Versions",
        ("Version", "Major or minor", "Published", "Reason", "Addendum"),
        tuple(
            (one.number, one.kind, f"{one.version.at:%Y-%m-%d %H:%M} UTC",
             one.version.reason or DASH, one.version.addendum or DASH)
            for one in made
        ),
    )  # fmt: skip
    if len(made) == 1:
        yield NOTHING
    for one in made[1:]:
        mark = f"; addendum, {one.version.addendum}" if one.version.addendum else ""
        head = f"Version {one.number} ({one.kind}), {day(one.version.date)}{mark}"
        if one.fields:
            rows = tuple((c.field, c.before or NONE, c.after or NONE) for c in one.fields)
            yield Changes(f"{head}: fields changed", rows)
        spec = one.version.spec
        keys = tuple(
            (_named(change, spec), *_values(change))
            for change in one.keys
            if _is_plan(change) or steps(change.field)[0] != "registration"  # a field says it above
        )
        if keys:
            yield Changes(f"{head}: what changed in the study file", keys)


# Keys of the study file and their values, in words.

_SECTIONS = {
    "study": "Study", "units": "Units", "derived": "Derived field", "flows": "Call flow",
    "messages": "Message", "arms": "Arm", "schedules": "Schedule", "keywords": "Opt-out keywords",
    "outcomes": "Outcome", "models": "Model", "waves": "Wave", "analysis": "Analysis",
    "decision": "Decision", "planning": "Planning", "registration": "Registration",
    "import": "Reading of files", "team": "Second person",
}  # fmt: skip
_NAMED = {"derived", "flows", "schedules", "models"}  # Tables by name: their first key is a name.
_KEYS = {
    "study.title": "Trial Title", "registration.status": "Trial Status",
    "registration.abstract": "Abstract", "registration.intervention": "Intervention (Public)",
    "registration.trial_start": "Trial Start Date", "registration.trial_end": "Trial End Date",
    "registration.keywords": "Keyword(s)", "registration.jel": "JEL Code(s)",
    "registration.country": "Country", "registration.irb": "IRB",
    "registration.sponsors": "Sponsor Name", "registration.documents": "Documents",
    "registration.investigators": "Primary Investigators",
    "registration.addendum": "Addendum disclosure",
    "registration.if_data_late": "If data come late",
    "registration.hypotheses": "Hypotheses",
    "registration.wait_days": "Wait for data after a wave, in days",
}  # fmt: skip


def _named(change: Change, spec: StudySpec) -> str:
    """A key in words, with the labels of what it is of: ``Wave Phase 1: control share``."""
    if change.field in _KEYS:
        return _KEYS[change.field]
    ordered = change.field.startswith("order of ")
    section, *inner = steps(change.field.removeprefix("order of "))
    listed = getattr(spec, section, ())
    if inner and isinstance(listed, tuple):
        label = next((one.label for one in listed if one.id == inner[0] and one.label), inner[0])
        head, inner = f"{_SECTIONS.get(section, section)} {label}", inner[1:]
    elif inner and section in _NAMED:
        head, inner = f"{_SECTIONS[section]} {inner[0]}", inner[1:]
    else:
        head = _SECTIONS.get(section, section.replace("_", " ").capitalize())
    words = [*(["order"] if ordered else []), *(step.replace("_", " ") for step in inner)]
    return f"{head}: {', '.join(words)}" if words else head


def _values(change: Change) -> tuple[str, str]:
    last = steps(change.field)[-1]
    return _value(last, change.before), _value(last, change.after)


def _value(key: str, value: Any) -> str:
    """A value as people write it; shares in percent, dates in words."""
    if isinstance(value, float) and ("share" in key or key in {"level", "floor"}):
        return share_text(value)
    if isinstance(value, str) and key in {"starts", "date", "trial_start", "trial_end"}:
        return day(date.fromisoformat(value))
    return value_text(value)


def value_text(value: Any) -> str:
    """A value of the canonical form, as people write it.

    Examples
    --------
    >>> value_text(None), value_text(True), value_text(["mon", "thu"])
    ('(none)', 'yes', 'mon, thu')
    >>> value_text({"rule": "best", "learned_on": ["phase-1"]})
    'rule = best; learned_on = phase-1'
    """
    if value is None or value in ("", [], {}, ()):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{key} = {_inner(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_inner(entry) for entry in value)
    return " ".join(str(value).split())


def _inner(value: Any) -> str:
    text = value_text(value)
    return f"({text})" if isinstance(value, dict | list | tuple) and "; " in text else text


def key_facts(change: Change, spec: StudySpec) -> dict[str, Any]:
    """A change of a key: its name in words, its place in the study file, before and after."""
    return {
        "name": _named(change, spec),
        "field": change.field,
        "before": change.before,
        "after": change.after,
    }


def change_text(change: Change, spec: StudySpec) -> str:
    """A change in one line, e.g. ``Wave Phase 1: control share: 20 % -> 10 %``."""
    before, after = _values(change)
    return f"{_named(change, spec)}: {before} -> {after}"


def history_text(versions: Sequence[VersionRecord]) -> str:
    """The history for a terminal: a heading for each version, then field, before, after."""
    lines: list[str] = []
    for one in releases(versions)[1:]:
        version = one.version
        head = f"Version {one.number} ({one.kind}), {version.date.isoformat()}: {version.reason}"
        lines += ["", head, *([f"  ADDENDUM, {version.addendum}"] if version.addendum else [])]
        lines.append(f"  Fields changed: {', '.join(c.field for c in one.fields) or 'none'}")
        for change in one.keys:
            before, after = _values(change)
            lines += [f"  {_named(change, version.spec)}"]
            lines += [f"    before  {before}", f"    after   {after}"]
    return "\n".join(lines[1:]) or NOTHING


def changes_facts(versions: Sequence[VersionRecord]) -> tuple[Mapping[str, Any], ...]:
    """Every change of every version as plain values, as ``history`` prints them for machines."""
    specs = {version.number: version.spec for version in versions}
    numbers = {one.version.number: one.number for one in releases(versions)}
    return tuple(
        {
            **row.to_dict(),
            "name": _named(Change(row.field, row.before, row.after), specs[row.version]),
            "registry_version": numbers[row.version],
        }
        for row in history(versions)
    )
