"""The plan as a draft: its text, its faults, what it changes, how large an effect it can find."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavewise.design.edit import with_value
from wavewise.design.parse import parse_spec
from wavewise.design.power import planned_effects
from wavewise.design.spec import StudySpec
from wavewise.design.versions import (
    VersionRecord,
    canonical_dict,
    canonical_json,
    changes,
    spec_of,
    with_defaults,
)
from wavewise.errors import Fault, InputError, SpecError, StateError
from wavewise.report.numbers import Scale, scale_of
from wavewise.shared.files import write_whole
from wavewise.shared.results import NotEstimable
from wavewise.workflow.study import STUDY_FILE, Study, with_earlier_results

__all__ = ["Draft", "PlannedSize", "read_draft"]


@dataclass(frozen=True)
class PlannedSize:
    """What a number of units can find in one wave: the smallest effect, in the outcome's unit."""

    wave: str
    outcome: str  # Its label.
    scale: Scale  # How its effects are printed.
    n_units: int
    power: float
    level: float
    between_arms: float | None
    against_control: float | None


@dataclass(frozen=True)
class Draft:
    """A study file as it stands on disk, faults and all."""

    folder: Path
    text: str
    spec: StudySpec | None  # None where it has faults.
    faults: tuple[Fault, ...]
    study: Study | None  # None where it has faults.

    @property
    def mark(self) -> str:
        """What tells whether the file has changed since it was read."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def faults_of(self, text: str) -> tuple[Fault, ...]:
        """What is wrong with a text, before it is written."""
        return _read(text, self.folder)[1]

    def with_values(self, values: Mapping[str, Any]) -> str:
        """The text with other values of some keys; all else, comments too, stays as it is."""
        text = self.text
        for path, value in values.items():
            text = with_value(text, path, value)
        return text

    def write(self, text: str, mark: str) -> None:
        """Put a sound text in the file's place; nothing is written where it has faults."""
        if mark != self.mark:
            raise StateError(
                "the study file was changed meanwhile; needed the one that you began from; nothing "
                "was written; look at it again and make your change there"
            )
        faults = self.faults_of(text)
        if faults:
            raise SpecError("the study file would have faults; nothing was written", faults)
        write_whole(self.folder / STUDY_FILE, text.encode())

    def changes(self) -> tuple[Mapping[str, Any], ...]:
        """What differs from the last registered version: name, field, before, after."""
        from wavewise.report.documents.registry_page import key_facts

        version = None if self.study is None else self.study.version
        if version is None or self.spec is None:
            return ()
        before = json.loads(version.spec_json)
        found = changes(before, canonical_dict(self.spec))
        named = with_defaults(found, spec_of(before), self.spec)
        return tuple(key_facts(one, self.spec) for one in named)

    def registry_page(self) -> str:
        """The registry page as it will stand once this draft is registered."""
        from wavewise.report.documents.registry_page import registry_page
        from wavewise.workflow.prepare.registration import version_records
        from wavewise.workflow.run.enrol import participants

        if self.spec is None or self.study is None:
            raise SpecError("the study file has faults; fix them first", self.faults)
        study = self.study
        rows = {row.wave_id: row for row in study.store.waves.all()}
        flows = {wave.id: participants(study, wave, rows.get(wave.id)) for wave in self.spec.waves}
        versions = list(version_records(study))
        here = canonical_dict(self.spec)
        if not versions or versions[-1].canonical != json.loads(canonical_json(self.spec)):
            number = versions[-1].number + 1 if versions else 1
            reason = "registration" if not versions else "a draft, not registered yet"
            versions.append(VersionRecord(number, study.clock(), reason, here))
        return registry_page(self.spec, versions, flows)

    def sizes(self, n_units: int | None = None) -> tuple[PlannedSize, ...]:
        """The smallest effect that each wave finds, with the planned number of units or another."""
        if self.spec is None or self.spec.planning is None:
            return ()
        planning = self.spec.planning
        if n_units is not None:
            if n_units < 1:
                raise InputError(f"found {n_units} units; needed 1 or more")
            planning = planning.model_copy(update={"n_units": n_units})
        return tuple(_sizes(self.spec.model_copy(update={"planning": planning})))


def read_draft(study: Study | None, folder: Path) -> Draft:
    """The study file, whatever is wrong with it."""
    path = folder / STUDY_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"found no {STUDY_FILE} that can be read in {folder}") from None
    spec, faults = _read(text, folder)
    return Draft(folder, text, spec, faults, study)


def _read(text: str, folder: Path) -> tuple[StudySpec | None, tuple[Fault, ...]]:
    try:
        return with_earlier_results(parse_spec(text), folder), ()
    except SpecError as error:
        whole = Fault(STUDY_FILE, error.message, "a study file that can be read")
        return None, error.faults or (whole,)


def _sizes(spec: StudySpec) -> Iterator[PlannedSize]:
    found = planned_effects(spec)
    if isinstance(found, NotEstimable) or spec.planning is None:
        return
    for wave in spec.waves:
        rows = [row for row in found.rows if row.wave == wave.id and row.outcome == spec.primary.id]
        if not rows:
            continue
        yield PlannedSize(
            wave=wave.name,
            outcome=spec.primary.name,
            scale=scale_of(spec.primary),
            n_units=int(spec.planning.n_units),
            power=spec.planning.power,
            level=spec.study.level,
            between_arms=_smallest([row.vs_arm for row in rows]),
            against_control=_smallest([row.vs_control for row in rows]),
        )


def _smallest(contrasts: Sequence[Any]) -> float | None:
    """The largest of the arms' smallest effects: all of them are found with it."""
    known = [
        one.minimum_detectable_effect for one in contrasts if not isinstance(one, NotEstimable)
    ]
    return max(known, default=None)
