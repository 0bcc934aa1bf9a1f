"""``init`` and ``check``: a new study folder, and the faults of a study file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from wavewise.decide import shares
from wavewise.design.parse import json_schema, parse_reading
from wavewise.design.shares import planned_shares
from wavewise.design.spec import StudySpec
from wavewise.design.templates import template_files, template_names, template_text
from wavewise.design.waves import AllocationRule, Wave
from wavewise.errors import InputError
from wavewise.shared.text_tables import listed, text_table, tied
from wavewise.workflow.files import read_data
from wavewise.workflow.frames import unit_data
from wavewise.workflow.prepare.proposal import propose_study
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.data_check import people_notes
from wavewise.workflow.send.preview import readiness
from wavewise.workflow.send.queue import require_no_faults
from wavewise.workflow.study import (
    DATABASE_FILE,
    STUDY_FILE,
    Clock,
    open_study,
    read_study_file,
    utc_now,
)

__all__ = ["SCHEMA_FILE", "NewStudy", "SoundStudy", "StudySchema", "check", "init", "schema"]

SCHEMA_FILE = "study.schema.json"


_HEAD = ("wave", "starts", "window", "units", "arms", "control", "shares")


@dataclass(frozen=True, eq=False)
class NewStudy(VerbResult):
    """A study folder that was made."""

    study_file: str
    source: str  # The template, or the people file whose columns it was proposed from.
    data_files: tuple[str, ...] = ()  # Beside it, to run the study on.

    def summary(self) -> str:
        """Where it is, and what comes next."""
        folder = Path(self.study_file).parent
        text = f"Wrote {self.study_file} from {self.source}.\n"
        if not self.data_files:
            return text + f"Next: edit it, then `wavewise check {folder}`."
        return text + (
            f"Beside it, to run it on: {', '.join(self.data_files)}.\n"
            f"Next: `wavewise check {folder}`, `wavewise register {folder}`, "
            f"`wavewise people import {folder} {folder / 'people.csv'}`."
        )


@dataclass(frozen=True, eq=False)
class SoundStudy(VerbResult):
    """What a study file without faults says, wave by wave."""

    study_id: str
    title: str
    primary_outcome: str
    waves: tuple[Mapping[str, Any], ...]  # As `_HEAD` names them.
    n_units: int | None = None  # None where there is no database yet.
    without_address: Mapping[str, int] | None = None  # Channel: units that it cannot reach.
    # Waves that cannot adapt; of the people: missing addresses, lengths of messages.
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Study, primary outcome, waves; of the people where there are any."""
        facts = {
            "study_id": self.study_id,
            "primary_outcome": self.primary_outcome,
            "waves": [{"id": wave["wave"], "n_arms": wave["arms"]} for wave in self.waves],
            "faults": [],
            "notes": list(self.notes),
        }
        if self.n_units is None:
            return facts
        return {**facts, "n_units": self.n_units, "without_address": self.without_address}

    def summary(self) -> str:
        """That the file is sound, its waves, and notes on shares and people."""
        rows = [[wave[name] for name in _HEAD] for wave in self.waves]
        text = f"{self.title}: the study file is sound.\n\n{text_table(_HEAD, rows)}"
        return "\n".join([text, *self.notes])

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(list(self.waves))


@dataclass(frozen=True, eq=False)
class StudySchema(VerbResult):
    """The JSON Schema of the study file."""

    schema: Mapping[str, Any]

    def facts(self) -> dict[str, Any]:
        """The schema."""
        return dict(self.schema)

    def summary(self) -> str:
        """The schema as JSON."""
        return json.dumps(self.schema, indent=1, ensure_ascii=False)


