"""A study folder: the study file, its database, and where the clock comes in."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavewise.design.enrolment import Enrolment
from wavewise.design.parse import parse_spec
from wavewise.design.spec import EarlierStudy, StudySpec
from wavewise.design.versions import spec_hash
from wavewise.design.waves import Wave
from wavewise.errors import Fault, InputError, RegistrationError, SpecError, StateError

if TYPE_CHECKING:
    from wavewise.store import Store, VersionRow

__all__ = [
    "DATABASE_FILE",
    "REAL_CLOCK",
    "STUDY_FILE",
    "Clock",
    "Study",
    "database_url",
    "open_store",
    "open_study",
    "read_study_file",
]

STUDY_FILE = "study.toml"
DATABASE_FILE = "study.db"

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time now, in UTC: the only clock of the program."""
    return datetime.now(UTC)


REAL_CLOCK = utc_now  # and not one that a test or a simulation sets


@dataclass(frozen=True)
class Study:
    """An open study."""

    folder: Path  # Where ``study.toml`` lies.
    text: str  # The study file as it stands on disk.
    spec: StudySpec  # The same, validated.
    store: "Store"  # The study's database.
    clock: Clock = utc_now  # Gives the time now, with a time zone.
    # Frames that were read already and cannot change, such as those of closed waves.
    cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def version(self) -> "VersionRow | None":
        """The active registered version."""
        versions = self.store.versions.all()
        return versions[-1] if versions else None

    @property
    def is_exploratory(self) -> bool:
        """Whether a wave was opened without registration; this marks everything after it."""
        return any(row.exploratory for row in self.store.waves.all())

    def wave(self, wave_id: str) -> Wave:
        """A wave of the spec."""
        wave = self.spec.wave(wave_id)
        if wave is None:
            wave_ids = ", ".join(wave.id for wave in self.spec.waves)
            raise InputError(f"found wave '{wave_id}'; needed one of the study file: {wave_ids}")
        return wave

    def enrolment(self, enrolment_id: str) -> Enrolment:
        """An enrolment of the spec."""
        one = next((e for e in self.spec.enrolment if e.id == enrolment_id), None)
        if one is None:
            ids = ", ".join(e.id for e in self.spec.enrolment) or "it has none"
            raise InputError(
                f"found enrolment '{enrolment_id}'; needed one of the study file: {ids}"
            )
        return one

    def sender(self, sender_id: str) -> Wave | Enrolment:
        """A wave of the spec, or an enrolment."""
        return self.spec.sender(sender_id) or self.wave(sender_id)

    def require_state(self, wave_id: str, states: tuple[str, ...], to_do: str) -> None:
        """Raise unless a wave is in one of these states; the first one is asked for."""
        self.wave(wave_id)
        row = self.store.waves.get(wave_id)
        found = row.state if row is not None else "not open yet"
        if found not in states:
            needed = f"needed one that is {states[0]}"
            raise StateError(f"wave '{wave_id}' is {found}; {needed}; {to_do}")

    def require_registered(self, *, exploratory: bool) -> int | None:
        """The active version; a spec that is not the registered one is an error."""
        version = self.version
        if version is None:
            if exploratory:
                return None
            raise RegistrationError(
                "the study is not registered; needed a registered spec before a wave opens; run "
                f"`wavewise register {self.folder}`, or add --exploratory, which marks everything "
                "after it"
            )
        self.require_unchanged(version)
        return version.number

    def as_registered(self, of_hash: str | None = None) -> "Study":
        """The study as its newest registered version has it, or the version of this hash.

        What is sent is what is registered, whatever stands in the file since. Where nothing is
        registered, it is as the file has it.
        """
        versions = self.store.versions.all()
        named = [version for version in versions if version.hash == of_hash]
        if not versions:
            return self
        version = (named or versions)[-1]
        if version.hash == spec_hash(self.spec):
            return self
        text = version.spec_toml
        return replace(self, text=text, spec=_parsed(text), cache={})

    def require_unchanged(self, version: "VersionRow") -> None:
        """Raise if the study file differs from the registered version."""
        if spec_hash(self.spec) != version.hash:
            raise RegistrationError(
                f"{STUDY_FILE} differs from version {version.number}, registered "
                f"{version.created_at:%Y-%m-%d}; needed the registered spec; run `wavewise amend "
                f"{self.folder} --reason TEXT`, or undo the change"
            )


@lru_cache(maxsize=8)
def _parsed(text: str) -> StudySpec:
    return parse_spec(text)


def read_study_file(folder: Path) -> tuple[str, StudySpec]:
    """Text and spec of the study file in a folder."""
    path = folder / STUDY_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"found no {STUDY_FILE} in {folder}; needed a study folder; make one with "
            f"`wavewise init {folder} --template peru-school-year`"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: found a byte that is not UTF-8 at position {error.start}; save it as UTF-8"
        ) from None
    return text, with_earlier_results(parse_spec(text), folder)


