"""One door to a study: every verb of the command line as a method, and the verbs without a study.

>>> import wavewise as ww
>>> study = ww.open_study("my-study")  # doctest: +SKIP
>>> study.wave_open("phase-1")  # doctest: +SKIP
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from wavewise.errors import InputError, SpecError

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from wavewise.design.spec import StudySpec
    from wavewise.shared.results import FrameKind, Result
    from wavewise.store import Store
    from wavewise.workflow.prepare.draft import Draft
    from wavewise.workflow.standing import NextStep, Standing
    from wavewise.workflow.study import Clock, Study

__all__ = [
    "OpenStudy",
    "app",
    "compare",
    "contacts_make_key",
    "data_get",
    "demo",
    "init",
    "open_study",
    "schema",
]

PathLike: TypeAlias = str | Path
# Told what is done, how many steps of it are, and of how many.
Progress: TypeAlias = Callable[[str, int, int], None]


def open_study(
    folder: PathLike, *, store: str | None = None, clock: "Clock | None" = None
) -> "OpenStudy":
    """An open study: every verb of the command line is one of its methods.

    Parameters
    ----------
    folder : str or Path
        The study folder, where ``study.toml`` lies.
    store : str, optional
        Database, as ``postgresql://name:password@host/database``; the file ``study.db`` in the
        folder by default.
    clock : callable, optional
        Gives the time now, with a time zone; for simulations and tests.

    Returns
    -------
    OpenStudy
        Close it with ``close()``, use it in a ``with`` block, or leave it open in a notebook.

    Raises
    ------
    InputError
        There is no study in the folder.
    SpecError
        The study file has faults: all are listed.

    Notes
    -----
    The study file is read anew by every method, so that a notebook sees what was edited.

    Examples
    --------
    >>> with open_study("my-study") as study:  # doctest: +SKIP
    ...     study.register()
    ...     study.people_import("parents.csv")
    ...     study.wave_open("phase-1")
    """
    return OpenStudy(folder, store=store, clock=clock)


class OpenStudy:
    """A study that is open; made by :func:`open_study`.

    Each method does what the verb of the command line does (``wave open`` is ``wave_open``), takes
    the same arguments, and gives a result: ``print`` shows it as the command line does, ``facts()``
    gives what ``--json`` prints, and ``to_frame()`` its table.
    """

    def __init__(
        self, folder: PathLike, *, store: str | None = None, clock: "Clock | None" = None
    ) -> None:
        from wavewise.workflow.study import read_study_file

        self._folder, self._url, self._clock = Path(folder), store, clock
        self._store: Store | None = None
        read_study_file(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. A method that is called afterwards opens it again."""
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def folder(self) -> Path:
        """The study folder."""
        return self._folder

    @property
    def spec(self) -> "StudySpec":
        """What the study file says now, validated."""
        from wavewise.workflow.study import read_study_file

        return read_study_file(self._folder)[1]

    @property
    def _study(self) -> "Study":
        """The study as it is now: the file may have been edited since the last verb."""
        return self._opened(begins=False)

    @property
    def _begun(self) -> "Study":
        """The same, for verbs that may begin it: its database is made where there is none."""
        return self._opened(begins=True)

    @property
    def _seen(self) -> "Study":
        """The same, for verbs that write nothing: one that has not begun has nothing yet."""
        from wavewise.store import Store
        from wavewise.workflow.study import DATABASE_FILE, Study, read_study_file, utc_now

        if self._url is not None or self._store is not None:
            return self._begun
        if (self._folder / DATABASE_FILE).is_file():
            return self._study
        text, spec = read_study_file(self._folder)
        empty = Store.open("sqlite://")
        weakref.finalize(self, empty.close)
        return Study(self._folder, text, spec, empty, self._clock or utc_now)

    def _opened(self, *, begins: bool) -> "Study":
        from wavewise.workflow.study import Study, open_store, read_study_file, utc_now

        text, spec = read_study_file(self._folder)
        if self._store is None:
            self._store = open_store(self._folder, self._url, create=begins)
            weakref.finalize(self, self._store.close)
        return Study(self._folder, text, spec, self._store, self._clock or utc_now)

    # Where the study stands.

    def __repr__(self) -> str:
        return "\n".join(self._standing())

    def _repr_html_(self) -> str:
        title, *lines = self._standing()
        return f"<b>{escape(title)}</b><pre>{escape(chr(10).join(lines))}</pre>"

    def _standing(self) -> Iterator[str]:
        from wavewise.workflow.study import DATABASE_FILE

        spec = self.spec
        yield f"{spec.study.title} ({self._folder})"
        if self._url is None and not (self._folder / DATABASE_FILE).is_file():
            yield "  Not registered; no people yet."
            yield "  Next: study.check(), study.design(), study.register()"
            return
        study = self._study
        version, n_units = study.version, study.store.units.count()
        registered = (
            "not registered"
            if version is None
            else f"version {version.number}, registered {version.created_at:%Y-%m-%d}"
        )
        yield f"  Plan: {registered}"
        yield f"  People: {n_units:,} {spec.units.name}"
        for wave in spec.waves:
            row = study.store.waves.get(wave.id)
            stands = "not open yet" if row is None else row.state
            yield f"  Wave {wave.id}: {stands}, starts {wave.starts}, {wave.window_days} days"
        yield f"  Next: {', '.join(map(_as_call, self.standing.steps))}"

    @property
    def standing(self) -> "Standing":
        """Where the study stands: version, people, how far each wave is, the steps to take."""
        from wavewise.workflow.standing import standing

        return standing(self._seen)

    @property
    def draft(self) -> "Draft":
        """The study file as it stands: its text, its faults, and what it changes."""
        from wavewise.workflow.prepare.draft import read_draft

        try:
            return read_draft(self._seen, self._folder)
        except SpecError:
            return read_draft(None, self._folder)

    # Plan.

    def check(self) -> "Result":
        """What is wrong with the study file and its people: every fault at once.

        Raises
        ------
        SpecError, InputError
            With all faults, each with its place.
        """
        from wavewise.workflow.prepare.init_check import check

        return check(self._folder, self._url)

    def design(
        self,
        *,
        simulations: int = 1000,
        spread: float = 0.2,
        correlation: float = 0.0,
        clusters: int = 100,
        cluster_sd: float = 0.5,
        budget: float | None = None,
        total_days: float | None = None,
        wave_days: float | None = None,
        discount: float = 1.0,
        heterogeneity: float | None = None,
        best_effect: float = 0.03,
        jobs: int = 1,
        scheduler: str | None = None,
        progress: Progress | None = None,
    ) -> "Result":
        """Power, simulated designs and the number of waves; writes ``report/design.html``.

        Parameters
        ----------
        simulations : int
            Simulated experiments for each design, 2 or more.
        spread : float
            Prior standard deviation of the arms' log odds.
        correlation : float
            Prior correlation between two arms' log odds.
        clusters : int
            Number of clusters, where the model has them.
        cluster_sd : float
            Standard deviation of the clusters' log odds.
        budget : float, optional
            What all waves together may cost.
        total_days, wave_days : float, optional
            Days for all waves; days for one wave, its window by default.
        discount : float
            Value of a benefit that comes one wave later, relative to now.
        heterogeneity : float, optional
            Standard deviation of effects between units; simulates personalization.
        best_effect : float
            Largest average effect in those simulations.
        jobs : int
            Processes; -1 for one per core.
        scheduler : str, optional
            Address of a Dask scheduler, as ``tcp://10.0.0.5:8786``.
        progress : callable, optional
            Called with a text, the simulations that are done, and how many there are.
        """
        from wavewise.workflow.prepare.design import DesignOptions, design_study

        options = DesignOptions(
            n_simulations=simulations,
            spread=spread,
            correlation=correlation,
            n_clusters=clusters,
            cluster_sd=cluster_sd,
            budget=budget,
            total_days=total_days,
            wave_days=wave_days,
            discount=discount,
            heterogeneity=heterogeneity,
            best_effect=best_effect,
            n_jobs=jobs,
            scheduler=scheduler,
        )
        show = None if progress is None else _Simulations(progress)
        return design_study(self._seen, options, show)

    def register(self) -> "Result":
        """Freeze version 1 of the plan; afterwards it changes only by :meth:`amend`."""
        from wavewise.workflow.prepare.registration import register

        return register(self._begun)

    def amend(self, reason: str, *, reword: bool = False) -> "Result":
        """Freeze the plan as the study file has it now, as the next version.

        Parameters
        ----------
        reason : str
            Why the plan was changed; it stands in the history.
        reword : bool
            Whether messages that are queued in other words are queued anew in the new ones.
        """
        from wavewise.workflow.prepare.registration import amend

        return amend(self._study, reason, reword=reword)

    def history(self, *, export: bool = False) -> "Result":
        """Every change of the plan: field, before, after, with date and reason.

        Parameters
        ----------
        export : bool
            Whether to write the registry page and the pre-analysis plan too.
        """
        from wavewise.workflow.prepare.registration import show_history

        return show_history(self._seen, export=export)

    def rehearse(
        self,
        *,
        out: PathLike | None = None,
        people: Any = None,
        progress: Progress | None = None,
    ) -> "Result":
        """Run the whole study on a copy, from registration to report; nobody is messaged.

        Parameters
        ----------
        out : path, optional
            Folder to make; ``rehearsal`` in the study folder by default.
        people : path or data frame, optional
            Units, where none are imported yet.
        progress : callable, optional
            Called with a step's text, how many steps are done, and of how many.

        Notes
        -----
        The people, messages and dates are the study's own. Messages are written to files, the
        clock jumps from step to step, and outcomes are simulated from ``[planning]`` with no
        effect of any message. Contact details are not read.
        """
        from wavewise.workflow.rehearse import rehearse

        step = progress or (lambda *_: None)
        return rehearse(self._seen, out=_path(out), people=people, step=step)

    # Run.

    def people_import(
        self,
        data: Any,
        *,
        skip_bad: bool = False,
        replace: bool = False,
        as_of: "date | str | None" = None,
        for_wave: str | None = None,
        key_file: PathLike | None = None,
        skip_bad_contacts: bool = False,
        dry_run: bool = False,
        encoding: str | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> "Result":
        """Import units. If a row is bad, nothing is imported and every bad row is named.

        Parameters
        ----------
        data : path or data frame
            A CSV, Excel, Stata, SPSS, Parquet or NDJSON file; or a frame of polars, pandas or
            pyarrow.
        skip_bad : bool
            Whether to import the good rows where some are bad.
        replace : bool
            Whether units that were imported before take their new rows.
        as_of : date or str, optional
            Day on which the file's columns were measured, as ``2023-11-13``. Waves that start on it
            or later use them; earlier ones keep what they have. The file may have some columns and
            some units only.
        for_wave : str, optional
            The same for the day on which a wave starts.
        key_file : path, optional
            Key file for contact details, kept outside the study folder.
        skip_bad_contacts : bool
            Whether contact details that cannot be right are left out; their people stay.
        dry_run : bool
            Whether only to show how each column is read; nothing is imported.
        encoding : str, optional
            Encoding of a text file; UTF-8, or what its byte-order mark says, by default.
        reading : mapping, optional
            How the file is read, by the keys of ``[import.people]``: separator, decimal,
            date_format, sheet, header_row, missing, value_labels, columns.
        """
        from wavewise.workflow.prepare.people import import_people

        return import_people(
            self._begun,
            data,
            skip_bad=skip_bad,
            replace=replace,
            as_of=as_of,
            for_wave=for_wave,
            key_file=_path(key_file),
            skip_bad_contacts=skip_bad_contacts,
            dry_run=dry_run,
            encoding=encoding,
            reading=reading,
        )

    def enrol_open(
        self, enrolment: str, *, exploratory: bool = False, accept_late: bool = False
    ) -> "Result":
        """Find out who is eligible, and invite them.

        Parameters
        ----------
        enrolment : str
            Id of an enrolment in the study file.
        exploratory : bool
            Whether to open it without registration; all results after it are marked exploratory.
        accept_late : bool
            Whether to open it although messages are late already, and will not be sent.
        """
        from wavewise.workflow.run.enrol import open_enrolment

        return open_enrolment(
            self._study, enrolment, exploratory=exploratory, accept_late=accept_late
        )

    def enrol_status(self) -> "Result":
        """How many remain at each step of every enrolment, and why others left."""
        from wavewise.workflow.run.enrol import enrolment_status

        return enrolment_status(self._study)

    def enrol_close(
        self, enrolment: str, *, early: bool = False, accept_silence: bool = False
    ) -> "Result":
        """Keep who enrolled; waves are drawn from them.

        Parameters
        ----------
        enrolment : str
            Id of an open enrolment.
        early : bool
            Whether to cancel messages that are still to come.
        accept_silence : bool
            Whether to close it although nobody answered.
        """
        from wavewise.workflow.run.enrol import close_enrolment

        return close_enrolment(self._study, enrolment, early=early, accept_silence=accept_silence)

    def enrol_discard(self, enrolment: str, reason: str) -> "Result":
        """Take back an enrolment of which nothing was sent.

        Parameters
        ----------
        enrolment : str
            Id of an enrolment that is open or closed.
        reason : str
            Why; it is kept.
        """
        from wavewise.workflow.run.enrol import discard_enrolment

        return discard_enrolment(self._study, enrolment, reason)

    def wave_open(
        self,
        wave: str,
        *,
        exploratory: bool = False,
        accept_late: bool = False,
        accept_incomplete: bool = False,
        dry_run: bool = False,
    ) -> "Result":
        """Randomize a wave: all of its units, or none.

        Parameters
        ----------
        wave : str
            Id of a wave in the study file.
        exploratory : bool
            Whether to open it without registration; all results after it are marked exploratory.
        accept_late : bool
            Whether to open it although messages are late already, and will not be sent.
        accept_incomplete : bool
            Whether to freeze facts although events that they count may still arrive.
        dry_run : bool
            Whether only to show the draw and its checks, as they would be now.
        """
        from wavewise.workflow.run.open_wave import open_wave

        return open_wave(
            self._study,
            wave,
            exploratory=exploratory,
            accept_late=accept_late,
            accept_incomplete=accept_incomplete,
            dry_run=dry_run,
        )

    def wave_close(
        self, wave: str, *, accept: Sequence[str] | None = None, reason: str = ""
    ) -> "Result":
        """Freeze a wave's outcomes: one row per unit.

        Parameters
        ----------
        wave : str
            Id of an open wave whose window has ended.
        accept : sequence of str, optional
            Checks of `data_check` that fail and are accepted.
        reason : str
            Why they are accepted; it is kept, and the report shows it.
        """
        from wavewise.workflow.run.observe import close_wave

        return close_wave(self._study, wave, accept or (), reason)

    def wave_reopen(self, wave: str, reason: str) -> "Result":
        """Set the outcomes of a closed wave aside; closing it again makes the next version.

        Parameters
        ----------
        wave : str
            Id of a closed wave.
        reason : str
            Why; it is kept, and the report shows it.
        """
        from wavewise.workflow.run.observe import reopen_wave

        return reopen_wave(self._study, wave, reason)

    def wave_discard(self, wave: str, reason: str) -> "Result":
        """Take back a wave of which nothing was sent, so that it can be opened again.

        Parameters
        ----------
        wave : str
            Id of an open wave.
        reason : str
            Why; it is kept with the record of the draw.
        """
        from wavewise.workflow.run.observe import discard_wave

        return discard_wave(self._study, wave, reason)

    def wave_import(
        self,
        wave: str,
        data: Any,
        *,
        exploratory: bool = False,
        match_ids: bool = False,
        keep_unmatched: bool = False,
        dry_run: bool = False,
        encoding: str | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> "Result":
        """Import a wave that ran elsewhere: assignment, outcomes, and people if there are none.

        Parameters
        ----------
        wave : str
            Id of a wave whose study file says ``imported``.
        data : path or data frame
            One row per unit.
        exploratory : bool
            Whether to import it without registration; all results after it are marked exploratory.
        match_ids : bool
            Whether ids that are nobody's, but differ from one unit's only in leading zeros, case,
            blanks or Unicode form, are taken for that unit's.
        keep_unmatched : bool
            Whether rows with such ids are kept as those of others.
        dry_run : bool
            Whether only to show how each column is read; nothing is imported.
        encoding : str, optional
            Encoding of a text file; UTF-8, or what its byte-order mark says, by default.
        reading : mapping, optional
            How the file is read, by the keys of ``[import.people]``: separator, decimal,
            date_format, sheet, header_row, missing, value_labels, columns.
        """
        from wavewise.workflow.run.import_wave import import_wave

        return import_wave(
            self._begun,
            wave,
            data,
            exploratory=exploratory,
            match_ids=match_ids,
            keep_unmatched=keep_unmatched,
            dry_run=dry_run,
            encoding=encoding,
            reading=reading,
        )

    def observe(
        self,
        data: Any,
        *,
        kind: str | None = None,
        delivered: str | None = None,
        correct: bool = False,
        reason: str | None = None,
        match_ids: bool = False,
        keep_unmatched: bool = False,
        dry_run: bool = False,
        encoding: str | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> "Result":
        """Import events or scores. Importing the same ones again changes nothing.

        Parameters
        ----------
        data : path or data frame
            Events or scores, one per row.
        kind : str, optional
            Kind of all events, where there is no such column; or ``scores``.
        delivered : str, optional
            Date of all scores, where there is no such column.
        correct : bool
            Whether to replace what is kept under the same ids; the former content stays as a trace.
        reason : str, optional
            Why, where they are corrected.
        match_ids : bool
            Whether ids that are nobody's, but differ from one unit's only in leading zeros, case,
            blanks or Unicode form, are taken for that unit's.
        keep_unmatched : bool
            Whether rows with such ids are kept as those of others.
        dry_run : bool
            Whether only to show how each column is read; nothing is imported.
        encoding : str, optional
            Encoding of a text file; UTF-8, or what its byte-order mark says, by default.
        reading : mapping, optional
            How the file is read, by the keys of ``[import.people]``: separator, decimal,
            date_format, sheet, header_row, missing, value_labels, columns.
        """
        from wavewise.workflow.run.observe import observe

        return observe(
            self._study,
            data,
            kind=kind,
            delivered=delivered,
            correct=correct,
            reason=reason,
            match_ids=match_ids,
            keep_unmatched=keep_unmatched,
            dry_run=dry_run,
            encoding=encoding,
            reading=reading,
        )

    def data_check(self, *, wave: str | None = None, ids: bool = False) -> "Result":
        """Judge people and events before a step that cannot be undone.

        Parameters
        ----------
        wave : str, optional
            Id of a wave; all open waves by default.
        ids : bool
            Whether to list the ids that name nobody, with the person they are likely to mean.
        """
        from wavewise.workflow.run.data_check import data_check

        return data_check(self._seen, wave, ids=ids)

    def withdraw(
        self,
        reason: str,
        *,
        data: Any = None,
        event: str | None = None,
        kind: str | None = None,
        delivered: str | None = None,
        match_ids: bool = False,
        encoding: str | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> "Result":
        """Withdraw events or scores: they no longer count, and what they said is kept.

        Parameters
        ----------
        reason : str
            Why.
        data : path or data frame, optional
            Events to withdraw, or a column ``event_id`` of their ids; or scores.
        event : str, optional
            Id of one event, instead of a file.
        kind : str, optional
            Kind of all events, where there is no such column; or ``scores``.
        delivered : str, optional
            Date of all scores, where there is no such column.
        match_ids : bool
            Whether the file was imported with matched ids.
        encoding : str, optional
            Encoding of a text file; UTF-8, or what its byte-order mark says, by default.
        reading : mapping, optional
            How the file is read, as for :meth:`observe`.
        """
        from wavewise.workflow.run.observe import withdraw

        return withdraw(
            self._study,
            reason,
            data=data,
            event=event,
            kind=kind,
            delivered=delivered,
            match_ids=match_ids,
            encoding=encoding,
            reading=reading,
        )

    def status(self, *, counts: bool = False) -> "Result":
        """Messages due, sent, delivered and failed; opt-outs; what reached people.

        Parameters
        ----------
        counts : bool
            Whether only to count messages, without what they did: at once, also while it runs.
        """
        from wavewise.workflow.send.status import status

        return status(self._study, counts_only=counts)

    # Learn.

    def analyze(self, wave: str, *, randomization_draws: int | None = None) -> "Result":
        """Estimate effects in a closed wave, and check its data.

        Parameters
        ----------
        wave : str
            Id of a closed wave.
        randomization_draws : int, optional
            Number of re-randomizations for a randomization test; 0 leaves it out. By default 1,000
            where a wave of fewer than 1,000 units has fewer than five per arm and stratum.
        """
        from wavewise.workflow.learn.analyze import analyze

        return analyze(self._study, wave, randomization_draws=randomization_draws)

    def decide(self, wave: str) -> "Result":
        """What follows from a closed wave: the next shares, policies, or the final arm."""
        from wavewise.workflow.learn.decide import decide

        return decide(self._study, wave)

    def evaluate(self, wave: str) -> "Result":
        """What the frozen policies of a closed wave are worth on its fresh outcomes."""
        from wavewise.workflow.learn.evaluate import evaluate

        return evaluate(self._study, wave)

    def report(self) -> "Result":
        """Write ``report/index.html``: one page that opens without a network, and its figures."""
        from wavewise.workflow.report.report import write_report

        return write_report(self._study)

    # Send.

    def contacts_import(
        self,
        data: Any,
        *,
        key_file: PathLike | None = None,
        skip_bad_contacts: bool = False,
        dry_run: bool = False,
        encoding: str | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> "Result":
        """Import changed contact details of known units.

        Parameters
        ----------
        data : path or data frame
            Units' ids and the columns of addresses that the study file names.
        key_file : path, optional
            Key file for contact details; ``WAVEWISE_KEY_FILE`` by default.
        skip_bad_contacts : bool
            Whether contact details that cannot be right are left out; their people stay.
        dry_run : bool
            Whether only to show how each column is read; nothing is imported.
        encoding : str, optional
            Encoding of a text file; UTF-8, or what its byte-order mark says, by default.
        reading : mapping, optional
            How the file is read, by the keys of ``[import.people]``: separator, decimal,
            date_format, sheet, header_row, missing, value_labels, columns.
        """
        from wavewise.workflow.contacts.contacts import import_contacts

        return import_contacts(
            self._study,
            data,
            key_file=_path(key_file),
            skip_bad_contacts=skip_bad_contacts,
            dry_run=dry_run,
            encoding=encoding,
            reading=reading,
        )

    def contacts_rotate(self, key_file: PathLike) -> "Result":
        """Encrypt all contact details with a new key, and remove the old one from the file."""
        from wavewise.workflow.contacts.contacts import rotate_keys

        return rotate_keys(self._study, Path(key_file))

    def contacts_changes(self) -> "Result":
        """Who changed a number during a call, and when; never the numbers."""
        from wavewise.workflow.contacts.contacts import list_changes

        return list_changes(self._study)

    def contacts_restore(self, unit: str, *, key_file: PathLike | None = None) -> "Result":
        """Restore the number that a unit had before its last change."""
        from wavewise.workflow.contacts.contacts import restore_contact

        return restore_contact(self._study, unit, key_file=_path(key_file))

    def opt_out(self, unit: str, *, channel: str | None = None) -> "Result":
        """Record an opt-out and cancel what is queued; the unit's arm and outcomes stay.

        Parameters
        ----------
        unit : str
            The unit's id.
        channel : str, optional
            Only this channel; all by default.
        """
        from wavewise.workflow.contacts.opt_outs import record_opt_out

        return record_opt_out(self._study, unit, channel)

    def preview(self, wave: str, *, unit: str | None = None, units: int = 1) -> "Result":
        """Every message of a wave as one unit would get it, with its length and due times.

        Parameters
        ----------
        wave : str
            Id of a wave in the study file.
        unit : str, optional
            The unit's id; the first unit by default.
        units : int
            Number of units drawn by the seed, each with one message in turn; 1 shows all messages
            as one unit would get them.
        """
        from wavewise.workflow.send.preview import preview

        return preview(self._seen, wave, unit, n_units=units)

    def send(self, *, until_done: bool = False, key_file: PathLike | None = None) -> "Result":
        """Send what is due, each message at most once; several workers may run at a time.

        Parameters
        ----------
        until_done : bool
            Whether to stay until all messages of open waves are out.
        key_file : path, optional
            Key file for contact details; ``WAVEWISE_KEY_FILE`` by default.
        """
        from wavewise.workflow.send.worker import send

        return send(self._study, until_done=until_done, key_file=_path(key_file))

    def outbox_pause(self, *, wave: str | None = None) -> "Result":
        """Stop sending immediately, in one wave or in all."""
        from wavewise.workflow.send.worker import address_outbox

        return address_outbox(self._study, "pause", wave)

    def outbox_resume(self, *, wave: str | None = None, gone_out: str | None = None) -> "Result":
        """Resume sending what was paused, in one wave or in all.

        Parameters
        ----------
        wave : str, optional
            Id of a wave; all by default.
        gone_out : {"due", "none"}, optional
            After a restore, what went out since the copy was made: all that was due, which is not
            sent again, or nothing.
        """
        from wavewise.workflow.send.worker import address_outbox

        if gone_out not in {None, "due", "none"}:
            raise InputError(f"found gone_out {gone_out!r}; needed 'due' or 'none'")
        return address_outbox(self._study, "resume", wave, gone_out=gone_out)  # type: ignore[arg-type]

    def outbox_cancel(self, *, wave: str | None = None) -> "Result":
        """Cancel all messages that are not sent yet, for good, in one wave or in all."""
        from wavewise.workflow.send.worker import address_outbox

        return address_outbox(self._study, "cancel", wave)

    def outbox_resend(self, *, wave: str | None = None) -> "Result":
        """Send messages of unknown fate again: some people may get them twice."""
        from wavewise.workflow.send.worker import address_outbox

        return address_outbox(self._study, "resend", wave)

    def outbox_retry(self, reason: str, *, wave: str | None = None) -> "Result":
        """Send messages again that failed for a stated reason, and that nobody took.

        Parameters
        ----------
        reason : str
            Why they failed, as :meth:`status` shows it, or its first words.
        wave : str, optional
            Only this wave; all by default.
        """
        from wavewise.workflow.send.worker import address_outbox

        return address_outbox(self._study, "retry", wave, reason)

    def outbox_reword(self, *, wave: str | None = None) -> "Result":
        """Queue messages anew that were queued in other words than the registered plan has."""
        from wavewise.workflow.send.worker import address_outbox

        return address_outbox(self._study, "reword", wave)

    # Data.

    def export(self, out: PathLike) -> "Result":
        """Write the research data as CSV files: ids only, no contact details and no names.

        Parameters
        ----------
        out : path
            Folder to make.
        """
        from wavewise.workflow.run.export import export

        return export(self._study, Path(out))

    def erase(self, unit: str) -> "Result":
        """Erase what identifies a unit: contact details, names. It is never sent to again."""
        from wavewise.workflow.run.export import erase

        return erase(self._study, unit)

    def backup(self, out: PathLike) -> "Result":
        """Copy the study's database, also while it is in use.

        Parameters
        ----------
        out : path
            File to write: a SQLite database, or PostgreSQL's own archive.
        """
        from wavewise.workflow.run.backup import backup

        return backup(self._study, Path(out))

    def restore(self, source: PathLike) -> "Result":
        """Put a copy in the database's place; nothing is sent until :meth:`outbox_resume`.

        Parameters
        ----------
        source : path
            What :meth:`backup` wrote.
        """
        from wavewise.workflow.run.backup import restore

        self.close()
        now = None if self._clock is None else self._clock()
        return restore(self._folder, Path(source), url=self._url, now=now)

    # Serve.

    def serve(
        self,
        *,
        port: int = 8080,
        host: str = "127.0.0.1",
        key_file: PathLike | None = None,
        public_url: str | None = None,
        send: bool = False,
        openapi: bool = False,
        pages: bool = False,
    ) -> "Result":
        """Receive events, inbound messages and opt-outs over HTTP, until it is interrupted.

        Parameters
        ----------
        port : int
            Port to listen on; 0 picks a free one.
        host : str
            Address to listen on.
        key_file : path, optional
            Key file for contact details; ``WAVEWISE_KEY_FILE`` by default.
        public_url : str, optional
            Public URL at which providers reach it.
        send : bool
            Whether to send messages that are due, too.
        openapi : bool
            Whether ``/openapi.json`` describes the interface, to everybody.
        pages : bool
            Whether to show the pages too, to a team whose members :meth:`team_invite` lets in.
        """
        import sys

        from wavewise.server.app import Pages, serve

        return serve(
            self._begun if pages else self._study,
            host=host,
            port=port,
            key_file=_path(key_file),
            public_url=public_url,
            send=send,
            openapi=openapi,
            pages=Pages(sys.modules[__name__], run_verb) if pages else None,
        )

    def keys_make(self, name: str) -> "Result":
        """Make an API key of the HTTP interface; it is shown once.

        Parameters
        ----------
        name : str
            Who will use the key.
        """
        from wavewise.workflow.contacts.keys import make_key

        return make_key(self._study, name)

    def keys_list(self) -> "Result":
        """List API keys by id and name; the keys themselves are not stored."""
        from wavewise.workflow.contacts.keys import list_keys

        return list_keys(self._study)

    def keys_revoke(self, key_id: str) -> "Result":
        """Revoke an API key."""
        from wavewise.workflow.contacts.keys import revoke_key

        return revoke_key(self._study, key_id)

    def team_invite(self, name: str, role: str) -> "Result":
        """Invite somebody to the pages; the address that it gives works once.

        Parameters
        ----------
        name : str
            What they will sign in with, such as an e-mail address.
        role : {"owner", "analyst", "field", "viewer"}
            What they may do.
        """
        from wavewise.workflow.team.accounts import invite

        return invite(self._begun, name, role)

    def team_list(self) -> "Result":
        """List who was invited, who has joined, and as what."""
        from wavewise.workflow.team.accounts import list_accounts

        return list_accounts(self._begun)

    def team_role(self, name: str, role: str) -> "Result":
        """Give somebody another role; their sessions end.

        Parameters
        ----------
        name : str
            What they sign in with.
        role : {"owner", "analyst", "field", "viewer"}
            What they may do from now on.
        """
        from wavewise.workflow.team.accounts import change_role

        return change_role(self._begun, name, role)

    def team_remove(self, name: str) -> "Result":
        """Close somebody's account; their sessions end, what they did stays in the audit log.

        Parameters
        ----------
        name : str
            What they sign in with.
        """
        from wavewise.workflow.team.accounts import remove_account

        return remove_account(self._begun, name)

    def audit(self, *, out: PathLike | None = None) -> "Result":
        """Who did what, when, from which version of the plan, and why; whether the log is whole.

        Parameters
        ----------
        out : path, optional
            File to write: CSV, or JSON by its ending.
        """
        from wavewise.workflow.team.audit import audit

        return audit(self._seen, _path(out))

    # What was kept, as frames.

    def assignments(
        self, wave: str | None = None, container: "FrameKind" = "polars"
    ) -> "pl.DataFrame | Any":
        """Units of a wave with their stratum, arm and the probability of that arm.

        Parameters
        ----------
        wave : str, optional
            Id of an open or closed wave; all of them by default, told apart by a column ``wave``.
        container : {"polars", "pandas", "pyarrow"}
            Kind of frame.
        """
        study = self._study
        return self._by_wave(study, study.store.waves.assignment, wave, container)

    def outcomes(
        self, wave: str | None = None, container: "FrameKind" = "polars"
    ) -> "pl.DataFrame | Any":
        """Frozen outcomes of a closed wave, one row per unit.

        Parameters
        ----------
        wave : str, optional
            Id of a closed wave; all of them by default, told apart by a column ``wave``.
        container : {"polars", "pandas", "pyarrow"}
            Kind of frame.
        """
        study = self._study
        return self._by_wave(study, study.store.waves.outcomes, wave, container)

    def events(self, container: "FrameKind" = "polars") -> "pl.DataFrame | Any":
        """All events that were kept, with the times at which they happened and came in (UTC)."""
        import polars as pl

        from wavewise.shared.results import frame_as

        kept = self._study.store.events.all()
        times = [name for name in kept.columns if name.endswith("_utc_us")]
        readable = kept.with_columns(
            pl.from_epoch(name, "us").dt.replace_time_zone("UTC") for name in times
        ).rename({name: name.removesuffix("_utc_us") for name in times})
        return frame_as(readable, container)

    @staticmethod
    def _by_wave(
        study: "Study", read: "Callable[[str], pl.DataFrame]", wave: str | None, kind: "FrameKind"
    ) -> Any:
        import polars as pl

        from wavewise.shared.results import frame_as

        if wave is not None:
            study.wave(wave)
            return frame_as(read(wave), kind)
        ids = [row.wave_id for row in study.store.waves.all()]
        no_wave = pl.DataFrame(schema={"wave": pl.String, "unit_id": pl.String})
        frames = [read(one).select(pl.lit(one).alias("wave"), pl.all()) for one in ids]
        return frame_as(pl.concat([no_wave, *frames], how="diagonal_relaxed"), kind)


def run_verb(
    folder: Path,
    store: str,
    verb: str,
    arguments: Mapping[str, Any],
    *,
    ahead: timedelta,
    progress: Progress,
) -> str:
    """What a verb says, in a process of its own; the clock is as far ahead as the server's."""
    import inspect

    from wavewise.workflow.study import utc_now

    with open_study(folder, store=store, clock=lambda: utc_now() + ahead) as study:
        method = getattr(study, verb)
        told = {"progress": progress} if "progress" in inspect.signature(method).parameters else {}
        return str(method(**arguments, **told).summary())


class _Simulations:
    """Progress of simulations in chunks; a class, since a process can be sent no closure."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, done: int, total: int) -> None:
        self._progress("simulated experiments", done, total)


def _path(given: PathLike | None) -> Path | None:
    return None if given is None else Path(given)


def _as_call(step: "NextStep") -> str:
    """A step as it is written in a notebook."""
    data = "data" if step.verb in {"people_import", "wave_import", "observe"} else ""
    wave = f'"{step.wave}"' if step.wave is not None else ""
    reason = "reason" if step.verb == "amend" else ""
    when = "" if step.not_before is None else f" from {step.not_before:%Y-%m-%d}"
    return f"study.{step.verb}({', '.join(filter(None, (wave, data, reason)))}){when}"


# Verbs that need no study.


def init(
    folder: PathLike,
    template: str | None = None,
    *,
    people: Any = None,
    encoding: str | None = None,
) -> "Result":
    """Make a new study folder, from a template or from the columns of a people file.

    Parameters
    ----------
    folder : path
        Folder to make.
    template : str, optional
        One of ``wavewise.design.templates.template_names()``, such as ``sms-two-waves``.
    people : path or data frame, optional
        People, from whose columns a study file is proposed, to be edited.
    encoding : str, optional
        Encoding of that file; the study file keeps it for the import.
    """
    from wavewise.workflow.prepare.init_check import init

    return init(Path(folder), template, people, encoding)


def schema() -> "Result":
    """The JSON Schema of the study file, for editors."""
    from wavewise.workflow.prepare.init_check import schema

    return schema()


def demo(
    *,
    units: int = 100_000,
    seed: int = 1,
    out: PathLike = Path("wavewise-demo"),
    summer: bool = False,
    progress: Progress | None = None,
) -> "Result":
    """Run the Peru study on simulated families: learn, freeze policies, test them, report.

    Parameters
    ----------
    units : int
        Number of simulated parents, 100 or more.
    seed : int
        Seed of every random draw.
    out : path
        Folder to make.
    summer : bool
        Whether to run the summer study, when few use the app.
    progress : callable, optional
        Called with a step's text, how many steps are done, and of how many.
    """
    from wavewise.workflow.demo import run_demo

    if units < 100:
        raise InputError(f"units: found {units}; needed 100 or more")
    return run_demo(
        Path(out),
        n_units=units,
        seed=seed,
        step=progress or (lambda *_: None),
        season="summer" if summer else "school year",
    )


def compare(folders: Sequence[PathLike], *, out: PathLike = Path("contexts.html")) -> "Result":
    """Compare the gains from policies in two or more studies, on one page.

    Parameters
    ----------
    folders : sequence of paths
        Folders of studies whose policies were evaluated.
    out : path
        Page to write.
    """
    from wavewise.workflow.report.report import compare

    return compare([Path(folder) for folder in folders], Path(out))


def data_get(name: str, *, source: PathLike | None = None) -> "Result":
    """Put a public data file of the worked studies into the cache, its SHA-256 checked.

    Parameters
    ----------
    name : str
        ``gotv`` or ``pad``.
    source : path, optional
        A local copy, instead of a download.
    """
    from wavewise.workflow.prepare.datasets import get_data

    return get_data(name, _path(source))


def contacts_make_key(file: PathLike) -> "Result":
    """Make a key file. Keep a copy: without it contact details cannot be read.

    Parameters
    ----------
    file : path
        The key file to make, outside every study folder.
    """
    from wavewise.workflow.contacts.keys import make_key_file

    return make_key_file(Path(file))


def app(
    *,
    folder: PathLike = Path(),
    port: int = 0,
    no_browser: bool = False,
    key_file: PathLike | None = None,
    store: str | None = None,
) -> "Result":
    """Show studies in a browser, on the loopback address, until it is interrupted.

    Parameters
    ----------
    folder : path
        A study folder, or a folder of studies; the one where the program runs by default.
    port : int
        Port to listen on; 0 picks a free one.
    no_browser : bool
        Whether only to print the address, which works once.
    key_file : path, optional
        Key file for contact details; ``WAVEWISE_KEY_FILE`` by default.
    store : str, optional
        Database of the study; the file ``study.db`` in its folder by default.
    """
    import sys

    from wavewise.server.pages.app import serve_pages

    return serve_pages(
        sys.modules[__name__],
        Path(folder),
        port=port,
        browser=not no_browser,
        key_file=_path(key_file),
        store=store,
    )
