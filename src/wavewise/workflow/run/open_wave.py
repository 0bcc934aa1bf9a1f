"""``wave open``: randomize a wave's units to its arms, all or none."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from wavewise.design.enrolment import Sender
from wavewise.design.shares import planned_shares
from wavewise.design.spec import StudySpec
from wavewise.design.versions import spec_hash
from wavewise.design.waves import AllocationRule, Wave
from wavewise.errors import InputError, StateError
from wavewise.randomize import assign, balance, sample_ratio
from wavewise.randomize.shares import arms_named
from wavewise.shared.results import CheckResult
from wavewise.shared.streams import stream
from wavewise.shared.text_tables import text_table
from wavewise.store import WaveRow
from wavewise.workflow.facts import WaveFacts
from wavewise.workflow.frames import UNITS_AS_OF, UnitData, UnitDesign, encoded_facts, units_for
from wavewise.workflow.learn.frozen_policies import frozen_policies
from wavewise.workflow.learn.posteriors import shares_of_strata
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.data_check import people_notes
from wavewise.workflow.run.participants import (
    LEFT_OUT,
    REFUSED,
    Participants,
    left_out_lines,
    participants_of,
)
from wavewise.workflow.send.preview import DeliveryPlan, delivery_plan
from wavewise.workflow.send.queue import messages_of
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.decide import Policy
    from wavewise.randomize import Assignment

__all__ = ["OpenedWave", "Opening", "draw_wave", "open_wave", "opening_checks", "window_start"]

Shares = Mapping[str, float] | Mapping[str, Mapping[str, float]]
MESSAGED, OUT = "messaged", "held out"
CELL_SEPARATOR = "\x1f"  # no arm's id holds it


@dataclass(frozen=True, eq=False)
class OpenedWave(VerbResult):
    """A wave as it was drawn."""

    wave: str
    n_units: int
    n_strata: int
    units: str  # What the study calls them.
    counts: tuple[Mapping[str, Any], ...]  # arm, n_units, expected; n_held_out where some are.
    exploratory: bool
    assignment_hash: str
    checks: tuple[CheckResult, ...]
    due: tuple[Mapping[str, Any], ...]  # Of each send, when it is due over all time zones.
    without_address: Mapping[str, int]  # Channel: units that it cannot reach.
    notes: tuple[str, ...]  # When messages are due, who has no address, what is odd of people.
    is_dry_run: bool = False  # Nothing was kept.

    @property
    def _has_halves(self) -> bool:
        return any("n_held_out" in count for count in self.counts)

    def facts(self) -> dict[str, Any]:
        """Counts by arm, checks, due times."""
        facts = {
            "wave": self.wave,
            "n_units": self.n_units,
            "counts": {count["arm"]: count["n_units"] for count in self.counts},
            "exploratory": self.exploratory,
            "assignment_hash": self.assignment_hash,
            "checks": [check.facts() for check in self.checks],
            "due": list(self.due),
            "without_address": dict(self.without_address),
        }
        if self._has_halves:
            facts["held_out"] = {count["arm"]: count["n_held_out"] for count in self.counts}
        return facts

    def summary(self) -> str:
        """Counts by arm, checks, and when messages are due."""
        done = "Would open" if self.is_dry_run else "Opened"
        mark = " EXPLORATORY: the spec is not registered." if self.exploratory else ""
        strata = f"{self.n_strata:,} {'stratum' if self.n_strata == 1 else 'strata'}"
        names = ["arm", "assigned", "expected", *(["of them held out"] if self._has_halves else [])]
        rows = [
            [
                count["arm"],
                count["n_units"],
                round(count["expected"], 1),
                *([count["n_held_out"]] if self._has_halves else []),
            ]
            for count in self.counts
        ]
        return "\n".join(
            [
                f"{done} wave {self.wave}: {self.n_units:,} {self.units} in {strata}.{mark}",
                text_table(names, rows),
                *(f"{check.name}: {check.verdict}. {check.text}" for check in self.checks),
                *self.notes,
                *(["Nothing was kept: this was a dry run."] if self.is_dry_run else []),
            ]
        )

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(list(self.counts))


@dataclass(frozen=True)
class Opening:
    """All that a wave is drawn from."""

    spec: StudySpec
    wave: Wave
    people: UnitData  # Those that the wave takes, as of the wave.
    units: UnitDesign
    found: Participants  # The same, with those who were left out.
    shares: Shares
    policies: "Mapping[str, Policy]"  # By arm.
    version: int | None  # Of the spec; None: not registered.
    spec_hash: str
    exploratory: bool
    units_as_of: int  # Number of the last replacement of a unit before.
    facts: WaveFacts  # What there is to say of facts; their values are the people's.


def open_wave(
    study: Study,
    wave_id: str,
    *,
    exploratory: bool = False,
    accept_late: bool = False,
    accept_incomplete: bool = False,
    dry_run: bool = False,
) -> OpenedWave:
    """Assign every unit of a wave to an arm, and keep it with its probability.

    What each unit looks like is frozen with it: events that come later change nothing. A dry run
    shows the draw as it would be now, and keeps nothing.
    """
    opening = read_opening(study, study.wave(wave_id), exploratory=exploratory)
    _require_facts(study, opening, accept_incomplete=accept_incomplete)
    plan = delivery_plan(study, opening.wave, opening.people)
    if not accept_late:
        _require_in_time(study, opening.wave, plan, len(opening.units.ids))
    drawn = draw_wave(opening)
    checks = opening_checks(opening.units, drawn.rows["arm"], opening.shares)
    row = wave_row(opening, drawn, checks, study.clock())
    if not dry_run:
        study.store.waves.open(row, drawn.rows, facts=encoded_facts(opening.people))
    return OpenedWave(
        wave=wave_id,
        n_units=drawn.rows.height,
        n_strata=len(drawn.assignment.strata),
        units=opening.spec.units.name,
        counts=tuple(row.details["counts"]),
        exploratory=row.exploratory,
        assignment_hash=row.details["assignment_hash"],
        checks=tuple(checks),
        due=plan.due,
        without_address=dict(plan.without_address),
        notes=(
            *left_out_lines(opening.found, opening.spec.units.name),
            *plan.lines,
            *people_notes(study, opening.people, [opening.wave]),
        ),
        is_dry_run=dry_run,
    )


def _require_facts(study: Study, opening: Opening, *, accept_incomplete: bool) -> None:
    """Refuse facts that cannot be told, and those that later events would still change."""
    faults = [*opening.facts.faults, *(() if accept_incomplete else opening.facts.incomplete)]
    if not faults:
        return
    accept = "" if opening.facts.faults else (
        ", or freeze the facts as they are now: "
        f"`wavewise wave open {study.folder} {opening.wave.id} --accept-incomplete`"
    )  # fmt: skip
    raise InputError(
        f"wave '{opening.wave.id}': facts of its units are not complete; nothing was drawn; do as "
        f"each line says{accept}",
        faults,
    )


def _require_in_time(study: Study, wave: Wave, plan: DeliveryPlan, n_units: int) -> None:
    """Refuse a draw all of whose messages are late already: none would ever go out.

    Where nobody has an address, lateness is not what keeps them.
    """
    channels = {str(message.channel) for message in messages_of(study, wave)}
    if not plan.is_late or all(plan.without_address.get(name) == n_units for name in channels):
        return
    raise StateError(
        f"wave '{wave.id}': found all {len(plan.due)} sends late already (the first was due "
        f"{plan.due[0]['first']}); needed one to come, since late ones are skipped and no message "
        f"would go out; nothing was drawn; move `starts` in the study file and run `wavewise amend "
        f"{study.folder} --reason TEXT`, or add --accept-late"
    )


def window_start(study: Study, wave: Sender) -> datetime:
    """Beginning of the outcome window, in the study's own time zone."""
    return _starts_at(study.spec, wave)


