"""Receipts of providers: kept, applied to the outbox, and heard where they are refusals."""

import polars as pl

from wavewise.fieldwork.key_ring import KeyRing
from wavewise.fieldwork.receipt_forms import News
from wavewise.store.rows import to_us
from wavewise.workflow.contacts import ContactBook
from wavewise.workflow.refusals import refuse
from wavewise.workflow.study import Study

__all__ = ["take_news"]

_COLUMNS = ("receipt_id", "channel", "provider_id", "message_key", "state", "reason")


def take_news(study: Study, ring: KeyRing | None, news: News) -> dict[str, int]:
    """Keep one receipt. Repeated and reordered ones do no harm.

    Parameters
    ----------
    study : Study
        An open study.
    ring : KeyRing or None
        Keys, for a refusal whose message is not known (yet): the number then says whose it is.
    news : News
        What the provider told.
    """
    now = study.clock()
    row = {name: getattr(news, name) for name in _COLUMNS}
    row["at_utc_us"] = to_us(news.at or now)
    frame = pl.DataFrame(
        [row], schema={**dict.fromkeys(_COLUMNS, pl.String), "at_utc_us": pl.Int64}
    )
    added = study.store.add_receipts(frame, received_at=now)
    n_refused = _refused(study, ring, news) if news.is_refusal else 0
    return {**vars(added), "n_refused": n_refused}


def _refused(study: Study, ring: KeyRing | None, news: News) -> int:
    units = study.store.units_of_message(news.channel, news.provider_id, news.message_key)
    if not units and ring is not None and news.address:
        units = ContactBook(study.store, ring).units_at(news.channel, news.address)
    if not units:
        return 0
    return refuse(study, units, "provider block", news.receipt_id, channel=news.channel, at=news.at)
