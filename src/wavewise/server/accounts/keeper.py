"""The doorkeeper of a team: who is signed in, and how each of their steps is carried out."""

import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from starlette.requests import Request

from wavewise.design.versions import spec_hash
from wavewise.errors import InputError, SpecError, StateError, WavewiseError
from wavewise.server.accounts.rights import RIGHT_OF_STEP, RIGHTS, STEP_OF
from wavewise.server.connections import Guesses
from wavewise.server.pages.entry import COOKIE
from wavewise.server.pages.forms import Form
from wavewise.server.pages.routes import Go, Instead, Person, Visit
from wavewise.store.team.accounts import AccountRow
from wavewise.store.team.audit import SecondPersonRow
from wavewise.workflow.study import Study, read_study_file
from wavewise.workflow.team.accounts import begin_session, find_session, join, verified_account
from wavewise.workflow.team.audit import without_personal_data
from wavewise.workflow.team.jobs import LONG_VERBS

__all__ = ["Member", "Team"]

WAITS_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Member(Person):
    """Somebody of the team who is signed in."""

    account_id: str = ""
    session_id: str = ""


class Team:
    """Accounts of one study, in whose database steps wait that need others or take long."""

    by_token = False

    def __init__(self, study: Study, guesses: Guesses) -> None:
        self.study, self._guesses = study, guesses
        self._key = secrets.token_bytes(32)  # a proof that is kept in memory tells no password

    # Who it is.

    def who(self, request: Request) -> Member | None:
        """The person of the session, with the rights that their role has now."""
        found = find_session(self.study, request.cookies.get(COOKIE, ""))
        if found is None:
            return None
        session, account = found
        rights = RIGHTS[account.role]
        return Member(account.name, rights, account.role, account.account_id, session.session_id)

    def sign_in(self, request: Request, form: Form) -> Go | None:
        """A new session for whoever knows the password; what the browser had before ends."""
        name, password = form.get("name"), form.texts.get("password", "")
        if not name or not password:
            return None
        proof = hmac.digest(self._key, f"{name}\0{password}".encode("utf-8", "replace"), "sha256")
        # By where it comes from, and by whose password it is: guesses come from many places.
        doors = (request.client.host if request.client else "", f"account {name.casefold()}")
        if any(self._guesses.must_wait(door, proof) for door in doors):
            raise InputError(
                "found too many wrong passwords; needed a pause; try again in a minute"
            )
        account = verified_account(self.study, name, password)
        for door in doors:
            self._guesses.note(door, proof, is_right=account is not None)
        return None if account is None else self._enter(request, account)

    def join(self, request: Request, form: Form) -> Go:
        """A new account by an invitation, signed in at once."""
        if form.texts.get("password", "") != form.texts.get("again", ""):
            raise InputError("found two passwords; needed the same one twice; type it again")
        account = join(self.study, form.get("token"), form.texts.get("password", ""))
        return self._enter(request, account) or Go("/sign-in")

    def _enter(self, request: Request, account: AccountRow) -> Go | None:
        self._end_session(request)
        token = begin_session(self.study, account.account_id)
        return None if token is None else Go("/", cookies={COOKIE: token})

    def sign_out(self, request: Request) -> Go:
        """The session ends, here and in the database."""
        self._end_session(request)
        return Go("/sign-in", cookies={COOKIE: ""})

    def _end_session(self, request: Request) -> None:
        former = self.who(request)
        if former is not None and self.study.store.sessions.end(
            former.session_id, self.study.clock()
        ):
            self.note(former, "sign_out", "done", {})

    # What they do.

    def carry_out(self, visit: Visit, verb: str, run: Callable[[], Any]) -> Any:
        """Take a step, ask for a second person, or queue it where it takes long."""
        arguments = _arguments(run)
        if STEP_OF.get(verb) in self.second_person_steps():
            raise Instead(self._ask(visit, verb, arguments))
        return self._take(visit, member(visit), verb, run, arguments)

    def _take(
        self,
        visit: Visit,
        actor: "Member | str",
        verb: str,
        run: Callable[[], Any],
        arguments: Mapping[str, Any] | None,
    ) -> Any:
        if verb in LONG_VERBS and arguments is not None and "study" in visit.names:
            who = actor if isinstance(actor, str) else actor.account_id
            job = self.study.store.jobs.add(verb, arguments, who, self.study.clock())
            self.note(actor, verb, "asked", {**arguments, "job": job.job_id})
            raise Instead(Go(visit.url(f"steps/{job.job_id}")))
        self.note(actor, verb, "begun", arguments or {})
        try:
            done = run()
        except BaseException as error:
            why = error.message if isinstance(error, WavewiseError) else type(error).__name__
            self.note(actor, verb, "failed", {**(arguments or {}), "reason": why})
            raise
        self.note(actor, verb, "done", arguments or {})
        return done

    def note(
        self, actor: "Member | str", verb: str, outcome: str, arguments: Mapping[str, Any]
    ) -> None:
        """Add to the audit log, without what could name a person of the study."""
        plain, reason = without_personal_data(arguments)
        who = actor if isinstance(actor, str) else actor.account_id
        self.study.store.audit.add(
            who, verb, outcome, self.study.clock(), arguments=plain, reason=reason
        )

    # Second persons.

    def second_person_steps(self) -> frozenset[str]:
        """Steps that nobody does alone: by the registered plan, and by the file as it is now."""
        registered = self.study.as_registered().spec.team.second_person
        return frozenset({*registered, *self._current().spec.team.second_person})

    def _current(self) -> Study:
        """The study as its file has it now; one with faults asks for all that was registered."""
        try:
            text, spec = read_study_file(self.study.folder)
        except (SpecError, InputError):
            return self.study.as_registered()
        return replace(self.study, text=text, spec=spec, cache={})

    def _ask(self, visit: Visit, verb: str, arguments: Mapping[str, Any] | None) -> Go:
        if arguments is None:
            raise StateError(
                "found a step that cannot wait for a second person; needed one that names only "
                "what the study has already; do it on the command line together"
            )
        who, now = member(visit), self.study.clock()
        row = self.study.store.second_persons.ask(
            secrets.token_hex(8),
            STEP_OF[verb],
            verb,
            arguments,
            spec_hash=spec_hash(self._current().spec),
            reason=str(arguments.get("reason") or ""),
            asked_by=who.account_id,
            now=now,
            until=now + WAITS_FOR,
        )
        self.note(who, verb, "asked", {**arguments, "request": row.request_id})
        return Go(visit.url("team/waiting"))

    def waiting(self) -> tuple[SecondPersonRow, ...]:
        """Steps that wait for a second person."""
        return self.study.store.second_persons.waiting(self.study.clock())

    def answer(self, visit: Visit, request_id: str, answer: str) -> Any:
        """A second person's word; a step that is confirmed is carried out now."""
        who = member(visit)
        row = next((one for one in self.waiting() if one.request_id == request_id), None)
        if row is not None and not visit.may(RIGHT_OF_STEP[row.step]):
            raise StateError(
                f"found the role {who.role}; needed one that may take this step itself; ask "
                "somebody who may"
            )
        if answer == "confirmed" and row is not None:
            self._require_asker(row)
        row = self.study.store.second_persons.answer(
            request_id, answer, who.account_id, spec_hash(self._current().spec), self.study.clock()
        )
        outcome = {"confirmed": "done", "declined": "refused"}.get(answer, "cancelled")
        noted = {**row.arguments, "request": request_id, "step": row.step}
        self.note(who, "second_person", outcome, noted)
        if answer != "confirmed":
            return None
        run = partial(getattr(visit.study, row.verb), **row.arguments)
        return self._take(visit, row.asked_by, row.verb, run, row.arguments)

    def _require_asker(self, row: SecondPersonRow) -> None:
        """Whoever asked must still be there, and still be allowed to."""
        accounts = {one.account_id: one for one in self.study.store.accounts.all()}
        asker = accounts.get(row.asked_by)
        may = asker is not None and asker.state == "joined"
        if asker is None or not may or RIGHT_OF_STEP[row.step] not in RIGHTS[asker.role]:
            raise StateError(
                "found that the person who asked for this step may not take it any more; needed "
                "two who may; decline it"
            )


def member(visit: Visit) -> Member:
    """The person of a visit, who is one of the team."""
    if not isinstance(visit.person, Member):
        raise StateError("found nobody signed in; needed an account; sign in")
    return visit.person


def _arguments(run: Callable[[], Any]) -> dict[str, Any] | None:
    """What a verb is called with, by name; None where that cannot be kept as text."""
    if not isinstance(run, partial):
        return None
    try:
        bound = signature(run.func).bind(*run.args, **run.keywords).arguments
        return json.loads(json.dumps(bound, default=_path))  # type: ignore[no-any-return]
    except (TypeError, ValueError):
        return None


def _path(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(type(value).__name__)