def init(
    folder: Path,
    template: str | None = None,
    people: Any = None,
    encoding: str | None = None,
    *,
    clock: Clock = utc_now,
) -> NewStudy:
    """A new study folder, from a template or from the columns of a people file.

    It holds the schema that lets editors complete the study file.
    """
    if (template is None) == (people is None):
        raise InputError(
            "needed either a template (--template NAME) or a people file (--from FILE), from whose "
            f"columns a study file is proposed; templates: {', '.join(template_names())}"
        )
    if people is not None:
        table = read_data(people, parse_reading({"encoding": encoding} if encoding else {}))
        text, beside = propose_study(table, folder.resolve().name, clock().date()), {}
    elif template is not None:
        text, beside = template_text(template), template_files(template)
    there = [path for path in (folder / name for name in (STUDY_FILE, *beside)) if path.exists()]
    if there:
        raise InputError(
            f"found {there[0]}; needed a folder without a study; give another folder; nothing was "
            "written"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in beside.items():
        (folder / name).write_text(content, encoding="utf-8")
    (folder / SCHEMA_FILE).write_text(f"{schema()}\n", encoding="utf-8")
    path = folder / STUDY_FILE
    path.write_text(f"#:schema ./{SCHEMA_FILE}\n{text}", encoding="utf-8")
    source = f"template {template}" if people is None else table.name
    return NewStudy(str(path), source, tuple(beside))


def schema() -> StudySchema:
    """The JSON Schema of the study file."""
    return StudySchema(json_schema())


def check(folder: Path, store_url: str | None = None) -> SoundStudy:
    """What a sound study file says, wave by wave, and whether its messages fit the people."""
    _, spec = read_study_file(folder)
    sound = SoundStudy(
        study_id=spec.study.id,
        title=spec.study.title,
        primary_outcome=spec.primary.id,
        waves=tuple(_wave_row(spec, position) for position in range(len(spec.waves))),
        notes=tuple(filter(None, (_never_adapts(spec, wave) for wave in spec.waves))),
    )
    if store_url is None and not (folder / DATABASE_FILE).is_file():
        return sound
    with open_study(folder, store_url=store_url) as study:
        found = readiness(study)
        told = people_notes(study, unit_data(study)) if found.n_units else ()
    require_no_faults(list(found.faults))
    return replace(
        sound,
        n_units=found.n_units,
        without_address=found.without_address,
        notes=(*sound.notes, *found.notes, *told),
    )


def _never_adapts(spec: StudySpec, wave: Wave) -> str | None:
    """That a wave's rule gives equal shares whatever is learned, and what would adapt."""
    rule = wave.shares
    arms = [arm.id for arm in spec.arms_of(wave) if arm.id != wave.control_id]
    if not isinstance(rule, AllocationRule) or rule.rule == "equal" or len(arms) < 2:
        return None
    odds = [0.6**k for k in range(len(arms))]
    options = {name: getattr(rule, name) for name in ("temper", "uniform_share", "beta")}
    given = shares(
        [one / sum(odds) for one in odds], rule=rule.rule, control_share=wave.control_share or 0.0,
        floor=rule.floor, **{name: value for name, value in options.items() if value is not None},
    )[: len(arms)]  # fmt: skip
    if len(tied(given.tolist())) < len(arms):
        return None
    why = f"wave '{wave.id}': rule \"{rule.rule}\" always shares equally between {listed(arms)}"
    if rule.floor * len(arms) + (wave.control_share or 0.0) > 1 - 1e-9:
        return f"{why}, since their floor of {rule.floor:g} takes the whole wave; lower the floor."
    same = ", since p (1 - p) is the same for both" if rule.rule == "exploration" else ""
    return (
        f'{why}, whatever is learned{same}; for a wave that adapts take rule = "Thompson" with a '
        "floor, such as floor = 0.1."
    )


def _wave_row(spec: StudySpec, position: int) -> dict[str, Any]:
    wave = spec.waves[position]
    shares = "set by rule" if planned_shares(spec, wave) is None else "fixed"
    units = wave.units if isinstance(wave.units, str) else type(wave.units).__name__[5:].lower()
    row = (
        wave.id,
        f"{wave.starts}",
        f"{wave.window_days} days",
        units,
        len(spec.arms_of(wave)),
        wave.control_id or "none",
        shares,
    )
    return dict(zip(_HEAD, row, strict=True))