def _starts_at(spec: StudySpec, wave: Sender) -> datetime:
    return datetime.combine(wave.starts, time(), tzinfo=ZoneInfo(spec.study.time_zone))


def read_opening(study: Study, wave: Wave, *, exploratory: bool) -> Opening:
    """What a wave is drawn from; refused where it cannot be opened."""
    row = study.store.waves.get(wave.id)
    if row is not None:
        raise StateError(
            f"wave '{wave.id}' is {row.state}, opened {row.opened_at:%Y-%m-%d %H:%M} UTC; it is "
            "drawn once; nothing was changed; as long as nothing is sent, take it back with "
            f"`wavewise wave discard {study.folder} {wave.id} --reason TEXT`"
        )
    if wave.imported is not None:
        raise StateError(
            f"wave '{wave.id}' ran elsewhere: its arms come from a file; run `wavewise wave import "
            f"{study.folder} {wave.id} FILE`, or take `imported` out of the study file"
        )
    version = study.require_registered(exploratory=exploratory)
    as_of = study.store.units.last_replacement()  # before units are read
    policies = frozen_policies(study, wave)
    found, facts = _people(study, wave)
    shares = _shares(study, wave, found.units)
    return Opening(
        spec=study.spec,
        wave=wave,
        people=found.units,
        found=found,
        units=found.units.design(study.spec, wave),
        shares=shares,
        policies=policies,
        version=version,
        spec_hash=spec_hash(study.spec),
        exploratory=version is None or study.is_exploratory,
        units_as_of=as_of,
        facts=facts,
    )


