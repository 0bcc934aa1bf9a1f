"""The team: accounts and sessions, second persons, long steps, the audit log, API keys."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wavewise.errors import InputError, StateError
from wavewise.server.accounts.keeper import Team, member
from wavewise.server.accounts.rights import RIGHT_OF_STEP
from wavewise.server.pages.languages import gettext as _
from wavewise.server.pages.routes import Answer, File, Go, Screen, Visit, screen, step
from wavewise.store.team.jobs import JobRow
from wavewise.workflow.team import accounts
from wavewise.workflow.team.jobs import LONG_VERBS

__all__: list[str] = []


def team_of(visit: Visit) -> Team:
    """The doorkeeper, where it is a team's."""
    if not isinstance(visit.keeper, Team):
        raise StateError(
            "found the pages of one person alone; needed those of a team; start them with "
            "`wavewise serve DIR --pages`"
        )
    return visit.keeper


# Joining.


@screen("/join", "open")
def invitation(visit: Visit) -> Answer:
    """The address of an invitation: it asks for a password, once."""
    team_of(visit)
    token = visit.request.query_params.get("token", "") or visit.form.get("token")
    return Screen("join.html", {"token": token, "shortest": accounts.SHORTEST_PASSWORD})


@step("/join", "open", "", back="/join")
def join(visit: Visit) -> Answer:
    """An account with a password of one's own."""
    return team_of(visit).join(visit.request, visit.form)


# Accounts and sessions.


@screen("/studies/{study}/team", "accounts", "team_list")
def show_team(visit: Visit) -> Answer:
    """Who may come in, and who is signed in."""
    return _team(visit)


def _team(visit: Visit, made: Any = None) -> Screen:
    keeper = team_of(visit)
    rows = keeper.study.store.accounts.all()
    names = {row.account_id: row.name for row in rows}
    address = "" if made is None else f"{visit.request.base_url}join?token={made.token}"
    return Screen(
        "team.html",
        {
            "accounts": [row for row in rows if row.state != "removed"],
            "roles": accounts.ROLES,
            "sessions": [
                (row.session_id, names.get(row.account_id, ""), row.began_at, row.expires_at)
                for row in keeper.study.store.sessions.open(visit.now)
            ],
            "mine": member(visit),
            "invitation": made,
            "address": address,
            "second_person": sorted(keeper.second_person_steps()),
        },
    )


@step("/studies/{study}/team/invite", "accounts", "team_invite", back="/studies/{study}/team")
def invite(visit: Visit) -> Answer:
    """A new invitation; its address is shown once."""
    keeper, form = team_of(visit), visit.form
    by = member(visit).account_id
    return _team(visit, accounts.invite(keeper.study, form.get("name"), form.get("role"), by=by))


@step("/studies/{study}/team/role", "accounts", "team_role", back="/studies/{study}/team")
def change_role(visit: Visit) -> Answer:
    """Another role for somebody."""
    keeper, form, by = team_of(visit), visit.form, member(visit).account_id
    done = accounts.change_role(keeper.study, form.get("name"), form.get("role"), by=by)
    return Go(visit.url("team"), done.summary())


@step("/studies/{study}/team/remove", "accounts", "team_remove", back="/studies/{study}/team")
def remove(visit: Visit) -> Answer:
    """Close an account."""
    keeper, by = team_of(visit), member(visit).account_id
    done = accounts.remove_account(keeper.study, visit.form.get("name"), by=by)
    return Go(visit.url("team"), done.summary())


@step("/studies/{study}/team/session", "accounts", "", back="/studies/{study}/team")
def end_session(visit: Visit) -> Answer:
    """Sign somebody out."""
    keeper = team_of(visit)
    if not keeper.study.store.sessions.end(visit.form.get("session"), visit.now):
        raise InputError("found no such session; needed one that is open; look at the list again")
    keeper.note(member(visit), "session_end", "done", {})
    return Go(visit.url("team"), _("The session was ended."))


# Second persons.


