"""Events that come in batches: the good ones kept at once, the others named."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from wavewise.design.spec import Outcome, Reading, StudySpec
from wavewise.design.wave_references import own_period
from wavewise.errors import InputError
from wavewise.fieldwork.events import MOST_EVENTS, read_batch
from wavewise.fieldwork.scores import (
    CheckedScores,
    check_scores,
    named_by_place,
    read_score_batch,
    used_scores,
)
from wavewise.shared.text_tables import text_table
from wavewise.store.rows import AddedEvents, AddedScores, to_us
from wavewise.workflow.files import FileRead, Table, file_read, matched_ids, read_data
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

__all__ = [
    "CLOCK_SLACK",
    "after_closing",
    "delivered_scores",
    "ingest_events",
    "ingest_scores",
    "matched_scores",
    "n_future",
    "observe_scores",
    "read_scores",
    "score_outcomes",
    "scores_to_freeze",
    "wave_scores",
]

CLOCK_SLACK = timedelta(minutes=5)  # clocks of phones differ by less


def ingest_events(study: Study, objects: Sequence[Any]) -> dict[str, Any]:
    """Keep the good events of a batch. It may come again, late and in any order."""
    if len(objects) > MOST_EVENTS:
        raise InputError(
            f"found a batch of {len(objects):,} events; needed at most {MOST_EVENTS:,}; nothing "
            "was kept; cut it into several"
        )
    batch = read_batch(objects, default_time_zone=study.spec.study.time_zone)
    added = study.store.events.add(batch.events, received_at=study.clock())
    return {
        **_counts(added),
        "n_future": n_future(study, batch.events),
        "n_bad": batch.n_bad,
        "faults": [fault.to_dict() for fault in batch.faults],
    }


def _counts(added: AddedEvents | AddedScores) -> dict[str, int]:
    """What a request added; it corrects nothing."""
    return {name: n for name, n in vars(added).items() if name != "n_corrected"}


def n_future(study: Study, events: pl.DataFrame) -> int:
    """Number of events that are dated more than five minutes from now; they are kept."""
    return int((events["at_utc_us"] > to_us(study.clock() + CLOCK_SLACK)).sum())


# Scores of a study: deliveries in, what closed waves use of them, early against late ones.


def score_outcomes(spec: StudySpec) -> tuple[Outcome, ...]:
    """Outcomes whose scores come as deliveries: those of kind score with periods."""
    return tuple(o for o in spec.outcomes if o.kind == "score" and o.periods)


@dataclass(frozen=True, eq=False)
class ObservedScores(VerbResult):
    """Scores that were added, by delivery."""

    n_new: int
    n_repeated: int  # Known already.
    n_unknown_unit: int
    n_corrected: int  # Known ones that took the new score, where that was asked for.
    n_missing: int  # Rows without a score.
    deliveries: tuple[Mapping[str, Any], ...]  # outcome_id, period, delivery, n_scores, mean
    source: str  # The file's name, or that it was a frame.
    after_closing: tuple[str, ...]  # What closed waves do not use of them, in a sentence.

    def facts(self) -> dict[str, Any]:
        """Numbers and deliveries."""
        names = ("n_new", "n_repeated", "n_unknown_unit", "n_missing", "deliveries")
        facts = {name: getattr(self, name) for name in names}
        return facts | ({"n_corrected": self.n_corrected} if self.n_corrected else {})

    def summary(self) -> str:
        """Numbers, and a table of the deliveries."""
        corrected = f"{self.n_corrected:,} corrected, " if self.n_corrected else ""
        lines = [
            f"{self.source}: {self.n_new:,} new scores, {self.n_repeated:,} known already, "
            f"{corrected}{self.n_missing:,} rows without a score, {self.n_unknown_unit:,} of units "
            "that were not imported (kept, not counted)."
        ]
        if self.deliveries:
            rows = [list(row.values()) for row in self.deliveries]
            lines.append(text_table(list(self.deliveries[0]), rows))
        return "\n".join([*lines, *self.after_closing])

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(list(self.deliveries))


def observe_scores(
    study: Study,
    data: Any,
    *,
    delivered: str | None = None,
    correct_for: str | None = None,
    reading: Reading | None = None,
    dry_run: bool = False,
    match_ids: bool = False,
    keep_unmatched: bool = False,
) -> ObservedScores | FileRead:
    """Scores from a file or frame: deliveries, which may come many times and in any order.

    With a reason to correct, known deliveries take the new score and date.
    """
    checked, table = read_scores(study, data, delivered=delivered, reading=reading)
    if dry_run:
        faults = () if checked.error is None else checked.error.faults
        return file_read(table, checked.reads, faults, len(faults))
    scores = matched_scores(
        study, checked, table, match_ids=match_ids, keep_unmatched=keep_unmatched
    )
    kept, now = study.store.scores, study.clock()
    added = (
        kept.add(scores, received_at=now)
        if correct_for is None
        else kept.correct(scores, correct_for, now)
    )
    return ObservedScores(
        **vars(added),
        n_missing=checked.n_missing,
        deliveries=tuple(_by_delivery(checked)),
        source=table.name,
        after_closing=tuple(after_closing(study)),
    )


def read_scores(
    study: Study, data: Any, *, delivered: str | None = None, reading: Reading | None = None
) -> tuple[CheckedScores, Table]:
    """The scores of a file or frame, checked."""
    periods, table = _periods(study), read_data(data, reading)
    checked = check_scores(
        table.frame,
        periods,
        unit_column=study.spec.units.id,
        delivered=delivered,
        default_time_zone=study.spec.study.time_zone,
        now_us=to_us(study.clock()),
        first_row=table.first_row,
        name=f"{table.name}: nothing was added",
        reading=table.reading,
        separator=table.separator,
    )
    return checked, table


def matched_scores(
    study: Study, checked: CheckedScores, table: Table, *, match_ids: bool, keep_unmatched: bool
) -> pl.DataFrame:
    """The scores of a file without a fault, by units' own ids."""
    checked.raise_if_bad()
    ids = matched_ids(
        checked.scores["unit_id"],
        study.store.units.ids(),
        table,
        study.spec.units.id,
        match_ids=match_ids,
        keep_unmatched=keep_unmatched,
    )
    return checked.scores.with_columns(ids.alias("unit_id"))


