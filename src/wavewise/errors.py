"""The one error tree.

::

    WavewiseError
    ├── SpecError            the study file is wrong: every fault at once
    ├── InputError           a file or an array is wrong: rows and columns named
    ├── RegistrationError    not registered, or changed since
    ├── StateError           the step does not fit what was done before
    ├── EstimationError      the data cannot answer the question that was asked
    ├── DecisionError        no decision follows from what was learned
    ├── StoreError           the database cannot be used now
    ├── ChannelError         a provider refuses everything that is sent
    └── UnavailableError     an optional package or a later step is needed

Every text says what was found, what was needed and what to do, and holds no unit's id or address.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = [
    "STATUS",
    "ChannelError",
    "DecisionError",
    "EstimationError",
    "Fault",
    "InputError",
    "RegistrationError",
    "SpecError",
    "StateError",
    "StoreError",
    "UnavailableError",
    "WavewiseError",
    "exit_code",
    "http_status",
]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an input."""

    # Where: a key of the study file (``waves[1].shares``) or a place in a data file (``row 7,
    # column 'grade'``).
    path: str
    found: str  # What stands there.
    needed: str  # What is needed instead.
    fix: str = ""  # What to do.
    # Where in a table it is, if it is in one: what a reader of JSON makes a path of its own from.
    row: int | None = field(default=None, compare=False, repr=False)
    column: str | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        text = f"{self.path}: found {self.found}; needed {self.needed}"
        return f"{text}; {self.fix}" if self.fix else text

    def to_dict(self) -> dict[str, str]:
        """The fault as plain strings, for machines."""
        return {"path": self.path, "found": self.found, "needed": self.needed, "fix": self.fix}


class WavewiseError(Exception):
    """Root of every error that Wavewise raises on purpose."""

    def __init__(self, message: str, faults: Iterable[Fault] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {fault}" for fault in self.faults)])


class SpecError(WavewiseError):
    """The study file is wrong."""


class InputError(WavewiseError):
    """A data file or an array is wrong; nothing was written."""


class RegistrationError(WavewiseError):
    """The study is not registered, or was changed since it was."""


class StateError(WavewiseError):
    """The step does not fit what was done before, such as closing a wave that is not open."""


class EstimationError(WavewiseError):
    """The data cannot answer the question, such as an arm without units."""


class DecisionError(WavewiseError):
    """No decision follows from what was learned."""


class StoreError(WavewiseError):
    """The database cannot be used now, such as one that another process holds."""

    may_pass = False  # Whether it may be usable again without anybody doing something to it.


class ChannelError(WavewiseError):
    """A provider refuses everything, such as one that does not take the password."""


class UnavailableError(WavewiseError):
    """An optional package, or a step that this version does not hold, is needed."""


# class: (exit code of the command line, HTTP status)
STATUS: dict[type[WavewiseError], tuple[int, int]] = {
    WavewiseError: (1, 500),
    SpecError: (3, 422),
    InputError: (4, 422),
    RegistrationError: (5, 409),
    StateError: (6, 409),
    EstimationError: (7, 422),
    DecisionError: (8, 409),
    StoreError: (9, 503),
    UnavailableError: (10, 501),
    ChannelError: (11, 502),
}


def _status(error: WavewiseError) -> tuple[int, int]:
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def exit_code(error: WavewiseError) -> int:
    """Exit code of the command line for an error."""
    return _status(error)[0]


def http_status(error: WavewiseError) -> int:
    """HTTP status for an error."""
    return _status(error)[1]
