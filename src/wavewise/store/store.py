"""The store: one object for all that a study keeps."""

from typing import Self

from wavewise.store.api_keys import ApiKeys
from wavewise.store.channel_rates import ChannelRates
from wavewise.store.contact_changes import ContactChanges
from wavewise.store.contacts import Contacts
from wavewise.store.database import Database
from wavewise.store.doses import Doses
from wavewise.store.engine import engine_for
from wavewise.store.erase import Erasure
from wavewise.store.events import Events
from wavewise.store.migrate import current_revision, make_ready
from wavewise.store.outbox import Outbox
from wavewise.store.outbox_calls import OutboxCalls
from wavewise.store.outbox_counts import OutboxCounts
from wavewise.store.receipts import Receipts
from wavewise.store.refusals import Refusals
from wavewise.store.results import Results
from wavewise.store.resumptions import Resumptions
from wavewise.store.schema import HEAD
from wavewise.store.scores import Scores
from wavewise.store.units import Units
from wavewise.store.versions import Versions
from wavewise.store.waves import Waves

__all__ = ["Store"]


class Store(
    Versions,
    Units,
    Waves,
    Events,
    Scores,
    Results,
    Contacts,
    ContactChanges,
    Refusals,
    Resumptions,
    Doses,
    Erasure,
    ApiKeys,
    Outbox,
    OutboxCalls,
    OutboxCounts,
    ChannelRates,
    Receipts,
    Database,
):
    """A study's database: versions, units, waves, events, scores, results, contact details, outbox.

    Every write is one transaction: all of it or nothing, also when the process is killed.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> with Store.open("sqlite://") as store:
    ...     number = store.put_result("wave-1", "analysis", {"n": 3}, datetime.now(UTC))
    ...     store.latest_result("wave-1", "analysis").payload
    {'n': 3}
    """

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Self:
        """Open a database, and bring its tables up to date.

        Parameters
        ----------
        url : str
            ``sqlite:///path/to/study.db``, ``postgresql://name:password@host/database``, or
            ``sqlite://`` for one in memory that ends with the object.
        create : bool
            Whether to make the tables (and the SQLite file) where there are none.

        Raises
        ------
        StoreError
            The database cannot be used: the text says why and what to do.
        """
        store = cls(engine_for(url, create=create))
        try:
            store._bring_up_to_date(create=create)
        except BaseException:
            store.close()
            raise
        return store

    def _bring_up_to_date(self, *, create: bool) -> None:
        with self._reading() as connection:
            if current_revision(connection, self.url) == HEAD:
                return
        with self._writing() as connection:
            make_ready(connection, self.url, create=create)