def _shares(study: Study, wave: Wave, people: UnitData) -> Shares:
    """Shares of a wave's arms: from the spec, or from the decision that the spec asks for."""
    planned = planned_shares(study.spec, wave)
    if planned is not None:
        return planned
    decided = study.store.results.latest(wave.id, "next-shares")
    if decided is None:
        learned_on = wave.shares.learned_on if isinstance(wave.shares, AllocationRule) else ("",)
        raise StateError(
            f"wave '{wave.id}' takes its shares from what was learned on {', '.join(learned_on)}, "
            f"and they are not decided yet; run `wavewise decide {study.folder} {learned_on[-1]}` "
            "first"
        )
    if "shares_by_stratum" not in decided.payload:
        return {str(arm): float(share) for arm, share in decided.payload["shares"].items()}
    return shares_of_strata(
        decided.payload["shares_by_stratum"],
        decided.payload["shares_elsewhere"],
        people.stratum(study.spec.strata_of(wave)),
        people.labels(decided.payload["within"]),
    )


def _people(study: Study, wave: Wave) -> tuple[Participants, WaveFacts]:
    """Those whom the wave takes, with their facts as of it, and who is left out."""
    every, facts = units_for(study, wave)
    found = participants_of(study, wave, every)
    if len(found.units):
        return found, facts
    counts = "; ".join(f"{one['n']:,} {one['reason']}" for one in found.flow())
    raise InputError(
        f"wave '{wave.id}' has no units{f' ({counts})' if counts else ''}; import them with "
        f"`wavewise people import {study.folder} FILE`, or look at the wave's units in the study "
        "file"
    )


# The draw: units to arms, to halves that are messaged or held out, to what policies assign.


@dataclass(frozen=True)
class Drawn:
    """A wave as it was drawn."""

    assignment: "Assignment"  # Of the cells: arms, or arms by messaged and held out.
    # As the store takes them: unit_id, stratum, arm, propensity, held_out, content,
    # content_propensity; one row per unit.
    rows: pl.DataFrame


def draw(units: UnitDesign, shares: Shares, rng: np.random.Generator) -> "Assignment":
    """Units to the names of shares, exactly within strata and groups; arms in the plan's order."""
    arms = arms_named(shares)
    return assign(units.ids, units.strata, shares, rng, cluster=units.groups, arms=arms)


def draw_wave(opening: Opening) -> Drawn:
    """Arms of all units, the held-out share of each arm, and what policies assign.

    Arms and halves are drawn together, as the cells arm by half, so that each cell of each stratum
    is within one unit of its share. A policy's choice is kept for held-out units too.
    """
    wave, units, seed = opening.wave, opening.units, opening.spec.study.seed
    out = wave.held_out_share
    cells = _cells(opening.shares, out, wave.control_id) if out else opening.shares
    assignment = draw(units, cells, stream(seed, wave.id, "assign"))
    rows = pl.DataFrame(
        {
            "unit_id": units.ids,
            "stratum": units.strata,
            "arm": assignment.arm,
            "propensity": assignment.propensity,
        }
    )
    if units.groups is not None and opening.spec.units.randomize_by is None:
        rows = rows.with_columns(randomized_with=units.groups)
    if out:
        parts = pl.col("arm").str.split_exact(CELL_SEPARATOR, 1)
        rows = rows.with_columns(
            arm=parts.struct.field("field_0"),
            held_out=parts.struct.field("field_1") == OUT,
        )
    return Drawn(assignment, _with_content(opening, rows))


def _cells(shares: Shares, out: float, control: str | None) -> Shares:
    """Shares of the cells arm by half; the control has no half to hold out."""
    if any(isinstance(row, Mapping) for row in shares.values()):
        nested: Any = shares
        return {stratum: _halves(row, out, control) for stratum, row in nested.items()}
    plain: Any = shares
    return _halves(plain, out, control)


