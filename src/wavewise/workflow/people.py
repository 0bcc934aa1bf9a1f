"""``people import``: the units, from a file, all or none."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from wavewise.errors import InputError
from wavewise.fieldwork.files import first_row, read_table
from wavewise.fieldwork.people import check_people
from wavewise.store.packed import unpack
from wavewise.workflow.contacts import local_note, sealed_contacts, without_erased
from wavewise.workflow.done import Done
from wavewise.workflow.frames import forget_units
from wavewise.workflow.keys import find_key_ring
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.design.spec import Units
    from wavewise.fieldwork.people import People

__all__ = ["ROW_ID", "checked_people", "import_people", "read_people_file"]

ROW_ID = "row"  # units.id = "row": the number of the record in the file stands for an id


def import_people(
    study: Study,
    path: Path,
    *,
    skip_bad: bool = False,
    replace: bool = False,
    key_file: Path | None = None,
    encoding: str = "utf-8",
) -> Done:
    """Units from a CSV or Parquet file.

    Parameters
    ----------
    study : Study
        An open study.
    path : Path
        The file.
    skip_bad : bool
        Import the sound rows where some are bad. Otherwise nothing is imported then.
    replace : bool
        Units that are known take the new row; those of an open or closed wave must keep what they
        were randomized on. Refusals stay.
    key_file : Path, optional
        Key file for contact details; by default that of the environment. Without a key they are
        left out.
    encoding : str
        Of a text file.

    Raises
    ------
    InputError
        With every bad row and its column; nothing was imported.
    """
    ring = find_key_ring(key_file)
    table = read_people_file(study, path, encoding)
    people = checked_people(study, table, path)
    if not (skip_bad and people.units.height):
        people.raise_if_bad()
    if replace:
        _refuse_changed_design(study, people.units)
    addresses = _addresses(study, table, people, path)
    sealed = sealed_contacts(people.units["unit_id"], addresses, ring) if ring else None
    if sealed is not None:
        sealed = without_erased(study, sealed)
    study.store.add_units(
        people.units,
        imported_at=study.clock(),
        replace=replace,
        contacts=sealed,
        channels=list(addresses),
    )
    forget_units(study)
    return _told(study, path, people, None if sealed is None else sealed.height, addresses)


def _addresses(
    study: Study, table: pl.DataFrame, people: "People", path: Path
) -> dict[str, pl.Series]:
    """Channel: address of each good row, for the channels whose column is in the file."""
    bad = pl.Series(people.bad_rows - first_row(path), dtype=pl.UInt32)
    rows = table.with_row_index("place").filter(~pl.col("place").is_in(bad.implode()))
    return {
        channel: rows[name].cast(pl.String)
        for channel, name in study.spec.units.address.items()
        if name in table.columns
    }


def _refuse_changed_design(study: Study, units: pl.DataFrame) -> None:
    """Refuse other strata, covariates or groups of units that were randomized on them."""
    drawn = [study.store.assignment(row.wave_id)["unit_id"] for row in study.store.waves()]
    if not drawn:
        return
    members = pl.concat(drawn).unique()
    new = units.filter(pl.col("unit_id").is_in(members.implode()))
    old = study.store.units().join(new.select("unit_id"), on="unit_id", how="semi")
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
    fields = unpack(rows["fields_json"])
    values = {
        f"f{i}": fields[name].cast(pl.Float64) if fields[name].dtype.is_numeric() else fields[name]
        for i, name in enumerate(fixed)
        if name in fields.columns
    }
    return pl.DataFrame({"unit_id": rows["unit_id"], "cluster": rows["cluster"], **values})


def read_people_file(
    study: Study, path: Path, encoding: str = "utf-8", *, ids_only: bool = False
) -> pl.DataFrame:
    """The file's table; with record numbers as ids where the spec asks for them.

    With ``ids_only`` the other columns of the people may be missing.
    """
    units = study.spec.units
    wanted = (units.id,) if ids_only else units.columns()
    needed = [column for column in wanted if column != ROW_ID]
    table = read_table(path, encoding=encoding, columns_needed=tuple(needed))
    if units.id == ROW_ID and ROW_ID not in table.columns:
        numbers = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
        table = table.with_columns(numbers.cast(pl.String).alias(ROW_ID))
    return table


def checked_people(study: Study, table: pl.DataFrame, path: Path) -> "People":
    """The units of a file's table, with every fault."""
    units: Units = study.spec.units
    return check_people(
        table,
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
        first_row=first_row(path),
        name=f"{path.name}: nothing was imported",
    )


def _told(
    study: Study,
    path: Path,
    people: "People",
    n_sealed: int | None,
    addresses: Mapping[str, pl.Series],
) -> Done:
    n_imported, n_bad = people.units.height, len(people.bad_rows)
    lines = [f"Imported {n_imported:,} {study.spec.units.name} from {path.name}."]
    if n_bad:
        lines += [f"Left out {n_bad:,} bad rows:", *(f"  {fault}" for fault in people.faults)]
    contact = [name for name in people.left_out if name in study.spec.units.address.values()]
    unused = [name for name in people.left_out if name not in contact]
    if contact and n_sealed is None:
        lines.append(
            f"Contact details were left out, and are nowhere kept: {', '.join(contact)}. To keep "
            "them sealed, give --key-file (`wavewise contacts make-key FILE` makes one)."
        )
    elif n_sealed is not None and addresses:
        lines.append(f"{n_sealed:,} contact details kept apart, sealed.{local_note(addresses)}")
    if unused:
        lines.append(f"Columns that the study does not use: {', '.join(unused)}.")
    facts = {
        "n_imported": n_imported,
        "n_bad": n_bad,
        "n_contacts": n_sealed,
        "n_faults": people.n_faults,
        "faults": [fault.to_dict() for fault in people.faults],
        "columns_left_out": list(people.left_out),
        "covariates": dict(people.kinds),
        "notes": list(people.notes),
    }
    return Done("\n".join([*lines, *people.notes]), facts)
