"""Reading scores at three exams, with missing ones: what the calls are hoped to improve."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import polars as pl

from wavewise.errors import InputError
from wavewise.shared.results import BoolArray, FloatArray, IntArray, StrArray
from wavewise.simulated.reading import ReadingWorld

__all__ = ["OBSERVED_PATTERNS", "ScoreTruth", "simulate_reading_scores"]

Patterns = Mapping[str, Mapping[str, int]]
# share of children with each pattern of scores: 1 observed, 0 missing, one digit an exam
OBSERVED_PATTERNS: Mapping[str, float] = MappingProxyType(
    {"111": 0.634, "101": 0.162, "110": 0.093, "011": 0.007, "010": 0.001, "001": 0.001}
)
_SCHOOL_PART = 0.5  # of what decides whose scores go missing: whole classes are not handed in


@dataclass(frozen=True)
class ScoreTruth:
    """What the scores are made of, in correct words a minute.

    Parameters
    ----------
    effects : mapping of str to float
        Arm: gain once its calls have begun; by default Table 4, column 2.
    constant : float
        Mean without calls, over exams.
    periods : mapping of str to float
        Exam: difference from that mean, in the order of time.
    school_sd, child_sd, noise_sd : float
        Standard deviations between schools, between children of a school, between exams of a child.
    """

    effects: Mapping[str, float] = field(
        default_factory=lambda: {
            "T1A": 1.29, "T1B": 1.68, "T1C": 0.91, "T2A": 1.85, "T2B": 1.90, "T2C": 1.79
        }
    )  # fmt: skip
    constant: float = 46.54
    # the control group gained 1.62 and 2.92 words
    periods: Mapping[str, float] = field(
        default_factory=lambda: {"E2": -2.05, "M3": -0.43, "E3": 2.49}
    )
    school_sd: float = 9.0
    child_sd: float = 18.0
    noise_sd: float = 13.5


def simulate_reading_scores(
    world: ReadingWorld,
    assignment: pl.DataFrame,
    *,
    begins: Mapping[str, str],
    rng: np.random.Generator,
    truth: ScoreTruth | None = None,
    patterns: Patterns | None = None,
    limits: tuple[float, float] | None = None,
) -> pl.DataFrame:
    """Scores of assigned children at every exam, some of them missing.

    Parameters
    ----------
    world : ReadingWorld
        Children and schools.
    assignment : polars.DataFrame
        Columns ``unit_id``, ``wave`` and ``arm``.
    begins : mapping of str to str
        Wave: the first exam after its calls began.
    rng : numpy.random.Generator
        Source of the draws. They do not depend on the order of the assignment's rows.
    truth : ScoreTruth, optional
        By default that of the published study.
    patterns : mapping of str to mapping of str to int, optional
        Wave: {pattern: number of children}, such as ``{"wave-1": {"101": 20}}`` for 20 children
        without the second score; the rest of the wave has none. By default `OBSERVED_PATTERNS`.
    limits : (float, float), optional
        Lowest and highest score that the test can give; with them scores are whole words, and
        effects are a few percent smaller than the truth says.

    Returns
    -------
    polars.DataFrame
        One row a child and exam: ``unit_id``, ``wave``, ``arm``, ``period``, ``treated`` (whether
        the wave's calls had begun, also for the control), ``score`` (null where missing).

    Raises
    ------
    InputError
        Unknown units, waves or exams, or more patterns than children.

    Notes
    -----
    Whether a score is missing hangs on school and child, not on the score or the arm.
    """
    facts = truth or ScoreTruth()
    _check_begins(begins, facts)
    # in the order of unit ids, one row of draws a unit of the world
    drawn, rows = world.rows_of(assignment)
    waves = assignment.select(pl.col("unit_id").cast(pl.String), "wave")
    drawn = drawn.join(waves, on="unit_id", how="left", maintain_order="left")
    normals = rng.standard_normal((world.people.height, len(facts.periods) + 2))[rows]
    of_school = rng.standard_normal((len(world.school_effect), 2))[world.school[rows]]
    level = facts.constant + facts.school_sd * of_school[:, 0] + facts.child_sd * normals[:, 0]
    treated = _treated(drawn["wave"], begins, tuple(facts.periods))
    effect = drawn["arm"].replace_strict(dict(facts.effects), default=0.0, return_dtype=pl.Float64)
    score = level[:, None] + np.array(list(facts.periods.values()))
    score = score + treated * effect.to_numpy()[:, None] + facts.noise_sd * normals[:, 2:]
    if limits is not None:
        score = np.clip(np.rint(score), *limits)
    lateness = _SCHOOL_PART * of_school[:, 1] + (1 - _SCHOOL_PART) * normals[:, 1]
    seen = _observed(
        np.array(drawn["wave"].to_list(), dtype=np.str_), lateness, patterns, len(facts.periods)
    )
    return _long(drawn, tuple(facts.periods), np.where(seen, score, np.nan), treated)


def _check_begins(begins: Mapping[str, str], truth: ScoreTruth) -> None:
    unknown = sorted(set(begins.values()) - set(truth.periods))
    if unknown:
        raise InputError(
            f"begins: found {', '.join(unknown)}; needed exams of {', '.join(truth.periods)}"
        )


def _treated(wave: pl.Series, begins: Mapping[str, str], periods: tuple[str, ...]) -> IntArray:
    """1 where the unit's calls had begun by the exam, (n_units, n_periods)."""
    unknown = sorted(set(wave.unique()) - set(begins))
    if unknown:
        raise InputError(f"begins: found no exam for {', '.join(unknown)}; needed one per wave")
    first = {name: periods.index(period) for name, period in begins.items()}
    start = wave.replace_strict(first, return_dtype=pl.Int64).to_numpy()
    return np.asarray(np.arange(len(periods)) >= start[:, None], dtype=np.int64)


def _observed(
    wave: StrArray, lateness: FloatArray, patterns: Patterns | None, n_periods: int
) -> BoolArray:
    """Whether each score was handed in, (n_units, n_periods): the later, the fewer."""
    seen = np.zeros((wave.size, n_periods), np.bool_)
    for name in sorted(set(wave)):
        members = np.flatnonzero(wave == name)
        members = members[np.argsort(lateness[members], kind="stable")]
        counts = _default_counts(members.size) if patterns is None else patterns[name]
        if sum(counts.values()) > members.size:
            raise InputError(
                f"patterns: found {sum(counts.values())} children in {name}; needed at most "
                f"{members.size}"
            )
        rows = np.repeat([[c == "1" for c in text] for text in counts], list(counts.values()), 0)
        seen[members[: len(rows)]] = rows
    return seen


def _default_counts(n_units: int) -> dict[str, int]:
    return {pattern: int(n_units * share) for pattern, share in OBSERVED_PATTERNS.items()}


def _long(
    drawn: pl.DataFrame, periods: tuple[str, ...], score: FloatArray, treated: IntArray
) -> pl.DataFrame:
    n_units, n_periods = score.shape
    each = np.repeat(np.arange(n_units), n_periods)
    return drawn.select("unit_id", "wave", "arm")[each].with_columns(
        period=pl.Series(list(periods) * n_units, dtype=pl.String),
        treated=pl.Series(treated.ravel() == 1),
        score=pl.Series(score.ravel()).fill_nan(None),
    )
