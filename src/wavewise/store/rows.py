"""What the store hands out besides frames, and how it writes time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from wavewise.errors import InputError

__all__ = [
    "AddedEvents",
    "AddedScores",
    "ResultRow",
    "VersionRow",
    "WaveRow",
    "from_us",
    "to_us",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Whole microseconds from 1970-01-01T00:00Z to a moment.

    Raises
    ------
    InputError
        The moment has no time zone.

    Examples
    --------
    >>> to_us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    if moment.tzinfo is None:
        raise InputError(
            f"found the time {moment.isoformat()} without a time zone; needed one with it, "
            "such as datetime.now(UTC)"
        )
    return (moment - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The moment, in UTC, that lies some microseconds after 1970-01-01T00:00Z.

    Examples
    --------
    >>> from_us(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + microseconds * _MICROSECOND


@dataclass(frozen=True)
class VersionRow:
    """One registered version of the study's spec.

    Parameters
    ----------
    number : int
        1 for the registration, then one more at each amendment.
    created_at : datetime
        When it was registered.
    reason : str
        Why the spec was changed.
    spec_toml, spec_json : str
        The text as registered; its canonical form.
    hash : str
        SHA-256 of the canonical form.
    waves_seen : tuple of str
        Waves whose outcomes were frozen before: where there are any, this version is an addendum.
    """

    number: int
    created_at: datetime
    reason: str
    spec_toml: str
    spec_json: str
    hash: str
    waves_seen: tuple[str, ...] = ()

    @property
    def is_addendum(self) -> bool:
        """Whether outcomes of a wave were known when this version was made."""
        return bool(self.waves_seen)


@dataclass(frozen=True)
class WaveRow:
    """One wave as it was opened.

    Parameters
    ----------
    wave_id : str
        The wave's id in the spec.
    opened_at : datetime
        When it was randomized.
    version : int or None
        The version of the spec in force; None before registration.
    exploratory : bool
        Whether it was opened without registration.
    starts_at : datetime or None
        Start of the outcome window in the study's own time zone.
    details : mapping
        Whatever describes the draw (arms, shares, seed, hash of the assignment): plain JSON values.
    state : {'open', 'closed'}
        Closed once its outcomes are frozen.
    closed_at : datetime or None
        When they were.
    """

    wave_id: str
    opened_at: datetime
    version: int | None = None
    exploratory: bool = False
    starts_at: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    state: Literal["open", "closed"] = "open"
    closed_at: datetime | None = None


@dataclass(frozen=True)
class ResultRow:
    """One stored result of a wave, such as an analysis or a decision.

    Parameters
    ----------
    id : int
        Grows with every result, so that the latest is the largest.
    wave_id : str
        The wave that it is about.
    kind : str
        ``analysis``, ``decision`` and so on.
    created_at : datetime
        When it was made.
    version : int or None
        The version of the spec in force; None before registration.
    payload : mapping
        The result as plain JSON values.
    """

    id: int
    wave_id: str
    kind: str
    created_at: datetime
    version: int | None
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class AddedEvents:
    """Counts of one delivery of events.

    Parameters
    ----------
    n_new : int
        Events that were added.
    n_repeated : int
        Events that were known already, with the same content.
    n_conflicting : int
        Events whose id was known with other content; the first content was kept.
    n_unknown_unit : int
        Among the new ones, events of units that were not imported; they are kept.
    """

    n_new: int
    n_repeated: int
    n_conflicting: int
    n_unknown_unit: int = 0


@dataclass(frozen=True)
class AddedScores:
    """Counts of one file of scores.

    Parameters
    ----------
    n_new : int
        Scores that were added, each a delivery of a unit and period.
    n_repeated : int
        Scores that were known already.
    n_unknown_unit : int
        Among the new ones, scores of units that were not imported; they are kept.
    """

    n_new: int
    n_repeated: int
    n_unknown_unit: int = 0
