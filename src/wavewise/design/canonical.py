"""The canonical form of a spec and its hash: what is registered."""

import hashlib
import json
from typing import Any

from wavewise.design.spec import StudySpec

__all__ = ["canonical_dict", "canonical_json", "spec_hash"]

CANONICAL_VERSION = 1


def canonical_dict(spec: StudySpec) -> dict[str, Any]:
    """The spec as plain values. Comments, order of keys and spelled-out defaults do not matter."""
    values = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {"canonical_version": CANONICAL_VERSION, **values}


def canonical_json(spec: StudySpec) -> str:
    """The canonical form as JSON text, keys sorted."""
    return json.dumps(
        canonical_dict(spec), sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )


def spec_hash(spec: StudySpec) -> str:
    """SHA-256 of the canonical form."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()
