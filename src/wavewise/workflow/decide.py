"""``decide``: the next wave's shares or policies, or the arm to choose."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wavewise.decide import best_arm, next_shares, stop_or_go
from wavewise.design.waves import AllocationRule, Wave
from wavewise.errors import StateError
from wavewise.streams import stream
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.frames import n_units_of_wave
from wavewise.workflow.policies import decide_policies, wave_of_policies
from wavewise.workflow.posteriors import posterior_of, require_closed
from wavewise.workflow.score_models import score_fits
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.decide import StopOrGo
    from wavewise.workflow.posteriors import ArmPosterior

__all__ = ["decide", "wave_that_learns"]

MOST_PROBABLE = "highest probability of being best"


def decide(study: Study, wave_id: str) -> Done:
    """What follows from a wave: shares or policies of the next one, or the final choice.

    Parameters
    ----------
    study : Study
        An open study.
    wave_id : str
        The closed wave that was learned from last.

    Raises
    ------
    StateError
        If a wave that is learned from is not closed, or nothing hangs on this wave.
    """
    close = f"close it with `wavewise wave close {study.folder} {wave_id}`"
    study.require_state(wave_id, "closed", close)
    following = wave_that_learns(study, wave_id)
    if following is not None:
        return _decide_shares(study, following)
    tested = wave_of_policies(study, wave_id)
    if tested is not None:
        return decide_policies(study, tested)
    plan = study.spec.decision
    if plan is None or wave_id not in plan.learned_on:
        raise StateError(
            f"nothing hangs on wave '{wave_id}': no later wave takes its shares or its policies "
            "from it, and "
            "[decision] does not learn on it; add one of them to the study file"
        )
    return _choose(study, wave_id)


def wave_that_learns(study: Study, wave_id: str) -> Wave | None:
    """The wave of whose teachers this one is the last, so that all of them are closed."""
    order = [wave.id for wave in study.spec.waves]
    for wave in study.spec.waves:
        rule = wave.shares
        if isinstance(rule, AllocationRule) and max(rule.learned_on, key=order.index) == wave_id:
            return wave
    return None


def _decide_shares(study: Study, wave: Wave) -> Done:
    rule = wave.shares
    if not isinstance(rule, AllocationRule):
        raise StateError(f"wave '{wave.id}' has shares of its own; there is nothing to decide")
    row = study.store.wave(wave.id)
    if row is not None and wave.imported is None:
        raise StateError(
            f"wave '{wave.id}' is {row.state} already; its shares were decided before; see "
            f"`wavewise report {study.folder}`"
        )
    require_closed(study, rule.learned_on)
    posterior = _posterior(study, rule.model, rule.learned_on, wave)
    shares = next_shares(
        posterior,
        rule=rule.rule,
        control=wave.control_id if wave.control_share is not None else None,
        control_share=wave.control_share or 0.0,
        learned_on=rule.learned_on,
        floor=rule.floor,
        temper=rule.temper,
        uniform_share=rule.uniform_share,
        beta=rule.beta,
    )
    named = dict(zip(shares.arms, map(float, shares.shares), strict=True))
    payload: dict[str, Any] = {
        "for_wave": wave.id,
        "shares": named,
        "decision": shares.to_dict(),
        "prob_optimal": dict(zip(posterior.arms, posterior.prob_optimal.tolist(), strict=True)),
    }
    worth = _worth(study, wave, rule, posterior)
    if worth is not None:
        payload["another_wave"] = worth.to_dict()
    study.store.put_result(wave.id, "next-shares", payload, study.clock())
    rows = [[arm, share] for arm, share in named.items()]
    lines = [f"Shares of wave {wave.id}:", text_table(["arm", "share"], rows), shares.text]
    lines += _direction(study, rule.model)
    return Done("\n".join([*lines, *([worth.text] if worth is not None else [])]), payload)


def _worth(
    study: Study, wave: Wave, rule: AllocationRule, posterior: "ArmPosterior"
) -> "StopOrGo | None":
    """Whether the wave is worth its cost, where the study file says what it costs."""
    stakes = study.spec.planning.another_wave if study.spec.planning is not None else None
    if stakes is None or rule.model is None:
        return None
    outcome = next(
        item for item in study.spec.outcomes if item.id == study.spec.models[rule.model].outcome
    )
    return stop_or_go(
        posterior,
        n_next=n_units_of_wave(study, wave),
        cost_per_unit=stakes.cost_per_unit,
        cost_per_wave=stakes.cost_per_wave,
        beneficiaries=stakes.beneficiaries,
        value_per_success=stakes.value_per_success,
        rng=stream(study.spec.study.seed, "another wave", wave.id),
        rule=rule.rule,
        control_share=wave.control_share or 0.0,
        trials_per_unit=study.spec.trials(outcome, wave) or 1,
        floor=rule.floor,
        temper=rule.temper,
        uniform_share=rule.uniform_share,
        beta=rule.beta,
    )


def _posterior(
    study: Study, model: str | None, learned_on: Sequence[str], wave: Wave
) -> "ArmPosterior":
    if model is None:
        raise StateError(f"wave '{wave.id}': its shares name no model; add model to the study file")
    return posterior_of(study, model, learned_on)


def _choose(study: Study, wave_id: str) -> Done:
    plan = study.spec.decision
    if plan is None:
        raise StateError("the study file has no [decision]")
    require_closed(study, plan.learned_on)
    posterior = posterior_of(study, plan.model, plan.learned_on)
    choice = best_arm(posterior)
    arm = choice.likeliest if plan.choose == MOST_PROBABLE else choice.arm
    row = posterior.arms.index(arm)
    payload: dict[str, Any] = {
        "arm": arm,
        "rule": plan.choose,
        "policy_regret": float(posterior.policy_regret[row]),
        "prob_optimal": float(posterior.prob_optimal[row]),
        "runner_up": choice.runner_up if arm == choice.arm else choice.arm,
        "learned_on": list(plan.learned_on),
        "text": " ".join([choice.text, *_direction(study, plan.model)]),
    }
    fits = score_fits(study, wave_id)
    if fits:
        payload["score_models"] = [fit.to_dict() for fit in fits]
    study.store.put_result(wave_id, "decision", payload, study.clock())
    told = [choice.text, *_direction(study, plan.model)]
    parts = ["\n".join([f"Chosen by {plan.choose}: {arm}.", *told]), *(fit.text for fit in fits)]
    return Done("\n\n".join(parts), payload)


def _direction(study: Study, model: str | None) -> list[str]:
    """That the lowest outcome is best, where it is."""
    wanted = None if model is None else study.spec.models[model].outcome
    texts = [item.direction_text for item in study.spec.outcomes if item.id == wanted]
    return [text for text in texts if text]
