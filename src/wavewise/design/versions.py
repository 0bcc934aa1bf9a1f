"""What changed between versions of a spec: field, before, after."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from itertools import pairwise
from typing import Any, Final, get_args

from pydantic import BaseModel

from wavewise.design.spec import SECTIONS, StudySpec

__all__ = [
    "Change",
    "HistoryRow",
    "VersionRecord",
    "canonical_dict",
    "canonical_json",
    "changes",
    "history",
    "spec_hash",
    "spec_of",
    "steps",
    "with_defaults",
]


@dataclass(frozen=True)
class Change:
    """One field that differs between two versions."""

    field: str  # Where, e.g. ``waves['phase-2'].control_share``.
    # before, after: Plain JSON values; None means absent.
    before: Any
    after: Any


@dataclass(frozen=True)
class VersionRecord:
    """A registered version, as the store keeps it."""

    number: int  # 1 for the first registration.
    at: datetime  # When it was registered.
    reason: str  # Why it was amended; for the first version, what the registry is told.
    canonical: Mapping[str, Any]  # Canonical form of the spec.
    # Ids of the waves whose outcomes were frozen before this version was made.
    waves_seen: tuple[str, ...] = ()

    @property
    def date(self) -> date:
        """Day of the registration."""
        return self.at.date()

    @property
    def spec(self) -> StudySpec:
        """The spec as it was registered."""
        return spec_of(self.canonical)

    @property
    def addendum(self) -> str:
        """``after data of phase-1 were seen``, or nothing."""
        if not self.waves_seen:
            return ""
        *most, last = self.waves_seen
        waves = f"{', '.join(most)} and {last}" if most else last
        return f"after data of {waves} were seen"


@dataclass(frozen=True)
class HistoryRow:
    """One change in the history of a study, with its version, date, reason and addendum mark."""

    version: int
    date: date
    reason: str
    field: str
    before: Any
    after: Any
    addendum: str

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values, for JSON."""
        return {**vars(self), "date": self.date.isoformat()}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Every field that differs between two canonical forms, in the order of the spec.

    Notes
    -----
    Entries of a list that carry an id are matched by it; an entry that is new or gone is one
    change, as a whole. A list of plain values is one value. Two forms have no change between them
    exactly where they are equal.

    Examples
    --------
    >>> changes(
    ...     {"waves": [{"id": "phase-2", "control_share": 0.1}]},
    ...     {"waves": [{"id": "phase-2", "control_share": 0.2}]},
    ... )
    (Change(field="waves['phase-2'].control_share", before=0.1, after=0.2),)
    """
    return tuple(_changes("", before, after, _section_ranks()))


def history(versions: Iterable[VersionRecord]) -> tuple[HistoryRow, ...]:
    """Every change from each version to the next, in the order of their numbers.

    A version that was made after the outcomes of a wave were frozen is an addendum.
    """
    ordered = sorted(versions, key=lambda version: version.number)
    return tuple(
        HistoryRow(
            version=new.number,
            date=new.date,
            reason=new.reason,
            field=change.field,
            before=change.before,
            after=change.after,
            addendum=new.addendum,
        )
        for old, new in pairwise(ordered)
        for change in with_defaults(changes(old.canonical, new.canonical), old.spec, new.spec)
    )


def with_defaults(
    found: Iterable[Change], before: StudySpec, after: StudySpec
) -> tuple[Change, ...]:
    """Changes in which a key that one side leaves out has its default there, where it has one."""
    old, new = (spec.model_dump(mode="json", by_alias=True) for spec in (before, after))
    return tuple(
        Change(
            one.field,
            _looked_up(old, one.field) if one.before is None else one.before,
            _looked_up(new, one.field) if one.after is None else one.after,
        )
        for one in found
    )


def steps(field: str) -> list[str]:
    """The keys and ids that a field names, from the outside in."""
    return [entry or key for entry, key in re.findall(r"\['([^']*)'\]|([^.\[\]]+)", field)]


def _looked_up(values: Any, field: str) -> Any:
    """The value at a field; None where there is none."""
    for step in steps(field):
        if isinstance(values, Mapping):
            values = values.get(step)
        elif isinstance(values, Sequence) and not isinstance(values, str):
            values = next((entry for entry in values if _entry_name(entry) == step), None)
        else:
            return None
    return values


_ABSENT: Final = object()
Ranks = Mapping[str, int]


def _changes(path: str, before: Any, after: Any, ranks: Ranks) -> Iterator[Change]:
    if _same(before, after):
        return
    if _descends(before, after):
        yield from _table_changes(path, _or_empty(before), _or_empty(after), ranks)
    elif _are_entries(before) and _are_entries(after):
        yield from _entry_changes(path, before, after, ranks)
    else:
        yield Change(path, _plain(before), _plain(after))


def _same(before: Any, after: Any) -> bool:
    """Whether two JSON values are the same: true is not 1, and a table has no order."""
    if before is _ABSENT or after is _ABSENT:
        return before is after
    return json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)


def _descends(before: Any, after: Any) -> bool:
    """Whether both sides are tables, or one is and the other is absent."""
    tables = [value for value in (before, after) if isinstance(value, Mapping)]
    absent = [value for value in (before, after) if value is _ABSENT]
    return len(tables) == 2 or (len(tables) == 1 and len(absent) == 1 and bool(tables[0]))


def _table_changes(
    path: str, before: Mapping[str, Any], after: Mapping[str, Any], ranks: Ranks
) -> Iterator[Change]:
    names = list(dict.fromkeys([*after, *before]))
    for name in sorted(names, key=lambda name: ranks.get(name, len(ranks))):
        inner = ranks if path else _ranks_within(name)
        place = f"{path}.{name}" if path else name
        yield from _changes(place, before.get(name, _ABSENT), after.get(name, _ABSENT), inner)


def _entry_changes(
    path: str, before: Sequence[Any], after: Sequence[Any], ranks: Ranks
) -> Iterator[Change]:
    old = {_entry_name(entry): entry for entry in before}
    new = {_entry_name(entry): entry for entry in after}
    for name in dict.fromkeys([*new, *old]):
        place = f"{path}['{name}']"
        if name in old and name in new:
            yield from _changes(place, old[name], new[name], ranks)
        else:
            yield Change(place, _plain(old.get(name, _ABSENT)), _plain(new.get(name, _ABSENT)))
    order_before = [name for name in old if name in new]
    order_after = [name for name in new if name in old]
    if order_before != order_after:
        yield Change(f"order of {path}", order_before, order_after)


def _are_entries(value: Any) -> bool:
    """Whether a value is a list whose entries can be told apart by id, one of them a table."""
    if not isinstance(value, list | tuple) or not value:
        return False
    names = [_entry_name(entry) for entry in value]
    tables = any(isinstance(entry, Mapping) for entry in value)
    return tables and None not in names and len(set(names)) == len(names)


def _entry_name(entry: Any) -> str | None:
    name = entry.get("id") if isinstance(entry, Mapping) else entry
    return name if isinstance(name, str) else None


def _or_empty(value: Any) -> Mapping[str, Any]:
    return {} if value is _ABSENT else value


def _plain(value: Any) -> Any:
    return None if value is _ABSENT else value


@cache
def _section_ranks() -> Ranks:
    return {name: rank for rank, name in enumerate(SECTIONS)}


@cache
def _ranks_within(section: str) -> Ranks:
    """Rank of each key of a section in the order of the spec, its inner keys after its own."""
    field = SECTIONS.get(section)
    names = _keys(field.annotation) if field is not None else ()
    return {name: rank for rank, name in enumerate(dict.fromkeys(names))}


def _keys(annotation: Any) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        yield from (field.alias or name for name, field in fields.items())
        annotations = [field.annotation for field in fields.values()]
    else:
        annotations = list(get_args(annotation))
    for inner in annotations:
        yield from _keys(inner)


# The canonical form of a spec and its hash: what is registered.

CANONICAL_VERSION = 1


def canonical_dict(spec: StudySpec) -> dict[str, Any]:
    """The spec as plain values. Comments, order of keys and spelled-out defaults do not matter."""
    values = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {"canonical_version": CANONICAL_VERSION, **values}


def spec_of(canonical: Mapping[str, Any]) -> StudySpec:
    """The spec of a canonical form."""
    values = {name: value for name, value in canonical.items() if name != "canonical_version"}
    return StudySpec.model_validate(values)


def canonical_json(spec: StudySpec) -> str:
    """The canonical form as JSON text, keys sorted."""
    return json.dumps(
        canonical_dict(spec), sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )


def spec_hash(spec: StudySpec) -> str:
    """SHA-256 of the canonical form."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()
