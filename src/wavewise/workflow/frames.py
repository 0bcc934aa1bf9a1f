"""What the store keeps apart, side by side: units, their assignment, their outcomes.

Columns of the people file stand in a frame of their own, so that they may have any name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wavewise.design.enrolment import Enrolment, Sender
from wavewise.design.spec import STRATUM_SEPARATOR, Outcome, StudySpec, Target
from wavewise.design.waves import UnitsShare, UnitsWhere, Wave
from wavewise.errors import EstimationError, InputError, StateError
from wavewise.estimate import index, surrogate_index
from wavewise.shared.results import FloatArray
from wavewise.store import WaveRow
from wavewise.store.enrolments import ENROLLED
from wavewise.store.frames import decode_json_rows, encode_json_rows
from wavewise.workflow.facts import WaveFacts, event_rules, facts_as_of, frozen_facts
from wavewise.workflow.intake import score_outcomes, wave_scores
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.estimate import SurrogateIndex

__all__ = [
    "HELD_OUT",
    "UNITS_AS_OF",
    "ClosedWave",
    "ClosedWaves",
    "UnitData",
    "UnitDesign",
    "WaveData",
    "closed_waves",
    "control_of",
    "encoded_facts",
    "encoded_outcomes",
    "forget_units",
    "levels",
    "n_units_of_wave",
    "outcome_values",
    "read_closed",
    "remember_units",
    "require_closed",
    "stack",
    "taken_units",
    "unit_data",
    "units_for",
    "units_of_wave",
    "wave_data",
    "with_targets",
]

ONE_STRATUM = "all"
HELD_OUT = "held out"
UNITS = "units:"  # no wave has this id
UNITS_AS_OF = "units_as_of"  # number of the last replacement of a unit before a wave was opened


@dataclass(frozen=True)
class UnitData:
    """Units, row by row, in the order of their ids."""

    # ids, cluster, time_zone: (n_units,): Id, group on which errors cluster, own time zone; null
    # where there is none.
    ids: pl.Series
    cluster: pl.Series
    time_zone: pl.Series
    # (n_units,): The columns of the people file, one JSON object a unit.
    encoded_fields: pl.Series
    # Columns that the study first imported after the wave of these units was opened.
    later: tuple[str, ...] = ()
    # (n_units, n_facts): As of a wave: columns measured again, and those derived from events.
    facts: pl.DataFrame = field(default_factory=pl.DataFrame)
    # (n_units,): Group that is randomized as a whole, where no column says so: who shares a phone.
    together: pl.Series | None = None

    @cached_property
    def fields(self) -> pl.DataFrame:
        """The columns of the people file, (n_units, n_columns), and facts in their place.

        Opened when first asked for.
        """
        return decode_json_rows(self.encoded_fields).with_columns(*self.facts)

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, mask: pl.Series) -> "UnitData":
        """The units for which a mask is true."""
        if mask.all():
            return self
        return UnitData(
            self.ids.filter(mask),
            self.cluster.filter(mask),
            self.time_zone.filter(mask),
            self.encoded_fields.filter(mask),
            self.later,
            self.facts.filter(mask) if self.facts.width else self.facts,
            None if self.together is None else self.together.filter(mask),
        )

    def meeting(self, conditions: Mapping[str, Any]) -> "UnitData":
        """The units whose columns have one of the values that conditions name."""
        units = self
        for column, wanted in conditions.items():
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            units = units.where(_is_one_of(units.select(column)[column], values))
        return units

    def select(self, *names: Any) -> pl.DataFrame:
        """Columns of the people file; one that was never imported is named."""
        lacking = [name for name in names if name not in self.fields.columns]
        if lacking:
            raise InputError(
                f"found no column {', '.join(map(repr, lacking))} among the imported units; needed "
                "what the study file names; import it with `wavewise people import DIR FILE "
                "--replace`"
            )
        return self.fields.select(names)

    def stratum(self, columns: Sequence[str]) -> pl.Series:
        """Stratum of each unit: the values of the strata columns, joined by ``|``."""
        if not columns:
            return pl.repeat(ONE_STRATUM, len(self), eager=True)
        named = self.select(*columns)
        lacking = [
            f"{column.null_count():,} of {len(self):,} units have no {column.name!r}"
            for column in named
            if column.null_count()
        ]
        if lacking:
            raise InputError(
                f"strata: found {'; '.join(lacking)}; needed a value for each unit; measure them "
                "with `wavewise people import DIR FILE --for-wave WAVE`, give [derived] a `cut` "
                "with `missing`, or leave these units out by the wave's `where`"
            )
        return self.labels(columns)

    def labels(self, columns: Sequence[str]) -> pl.Series:
        """Values of columns joined by ``|``, null where one of them is."""
        named = [levels(column) for column in self.select(*columns)]
        joined = pl.concat_str(named, separator=STRATUM_SEPARATOR)
        return pl.select(joined.alias("stratum"))["stratum"]

    def groups(self, spec: StudySpec) -> pl.Series | None:
        """Group that is randomized as a whole, where there is one."""
        column = spec.units.randomize_by
        return self.together if column is None else self.select(column)[column]

    def design(self, spec: StudySpec, wave: Wave) -> "UnitDesign":
        """What the design of a wave uses of the units."""
        strata, covariates = spec.strata_of(wave), spec.covariates_of(wave)
        return UnitDesign(
            self.ids, self.stratum(strata), self.groups(spec), self.covariates(covariates)
        )

    def covariates(self, names: Sequence[str]) -> pl.DataFrame:
        """Covariates by their names; whole numbers and truth values as floats."""
        whole = pl.col(pl.Boolean, pl.Int64, pl.Int32, pl.UInt32)
        return self.select(*names).with_columns(whole.cast(pl.Float64))


def levels(column: pl.Series) -> pl.Series:
    """A column as labels, of strata and in messages: truth values as yes and no."""
    if column.dtype == pl.Boolean:
        return pl.select(pl.when(column).then(pl.lit("yes")).when(~column).then(pl.lit("no")))[
            "literal"
        ].alias(column.name)
    return column.cast(pl.String)


def _is_one_of(column: pl.Series, values: Sequence[Any]) -> pl.Series:
    """Where a column has one of these values, as the study file writes them."""
    words = [("no", "yes")[x] if isinstance(x, bool) else str(x) for x in values]
    found = levels(column).is_in(words)
    numbers = [x for x in values if isinstance(x, int | float) and not isinstance(x, bool)]
    if column.dtype.is_numeric() and numbers:
        found |= column.cast(pl.Float64).is_in([float(x) for x in numbers])
    return found.fill_null(value=False)


@dataclass(frozen=True)
class UnitDesign:
    """What a design uses of units, row by row in the order of their ids."""

    ids: pl.Series
    strata: pl.Series
    groups: pl.Series | None  # Randomized as a whole; None where units are.
    covariates: pl.DataFrame

    def where(self, mask: pl.Series) -> "UnitDesign":
        """The units for which a mask is true."""
        groups = None if self.groups is None else self.groups.filter(mask)
        covariates = self.covariates.filter(mask) if self.covariates.width else self.covariates
        return UnitDesign(self.ids.filter(mask), self.strata.filter(mask), groups, covariates)


@dataclass(frozen=True)
class WaveData:
    """Units of a wave with their assignment and, once it is closed, their outcomes."""

    units: UnitData  # The units.
    # stratum, arm, propensity: (n_units,): As they were drawn; with a held-out share the
    # probability is that of arm and half together.
    stratum: pl.Series
    arm: pl.Series
    propensity: pl.Series
    # held_out, content, content_propensity: (n_units,): Whether the unit is not messaged; the arm
    # that its policy gives it, and the probability with which it does. Null where there is no
    # such thing.
    held_out: pl.Series
    content: pl.Series
    content_propensity: pl.Series
    # (n_units, n_outcomes): One column an outcome; no columns before there are outcomes.
    outcomes: pl.DataFrame
    # What surrogate targets were learned as, by target.
    surrogates: "Mapping[str, SurrogateIndex]" = field(default_factory=dict)
    # Targets that cannot be made of the outcomes, and why.
    not_estimable: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arm)

    def where(self, mask: pl.Series) -> "WaveData":
        """The units for which a mask is true."""
        return replace(
            self,
            units=self.units.where(mask),
            stratum=self.stratum.filter(mask),
            arm=self.arm.filter(mask),
            propensity=self.propensity.filter(mask),
            held_out=self.held_out.filter(mask),
            content=self.content.filter(mask),
            content_propensity=self.content_propensity.filter(mask),
            outcomes=self.outcomes.filter(mask) if self.outcomes.width else self.outcomes,
        )

    @property
    def condition(self) -> pl.Series:
        """What units are compared by: their arm, or that they were held out of it.

        Nothing was sent to the held-out units of any arm: together they are one control.
        """
        out = self.held_out.fill_null(value=False)
        return pl.select(pl.when(out).then(pl.lit(HELD_OUT)).otherwise(self.arm).alias("arm"))[
            "arm"
        ]


def unit_data(study: Study) -> UnitData:
    """All units of a study, read once."""
    if UNITS not in study.cache:
        remember_units(study, study.store.units.all())
    found: UnitData = study.cache[UNITS]
    return found


def remember_units(study: Study, units: pl.DataFrame) -> None:
    """Keep units, as the store gives or takes them, so that they need not be read."""
    rows = units.sort("unit_id")
    study.cache[UNITS] = UnitData(
        rows["unit_id"], rows["cluster"], rows["time_zone"], rows["fields_json"]
    )


def units_for(study: Study, wave: Sender) -> tuple[UnitData, WaveFacts]:
    """All units as a wave would see them now, and what there is to say of their facts."""
    units = unit_data(study)
    if not len(units):
        return units, WaveFacts()
    found = facts_as_of(study, wave, units.ids, units.time_zone, units.encoded_fields)
    return replace(units, facts=found.values) if found.values.width else units, found


def encoded_facts(units: UnitData) -> pl.DataFrame | None:
    """Facts as the store freezes them: unit_id and values_json; None where there are none."""
    if not units.facts.width:
        return None
    values = encode_json_rows(units.facts)
    return pl.DataFrame({"unit_id": units.ids, "values_json": values})


def units_as_of(study: Study, row: WaveRow) -> UnitData:
    """All units as they stood when a wave was opened, its frozen facts left out.

    A column that was first imported later is taken as it was imported then, and is named.
    """
    former = study.store.units.as_of(row.details.get(UNITS_AS_OF, 0))
    if former.is_empty():
        return unit_data(study)
    now = study.store.units.all()
    current, known = decode_json_rows(now["fields_json"]), decode_json_rows(former["fields_json"])
    later = tuple(
        name
        for name in study.spec.people_columns
        if name in current.columns and name not in known.columns
    )
    if later:
        fields = known.with_columns(_first_known(study, now, former["unit_id"], later))
        former = former.with_columns(fields_json=encode_json_rows(fields))
    unchanged = now.join(former.select("unit_id"), on="unit_id", how="anti")
    rows = pl.concat([unchanged, former.select(now.columns)]).sort("unit_id")
    return UnitData(rows["unit_id"], rows["cluster"], rows["time_zone"], rows["fields_json"], later)


def _first_known(
    study: Study, now: pl.DataFrame, ids: pl.Series, names: Sequence[str]
) -> list[pl.Series]:
    """The first values that were imported of columns, in the order of ids."""
    rows = pl.concat([study.store.units.replaced().select("unit_id", "fields_json"),
                      now.select("unit_id", "fields_json")])  # fmt: skip
    fields, wanted = decode_json_rows(rows["fields_json"]), pl.DataFrame({"unit_id": ids})
    found = []
    for name in names:
        values = pl.DataFrame([rows["unit_id"], fields[name]]).drop_nulls()
        first = values.unique("unit_id", keep="first", maintain_order=True)
        found.append(wanted.join(first, on="unit_id", how="left", maintain_order="left")[name])
    return found


def forget_units(study: Study) -> None:
    """Read units and their waves anew the next time, since some units were imported."""
    study.cache.clear()


def wave_data(study: Study, wave_id: str) -> WaveData:
    """Units of one wave, in the order of their ids; those of a closed wave are read once."""
    row = study.store.waves.get(wave_id)
    if row is None or row.state != "closed":
        return _read_wave(study, wave_id)
    if wave_id not in study.cache:
        data = _read_wave(study, wave_id)
        if study.spec.targets:
            others = dict.fromkeys(closed_waves(study))
            parts = {n: data if n == wave_id else _read_wave(study, n) for n in others}
            data = with_targets(study.spec, parts)[wave_id]
        study.cache[wave_id] = data
    found: WaveData = study.cache[wave_id]
    return found


def _read_wave(study: Study, wave_id: str) -> WaveData:
    assignment = study.store.waves.assignment(wave_id).sort("unit_id")
    row = study.store.waves.get(wave_id)
    everybody = unit_data(study) if row is None else units_as_of(study, row)
    members = everybody.where(everybody.ids.is_in(assignment["unit_id"].implode()))
    if row is not None:
        members = _with_frozen_facts(study, wave_id, members)
    if study.spec.randomizes_phones:
        together = assignment.get_column("randomized_with", default=assignment["unit_id"])
        own = members.cluster if study.spec.units.error_cluster else together
        members = replace(members, cluster=own, together=together)
    frozen = study.store.waves.outcomes(wave_id)
    outcomes = pl.DataFrame({"unit_id": members.ids}).join(
        frozen, on="unit_id", how="left", maintain_order="left"
    )
    values = outcomes.drop("unit_id") if frozen.height else pl.DataFrame()
    if row is not None and row.state == "closed":
        scores = wave_scores(study, wave_id, members.ids)
        values = values.with_columns(s for s in scores if s.name not in values.columns)
    return WaveData(
        members,
        assignment["stratum"],
        assignment["arm"],
        assignment["propensity"],
        assignment["held_out"],
        assignment["content"],
        assignment["content_propensity"],
        values,
    )


def _with_frozen_facts(study: Study, wave_id: str, units: UnitData) -> UnitData:
    """Units with the facts that their wave froze; one that the plan named later is derived now."""
    facts = frozen_facts(study, wave_id, units.ids)
    later = tuple(name for name in event_rules(study.spec) if name not in facts.columns)
    if later and len(units):
        wave = study.wave(wave_id)
        now = facts_as_of(study, wave, units.ids, units.time_zone, units.encoded_fields).values
        facts = facts.with_columns(now.select(later).iter_columns())
    return replace(units, facts=facts, later=(*units.later, *later)) if facts.width else units


def stack(waves: dict[str, WaveData]) -> WaveData:
    """Several waves as one, their strata told apart by wave; one wave as it is."""
    if len(waves) == 1:
        return next(iter(waves.values()))
    parts = [
        replace(data, stratum=f"{name}{STRATUM_SEPARATOR}" + data.stratum)
        for name, data in waves.items()
    ]
    units = [part.units for part in parts]
    return WaveData(
        UnitData(
            pl.concat([part.ids for part in units]),
            pl.concat([part.cluster for part in units]),
            pl.concat([part.time_zone for part in units]),
            pl.concat([part.encoded_fields for part in units]),
            tuple(dict.fromkeys(name for part in units for name in part.later)),
            _stacked_facts(units),
            _stacked([part.together for part in units]),
        ),
        pl.concat([part.stratum for part in parts]),
        pl.concat([part.arm for part in parts]),
        pl.concat([part.propensity for part in parts]),
        pl.concat([part.held_out for part in parts]),
        pl.concat([part.content for part in parts]),
        pl.concat([part.content_propensity for part in parts]),
        pl.concat([part.outcomes for part in parts], how="diagonal_relaxed"),
        {name: learned for part in parts for name, learned in part.surrogates.items()},
        {name: why for part in parts for name, why in part.not_estimable.items()},
    )


def _stacked_facts(units: Sequence[UnitData]) -> pl.DataFrame:
    if not any(part.facts.width for part in units):
        return pl.DataFrame()
    # the place keeps the number of rows of a wave that froze nothing
    placed = [pl.DataFrame({"": part.ids, **part.facts.to_dict()}) for part in units]
    return pl.concat(placed, how="diagonal_relaxed").drop("")


def _stacked(columns: Sequence[pl.Series | None]) -> pl.Series | None:
    present = [column for column in columns if column is not None]
    return pl.concat(present) if present and len(present) == len(columns) else None


# Closed waves, read whole before anything is computed from them.


@dataclass(frozen=True)
class ClosedWave:
    """One wave as it was frozen when it was closed."""

    plan: Wave  # As the study file has it.
    data: WaveData
    shares: Mapping[str, Any]  # Of the arms, as they were drawn; by stratum where they differ.
    closed_at: datetime
    # Scores by period of all units so far: unit_id, outcome_id, period, score. None where no
    # outcome is delivered by period.
    scores: pl.DataFrame | None


@dataclass(frozen=True)
class ClosedWaves:
    """Closed waves by id with the plan of the study: all that an analysis computes from."""

    spec: StudySpec
    waves: Mapping[str, ClosedWave]  # In the order in which they were asked for.
    stratum: str | None = None  # Where the units are those of one stratum only.

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the waves."""
        return tuple(self.waves)

    def plan(self, wave_id: str) -> Wave:
        """A wave as the study file has it."""
        return self.waves[wave_id].plan

    def data(self, wave_id: str) -> WaveData:
        """Units, assignment and outcomes of a wave."""
        return self.waves[wave_id].data

    def labels(self, wave_ids: Sequence[str], columns: Sequence[str]) -> dict[str, pl.Series]:
        """Stratum of each wave's units by columns; refused where a unit has no value."""
        found = {wave_id: self.data(wave_id).units.labels(columns) for wave_id in wave_ids}
        lacking = {name: n for name, labels in found.items() if (n := labels.null_count())}
        if lacking:
            counts = ", ".join(f"{n:,} units of {name}" for name, n in lacking.items())
            raise EstimationError(
                f"found {counts} without a value of {', '.join(columns)}; needed the stratum of "
                "every unit for shares within strata; import it with `wavewise people import`, or "
                "leave that column out of `within`"
            )
        return found

    def in_stratum(self, stratum: str, labels: Mapping[str, pl.Series]) -> "ClosedWaves":
        """The same waves with the units of one stratum only."""
        waves = {
            name: replace(self.waves[name], data=self.data(name).where(of_units == stratum))
            for name, of_units in labels.items()
        }
        return ClosedWaves(self.spec, waves, stratum)

    def until(self, wave_id: str) -> tuple[str, ...]:
        """The waves up to this one, in the order of the study file."""
        order = [wave.id for wave in self.spec.waves]
        return tuple(name for name in order[: order.index(wave_id) + 1] if name in self.waves)

    def scores(self, wave_ids: Iterable[str]) -> pl.DataFrame:
        """Scores by period that the last closing of these waves froze."""
        last = max((self.waves[name] for name in wave_ids), key=lambda wave: wave.closed_at)
        return pl.DataFrame() if last.scores is None else last.scores


