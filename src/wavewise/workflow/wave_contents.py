"""One wave, as the report shows it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wavewise.design.arms import Arm
from wavewise.design.shares import planned_shares
from wavewise.design.waves import AllocationRule, SharesByStratum, Wave
from wavewise.report import contents as shown
from wavewise.results import CheckResult, NotEstimable
from wavewise.workflow.analysis import analyse_waves
from wavewise.workflow.decide import wave_that_learns
from wavewise.workflow.deliveries import delivered, ratio_of_delivered
from wavewise.workflow.effect_contents import effects_contents, is_closed
from wavewise.workflow.frames import wave_data
from wavewise.workflow.posterior_contents import decision_model
from wavewise.workflow.posteriors import model_check
from wavewise.workflow.score_models import score_fits
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.store import WaveRow

__all__ = ["wave_contents"]


def wave_contents(
    study: Study,
    wave: Wave,
    row: "WaveRow | None",
    posteriors: dict[str, shown.PosteriorContents | NotEstimable],
) -> shown.WaveContents:
    """Who was in a wave, whether it went right, what it showed."""
    analysis = analyse_waves(study, [wave.id]) if is_closed(row) else None
    return shown.WaveContents(
        id=wave.id,
        title=wave.name,
        state=row.state if row is not None else "planned",
        arms=_arms(study, wave, row),
        starts=str(wave.starts),
        window_days=wave.window_days,
        allocation=_allocation(wave),
        checks=(
            *_opening_checks(row),
            *(analysis.checks if analysis else ()),
            *_model_checks(study, wave, row),
            *_delivery_checks(study, wave, row),
        ),
        effects=effects_contents(study, analysis) if analysis else (),
        posterior=posteriors.get(wave.id),
        next_shares=_next_shares(study, wave),
        exploratory=row.exploratory if row is not None else False,
    )


def _delivery_checks(study: Study, wave: Wave, row: "WaveRow | None") -> tuple[CheckResult, ...]:
    """Whether arms reached units in the shares in which they were assigned, if any were sent to."""
    if row is None:
        return ()
    found = delivered(study, wave.id)
    return (ratio_of_delivered(found),) if found.doses["n_messages"].sum() else ()


def _arms(study: Study, wave: Wave, row: "WaveRow | None") -> tuple[shown.ArmRow, ...]:
    arms = study.spec.arms_of(wave)
    assigned = _counts(row)
    known = _known(study, wave, row)
    shares = _shares(study, wave, row, assigned)
    return tuple(
        shown.ArmRow(
            arm=arm.id,
            content=_content(study, arm),
            share=shares.get(arm.id) if row is None else shares.get(arm.id, 0.0),
            n_assigned=assigned.get(arm.id, 0) if row is not None else None,
            n_with_outcome=known.get(arm.id, 0) if known is not None else None,
        )
        for arm in arms
    )


def _content(study: Study, arm: Arm) -> str:
    """The message's text where an arm is one message with a text; else what it is in words."""
    if arm.content == "nothing":
        return "no message"
    message = next((m for m in study.spec.messages if arm.sequence == (m.id,)), None)
    if message is not None and message.text:
        return message.text.get("en") or next(iter(message.text.values()))
    if message is not None and message.mechanism:
        return message.mechanism
    return arm.label or arm.content


def _counts(row: "WaveRow | None") -> dict[str, int]:
    counts = row.details.get("counts", ()) if row is not None else ()
    return {str(count["arm"]): int(count["n_units"]) for count in counts}


def _known(study: Study, wave: Wave, row: "WaveRow | None") -> dict[str, int] | None:
    """Units of each arm whose primary outcome is known; None while the wave is not closed."""
    if row is None or row.state != "closed":
        return None
    data, primary = wave_data(study, wave.id), study.spec.primary.id
    if primary not in data.outcomes.columns:
        return {}
    known = data.arm.filter(data.outcomes[primary].is_not_null())
    return dict(known.value_counts().iter_rows())


def _shares(
    study: Study, wave: Wave, row: "WaveRow | None", assigned: dict[str, int]
) -> dict[str, float]:
    """Shares as drawn; where they differ by stratum, or are not known, those that came out."""
    drawn = row.details.get("shares") if row is not None else None
    shares = _decided_shares(study, wave) if drawn is None else drawn
    if shares is not None and all(isinstance(value, float | int) for value in shares.values()):
        return {str(arm): float(share) for arm, share in shares.items()}
    total = sum(assigned.values())
    return {arm: count / total for arm, count in assigned.items()} if total else {}


def _decided_shares(study: Study, wave: Wave) -> Mapping[str, Any] | None:
    """Shares that were decided for a wave, or planned."""
    decided = study.store.latest_result(wave.id, "next-shares")
    if decided is not None:
        shares: Mapping[str, Any] = decided.payload["shares"]
        return shares
    return planned_shares(study.spec, wave)


def _allocation(wave: Wave) -> str:
    rule = wave.shares
    if isinstance(rule, AllocationRule):
        return f"{rule.rule} shares, learned on {', '.join(rule.learned_on)}"
    if isinstance(rule, SharesByStratum):
        return "shares that differ by stratum"
    return "equal shares" if rule == "equal" else "fixed shares"


def _opening_checks(row: "WaveRow | None") -> tuple[CheckResult, ...]:
    verdicts = {"pass": True, "fail": False, "no verdict": None}
    checks = row.details.get("checks", ()) if row is not None else ()
    return tuple(
        CheckResult(
            check["name"], check["scope"], verdicts[check["verdict"]], check["text"],
            tuple(check["table"]), check.get("number"), check.get("advice", ""),
        )
        for check in checks
    )  # fmt: skip


def _model_checks(study: Study, wave: Wave, row: "WaveRow | None") -> tuple[CheckResult, ...]:
    """Whether the model that decides fits what is known after a closed wave."""
    if not is_closed(row):
        return ()
    scores = tuple(
        fit.panels.check
        for fit in score_fits(study, wave.id)
        if not isinstance(fit.panels, NotEstimable) and fit.panels.check is not None
    )
    name = decision_model(study)
    if name is None:
        return scores
    order = [other.id for other in study.spec.waves]
    so_far = order[: order.index(wave.id) + 1]
    closed = [one for one in so_far if is_closed(study.store.wave(one))]
    check = model_check(study, name, closed)
    return scores if check is None else (check, *scores)


def _next_shares(study: Study, wave: Wave) -> tuple[shown.ShareRow, ...]:
    """Shares that were decided once this wave was closed."""
    later = wave_that_learns(study, wave.id)
    decided = study.store.latest_result(later.id, "next-shares") if later is not None else None
    shares = decided.payload["shares"] if decided is not None else {}
    return tuple(shown.ShareRow(arm, float(share)) for arm, share in shares.items())
