"""``export`` and ``erase``: research data without what identifies people, and a unit's erasure."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from wavewise.errors import InputError
from wavewise.shared.text_tables import text_table
from wavewise.store.frames import decode_json_rows
from wavewise.workflow.contacts.contacts import design_columns, emptied_fields
from wavewise.workflow.frames import forget_units
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.enrol import participants
from wavewise.workflow.study import DATABASE_FILE, STUDY_FILE, Study

__all__ = ["FILES", "erase", "export"]

# Every table that names units, and its file; a test holds it to the schema.
FILES: dict[str, str | None] = {
    "unit": "units",
    "assignment": "assignment",
    "enrolment_unit": "enrolment",
    "outcome": "outcomes",
    "event": "events",
    "outbox": "messages",
    "opt_out": "opt_outs",
    "score_delivery": "scores",
    "frozen_score": "frozen_scores",
    "opt_in": "opt_ins",
    "contact_change": "contact_changes",
    "contact": None,
    "former_unit": "former_units",
    "measurement": "measurements",
    "frozen_fact": "facts",
    "former_outcome": "former_outcomes",
    "former_score": None,  # made of the scores' deliveries and corrections
    "correction": "corrections",
}
# Of a message its fate, never its text or what a provider calls it.
_MESSAGE = (
    *("wave_id", "unit_id", "slot", "arm", "message_id", "channel", "state", "reason"),
    *("spec_hash", "wording_hash"),
)
_MESSAGE_TIMES = [
    f"{name}_at_utc_us" for name in ("due", "sent", "delivered", "read", "answered", "ended")
]


@dataclass(frozen=True, eq=False)
class DataExport(VerbResult):
    """Research data that were written as files."""

    out: str
    files: Mapping[str, Mapping[str, Any]]  # Name of a table: number of rows, columns.

    def summary(self) -> str:
        """Where they are, and how many rows each has."""
        rows = [[f"{name}.csv", file["rows"]] for name, file in self.files.items()]
        return (
            f"Wrote {self.out}: ids only, no contact details.\n{text_table(['file', 'rows'], rows)}"
        )

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(
            [(name, file["rows"]) for name, file in self.files.items()],
            schema={"table": pl.String, "rows": pl.Int64},
            orient="row",
        )


@dataclass(frozen=True, eq=False)
class ErasedUnit(VerbResult):
    """What was erased of a unit, and what stays."""

    n_contacts: int
    kept_columns: tuple[str, ...]
    left: tuple[str, ...]  # What is not erased, and what to do about it, in sentences.

    def facts(self) -> dict[str, Any]:
        """Number of contact details, the columns that stay, and what is not erased."""
        kept = {"n_contacts": self.n_contacts, "kept_columns": list(self.kept_columns)}
        return {**kept, "left": list(self.left)}

    def summary(self) -> str:
        """What was erased, and what stays."""
        text = (
            f"Erased: {self.n_contacts} contact details, the columns that only messages show and "
            "the texts of messages. The unit gets no more messages, and its contact details will "
            "not be imported again. Its arm, strata, covariates, events, scores and outcomes are "
            "kept: they belong to the comparison that it was randomized into."
        )
        return "\n".join([text, *self.left])


def export(study: Study, out: Path) -> DataExport:
    """Research data as CSV files: ids, never addresses, names or texts of messages."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"found something at {out}; needed a new or an empty folder; nothing made")
    out.parent.mkdir(parents=True, exist_ok=True)
    tables = _tables(study)
    made = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        for name, frame in tables.items():
            _harmless(frame).write_csv(made / f"{name}.csv")
        (made / STUDY_FILE).write_text(study.text, encoding="utf-8")
        contents = {name: {"rows": t.height, "columns": t.columns} for name, t in tables.items()}
        (made / "contents.json").write_text(json.dumps(contents, indent=1), encoding="utf-8")
        for path in made.iterdir():
            path.chmod(0o600)  # the folder is its owner's alone, too
        if out.exists():
            out.rmdir()
        made.replace(out)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return DataExport(str(out), contents)


# What makes a spreadsheet run a cell as a formula; a number with its sign is none.
_FORMULA = r"^[=+\-@\t\r]"
_NUMBER = r"^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$"


