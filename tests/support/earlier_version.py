"""What the program answers, made comparable with what an earlier version of it answered.

Shared by the script that keeps the earlier version's answers and by the test that holds the present
code against them. Only the command line is called here.
"""

import contextlib
import gzip
import hashlib
import io
import json
import math
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl

from study_folders import all_the_same

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "earlier_version"
EXPECTED = FIXTURES / "expected"

# Keys of JSON outputs that have another name now: {old: new}.
RENAMED: dict[str, str] = {
    "refusals": "opt_outs",
    "refusal": "opt_out",
    "refusal_id": "opt_out_id",
    "resumptions": "opt_ins",
    "resumption": "opt_in",
    "resumption_id": "opt_in_id",
    "n_flashes": "n_missed_calls",
    "n_sealed": "n_encrypted",
    "sealed": "encrypted",
    "former_sealed": "former_encrypted",
}
# Values that are worded otherwise now: {old: new}.
REWORDED = {"no verdict": "inconclusive", "dose delivered by arm": "exposure by arm"}
# Places whose numbers were changed on purpose, with the reason: {pattern of the place: why}.
MOVED = {
    r"curves\[\d\]\.(rows\[[01]\]|autoc|qini)\.": "AUTOC is the mean over ranks; jackknife errors",
    r"^\.report\.files": "no first figure where no message went out",
    r"^\[5\]\.to_dict\.rows\[[01]\]\.|^\[5\]\.to_frame\.\w+\[[01]\]": "the same, from a function",
    r"cred_(low|high|int)|\.bounds": "ends of intervals from draws are smoothed",
    r"spending(\.rows)?\[\d\]\.(uniform|difference)\.": "compared with the registered message",
    r"history --export\.written": "the registry page as Markdown and JSON too",
}
# The same within a function on arrays.
MOVED_IN = {
    # averages without the unit, posterior shares, empirical-Bayes averages
    "causal_forest": r"^\[\d\]",
    # rules and values of policies that a forest or a matcher of today learns
    **dict.fromkeys(("policies", "personalization_power", "values_of_policies"), "."),
    "neighbours": r"^\[1\]|^\[0\]\[0\]",
    # posteriors with few clusters take more points, so that decisions and ends move a little
    "simulated_designs": r"^\[2\]",
    "kenya asked": r"design --simulations|posterior\.rows\[\d\]\.(low|high)|score_models",
    # what forests and matchers of today learn, and whatever follows from their choices in phase 2
    "peru made again": r"phase-2|(policies\.|-2\.)(forest|neighbours)|column of content",
    # strata, covariates and policies come from logins before each phase now; what the first
    # phase draws and observes is the same
    "demonstration": r"^(?!\.events-phase-1\.csv)",
    # templates with an enrolment, with strata from logins before each phase
    "study_files": r"^\.(kenya-ivr|peru-school-year|peru-summer)\.",
    # who has refused is no longer drawn: one unit fewer in the second wave
    **dict.fromkeys(
        ("middle asked", "middle made again"), r"wave open two|status|assignment|waves\[1\]"
    ),
    # standard errors are HC2 and CR2, intervals those of Anderson and Rubin
    "cace": r"\.(cov|df|conf_\w+|p_value|std_error|first_stage_f|itt_\w+|se)\b",
}
# Tables of pages whose numbers were, by the first number in their second row.
MOVED_TABLES = {
    "+25.2": "AUTOC is the mean over ranks; jackknife errors",
    "80.0": "simulated designs: posteriors with few clusters take more points",
    "360": "the same",
    "1.46": "ends of intervals from draws are smoothed",
    "118": "the same",
    "49": "the same",
    "10": "messaging only some is compared with the registered message",
    "30.1": "who has refused is no longer drawn",
    "36.17": "the same",
    "0.0744": "the same",
}
# Pages whose tables are others now.
MOVED_PAGES = {"registry.html": "the fields of the registry's form, and its history of them"}
# Rows that tables have in addition now, by their first cell or by the value of `row`.
ADDED_ROWS = {"one-sided"}

# What is of the moment, of the machine or of the release, in outputs of any verb.
OF_THE_MOMENT = {"as_of", "generated_on", "date", "next_due", "seconds"}

# Relative and absolute tolerance where the machine rounds as the one that made the answers, and
# where it does not. Draws, policies and hashes of plans are the same on both. On another,
# posteriors of hierarchical models differ by up to a millionth, and what rounding alone decides
# says nothing: hashes of computed fractions, diagnostics of samplers, the order of equal arms.
EXACT, LOOSE = (1e-12, 1e-14), (1e-4, 1e-8)
OF_ROUNDING = {
    "data_hash",
    "pareto_k",
    "quadrature_error",
    "found",
    "prob_above",
    "best_minus_next",
    "column of propensity",
}

