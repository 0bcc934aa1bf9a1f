"""Writes the files of both waves, simulated so that every published total is met exactly.

The study's own data are not public. From the paper: how many people each arm got in each wave
(Table 2), the sum of engaged sets of each arm and wave (mean times people, Table A.3; only one
whole number fits each printed mean), 108 schools, how many children have which scores (Tables 4
and A.1). All else is drawn by `wavewise.simulated` with parameters near the published estimates.
"""

import sys
import tomllib
from pathlib import Path

import numpy as np
import polars as pl

import wavewise as ww
from wavewise.shared.streams import stream
from wavewise.simulated.reading import ReadingWorld, simulate_reading_calls
from wavewise.simulated.reading_scores import simulate_reading_scores

SEED = 10098
HERE = Path(__file__).parent
WAVES = ("wave-1", "wave-2")
KEYS = {"wave-1": "wave_1", "wave-2": "wave_2"}  # in printed.toml
BEGINS = {"wave-1": "M3", "wave-2": "E3"}
# Children by pattern of scores in the exams E2, M3, E3. Together 2,559, 2,115 and 2,311 scores are
# there (88.9, 73.5 and 80.3 %); 1,823 children have all three and 616 exactly one before and one
# after their calls began, which makes the 2,439 children and 6,701 scores of Table 4.
PATTERNS = {
    "wave-1": {"111": 946, "101": 242, "110": 140, "011": 10, "100": 1, "010": 2, "001": 1},
    "wave-2": {"111": 877, "101": 224, "110": 129, "011": 10, "100": 0, "010": 1, "001": 1},
}
# When scores were delivered, and how many of them only weeks after the calls (Table A.2). Late E2
# scores were 16 words higher in print and late E3 scores 5 lower: lateness hangs on the score.
DELIVERED = {"E2": "2021-05-08", "M3": "2021-06-12", "E3": "2021-07-16"}
LATE = "2021-08-20"
N_LATE = {"E2": 286, "E3": 425}
LATE_SLOPE = {"E2": 0.46, "E3": -0.16}
# The plain model takes a part of the differences between parents for differences between schools:
# fitted to these data it finds a kappa near the published .5.
SCHOOL_SD = 0.3
TERM_2_SHARE = 0.775 / 0.889  # of the E2 scores, those that came before the first wave


def printed() -> dict:
    """The printed figures."""
    with (HERE / "printed.toml").open("rb") as file:
        return tomllib.load(file)


def people_by_wave(world: ReadingWorld, figures: dict, seed: int = SEED) -> pl.DataFrame:
    """Unit, wave, arm and propensity: arms in the published numbers, dealt within schools."""
    counts = {wave: _counts(figures, wave) for wave in WAVES}
    people = world.people.select("school", "call_status", unit_id="phone_id")
    sizes = {wave: sum(count.values()) for wave, count in counts.items()}
    people = people.with_columns(wave=_dealt(people, sizes, seed, "waves"))
    parts = []
    for wave in WAVES:
        part = people.filter(wave=wave)
        arm = _dealt(part, counts[wave], seed, wave)
        chance = arm.replace_strict(published_shares(figures, wave), return_dtype=pl.Float64)
        parts.append(part.select("unit_id", "wave", arm=arm, propensity=chance))
    return pl.concat(parts)


def _counts(figures: dict, wave: str) -> dict[str, int]:
    """People by arm (Table 2), the control last."""
    names = [*figures["arms"], "control"]
    return dict(zip(names, figures["table_2"][KEYS[wave]]["n_students"], strict=True))


def _dealt(people: pl.DataFrame, counts: dict[str, int], seed: int, purpose: str) -> pl.Series:
    """Labels in exact numbers, spread evenly over schools and call status."""
    shares = {name: count / people.height for name, count in counts.items() if count}
    strata = people["school"] + "|" + people["call_status"]
    drawn = ww.randomize.assign(people["unit_id"], strata, shares, stream(seed, "deal", purpose))
    return pl.Series(drawn.arm)


def published_shares(figures: dict, wave: str) -> dict[str, float]:
    """Shares that a wave was drawn with: a seventh each, then what the rule gave (Table 2)."""
    names = [*figures["arms"], "control"]
    if wave == "wave-1":
        return dict.fromkeys(names, 1 / 7)
    best = np.array(figures["table_2"]["best_draws"]) / figures["mcmc_draws"]
    shares = ww.decide.shares(best, rule="exploration", control_share=1 / 7)
    return dict(zip(names, map(float, shares), strict=True))


