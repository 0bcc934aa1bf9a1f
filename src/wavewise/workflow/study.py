"""A study folder: the study file, its database, and where the clock comes in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavewise.design.canonical import spec_hash
from wavewise.design.parse import parse_spec
from wavewise.design.spec import StudySpec
from wavewise.design.waves import Wave
from wavewise.errors import InputError, RegistrationError, StateError

if TYPE_CHECKING:
    from wavewise.store import Store, VersionRow

__all__ = ["DATABASE_FILE", "STUDY_FILE", "Clock", "Study", "open_study", "read_study_file"]

STUDY_FILE = "study.toml"
DATABASE_FILE = "study.db"

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time now, in UTC: the only clock of the program."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Study:
    """An open study.

    Parameters
    ----------
    folder : Path
        Where ``study.toml`` lies.
    text : str
        The study file as it stands on disk.
    spec : StudySpec
        The same, validated.
    store : Store
        The study's database.
    clock : callable
        Gives the time now, with a time zone.
    cache : dict
        Frames that were read already and cannot change, such as those of closed waves.
    """

    folder: Path
    text: str
    spec: StudySpec
    store: "Store"
    clock: Clock = utc_now
    cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def version(self) -> "VersionRow | None":
        """The registered version in force."""
        versions = self.store.versions()
        return versions[-1] if versions else None

    @property
    def is_exploratory(self) -> bool:
        """Whether a wave was opened without registration; this marks everything after it."""
        return any(row.exploratory for row in self.store.waves())

    def wave(self, wave_id: str) -> Wave:
        """A wave of the spec.

        Raises
        ------
        InputError
            If there is none of this name.
        """
        wave = self.spec.wave(wave_id)
        if wave is None:
            known = ", ".join(wave.id for wave in self.spec.waves)
            raise InputError(f"found wave '{wave_id}'; needed one of the study file: {known}")
        return wave

    def require_state(self, wave_id: str, state: str, to_do: str) -> None:
        """Refuse where a wave is not in a state.

        Raises
        ------
        StateError
            With what the wave's state is, and ``to_do``.
        """
        self.wave(wave_id)
        row = self.store.wave(wave_id)
        found = row.state if row is not None else "not open yet"
        if found != state:
            raise StateError(f"wave '{wave_id}' is {found}; needed one that is {state}; {to_do}")

    def require_registered(self, *, exploratory: bool) -> int | None:
        """The version in force, refusing a spec that is not the registered one.

        Raises
        ------
        RegistrationError
            If the spec is not registered, or was changed since, and ``exploratory`` is False.
        """
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

    def require_unchanged(self, version: "VersionRow") -> None:
        """Refuse a study file that differs from the registered version.

        Raises
        ------
        RegistrationError
            With what to do.
        """
        if spec_hash(self.spec) != version.hash:
            raise RegistrationError(
                f"{STUDY_FILE} differs from version {version.number}, registered "
                f"{version.created_at:%Y-%m-%d}; needed the registered spec; run `wavewise amend "
                f"{self.folder} --reason TEXT`, or undo the change"
            )


def read_study_file(folder: Path) -> tuple[str, StudySpec]:
    """Text and spec of the study file in a folder.

    Raises
    ------
    InputError
        If there is none.
    SpecError
        With every fault.
    """
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
    return text, parse_spec(text)


@contextmanager
def open_study(
    folder: Path | str, *, store_url: str | None = None, clock: Clock = utc_now
) -> Iterator[Study]:
    """An open study, closed at the end of the block.

    Parameters
    ----------
    folder : path
        The study folder.
    store_url : str, optional
        Database, such as ``postgresql://...``; by default the file ``study.db`` in the folder.
    clock : callable, optional
        Gives the time now.
    """
    from wavewise.store import Store  # noqa: PLC0415  (a heavy import, wanted only here)

    folder = Path(folder)
    text, spec = read_study_file(folder)
    url = store_url or f"sqlite:///{(folder / DATABASE_FILE).resolve()}"
    with Store.open(url) as store:
        yield Study(folder, text, spec, store, clock)