# A text of so many words is a sentence, whose wording may be improved.
SENTENCE_WORDS = 6


def wavewise(*words: object, fails: bool = False) -> str:
    """What the command line prints; run in this process, so that imports are paid for once."""
    from wavewise.cli import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    line = ["wavewise", *map(str, all_the_same(words))]
    told = (contextlib.redirect_stdout(out), contextlib.redirect_stderr(err))
    with patch.object(sys, "argv", line), told[0], told[1]:
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    assert (code != 0) == fails, f"{' '.join(line)}: {err.getvalue()}{out.getvalue()}"
    return err.getvalue() if fails else out.getvalue()


def facts(folder: Path, *words: object) -> Any:
    """JSON output of a verb, with the study's folder called STUDY."""
    text = wavewise(*words, "--json")
    return json.loads(text.replace(str(folder), "STUDY"))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Folders -----------------------------------------------------------------------------------------


def unpacked(name: str, to: Path) -> Path:
    """A copy of a kept study that may be changed."""
    source = FIXTURES / name
    for path in sorted(source.rglob("*")):
        place = to / path.relative_to(source)
        if path.is_dir():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".gz":
            place.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        else:
            shutil.copyfile(path, place)
    key = FIXTURES / f"{name}.key"  # made for this study of invented people, and outside of it
    if key.exists():
        shutil.copyfile(key, to.parent / key.name)
        (to.parent / key.name).chmod(0o600)
    return to


