"""``people import``: the units, from a file, all or none."""

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from wavewise.fieldwork.files import first_row, read_table
from wavewise.fieldwork.people import check_people
from wavewise.workflow.done import Done
from wavewise.workflow.frames import forget_units
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.design.spec import Units
    from wavewise.fieldwork.people import People

__all__ = ["ROW_ID", "checked_people", "import_people", "read_people_file"]

ROW_ID = "row"  # units.id = "row": the number of the record in the file stands for an id


def import_people(
    study: Study, path: Path, *, skip_bad: bool = False, encoding: str = "utf-8"
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
    encoding : str
        Of a text file.

    Raises
    ------
    InputError
        With every bad row and its column; nothing was imported.
    """
    people = checked_people(study, read_people_file(study, path, encoding), path)
    if not (skip_bad and people.units.height):
        people.raise_if_bad()
    study.store.add_units(people.units, imported_at=study.clock())
    forget_units(study)
    return _told(study, path, people)


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


def _told(study: Study, path: Path, people: "People") -> Done:
    n_imported, n_bad = people.units.height, len(people.bad_rows)
    lines = [f"Imported {n_imported:,} {study.spec.units.name} from {path.name}."]
    if n_bad:
        lines += [f"Left out {n_bad:,} bad rows:", *(f"  {fault}" for fault in people.faults)]
    contact = [name for name in people.left_out if name in study.spec.units.address.values()]
    unused = [name for name in people.left_out if name not in contact]
    if contact:
        lines.append(f"Contact details were left out, and are nowhere kept: {', '.join(contact)}.")
    if unused:
        lines.append(f"Columns that the study does not use: {', '.join(unused)}.")
    facts = {
        "n_imported": n_imported,
        "n_bad": n_bad,
        "n_faults": people.n_faults,
        "faults": [fault.to_dict() for fault in people.faults],
        "columns_left_out": list(people.left_out),
        "covariates": dict(people.kinds),
        "notes": list(people.notes),
    }
    return Done("\n".join([*lines, *people.notes]), facts)
