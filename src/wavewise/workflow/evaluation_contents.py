"""Evaluations of policies, as the report shows them: what ``evaluate`` kept, as plain rows."""

from collections.abc import Mapping
from typing import Any

from wavewise.report.contents import ReasonRow
from wavewise.report.evaluation_contents import (
    ContrastRow,
    EvaluationContents,
    Measured,
    PolicyRow,
    PolicyTruth,
)
from wavewise.report.evaluation_rows import (
    calibration_row,
    coefficient_rows,
    curve_row,
    measured,
    spend_row,
)
from wavewise.workflow.effect_contents import shown_outcome
from wavewise.workflow.study import Study

__all__ = ["EVALUATION", "PREDICTED_OUTCOME", "evaluation_contents", "evaluations"]

EVALUATION = "evaluation"  # kind of result under which the store keeps it
PREDICTED_OUTCOME = "predicted outcome"
Facts = Mapping[str, Any]


def evaluations(study: Study, truth: PolicyTruth | None = None) -> tuple[EvaluationContents, ...]:
    """The last evaluation of each wave, in the order of the waves."""
    latest = {row.wave_id: row.payload for row in study.store.results(EVALUATION)}
    return tuple(
        evaluation_contents(study, latest[wave.id], truth)
        for wave in study.spec.waves
        if wave.id in latest
    )


def evaluation_contents(
    study: Study, facts: Facts, truth: PolicyTruth | None = None
) -> EvaluationContents:
    """What an evaluation shows.

    Parameters
    ----------
    study : Study
        An open study.
    facts : mapping
        What ``evaluate`` keeps.
    truth : PolicyTruth, optional
        In a simulated study.
    """
    known = truth.effects if truth is not None else {}
    outcome = next(o for o in study.spec.outcomes if o.id == facts["outcome"])
    targeting, spending = facts["targeting"], facts["spending"]
    nothing = {row["policy"]: row["estimate"] for row in facts["values"]}.get("no message")
    return EvaluationContents(
        wave=facts["wave"],
        learned_on=tuple(facts["learned_on"]),
        outcome=shown_outcome(outcome),
        level=facts["level"],
        n_units=facts["n_units"],
        policies=_policies(study, facts, known),
        contrasts=tuple(_contrast(row, known) for row in facts["contrasts"]),
        message=targeting.get("content", ""),
        curves=tuple(
            curve_row(row["priority"], row, causal=row["priority"] != PREDICTED_OUTCOME)
            for row in targeting.get("curves", ())
            if "not_estimable" not in row
        ),
        spending=tuple(
            spend_row(row["spend"], row["gain"], row["uniform"], row["difference"])
            for row in spending.get("rows", ())
        ),
        calibration=tuple(
            calibration_row(model, row)
            for model, row in targeting.get("calibration", {}).items()
            if "not_estimable" not in row
        ),
        projection=coefficient_rows(targeting.get("projection", {}).get("rows", ())),
        not_estimable=_reasons(targeting, spending),
        baseline=nothing,
        ceiling=truth.ceiling if truth is not None else None,
    )


def _policies(study: Study, facts: Facts, known: Mapping[str, float]) -> tuple[PolicyRow, ...]:
    frozen = study.store.latest_result(facts["wave"], "policies")
    rules = {} if frozen is None else frozen.payload["policies"]
    by_groups = _by_groups(facts)
    return tuple(
        PolicyRow(
            row["policy"],
            rules.get(row["policy"], {}).get("text", ""),
            measured(row),
            facts["n_units"],
            by_groups.get(row["policy"]),
            known.get(row["policy"]),
        )
        for row in facts["against_nothing"]
    )


def _by_groups(facts: Facts) -> dict[str, Measured]:
    """Each policy's messaged units against all held-out ones, by the registered estimator."""
    found: Facts = next(
        (item for item in facts["effects"]
         if item["outcome"] == facts["outcome"] and item.get("registered", True)),
        {},
    )  # fmt: skip
    return {
        row["arm"]: measured(row) for row in found.get("rows", ()) if row["std_error"] is not None
    }


def _contrast(row: Facts, known: Mapping[str, float]) -> ContrastRow:
    first, second, paired = row["first"], row["second"], row["paired"]
    both = first in known and second in known
    return ContrastRow(
        first,
        second,
        measured(row["doubly_robust"]),
        row["doubly_robust"]["share_differs"],
        ReasonRow(f"{first} minus {second}", paired["not_estimable"])
        if "not_estimable" in paired
        else measured(paired),
        known[first] - known[second] if both else None,
    )


def _reasons(targeting: Facts, spending: Facts) -> tuple[ReasonRow, ...]:
    """Parts that could not be computed, and why."""
    parts: list[tuple[str, Facts]] = [("targeting", targeting), ("number of messages", spending)]
    parts += [(f"ranking by {row['priority']}", row) for row in targeting.get("curves", ())]
    parts += [(f"calibration of {k}", row) for k, row in targeting.get("calibration", {}).items()]
    parts.append(("who gains more", targeting.get("projection", {})))
    return tuple(
        ReasonRow(name, part["not_estimable"]) for name, part in parts if "not_estimable" in part
    )
