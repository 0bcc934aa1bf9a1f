"""Policies of a study: learned once, frozen as files with hashes, read back only unchanged."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavewise.decide import load_policy
from wavewise.design.waves import Wave
from wavewise.errors import StateError
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.decide import Policy

__all__ = ["KIND", "POLICY_FOLDER", "frozen_policies", "policy_rules"]

POLICY_FOLDER = "policies"
KIND = "policies"


def frozen_policies(study: Study, wave: Wave) -> dict[str, "Policy"]:
    """The frozen policies of a wave by arm."""
    decided = study.store.results.latest(wave.id, KIND)
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


def policy_rules(study: Study, wave_id: str) -> dict[str, str]:
    """The rules of a wave's frozen policies in words, by policy."""
    frozen = study.store.results.latest(wave_id, KIND)
    policies = {} if frozen is None else frozen.payload["policies"]
    return {name: str(facts.get("text", "")) for name, facts in policies.items()}


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
