"""The store: one object for all that a study keeps."""

from datetime import UTC, datetime
from typing import Self

from sqlalchemy import Engine, func, select

from wavewise.store.contacts import Contacts
from wavewise.store.deliveries.queries import Calls, Deliveries
from wavewise.store.deliveries.receipts import Receipts
from wavewise.store.engine import Copies, Database, current_revision, engine_for, make_ready
from wavewise.store.enrolments import Enrolments
from wavewise.store.frames import insert_into
from wavewise.store.observations import Corrections, Events, Scores
from wavewise.store.opt_outs import OptOuts
from wavewise.store.outbox import Outbox
from wavewise.store.registry import ApiKeys, Results, Versions
from wavewise.store.rows import to_us
from wavewise.store.schema import HEAD, heartbeat
from wavewise.store.team.accounts import Accounts, Sessions
from wavewise.store.team.audit import AuditLog, SecondPersons
from wavewise.store.team.jobs import Jobs
from wavewise.store.units import Units
from wavewise.store.waves import Waves

__all__ = ["Store"]


class Store(Database):
    """A study's database, in parts: ``store.units``, ``store.waves``, ``store.outbox``, ...

    Every write is one transaction: all of it or nothing, also when the process is killed.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> with Store.open("sqlite://") as store:
    ...     number = store.results.put("wave-1", "analysis", {"n": 3}, datetime.now(UTC))
    ...     store.results.latest("wave-1", "analysis").payload
    {'n': 3}
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.versions = Versions(self)
        self.units = Units(self)
        self.enrolments = Enrolments(self)
        self.waves = Waves(self)
        self.events = Events(self)
        self.scores = Scores(self)
        self.corrections = Corrections(self)
        self.results = Results(self)
        self.contacts = Contacts(self)
        self.opt_outs = OptOuts(self)
        self.outbox = Outbox(self)
        self.deliveries = Deliveries(self)
        self.calls = Calls(self)
        self.receipts = Receipts(self)
        self.api_keys = ApiKeys(self)
        self.copies = Copies(self)
        self.accounts = Accounts(self)
        self.sessions = Sessions(self)
        self.audit = AuditLog(self)
        self.second_persons = SecondPersons(self)
        self.jobs = Jobs(self)

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

    def beat(self, name: str, now: datetime) -> None:
        """Write that somebody was here: proof that the database takes a write."""
        row = {"name": name, "at_utc_us": to_us(now)}
        with self.writing() as connection:
            statement = insert_into(connection, heartbeat).values(row)
            connection.execute(
                statement.on_conflict_do_update(index_elements=[heartbeat.c.name], set_=row)
            )

    def server_time(self) -> datetime | None:
        """What a database server's clock shows; None for a file, which has no clock of its own."""
        if self.engine.dialect.name != "postgresql":
            return None
        with self.reading() as connection:
            found: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return found.astimezone(UTC)

    def _bring_up_to_date(self, *, create: bool) -> None:
        with self.reading() as connection:
            if current_revision(connection, self.url) == HEAD:
                return
        with self.writing() as connection:
            make_ready(connection, self.url, create=create)
