"""Events that come in batches: the good ones kept at once, the others named."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from wavewise.errors import InputError
from wavewise.fieldwork.event_batch import MOST_EVENTS, read_batch
from wavewise.store.rows import to_us
from wavewise.workflow.study import Study

__all__ = ["CLOCK_SLACK", "n_future", "take_batch"]

CLOCK_SLACK = timedelta(minutes=5)  # clocks of phones differ by less


def take_batch(study: Study, objects: Sequence[Any]) -> dict[str, Any]:
    """Keep the good events of a batch. It may come again, late and in any order.

    Parameters
    ----------
    study : Study
        An open study.
    objects : sequence
        JSON values, at most 1,000.

    Returns
    -------
    dict
        Counts (n_new, n_repeated, n_conflicting, n_unknown_unit, n_future, n_bad) and faults.

    Raises
    ------
    InputError
        The batch is too large; nothing was kept.
    """
    if len(objects) > MOST_EVENTS:
        raise InputError(
            f"found a batch of {len(objects):,} events; needed at most {MOST_EVENTS:,}; nothing "
            "was kept; cut it into several"
        )
    batch = read_batch(objects, default_time_zone=study.spec.study.time_zone)
    added = study.store.add_events(batch.events, received_at=study.clock())
    return {
        **vars(added),
        "n_future": n_future(study, batch.events),
        "n_bad": batch.n_bad,
        "faults": [fault.to_dict() for fault in batch.faults],
    }


def n_future(study: Study, events: pl.DataFrame) -> int:
    """Number of events that are dated more than five minutes from now; they are kept."""
    return int((events["at_utc_us"] > to_us(study.clock() + CLOCK_SLACK)).sum())
