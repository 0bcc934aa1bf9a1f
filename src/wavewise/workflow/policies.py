"""Policies of a study: learned once, frozen as files with hashes, read back only unchanged."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavewise.decide import load_policy
from wavewise.design.waves import Wave
from wavewise.errors import StateError
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.learning import Learner, learner_for
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.decide import Policy

__all__ = ["POLICY_FOLDER", "decide_policies", "frozen_policies", "wave_of_policies"]

POLICY_FOLDER = "policies"
KIND = "policies"


def wave_of_policies(study: Study, wave_id: str) -> Wave | None:
    """The wave some of whose arms are policies for which this wave is the last to learn from."""
    order = [wave.id for wave in study.spec.waves]
    for wave in study.spec.waves:
        taught = [
            name
            for arm in study.spec.arms_of(wave)
            if arm.policy is not None
            for name in arm.policy.learned_on
        ]
        if taught and max(taught, key=order.index) == wave_id:
            return wave
    return None


def decide_policies(study: Study, wave: Wave) -> Done:
    """Learn the policies of a wave and freeze them in ``policies/``.

    Raises
    ------
    StateError
        If the wave was opened already: its policies do not change any more.
    """
    row = study.store.wave(wave.id)
    if row is not None:
        raise StateError(
            f"wave '{wave.id}' is {row.state} already; its policies were frozen before it opened"
        )
    learners: dict[tuple[str, ...], Learner] = {}
    policies = {
        arm.id: learner_for(study, arm.policy.learned_on, learners).policy(arm.policy, arm.id)
        for arm in study.spec.arms_of(wave)
        if arm.policy is not None
    }
    frozen = {name: _freeze(study, wave, policy) for name, policy in policies.items()}
    payload: dict[str, Any] = {"for_wave": wave.id, "policies": frozen}
    study.store.put_result(wave.id, KIND, payload, study.clock())
    rows = [[name, _told(study, policy), policy.hash[:12]] for name, policy in policies.items()]
    lines = [
        f"Policies of wave {wave.id}, frozen in {study.folder / POLICY_FOLDER}:",
        text_table(["policy", "rule", "hash"], rows),
        "They do not change any more: `wave open` uses these files and no others.",
    ]
    return Done("\n".join(lines), payload)


def _told(study: Study, policy: "Policy") -> str:
    """The rule in plain words, and that its effects are of the negated outcome where they are."""
    if study.spec.primary.higher_is_better or policy.kind == "fixed":
        return policy.describe()
    return f"{policy.describe()} (a lower {study.spec.primary.name} counts as a larger effect)"


def _freeze(study: Study, wave: Wave, policy: "Policy") -> dict[str, Any]:
    content = policy.to_bytes()
    path = study.folder / POLICY_FOLDER / f"{wave.id}.{policy.name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_bytes(content)
    partial.replace(path)
    facts = policy.to_dict()
    return facts | {
        "text": _told(study, policy),
        "file": f"{POLICY_FOLDER}/{path.name}",
        "file_sha256": hashlib.sha256(content).hexdigest(),
    }


def frozen_policies(study: Study, wave: Wave) -> dict[str, "Policy"]:
    """The frozen policies of a wave by arm.

    Raises
    ------
    StateError
        If they were not decided yet, or a file is missing or was changed since.
    """
    decided = study.store.latest_result(wave.id, KIND)
    arms = [arm for arm in study.spec.arms_of(wave) if arm.policy is not None]
    if not arms:
        return {}
    if decided is None or {arm.id for arm in arms} - set(decided.payload["policies"]):
        teachers = dict.fromkeys(
            name for arm in arms if arm.policy is not None for name in arm.policy.learned_on
        )
        raise StateError(
            f"wave '{wave.id}' has policies for arms, and they are not learned yet; close "
            f"{', '.join(teachers)} and run `wavewise decide {study.folder} {list(teachers)[-1]}`"
        )
    return {arm.id: _read(study, decided.payload["policies"][arm.id]) for arm in arms}


def _read(study: Study, facts: dict[str, Any]) -> "Policy":
    path = study.folder / Path(facts["file"])
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StateError(
            f"{path}: found no file; needed the policy that was frozen; restore it from a copy"
        ) from None
    if hashlib.sha256(content).hexdigest() != facts["file_sha256"]:
        raise StateError(
            f"{path}: found another file than the one that was frozen; needed SHA-256 "
            f"{facts['file_sha256'][:16]}...; restore it from a copy"
        )
    return load_policy(path)
