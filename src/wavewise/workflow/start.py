"""``init`` and ``check``: a new study folder, and the faults of a study file."""

import json
from pathlib import Path

from wavewise.design.schema import json_schema
from wavewise.design.shares import planned_shares
from wavewise.design.spec import StudySpec
from wavewise.design.templates import template_text
from wavewise.errors import InputError
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.outgoing import refuse_faults
from wavewise.workflow.readiness import readiness
from wavewise.workflow.study import DATABASE_FILE, STUDY_FILE, open_study, read_study_file

__all__ = ["SCHEMA_FILE", "check", "init"]

SCHEMA_FILE = "study.schema.json"


def init(folder: Path, template: str) -> Done:
    """A new study folder from a template, with the schema that lets editors complete it.

    Raises
    ------
    InputError
        If there is a study file in the folder, or no such template.
    """
    text = template_text(template)
    path = folder / STUDY_FILE
    if path.exists():
        raise InputError(f"found {path}; needed a folder without a study; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    schema = json.dumps(json_schema(), indent=1, ensure_ascii=False)
    (folder / SCHEMA_FILE).write_text(schema + "\n", encoding="utf-8")
    path.write_text(f"#:schema ./{SCHEMA_FILE}\n{text}", encoding="utf-8")
    return Done(
        f"Wrote {path} from template {template}.\nNext: edit it, then `wavewise check {folder}`.",
        {"study_file": str(path), "template": template},
    )


def check(folder: Path, store_url: str | None = None) -> Done:
    """What a sound study file says, wave by wave, and whether its messages fit the people.

    Parameters
    ----------
    folder : Path
        The study folder.
    store_url : str, optional
        Database; by default the file in the folder. Where there is none, no people are looked at.

    Raises
    ------
    SpecError
        With every fault of the study file at once.
    InputError
        Messages of waves that are not closed cannot be written out for all people.
    """
    _, spec = read_study_file(folder)
    rows = [_wave_row(spec, position) for position in range(len(spec.waves))]
    header = ["wave", "starts", "window", "units", "arms", "control", "shares"]
    text = f"{spec.study.title}: the study file is sound.\n\n{text_table(header, rows)}"
    facts = {
        "study_id": spec.study.id,
        "primary_outcome": spec.primary.id,
        "waves": [{"id": wave.id, "n_arms": len(spec.arms_of(wave))} for wave in spec.waves],
        "faults": [],
    }
    if store_url is None and not (folder / DATABASE_FILE).is_file():
        return Done(text, facts)
    with open_study(folder, store_url=store_url) as study:
        found = readiness(study)
    refuse_faults(list(found.faults))
    people = {"n_units": found.n_units, "without_address": found.without_address}
    return Done("\n".join([text, *found.notes]), {**facts, **people})


def _wave_row(spec: StudySpec, position: int) -> list[object]:
    wave = spec.waves[position]
    shares = "set by rule" if planned_shares(spec, wave) is None else "fixed"
    units = wave.units if isinstance(wave.units, str) else type(wave.units).__name__[5:].lower()
    return [
        wave.id,
        wave.starts,
        f"{wave.window_days} days",
        units,
        len(spec.arms_of(wave)),
        wave.control_id or "none",
        shares,
    ]