def closed_waves(study: Study) -> tuple[str, ...]:
    """Waves that are closed, in the order of the study file."""
    closed = {row.wave_id for row in study.store.waves.all() if row.state == "closed"}
    return tuple(wave.id for wave in study.spec.waves if wave.id in closed)


def read_closed(study: Study, wave_ids: Sequence[str]) -> ClosedWaves:
    """Closed waves with all that was frozen of them."""
    rows = require_closed(study, wave_ids)
    by_period = bool(score_outcomes(study.spec))
    waves = {
        wave_id: ClosedWave(
            plan=study.wave(wave_id),
            data=wave_data(study, wave_id),
            shares=row.details.get("shares") or {},
            closed_at=row.closed_at or row.opened_at,
            scores=study.store.scores.frozen(wave_id) if by_period else None,
        )
        for wave_id, row in rows.items()
    }
    return ClosedWaves(study.spec, waves)


def require_closed(study: Study, wave_ids: Sequence[str]) -> dict[str, WaveRow]:
    """The waves' rows; refused where one of them is not closed."""
    rows = {wave_id: study.store.waves.get(wave_id) for wave_id in wave_ids}
    closed = {name: row for name, row in rows.items() if row is not None and row.state == "closed"}
    waiting = [name for name in rows if name not in closed]
    if waiting:
        raise StateError(
            f"waves {', '.join(waiting)} are not closed; needed the outcomes of "
            f"{', '.join(wave_ids)}; close them first"
        )
    return closed


