"""``rehearse``: the whole study on a copy, before it begins, on a clock that jumps ahead."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wavewise.design.enrolment import CONSENT, Sender
from wavewise.design.shares import planned_shares
from wavewise.design.spec import Baseline, Outcome
from wavewise.design.wave_references import own_period
from wavewise.design.waves import Wave
from wavewise.errors import InputError, WavewiseError
from wavewise.fieldwork.channels.settings import CHANNELS_FILE
from wavewise.fieldwork.outcomes import window_us
from wavewise.shared.streams import stream
from wavewise.shared.text_tables import text_table
from wavewise.store.enrolments import INVITED
from wavewise.workflow.frames import (
    closed_waves,
    unit_data,
    units_for,
    units_of_wave,
    wave_data,
)
from wavewise.workflow.intake import observe_scores, score_outcomes
from wavewise.workflow.learn.analyze import analyze
from wavewise.workflow.learn.decide import decide, wave_that_learns
from wavewise.workflow.learn.evaluate import evaluate
from wavewise.workflow.learn.policies import wave_of_policies
from wavewise.workflow.prepare.people import import_people
from wavewise.workflow.prepare.registration import register
from wavewise.workflow.report.report import write_report
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.data_check import CLOSING_CHECKS
from wavewise.workflow.run.enrol import close_enrolment, open_enrolment
from wavewise.workflow.run.import_wave import import_wave
from wavewise.workflow.run.observe import close_wave, observe
from wavewise.workflow.run.open_wave import open_wave, window_start
from wavewise.workflow.send.queue import NO_PROVIDER, messages_of, wave_sends
from wavewise.workflow.send.status import sent_messages
from wavewise.workflow.send.worker import send
from wavewise.workflow.study import STUDY_FILE, Study, open_study

__all__ = ["Rehearsal", "rehearse"]

Step = Callable[[str, int, int], None]
MARK = "# A rehearsal, made by wavewise rehearse: nobody was messaged, outcomes are simulated."
FOLDER = "rehearsal"
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
# What is assumed of an outcome that [planning] says nothing of.
_ASSUMED = {
    "any": Baseline(mean=0.5),
    "count": Baseline(mean=1.0),
    "successes": Baseline(mean=0.5),
}
_CONTINUOUS = Baseline(mean=0.0, std_dev=1.0)


@dataclass(frozen=True, eq=False)
class Rehearsal(VerbResult):
    """A study that was run on a copy, from registration to report."""

    folder: str
    report: str
    steps: tuple[Mapping[str, Any], ...]  # when (on the rehearsal's clock), step, what
    assumed: tuple[str, ...]  # Outcomes of which [planning] says nothing.

    def summary(self) -> str:
        """Every step with its date, and what was real and what was not."""
        rows = [list(step.values()) for step in self.steps]
        lines = [
            text_table(["when", "step", "what"], rows),
            "The people, messages and dates are yours; nobody was messaged: the texts are in "
            f"{self.folder}/outbox. Outcomes were simulated from [planning], with no effect of any "
            "message: what looks like one is chance.",
        ]
        if self.assumed:
            names = ", ".join(self.assumed)
            lines.append(f"[planning] has no baseline of {names}: an arbitrary one was taken.")
        return "\n".join([*lines, f"Report: {self.report}"])

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame([dict(step) for step in self.steps])


def rehearse(
    study: Study, *, out: Path | None = None, people: Any = None, step: Step = lambda *_: None
) -> Rehearsal:
    """The whole study on a copy in a folder of its own; the study itself is only read."""
    folder = out or study.folder / FOLDER
    units = study.store.units.all()
    if people is None and units.is_empty():
        raise InputError(
            "found no people; needed those of the study; import them with `wavewise people import "
            f"{study.folder} FILE`, or add --people FILE"
        )
    _prepare(study, folder)
    clock = _Clock(_first_moment(study))
    with open_study(folder, clock=clock) as copy:
        run = _Run(copy, clock, _Addresses(study), step)
        run.begin(units, people)
        run.share_phones(study)
        for wave in copy.spec.waves:
            run.wave(wave)
        return run.end()


_MADE_UP_DAYS = 28  # over which events before a wave are made up


class _Clock:
    """A clock that only jumps forwards."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def __call__(self) -> datetime:
        return self._now

    def jump(self, to: datetime) -> None:
        self._now = max(self._now, to)


