"""From a study to what its report shows: results in, plain values out."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import scipy
import sqlalchemy

from wavewise._version import __version__
from wavewise.report import contents as shown
from wavewise.workflow.adaptive_contents import adaptive_contents
from wavewise.workflow.delivery_contents import delivery_contents
from wavewise.workflow.effect_contents import pooled_effects
from wavewise.workflow.evaluation_contents import evaluations
from wavewise.workflow.frames import wave_data
from wavewise.workflow.posterior_contents import posteriors_by_wave
from wavewise.workflow.score_contents import score_model_contents
from wavewise.workflow.study import Study
from wavewise.workflow.wave_contents import wave_contents

if TYPE_CHECKING:
    from wavewise.report.evaluation_contents import PolicyTruth
    from wavewise.store import WaveRow

__all__ = ["SimulatedTruth", "report_contents"]


@dataclass(frozen=True)
class SimulatedTruth:
    """What is true in a simulated study: of the arms that it ends with, of waves, of policies."""

    study: shown.TruthContents
    waves: Mapping[str, shown.TruthContents]
    policies: "PolicyTruth"


def report_contents(
    study: Study,
    *,
    simulated: bool = False,
    truth: "SimulatedTruth | None" = None,
) -> shown.ReportContents:
    """Everything that the report of a study shows, computed anew from the frozen data.

    Parameters
    ----------
    study : Study
        An open study.
    simulated : bool
        Marks the report of simulated data.
    truth : SimulatedTruth, optional
        The known truth of simulated data.
    """
    rows = {row.wave_id: row for row in study.store.waves()}
    posteriors = posteriors_by_wave(study, rows)
    waves = tuple(
        wave_contents(study, wave, rows.get(wave.id), posteriors) for wave in study.spec.waves
    )
    if truth is not None:
        waves = tuple(replace(wave, truth=truth.waves.get(wave.id)) for wave in waves)
    version = study.version
    return shown.ReportContents(
        title=study.spec.study.title,
        study_id=study.spec.study.id,
        generated_on=f"{study.clock():%Y-%m-%d}",
        unit_name=study.spec.units.name,
        waves=tuple(waves),
        abstract=study.spec.registration.abstract,
        registration=_registration(study),
        effects=pooled_effects(study, rows),
        posterior=None,
        adaptive=adaptive_contents(study, rows),
        score_models=score_model_contents(study, rows),
        evaluations=evaluations(study, None if truth is None else truth.policies),
        deliveries=delivery_contents(study),
        decision=_decision(study),
        truth=None if truth is None else truth.study,
        provenance=_provenance(study, rows),
        amendments=_amendments(study),
        exploratory=any(row.exploratory for row in rows.values()) or version is None,
        simulated=simulated,
    )


def _decision(study: Study) -> shown.DecisionContents | None:
    decided = study.store.results("decision")
    if not decided:
        return None
    payload = decided[-1].payload
    return shown.DecisionContents(
        rule=payload["rule"],
        arm=payload["arm"],
        prob_optimal=payload["prob_optimal"],
        policy_regret=payload["policy_regret"],
        runner_up=payload["runner_up"],
    )


def _registration(study: Study) -> str:
    versions = study.store.versions()
    if not versions:
        return ""
    last = versions[-1]
    addenda = sum(version.is_addendum for version in versions)
    text = f"version {last.number}, registered {last.created_at:%Y-%m-%d}"
    if addenda:
        text += f"; {addenda} {'addendum' if addenda == 1 else 'addenda'}"
    return text


def _amendments(study: Study) -> tuple[str, ...]:
    return tuple(
        f"Version {version.number}, {version.created_at:%Y-%m-%d}: {version.reason}"
        + (f" (addendum: after data of {', '.join(version.waves_seen)} were seen)"
           if version.is_addendum else "")
        for version in study.store.versions()[1:]
    )  # fmt: skip


def _provenance(study: Study, rows: "dict[str, WaveRow]") -> tuple[tuple[str, str], ...]:
    version = study.version
    versions = (
        f"wavewise {__version__}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"polars {pl.__version__}, sqlalchemy {sqlalchemy.__version__}, "
        f"Python {platform.python_version()}"
    )
    return (
        ("Spec, SHA-256 of its canonical form", version.hash if version else "not registered"),
        ("Seed", str(study.spec.study.seed)),
        *(
            (f"Assignment of {row.wave_id}, SHA-256", str(row.details.get("assignment_hash", "")))
            for row in rows.values()
        ),
        *(
            (f"Outcomes of {row.wave_id}, SHA-256", _outcome_hash(study, row.wave_id))
            for row in rows.values()
            if row.state == "closed"
        ),
        ("Versions", versions),
    )


def _outcome_hash(study: Study, wave_id: str) -> str:
    data = wave_data(study, wave_id)
    frame = pl.DataFrame([data.units.ids, *data.outcomes.iter_columns()])
    return hashlib.sha256(frame.write_csv().encode()).hexdigest()
