"""Steps that nobody does alone: known words, and no other hash for plans without them."""

import hashlib
import json

import pytest

from study_folders import STUDY
from wavewise.design.parse import parse_spec
from wavewise.design.versions import canonical_dict, changes, spec_hash
from wavewise.errors import SpecError

TEAM = '\n[team]\nsecond_person = ["open", "decide"]\n'


def test_a_plan_without_it_keeps_its_canonical_form() -> None:
    spec = parse_spec(STUDY)
    canonical = canonical_dict(spec)
    assert "team" not in canonical
    assert canonical_dict(parse_spec(f"{STUDY}\n[team]\n")) == canonical
    text = json.dumps(canonical, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == spec_hash(spec)


def test_it_is_part_of_the_plan_where_it_is_given() -> None:
    before, after = (canonical_dict(parse_spec(text)) for text in (STUDY, STUDY + TEAM))
    (change,) = changes(before, after)
    assert (change.field, change.after) == ("team.second_person", ["open", "decide"])


def test_an_unknown_step_is_a_fault_with_its_place() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(STUDY + TEAM.replace("decide", "decice"))
    (fault,) = caught.value.faults
    assert fault.path.startswith("team.second_person")
    assert "decide" in str(fault)