# Units that a wave is drawn from.


def taken_units(study: Study, of: Enrolment | None = None) -> pl.Series:
    """Ids of the units that a wave took, or that an enrolment invited for one.

    Those whom the enrolment ``of`` invited are taken only where a wave took them.
    """
    store = study.store
    parts = [store.waves.assignment(row.wave_id)["unit_id"] for row in store.waves.all()]
    if of is None:
        parts.append(store.enrolments.invited())
    return pl.concat([pl.Series("unit_id", [], dtype=pl.String), *parts])


def units_of_wave(study: Study, wave: Wave, units: UnitData) -> UnitData:
    """Units that a wave is drawn from: all, those left, or those that a column names.

    A random share is taken from the units that are left; the draw itself is the caller's.
    """
    units = units.meeting(wave.where)
    if isinstance(wave.units, UnitsWhere):
        return units.meeting(wave.units.where)
    if wave.units == "rest" or isinstance(wave.units, UnitsShare):
        return units.where(~units.ids.is_in(taken_units(study).implode()))
    return units


def n_units_of_wave(study: Study, wave: Wave) -> int:
    """Number of units that a wave would take if it were opened now."""
    one = study.spec.enrolment_of(wave.id)
    row = None if one is None else study.store.enrolments.get(one.id)
    if one is not None and row is not None and row.state == "closed":
        return study.store.enrolments.units(one.id).filter(status=ENROLLED).height
    chosen = wave.where or isinstance(wave.units, UnitsWhere)
    everybody = units_for(study, wave)[0] if chosen else unit_data(study)
    left = len(units_of_wave(study, wave, everybody))
    if isinstance(wave.units, UnitsShare):
        return min(left, round(wave.units.share * len(everybody)))
    return left