class _Addresses:
    """An address for whoever has one in the study, or for all where it has none; never the real."""

    def __init__(self, study: Study) -> None:
        known = {c: study.store.contacts.units(c) for c in study.spec.units.address}
        self._known: dict[str, set[str]] = {
            str(c): set(ids) for c, ids in known.items() if len(ids)
        }

    def addresses(self, channel: str, unit_ids: Sequence[str]) -> dict[str, str]:
        """Address of each unit on a channel."""
        known = self._known.get(channel)
        return {one: f"{channel} of {one}" for one in unit_ids if known is None or one in known}


def _first_moment(study: Study) -> datetime:
    senders: list[Sender] = [*study.spec.waves, *study.spec.enrolment]
    starts = [window_start(study, one) for one in senders]
    return min(starts) - 7 * _DAY


def _prepare(study: Study, folder: Path) -> None:
    """A folder with the study file, every channel a file, and nothing of an earlier rehearsal."""
    path = folder / STUDY_FILE
    is_ours = path.is_file() and path.read_text(encoding="utf-8").startswith(MARK)
    if folder.exists() and not is_ours and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"found something else at {folder}; needed a new folder, or that of an earlier "
            "rehearsal; give another one with --out"
        )
    if is_ours:
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    path.write_text(f"{MARK}\n{study.text}", encoding="utf-8")
    for model in study.spec.models.values():
        if model.earlier is not None and model.earlier.file is not None:
            copy = folder / model.earlier.file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(study.folder / model.earlier.file, copy)
    channels = {str(message.channel) for message in study.spec.messages} - {NO_PROVIDER}
    tables = [f'["{name}"]\nprovider = "file"\nrate_per_second = inf\n' for name in channels]
    (folder / CHANNELS_FILE).write_text("\n".join(sorted(tables)), encoding="utf-8")


