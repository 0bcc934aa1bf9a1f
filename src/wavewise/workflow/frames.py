"""What the store keeps apart, side by side: units, their assignment, their outcomes.

Columns of the people file stand in a frame of their own, so that they may have any name.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from wavewise.design.spec import STRATUM_SEPARATOR, StudySpec
from wavewise.design.waves import UnitsShare, UnitsWhere, Wave
from wavewise.store.packed import unpack
from wavewise.workflow.scores import wave_scores
from wavewise.workflow.study import Study

__all__ = [
    "HELD_OUT",
    "UnitData",
    "WaveData",
    "forget_units",
    "n_units_of_wave",
    "remember_units",
    "stack",
    "unit_data",
    "units_of_wave",
    "wave_data",
]

ONE_STRATUM = "all"
HELD_OUT = "held out"
UNITS = "units:"  # no wave has this id


@dataclass(frozen=True)
class UnitData:
    """Units, row by row, in the order of their ids.

    Parameters
    ----------
    ids, cluster, time_zone : polars.Series, shape (n_units,)
        Id, group on which errors cluster, own time zone; null where there is none.
    packed_fields : polars.Series, shape (n_units,)
        The columns of the people file, one JSON object a unit.
    """

    ids: pl.Series
    cluster: pl.Series
    time_zone: pl.Series
    packed_fields: pl.Series

    @cached_property
    def fields(self) -> pl.DataFrame:
        """The columns of the people file, (n_units, n_columns); opened when first asked for."""
        return unpack(self.packed_fields)

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
            self.packed_fields.filter(mask),
        )

    def stratum(self, spec: StudySpec) -> pl.Series:
        """Stratum of each unit: the values of the strata columns, joined by ``|``."""
        columns = [pl.col(name).cast(pl.String) for name in spec.units.strata]
        if not columns:
            return pl.repeat(ONE_STRATUM, len(self), eager=True)
        joined = pl.concat_str(columns, separator=STRATUM_SEPARATOR).alias("stratum")
        return self.fields.select(joined)["stratum"]

    def groups(self, spec: StudySpec) -> pl.Series | None:
        """Group that is randomized as a whole, where there is one."""
        column = spec.units.randomize_by
        return None if column is None else self.fields[column]

    def covariates(self, spec: StudySpec) -> pl.DataFrame:
        """The covariates that the spec names; whole numbers and truth values as floats."""
        whole = pl.col(pl.Boolean, pl.Int64, pl.Int32, pl.UInt32)
        return self.fields.select(spec.units.covariates).with_columns(whole.cast(pl.Float64))


@dataclass(frozen=True)
class WaveData:
    """Units of a wave with their assignment and, once it is closed, their outcomes.

    Parameters
    ----------
    units : UnitData
        The units.
    stratum, arm, propensity : polars.Series, shape (n_units,)
        As they were drawn; with a held-out share the probability is that of arm and half together.
    held_out, content, content_propensity : polars.Series, shape (n_units,)
        Whether the unit is not messaged; the arm that its policy gives it, and the probability with
        which it does. Null where there is no such thing.
    outcomes : polars.DataFrame, shape (n_units, n_outcomes)
        One column an outcome; no columns before there are outcomes.
    """

    units: UnitData
    stratum: pl.Series
    arm: pl.Series
    propensity: pl.Series
    held_out: pl.Series
    content: pl.Series
    content_propensity: pl.Series
    outcomes: pl.DataFrame

    def __len__(self) -> int:
        return len(self.arm)

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
        remember_units(study, study.store.units())
    found: UnitData = study.cache[UNITS]
    return found


def remember_units(study: Study, units: pl.DataFrame) -> None:
    """Keep units, as the store gives or takes them, so that they need not be read."""
    rows = units.sort("unit_id")
    study.cache[UNITS] = UnitData(
        rows["unit_id"], rows["cluster"], rows["time_zone"], rows["fields_json"]
    )


def forget_units(study: Study) -> None:
    """Read the units anew the next time, since some were imported."""
    study.cache.pop(UNITS, None)


def wave_data(study: Study, wave_id: str) -> WaveData:
    """Units of one wave, in the order of their ids; those of a closed wave are read once."""
    row = study.store.wave(wave_id)
    if row is None or row.state != "closed":
        return _read_wave(study, wave_id)
    if wave_id not in study.cache:
        study.cache[wave_id] = _read_wave(study, wave_id)
    found: WaveData = study.cache[wave_id]
    return found


def _read_wave(study: Study, wave_id: str) -> WaveData:
    assignment = study.store.assignment(wave_id).sort("unit_id")
    everybody = unit_data(study)
    members = everybody.where(everybody.ids.is_in(assignment["unit_id"].implode()))
    frozen = study.store.outcomes(wave_id)
    outcomes = pl.DataFrame({"unit_id": members.ids}).join(
        frozen, on="unit_id", how="left", maintain_order="left"
    )
    known = outcomes.drop("unit_id") if frozen.height else pl.DataFrame()
    row = study.store.wave(wave_id)
    if row is not None and row.state == "closed":
        own = wave_scores(study, wave_id, members.ids)
        known = known.with_columns(s for s in own if s.name not in known.columns)
    return WaveData(
        members,
        assignment["stratum"],
        assignment["arm"],
        assignment["propensity"],
        assignment["held_out"],
        assignment["content"],
        assignment["content_propensity"],
        known,
    )


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
            pl.concat([part.packed_fields for part in units]),
        ),
        pl.concat([part.stratum for part in parts]),
        pl.concat([part.arm for part in parts]),
        pl.concat([part.propensity for part in parts]),
        pl.concat([part.held_out for part in parts]),
        pl.concat([part.content for part in parts]),
        pl.concat([part.content_propensity for part in parts]),
        pl.concat([part.outcomes for part in parts], how="diagonal_relaxed"),
    )


def units_of_wave(study: Study, wave: Wave, units: UnitData) -> UnitData:
    """Units that a wave is drawn from: all, those left, or those that a column names.

    A random share is taken from the units that are left; the draw itself is the caller's.
    """
    if isinstance(wave.units, UnitsWhere):
        for column, wanted in wave.units.where.items():
            values = [str(value) for value in (wanted if isinstance(wanted, tuple) else (wanted,))]
            units = units.where(units.fields[column].cast(pl.String).is_in(values))
        return units
    if wave.units == "rest" or isinstance(wave.units, UnitsShare):
        taken = [study.store.assignment(row.wave_id)["unit_id"] for row in study.store.waves()]
        if taken:
            return units.where(~units.ids.is_in(pl.concat(taken).implode()))
    return units


def n_units_of_wave(study: Study, wave: Wave) -> int:
    """Number of units that a wave would take if it were opened now."""
    everybody = unit_data(study)
    left = len(units_of_wave(study, wave, everybody))
    if isinstance(wave.units, UnitsShare):
        return min(left, round(wave.units.share * len(everybody)))
    return left
