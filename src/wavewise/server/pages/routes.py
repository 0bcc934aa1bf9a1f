"""Every address of the pages, declared where it is answered: method, path, right, verb.

The application is built from :data:`ROUTES` alone, and refuses an address without a right. Who asks
is told by a :class:`Doorkeeper`, which also carries every step out: there is one place at which
roles, a second person, a log and long steps can be added.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from starlette.requests import Request

    from wavewise.errors import WavewiseError
    from wavewise.server.pages.forms import Form
    from wavewise.server.pages.studies_folder import ListedStudy, StudiesFolder

__all__ = [
    "ROUTES",
    "Answer",
    "Doorkeeper",
    "File",
    "Go",
    "Instead",
    "Page",
    "Person",
    "Right",
    "Route",
    "Screen",
    "Visit",
    "screen",
    "step",
]

# What somebody may do. "open" needs nobody; "freeze" is a step that cannot be undone; "export"
# takes research data out.
Right: TypeAlias = Literal[
    "open", "see", "edit", "field", "send", "freeze", "export", "erase", "keys", "accounts"
]


@dataclass(frozen=True)
class Person:
    """Who asks, and what they may do."""

    name: str
    rights: frozenset[Right]
    role: str = ""


@dataclass(frozen=True)
class Screen:
    """A template with what it shows."""

    template: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True)
class Page:
    """A whole document that was made elsewhere, such as the report."""

    html: str
    is_report: bool = True  # It holds its own styles, and is shown apart from every other page.


@dataclass(frozen=True)
class File:
    """A file to keep."""

    path: Path | bytes  # Or what it holds, where it lies nowhere.
    name: str
    media_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Go:
    """Another address, after a step; with what to say there, once."""

    path: str
    said: str = ""
    cookies: Mapping[str, str] = field(default_factory=dict)


Answer: TypeAlias = Screen | Page | File | Go


class Instead(Exception):  # noqa: N818  (nothing is wrong)
    """A step that is not taken now, but waits: where that is shown."""

    def __init__(self, go: Go) -> None:
        super().__init__(go.path)
        self.go = go


@dataclass
class Visit:
    """One request of somebody who may make it."""

    request: "Request"
    route: "Route"
    person: Person
    studies: "StudiesFolder"
    keeper: "Doorkeeper"
    names: Mapping[str, str]  # What the path holds: study, wave.
    form: "Form"
    listed: "ListedStudy | None" = None  # The study of the path.
    error: "WavewiseError | None" = None  # Why the step that led here was not taken.
    said: str = ""

    @property
    def study(self) -> Any:
        """The open study, as ``wavewise.open_study`` gives it."""
        if self.listed is None:
            raise LookupError("the address names no study")
        return self.listed.study

    @property
    def now(self) -> datetime:
        """The time now, with a time zone."""
        return self.studies.clock()

    def may(self, right: Right) -> bool:
        """Whether the person has a right."""
        return right in self.person.rights

    def do(self, verb: str | None = None, /, *arguments: Any, **options: Any) -> Any:
        """Carry out a verb of the study: the route's own, or the one that is named."""
        name = verb or self.route.verb
        method = getattr(self.study, name)
        try:
            return self.keeper.carry_out(self, name, partial(method, *arguments, **options))
        finally:
            self.studies.forget()

    def url(self, rest: str = "") -> str:
        """Address of a screen of this study."""
        return f"/studies/{self.names['study']}/{rest}" if "study" in self.names else f"/{rest}"


class Doorkeeper(Protocol):
    """Who asks, and how a step of theirs is carried out."""

    by_token: bool  # Whether a token lets in, rather than a name and a password.

    def who(self, request: "Request") -> Person | None:
        """The person who is signed in, if anybody is."""
        ...

    def carry_out(self, visit: Visit, verb: str, run: Callable[[], Any]) -> Any:
        """Take a step: a verb that changes something, by somebody who has the right."""
        ...

    def sign_in(self, request: "Request", form: "Form") -> Go | None:
        """Where to go once the person is known, with their cookie; None where they are not."""
        ...

    def sign_out(self, request: "Request") -> Go:
        """Where to go afterwards."""
        ...


@dataclass(frozen=True)
class Route:
    """One address."""

    method: Literal["GET", "POST"]
    path: str
    right: Right
    verb: str  # The method of an open study that it stands for; "" where there is none.
    answer: Callable[[Visit], Answer]
    back: str = ""  # Of a step: path of the screen that shows why it was not taken.


ROUTES: list[Route] = []
_Handler: TypeAlias = Callable[[Visit], Answer]


def screen(path: str, right: Right = "see", verb: str = "") -> Callable[[_Handler], _Handler]:
    """Declare a screen."""

    def declare(answer: _Handler) -> _Handler:
        ROUTES.append(Route("GET", path, right, verb, answer))
        return answer

    return declare


def step(path: str, right: Right, verb: str, *, back: str) -> Callable[[_Handler], _Handler]:
    """Declare a step: a form that is posted. Where it fails, the screen ``back`` says why."""

    def declare(answer: _Handler) -> _Handler:
        ROUTES.append(Route("POST", path, right, verb, answer, back))
        return answer

    return declare
