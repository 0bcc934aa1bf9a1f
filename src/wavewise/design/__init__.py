"""The study file: what is planned, as one frozen value, validated before anything is done."""

from wavewise.design.parse import find_faults, json_schema, parse_spec, read_toml
from wavewise.design.shares import planned_shares
from wavewise.design.spec import StudySpec
from wavewise.design.templates import template_names, template_text
from wavewise.design.versions import canonical_dict, canonical_json, spec_hash

__all__ = [
    "StudySpec",
    "canonical_dict",
    "canonical_json",
    "find_faults",
    "json_schema",
    "parse_spec",
    "planned_shares",
    "read_toml",
    "spec_hash",
    "template_names",
    "template_text",
]
