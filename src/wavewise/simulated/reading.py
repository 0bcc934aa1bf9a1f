"""Calls with reading exercises to parents of first graders: a field with a known truth.

Six formats of calls and a control, as in the Kenya study of 2021. Parents of one school are alike,
and the nine sets of calls of one parent are more alike still. Sizes and levels are the published
ones; no data of the study are in here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl
from scipy import special

from wavewise.errors import InputError
from wavewise.shared.results import BoolArray, FloatArray, IntArray, read_only

__all__ = ["CALL_LEVELS", "ReadingWorld", "school_sizes", "simulate_reading_calls"]

N_SETS = 9
# posterior means of Table 3: log odds that a set is engaged in, at a school of average effect
CALL_LEVELS: Mapping[str, float] = MappingProxyType(
    {"T1A": -2.63, "T1B": -2.49, "T1C": -2.78, "T2A": -2.89, "T2B": -2.67, "T2C": -3.32}
)
# posterior means of Table A.6, column 2: log odds that the phone is answered at least once
ANSWER_LEVELS: Mapping[str, float] = MappingProxyType(
    {"T1A": 1.71, "T1B": 1.84, "T1C": 1.91, "T2A": 1.54, "T2B": 1.86, "T2C": 1.82}
)
SCHOOL_SD = 0.5
ANSWER_SCHOOL_SD = 0.35
# 1 + (9 - 1) / 4 = 3 times the binomial variance
CORRELATION = 0.25
CALL_STATUSES = ("confirmed", "no answer")
NO_ANSWER_SHARE = 796 / 1494  # neither opted in nor out before wave 1
CHILD_NAMES = ("Achieng", "Baraka", "Chebet", "Faith", "Juma", "Kamau", "Njeri", "Wanjiku")


@dataclass(frozen=True)
class ReadingWorld:
    """Children, their parents' phones and schools, and the truth about who takes part in calls.

    Parameters
    ----------
    people : polars.DataFrame
        One row per phone: ``phone_id``, ``school``, ``class``, ``call_status``, ``child_name``.
    school : (n_units,) array of int
        Position of each unit's school.
    school_effect : (n_schools, 2) array of float
        Standard normal effects of each school, on engaging and on answering.
    levels : mapping of str to float
        Arm: log odds that a set is engaged in at a school whose effect is 0.
    school_sd : float
        Standard deviation of school effects on that scale (kappa).
    correlation : float
        Of two sets of one parent, given school and arm; 0 makes them independent. The variance of
        a parent's sum over n sets is 1 + (n - 1) correlation times the binomial one.
    n_sets : int
        Sets of calls in a wave.
    """

    people: pl.DataFrame
    school: IntArray
    school_effect: FloatArray
    levels: Mapping[str, float]
    school_sd: float = SCHOOL_SD
    correlation: float = CORRELATION
    n_sets: int = N_SETS

    def engagement_prob(self, arm: str) -> FloatArray:
        """Probability that a set is engaged in, at each unit's school, (n_units,)."""
        return np.asarray(self._prob_at_schools(arm, 0.0)[self.school])

    def arm_mean(self, arm: str) -> float:
        """Mean of that probability over the units of this world: the truth for these schools."""
        return float(self.engagement_prob(arm).mean())

    def success_prob(self, arm: str) -> float:
        """Mean of that probability over schools that were not seen, E[logistic(beta + kappa z)].

        It is what the hierarchical binomial model calls so; the parents' own differences leave it
        as it is.
        """
        if self.school_sd == 0:
            return float(special.expit(self._level(arm)))
        # compiled code, which nothing else here needs
        from wavewise.estimate.binomial.success import over_new_clusters

        point = np.array([[self._level(arm), np.log(self.school_sd)]])
        return float(over_new_clusters(point)[0, 0])

    def calls(
        self,
        assignment: pl.DataFrame,
        *,
        rng: np.random.Generator,
        totals: Mapping[str, int] | None = None,
    ) -> pl.DataFrame:
        """What the call provider records of assigned units in a wave.

        Parameters
        ----------
        assignment : polars.DataFrame
            Columns ``unit_id`` and ``arm``. Arms without a level, such as the control, are not
            called.
        rng : numpy.random.Generator
            Source of the draws. They do not depend on the order of the assignment's rows.
        totals : mapping of str to int, optional
            Arm: sum over its units of the sets engaged in. The arm's level is moved until the draw
            has that sum; who engages more than whom does not change.

        Returns
        -------
        polars.DataFrame
            ``unit_id``, ``arm``, ``engaged`` (sets with at least one successful call; 0 where no
            call was made), ``answered`` (whether any call lasted a second or more; null where none
            was made), in the order of unit ids.

        Raises
        ------
        InputError
            Unknown or repeated units, or a total that the arm cannot have.
        """
        drawn, rows = self.rows_of(assignment)
        # one row of uniforms a unit of the world, so that nobody's draw hangs on who else is there
        uniforms = rng.random((self.people.height, self.n_sets + 2))[rows]
        engaged = np.zeros(rows.size, np.int64)
        answered = np.zeros(rows.size, np.bool_)
        arms = drawn["arm"].to_numpy()
        for arm in self.levels:
            members = np.flatnonzero(arms == arm)
            draw = _ArmDraw(self, arm, self.school[rows[members]], uniforms[members])
            total = None if totals is None else totals.get(arm)
            engaged[members] = draw.engaged() if total is None else draw.engaged_in_total(total)
            answered[members] = draw.answered(engaged[members])
        called = pl.Series(np.isin(arms, list(self.levels)))
        return drawn.with_columns(
            engaged=pl.Series(engaged), answered=pl.when(called).then(pl.Series(answered))
        )

    def rows_of(self, assignment: pl.DataFrame) -> tuple[pl.DataFrame, IntArray]:
        """Units and arms in the order of unit ids, and each unit's row in this world.

        Raises
        ------
        InputError
            Units that are unknown or repeated.
        """
        drawn = assignment.select(pl.col("unit_id").cast(pl.String), "arm").sort("unit_id")
        known = self.people.select(unit_id="phone_id").with_row_index("row")
        rows = drawn.join(known, on="unit_id", how="left", maintain_order="left")["row"]
        n_bad = rows.null_count() + drawn.height - drawn["unit_id"].n_unique()
        if n_bad:
            raise InputError(
                f"assignment: found {n_bad} rows of unknown or repeated units; needed one row per "
                "unit of this world"
            )
        return drawn, rows.cast(pl.Int64).to_numpy()

    def _level(self, arm: str) -> float:
        if arm not in self.levels:
            known = ", ".join(self.levels)
            raise InputError(f"arm: found {arm!r}; needed one that is called: {known}")
        return self.levels[arm]

    def _prob_at_schools(self, arm: str, shift: float) -> FloatArray:
        effect = self.school_sd * self.school_effect[:, 0]
        return np.asarray(special.expit(self._level(arm) + shift + effect))