# What earlier studies found, read into the spec: it is registered with the rest of the plan.


def with_earlier_results(spec: StudySpec, folder: Path) -> StudySpec:
    """The spec with the results of the earlier studies that its models name."""
    models, faults = dict(spec.models), []
    for name, model in spec.models.items():
        earlier = model.earlier
        if earlier is None or earlier.file is None:
            continue
        place = f"models.{name}.earlier"
        there = _results_of(folder / earlier.file, model.kind, f"{place}.file")
        found = there if isinstance(there, Fault) else _of_our_arms(spec, earlier, there, place)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            same = earlier.model_copy(update={"results": found})
            models[name] = model.model_copy(update={"earlier": same})
    if faults:
        raise SpecError(
            "the study file names results of earlier studies that cannot be used", faults
        )
    return spec.model_copy(update={"models": models}) if models != spec.models else spec


Pairs = dict[str, tuple[float, float]]


def _of_our_arms(spec: StudySpec, earlier: EarlierStudy, there: Pairs, place: str) -> Pairs | Fault:
    """Results of the arms of this study, under their names here."""
    ours = dict.fromkeys(
        arm.id for wave in spec.waves for arm in spec.arms_of(wave) if arm.id != wave.control_id
    )
    names = ", ".join(there) or "none"
    unknown = sorted(set(earlier.arms.values()) - set(there))
    if unknown:
        return Fault(f"{place}.arms", ", ".join(unknown), f"arms of the file: {names}")
    known = {arm: earlier.arms.get(arm, arm) for arm in ours}
    found = {arm: there[name] for arm, name in known.items() if name in there}
    if not found:
        fix = f'name them in {place}.arms, such as {{ {next(iter(ours))} = "..." }}'
        return Fault(f"{place}.file", f"arms {names}", f"one of {', '.join(ours)}", fix)
    if earlier.results and earlier.results != found:
        return Fault(f"{place}.results", "others than the file's", "one of both", "take one out")
    return found


def _results_of(path: Path, kind: str, place: str) -> Pairs | Fault:
    """Arm: successes and trials, or mean and standard deviation of its log odds."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        is_json = path.suffix.lower() == ".json"
        rows = _rows_of_arms(json.loads(text)) if is_json else csv.DictReader(text.splitlines())
        listed = [dict(row) for row in rows]
    except (OSError, ValueError) as error:
        found = f"'{path.name}', which cannot be read ({type(error).__name__})"
        return Fault(place, found, "a file in the study's folder", "copy it there")
    first, second = ("successes", "trials") if kind == "beta binomial" else _LOG_ODDS
    try:
        return {str(row["arm"]): (float(row[first]), float(row[second])) for row in listed}
    except (KeyError, TypeError, ValueError):
        fix = "take report/report.json of an earlier study with such a model, or write a CSV"
        return Fault(place, f"'{path.name}'", f"columns arm, {first}, {second} for every arm", fix)


_LOG_ODDS = ("log_odds_mean", "log_odds_sd")


def _rows_of_arms(found: Any) -> list[dict[str, Any]]:
    """Rows of the last posterior in a document: of a report, or a posterior by itself."""
    kind = found.get("kind", "") if isinstance(found, dict) else ""
    if kind == "beta-binomial posterior":
        return _in_rows(found, ("arms", "successes", "trials"))
    if kind == "hierarchical binomial posterior":
        names = ("arm", "successes", "trials", "mean", "sd")
        rows = _in_rows(found["arms"], names)
        return [row | dict(zip(_LOG_ODDS, (row["mean"], row["sd"]), strict=True)) for row in rows]
    listed = found.get("rows") if isinstance(found, dict) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    if isinstance(listed, list) and isinstance(first, dict) and first.get("trials") is not None:
        return listed
    inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    last: list[dict[str, Any]] = []
    for part in inner:
        last = _rows_of_arms(part) or last
    return last


def _in_rows(columns: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = zip(*(columns[name] for name in names), strict=True)
    return [dict(zip(("arm", *names[1:]), row, strict=True)) for row in rows]


@contextmanager
def open_study(
    folder: Path | str,
    *,
    store_url: str | None = None,
    clock: Clock | None = None,
    create: bool = True,
) -> Iterator[Study]:
    """An open study, closed at the end of the block."""
    folder = Path(folder)
    text, spec = read_study_file(folder)
    with open_store(folder, store_url, create=create) as store:
        yield Study(folder, text, spec, store, clock or utc_now)


def database_url(folder: Path, url: str | None = None) -> str:
    """The URL that was given, or that of the file in a study's folder."""
    return url or f"sqlite:///{(folder / DATABASE_FILE).resolve()}"


def open_store(folder: Path, url: str | None = None, *, create: bool = True) -> "Store":
    """The database of a study: the one of the URL, or the file in its folder."""
    from wavewise.store import Store

    return Store.open(database_url(folder, url), create=create)