# What a wave compares: an outcome as a number, against whom.


def control_of(wave: Wave) -> str | None:
    """The condition that effects of a wave are against: its control, or its held-out units."""
    return wave.control_id or (HELD_OUT if wave.held_out_share else None)


def with_targets(spec: StudySpec, waves: Mapping[str, WaveData]) -> dict[str, WaveData]:
    """Closed waves, in the order of time, with their targets as further outcomes.

    An index has the weights and the scale of the first wave, so that it is one quantity in all.
    """
    for target in spec.targets:
        made = dict[str, WaveData]()
        try:
            make, learned = _maker(spec, target, waves)
            for name, data in waves.items():
                values = pl.Series(target.id, make(data)).fill_nan(None)
                more = {} if learned is None else {target.id: learned}
                made[name] = replace(
                    data,
                    outcomes=data.outcomes.with_columns(values),
                    surrogates={**data.surrogates, **more},
                )
        except EstimationError as error:
            made = {
                name: replace(d, not_estimable={**d.not_estimable, target.id: error.message})
                for name, d in waves.items()
            }
        waves = made
    return dict(waves)


def _maker(
    spec: StudySpec, target: Target, waves: Mapping[str, WaveData]
) -> "tuple[Callable[[WaveData], FloatArray], SurrogateIndex | None]":
    """How a target is made of the outcomes of a wave, and what was learned of a surrogate."""
    parts = [spec.outcome(name) for name in target.parts]

    def columns(data: WaveData) -> dict[str, FloatArray]:
        lacking = [part.id for part in parts if part.id not in data.outcomes.columns]
        if lacking:
            raise EstimationError(f"{target.id}: no outcome {', '.join(lacking)} is known")
        return {part.id: outcome_values(data, part).to_numpy() for part in parts}

    if target.kind == "weighted":
        weights = {part.id: part.sign * target.weights[part.id] for part in parts}
        return (
            lambda data: np.sum([weights[n] * v for n, v in columns(data).items()], axis=0),
            None,
        )
    if target.kind == "surrogate":
        later = spec.outcome(target.stands_for or "")
        known = [waves[name] for name in target.learned_on or () if name in waves]
        known = [data for data in known if later.id in data.outcomes.columns]
        if not known:
            raise EstimationError(f"{target.id}: {later.name} is not known of any wave yet")
        learned = surrogate_index(
            np.concatenate([outcome_values(data, later).to_numpy() for data in known]),
            {p.id: np.concatenate([columns(data)[p.id] for data in known]) for p in parts},
        )
        return lambda data: learned.of(columns(data)), learned
    name, first = next(iter(waves.items()))
    wave = spec.wave(name)
    scaled = index(
        columns(first),
        first.condition,
        control=control_of(wave) if wave is not None else None,
        weights=target.weights or None,
        higher_is_better={part.id: part.higher_is_better for part in parts},
    )
    return lambda data: scaled.of(columns(data)), None


def encoded_outcomes(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Outcomes as the store freezes them: unit_id and values_json."""
    values = encode_json_rows(outcomes.drop("unit_id"))
    return pl.DataFrame({"unit_id": outcomes["unit_id"], "values_json": values})


def outcome_values(data: WaveData, outcome: Outcome) -> pl.Series:
    """The outcome as it is compared: successes as a share of their trials."""
    values = data.outcomes[outcome.id].cast(pl.Float64)
    trials = f"{outcome.id}.trials"
    if outcome.kind != "successes" or trials not in data.outcomes.columns:
        return values
    return values / data.outcomes[trials].cast(pl.Float64)
