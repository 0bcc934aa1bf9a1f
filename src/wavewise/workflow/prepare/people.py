"""``people import``: the units, from a file, all or none."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as with_
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.errors import InputError, StateError
from wavewise.fieldwork.data_check import languages_without_text
from wavewise.fieldwork.files.faults import MOST_SHOWN
from wavewise.fieldwork.people import check_people
from wavewise.store.frames import decode_json_rows
from wavewise.workflow.contacts.contacts import (
    checked_contacts,
    encrypted_contacts,
    local_note,
    local_numbers,
    without_erased,
    without_erased_fields,
)
from wavewise.workflow.contacts.keys import find_key_ring
from wavewise.workflow.files import (
    FileRead,
    Table,
    column_facts,
    columns_table,
    file_read,
    read_data,
    reading_of,
)
from wavewise.workflow.frames import forget_units
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.design.spec import Reading, Units
    from wavewise.fieldwork.people import People

__all__ = ["ROW_ID", "PeopleImport", "checked_people", "import_people", "read_people"]

ROW_ID = "row"  # units.id = "row": the number of the record in the file stands for an id


@dataclass(frozen=True, eq=False)
class PeopleImport(VerbResult):
    """Units that were imported, and what was left out."""

    source: str  # The file's name, or that it was a frame.
    units: str  # What the study calls them.
    n_imported: int
    n_bad: int  # Rows that were left out.
    n_contacts: int | None  # Contact details that were kept; None: there was no key for them.
    n_local_numbers: int  # Phone numbers without their country's code.
    n_faults: int
    faults: tuple[Mapping[str, Any], ...]
    fault_lines: tuple[str, ...]  # The same faults as sentences.
    columns_left_out: tuple[str, ...]
    contact_columns: tuple[str, ...]  # Columns of addresses that are there.
    covariates: Mapping[str, str]  # Covariate: how it was read.
    notes: tuple[str, ...]
    columns: tuple[Mapping[str, Any], ...] = ()  # How each column was read.
    as_of: str | None = None  # Day on which the columns were measured, where they have a date.

    def facts(self) -> dict[str, Any]:
        """Numbers, faults, columns."""
        names = ("n_imported", "n_bad", "n_contacts", "n_faults", "faults", "columns_left_out")
        facts = {name: getattr(self, name) for name in (*names, "covariates", "notes", "columns")}
        facts |= {"as_of": self.as_of} if self.as_of else {}
        return {name: list(x) if isinstance(x, tuple) else x for name, x in facts.items()}

    def summary(self) -> str:
        """What was imported, what was left out and why."""
        dated = f", as of {self.as_of}" if self.as_of else ""
        lines = [f"Imported {self.n_imported:,} {self.units} from {self.source}{dated}."]
        if self.n_bad:
            lines += [f"Left out {self.n_bad:,} bad rows:", *(f"  {x}" for x in self.fault_lines)]
        contact = [name for name in self.columns_left_out if name in self.contact_columns]
        unused = [name for name in self.columns_left_out if name not in contact]
        if contact and self.n_contacts is None:
            lines.append(
                f"Contact details were left out and not stored: {', '.join(contact)}. To keep "
                "them encrypted, give --key-file (`wavewise contacts make-key FILE` makes one)."
            )
        elif self.n_contacts is not None and self.contact_columns:
            note = local_note(self.n_local_numbers)
            lines.append(f"{self.n_contacts:,} contact details kept apart, encrypted.{note}")
        if unused:
            lines.append(f"Columns that the study does not use: {', '.join(unused)}.")
        return "\n".join(
            [*lines, *(f"Note: {x}." for x in self.notes), columns_table(self.columns)]
        )


def import_people(
    study: Study,
    data: Any,
    *,
    skip_bad: bool = False,
    replace: bool = False,
    as_of: date | str | None = None,
    for_wave: str | None = None,
    key_file: Path | None = None,
    skip_bad_contacts: bool = False,
    dry_run: bool = False,
    encoding: str | None = None,
    reading: Mapping[str, Any] | None = None,
) -> PeopleImport | FileRead:
    """Units from a file of any kind, or from a data frame; or columns of them with a date."""
    if as_of is not None or for_wave is not None:
        day = _measured_on(study, as_of, for_wave, replace=replace)
        how = reading_of(study, "people", encoding, reading)
        table = read_people(study, data, how, ids_only=True)
        return _measure(study, table, day, for_wave, skip_bad=skip_bad, dry_run=dry_run)
    return _import_rows(
        study,
        data,
        skip_bad=skip_bad,
        replace=replace,
        key_file=key_file,
        skip_bad_contacts=skip_bad_contacts,
        dry_run=dry_run,
        reading=reading_of(study, "people", encoding, reading),
    )


def _import_rows(
    study: Study,
    data: Any,
    *,
    skip_bad: bool,
    replace: bool,
    key_file: Path | None,
    skip_bad_contacts: bool,
    dry_run: bool,
    reading: "Reading",
) -> PeopleImport | FileRead:
    """Whole rows of the people file."""
    ring = find_key_ring(key_file)
    table = read_people(study, data, reading)
    people = checked_people(study, table)
    contacts = checked_contacts(study, table, skip_bad=skip_bad_contacts)
    if dry_run:
        return file_read(
            table,
            (*people.reads, *contacts.reads),
            (*people.faults, *contacts.log.faults)[:MOST_SHOWN],
            people.n_faults + contacts.log.n,
            *people.notes,
            *language_notes(study, people),
            *contacts.notes,
            *left_out_notes(study, people),
        )
    if not (skip_bad and people.units.height):
        people.raise_if_bad()
    if ring is not None:
        contacts.log.raise_if_any(f"{table.name}: nothing was imported")
    remeasured = _remeasured_note(study, people.units) if replace else []
    addresses, encrypted = _of_good_rows(contacts.addresses, table, people), None
    if ring is not None:
        encrypted = encrypted_contacts(people.units["unit_id"], addresses, ring)
        encrypted = without_erased(study, encrypted)
    study.store.units.add(
        without_erased_fields(study, people.units),
        imported_at=study.clock(),
        replace=replace,
        contacts=encrypted,
        channels=list(addresses),
    )
    forget_units(study)
    return PeopleImport(
        source=table.name,
        units=study.spec.units.name,
        n_imported=people.units.height,
        n_bad=len(people.bad_rows),
        n_contacts=None if encrypted is None else encrypted.height,
        n_local_numbers=local_numbers(addresses),
        n_faults=people.n_faults,
        faults=tuple(fault.to_dict() for fault in people.faults),
        fault_lines=tuple(map(str, people.faults)),
        columns_left_out=tuple(people.left_out),
        contact_columns=tuple(
            name for channel, name in study.spec.units.address.items() if channel in addresses
        ),
        covariates=dict(people.kinds),
        notes=(
            *table.notes,
            *people.notes,
            *language_notes(study, people),
            *(contacts.notes if ring else ()),
            *remeasured,
        ),
        columns=column_facts((*people.reads, *(contacts.reads if ring else ()))),
    )


# Columns that were measured again: they have a date, and go before those of the people file.


def _measured_on(
    study: Study, as_of: date | str | None, for_wave: str | None, *, replace: bool
) -> date:
    """The day of a measurement; refused where it cannot have one."""
    if replace or (as_of is not None and for_wave is not None):
        found = "replace beside a date" if replace else "both a day and a wave"
        raise InputError(
            f"found {found}; needed one of --as-of DATE, --for-wave WAVE and --replace; nothing "
            "was imported; with a date the people file's rows stay as they are"
        )
    if for_wave is not None:
        wave, row = study.wave(for_wave), study.store.waves.get(for_wave)
        if row is not None:
            raise StateError(
                f"wave '{for_wave}' was opened {row.opened_at:%Y-%m-%d %H:%M} UTC, and what its "
                "units looked like is frozen; needed a wave that is not open; nothing was "
                "imported; for later waves, give the day with --as-of DATE"
            )
        return wave.starts
    try:
        day = as_of if isinstance(as_of, date) else date.fromisoformat(str(as_of))
    except ValueError:
        raise InputError(
            f"found {as_of!r} as a date; needed one such as 2023-11-13; nothing was imported"
        ) from None
    if day > study.clock().date() + timedelta(days=1):
        raise InputError(
            f"found the day {day}, which is yet to come; needed the day on which the columns were "
            "measured; nothing was imported"
        )
    return day


def _measure(
    study: Study, table: Table, day: date, for_wave: str | None, *, skip_bad: bool, dry_run: bool
) -> PeopleImport | FileRead:
    """Keep columns of units as of a day."""
    people = _checked_columns(study, table)
    if dry_run:
        return file_read(table, people.reads, people.faults, people.n_faults, *people.notes)
    if not (skip_bad and people.units.height):
        people.raise_if_bad()
    n_unknown = int((~people.units["unit_id"].is_in(study.store.units.ids().implode())).sum())
    if n_unknown:
        raise InputError(
            f"{table.name}: found {n_unknown:,} of {people.units.height:,} rows of units that were "
            "not imported; needed units of the study; nothing was imported; import them first "
            f"with `wavewise people import {study.folder} FILE`, or leave them out"
        )
    study.store.units.measure(
        people.units,
        study.clock(),
        as_of=day if for_wave is None else None,
        for_wave=for_wave,
    )
    drawn = {row.wave_id for row in study.store.waves.all()}
    late = [wave.id for wave in study.spec.waves if wave.id in drawn and wave.starts >= day]
    kept = [f"waves {', '.join(late)} were drawn before, and keep what was frozen then"]
    return PeopleImport(
        source=table.name,
        units=study.spec.units.name,
        n_imported=people.units.height,
        n_bad=len(people.bad_rows),
        n_contacts=None,
        n_local_numbers=0,
        n_faults=people.n_faults,
        faults=tuple(fault.to_dict() for fault in people.faults),
        fault_lines=tuple(map(str, people.faults)),
        columns_left_out=tuple(people.left_out),
        contact_columns=(),
        covariates=dict(people.kinds),
        notes=(*table.notes, *people.notes, *(kept if late else ())),
        columns=column_facts(people.reads),
        as_of=day.isoformat() if for_wave is None else f"{day} (wave {for_wave})",
    )


def _checked_columns(study: Study, table: Table) -> "People":
    """The strata, covariates and fields that a table has, checked as those of a people file."""
    spec, there = study.spec, {*table.frame.columns} - study.spec.made_columns
    units = spec.units
    groups = {units.id, units.cluster, units.randomize_by, units.time_zone, units.language}
    strata, covariates = (
        tuple(dict.fromkeys(c for names in lists for c in names if c in there - groups))
        for lists in (
            (units.strata, *map(spec.strata_of, spec.waves)),
            (units.covariates, spec.analysis.effects.covariates,
             *map(spec.covariates_of, spec.waves)),
        )
    )  # fmt: skip
    texts = tuple(name for name in (*units.fields, *spec.design_columns) if name in there - groups)
    if not (strata or covariates or texts):
        raise InputError(
            f"{table.name}: found no column of the study beside the id; needed strata, covariates "
            "or fields; nothing was imported; groups, time zones and languages have no date: "
            "change them with --replace"
        )
    return check_people(
        table.frame,
        id=units.id,
        strata=strata,
        covariates=covariates,
        fields=texts,
        levels=units.levels,
        first_row=table.first_row,
        name=f"{table.name}: nothing was imported",
        reading=table.reading,
        separator=table.separator,
    )


def language_notes(study: Study, people: "People") -> list[str]:
    """A sentence on the languages of units in which no message has a text."""
    texts = [language for one in study.spec.messages for language in one.text]
    counts = people.units["language"].value_counts(name="n")
    found = languages_without_text(counts, texts, people=study.spec.units.name)
    return [] if found.verdict == "pass" else [found.text[0].lower() + found.text[1:-1]]


def left_out_notes(study: Study, people: "People") -> list[str]:
    """A sentence on the columns that the study does not use."""
    unused = [c for c in people.left_out if c not in study.spec.units.address.values()]
    return [f"columns that the study does not use: {', '.join(unused)}"] if unused else []


def _of_good_rows(
    addresses: Mapping[str, pl.Series], table: Table, people: "People"
) -> dict[str, pl.Series]:
    """Channel: address of each good row, for the channels whose column is in the file."""
    is_good = pl.Series([True]).new_from_index(0, table.frame.height)
    is_good = is_good.scatter(people.bad_rows - table.first_row, False)
    return {channel: column.filter(is_good) for channel, column in addresses.items()}


def _remeasured_note(study: Study, units: pl.DataFrame) -> list[str]:
    """That units of drawn waves have other strata, covariates or groups than they had."""
    drawn = [
        study.store.waves.assignment(row.wave_id)["unit_id"] for row in study.store.waves.all()
    ]
    if not drawn:
        return []
    members = pl.concat(drawn).unique()
    new = units.filter(pl.col("unit_id").is_in(members.implode()))
    old = study.store.units.all().join(new.select("unit_id"), on="unit_id", how="semi")
    named = study.spec.units
    fixed = [*named.strata, *named.covariates, *filter(None, [named.randomize_by])]
    before, after = (_design_columns(frame, fixed) for frame in (old, new))
    both = [name for name in after.columns if name in before.columns]
    added = [name for name in fixed if f"f{fixed.index(name)}" not in before.columns]
    n_changed = after.join(before, on=both, how="anti", nulls_equal=True).height
    notes = [f"new for waves that were drawn before: {', '.join(added)}"] if added else []
    if n_changed:
        notes.append(
            f"{n_changed:,} {named.name} of drawn waves have other strata, covariates or groups: "
            "those waves keep what they were drawn with, later ones take the new values as of "
            f"{study.clock():%Y-%m-%d}"
        )
    return notes


def _design_columns(frame: pl.DataFrame, fixed: list[str]) -> pl.DataFrame:
    rows = frame.sort("unit_id")
    fields = decode_json_rows(rows["fields_json"])
    values = {
        f"f{i}": fields[name].cast(pl.Float64) if fields[name].dtype.is_numeric() else fields[name]
        for i, name in enumerate(fixed)
        if name in fields.columns
    }
    return pl.DataFrame({"unit_id": rows["unit_id"], "cluster": rows["cluster"], **values})


def read_people(
    study: Study, data: Any, reading: "Reading | None" = None, *, ids_only: bool = False
) -> Table:
    """The table of a file or frame; with record numbers as ids where the spec asks for them.

    With ``ids_only`` the other columns of the people may be missing.
    """
    units = study.spec.units
    wanted = (units.id,) if ids_only else study.spec.people_columns
    needed = [column for column in wanted if column != ROW_ID]
    table = read_data(data, reading, columns_needed=tuple(needed))
    if units.id == ROW_ID and ROW_ID not in table.frame.columns:
        numbers = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
        frame = table.frame.with_columns(numbers.cast(pl.String).alias(ROW_ID))
        table = with_(table, frame=frame)
    return table


def checked_people(study: Study, table: Table) -> "People":
    """The units of a table, with every fault."""
    units: Units = study.spec.units
    made = study.spec.made_columns
    strata, covariates, fields = (
        tuple(name for name in names if name not in made)
        for names in (units.strata, units.covariates, units.fields)
    )
    return check_people(
        table.frame,
        id=units.id,
        strata=strata,
        covariates=covariates,
        fields=fields,
        cluster=units.error_cluster,
        randomize_by=units.randomize_by,
        time_zone=units.time_zone,
        language=units.language,
        levels=units.levels,
        default_time_zone=study.spec.study.time_zone,
        first_row=table.first_row,
        name=f"{table.name}: nothing was imported",
        reading=table.reading,
        separator=table.separator,
    )
