"""Families that use a learning app, and how they respond to messages: a field with a known truth.

Parents differ in how much they use the app already; a message moves the weekly login on the logit
scale, by an amount that depends on the message and on what is known of the family. Nothing here is
fitted to data: the sizes are those that a study of such messages would plan on, and the login rates
without messages are the registered ones of the Peru study (42 % and 36 % in the school year, 2 % in
the summer).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import polars as pl

from wavewise.errors import InputError
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["FamilyWorld", "Season", "simulate_families"]

Season = Literal["school year", "summer"]
# On the logit of the login probability: mean effect of a message, then its slopes on the family's
# traits (prior use, school size, the child's grade, town or country), each standardized.
MESSAGE_EFFECTS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "teacher": (0.15, 0.02, 0.00, -0.12, -0.06),
        "peers": (0.10, 0.02, 0.06, 0.10, 0.05),
        "parent": (0.21, 0.03, -0.02, -0.04, 0.00),
        "future": (0.14, -0.05, 0.00, 0.11, 0.00),
    }
)
REPEAT_PENALTY = 0.03
# Logit of a typical family without messages: at first, and the change from then to a later wave.
LEVELS: Mapping[Season, tuple[float, float]] = MappingProxyType(
    {"school year": (-0.37, -0.30), "summer": (-4.15, 0.0)}
)
# Logit of the probability that a typical family logs in in a week of the school year.
WEEKLY_LEVEL = -1.0
DAY_MINUTES = 24 * 60
REGIONS = ("costa", "sierra", "selva", "lima")
LANGUAGES = ("es", "en")
CHILD_NAMES = ("Ana", "Luis", "María", "José", "Lucía", "Diego", "Rosa", "Mateo")
TEACHER_NAMES = ("Quispe", "Flores", "Rojas", "Mamani", "Sánchez", "Castillo")


@dataclass(frozen=True)
class FamilyWorld:
    """Families with their covariates, and the truth about how they respond.

    Parameters
    ----------
    people : polars.DataFrame
        One row a parent: ``parent_id``, covariates, message fields.
    base_logit : ndarray, shape (n_units,)
        Logit of the login probability in a window without messages.
    traits : ndarray, shape (n_units, 4)
        What makes effects differ: prior use, school size, grade, town; standardized.
    weekly_logit : ndarray, shape (n_units,)
        Logit of the probability of a login in one week between the waves.
    n_before : ndarray, shape (n_units, 2)
        Logins in the week before the first wave, and in the three weeks before that.
    drift : float
        Change of the logit, for all, from the first wave to a later one.
    """

    people: pl.DataFrame
    base_logit: FloatArray
    traits: FloatArray
    weekly_logit: FloatArray
    n_before: IntArray
    drift: float = 0.0

    def login_prob(self, sequence: Sequence[str], *, later: bool = False) -> FloatArray:
        """Login probability of each family under a sequence of messages, shape (n_units,).

        Parameters
        ----------
        sequence : sequence of str
            Message ids in the order of sending; empty for no message.
        later : bool
            In a wave after the first.
        """
        logit = self.base_logit + self.drift * later + self._shift(tuple(sequence))
        return np.asarray(1.0 / (1.0 + np.exp(-logit)))

    def arm_mean(self, sequence: Sequence[str], *, later: bool = False) -> float:
        """Mean login probability of all families under a sequence of messages: the truth."""
        return float(self.login_prob(sequence, later=later).mean())

    def policy_mean(
        self,
        probabilities: Any,
        arms: Sequence[str],
        sequences: Mapping[str, tuple[str, ...]],
        *,
        later: bool = True,
    ) -> float:
        """Mean login probability if a policy chose for every family: the truth.

        Parameters
        ----------
        probabilities : array-like, shape (n_units, n_arms)
            With which the policy gives each family each arm, families as in `people`.
        arms : sequence of str
            Names of its columns.
        sequences : mapping of str to tuple of str
            Arm: messages that its units get.
        later : bool
            In a wave after the first.
        """
        law = np.asarray(probabilities, dtype=np.float64)
        if law.shape != (len(self.base_logit), len(arms)):
            raise InputError(
                f"probabilities: found shape {law.shape}; needed one row for each of "
                f"{len(self.base_logit):,} families and one column for each of {len(arms)} arms"
            )
        used = [column for column in range(len(arms)) if law[:, column].any()]
        total = sum(
            law[:, column] * self.login_prob(sequences[arms[column]], later=later)
            for column in used
        )
        return float(np.mean(total))

    def best_mean(self, sequences: Mapping[str, tuple[str, ...]], *, later: bool = True) -> float:
        """Mean login probability if every family got what is truly best for it.

        No rule that knows covariates only can do better.
        """
        best = np.full(len(self.base_logit), -np.inf)
        for sequence in sequences.values():
            best = np.maximum(best, self.login_prob(sequence, later=later))
        return float(best.mean())

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
        later: bool = False,
    ) -> pl.DataFrame:
        """What the app records of assigned families in a window.

        Parameters
        ----------
        assignment : polars.DataFrame
            Columns ``unit_id`` and ``arm``; arms without a sequence do nothing.
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
        later : bool
            In a wave after the first.

        Returns
        -------
        polars.DataFrame
            ``event_id``, ``unit_id``, ``kind`` (login, session, exercise_completed), ``at``
            (ISO 8601 with offset), ``value`` (minutes, for sessions).
        """
        arms = self.people.select(unit_id="parent_id").join(
            assignment.select("unit_id", "arm"), on="unit_id", how="left", maintain_order="left"
        )
        n_logins = self._n_logins(arms["arm"], sequences, rng, later=later)
        who = np.repeat(np.arange(len(n_logins)), n_logins)
        minutes_in = rng.integers(0, window_days * DAY_MINUTES, size=len(who))
        lengths = np.round(rng.gamma(2.0, 6.0, size=len(who)), 1)
        n_exercises = rng.poisson(lengths / 3.0)
        return _event_frame(arms["unit_id"], who, minutes_in, lengths, n_exercises, starts, prefix)

    def logins_before(
        self, starts: datetime, rng: np.random.Generator, *, prefix: str = "before"
    ) -> pl.DataFrame:
        """Logins in the four weeks before the first wave, as events like those of a window."""
        weeks = [(starts - timedelta(days=7), 7), (starts - timedelta(days=28), 21)]
        return pl.concat(
            self._logins(n, begin, days, rng, f"{prefix}-{i}")
            for i, (n, (begin, days)) in enumerate(zip(self.n_before.T, weeks, strict=True))
        )

    def logins_between(
        self,
        ends: datetime,
        starts: datetime,
        rng: np.random.Generator,
        *,
        prefix: str = "between",
    ) -> pl.DataFrame:
        """Logins without messages in the whole weeks between a window's end and the next wave."""
        weekly = 1.0 / (1.0 + np.exp(-self.weekly_logit))
        parts = []
        for week in range((starts - ends).days // 7):
            logged_in = rng.random(len(weekly)) < weekly
            n = np.where(logged_in, 1 + rng.poisson(0.5, size=len(weekly)), 0)
            begin = starts - timedelta(days=7 * (week + 1))
            parts.append(self._logins(n, begin, 7, rng, f"{prefix}-{week}"))
        return pl.concat(parts) if parts else _login_frame([], [], starts, "")

    def _logins(
        self, n: IntArray, begin: datetime, days: int, rng: np.random.Generator, prefix: str
    ) -> pl.DataFrame:
        who = np.repeat(np.arange(len(n)), n)
        minutes = rng.integers(0, days * DAY_MINUTES, size=len(who))
        return _login_frame(self.people["parent_id"].gather(who), minutes, begin, prefix)

    def _n_logins(
        self,
        arms: pl.Series,
        sequences: Mapping[str, tuple[str, ...]],
        rng: np.random.Generator,
        *,
        later: bool,
    ) -> IntArray:
        n = len(self.base_logit)
        prob = np.zeros(n)
        names = arms.fill_null("").to_numpy()
        for arm, sequence in sequences.items():
            members = names == arm
            prob[members] = self.login_prob(sequence, later=later)[members]
        logged_in = rng.random(n) < prob
        return np.where(logged_in, 1 + rng.poisson(1.5, size=n), 0)


def _effects_of(message: str) -> tuple[float, ...]:
    try:
        return MESSAGE_EFFECTS[message]
    except KeyError:
        known = ", ".join(MESSAGE_EFFECTS)
        raise InputError(
            f"found message '{message}'; needed one that the simulated families know: {known}"
        ) from None


def simulate_families(
    n_units: int, rng: np.random.Generator, *, season: Season = "school year"
) -> FamilyWorld:
    """Families with covariates, fields for messages, and a known response to messages.

    Parameters
    ----------
    n_units : int
        Number of parents.
    rng : numpy.random.Generator
        Source of the draws. Both seasons give the same families from the same draws.
    season : {"school year", "summer"}
        How much families use the app anyway.
    """
    if n_units < 1:
        raise InputError(f"found {n_units} units; needed at least 1")
    if season not in LEVELS:
        raise InputError(f"season: found {season!r}; needed {' or '.join(LEVELS)}")
    use, size = rng.normal(size=n_units), rng.normal(size=n_units)
    grade = rng.integers(1, 7, size=n_units)
    urban = rng.random(n_units) < 0.7
    level, drift = LEVELS[season]
    base = level + 0.75 * use + 0.1 * rng.normal(size=n_units)
    traits = np.column_stack(
        [use, size, (grade - 3.5) / np.sqrt(35 / 12), (urban - 0.7) / np.sqrt(0.21)]
    )
    people, n_before = _people(use, size, grade, urban, rng)
    weekly = WEEKLY_LEVEL + 0.9 * use + (level - LEVELS["school year"][0])
    return FamilyWorld(people, base, traits, weekly, n_before, drift)


def _people(
    use: FloatArray, size: FloatArray, grade: IntArray, urban: Any, rng: np.random.Generator
) -> tuple[pl.DataFrame, IntArray]:
    """What is known of the families: the people file, and their logins before the first wave."""
    n = len(use)
    score = np.round(50 + 12 * (0.4 * use + rng.normal(size=n)), 1)
    last_week = rng.random(n) < 1.0 / (1.0 + np.exp(-WEEKLY_LEVEL - 0.9 * use))
    four_weeks = np.maximum(rng.poisson(np.exp(0.8 + 0.5 * use)), last_week)
    in_last = np.where(last_week, 1 + rng.binomial(np.maximum(four_weeks - 1, 0), 0.25), 0)
    people = pl.DataFrame(
        {
            "parent_id": [f"p{i:07d}" for i in range(1, n + 1)],
            "grade": grade,
            "urban": urban.astype(np.int64),
            "math_score": score,
            "school_size": np.round(np.exp(5.5 + 0.6 * size)).astype(np.int64),
            "region": rng.choice(REGIONS, size=n),
            "child_name": rng.choice(CHILD_NAMES, size=n),
            "teacher_name": rng.choice(TEACHER_NAMES, size=n),
            "device_token": [f"token-{i:07d}" for i in range(1, n + 1)],
            "time_zone": np.full(n, "America/Lima"),
            "language": rng.choice(LANGUAGES, size=n, p=[0.97, 0.03]),
        }
    )
    # a tenth of the scores was never recorded
    lacking = pl.Series(rng.random(n) < 0.1)
    people = people.with_columns(math_score=pl.when(lacking).then(None).otherwise("math_score"))
    return people, np.column_stack([in_last, four_weeks - in_last])


def _login_frame(ids: Any, minutes_in: Any, begin: datetime, prefix: str) -> pl.DataFrame:
    start = begin.astimezone(UTC).replace(tzinfo=None)
    offsets = pl.Series(np.asarray(minutes_in, np.int64) * 60_000_000).cast(pl.Duration("us"))
    return pl.DataFrame(
        {
            "event_id": [f"{prefix}-login-{i}" for i in range(len(offsets))],
            "unit_id": pl.Series(ids, dtype=pl.String),
            "kind": pl.repeat("login", len(offsets), eager=True),
            "at": start + offsets,
            "value": pl.repeat(None, len(offsets), dtype=pl.Float64, eager=True),
        },
        schema_overrides={"event_id": pl.String},
    ).with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"))


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