def ingest_scores(study: Study, value: Any) -> dict[str, Any]:
    """Keep a delivery of scores that came as JSON: all of it or nothing. It may come again."""
    periods = _periods(study)
    batch = read_score_batch(value, list(periods))
    try:
        checked = check_scores(
            batch.frame,
            periods,
            delivered=batch.delivered,
            default_time_zone=study.spec.study.time_zone,
            now_us=to_us(study.clock()),
            first_row=0,
            name="scores: nothing was stored",
        )
        checked.raise_if_bad()
        added = study.store.scores.add(checked.scores, received_at=study.clock())
    except InputError as error:
        raise named_by_place(error) from None
    return {**_counts(added), "n_missing": checked.n_missing}


def _periods(study: Study) -> dict[str, tuple[str, ...]]:
    """Periods of each outcome whose scores come as deliveries."""
    outcomes = score_outcomes(study.spec)
    if not outcomes:
        raise InputError(
            "the study file has no outcome of kind 'score' with periods; needed one to tell which "
            'scores these are; add periods = ["before", "after"] to it'
        )
    return {outcome.id: outcome.periods for outcome in outcomes}


def _by_delivery(checked: CheckedScores) -> list[dict[str, Any]]:
    keys = ("outcome_id", "period", "delivery")
    groups = checked.scores.group_by(keys).agg(n_scores=pl.len(), mean=pl.col("score").mean())
    return groups.sort("outcome_id", "period", "delivery").to_dicts()


