"""``export`` and ``erase``: research data without what identifies people, and a unit's erasure."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from wavewise.errors import InputError
from wavewise.store.packed import unpack
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.frames import forget_units
from wavewise.workflow.study import STUDY_FILE, Study

__all__ = ["FILES", "erase", "export"]

# Every table that names units, and its file; a test holds it to the schema.
FILES: dict[str, str | None] = {
    "unit": "units",
    "assignment": "assignment",
    "outcome": "outcomes",
    "event": "events",
    "outbox": "messages",
    "refusal": "refusals",
    "score_delivery": "scores",
    "frozen_score": "frozen_scores",
    "resumption": "resumptions",
    "contact_change": "contact_changes",
    "contact": None,
}

# Of a message its fate, never its text or what a provider calls it.
_MESSAGE = ("wave_id", "unit_id", "slot", "arm", "message_id", "channel", "state", "reason")
_MESSAGE_TIMES = [
    f"{name}_at_utc_us" for name in ("due", "sent", "delivered", "read", "answered", "ended")
]


def export(study: Study, out: Path) -> Done:
    """Research data as CSV files: ids, never addresses, names or texts of messages.

    Parameters
    ----------
    study : Study
        An open study.
    out : Path
        Folder to make; it must not be there, or be empty.

    Raises
    ------
    InputError
        The folder holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"found something at {out}; needed a new or an empty folder; nothing made")
    out.parent.mkdir(parents=True, exist_ok=True)
    tables = _tables(study)
    made = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        for name, frame in tables.items():
            frame.write_csv(made / f"{name}.csv")
        (made / STUDY_FILE).write_text(study.text, encoding="utf-8")
        contents = {name: {"rows": t.height, "columns": t.columns} for name, t in tables.items()}
        (made / "contents.json").write_text(json.dumps(contents, indent=1), encoding="utf-8")
        made.chmod(0o755)
        if out.exists():
            out.rmdir()
        made.replace(out)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    rows = [[f"{name}.csv", frame.height] for name, frame in tables.items()]
    text = f"Wrote {out}: ids only, no contact details.\n{text_table(['file', 'rows'], rows)}"
    return Done(text, {"out": str(out), "files": contents})


def _tables(study: Study) -> dict[str, pl.DataFrame]:
    waves = [row.wave_id for row in study.store.waves()]
    times = ["at_utc_us", "received_at_utc_us"]
    messages = study.store.outbox_rows().select(*_MESSAGE, *_MESSAGE_TIMES)
    frozen = {wave: study.store.frozen_scores(wave) for wave in waves}
    tables = {
        "units": _units(study),
        "assignment": _by_wave({wave: study.store.assignment(wave) for wave in waves}),
        "outcomes": _by_wave({wave: study.store.outcomes(wave) for wave in waves}),
        "events": _readable(study.store.events(), times),
        "messages": _readable(messages, _MESSAGE_TIMES),
        "refusals": _readable(study.store.refusals().drop("refusal_id"), times),
        "resumptions": _readable(study.store.resumptions().drop("resumption_id"), times),
        "contact_changes": _readable(
            study.store.contact_changes().select("unit_id", "channel", "source", "at_utc_us"),
            ["at_utc_us"],
        ),
        "scores": _readable(
            study.store.score_deliveries(), ["delivered_at_utc_us", "received_at_utc_us"]
        ),
        "frozen_scores": _readable(_by_wave(frozen), ["delivered_at_utc_us"]),
    }
    return {name: frame for name, frame in tables.items() if frame.width}


def _units(study: Study) -> pl.DataFrame:
    """Units with strata, covariates and groups; columns that only messages show stay behind."""
    named, rows = study.spec.units, study.store.units()
    kept = dict.fromkeys(
        [*named.strata, *named.covariates, *filter(None, [named.error_cluster, named.randomize_by])]
    )
    fields = unpack(rows["fields_json"])
    columns = [fields[name] for name in kept if name in fields.columns and name != "unit_id"]
    own = rows.select("unit_id", "time_zone", "language")
    taken = {column.name for column in columns}
    return pl.DataFrame([*(c for c in own.iter_columns() if c.name not in taken), *columns])


def _by_wave(frames: dict[str, pl.DataFrame]) -> pl.DataFrame:
    parts = [frame.insert_column(0, _named(wave, frame)) for wave, frame in frames.items()]
    parts = [part for part in parts if part.height]
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


def erase(study: Study, unit_id: str) -> Done:
    """Take out what identifies a unit; its assignment and outcomes stay under its bare id.

    Raises
    ------
    InputError
        There is no such unit.
    """
    named, everybody = study.spec.units, study.store.units()
    row = everybody.filter(unit_id=unit_id)
    fields = json.dumps(_kept_fields(study, row) if row.height else {}, ensure_ascii=False)
    n_gone = study.store.erase_unit(unit_id, fields, study.clock())
    forget_units(study)
    text = (
        f"Erased: {n_gone} contact details, the columns that only messages show and the texts of "
        "messages. It will not be sent to, nor will its contact details be imported again. Its "
        "arm, strata, covariates, events, scores and outcomes stay: they belong to the comparison "
        "that it was randomized into."
    )
    if (study.folder / "outbox").is_dir():
        text += f" Files of dry runs in {study.folder / 'outbox'} are not touched: delete them."
    kept = [*named.strata, *named.covariates]
    return Done(text, {"n_contacts": n_gone, "kept_columns": kept})


def _kept_fields(study: Study, row: pl.DataFrame) -> dict[str, Any]:
    named = study.spec.units
    kept = {*named.strata, *named.covariates, named.error_cluster, named.randomize_by}
    fields: dict[str, Any] = json.loads(row["fields_json"][0])
    return {name: value if name in kept else None for name, value in fields.items()}
