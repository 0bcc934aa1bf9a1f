"""The reference of the study file: every key of the models, no other; valid examples."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from wavewise.design import find_faults
from wavewise.design.enrolment import Enrolment, LeftOut
from wavewise.design.messages import (
    Attempts,
    Collect,
    Derived,
    EventConditions,
    Flow,
    FlowStep,
    Keywords,
    Message,
    Schedule,
)
from wavewise.design.spec import (
    SECTIONS,
    Analysis,
    AnotherWave,
    Approval,
    Baseline,
    ColumnReading,
    Decision,
    EarlierStudy,
    Effects,
    Imports,
    Investigator,
    Model,
    Outcome,
    Planning,
    Reading,
    Registration,
    Study,
    StudySpec,
    Target,
    Targeting,
    Team,
    Units,
)
from wavewise.design.waves import (
    AllocationRule,
    Arm,
    Imported,
    OrderedPairs,
    PolicyRule,
    SharesByStratum,
    UnitsShare,
    UnitsWhere,
    Wave,
)

DOCS = Path(__file__).resolve().parents[3] / "docs" / "study-file.md"
MODELS: dict[str, tuple[type[BaseModel], ...]] = {
    "[study]": (Study,),
    "[import]": (Imports,),
    "import.KIND": (Reading,),
    "import.KIND.columns.NAME": (ColumnReading,),
    "[units]": (Units,),
    "[derived.NAME]": (Derived,),
    "derived.NAME.where": (EventConditions,),
    "[[messages]]": (Message,),
    "[flows.NAME]": (Flow,),
    "flows.NAME.steps.STEP": (FlowStep,),
    "flows.NAME.steps.STEP.collect": (Collect,),
    "[[arms]]": (Arm,),
    "policy": (PolicyRule,),
    "[schedules.NAME]": (Schedule,),
    "schedules.NAME.attempts": (Attempts,),
    "[keywords]": (Keywords,),
    "[[outcomes]]": (Outcome,),
    "[[targets]]": (Target,),
    "[models.NAME]": (Model,),
    "models.NAME.earlier": (EarlierStudy,),
    "[[enrolment]]": (Enrolment,),
    "enrolment.leave_out": (LeftOut,),
    "[[waves]]": (Wave,),
    "Units of a wave": (UnitsShare, UnitsWhere),
    "Arms of a wave": (OrderedPairs,),
    "Shares of a wave": (SharesByStratum, AllocationRule),
    "waves.imported": (Imported,),
    "[analysis]": (Analysis,),
    "analysis.effects": (Effects,),
    "analysis.targeting": (Targeting,),
    "[decision]": (Decision,),
    "[planning]": (Planning,),
    "planning.another_wave": (AnotherWave,),
    "planning.baseline.OUTCOME": (Baseline,),
    "[registration]": (Registration,),
    "registration.investigators": (Investigator,),
    "registration.irb": (Approval,),
    "[team]": (Team,),
}


def _keys(heading: str) -> dict[str, tuple[str, ...]]:
    """Rows of the key tables under a heading: key and the other cells."""
    text = DOCS.read_text(encoding="utf-8")
    match = re.search(rf"(?ms)^##+ {re.escape(heading)}$(.*?)(?=^##|\Z)", text)
    assert match, f"no heading {heading}"
    rows = (
        re.split(r"(?<!\\)\|", line)[1:-1] for line in match[1].splitlines() if line[:3] == "| `"
    )
    cells = [tuple(cell.strip() for cell in row) for row in rows]
    return {row[0].strip("`"): row[1:] for row in cells if len(row) == 4}


@pytest.mark.parametrize("heading", MODELS)
def test_the_keys_are_those_of_the_models(heading: str) -> None:
    fields = {
        field.alias or name: field
        for model in MODELS[heading]
        for name, field in model.model_fields.items()
    }
    rows = _keys(heading)
    assert set(rows) == set(fields)
    for key, field in fields.items():
        assert (rows[key][-1] == "required") == field.is_required(), key


def test_every_section_of_the_file_has_a_heading() -> None:
    text = DOCS.read_text(encoding="utf-8")
    headings = re.findall(r"(?m)^## \[+([a-z]+)", text)
    assert headings == list(dict.fromkeys(headings))
    assert set(headings) == set(SECTIONS)


def test_every_model_is_explained() -> None:
    def models(model: type[BaseModel]) -> set[type[BaseModel]]:
        return {sub for child in model.__subclasses__() for sub in (child, *models(child))}

    from wavewise.design.values import Frozen, Table

    explained = {model for group in MODELS.values() for model in group}
    assert models(Frozen) - {Table, StudySpec} == explained


def test_examples_are_toml_and_whole_studies_have_no_fault() -> None:
    blocks = re.findall(r"(?ms)^```toml\n(.*?)^```", DOCS.read_text(encoding="utf-8"))
    whole = [raw for raw in map(tomllib.loads, blocks) if "study" in raw]
    assert len(blocks) >= 3
    assert len(whole) >= 1
    assert [find_faults(raw) for raw in whole] == [[]]
