"""What is known of a study file while its references are checked."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from wavewise.design.waves import Arm
from wavewise.errors import Fault

__all__ = ["Known", "listing", "refer"]


@dataclass(frozen=True)
class Known:
    """The sound entries, and the names of all, sound or not, so that no fault is told twice."""

    sound: Mapping[str, Any]
    raw: Mapping[str, Any] = field(repr=False)

    def names(self, section: str) -> set[str]:
        """Names in a section of the file as written."""
        value = self.raw.get(section)
        return set(value) if isinstance(value, Mapping) else set(self._ids(section))

    def _ids(self, section: str) -> list[str]:
        """Ids in a list of entries as written, in the order of the file."""
        value = self.raw.get(section)
        entries = value if isinstance(value, list) else ()
        ids = [entry.get("id") for entry in entries if isinstance(entry, Mapping)]
        return [name for name in ids if isinstance(name, str)]

    def entries(self, section: str) -> list[Any]:
        """Sound entries of a section that is a list."""
        return list(self.sound.get(section) or ())

    def table(self, section: str) -> dict[str, Any]:
        """Sound entries of a section that is a table."""
        return dict(self.sound.get(section) or {})

    @cached_property
    def arms(self) -> dict[str, Arm]:
        """Arms of [[arms]] by id."""
        return {arm.id: arm for arm in self.entries("arms")}

    @cached_property
    def wave_arms(self) -> dict[str, tuple[Arm, ...]]:
        """Arms of each sound wave, written out."""
        return {wave.id: wave.all_arms(self.arms) for wave in self.entries("waves")}

    @cached_property
    def arm_ids(self) -> set[str]:
        """Ids of the arms of all sound waves."""
        return {arm.id for arms in self.wave_arms.values() for arm in arms}

    @cached_property
    def columns(self) -> set[str] | None:
        """Columns that [units], [derived] or an enrolment names; None where [units] has faults."""
        units = self.sound.get("units")
        answers = {one.answers for one in self.entries("enrolment")} - {None}
        made = self.names("derived") | answers
        return None if units is None else {*units.columns(), *made}

    def earlier(self, wave_id: str) -> list[str]:
        """Ids of the waves before one, in the order of the file."""
        order = self._ids("waves")
        return order[: order.index(wave_id)] if wave_id in order else []


def listing(names: Iterable[str]) -> str:
    """Names in quotes, sorted."""
    return ", ".join(f"'{name}'" for name in sorted(names)) or "none is defined"


def refer(path: str, name: str, names: set[str], what: str) -> Iterator[Fault]:
    """A fault where a name is not among those that are defined."""
    if name not in names:
        yield Fault(path, f"'{name}'", f"the name of {what} ({listing(names)})")
