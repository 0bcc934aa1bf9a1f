"""Requests that nobody would send in good faith, by signed-in people, to every address.

None is answered by 500, and nothing that is frozen is another afterwards: versions of the plan,
assignments, outcomes, entries of the audit log.
"""

import random
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from sqlalchemy import select

from fuzz_doors import NASTY
from study_folders import assignment, done, events, make_study
from team_pages import PASSWORD, ROLES, Team, cheap_passwords, served_team
from wavewise.server.pages import screens
from wavewise.server.pages.routes import ROUTES
from wavewise.store import schema

screens.load()
FIELDS = (
    *("name", "role", "password", "token", "again", "request", "answer", "session", "reason"),
    *("sure", "unit", "key", "mark", "text", "accept", "accept_late", "file", "reword", "template"),
)
GOOD = (*ROLES, "confirmed", "declined", "1", "one", "two", "p0001", "x" * 13, PASSWORD)
FROZEN = ("study_version", "assignment", "frozen_fact", "audit_entry")
# What is left out would make folders, pause for people, or end the sessions that fuzz.
NOT_SENT = {"/sign-out", "/new"}


def frozen(team: Team) -> dict[str, set[tuple[object, ...]]]:
    """Rows that nobody may change; an outcome may be set aside, with its values."""
    with team.study.store.reading() as connection:
        found = {
            name: {tuple(row) for row in connection.execute(select(schema.metadata.tables[name]))}
            for name in FROZEN
        }
        kept = set()
        for table in (schema.outcome, schema.former_outcome):
            columns = (table.c.wave_id, table.c.unit_id, table.c.values_json)
            kept |= {tuple(row) for row in connection.execute(select(*columns))}
    return {**found, "outcome": kept}


def path_of(route: str, rng: random.Random, home: str) -> str:
    """An address with good names, mostly."""
    path = route.replace("/studies/{study}", home) if rng.random() < 0.95 else route
    for name in ("study", "wave", "job", "name"):
        good = {"wave": "one", "job": "1", "name": "audit.csv"}.get(name, "study")
        said = (
            good if rng.random() < 0.7 else quote(rng.choice(NASTY)[:300].encode("utf-8", "ignore"))
        )
        path = path.replace("{" + name + "}", said or "-")
    return path


def body_of(rng: random.Random) -> tuple[dict[str, str], bytes]:
    """A form as a browser posts it, or what is none."""
    kind = rng.choice(("form", "form", "form", "multipart", "broken"))
    pairs = [
        (rng.choice(FIELDS), rng.choice(GOOD if rng.random() < 0.4 else NASTY))
        for _ in range(rng.randrange(6))
    ]
    if kind == "form":
        text = "&".join(f"{n}={quote(v.encode('utf-8', 'surrogatepass'))}" for n, v in pairs)
        return {"Content-Type": "application/x-www-form-urlencoded"}, text.encode()
    if kind == "multipart":
        parts = "".join(
            f'--b\r\nContent-Disposition: form-data; name="{n}"; filename="{v[:20]}"\r\n\r\n{v}\r\n'
            for n, v in pairs
        )
        content = f"{parts}--b--\r\n".encode("utf-8", "surrogatepass")
        return {"Content-Type": "multipart/form-data; boundary=b"}, content
    return {"Content-Type": rng.choice(("text/plain", "multipart/form-data", "x"))}, rng.randbytes(
        99
    )


def send(team: Team, rng: random.Random) -> tuple[str, int]:
    """One request by somebody."""
    route = rng.choice([one for one in ROUTES if one.path not in NOT_SENT])
    role = rng.choice((*ROLES, "owner", "analyst", None))
    path = path_of(route.path, rng, team.home)
    method = route.method if rng.random() < 0.95 else rng.choice(("PUT", "DELETE", "HEAD", "GET"))
    browser = team.browsers[role]
    headers, body = body_of(rng) if method != "GET" else ({}, b"")
    if method == "GET" and rng.random() < 0.5:
        query = quote(rng.choice(NASTY)[:300].encode("utf-8", "ignore"))
        path = f"{path}?{rng.choice(('token', 'n', 'units', 'x'))}={query}"
    answer = browser.request(method, path, content=body, headers=headers)
    if role is not None and answer.headers.get("location") == "/sign-in":
        team.sign_in(role)
    return f"{method} {path[:90]} {body[:200]!r}", answer.status_code


def closed_study(folder: Path) -> None:
    make_study(folder, 120)
    done("wave", "open", folder, "one")
    done("observe", folder, events(folder, assignment(folder, "one"), "2024-03-05", "e"))
    done("wave", "close", folder, "one")


@pytest.mark.parametrize(
    "n", [400, pytest.param(20_000, marks=pytest.mark.full)], ids=["few", "many"]
)
def test_no_request_breaks_the_pages_or_changes_what_is_frozen(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap_passwords(monkeypatch)
    closed_study(tmp_path / "study")
    statuses: Counter[int] = Counter()
    bad, rng, n_cut = [], random.Random(3), 0
    with served_team(tmp_path / "study") as team:
        before = frozen(team)
        for _ in range(n):
            try:
                said, status = send(team, rng)
            except (httpx2.InvalidURL, httpx2.LocalProtocolError):
                continue
            except (httpx2.ReadError, httpx2.WriteError):  # a body that nobody reads, cut off
                n_cut += 1
                continue
            statuses[status] += 1
            if status >= 500:
                bad.append(f"{said}: {status}")
        after = frozen(team)
        assert bad == []
        assert n_cut <= n // 20
        assert {name: rows - after[name] for name, rows in before.items()} == {
            name: set() for name in before
        }
        assert before["outcome"]
        assert team.study.store.audit.first_fault() is None
    assert {200, 303, 403, 422} <= statuses.keys()