def _harmless(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts that begin as formulas do get an apostrophe, which spreadsheets take as "a text".

    Examples
    --------
    >>> _harmless(pl.DataFrame({"id": ["=1+1", "-5", "-1+2", "a=b"], "x": [1, 2, 3, 4]})).rows()
    [("'=1+1", 1), ('-5', 2), ("'-1+2", 3), ('a=b', 4)]
    """
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    return frame.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA) & ~pl.col(name).str.contains(_NUMBER))
        .then(pl.lit("'") + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    )


def _tables(study: Study) -> dict[str, pl.DataFrame]:
    waves = [row.wave_id for row in study.store.waves.all()]
    times = ["at_utc_us", "received_at_utc_us"]
    messages = study.store.deliveries.rows().select(*_MESSAGE, *_MESSAGE_TIMES)
    frozen = {wave: study.store.scores.frozen(wave) for wave in waves}
    former = study.store.units.replaced()
    tables = {
        "units": _units(study),
        "assignment": _by_wave({wave: study.store.waves.assignment(wave) for wave in waves}),
        "enrolment": _enrolment(study),
        "participants": _participants(study),
        "outcomes": _by_wave({wave: study.store.waves.outcomes(wave) for wave in waves}),
        "events": _readable(study.store.events.all(), times),
        "messages": _readable(messages, _MESSAGE_TIMES),
        "opt_outs": _readable(study.store.opt_outs.all().drop("opt_out_id"), times),
        "opt_ins": _readable(study.store.opt_outs.opt_ins().drop("opt_in_id"), times),
        "contact_changes": _readable(
            study.store.contacts.changes().select("unit_id", "channel", "source", "at_utc_us"),
            ["at_utc_us"],
        ),
        "scores": _readable(
            study.store.scores.deliveries(), ["delivered_at_utc_us", "received_at_utc_us"]
        ),
        "former_units": _readable(_unit_columns(study, former), ["replaced_at_utc_us"]),
        "measurements": _measurements(study),
        "facts": _kept(study, _by_wave({wave: study.store.waves.facts(wave) for wave in waves})),
        "former_outcomes": _former_outcomes(study),
        "corrections": _readable(study.store.corrections.all(), ["at_utc_us"]),
        "frozen_scores": _readable(_by_wave(frozen), ["delivered_at_utc_us"]),
    }
    return {name: frame for name, frame in tables.items() if frame.width}


def _enrolment(study: Study) -> pl.DataFrame:
    """What became of every unit in each enrolment, with who consented, when, and the proof."""
    store = study.store
    parts = [
        store.enrolments.units(row.enrolment_id).select(
            pl.lit(row.enrolment_id).alias("enrolment"), pl.all()
        )
        for row in store.enrolments.all()
    ]
    return _readable(pl.concat(parts), ["consented_at_utc_us"]) if parts else pl.DataFrame()


def _participants(study: Study) -> pl.DataFrame:
    """The flow of participants: wave, step, n, left_for; a row without a reason is the step's."""
    rows: list[tuple[str, str, str | None, int]] = []
    opened = {row.wave_id: row for row in study.store.waves.all()}
    for wave in study.spec.waves:
        for step in participants(study, wave, opened.get(wave.id)):
            rows.append((wave.id, step.name, None, step.n))
            rows += [(wave.id, step.name, reason, n) for reason, n in step.left]
    names = {"wave": pl.String, "step": pl.String, "left_for": pl.String, "n": pl.Int64}
    return pl.DataFrame(rows, schema=names, orient="row") if rows else pl.DataFrame()


def _units(study: Study) -> pl.DataFrame:
    """Units with strata, covariates and groups; columns that only messages show stay behind."""
    return _unit_columns(study, study.store.units.all())


def _unit_columns(study: Study, rows: pl.DataFrame) -> pl.DataFrame:
    fields = decode_json_rows(rows["fields_json"])
    kept = [name for name in design_columns(study) if name != "unit_id"]
    columns = [fields[name] for name in kept if name in fields.columns]
    unit_columns = rows.drop("cluster", "fields_json", "imported_at_utc_us")
    taken = {column.name for column in columns}
    return pl.DataFrame(
        [*(c for c in unit_columns.iter_columns() if c.name not in taken), *columns]
    )


def _measurements(study: Study) -> pl.DataFrame:
    rows = study.store.units.measurements()
    columns = [*rows.drop("measurement_id", "fields_json"), *decode_json_rows(rows["fields_json"])]
    frame = _kept(study, pl.DataFrame(columns)) if rows.height else pl.DataFrame()
    return _readable(frame, ["imported_at_utc_us"])


def _kept(study: Study, frame: pl.DataFrame) -> pl.DataFrame:
    """Facts and columns of the design; those that only messages show stay behind."""
    shown = set(study.spec.units.fields) - set(design_columns(study))
    return frame.drop(*shown, strict=False)


def _by_wave(frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
    parts = [frame.select(_named(wave, frame), pl.all()) for wave, frame in frames.items()]
    parts = [part for part in parts if part.height]
    return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()


def _former_outcomes(study: Study) -> pl.DataFrame:
    parts = [
        study.store.waves.outcomes(row.wave_id, version).select(
            pl.lit(row.wave_id).alias("wave"), pl.lit(version).alias("version"), pl.all()
        )
        for row in study.store.waves.all()
        for version in range(1, row.outcome_version)
    ]
    return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()


def _named(wave: str, frame: pl.DataFrame) -> pl.Series:
    return pl.repeat(wave, frame.height, eager=True).alias("wave")


def _readable(frame: pl.DataFrame, times: list[str]) -> pl.DataFrame:
    """Times as text of ISO 8601 in UTC."""
    if not frame.width:
        return frame
    return frame.with_columns(
        pl.from_epoch(name, "us").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").alias(name)
        for name in times
    ).rename({name: name.removesuffix("_utc_us") for name in times})


def erase(study: Study, unit_id: str) -> ErasedUnit:
    """Take out what identifies a unit; its assignment and outcomes stay under its bare id."""
    everybody = study.store.units.all()
    row = everybody.filter(unit_id=unit_id)
    kept = design_columns(study)
    fields = emptied_fields(row["fields_json"][0], kept) if row.height else "{}"
    n_gone, is_overwritten = study.store.units.erase(unit_id, fields, study.clock(), kept)
    forget_units(study)
    return ErasedUnit(
        n_contacts=n_gone,
        kept_columns=study.spec.design_columns,
        left=tuple(_not_erased(study, unit_id, is_overwritten=is_overwritten)),
    )


def _not_erased(study: Study, unit_id: str, *, is_overwritten: bool) -> Iterator[str]:
    """What this command cannot reach, and what to do about it."""
    named, unread = _files_with(study.folder, unit_id)
    if named:
        yield f"Not erased, and naming this unit: {', '.join(named)}. Delete its rows there."
    if unread:
        yield f"Not erased, and not searched: {', '.join(unread)}. Look for the unit there."
    if not is_overwritten:
        yield (
            "Old pages of the database could not be overwritten, as another program reads it: "
            "close that program, then run the same command again."
        )
    yield (
        "Copies are not erased: back-ups, earlier exports, logs of the database server, and what "
        "providers keep. Events and scores that still come under this id are kept as outcomes; "
        "receipts that still come are not kept."
    )


_DATABASE_FILES = {DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm"}
_TEXTS = {".csv", ".tsv", ".txt", ".ndjson", ".jsonl", ".json"}
_TABLES = {".xlsx", ".xls", ".ods", ".parquet", ".dta", ".sav", ".gz", ".zip", ".db", ".dump"}


def _files_with(folder: Path, unit_id: str) -> tuple[list[str], list[str]]:
    """Files of data in the folder that hold a unit's id, and those that cannot be searched."""
    wanted = re.compile(rb"(?<!\w)" + re.escape(unit_id.encode()) + rb"(?!\w)")
    named, unread = [], []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix.lower() in _TEXTS and name != STUDY_FILE:
            with path.open("rb") as lines:
                if any(wanted.search(line) for line in lines):
                    named.append(name)
        elif name not in _DATABASE_FILES and (
            path.suffix.lower() in _TABLES or name.startswith(f"{DATABASE_FILE}.")
        ):
            unread.append(name)
    return named, unread