def scores_to_freeze(study: Study, wave_id: str) -> pl.DataFrame | None:
    """Scores that count now, of the units of this wave and of closed ones; None if none can be.

    Closed waves' units are frozen again with every later wave, since their later periods come in by
    then.
    """
    closed = {row.wave_id for row in study.store.waves.all() if row.state == "closed"}
    return _counting(study, closed | {wave_id}) if score_outcomes(study.spec) else None


def _counting(study: Study, wave_ids: Collection[str]) -> pl.DataFrame:
    outcomes = score_outcomes(study.spec)
    units = pl.concat([study.store.waves.assignment(wave)["unit_id"] for wave in sorted(wave_ids)])
    counts = {outcome.id: outcome.delivery for outcome in outcomes}
    kept = study.store.scores.deliveries(list(counts))
    kept = kept.filter(pl.col("unit_id").is_in(units.unique().implode()))
    return used_scores(kept, counts, study.spec.study.time_zone)


def wave_scores(study: Study, wave_id: str, ids: pl.Series) -> list[pl.Series]:
    """A closed wave's own score of each outcome, one column an outcome, in the order of `ids`."""
    order = [wave.id for wave in study.spec.waves]
    frozen = study.store.scores.frozen(wave_id)
    columns = []
    for outcome in score_outcomes(study.spec):
        period = own_period(outcome, wave_id, order)
        mine = frozen.filter(outcome_id=outcome.id, period=period).select("unit_id", "score")
        joined = pl.DataFrame({"unit_id": ids}).join(
            mine, on="unit_id", how="left", maintain_order="left"
        )
        columns.append(joined["score"].alias(outcome.id))
    return columns


def after_closing(study: Study) -> list[str]:
    """A sentence a closed wave for whose units scores came, or were revised, after it was closed.

    The latest closed wave speaks for all units that it froze.
    """
    closed = sorted(
        (row.closed_at, row.wave_id) for row in study.store.waves.all() if row.closed_at
    )
    if not closed or not score_outcomes(study.spec):
        return []
    last = closed[-1][1]
    frozen = study.store.scores.frozen(last)
    now = _counting(study, [wave_id for _, wave_id in closed])
    keys = ["outcome_id", "unit_id", "period"]
    both = now.join(frozen.select(*keys, was="score"), on=keys, how="left")
    n_new = both["was"].null_count()
    n_revised = int((both["was"] != both["score"]).sum())
    if not n_new and not n_revised:
        return []
    return [
        f"After wave {last} was closed {n_new:,} scores came and {n_revised:,} were revised; "
        "its analysis keeps what was frozen."
    ]


def delivered_scores(study: Study) -> pl.DataFrame:
    """Every delivered score beside its unit's wave and arm, to compare early with late ones."""
    kept = study.store.scores.deliveries([outcome.id for outcome in score_outcomes(study.spec)])
    keys = ["outcome_id", "unit_id", "period"]
    numbered = kept.with_columns(
        place=pl.int_range(1, pl.len() + 1).over(keys).cast(pl.Int64),
        n_deliveries=pl.len().over(keys).cast(pl.Int64),
        delivered_at=pl.from_epoch("delivered_at_utc_us", "us").dt.replace_time_zone("UTC"),
    )
    drawn = [
        study.store.waves.assignment(row.wave_id).select("unit_id", "arm", wave=pl.lit(row.wave_id))
        for row in study.store.waves.all()
    ]
    empty = pl.DataFrame(schema={"unit_id": pl.String, "arm": pl.String, "wave": pl.String})
    joined = numbered.join(pl.concat([empty, *drawn]), on="unit_id", how="left")
    names = [*keys, "delivery", "delivered_at", "score", "place", "n_deliveries", "wave", "arm"]
    return joined.select(names).sort(*keys, "delivered_at", "delivery", "wave")
