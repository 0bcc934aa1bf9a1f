"""What people and events look like before a step that cannot be undone.

Each function judges one thing and gives a `DataFinding`: pass, warn or fail, how many, and what to
do. A finding that fails stops `wave close` unless it is accepted by name with a reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Literal

import polars as pl

from wavewise.fieldwork.people import near_labels
from wavewise.fieldwork.rendering import matched_language
from wavewise.shared.results import Record

__all__ = [
    "DataFinding",
    "KindsInUse",
    "Verdict",
    "event_dates",
    "event_kinds",
    "event_values",
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
_TYPING = 0.8  # of the events outside a window, where they lie in its days of another year
_LONGEST_US = 180 * _DAY_US  # beyond that other years' days say nothing


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

    @property
    def line(self) -> str:
        """Name, verdict, sentence and what to do, on one line."""
        return f"{self.name}: {self.verdict}. {self.text} {self.advice}"


KindsInUse = Mapping[str, tuple[str, ...]]  # Kind of event: the outcomes that are made of it.


def unmatched_ids(
    lost: pl.DataFrame, events: Mapping[str, int], n_people: int, *, people: str = "people"
) -> DataFinding:
    """Events of the outcomes' kinds that name nobody; ``events`` has all of them by kind.

    ``lost`` has a row per such id and kind: id, kind, events, cause (why it matches nobody) and
    unit (the one that it is likely to mean; null where there is none).
    """
    if lost.is_empty():
        return DataFinding("unmatched-ids", "pass", 0, f"Every event names one of the {people}.")
    is_likely = pl.col("unit").is_not_null()
    by_kind = lost.group_by("kind").agg(
        pl.col("events").sum(), likely=pl.col("events").filter(is_likely).sum()
    )
    large = sorted(
        kind
        for kind, n, n_likely in by_kind.iter_rows()
        if n_likely / events[kind] >= UNMATCHED_FAIL or n / events[kind] >= UNMATCHED_ALONE_FAIL
    )
    n_events, n_lost = sum(events.values()), int(lost["events"].sum())
    by_cause = lost.group_by("cause").agg(pl.col("events").sum())
    by_cause = by_cause.sort("events", "cause", descending=[True, False])
    causes = "; ".join(f"{n:,} ({cause})" for cause, n in by_cause.iter_rows())
    named = f" Of kind {', '.join(map(repr, large))} they are a large part." if large else ""
    return DataFinding(
        "unmatched-ids",
        "fail" if large else "warn",
        n_lost,
        f"{n_lost:,} of {n_events:,} events of the outcomes' kinds ({n_lost / n_events:.1%}) name "
        f"none of the {n_people:,} {people}: {causes}.{named if len(events) > 1 else ''}",
        "Correct the ids where the file is made, or import it again with `--match-ids`; "
        "`wavewise data-check DIR --ids` lists them with the unit that each is likely to mean."
        if by_kind["likely"].sum()
        else "Check that these people are outside the study; otherwise import them first.",
        tuple(by_cause.iter_rows(named=True)),
        tuple(lost.iter_rows(named=True)),
    )


def event_kinds(counts: Mapping[str, int], kinds: KindsInUse) -> DataFinding:
    """Whether every kind that an outcome uses was seen; ``counts`` has the events by kind."""
    others = sorted(set(counts) - set(kinds))
    rows = tuple(
        {"kind": kind, "events": counts.get(kind, 0), "outcomes": ", ".join(kinds.get(kind, ()))}
        for kind in [*kinds, *others]
    )
    missing = [kind for kind in kinds if not counts.get(kind)]
    if missing:
        told = [_not_seen(kind, kinds[kind], others) for kind in missing]
        return DataFinding(
            "event-kinds",
            "fail",
            len(missing),
            " ".join(told),
            "Give the kind as the study file writes it (`wavewise observe DIR FILE --kind KIND`), "
            "or amend the outcome's event. An outcome without events is 0 for everybody.",
            rows,
        )
    alike = [group for group in near_labels(pl.Series([*kinds, *others])) if {*group} & {*others}]
    used = [(kind, {*group} & {*others}) for group in alike for kind in group if kind in kinds]
    if used:
        told = [
            f"{', '.join(map(repr, sorted(near)))} is not '{kind}': {_share(counts, near, kind)}."
            for kind, near in used
        ]
        most = max(_n(counts, near) / (_n(counts, near) + counts[kind]) for kind, near in used)
        return DataFinding(
            "event-kinds",
            "fail" if most >= UNMATCHED_FAIL else "warn",
            sum(_n(counts, near) for _, near in used),
            "Kinds that differ by blanks, capitals or the form of letters only count as "
            f"different. {' '.join(told)}",
            "Write the kind as the study file does, and deliver these events again under the same "
            "ids with `wavewise observe DIR FILE --correct --reason TEXT`.",
            rows,
        )
    n = _n(counts, others)
    text = "Every outcome's kind of event was seen."
    if others:
        text += f" No outcome uses {n:,} events of other kinds: {', '.join(others)}."
    return DataFinding("event-kinds", "pass", n, text, rows=rows)


def _n(counts: Mapping[str, int], kinds: Iterable[str]) -> int:
    return sum(counts.get(kind, 0) for kind in kinds)


def _share(counts: Mapping[str, int], near: Iterable[str], kind: str) -> str:
    n = _n(counts, near)
    return f"{n:,} of {n + counts[kind]:,} events are left out"


def _not_seen(kind: str, outcomes: Sequence[str], others: Sequence[str]) -> str:
    folded = {other.casefold(): other for other in others}
    near = get_close_matches(kind.casefold(), list(folded), 1, 0.6)
    nearest = f"; the nearest kind seen is '{folded[near[0]]}'" if near else ""
    if not near and others:
        nearest = f"; kinds seen: {', '.join(others[:5])}"
    return f"No event of kind '{kind}' was seen, of which {', '.join(outcomes)} is made{nearest}."


def event_dates(around: pl.DataFrame, window: tuple[int, int], *, wave: str = "") -> DataFinding:
    """Events of a wave's units before, in and after its window.

    ``around`` has a row per kind: kind, before, inside, after, a_year_off, first_us, last_us.
    """
    rows = tuple(around.drop("first_us", "last_us").sort("kind").iter_rows(named=True))
    rows = tuple({"wave": wave, **row} for row in rows) if wave else rows
    of_wave = f"Wave {wave}: " if wave else ""
    names = ("before", "inside", "after", "a_year_off")
    before, inside, after, year_off = (sum(row[name] for row in rows) for name in names)
    n = before + inside + after
    if n == 0:
        text = f"{of_wave}no event of the outcomes' kinds of its units yet."
        return DataFinding("event-dates", "warn", 0, _sentence(text))
    start, end = window
    where = f"{before:,} before, {inside:,} in and {after:,} after the window"
    span = f"events {_day(around['first_us'].min())} to {_day(around['last_us'].max())}"
    where += f" ({span}, window {_day(start)} to {_day(end - 1)})"
    wrong_year = [row for row in rows if _is_year_off(row, end - start)]
    if inside == 0:
        text = f"{of_wave}no event is in the window: {where}."
    elif wrong_year:
        text = f"{of_wave}dates of another year: {where}."
    elif inside / n < OUTSIDE_FAIL:
        text = f"{of_wave}most events are outside the window: {where}."
    else:
        text = _sentence(f"{of_wave}events: {where}.")
        return DataFinding("event-dates", "pass", n - inside, text, rows=rows)
    if wrong_year:
        text += f" Moved by a year, {year_off:,} more would be in it."
    return DataFinding(
        "event-dates",
        "fail" if inside == 0 or wrong_year else "warn",
        n - inside,
        _sentence(text),
        "Check the year, the order of day and month, and the time zone of the file; deliver "
        "corrected events under the same ids with `wavewise observe DIR FILE --correct --reason "
        "TEXT`.",
        rows,
    )


def _is_year_off(row: Mapping[str, Any], window_us: int) -> bool:
    """Whether many events lie in the window's days of another year, and hardly any elsewhere."""
    n_out, n_off = row["before"] + row["after"], row["a_year_off"]
    many = n_off >= UNMATCHED_FAIL * (n_out + row["inside"])
    return bool(n_off and many and n_off >= _TYPING * n_out and window_us <= _LONGEST_US)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def event_values(around: pl.DataFrame, kinds: Sequence[str], *, wave: str = "") -> DataFinding:
    """Events in a wave's window without a value, of kinds whose outcomes are made from values."""
    found = around.filter(pl.col("kind").is_in(list(kinds)) & (pl.col("valueless") > 0))
    n = int(found["valueless"].sum())
    if not n:
        return DataFinding("event-values", "pass", 0, "Every event has the value that it needs.")
    rows = [{"kind": k, "events": n} for k, n in found.select("kind", "valueless").iter_rows()]
    told = ", ".join(f"{row['events']:,} of kind '{row['kind']}'" for row in rows)
    return DataFinding(
        "event-values",
        "fail",
        n,
        f"{f'Wave {wave}: e' if wave else 'E'}vents without a value: {told}.",
        "Deliver them again under the same ids with `wavewise observe DIR FILE --correct --reason "
        "TEXT`, or take them out with `wavewise withdraw DIR FILE --reason TEXT`.",
        tuple(rows),
    )


