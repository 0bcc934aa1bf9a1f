"""Scores of a study: deliveries in, what closed waves use of them, early against late ones."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from wavewise.design.outcomes import Outcome
from wavewise.design.periods import own_period
from wavewise.errors import InputError
from wavewise.fieldwork.files import first_row, read_table
from wavewise.fieldwork.score_batch import named_by_place, read_score_batch
from wavewise.fieldwork.scores import CheckedScores, check_scores, used_scores
from wavewise.store.rows import to_us
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.study import Study

__all__ = [
    "after_closing",
    "delivered_scores",
    "observe_scores",
    "score_outcomes",
    "scores_to_freeze",
    "take_scores",
    "wave_scores",
]


def score_outcomes(study: Study) -> tuple[Outcome, ...]:
    """Outcomes whose scores come as deliveries: those of kind score with periods."""
    return tuple(o for o in study.spec.outcomes if o.kind == "score" and o.periods)


def observe_scores(
    study: Study, path: Path, *, delivered: str | None = None, encoding: str = "utf-8"
) -> Done:
    """Scores from a file, each a delivery. The same delivery may come many times, in any order.

    Parameters
    ----------
    study : Study
        An open study.
    path : Path
        CSV, NDJSON or Parquet with the unit's id, period, score, delivered, and delivery and
        outcome where they apply.
    delivered : str, optional
        Date of the delivery, for a file without that column.
    encoding : str
        Of a text file.

    Raises
    ------
    InputError
        With every bad row; nothing was added.
    """
    periods = _periods(study)
    checked = check_scores(
        read_table(path, encoding=encoding),
        periods,
        unit_column=study.spec.units.id,
        delivered=delivered,
        default_time_zone=study.spec.study.time_zone,
        now_us=to_us(study.clock()),
        first_row=first_row(path),
        name=f"{path.name}: nothing was added",
    )
    checked.raise_if_bad()
    added = study.store.add_scores(checked.scores, received_at=study.clock())
    facts = {**vars(added), "n_missing": checked.n_missing, "deliveries": _by_delivery(checked)}
    lines = [
        f"{path.name}: {added.n_new:,} new scores, {added.n_repeated:,} known already, "
        f"{checked.n_missing:,} rows without a score, {added.n_unknown_unit:,} of units that were "
        "not imported (kept, not counted).",
        *_table(facts["deliveries"]),
        *after_closing(study),
    ]
    return Done("\n".join(lines), facts)


def take_scores(study: Study, value: Any) -> dict[str, Any]:
    """Keep a delivery of scores that came as JSON: all of it or nothing. It may come again.

    Parameters
    ----------
    study : Study
        An open study.
    value : object
        As :func:`wavewise.fieldwork.score_batch.read_score_batch` takes it.

    Returns
    -------
    dict
        Counts n_new, n_repeated, n_unknown_unit, n_missing.

    Raises
    ------
    InputError
        With every fault by its place, such as another score than the one that is kept for the same
        unit, period and delivery; nothing was kept.
    """
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
            name="scores: nothing was kept",
        )
        checked.raise_if_bad()
        added = study.store.add_scores(checked.scores, received_at=study.clock())
    except InputError as error:
        raise named_by_place(error) from None
    return {**vars(added), "n_missing": checked.n_missing}


def _periods(study: Study) -> dict[str, tuple[str, ...]]:
    """Periods of each outcome whose scores come as deliveries."""
    outcomes = score_outcomes(study)
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


def _table(rows: list[dict[str, Any]]) -> list[str]:
    return [text_table(list(rows[0]), [list(row.values()) for row in rows])] if rows else []


def scores_to_freeze(study: Study, wave_id: str) -> pl.DataFrame | None:
    """Scores that count now, of the units of this wave and of closed ones; None if none can be.

    Closed waves' units are frozen again with every later wave, since their later periods come in by
    then.
    """
    closed = {row.wave_id for row in study.store.waves() if row.state == "closed"}
    return _counting(study, closed | {wave_id}) if score_outcomes(study) else None


def _counting(study: Study, wave_ids: Collection[str]) -> pl.DataFrame:
    outcomes = score_outcomes(study)
    units = pl.concat([study.store.assignment(wave)["unit_id"] for wave in sorted(wave_ids)])
    counts = {outcome.id: outcome.delivery for outcome in outcomes}
    kept = study.store.score_deliveries(list(counts))
    kept = kept.filter(pl.col("unit_id").is_in(units.unique().implode()))
    return used_scores(kept, counts, study.spec.study.time_zone)


def wave_scores(study: Study, wave_id: str, ids: pl.Series) -> list[pl.Series]:
    """A closed wave's own score of each outcome, one column an outcome, in the order of `ids`."""
    order = [wave.id for wave in study.spec.waves]
    frozen = study.store.frozen_scores(wave_id)
    columns = []
    for outcome in score_outcomes(study):
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
    closed = sorted((row.closed_at, row.wave_id) for row in study.store.waves() if row.closed_at)
    if not closed or not score_outcomes(study):
        return []
    last = closed[-1][1]
    frozen = study.store.frozen_scores(last)
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
    """Every delivered score beside its unit's wave and arm, to compare early and late deliveries.

    Parameters
    ----------
    study : Study
        An open study.

    Returns
    -------
    DataFrame
        Columns outcome_id, unit_id, period, delivery, delivered_at (UTC), score, place (1 for the
        first delivery of that unit and period, and so on), n_deliveries, wave and arm (null for
        units without an assignment).
    """
    kept = study.store.score_deliveries([outcome.id for outcome in score_outcomes(study)])
    keys = ["outcome_id", "unit_id", "period"]
    numbered = kept.with_columns(
        place=pl.int_range(1, pl.len() + 1).over(keys).cast(pl.Int64),
        n_deliveries=pl.len().over(keys).cast(pl.Int64),
        delivered_at=pl.from_epoch("delivered_at_utc_us", "us").dt.replace_time_zone("UTC"),
    )
    drawn = [
        study.store.assignment(row.wave_id).select("unit_id", "arm", wave=pl.lit(row.wave_id))
        for row in study.store.waves()
    ]
    empty = pl.DataFrame(schema={"unit_id": pl.String, "arm": pl.String, "wave": pl.String})
    joined = numbered.join(pl.concat([empty, *drawn]), on="unit_id", how="left")
    names = [*keys, "delivery", "delivered_at", "score", "place", "n_deliveries", "wave", "arm"]
    return joined.select(names).sort(*keys, "delivered_at", "delivery", "wave")
