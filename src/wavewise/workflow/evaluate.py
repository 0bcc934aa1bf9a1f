"""``evaluate``: what the frozen policies are worth on outcomes that they never saw."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from wavewise.decide import random_policy
from wavewise.errors import EstimationError, InputError
from wavewise.evaluate import (
    best_linear_projection,
    calibration,
    cost_curve,
    paired_contrast,
    policy_contrast,
    policy_value,
    toc,
)
from wavewise.evaluate.outcome_model import fit_outcome
from wavewise.report.evaluation_words import evaluation_sentences
from wavewise.results import FloatArray
from wavewise.workflow.analysis import analyse_waves
from wavewise.workflow.analyze import analysis_facts
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.evaluation_contents import (
    EVALUATION,
    PREDICTED_OUTCOME,
    evaluation_contents,
)
from wavewise.workflow.frames import HELD_OUT
from wavewise.workflow.fresh_wave import FreshWave, fresh_wave
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.evaluate import PolicyEstimate

__all__ = ["evaluate"]

SPENDS = (0.1, 0.25, 0.5, 0.75, 1.0)  # shares of the population that are messaged


def evaluate(study: Study, wave_id: str) -> Done:
    """Value of every policy of a closed wave, and of messaging some only, on its fresh outcomes.

    Parameters
    ----------
    study : Study
        An open study.
    wave_id : str
        A closed wave whose arms are policies, a part of each held out.

    Raises
    ------
    StateError
        If the wave is no such wave, a policy's file is not the one that was frozen, or a policy
        learned from these outcomes.

    Notes
    -----
    By ordinary least squares: each policy's messaged units against all held-out units, and
    differences of policies. By doubly robust scores: the same, in which a unit informs on every
    policy that would have sent it what it got, and adds nothing to a contrast of two policies that
    agree on it. Targeting curves, calibration and projections rest on the same scores.
    """
    fresh = fresh_wave(study, wave_id)
    facts: dict[str, Any] = {
        "wave": wave_id,
        "learned_on": list(fresh.learner.wave_ids),
        "outcome": study.spec.primary.id,
        "n_units": int(fresh.known.sum()),
        "level": study.spec.study.level,
        "policies": {name: policy.hash for name, policy in fresh.policies.items()},
        "effects": analysis_facts(wave_id, analyse_waves(study, [wave_id]))["effects"],
        "values": _values(study, fresh),
        "against_nothing": _against_nothing(study, fresh),
        "contrasts": _contrasts(study, fresh),
        "targeting": _targeting(study, fresh),
        "spending": _or_reason(partial(_spending, study, fresh)),
    }
    study.store.put_result(wave_id, EVALUATION, facts, study.clock())
    return Done(_text(facts, study), facts)


def _estimated(
    study: Study, fresh: FreshWave, first: Any, second: Any | None = None
) -> "PolicyEstimate":
    """Value of a policy, or the difference between two, by doubly robust scores."""
    options: dict[str, Any] = {
        "propensity": fresh.propensity,
        "cluster": fresh.cluster,
        "scores": fresh.scores,
        "level": study.spec.study.level,
    }
    data = (fresh.covariates, fresh.sent.to_numpy(), fresh.outcome)
    if second is None:
        return policy_value(first, *data, **options)
    return policy_contrast(first, second, *data, **options)


def _values(study: Study, fresh: FreshWave) -> list[dict[str, Any]]:
    nothing = random_policy([HELD_OUT], name="no message")
    policies: dict[str, Any] = {**fresh.remembered, nothing.name: nothing}
    return [
        {"policy": name, **_estimated(study, fresh, policy).to_dict()}
        for name, policy in policies.items()
    ]


def _against_nothing(study: Study, fresh: FreshWave) -> list[dict[str, Any]]:
    nothing = random_policy([HELD_OUT], name="no message")
    return [
        {"policy": policy.name, **_estimated(study, fresh, policy, nothing).to_dict()}
        for policy in fresh.remembered.values()
    ]


def _contrasts(study: Study, fresh: FreshWave) -> list[dict[str, Any]]:
    """Registered contrasts, both ways: by randomized policy, and by doubly robust scores."""
    pairs = [
        pair for pair in study.spec.analysis.contrasts if set(pair) <= set(fresh.policies)
    ] or _all_pairs(list(fresh.policies))
    found = []
    for first, second in pairs:
        a, b = fresh.remembered[first], fresh.remembered[second]
        row: dict[str, Any] = {"first": first, "second": second}
        row["doubly_robust"] = _estimated(study, fresh, a, b).to_dict()
        row["paired"] = _or_reason(partial(_paired, study, fresh, first, second))
        found.append(row)
    return found


def _all_pairs(names: list[str]) -> list[tuple[str, str]]:
    return [(a, b) for i, b in enumerate(names) for a in names[i + 1 :]]


def _paired(study: Study, fresh: FreshWave, first: str, second: str) -> dict[str, Any]:
    """Messaged units of two policies, those alone to whom they give different messages."""
    for name in (first, second):
        if fresh.remembered[name].leaves_to_chance:
            raise EstimationError(
                f"policy {name} draws by chance, so that it never surely agrees with another"
            )
    messaged = fresh.messaged
    found = paired_contrast(
        fresh.arm.filter(messaged).to_numpy(),
        fresh.outcome[messaged.to_numpy()],
        fresh.remembered[first].given[messaged.to_numpy()],
        fresh.remembered[second].given[messaged.to_numpy()],
        policies=(first, second),
        strata=fresh.data.stratum.filter(fresh.known).filter(messaged).to_numpy(),
        cluster=None if fresh.cluster is None else fresh.cluster[messaged.to_numpy()],
        se="HC2" if fresh.cluster is None else "CR2",
        level=study.spec.study.level,
    )
    return dict(found.to_dict())


def _targeting(study: Study, fresh: FreshWave) -> dict[str, Any]:
    """Whom to message first, for the arm that most units could get: the uniform best."""
    plan = study.spec.analysis.targeting
    name = plan.arm if plan is not None and plan.arm in fresh.policies else None
    fixed = [p for p in fresh.policies.values() if p.kind == "fixed" and len(p.arms) == 1]
    policy = fresh.policies[name] if name is not None else (fixed[0] if fixed else None)
    if policy is None or len(policy.arms) != 1:
        return {"not_estimable": "no policy gives everybody one arm, so there is no common message"}
    content = policy.arms[0]
    # gains, as in the models of the policies: a lower outcome is one where lower is better
    scores = study.spec.primary.sign * fresh.scores.effect(content)
    predicted = {
        name: fresh.effects[name][:, model.arms.index(content)]
        for name, model in fresh.models.items()
    }
    options: dict[str, Any] = {"cluster": fresh.cluster, "level": study.spec.study.level}
    curves = {**predicted, PREDICTED_OUTCOME: -_predicted_outcome(fresh)}
    return {
        "content": content,
        "curves": [
            {"priority": key, **_or_reason(partial(toc, priority, scores, **options))}
            for key, priority in curves.items()
        ],
        "calibration": {
            key: _or_reason(partial(calibration, effects, scores, **options))
            for key, effects in predicted.items()
        },
        "projection": _or_reason(
            partial(best_linear_projection, fresh.covariates, scores, **options)
        ),
    }


def _predicted_outcome(fresh: FreshWave) -> FloatArray:
    """Outcome without a message that covariates predict, learned where the policies learned.

    Times -1 where lower is better. Predictive targeting messages those first who would do worst:
    what teams do without a model of effects.
    """
    learner = fresh.learner
    alone = (learner.arm == learner.control).to_numpy()
    return fit_outcome(learner.covariates.filter(alone), learner.outcome[alone], fresh.covariates)


def _spending(study: Study, fresh: FreshWave) -> dict[str, Any]:
    """Gain of the best use of a number of messages, over arms and people."""
    arms = fresh.always_possible
    if not arms:
        raise EstimationError(
            "no arm could be drawn by every unit; needed a random policy in the wave for this"
        )
    if not fresh.models:
        raise EstimationError(
            "no policy has a model of effects; needed one by causal forest or neighbours"
        )
    first, model = next(iter(fresh.models.items()))
    columns = [model.arms.index(arm) for arm in arms]
    sign = study.spec.primary.sign
    scores = np.column_stack([sign * fresh.scores.effect(arm) for arm in arms])
    level, cluster = study.spec.study.level, fresh.cluster
    predicted = fresh.effects[first][:, columns]
    personal = cost_curve(predicted, scores, cluster=cluster, level=level)
    rows: list[dict[str, Any]] = []
    flat = np.tile(predicted.mean(axis=0), (len(predicted), 1))
    uniform = cost_curve(flat, scores, cluster=cluster, level=level)
    for spend in SPENDS:
        rows.append(
            {
                "spend": spend,
                "gain": personal.gain(spend).to_dict(),
                "uniform": uniform.gain(spend).to_dict(),
                "difference": personal.difference(uniform, spend).to_dict(),
            }
        )
    return {"arms": list(arms), "rows": rows, "max_spend": personal.max_spend}


def _or_reason(compute: Callable[[], Any]) -> dict[str, Any]:
    """What was computed as plain values, or why it could not be: never a number in its place."""
    try:
        found = compute()
    except (EstimationError, InputError) as error:
        return {"not_estimable": error.message}
    plain: dict[str, Any] = found if isinstance(found, dict) else found.to_dict()
    return plain


def _text(facts: dict[str, Any], study: Study) -> str:
    rows = [
        [row["policy"], row["estimate"], row["std_error"], row["conf_low"], row["conf_high"]]
        for row in facts["against_nothing"]
    ]
    heads = ["policy", "effect", "std_error", "low", "high"]
    lines = [
        f"Evaluation on wave {facts['wave']}: {facts['n_units']:,} units whose outcomes no policy "
        f"has seen (learned on {', '.join(facts['learned_on'])}).",
        "Effect of each policy against no message, doubly robust:",
        text_table(heads, rows),
        *evaluation_sentences(evaluation_contents(study, facts), study.spec.units.name),
    ]
    return "\n".join(lines)
