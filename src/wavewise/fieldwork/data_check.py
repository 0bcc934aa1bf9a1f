"""What people and events look like before a step that cannot be undone.

Each function judges one thing and gives a `DataFinding`: pass, warn or fail, how many, and what to
do. A finding that fails stops `wave close` unless it is accepted by name with a reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Literal

import polars as pl

from wavewise.fieldwork.people import near_labels
from wavewise.shared.results import Record

__all__ = [
    "DataFinding",
    "KindsInUse",
    "event_dates",
    "event_kinds",
    "languages_without_text",
    "near_equal_labels",
    "numbers_as_text",
    "shared_contacts",
    "small_strata",
    "unmatched_ids",
]

Verdict = Literal["pass", "warn", "fail"]
UNMATCHED_FAIL = 0.05  # of an outcome's events, where a cause is likely
UNMATCHED_ALONE_FAIL = 0.2  # where none is: platforms also send events of people outside a study
OUTSIDE_FAIL = 0.5
_TEXT_NUMBERS = 0.8
_DAY_US = 86_400_000_000
_YEARS = tuple(sign * days for days in (365, 366) for sign in (1, -1))


@dataclass(frozen=True, eq=False)
class DataFinding(Record):
    """One judgement on the data."""

    name: str  # What is judged; what `--accept` takes.
    verdict: Verdict
    count: int  # People, events or labels that it is about.
    text: str  # What was found, without ids and addresses.
    advice: str = ""  # What to do.
    rows: tuple[Mapping[str, Any], ...] = ()  # The same by cause, kind or label.
    ids: tuple[Mapping[str, Any], ...] = ()  # Ids, shown only where the user asks.


KindsInUse = Mapping[str, tuple[str, ...]]  # Kind of event: the outcomes that are made of it.


def unmatched_ids(
    lost: pl.DataFrame, n_events: int, n_people: int, *, people: str = "people"
) -> DataFinding:
    """Events of the outcomes' kinds that name nobody.

    ``lost`` has a row per such id: id, events, cause (why it matches nobody) and unit (the one
    that it is likely to mean; null where there is none); ``n_events`` counts all events.
    """
    if lost.is_empty():
        return DataFinding("unmatched-ids", "pass", 0, f"Every event names one of the {people}.")
    n_lost = int(lost["events"].sum())
    n_likely = int(lost.filter(pl.col("unit").is_not_null())["events"].sum())
    is_large = n_likely / n_events >= UNMATCHED_FAIL or n_lost / n_events >= UNMATCHED_ALONE_FAIL
    by_cause = lost.group_by("cause").agg(pl.col("events").sum())
    by_cause = by_cause.sort("events", "cause", descending=[True, False])
    causes = "; ".join(f"{n:,} ({cause})" for cause, n in by_cause.iter_rows())
    return DataFinding(
        "unmatched-ids",
        "fail" if is_large else "warn",
        n_lost,
        f"{n_lost:,} of {n_events:,} events of the outcomes' kinds ({n_lost / n_events:.1%}) name "
        f"none of the {n_people:,} {people}: {causes}.",
        "Correct the ids where the file is made, or import it again with `--match-ids`; `--ids` "
        "lists them with the unit that each is likely to mean."
        if n_likely
        else "Check that these people are outside the study; otherwise import them first.",
        tuple(by_cause.iter_rows(named=True)),
        tuple(lost.iter_rows(named=True)),
    )


def event_kinds(counts: Mapping[str, int], kinds: KindsInUse) -> DataFinding:
    """Whether every kind that an outcome uses was seen; ``counts`` has the events by kind."""
    missing = [kind for kind in kinds if not counts.get(kind)]
    others = sorted(set(counts) - set(kinds))
    rows = tuple(
        {"kind": kind, "events": counts.get(kind, 0), "outcomes": ", ".join(kinds.get(kind, ()))}
        for kind in [*kinds, *others]
    )
    if not missing:
        n = sum(counts.get(kind, 0) for kind in others)
        text = "Every outcome's kind of event was seen."
        if others:
            text += f" No outcome uses {n:,} events of other kinds: {', '.join(others)}."
        return DataFinding("event-kinds", "pass", n, text, rows=rows)
    told = [_not_seen(kind, kinds[kind], others) for kind in missing]
    return DataFinding(
        "event-kinds",
        "fail",
        len(missing),
        " ".join(told),
        "Give the kind as the study file writes it (`wavewise observe DIR FILE --kind KIND`), or "
        "amend the outcome's event. An outcome without events is 0 for everybody.",
        rows,
    )


def _not_seen(kind: str, outcomes: Sequence[str], others: Sequence[str]) -> str:
    folded = {other.casefold(): other for other in others}
    near = get_close_matches(kind.casefold(), list(folded), 1, 0.6)
    nearest = f"; the nearest kind seen is '{folded[near[0]]}'" if near else ""
    if not near and others:
        nearest = f"; kinds seen: {', '.join(others[:5])}"
    return f"No event of kind '{kind}' was seen, of which {', '.join(outcomes)} is made{nearest}."


def event_dates(
    counts: Mapping[str, Any], first_us: int | None, last_us: int | None, window: tuple[int, int]
) -> DataFinding:
    """Events of a wave's units before, in and after its window: keys before, inside, after."""
    before, inside, after = (int(counts[key]) for key in ("before", "inside", "after"))
    n = before + inside + after
    where = f"{before:,} before, {inside:,} in and {after:,} after the window"
    rows = ({"before": before, "inside": inside, "after": after},)
    if n == 0:
        return DataFinding("event-dates", "warn", 0, "No event of the outcomes' kinds yet.")
    if inside / n >= OUTSIDE_FAIL:
        return DataFinding("event-dates", "pass", n - inside, f"Events: {where}.", rows=rows)
    text = f"Most events are outside the window: {where}."
    start, end = window
    if inside == 0 and first_us is not None and last_us is not None:
        span = f"{_day(first_us)} to {_day(last_us)}, window {_day(start)} to {_day(end - 1)}"
        text = f"No event is in the window: {where} ({span})."
        if any(first_us + d * _DAY_US < end and last_us + d * _DAY_US >= start for d in _YEARS):
            text += " Moved by a year they would be in it."
    return DataFinding(
        "event-dates",
        "fail" if inside == 0 else "warn",
        n - inside,
        text,
        "Check the year, the order of day and month, and the time zone of the file.",
        rows,
    )