def _day(us: Any) -> str:
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


def languages_without_text(
    languages: pl.DataFrame, texts: Sequence[str], *, people: str = "people"
) -> DataFinding:
    """Languages (columns language, n) in which no message has a text; they get the first one."""
    listed = list(dict.fromkeys(texts))
    counts = languages.filter(pl.col("language").str.strip_chars() != "")
    counts = counts.select("language", "n").sort("n", "language", descending=[True, False])
    lost = [
        {"language": name, "n": n}
        for name, n in counts.iter_rows()
        if listed and matched_language(name, listed) is None
    ]
    if not lost:
        return DataFinding("languages", "pass", 0, "Every language has a text.")
    told = ", ".join(f"'{row['language']}' ({row['n']:,})" for row in lost[:5])
    more = f", and {len(lost) - 5} more" if len(lost) > 5 else ""
    n_units = sum(row["n"] for row in lost)
    return DataFinding(
        "languages",
        "warn",
        n_units,
        f"Languages in which no message has a text: {told}{more}; these {people} get the first "
        f"one, '{listed[0]}'.",
        f"Texts exist for {', '.join(sorted(listed))}; add texts, or correct the column.",
        tuple(lost),
    )


def shared_contacts(shared: pl.DataFrame) -> DataFinding:
    """Contact details of several units: columns channel, detail, group (drawn as one)."""
    by_detail = shared.group_by("channel", "detail").agg(
        n=pl.len(), n_groups=pl.col("group").n_unique()
    )
    by_detail = by_detail.filter(pl.col("n_groups") > 1)
    if by_detail.is_empty():
        return DataFinding(
            "shared-contacts", "pass", 0, "No contact detail is shared by units drawn separately."
        )
    by = by_detail.group_by("channel").agg(
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
        f"{told}: they may fall into different arms, and one contact then gets all of their "
        "messages.",
        "Give those who share one the same value of a column, and name it as `randomize_by` in "
        "[units]; or keep one unit for each.",
        rows,
    )