@screen("/studies/{study}/team/waiting")
def waiting(visit: Visit) -> Answer:
    """Steps that wait for a second person."""
    keeper, me = team_of(visit), member(visit)
    names = {row.account_id: row.name for row in keeper.study.store.accounts.all()}
    rows = [
        {
            "id": row.request_id,
            "command": f"wavewise {row.verb.replace('_', ' ')}",
            "facts": ", ".join(
                f"{name}: {value}" for name, value in row.arguments.items() if name != "key_file"
            ),
            "by": names.get(row.asked_by, ""),
            "at": row.asked_at,
            "until": row.expires_at,
            "is_mine": row.asked_by == me.account_id,
            "may": visit.may(RIGHT_OF_STEP[row.step]),
        }
        for row in keeper.waiting()
    ]
    return Screen("waiting.html", {"rows": rows})


@step("/studies/{study}/team/waiting", "see", "", back="/studies/{study}/team/waiting")
def answer(visit: Visit) -> Answer:
    """Confirm, decline or withdraw."""
    said = visit.form.get("answer")
    if said not in {"confirmed", "declined", "withdrawn"}:
        raise InputError(f"found the answer {said[:40]!r}; needed confirmed, declined or withdrawn")
    done = team_of(visit).answer(visit, visit.form.get("request"), said)
    text = _("It was not done.") if done is None else done.summary().partition("\n")[0]
    return Go(visit.url("team/waiting"), text)


# Long steps.


@screen("/studies/{study}/steps")
def steps(visit: Visit) -> Answer:
    """The last long steps, the latest first."""
    return Screen("steps.html", {"jobs": [_job(visit, job) for job in _jobs(visit).all()]})


@screen("/studies/{study}/steps/{job}")
def one_step(visit: Visit) -> Answer:
    """How far a long step is; the page looks again by itself until it has ended."""
    return Screen("step.html", {"job": _job(visit, _found_job(visit))})


@step("/studies/{study}/steps/{job}/cancel", "freeze", "", back="/studies/{study}/steps/{job}")
def cancel_step(visit: Visit) -> Answer:
    """Cancel a long step: nothing of it is kept."""
    keeper, job = team_of(visit), _found_job(visit)
    keeper.study.store.jobs.cancel(job.job_id, visit.now)
    keeper.note(member(visit), "cancel", "asked", {"job": job.job_id})
    return Go(visit.url(f"steps/{job.job_id}"))


def _jobs(visit: Visit) -> Any:
    return team_of(visit).study.store.jobs


def _found_job(visit: Visit) -> JobRow:
    number = visit.names["job"]
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    job: JobRow | None = _jobs(visit).get(int(number)) if is_number else None
    if job is None:
        raise InputError("found no such step; needed one of the list; look at it again")
    return job


_BACK = {"report": "proof", "design": "plan", "rehearse": "plan"}


def _job(visit: Visit, job: JobRow) -> Mapping[str, Any]:
    wave = job.arguments.get("wave")
    rest = {"wave_open": f"open/{wave}"}.get(job.verb, f"decide/{wave}")
    return {
        "row": job,
        "command": f"wavewise {job.verb.replace('_', ' ')} {wave or ''}".strip(),
        "kind": {"done": "ok", "failed": "bad", "cancelled": "warn"}.get(job.state, "now"),
        "back": visit.url(_BACK.get(job.verb, rest)),
        "is_long": job.verb in LONG_VERBS,
    }


# The audit log.


@screen("/studies/{study}/audit", "see", "audit")
def audit(visit: Visit) -> Answer:
    """Who did what, when, from which version of the plan, and why."""
    trail = visit.study.audit()
    return Screen("audit.html", {"trail": trail, "entries": trail.entries[::-1][:500]})


@screen("/studies/{study}/audit/{name}", "export", "audit")
def audit_file(visit: Visit) -> Answer:
    """The whole log as a file."""
    if visit.names["name"] not in {"audit.csv", "audit.json"}:
        raise InputError("found no such file; needed audit.csv or audit.json")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / visit.names["name"]
        visit.study.audit(out=path)
        kind = "text/csv" if path.suffix == ".csv" else "application/json"
        return File(path.read_bytes(), path.name, f"{kind}; charset=utf-8")
