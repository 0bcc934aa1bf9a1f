"""``wave import``: a wave that ran elsewhere, with its assignment and its outcomes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from wavewise.design.canonical import spec_hash
from wavewise.design.shares import planned_shares
from wavewise.design.waves import Imported, Wave
from wavewise.errors import InputError, StateError
from wavewise.fieldwork.cells import Cells
from wavewise.fieldwork.faults import FaultLog
from wavewise.fieldwork.files import first_row
from wavewise.fieldwork.imported import (
    imported_arms,
    imported_numbers,
    imported_propensity,
    imported_yes_no,
)
from wavewise.results import CheckResult, hash_arrays
from wavewise.store import WaveRow
from wavewise.store.packed import packed
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.frames import UnitData, remember_units, unit_data, units_of_wave
from wavewise.workflow.open_wave import opening_checks, window_start
from wavewise.workflow.people import checked_people, read_people_file
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.fieldwork.people import People

__all__ = ["import_wave"]


def import_wave(
    study: Study, wave_id: str, path: Path, *, exploratory: bool = False, encoding: str = "utf-8"
) -> Done:
    """Assignment and outcomes of a wave from a file with one row a unit.

    Where no units are imported yet, they are taken from the same file.

    Parameters
    ----------
    study : Study
        An open study whose units are imported.
    wave_id : str
        A wave whose spec says ``imported``.
    path : Path
        CSV or Parquet. Rows of units that are not the wave's are passed over.
    exploratory : bool
        Import although the spec is not registered; this marks everything after it.
    encoding : str
        Of a text file.

    Raises
    ------
    InputError
        With every bad row; nothing was imported.
    StateError
        If the wave is there already, or its spec does not say ``imported``.
    """
    wave = study.wave(wave_id)
    columns = _imported(wave)
    version = study.require_registered(exploratory=exploratory)
    known = study.store.n_units() > 0
    table = read_people_file(study, path, encoding, ids_only=known)
    people = _people_of_file(study, table, path)
    units = units_of_wave(study, wave, unit_data(study))
    rows = _rows(study, wave, table, units, path)
    units = units.where(units.ids.is_in(rows["unit_id"].implode()))
    drawn = _read(study, wave, columns, rows, path).with_columns(
        unit_id=units.ids, stratum=units.stratum(study.spec)
    )
    drawn = drawn.with_columns(_propensity(study, wave, columns, drawn))
    checks = _checks(study, wave, units, drawn["arm"])
    names = [name for name in drawn.columns if name.removesuffix(".trials") in columns.outcomes]
    outcomes = drawn.select("unit_id", values_json=packed(drawn.select(names)))
    row = _wave_row(study, wave, version, drawn, checks)
    if people is not None:
        study.store.add_units(people.units, imported_at=study.clock())
    study.store.open_wave(row, drawn.select("unit_id", "stratum", "arm", "propensity"), outcomes)
    return _told(study, wave, path, row)


def _imported(wave: Wave) -> Imported:
    if wave.imported is None:
        raise StateError(
            f"wave '{wave.id}' is to be randomized here; needed one whose spec says `imported`; "
            "add it, with the columns of the file"
        )
    return wave.imported


def _people_of_file(study: Study, table: pl.DataFrame, path: Path) -> "People | None":
    """The file's units, checked and not yet written, where none are imported."""
    if study.store.n_units():
        return None
    people = checked_people(study, table, path)
    people.raise_if_bad()
    remember_units(study, people.units)
    return people


def _rows(
    study: Study, wave: Wave, table: pl.DataFrame, units: UnitData, path: Path
) -> pl.DataFrame:
    """The file's row of each of the wave's units, with its number, in the order of their ids."""
    if not len(units):
        raise InputError(
            f"wave '{wave.id}' has no imported units; run `wavewise people import {study.folder} "
            f"{path}` first"
        )
    spec_id = study.spec.units.id
    rows = table.with_row_index("row:number", offset=first_row(path))
    rows = rows.with_columns(pl.col(spec_id).cast(pl.String).alias("unit_id"))
    rows = rows.filter(pl.col("unit_id").is_in(units.ids.implode())).sort("unit_id")
    n_repeated = rows.height - rows["unit_id"].n_unique()
    if n_repeated or not rows.height:
        found = f"{n_repeated} repeated units" if n_repeated else "none of the wave's units"
        raise InputError(f"{path.name}: found {found}; needed one row a unit; nothing was imported")
    return rows


