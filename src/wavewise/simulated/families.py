"""Families that use a learning app, and how they respond to messages: a field with a known truth.

Parents differ in how much they use the app already; a message moves the weekly login on the logit
scale, by an amount that depends on the message and on the family. Nothing here is fitted to data;
the sizes are those that a study of such messages would plan on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np
import polars as pl

from wavewise.errors import InputError
from wavewise.results import FloatArray, IntArray

__all__ = ["FamilyWorld", "simulate_families"]

# mean effect on the logit of the login probability, and its slope on the family's two traits
MESSAGE_EFFECTS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "teacher": (0.11, 0.05, 0.00),
        "peers": (0.04, 0.00, 0.08),
        "parent": (0.24, 0.03, -0.03),
        "future": (0.15, -0.07, 0.02),
    }
)
REPEAT_PENALTY = 0.03
REGIONS = ("costa", "sierra", "selva", "lima")
CHILD_NAMES = ("Ana", "Luis", "María", "José", "Lucía", "Diego", "Rosa", "Mateo")
TEACHER_NAMES = ("Quispe", "Flores", "Rojas", "Mamani", "Sánchez", "Castillo")


@dataclass(frozen=True)
class FamilyWorld:
    """Families with their covariates, and the truth about how they respond.

    Parameters
    ----------
    people : polars.DataFrame
        One row a parent: ``parent_id``, the stratum, covariates, message fields.
    base_logit : ndarray, shape (n_units,)
        Logit of the login probability in a window without messages.
    traits : ndarray, shape (n_units, 2)
        What makes effects differ: prior use, and school size, standardized.
    """

    people: pl.DataFrame
    base_logit: FloatArray
    traits: FloatArray

    def login_prob(self, sequence: tuple[str, ...]) -> FloatArray:
        """Login probability of each family under a sequence of messages, shape (n_units,).

        Parameters
        ----------
        sequence : tuple of str
            Message ids in the order of sending; empty for no message.
        """
        return 1.0 / (1.0 + np.exp(-self.base_logit - self._shift(sequence)))

    def arm_mean(self, sequence: tuple[str, ...]) -> float:
        """Mean login probability of all families under a sequence of messages: the truth."""
        return float(self.login_prob(sequence).mean())

    def _shift(self, sequence: tuple[str, ...]) -> FloatArray:
        if not sequence:
            return np.zeros(len(self.base_logit))
        design = np.column_stack([np.ones(len(self.base_logit)), self.traits])
        shifts = [design @ np.array(_effects_of(message)) for message in sequence]
        repeated = len(sequence) > 1 and len(set(sequence)) == 1
        return np.asarray(np.mean(shifts, axis=0) - REPEAT_PENALTY * repeated, dtype=np.float64)

    def events(
        self,
        assignment: pl.DataFrame,
        sequences: Mapping[str, tuple[str, ...]],
        *,
        starts: datetime,
        window_days: int,
        rng: np.random.Generator,
        prefix: str = "event",
    ) -> pl.DataFrame:
        """What the app records of assigned families in a window.

        Parameters
        ----------
        assignment : polars.DataFrame
            Columns ``unit_id`` and ``arm``.
        sequences : mapping of str to tuple of str
            Arm: messages that its units get.
        starts : datetime
            Beginning of the window, with a time zone.
        window_days : int
            Its length.
        rng : numpy.random.Generator
            Source of the draws. They do not depend on the order of the assignment's rows.
        prefix : str
            Beginning of every event id, so that windows do not clash.

        Returns
        -------
        polars.DataFrame
            ``event_id``, ``unit_id``, ``kind`` (login, session, exercise_completed), ``at``
            (ISO 8601 with offset), ``value`` (minutes, for sessions).
        """
        arms = self.people.select(unit_id="parent_id").join(
            assignment.select("unit_id", "arm"), on="unit_id", how="left", maintain_order="left"
        )
        n_logins = self._n_logins(arms["arm"], sequences, rng)
        who = np.repeat(np.arange(len(n_logins)), n_logins)
        minutes_in = rng.integers(0, window_days * 24 * 60, size=len(who))
        lengths = np.round(rng.gamma(2.0, 6.0, size=len(who)), 1)
        n_exercises = rng.poisson(lengths / 3.0)
        return _event_frame(arms["unit_id"], who, minutes_in, lengths, n_exercises, starts, prefix)

    def _n_logins(
        self,
        arms: pl.Series,
        sequences: Mapping[str, tuple[str, ...]],
        rng: np.random.Generator,
    ) -> IntArray:
        n = len(self.base_logit)
        prob = np.zeros(n)
        names = arms.fill_null("").to_numpy()
        for arm, sequence in sequences.items():
            members = names == arm
            prob[members] = self.login_prob(sequence)[members]
        logged_in = rng.random(n) < prob
        return np.where(logged_in, 1 + rng.poisson(1.5, size=n), 0)


def _effects_of(message: str) -> tuple[float, float, float]:
    try:
        return MESSAGE_EFFECTS[message]
    except KeyError:
        known = ", ".join(MESSAGE_EFFECTS)
        raise InputError(
            f"found message '{message}'; needed one that the simulated families know: {known}"
        ) from None


def simulate_families(n_units: int, rng: np.random.Generator) -> FamilyWorld:
    """Families with covariates, fields for messages, and a known response to messages.

    Parameters
    ----------
    n_units : int
        Number of parents.
    rng : numpy.random.Generator
        Source of the draws.
    """
    if n_units < 1:
        raise InputError(f"found {n_units} units; needed at least 1")
    use = rng.normal(size=n_units)
    size = rng.normal(size=n_units)
    score = np.round(50 + 12 * (0.4 * use + rng.normal(size=n_units)), 1)
    base = -0.36 + 0.75 * use + 0.1 * rng.normal(size=n_units)
    last_week = rng.random(n_units) < 1.0 / (1.0 + np.exp(1.0 - 0.9 * use))
    people = pl.DataFrame(
        {
            "parent_id": [f"p{i:07d}" for i in range(1, n_units + 1)],
            "logged_in_last_week": np.where(last_week, "yes", "no"),
            "grade": rng.integers(1, 7, size=n_units),
            "urban": rng.random(n_units) < 0.7,
            "logins_4_weeks": rng.poisson(np.exp(0.8 + 0.5 * use)),
            "logins_12_weeks": rng.poisson(np.exp(1.8 + 0.5 * use)),
            "math_score": score,
            "school_size": np.round(np.exp(5.5 + 0.6 * size)).astype(np.int64),
            "region": rng.choice(REGIONS, size=n_units),
            "child_name": rng.choice(CHILD_NAMES, size=n_units),
            "teacher_name": rng.choice(TEACHER_NAMES, size=n_units),
        }
    ).with_columns(
        pl.col("urban").cast(pl.Int64),
        # a tenth of the scores was never recorded
        math_score=pl.when(pl.Series(rng.random(n_units) < 0.1)).then(None).otherwise("math_score"),
    )
    return FamilyWorld(people, base, np.column_stack([use, size]))


def _event_frame(
    ids: pl.Series,
    who: IntArray,
    minutes_in: IntArray,
    lengths: FloatArray,
    n_exercises: IntArray,
    starts: datetime,
    prefix: str,
) -> pl.DataFrame:
    """Each login with its session, and each exercise, as events."""
    each = np.repeat(np.arange(len(who)), n_exercises)
    kinds = {
        "login": (who, minutes_in, np.full(len(who), np.nan)),
        "session": (who, minutes_in, lengths),
        "exercise_completed": (who[each], minutes_in[each], np.full(len(each), np.nan)),
    }
    start = starts.astimezone(UTC).replace(tzinfo=None)
    return pl.concat(
        pl.DataFrame(
            {
                "event_id": [f"{prefix}-{kind}-{i}" for i in range(len(rows))],
                "unit_id": ids.gather(rows),
                "kind": [kind] * len(rows),
                "at": start + pl.Series(offsets * 60_000_000).cast(pl.Duration("us")),
                "value": pl.Series(values, dtype=pl.Float64).fill_nan(None),
            },
            schema_overrides={"event_id": pl.String, "kind": pl.String},
        )
        for kind, (rows, offsets, values) in kinds.items()
    ).with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"))