def published_totals(figures: dict) -> dict[str, dict[str, int]]:
    """Sum of engaged sets by wave and arm: the whole number nearest to mean times people."""
    totals: dict[str, dict[str, int]] = {}
    for wave in WAVES:
        people = _counts(figures, wave)
        if wave == "wave-2":
            people["T1C"] -= 1  # 5,193 attempts (Table 3) are 577 phones of 9, not 578
        means = zip(figures["arms"], figures["table_A3"][KEYS[wave]], strict=False)
        totals[wave] = {arm: round(people[arm] * mean) for arm, mean in means}
    return totals


def calls_of_both(
    world: ReadingWorld, drawn: pl.DataFrame, figures: dict, seed: int = SEED
) -> pl.DataFrame:
    """Engagement and answering of everybody; one T1C phone of wave 2 has no call records."""
    lost = drawn.filter(wave="wave-2", arm="T1C")["unit_id"].sort()[0]
    totals = published_totals(figures)
    parts = []
    for name in WAVES:
        called = drawn.filter((pl.col("wave") == name) & (pl.col("unit_id") != lost))
        rng = stream(seed, "calls", name)
        parts.append(world.calls(called, rng=rng, totals=totals[name]).drop("arm"))
    calls = pl.concat(parts)
    return drawn.join(calls, on="unit_id", how="left", maintain_order="left")


def main(out: str) -> None:
    """Write people.csv, the waves, all scores, and the two files in which they were delivered."""
    folder, figures = Path(out), printed()
    folder.mkdir(parents=True, exist_ok=True)
    n_people = sum(sum(_counts(figures, wave).values()) for wave in WAVES)
    world = simulate_reading_calls(
        n_people, stream(SEED, "world"), n_schools=figures["schools"], school_sd=SCHOOL_SD
    )
    drawn = people_by_wave(world, figures)
    scores = scores_of_both(world, drawn)
    people = _people(world, drawn, scores)
    people.write_csv(folder / "people.csv")
    calls = calls_of_both(world, drawn, figures).drop("wave")
    calls = calls.rename({"unit_id": "phone_id"})
    for wave in WAVES:
        rows = people.filter(wave=wave).join(calls, on="phone_id", maintain_order="left")
        rows.write_csv(folder / f"{wave}.csv")
    scores = delivered(scores).rename({"unit_id": "phone_id"})
    scores.write_csv(folder / "scores.csv")
    columns = ("phone_id", "period", "score", "delivered")
    known = pl.col("delivered") <= DELIVERED["M3"]
    for name, rows in (("scores-1", known), ("scores-2", ~known)):
        scores.filter(rows).select(columns).write_csv(folder / f"{name}.csv")
    n_scores = scores["score"].count()
    print(f"Wrote {n_people:,} people, their calls and {n_scores:,} reading scores to {folder}.")


def scores_of_both(world: ReadingWorld, drawn: pl.DataFrame) -> pl.DataFrame:
    """Scores of everybody at three exams, whole words from 0 to 85."""
    scores = simulate_reading_scores(
        world,
        drawn,
        begins=BEGINS,
        rng=stream(SEED, "scores"),
        patterns=PATTERNS,
        limits=(0, 85),
    )
    return scores.with_columns(pl.col("score").cast(pl.Int64))


def delivered(scores: pl.DataFrame) -> pl.DataFrame:
    """The scores with the date of their delivery, exactly as many late ones as in print."""
    dated = scores.with_columns(delivered=pl.col("period").replace_strict(DELIVERED))
    for period, n_late in N_LATE.items():
        seen = scores.filter(pl.col("period") == period).drop_nulls("score").sort("unit_id")
        score = seen["score"].to_numpy()
        noise = stream(SEED, "late", period).standard_normal(score.size)
        lateness = LATE_SLOPE[period] * (score - score.mean()) / score.std() + noise
        late = seen["unit_id"].gather(np.argsort(-lateness, kind="stable")[:n_late])
        is_late = (pl.col("period") == period) & pl.col("unit_id").is_in(late.implode())
        dated = dated.with_columns(
            delivered=pl.when(is_late).then(pl.lit(LATE)).otherwise("delivered")
        )
    return dated


def _exam(scores: pl.DataFrame, period: str) -> pl.DataFrame:
    return scores.filter(period=period).select("unit_id", pl.col("score").alias(f"score_{period}"))


def _people(world: ReadingWorld, drawn: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Everybody's fields before the calls; a part of the term-2 scores came too late."""
    n_people = world.people.height
    early = pl.Series(stream(SEED, "term 2").random(n_people) < TERM_2_SHARE)
    score = pl.when(early).then("score_E2")
    known = drawn.select("unit_id", "wave").join(_exam(scores, "E2"), on="unit_id")
    people = world.people.rename({"phone_id": "unit_id"})
    people = people.join(known, on="unit_id", maintain_order="left")
    people = people.with_columns(score_term_2=score).drop("score_E2")
    return people.rename({"unit_id": "phone_id"})


if __name__ == "__main__":
    main(sys.argv[1])