def _read(
    study: Study, wave: Wave, columns: Imported, rows: pl.DataFrame, path: Path
) -> pl.DataFrame:
    """Arm, outcomes and propensity of each row.

    Raises
    ------
    InputError
        With every bad row and its column.
    """
    log = FaultLog()
    cells = Cells(rows, log, first_row(path), numbers=rows["row:number"])
    wanted = [columns.arm, *columns.outcomes.values(), *filter(None, [columns.propensity])]
    read: dict[str, pl.Series] = {}
    if cells.has(*wanted):
        ids = {arm.id: arm.id for arm in study.spec.arms_of(wave)}
        read["arm"] = imported_arms(cells, columns.arm, ids | columns.arm_names)
        for outcome in study.spec.outcomes:
            if outcome.id in columns.outcomes:
                reader = imported_yes_no if outcome.kind == "any" else imported_numbers
                read[outcome.id] = reader(cells, columns.outcomes[outcome.id])
        if columns.propensity is not None:
            read["propensity"] = imported_propensity(cells, columns.propensity)
    log.raise_if_any(f"{path.name}: nothing was imported")
    trials = {
        f"{outcome.id}.trials": pl.lit(study.spec.trials(outcome, wave), pl.Float64)
        for outcome in study.spec.outcomes
        if outcome.id in read and outcome.kind == "successes"
    }
    return pl.DataFrame(read).with_columns(**trials)


def _propensity(study: Study, wave: Wave, columns: Imported, drawn: pl.DataFrame) -> pl.Series:
    """Probability of the arm that was drawn: the file's, or the planned share; null if unknown."""
    if columns.propensity is not None:
        return drawn["propensity"]
    shares = planned_shares(study.spec, wave)
    if shares is None:
        return pl.repeat(None, drawn.height, dtype=pl.Float64, eager=True).alias("propensity")
    flat, keys = _flat(shares, drawn)
    found = keys.replace_strict(flat, default=None, return_dtype=pl.Float64)
    return found.alias("propensity")


def _flat(
    shares: Mapping[str, float] | Mapping[str, Mapping[str, float]], drawn: pl.DataFrame
) -> tuple[dict[str, float], pl.Series]:
    """Shares by one key, and that key of each row: the arm, or stratum and arm."""
    by_arm = {arm: share for arm, share in shares.items() if isinstance(share, float)}
    if by_arm:
        return by_arm, drawn["arm"]
    by_both = {
        f"{stratum}\x1f{arm}": share
        for stratum, row in shares.items()
        if isinstance(row, Mapping)
        for arm, share in row.items()
    }
    return by_both, drawn["stratum"] + "\x1f" + drawn["arm"]


def _checks(study: Study, wave: Wave, units: UnitData, arm: pl.Series) -> list[CheckResult]:
    shares = planned_shares(study.spec, wave)
    return opening_checks(study, units, arm, shares)


def _wave_row(
    study: Study, wave: Wave, version: int | None, drawn: pl.DataFrame, checks: list[CheckResult]
) -> WaveRow:
    arms = [arm.id for arm in study.spec.arms_of(wave)]
    counts = dict(drawn["arm"].value_counts().iter_rows())
    details = {
        "imported": True,
        "arms": arms,
        "shares": planned_shares(study.spec, wave),
        "counts": [{"arm": arm, "n_units": counts.get(arm, 0)} for arm in arms],
        "spec_hash": spec_hash(study.spec),
        "assignment_hash": hash_arrays(unit=drawn["unit_id"], arm=drawn["arm"]),
        "checks": [check.to_dict() for check in checks],
    }
    return WaveRow(
        wave_id=wave.id,
        opened_at=study.clock(),
        version=version,
        exploratory=version is None or study.is_exploratory,
        starts_at=window_start(study, wave),
        details=details,
    )


def _told(study: Study, wave: Wave, path: Path, row: WaveRow) -> Done:
    counts = {count["arm"]: count["n_units"] for count in row.details["counts"]}
    n_units, name = sum(counts.values()), study.spec.units.name
    mark = " EXPLORATORY: the spec is not registered." if row.exploratory else ""
    lines = [
        f"Imported wave {wave.id} from {path.name}: {n_units:,} {name}.{mark}",
        text_table(["arm", "assigned"], counts.items()),
        *(f"{c['name']}: {c['verdict']}. {c['text']}" for c in row.details["checks"]),
    ]
    facts = {
        "wave": wave.id,
        "n_units": n_units,
        "counts": counts,
        "exploratory": row.exploratory,
        "checks": row.details["checks"],
    }
    return Done("\n".join(lines), facts)