def _day(us: int) -> str:
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d}"


def near_equal_labels(fields: pl.DataFrame, columns: Sequence[str]) -> DataFinding:
    """Labels of a text column that differ by blanks, capitals or the form of letters only."""
    groups = [
        (name, group)
        for name in dict.fromkeys(columns)
        if name in fields.columns and fields.schema[name] == pl.String
        for group in near_labels(fields[name])
    ]
    if not groups:
        return DataFinding("near-equal-labels", "pass", 0, "No two labels look alike.")
    rows = [
        {
            "column": name,
            "labels": " | ".join(map(repr, group)),
            "n": int(fields[name].is_in(group).sum()),
        }
        for name, group in groups
    ]
    told = "; ".join(f"{row['column']}: {row['labels']}" for row in rows[:3])
    return DataFinding(
        "near-equal-labels",
        "warn",
        len(rows),
        f"Labels that differ by blanks, capitals or the form of letters only count as different: "
        f"{told}.",
        "Write them alike in the people file and import it again with `--replace`.",
        tuple(rows),
    )


def numbers_as_text(fields: pl.DataFrame, covariates: Sequence[str]) -> DataFinding:
    """Covariates that were read as text though nearly all of their cells look like numbers."""
    rows = []
    for name in covariates:
        if name not in fields.columns or fields.schema[name] != pl.String:
            continue
        cells = fields[name].drop_nulls().str.strip_chars()
        if cells.len() == 0:
            continue
        looks = cells.str.contains(r"^[-+]?[\d\s.,']*\d%?$")
        n_other = int((~looks).sum())
        if looks.mean() >= _TEXT_NUMBERS:  # type: ignore[operator]
            other = cells.filter(~looks).unique().sort().head(3).to_list()
            rows.append({"column": name, "not_numbers": n_other, "examples": ", ".join(other)})
    if not rows:
        return DataFinding("numbers-as-text", "pass", 0, "Covariates were read as what they are.")
    told = "; ".join(
        f"{row['column']} ({row['not_numbers']} cells such as {row['examples']})"
        if row["examples"]
        else f"{row['column']}"
        for row in rows
    )
    return DataFinding(
        "numbers-as-text",
        "warn",
        len(rows),
        f"Covariates that look like numbers were read as text, so that each value is a category: "
        f"{told}.",
        "Correct those cells, or say how decimals are written, and import the people again with "
        "`--replace`.",
        tuple(rows),
    )