@dataclass(frozen=True, eq=False)
class _ArmDraw:
    """The draws of one arm's units: every set is engaged in where its uniform is small enough."""

    world: ReadingWorld
    arm: str
    school: IntArray
    uniforms: FloatArray  # of the sets, of the person, of answering

    def engaged(self, shift: float = 0.0) -> IntArray:
        """Sets engaged in, (n_members,); more for a higher shift of the arm's level."""
        prob = self.world._prob_at_schools(self.arm, shift)[self.school]
        rate = self._own_rate(prob)
        sets = self.uniforms[:, : self.world.n_sets] < rate[:, None]
        return np.asarray(sets.sum(axis=1), dtype=np.int64)

    def engaged_in_total(self, total: int) -> IntArray:
        """The same with the level moved, by bisection, until the sum is the total."""
        low, high = -20.0, 20.0
        for _ in range(200):
            middle = (low + high) / 2
            engaged = self.engaged(middle)
            found = int(engaged.sum())
            if found == total:
                return engaged
            low, high = (middle, high) if found < total else (low, middle)
        raise InputError(
            f"totals: found {total} for {self.arm} with {self.school.size} units; needed a total "
            f"between 0 and {self.world.n_sets * self.school.size}"
        )

    def answered(self, engaged: IntArray) -> BoolArray:
        """Whether any call was answered: by all who engaged, and as many others as to be right."""
        z = self.world.school_effect[:, 1]
        wanted = special.expit(ANSWER_LEVELS.get(self.arm, 1.8) + ANSWER_SCHOOL_SD * z)
        none = self._no_set(self.world._prob_at_schools(self.arm, 0.0))
        others = np.clip((wanted - (1 - none)) / none, 0.0, 1.0)
        return np.asarray((engaged > 0) | (self.uniforms[:, -1] < others[self.school]))

    def _own_rate(self, prob: FloatArray) -> FloatArray:
        """Each parent's own rate: beta distributed around the school's, at a fixed rank."""
        if self.world.correlation == 0:
            return prob
        size = (1 - self.world.correlation) / self.world.correlation
        rank = self.uniforms[:, self.world.n_sets]
        return np.asarray(special.betaincinv(prob * size, (1 - prob) * size, rank))

    def _no_set(self, prob: FloatArray) -> FloatArray:
        """Probability that a parent engages in no set."""
        if self.world.correlation == 0:
            return np.asarray((1 - prob) ** self.world.n_sets)
        size = (1 - self.world.correlation) / self.world.correlation
        a, b = prob * size, (1 - prob) * size
        return np.asarray(np.exp(special.betaln(a, b + self.world.n_sets) - special.betaln(a, b)))