class _Run:
    """The steps of a rehearsal, each written down with its date."""

    def __init__(self, study: Study, clock: _Clock, book: _Addresses, step: Step) -> None:
        self._study, self._clock, self._book, self._step = study, clock, book, step
        self._steps: list[dict[str, Any]] = []
        self._periods: set[str] = set()
        self._n_steps = 4 * len(study.spec.waves) + 3
        self._folder = study.folder

    @contextmanager
    def _told(self, step: str) -> Iterator[list[str]]:
        """A step that tells what it did; an error says in which one it came."""
        self._step(step, len(self._steps), self._n_steps)
        what: list[str] = []
        try:
            yield what
        except WavewiseError as error:
            raise type(error)(f"rehearsal, {step}: {error.message}", error.faults) from error
        when = f"{self._clock():%Y-%m-%d %H:%M}"
        self._steps.append({"when": when, "step": step, "what": " ".join(what)})

    def begin(self, units: pl.DataFrame, people: Any) -> None:
        """The plan registered, and the people in."""
        with self._told("register") as what:
            what.append(f"version {register(self._study).version}")
        with self._told("people import") as what:
            if people is not None:
                import_people(self._study, people)
            else:
                rows = units.drop("imported_at_utc_us")
                self._study.store.units.add(rows, imported_at=self._clock())
            n_units, name = self._study.store.units.count(), self._study.spec.units.name
            what.append(f"{n_units:,} {name}")

    def share_phones(self, study: Study) -> None:
        """Who shares a phone, where an enrolment asks for it; numbers themselves stay behind."""
        for channel in ("sms", "voice") if study.spec.enrolment else ():
            rows = study.store.contacts.find(channel).with_columns(encrypted=pl.lit(""))
            known = rows.filter(pl.col("unit_id").is_in(unit_data(self._study).ids.implode()))
            self._study.store.contacts.put(known, self._clock())

    def _enrol(self, wave: Wave) -> None:
        """The enrolment before a wave: everybody is asked, nobody refuses, whoever must agrees."""
        one, study = self._study.spec.enrolment_of(wave.id), self._study
        if one is None or study.store.enrolments.get(one.id) is not None:
            return
        self._clock.jump(window_start(study, one))
        with self._told(f"enrol {one.id}") as what:
            opened = open_enrolment(study, one.id, accept_late=True)
            plan = wave_sends(study, one, self._clock())
            zones = study.store.units.time_zones() | {study.spec.study.time_zone}
            due = {d.due_at for zone in zones for d in plan.of(zone)} if plan is not None else set()
            for moment in sorted(due):
                self._clock.jump(moment + timedelta(minutes=1))
                send(study, book=self._book)
            if one.consent == "explicit":
                invited = study.store.enrolments.units(one.id).filter(status=INVITED)["unit_id"]
                observe(study, pl.DataFrame({"unit_id": invited}).with_columns(
                    kind=pl.lit(CONSENT), at=pl.lit(self._clock().isoformat())
                ))  # fmt: skip
            closed = close_enrolment(study, one.id, early=True, accept_silence=True)
            what.append(f"{opened.n_invited:,} invited, {closed.n_enrolled:,} enrolled")

    def wave(self, wave: Wave) -> None:
        """A wave from its opening to what is learned from it."""
        if wave.imported is None:
            self._enrol(wave)
            self._open(wave)
            self._send(wave)
        else:
            self._import(wave)
        days = max(wave.window_days + 1, self._study.spec.span(wave)[1])
        self._clock.jump(window_start(self._study, wave) + days * _DAY)
        with self._told(f"observe {wave.id}") as what:
            what.append(self._observe(wave))
        with self._told(f"close {wave.id}") as what:
            closed = close_wave(self._study, wave.id, CLOSING_CHECKS, "a rehearsal")
            what.append(f"{closed.n_units:,} outcomes; mean {closed.outcome} by arm:")
            what.append(", ".join(f"{row['arm']} {_number(row['mean'])}" for row in closed.arms))
        with self._told(f"analyze {wave.id}") as what:
            checks = analyze(self._study, wave.id).checks
            n_failed = sum(check.passed is False for check in checks)
            what.append(f"{len(checks)} checks, {n_failed} failed")
        self._learn(wave)

    def _open(self, wave: Wave) -> None:
        start = window_start(self._study, wave)
        plan = wave_sends(self._study, wave, None)
        if plan is not None:
            zones = self._study.store.units.time_zones() | {self._study.spec.study.time_zone}
            start = min([start, *(plan.of(zone)[0].due_at for zone in zones)])
        self._clock.jump(start - _HOUR)
        before = self._before(wave)
        if before.height:
            with self._told(f"observe before {wave.id}") as what:
                n_new = observe(self._study, before).facts()["n_new"]
                what.append(f"{n_new:,} events, made up, of which facts are derived")
        with self._told(f"open {wave.id}") as what:
            opened = open_wave(self._study, wave.id, accept_late=True, accept_incomplete=True)
            n_late = sum(bool(one["n_zones_late"]) for one in opened.due)
            what.append(", ".join(f"{row['arm']} {row['n_units']:,}" for row in opened.counts))
            if n_late:
                what.append(f"({n_late} of {len(opened.due)} sends are late by then)")

    def _before(self, wave: Wave) -> pl.DataFrame:
        """Events of the kinds that facts count, about one per unit and kind, before a wave."""
        spec, ids = self._study.spec, unit_data(self._study).ids
        rules = [rule for rule in spec.derived.values() if rule.event]
        days = max((rule.within_days or _MADE_UP_DAYS for rule in rules), default=0)
        rng = stream(spec.study.seed, "rehearsal", wave.id, "before")
        end = int(window_start(self._study, wave).timestamp())
        parts = []
        for kind in dict.fromkeys(kind for rule in rules for kind in rule.event or ()):
            who = np.repeat(np.arange(len(ids)), rng.poisson(1.0, len(ids)))
            at = pl.Series(end - rng.integers(1, days * 86_400, len(who)))
            made = {
                "event_id": [f"rehearsal-before-{wave.id}-{kind}-{i}" for i in range(len(who))],
                "unit_id": ids.gather(who),
                "kind": pl.repeat(kind, len(who), eager=True),
                "at": pl.from_epoch(at, "s").dt.replace_time_zone("UTC"),
                "value": np.round(rng.gamma(2.0, 10.0, len(who)), 1),
            }
            parts.append(pl.DataFrame(made))
        return pl.concat(parts) if parts else pl.DataFrame()

    def _send(self, wave: Wave) -> None:
        row = self._study.store.waves.get(wave.id)
        plan = wave_sends(self._study, wave, None if row is None else row.opened_at)
        if plan is None or not messages_of(self._study, wave):
            return
        zones = self._study.store.units.time_zones() | {self._study.spec.study.time_zone}
        moments = sorted({one.due_at for zone in zones for one in plan.of(zone) if not one.is_late})
        with self._told(f"send {wave.id}") as what:
            for moment in moments:
                self._clock.jump(moment + timedelta(minutes=1))
                send(self._study, book=self._book)
            what.append(sent_messages(self._study, wave).text)

    def _import(self, wave: Wave) -> None:
        """A wave that ran elsewhere: its file is made up."""
        self._clock.jump(window_start(self._study, wave))
        with self._told(f"import {wave.id}") as what:
            frame = self._made_up_file(wave)
            import_wave(self._study, wave.id, frame, exploratory=False)
            what.append(f"{frame.height:,} rows, made up")

    def _made_up_file(self, wave: Wave) -> pl.DataFrame:
        spec, columns = self._study.spec, wave.imported
        if columns is None:
            raise InputError(f"wave '{wave.id}' is not imported")
        rng = stream(spec.study.seed, "rehearsal", wave.id)
        ids = units_of_wave(self._study, wave, units_for(self._study, wave)[0]).ids
        shares = planned_shares(spec, wave) or {}
        arms = [arm.id for arm in spec.arms_of(wave)]
        flat = [shares.get(arm) for arm in arms]
        is_flat = all(isinstance(share, float) for share in flat)
        p = np.asarray(flat, float) if is_flat else np.full(len(arms), 1 / len(arms))
        drawn = rng.choice(len(arms), size=len(ids), p=p / p.sum())
        made = {spec.units.id: ids, columns.arm: pl.Series([arms[i] for i in drawn])}
        for outcome in spec.outcomes:
            if outcome.id in columns.outcomes:
                values = self._values(wave, outcome, len(ids), rng)
                made[columns.outcomes[outcome.id]] = pl.Series(values)
        if columns.propensity is not None:
            made[columns.propensity] = pl.Series((p / p.sum())[drawn])
        return pl.DataFrame(made)

    def _baseline(self, wave: Wave, outcome: Outcome) -> Baseline:
        planning = self._study.spec.planning
        known = None if planning is None else planning.baseline_of(outcome.id, wave.id)
        return known or _ASSUMED.get(outcome.kind, _CONTINUOUS)

    def _values(self, wave: Wave, outcome: Outcome, n: int, rng: np.random.Generator) -> Any:
        """The outcome of each unit as [planning] expects it without a message."""
        baseline = self._baseline(wave, outcome)
        if outcome.kind == "any":
            return (rng.random(n) < baseline.mean).astype(float)
        if outcome.kind == "days to first":
            return (rng.random(n) < 0.5).astype(float)  # whether there is an event at all
        if outcome.kind == "count":
            return rng.poisson(max(baseline.mean, 0.0), n).astype(float)
        if outcome.kind == "successes":
            return rng.binomial(self._study.spec.trials(outcome, wave) or 1, baseline.mean, n)
        values = rng.normal(baseline.mean, baseline.std_dev or abs(baseline.mean) or 1.0, n)
        return np.maximum(values, 0.0) if outcome.kind == "sum" else values

    def _observe(self, wave: Wave) -> str:
        """Events and scores of a wave as if they had come in; says how many."""
        by_period = score_outcomes(self._study.spec)
        frames = [
            self._events(wave, outcome)
            for outcome in self._study.spec.outcomes
            if outcome not in by_period and wave.imported is None
        ]
        n_events = 0
        if frames and (events := pl.concat(frames)).height:
            n_events = observe(self._study, events).facts()["n_new"]
        n_scores = sum(self._scores(wave, outcome) for outcome in by_period)
        return f"{n_events:,} events" + (f", {n_scores:,} scores" if by_period else "")

    def _events(self, wave: Wave, outcome: Outcome) -> pl.DataFrame:
        spec, units = self._study.spec, wave_data(self._study, wave.id).units
        rng = stream(spec.study.seed, "rehearsal", wave.id, outcome.id)
        values = np.asarray(self._values(wave, outcome, len(units), rng))
        one_each = outcome.kind in {"sum", "score"}
        times = np.ones(len(units), int) if one_each else values.astype(int)
        at = np.repeat(np.arange(len(units)), times)
        number = np.arange(len(at)) - np.repeat(np.cumsum(times) - times, times) + 1
        zones = units.time_zone.fill_null(spec.study.time_zone)
        first, last = spec.days_of(outcome, wave)
        starts = wave.starts + timedelta(days=first - 1)
        windows = {z: window_us(starts, last - first + 1, z) for z in zones.unique()}
        low, high = (zones.replace_strict({z: w[i] for z, w in windows.items()}) for i in (0, 1))
        moments = low.to_numpy()[at] + (rng.random(len(at)) * (high - low).to_numpy()[at])
        return pl.DataFrame(
            {
                "event_id": [f"rehearsal-{wave.id}-{outcome.id}-{i}" for i in range(len(at))],
                "unit_id": units.ids.gather(at),
                "kind": pl.repeat(outcome.event or outcome.id, len(at), eager=True),
                "at": pl.from_epoch(pl.Series(moments.astype(np.int64)), "us")
                .dt.replace_time_zone("UTC"),
                "value": values[at] if one_each else pl.repeat(None, len(at), eager=True),
                "item": [str(i) for i in number],
            },
            schema_overrides={"value": pl.Float64, "item": pl.String},
        )  # fmt: skip

    def _scores(self, wave: Wave, outcome: Outcome) -> int:
        """Deliver the periods of a score up to a wave's own one."""
        order = [one.id for one in self._study.spec.waves]
        last = outcome.periods.index(own_period(outcome, wave.id, order))
        due = [p for p in outcome.periods[: last + 1] if f"{outcome.id} {p}" not in self._periods]
        self._periods |= {f"{outcome.id} {period}" for period in due}
        ids = unit_data(self._study).ids
        rng = stream(self._study.spec.study.seed, "rehearsal", wave.id, outcome.id)
        delivered = self._clock().date().isoformat()
        parts = [
            pl.DataFrame(
                {
                    "unit_id": ids,
                    "outcome": pl.repeat(outcome.id, len(ids), eager=True),
                    "period": pl.repeat(period, len(ids), eager=True),
                    "delivered": pl.repeat(delivered, len(ids), eager=True),
                    "score": self._values(wave, outcome, len(ids), rng),
                }
            )
            for period in due
        ]
        if not parts:
            return 0
        return int(observe_scores(self._study, pl.concat(parts)).facts()["n_new"])

    def _learn(self, wave: Wave) -> None:
        """What the plan learns from a wave, once all that it learns on is closed."""
        spec, closed = self._study.spec, closed_waves(self._study)
        final = spec.decision
        decides = final is not None and wave.id in final.learned_on
        if decides and final is not None:
            decides = set(final.learned_on) <= set(closed)
        if wave_that_learns(spec, wave.id) or wave_of_policies(spec, wave.id) or decides:
            with self._told(f"decide {wave.id}") as what:
                what.append(" ".join(decide(self._study, wave.id).summary().split())[:200])
        if any(arm.policy is not None for arm in spec.arms_of(wave)):
            with self._told(f"evaluate {wave.id}") as what:
                evaluate(self._study, wave.id)
                what.append("policies evaluated on fresh outcomes")

    def end(self) -> Rehearsal:
        """The report, and all steps."""
        with self._told("report") as what:
            page = write_report(self._study, rehearsal=True).page
            what.append(str(page))
        planning = self._study.spec.planning
        known = {} if planning is None else planning.baseline
        assumed = tuple(o.id for o in self._study.spec.outcomes if o.id not in known)
        return Rehearsal(str(self._folder), str(page), tuple(self._steps), assumed)


def _number(mean: float | None) -> str:
    return "unknown" if mean is None else f"{mean:.3g}"