def zipped(content: bytes) -> bytes:
    """The same bytes for the same content, whenever it is made."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def keep(name: str, value: Any) -> None:
    """Write what is expected."""
    EXPECTED.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    (EXPECTED / f"{name}.json.gz").write_bytes(zipped(text.encode()))


def expected(name: str) -> Any:
    """What the earlier version answered."""
    return json.loads(gzip.decompress((EXPECTED / f"{name}.json.gz").read_bytes()))


# Databases, files, pages -------------------------------------------------------------------------


def database_rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, whatever the program thinks of them."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        tables = {}
        for (name,) in names:
            rows = [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')]
            tables[name] = sorted(rows, key=lambda row: json.dumps(row, default=repr))
    return tables


def exported(folder: Path, study: Path, *, moments: bool = True) -> dict[str, Any]:
    """SHA-256 of each exported table, its columns in the order of their names.

    Times at which something was received or said are left out where ``moments`` is false.
    """
    found = facts(study, "export", study, "--out", folder)
    hashes: dict[str, Any] = {"rows": {n: t["rows"] for n, t in found["files"].items()}}
    for path in sorted(folder.glob("*.csv")):
        table = pl.read_csv(path, infer_schema=False)
        if not moments:
            said = ["at"] if path.stem in {"opt_outs", "opt_ins"} else []
            table = table.drop("received_at", *said, strict=False)
        hashes[path.stem] = {
            "column of " + name: sha256(table.select(name).write_csv().encode())
            for name in sorted(table.columns)
        }
    return hashes


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in {"td", "th"} and self.tables and self.tables[-1]:
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "tr", "table"}:
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.tables[-1][-1][-1] += data


# A number by itself, not the digit of a name or of a date; a minus sign may be typographic.
_NUMBER = re.compile(r"(?<![\w.,:/+-])[-−+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w:/-]|\.\d)")


def numbers_of_tables(page: Path) -> list[list[list[str]]]:
    """Numbers in the cells of each table of a page: tables, rows, numbers as they are printed."""
    parser = _Tables()
    parser.feed(page.read_text(encoding="utf-8"))
    tables = []
    for rows in parser.tables:
        # a cell that is a sentence is wording
        found = [
            [
                n
                for cell in row
                if row[0] not in ADDED_ROWS and len(cell.split()) < SENTENCE_WORDS
                for n in _NUMBER.findall(cell)
            ]
            for row in rows
        ]
        tables.append([row for row in found if row])
    return [table for table in tables if table]


# Comparison --------------------------------------------------------------------------------------


def arithmetic() -> str:
    """Fingerprint of how this machine rounds: its kernels of linear algebra, its compiled loops."""
    from llvmlite.binding import get_host_cpu_name
    from numba import config

    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(40, 40)), rng.normal(size=40)
    found = [a @ a, a @ b, np.linalg.solve(a, b), np.linalg.eigvalsh(a @ a.T), np.exp(b), np.sin(b)]
    found += [np.linalg.lstsq(a[:, :7], b)[0], np.log(np.abs(b)), np.cumsum(b), a.sum(axis=0)]
    name = config.CPU_NAME or get_host_cpu_name()
    content = b"".join(np.asarray(value).tobytes() for value in found)
    return sha256(content + str(name).encode())


@cache
def rounds_as_before() -> bool:
    """Whether this machine rounds as the one on which the expected answers were made."""
    return bool(expected("arithmetic") == arithmetic())


def _without_added_rows(now: Any) -> Any:
    if isinstance(now, list):
        first = [r.get("row") if isinstance(r, dict) else r[:1] and r[0] for r in now
                 if isinstance(r, dict | list)]  # fmt: skip
        if len(first) == len(now):
            return [r for r, name in zip(now, first, strict=True) if str(name) not in ADDED_ROWS]
    elif isinstance(now, dict) and isinstance(now.get("row"), list):  # a frame
        kept = [i for i, name in enumerate(now["row"]) if name not in ADDED_ROWS]
        return {k: [v[i] for i in kept] if isinstance(v, list) else v for k, v in now.items()}
    return now


def differences(before: Any, now: Any, place: str = "", *, exactly: bool = True) -> Iterator[str]:
    """Where a value is missing or another one now; keys, rows and tables may have been added."""
    now = _without_added_rows(now)
    if isinstance(before, dict):
        yield from _of_tables(before, now, place, exactly)
    elif isinstance(before, list):
        if not isinstance(now, list) or len(before) != len(now):
            yield f"{place}: found {_short(now)}; needed {_short(before)}"
            return
        for i, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from differences(one, other, f"{place}[{i}]", exactly=exactly)
    elif not _same(before, now, exactly):
        yield f"{place}: found {_short(now)}; needed {_short(before)}"


def _of_tables(before: dict[str, Any], now: Any, place: str, exactly: bool) -> Iterator[str]:
    if not isinstance(now, dict):
        yield f"{place}: found {_short(now)}; needed a table"
        return
    for key, value in before.items():
        name = RENAMED.get(key, key)
        if key in OF_THE_MOMENT or _tells_versions(key, value):
            continue
        if name not in now:
            yield f"{place}.{name}: missing"
        elif exactly or key not in OF_ROUNDING:
            yield from differences(value, now[name], f"{place}.{name}", exactly=exactly)


def _tells_versions(key: str, value: Any) -> bool:
    """Whether it names the release, or the releases of the libraries under a report."""
    return (key == "version" and isinstance(value, str)) or (
        key == "provenance" and isinstance(value, list)
    )


def _same(before: Any, now: Any, exactly: bool) -> bool:
    if isinstance(before, str):
        if not isinstance(now, str):
            return False
        return (
            REWORDED.get(before, before) == now
            or min(len(before.split()), len(now.split())) >= SENTENCE_WORDS
        )
    if isinstance(before, bool) or before is None or isinstance(before, int):
        return bool(before == now) and isinstance(now, bool) == isinstance(before, bool)
    if isinstance(now, bool) or not isinstance(now, int | float):
        return False
    relative, absolute = EXACT if exactly else LOOSE
    return math.isclose(before, now, rel_tol=relative, abs_tol=absolute)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def check(before: Any, now: Any, name: str = "") -> None:
    """Fail with the first twenty differences."""
    found = list(differences(before, now, exactly=rounds_as_before()))
    places = [*MOVED, *([MOVED_IN[name]] if name in MOVED_IN else [])]
    found = [line for line in found if not any(re.search(place, line) for place in places)]
    assert not found, f"{len(found)} values differ:\n" + "\n".join(found[:20])


def check_tables(before: Iterable[Any], now: Iterable[Any]) -> None:
    """Every table of a page is there with the same numbers; others may have come, in any order."""
    left = list(now)
    for table in before:
        if len(table) > 1 and table[1][0] in MOVED_TABLES:
            continue
        place = next((i for i, other in enumerate(left) if _same_table(table, other)), None)
        assert place is not None, f"no table now has these numbers: {_short(table)}"
        left.pop(place)


def _same_table(before: list[list[str]], now: list[list[str]]) -> bool:
    if rounds_as_before() or [len(row) for row in before] != [len(row) for row in now]:
        return before == now
    return all(
        _near(one, other)
        for row, now_row in zip(before, now, strict=True)
        for one, other in zip(row, now_row, strict=True)
    )


def _near(before: str, now: str) -> bool:
    """Whether two printed numbers differ by one in the last digit, or by a replication in 400."""
    one, other = (Decimal(text.replace(",", "").replace("−", "-")) for text in (before, now))
    last = max(int(one.as_tuple().exponent), int(other.as_tuple().exponent))
    return abs(one - other) <= max(Decimal(1).scaleb(last), Decimal("0.0025") * (one < 1))
