"""``wave import``: a wave that ran elsewhere, with its assignment and its outcomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as with_
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.design.shares import planned_shares
from wavewise.design.versions import spec_hash
from wavewise.design.waves import Imported, Wave, not_randomized
from wavewise.errors import InputError, StateError
from wavewise.fieldwork.files.cells import Cells, normal_ids
from wavewise.fieldwork.files.faults import FaultLog
from wavewise.shared.results import CheckResult, hash_arrays
from wavewise.shared.text_tables import text_table
from wavewise.store import WaveRow
from wavewise.store.frames import encode_json_rows
from wavewise.workflow.files import (
    FileRead,
    Table,
    file_read,
    matched_ids,
    reading_of,
    unmatched_ids,
)
from wavewise.workflow.frames import (
    UNITS_AS_OF,
    UnitData,
    encoded_facts,
    remember_units,
    units_for,
    units_of_wave,
)
from wavewise.workflow.prepare.people import checked_people, read_people
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.open_wave import opening_checks, window_start
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.fieldwork.people import People

__all__ = ["import_wave"]


@dataclass(frozen=True, eq=False)
class ImportedWave(VerbResult):
    """A wave that ran elsewhere."""

    wave: str
    counts: Mapping[str, int]  # Arm: units.
    exploratory: bool
    checks: tuple[Mapping[str, Any], ...]
    randomized: bool  # Whether arms were drawn at random, as the study file says.
    source: str  # The file's name, or that it was a frame.
    units: str  # What the study calls them.

    def facts(self) -> dict[str, Any]:
        """Counts by arm, and checks."""
        return {
            "wave": self.wave,
            "n_units": sum(self.counts.values()),
            "counts": dict(self.counts),
            "exploratory": self.exploratory,
            "randomized": self.randomized,
            "checks": list(self.checks),
        }

    def summary(self) -> str:
        """Counts by arm, and checks."""
        mark = " EXPLORATORY: the spec is not registered." if self.exploratory else ""
        mark += "" if self.randomized else " OBSERVATIONAL: its arms were not randomized."
        n_units = sum(self.counts.values())
        return "\n".join(
            [
                f"Imported wave {self.wave} from {self.source}: {n_units:,} {self.units}.{mark}",
                text_table(["arm", "assigned"], self.counts.items()),
                *(f"{one['name']}: {one['verdict']}. {one['text']}" for one in self.checks),
            ]
        )

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame({"arm": list(self.counts), "n_units": list(self.counts.values())})


def import_wave(
    study: Study,
    wave_id: str,
    data: Any,
    *,
    exploratory: bool = False,
    match_ids: bool = False,
    keep_unmatched: bool = False,
    dry_run: bool = False,
    encoding: str | None = None,
    reading: Mapping[str, Any] | None = None,
) -> ImportedWave | FileRead:
    """Assignment and outcomes of a wave from a file or frame with one row per unit.

    Where no units are imported yet, they are taken from the same rows.
    """
    wave = study.wave(wave_id)
    columns = _imported(wave)
    if not columns.randomized and not study.spec.covariates_of(wave):
        raise InputError(
            f"wave '{wave.id}' was not randomized and units.covariates names no column; needed "
            "covariates that its propensities are estimated from"
        )
    version = study.require_registered(exploratory=exploratory)
    has_people = study.store.units.count() > 0
    how = reading_of(study, "waves", encoding, reading)
    table = read_people(study, data, how, ids_only=has_people)
    if dry_run:
        return _dry_run(study, wave, columns, table)
    people = _people_of_file(study, table)
    if people is None:
        ids = normal_ids(table.frame[study.spec.units.id].cast(pl.String))
        options = {"match_ids": match_ids, "keep_unmatched": keep_unmatched}
        ids = matched_ids(ids, study.store.units.ids(), table, study.spec.units.id, **options)
        table = with_(table, frame=table.frame.with_columns(ids))
    everybody, facts = units_for(study, wave)
    units = units_of_wave(study, wave, everybody)
    rows = _rows(study, wave, table, units)
    units = units.where(units.ids.is_in(rows["unit_id"].implode()))
    drawn = _read(study, wave, columns, rows, table).with_columns(
        unit_id=units.ids, stratum=units.stratum(study.spec.strata_of(wave))
    )
    drawn = drawn.with_columns(_propensity(study, wave, columns, drawn))
    checks = _checks(study, wave, units, drawn["arm"])
    names = [name for name in drawn.columns if name.removesuffix(".trials") in columns.outcomes]
    outcomes = drawn.select("unit_id", values_json=encode_json_rows(drawn.select(names)))
    row = _wave_row(study, wave, version, drawn, checks, facts.record)
    if people is not None:
        study.store.units.add(people.units, imported_at=study.clock())
    rows = drawn.select("unit_id", "stratum", "arm", "propensity")
    study.store.waves.open(row, rows, outcomes, encoded_facts(units))
    return ImportedWave(
        wave=wave.id,
        counts={count["arm"]: count["n_units"] for count in row.details["counts"]},
        exploratory=row.exploratory,
        randomized=columns.randomized,
        checks=tuple(row.details["checks"]),
        source=table.name,
        units=study.spec.units.name,
    )


def _imported(wave: Wave) -> Imported:
    if wave.imported is None:
        raise StateError(
            f"wave '{wave.id}' is to be randomized here; needed one whose spec says `imported`; "
            "add it, with the columns of the file"
        )
    return wave.imported


def _people_of_file(study: Study, table: Table) -> "People | None":
    """The file's units, checked and not yet written, where none are imported."""
    if study.store.units.count():
        return None
    people = checked_people(study, table)
    people.raise_if_bad()
    remember_units(study, people.units)
    return people