def small_strata(strata: pl.Series, n_arms: int) -> DataFinding:
    """Strata with fewer units than arms, where not every arm can be drawn."""
    counts = strata.value_counts(sort=True, name="n").sort("n", strata.name)
    small = counts.filter(pl.col("n") < n_arms)
    if not small.height or counts.height == 1:
        return DataFinding("small-strata", "pass", 0, f"{counts.height:,} strata, none too small.")
    n_one = small.filter(pl.col("n") == 1).height
    one = f", {n_one:,} of them with a single unit" if n_one else ""
    return DataFinding(
        "small-strata",
        "warn",
        small.height,
        f"{small.height:,} of {counts.height:,} strata have fewer units than the {n_arms} arms"
        f"{one}: shares hold over them together, not in each.",
        "Check for labels written in several ways, or use fewer strata columns.",
        tuple({"stratum": s, "n": n} for s, n in small.head(20).iter_rows()),
    )


def languages_without_text(languages: pl.Series, texts: Sequence[str]) -> DataFinding:
    """Languages of units for which no message has a text; they get the first one."""
    bases = {text.lower().replace("_", "-").split("-")[0] for text in texts}
    given = languages.drop_nulls()
    base = (
        given.str.to_lowercase()
        .str.strip_chars()
        .str.replace_all("_", "-")
        .str.split("-")
        .list.first()
    )
    lost = given.filter(~base.is_in(list(bases)))
    if not bases or lost.len() == 0:
        return DataFinding("languages", "pass", 0, "Every language has a text.")
    counts = lost.value_counts(sort=True, name="n")
    told = ", ".join(f"'{name}' ({n:,})" for name, n in counts.head(5).iter_rows())
    return DataFinding(
        "languages",
        "warn",
        lost.len(),
        f"{lost.len():,} units have a language without a text: {told}. They get the first text.",
        f"Texts exist for {', '.join(sorted(bases))}; add texts, or correct the column.",
        tuple({"language": name, "n": n} for name, n in counts.iter_rows()),
    )


def shared_contacts(groups: pl.DataFrame) -> DataFinding:
    """Contact details that several units share: columns channel, n (units at one detail)."""
    shared = groups.filter(pl.col("n") > 1)
    if not shared.height:
        return DataFinding("shared-contacts", "pass", 0, "No contact detail is shared.")
    by = shared.group_by("channel").agg(
        details=pl.len(), units=pl.col("n").sum(), most=pl.col("n").max()
    )
    rows = tuple(by.sort("channel").iter_rows(named=True))
    told = "; ".join(
        f"{r['units']:,} units share {r['details']:,} {r['channel']} contact details (at most "
        f"{r['most']} on one)"
        for r in rows
    )
    return DataFinding(
        "shared-contacts",
        "warn",
        sum(r["units"] for r in rows),
        f"{told}: one phone may get the messages of several arms.",
        "Randomize by the phone (`randomize_by` in [units]), or keep one unit per phone.",
        rows,
    )