def simulate_reading_calls(
    n_units: int,
    rng: np.random.Generator,
    *,
    n_schools: int = 108,
    levels: Mapping[str, float] = CALL_LEVELS,
    school_sd: float = SCHOOL_SD,
    correlation: float = CORRELATION,
) -> ReadingWorld:
    """Parents in schools of unequal size, with a known response to six formats of calls.

    Parameters
    ----------
    n_units : int
        Phones.
    rng : numpy.random.Generator
    n_schools : int
        Each has from 8 to 67 of them.
    levels : mapping of str to float
        Arm: log odds that a set is engaged in, by default those of Table 3.
    school_sd : float
        Standard deviation of school effects on the log odds.
    correlation : float
        Of two sets of one parent, in [0, 1). By default the variance of a parent's sum is three
        times the binomial one, as the study's intervals imply; 0 is the study's own model.

    Raises
    ------
    InputError
        Sizes that do not fit, a correlation or standard deviation out of range.

    Examples
    --------
    >>> world = simulate_reading_calls(2878, np.random.default_rng(1))
    >>> world.people.height, round(world.success_prob("T1B"), 4)
    (2878, 0.0841)
    """
    if not (0 <= correlation < 1 and school_sd >= 0):
        raise InputError(
            f"found correlation {correlation}, school_sd {school_sd}; needed a correlation in "
            "[0, 1) and a standard deviation of 0 or more"
        )
    sizes = school_sizes(n_units, n_schools, rng)
    school = np.repeat(np.arange(n_schools), sizes)
    status = np.where(rng.random(n_units) < NO_ANSWER_SHARE, CALL_STATUSES[1], CALL_STATUSES[0])
    people = pl.DataFrame(
        {
            "phone_id": [f"k{i:04d}" for i in range(1, n_units + 1)],
            "school": [f"s{j + 1:03d}" for j in school],
            "class": [f"s{j + 1:03d}-{_stream_of(i, sizes[j])}" for i, j in enumerate(school)],
            "call_status": status,
            "child_name": rng.choice(CHILD_NAMES, size=n_units),
        }
    )
    effects = rng.standard_normal((n_schools, 2))
    return ReadingWorld(
        people=people,
        school=read_only(school, np.int64),
        school_effect=read_only(effects),
        levels=MappingProxyType(dict(levels)),
        school_sd=school_sd,
        correlation=correlation,
    )


def _stream_of(unit: int, size: int) -> str:
    """Schools with more than 35 first graders have two classes."""
    return "north" if size <= 35 or unit % 2 == 0 else "south"


# Numbers of units in schools of unequal size.

_SPREAD = 0.45  # sd of the log of a school's size


def school_sizes(
    n_units: int, n_schools: int, rng: np.random.Generator, *, least: int = 8, most: int = 67
) -> IntArray:
    """Units of each school, (n_schools,): unequal, between two bounds, with a given sum.

    Examples
    --------
    >>> sizes = school_sizes(2878, 108, np.random.default_rng(1))
    >>> int(sizes.sum()), bool(8 <= sizes.min() and sizes.max() <= 67)
    (2878, True)
    """
    if not (n_schools >= 1 and least * n_schools <= n_units <= most * n_schools):
        raise InputError(
            f"found {n_units} units for {n_schools} schools; needed between {least} and {most} "
            "units a school"
        )
    weight = np.exp(_SPREAD * rng.standard_normal(n_schools))
    planned = np.rint(n_units * weight / weight.sum())
    sizes: IntArray = np.clip(planned, least, most).astype(np.int64)
    while (gap := n_units - int(sizes.sum())) != 0:
        step = 1 if gap > 0 else -1
        open_schools = np.flatnonzero(sizes != (most if gap > 0 else least))
        some = rng.permutation(open_schools)[: abs(gap)]
        sizes[some] += step
    return sizes