def _rows(study: Study, wave: Wave, table: Table, units: UnitData) -> pl.DataFrame:
    """The file's row of each of the wave's units, with its number, in the order of their ids."""
    if not len(units):
        raise InputError(
            f"wave '{wave.id}' has no imported units; run `wavewise people import {study.folder} "
            f"{table.name}` first"
        )
    spec_id = study.spec.units.id
    rows = table.frame.with_row_index("row:number", offset=table.first_row)
    rows = rows.with_columns(normal_ids(rows[spec_id].cast(pl.String)).alias("unit_id"))
    rows = rows.filter(pl.col("unit_id").is_in(units.ids.implode())).sort("unit_id")
    n_repeated = rows.height - rows["unit_id"].n_unique()
    if n_repeated or not rows.height:
        found = f"{n_repeated} repeated units" if n_repeated else "none of the wave's units"
        raise InputError(
            f"{table.name}: found {found}; needed one row per unit; nothing was imported"
        )
    return rows


def _read(
    study: Study, wave: Wave, columns: Imported, rows: pl.DataFrame, table: Table
) -> pl.DataFrame:
    """Arm, outcomes and propensity of each row."""
    log = FaultLog()
    cells = _cells(rows, log, table)
    read = _columns_read(study, wave, columns, cells)
    log.raise_if_any(f"{table.name}: nothing was imported")
    trials = {
        f"{outcome.id}.trials": pl.lit(study.spec.trials(outcome, wave), pl.Float64)
        for outcome in study.spec.outcomes
        if outcome.id in read and outcome.kind == "successes"
    }
    return pl.DataFrame(read).with_columns(**trials)


def _cells(rows: pl.DataFrame, log: FaultLog, table: Table) -> Cells:
    return Cells(
        rows,
        log,
        table.first_row,
        numbers=rows["row:number"],
        reading=table.reading,
        separator=table.separator,
    )


def _dry_run(study: Study, wave: Wave, columns: Imported, table: Table) -> FileRead:
    """How the columns are read that the wave's import takes."""
    log = FaultLog()
    cells = _cells(table.frame.with_row_index("row:number", offset=table.first_row), log, table)
    ids = cells.id(study.spec.units.id)
    _columns_read(study, wave, columns, cells)
    n = (
        unmatched_ids(ids, study.store.units.ids())["n_rows"].sum()
        if study.store.units.count()
        else 0
    )
    notes = [f"{n:,} rows match no unit"] if n else []
    return file_read(table, cells.reads, log.faults, log.n, *notes)


def _columns_read(
    study: Study, wave: Wave, columns: Imported, cells: Cells
) -> dict[str, pl.Series]:
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
    return read