def _halves(shares: Mapping[str, float], out: float, control: str | None) -> dict[str, float]:
    cells: dict[str, float] = {}
    for arm, share in shares.items():
        part = 0.0 if arm == control else out
        cells[f"{arm}{CELL_SEPARATOR}{MESSAGED}"] = float(share) * (1 - part)
        if part:
            cells[f"{arm}{CELL_SEPARATOR}{OUT}"] = float(share) * part
    return cells


def _with_content(opening: Opening, rows: pl.DataFrame) -> pl.DataFrame:
    """The assignment with the arm that each unit's policy assigns it, and its probability."""
    if not opening.policies:
        return rows
    X, n_units = opening.units.covariates, len(opening.units.ids)
    content = np.full(n_units, None, dtype=object)
    probability = np.full(n_units, np.nan)
    for name, policy in opening.policies.items():
        rng = stream(opening.spec.study.seed, opening.wave.id, "content", name)
        # for everybody, so that what a unit would get does not depend on the others of its arm
        probabilities = policy.probabilities(X)
        given = policy.draw(probabilities, rng)
        in_arm = (rows["arm"] == name).to_numpy()
        place = np.searchsorted(np.sort(policy.arms), given)
        column = np.argsort(policy.arms)[place]
        content[in_arm] = given[in_arm]
        probability[in_arm] = probabilities[np.arange(n_units), column][in_arm]
    return rows.with_columns(
        content=pl.Series(content.tolist(), dtype=pl.String),
        content_propensity=pl.Series(probability).fill_nan(None),
    )


# What is kept of a wave beside its assignment.


def opening_checks(units: UnitDesign, arm: pl.Series, shares: Shares | None) -> list[CheckResult]:
    """Sample ratio and balance of what was drawn; groups count once where they were drawn whole."""
    first = (units.ids if units.groups is None else units.groups).is_first_distinct()
    checks: list[CheckResult] = []
    if shares is not None:
        strata = units.strata.filter(first)
        checks.append(sample_ratio(arm.filter(first), shares, strata=strata))
    if units.covariates.width:
        checks.append(balance(units.covariates, arm, strata=units.strata, cluster=units.groups))
    return checks


def wave_row(
    opening: Opening, drawn: Drawn, checks: list[CheckResult], opened_at: datetime
) -> WaveRow:
    """The wave's own row, with all that its draw can be made again from."""
    details: dict[str, Any] = {
        "shares": {
            key: value if isinstance(value, float) else dict(value)
            for key, value in opening.shares.items()
        },
        "arms": [arm.id for arm in opening.spec.arms_of(opening.wave)],
        "counts": _counts(drawn),
        "seed": opening.spec.study.seed,
        "spec_hash": opening.spec_hash,
        "assignment_hash": _hash(drawn),
        "checks": [check.facts() for check in checks],
        UNITS_AS_OF: opening.units_as_of,
    }
    details |= opening.facts.record
    refused = any(reason in REFUSED for reason, _ in opening.found.left_out)
    if refused or opening.spec.enrolment_of(opening.wave.id) is not None:
        details[LEFT_OUT] = opening.found.flow()
    if opening.wave.held_out_share:
        details["held_out_share"] = opening.wave.held_out_share
    return WaveRow(
        wave_id=opening.wave.id,
        opened_at=opened_at,
        version=opening.version,
        exploratory=opening.exploratory,
        starts_at=_starts_at(opening.spec, opening.wave),
        details=details,
    )


def _counts(drawn: Drawn) -> list[dict[str, Any]]:
    """Units of each arm with their expected number; of them those held out, where there are any."""
    counts = drawn.assignment.counts.by_arm()
    halves = pl.col("arm").str.split_exact(CELL_SEPARATOR, 1)
    by_arm = counts.group_by(halves.struct.field("field_0").alias("arm"), maintain_order=True).agg(
        pl.col("n_units").sum(), pl.col("expected").sum()
    )
    if "held_out" not in drawn.rows.columns:
        return by_arm.to_dicts()
    out = drawn.rows.group_by("arm").agg(pl.col("held_out").sum().alias("n_held_out"))
    return by_arm.join(out, on="arm", how="left", maintain_order="left").to_dicts()


def _hash(drawn: Drawn) -> str:
    """SHA-256 of the assignment: unit, arm and, where there are any, half and content."""
    names = [c for c in ("unit_id", "arm", "held_out", "content") if c in drawn.rows.columns]
    frame = drawn.rows.select(names).rename({"unit_id": "unit"}).sort("unit")
    return hashlib.sha256(frame.write_csv().encode()).hexdigest()
