"""The registry page of a study: what was planned, and every change since."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from wavewise.design.spec import StudySpec
from wavewise.design.versions import HistoryRow, VersionRecord, history
from wavewise.report.documents.document import (
    Block,
    Bullets,
    Document,
    Grid,
    Section,
    html,
    paragraphs,
)
from wavewise.report.documents.spec_sections import (
    NOT_SPECIFIED,
    day,
    delivery_blocks,
    joined,
    messages_grid,
    outcome_bullets,
    power_blocks,
    size_text,
    wave_blocks,
)

__all__ = ["history_text", "registry_page", "value_text"]

ABSENT = "(absent)"
DASH = "\u2013"


def registry_page(spec: StudySpec, versions: Sequence[VersionRecord] = ()) -> str:
    """The registry page as one self-contained HTML file.

    Notes
    -----
    The sections are those of public trial registries: trial status, abstract, dates, intervention,
    primary outcomes, experimental design, sample size by arm, minimum detectable effect, secondary
    outcomes; then the history as field, before, after. What the spec does not say is printed as
    "not specified".

    Examples
    --------
    >>> from wavewise.design import parse_spec
    >>> from wavewise.design.templates import template_text
    >>> page = registry_page(parse_spec(template_text("peru-summer")))
    >>> "Minimum detectable effect" in page
    True
    """
    ordered = sorted(versions, key=lambda version: version.number)
    return html(
        Document(
            kind="Registry page",
            title=spec.study.title,
            meta=_meta(spec, ordered),
            notices=_notices(spec, ordered),
            sections=(*_sections(spec), _history_section(ordered)),
        )
    )


def _meta(spec: StudySpec, versions: list[VersionRecord]) -> tuple[str, ...]:
    study = f"Study {spec.study.id}"
    if not versions:
        return (f"{study} \u00b7 not registered",)
    first, last = versions[0], versions[-1]
    return (
        f"{study} \u00b7 version {last.number}",
        f"First registered on {day(first.date)} \u00b7 last changed on {day(last.date)}",
    )


def _notices(spec: StudySpec, versions: list[VersionRecord]) -> tuple[str, ...]:
    notices = paragraphs(spec.registration.addendum)
    if versions and versions[0].addendum:
        notices = (*notices, f"First registered {versions[0].addendum}.")
    late = [version for version in versions[1:] if version.addendum]
    if late:
        numbers = joined([str(version.number) for version in late])
        word = "Version" if len(late) == 1 else "Versions"
        notices = (*notices, f"{word} {numbers}: addendum, made after data were seen; see History.")
    return notices


def _sections(spec: StudySpec) -> tuple[Section, ...]:
    registration = spec.registration
    secondary = [outcome for outcome in spec.outcomes if outcome is not spec.primary]
    return (
        Section("Trial status", (registration.status, *_facts(spec))),
        Section("Abstract", _given(registration.abstract)),
        Section("Trial dates", _dates(spec)),
        Section("Intervention", _intervention(spec)),
        Section("Primary outcomes", outcome_bullets([spec.primary])),
        Section("Experimental design", _design(spec)),
        Section("Sample size by arm", _sizes(spec)),
        Section("Minimum detectable effect", power_blocks(spec)),
        Section("Secondary outcomes", outcome_bullets(secondary)),
    )


def _given(text: str) -> tuple[Block, ...]:
    return paragraphs(text) or (f"{NOT_SPECIFIED.capitalize()}.",)


def _facts(spec: StudySpec) -> tuple[Block, ...]:
    registration = spec.registration
    facts = (
        ("Country", registration.country),
        ("Investigators", ", ".join(registration.investigators)),
        ("Keywords", ", ".join(registration.keywords)),
    )
    return (Bullets(tuple(f"{name}: {text or NOT_SPECIFIED}" for name, text in facts)),)


def _dates(spec: StudySpec) -> tuple[Block, ...]:
    start = min(wave.starts for wave in spec.waves)
    end = max(wave.starts + timedelta(days=wave.window_days - 1) for wave in spec.waves)
    items = (f"Trial start date: {day(start)}", f"End of the last outcome window: {day(end)}")
    return (Bullets(items),)


def _intervention(spec: StudySpec) -> tuple[Block, ...]:
    messages = (messages_grid(spec),) if spec.messages else ()
    return (*_given(spec.registration.intervention), *messages, *delivery_blocks(spec))


def _design(spec: StudySpec) -> tuple[Block, ...]:
    blocks = [block for wave in spec.waves for block in wave_blocks(spec, wave)]
    hypotheses = spec.registration.hypotheses
    if not hypotheses:
        return (*blocks, f"Hypotheses: {NOT_SPECIFIED}.")
    return (*blocks, "Hypotheses:", Bullets(hypotheses))


def _sizes(spec: StudySpec) -> tuple[Block, ...]:
    if spec.planning is None:
        return (f"{NOT_SPECIFIED.capitalize()}.",)
    total = f"Planned: {spec.planning.n_units:,} {spec.units.name} in all."
    return (
        total,
        Bullets(tuple(f"{wave.name}: {size_text(spec, wave)}." for wave in spec.waves)),
    )


def _history_section(versions: list[VersionRecord]) -> Section:
    if not versions:
        return Section("History", ("The study is not registered.",))
    listed = tuple(
        (str(version.number), day(version.date), version.reason or DASH, version.addendum or DASH)
        for version in versions
    )
    blocks: list[Block] = [Grid("Versions", ("Version", "Date", "Reason", "Addendum"), listed)]
    rows = history(versions)
    if rows:
        blocks.append(_history_grid(rows))
    else:
        blocks.append("Nothing was changed since the first registration.")
    return Section("History", tuple(blocks))


def _history_grid(rows: Iterable[HistoryRow]) -> Grid:
    columns = ("Field", "Before", "After", "Version")
    cells = tuple(
        (row.field, value_text(row.before), value_text(row.after), _mark(row)) for row in rows
    )
    return Grid("Fields changed", columns, cells)


def _mark(row: HistoryRow) -> str:
    mark = f"{row.version}, {day(row.date)}"
    return f"{mark}; addendum, {row.addendum}" if row.addendum else mark


def value_text(value: Any) -> str:
    """A value of the canonical form, as people write it.

    Examples
    --------
    >>> value_text(None), value_text(True), value_text(["mon", "thu"])
    ('(absent)', 'yes', 'mon, thu')
    >>> value_text({"rule": "best", "learned_on": ["phase-1"]})
    'rule = best; learned_on = phase-1'
    """
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = (f"{key} = {_inner(entry)}" for key, entry in value.items())
        return "; ".join(parts) or "(empty)"
    if isinstance(value, list | tuple):
        return ", ".join(_inner(entry) for entry in value) or "(empty)"
    return str(value)


def _inner(value: Any) -> str:
    text = value_text(value)
    return f"({text})" if isinstance(value, dict | list | tuple) and "; " in text else text


def history_text(rows: Iterable[HistoryRow]) -> str:
    """The history for a terminal: a heading for each version, then field, before, after."""
    lines: list[str] = []
    current = 0
    for row in rows:
        if row.version != current:
            current = row.version
            lines += ["", *_heading(row)]
        lines += [f"  {row.field}"]
        lines += [f"    before  {value_text(row.before)}", f"    after   {value_text(row.after)}"]
    return "\n".join(lines[1:]) or "Nothing was changed since the first registration."


def _heading(row: HistoryRow) -> list[str]:
    heading = f"Version {row.version}, {row.date.isoformat()[:10]}: {row.reason}"
    return [heading, f"  ADDENDUM, {row.addendum}"] if row.addendum else [heading]