def _propensity(study: Study, wave: Wave, columns: Imported, drawn: pl.DataFrame) -> pl.Series:
    """Probability of the arm that was drawn: the file's, or the planned share; null if unknown."""
    if columns.propensity is not None:
        return drawn["propensity"]
    shares = _shares(study, wave)
    if shares is None:
        return pl.repeat(None, drawn.height, dtype=pl.Float64, eager=True).alias("propensity")
    flat, keys = _flat(shares, drawn)
    found = keys.replace_strict(flat, default=None, return_dtype=pl.Float64)
    return found.alias("propensity")


def _shares(study: Study, wave: Wave) -> Any:
    """Planned shares; none where arms were not drawn."""
    return None if not_randomized([wave]) else planned_shares(study.spec, wave)


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
    shares = _shares(study, wave)
    return opening_checks(units.design(study.spec, wave), arm, shares)


def _wave_row(
    study: Study,
    wave: Wave,
    version: int | None,
    drawn: pl.DataFrame,
    checks: list[CheckResult],
    record: Mapping[str, Any],
) -> WaveRow:
    arms = [arm.id for arm in study.spec.arms_of(wave)]
    counts = dict(drawn["arm"].value_counts().iter_rows())
    details = {
        "imported": True,
        "arms": arms,
        "shares": _shares(study, wave),
        "counts": [{"arm": arm, "n_units": counts.get(arm, 0)} for arm in arms],
        "spec_hash": spec_hash(study.spec),
        "assignment_hash": hash_arrays(unit=drawn["unit_id"], arm=drawn["arm"]),
        "checks": [check.facts() for check in checks],
        UNITS_AS_OF: study.store.units.last_replacement(),
        **record,
    }
    return WaveRow(
        wave_id=wave.id,
        opened_at=study.clock(),
        version=version,
        exploratory=version is None or study.is_exploratory,
        starts_at=window_start(study, wave),
        details=details,
    )


# Arms, outcomes and propensities of an experiment that ran elsewhere, read from its file.

YES = ("yes", "true", "1", "1.0")
NO = ("no", "false", "0", "0.0")


def imported_arms(cells: Cells, column: str, names: Mapping[str, str]) -> pl.Series:
    """Arm of each row; blanks around a value do not count."""
    found = _stripped(cells, column)
    arms = found.replace_strict(
        {value.strip(): arm for value, arm in names.items()}, default=None, return_dtype=pl.String
    )
    _note(cells, column, arms.is_null(), found, f"one of {', '.join(sorted(names))}")
    return arms


def imported_yes_no(cells: Cells, column: str) -> pl.Series:
    """A binary outcome as 1 and 0, from yes and no in any of the usual spellings; blank is null."""
    found = _stripped(cells, column)
    lookup = {**dict.fromkeys(YES, 1.0), **dict.fromkeys(NO, 0.0)}
    low = found.str.to_lowercase()
    numbers = low.replace_strict(lookup, default=None, return_dtype=pl.Float64)
    bad = numbers.is_null() & found.is_not_null()
    _note(cells, column, bad, found, "yes or no, 1 or 0, true or false, or nothing")
    return numbers


def imported_numbers(cells: Cells, column: str) -> pl.Series:
    """An outcome as finite numbers; blank is null."""
    return cells.number(column).cast(pl.Float64)


def imported_propensity(cells: Cells, column: str) -> pl.Series:
    """Probability with which each row's arm was drawn, above 0 and at most 1."""
    found, numbers = cells.text(column), cells.number(column).cast(pl.Float64)
    good = ((numbers > 0.0) & (numbers <= 1.0)).fill_null(value=False)
    _note(cells, column, ~good, found, "a probability above 0 and at most 1")
    return numbers


def _stripped(cells: Cells, column: str) -> pl.Series:
    return cells.text(column).str.strip_chars().replace("", None)


def _note(cells: Cells, column: str, bad: pl.Series, found: pl.Series, needed: str) -> None:
    if bad.any():
        shown = [repr(value) if value else "nothing" for value in found.filter(bad)]
        cells.log.add_rows(cells.rows(bad), column, shown, needed)
