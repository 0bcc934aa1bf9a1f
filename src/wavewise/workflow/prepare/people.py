"""``people import``: the units, from a file, all or none."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as with_
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.errors import InputError
from wavewise.fieldwork.people import check_people
from wavewise.store.frames import decode_json_rows
from wavewise.workflow.contacts.contacts import (
    encrypted_contacts,
    local_note,
    local_numbers,
    without_erased,
)
from wavewise.workflow.contacts.keys import find_key_ring
from wavewise.workflow.files import Table, read_data
from wavewise.workflow.frames import forget_units
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.design.spec import Units
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

    def facts(self) -> dict[str, Any]:
        """Numbers, faults, columns."""
        names = ("n_imported", "n_bad", "n_contacts", "n_faults", "faults", "columns_left_out")
        facts = {name: getattr(self, name) for name in (*names, "covariates", "notes")}
        return {name: list(x) if isinstance(x, tuple) else x for name, x in facts.items()}

    def summary(self) -> str:
        """What was imported, what was left out and why."""
        lines = [f"Imported {self.n_imported:,} {self.units} from {self.source}."]
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
        return "\n".join([*lines, *self.notes])


def import_people(
    study: Study,
    data: Any,
    *,
    skip_bad: bool = False,
    replace: bool = False,
    key_file: Path | None = None,
    encoding: str = "utf-8",
) -> PeopleImport:
    """Units from a CSV or Parquet file, or from a data frame."""
    ring = find_key_ring(key_file)
    table = read_people(study, data, encoding)
    people = checked_people(study, table)
    if not (skip_bad and people.units.height):
        people.raise_if_bad()
    if replace:
        _require_same_design(study, people.units)
    addresses = _addresses(study, table, people)
    encrypted = encrypted_contacts(people.units["unit_id"], addresses, ring) if ring else None
    if encrypted is not None:
        encrypted = without_erased(study, encrypted)
    study.store.units.add(
        people.units,
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
        notes=tuple(people.notes),
    )


def _addresses(study: Study, table: Table, people: "People") -> dict[str, pl.Series]:
    """Channel: address of each good row, for the channels whose column is in the file."""
    bad = pl.Series(people.bad_rows - table.first_row, dtype=pl.UInt32)
    rows = table.frame.with_row_index("place").filter(~pl.col("place").is_in(bad.implode()))
    return {
        channel: rows[name].cast(pl.String)
        for channel, name in study.spec.units.address.items()
        if name in table.frame.columns
    }


def _require_same_design(study: Study, units: pl.DataFrame) -> None:
    """Strata, covariates and groups of units that were randomized on them must stay."""
    drawn = [
        study.store.waves.assignment(row.wave_id)["unit_id"] for row in study.store.waves.all()
    ]
    if not drawn:
        return
    members = pl.concat(drawn).unique()
    new = units.filter(pl.col("unit_id").is_in(members.implode()))
    old = study.store.units.all().join(new.select("unit_id"), on="unit_id", how="semi")
    named = study.spec.units
    fixed = [*named.strata, *named.covariates, *filter(None, [named.randomize_by])]
    before, after = (_design_columns(frame, fixed) for frame in (old, new))
    n_changed = after.join(before, on=after.columns, how="anti", nulls_equal=True).height
    if n_changed:
        raise InputError(
            f"found other strata, covariates or groups for {n_changed:,} {named.name} of waves "
            "that were randomized on them; needed them as they were; nothing was imported; to "
            "change addresses alone use `wavewise contacts import`"
        )


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
    study: Study, data: Any, encoding: str = "utf-8", *, ids_only: bool = False
) -> Table:
    """The table of a file or frame; with record numbers as ids where the spec asks for them.

    With ``ids_only`` the other columns of the people may be missing.
    """
    units = study.spec.units
    wanted = (units.id,) if ids_only else units.columns()
    needed = [column for column in wanted if column != ROW_ID]
    table = read_data(data, encoding=encoding, columns_needed=tuple(needed))
    if units.id == ROW_ID and ROW_ID not in table.frame.columns:
        numbers = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
        frame = table.frame.with_columns(numbers.cast(pl.String).alias(ROW_ID))
        table = with_(table, frame=frame)
    return table


def checked_people(study: Study, table: Table) -> "People":
    """The units of a table, with every fault."""
    units: Units = study.spec.units
    return check_people(
        table.frame,
        id=units.id,
        strata=units.strata,
        covariates=units.covariates,
        fields=units.fields,
        cluster=units.error_cluster,
        randomize_by=units.randomize_by,
        time_zone=units.time_zone,
        language=units.language,
        levels=units.levels,
        default_time_zone=study.spec.study.time_zone,
        first_row=table.first_row,
        name=f"{table.name}: nothing was imported",
    )
