"""Tables A.1 and A.2: which scores are missing, and which came late."""

import numpy as np
import polars as pl
from fits import SEED, Study
from layout import IN_KIND, PARTLY, Table

from wavewise.evaluate import checks
from wavewise.streams import stream

PERIODS = ("E2", "M3", "E3")


def table_a1(study: Study) -> Table:
    """Shares of scores that are there, by arm, wave and exam."""
    printed, arms = study.printed["table_A1_by_arm"], ["control", *study.arms]
    people = study.people.select("phone_id", "arm", "wave")
    rows, numbers = [], {}
    for period in PERIODS:
        mine = study.scores.filter(period=period).select("phone_id", "score")
        each = people.join(mine, on="phone_id", how="left", maintain_order="left")
        check = checks.missing_outcomes(each["score"].to_numpy(), each["arm"], wave=each["wave"])
        known = each.with_columns(known=pl.col("score").is_not_null().cast(pl.Float64))
        shares = [_mean(known.filter(arm=arm)) for arm in arms]
        shares += [_mean(known), *(_mean(known.filter(wave=w)) for w in ("wave-1", "wave-2"))]
        rows.append([period, *(f"{100 * x:.1f}%" for x in shares)])
        rows.append(["  printed", *(f"{100 * x:.1f}%" for x in printed[period])])
        numbers[period] = {"known_share": shares, "check": check.to_dict()}
    counts = [people.filter(arm=arm).height for arm in arms]
    counts += [people.height, *(people.filter(wave=w).height for w in ("wave-1", "wave-2"))]
    rows.append(["N. students", *(f"{n:,}" for n in counts)])
    rows.append(["  printed", *(f"{n:,}" for n in printed["n_students"])])
    verdicts = ", ".join(f"{p} {numbers[p]['check']['verdict']}" for p in PERIODS)
    return Table(
        "A.1", "Non-missing ORF scores in each exam, by treatment arm and wave", PARTLY,
        "Totals by exam are those of Table 4's samples; who misses is drawn at random, so that "
        "arms differ by chance only. The paper's table counts 15 students whom its call tables "
        f"leave out. Test over all arms within waves: {verdicts}.",
        ["", "C", *study.arms, "Total", "Wave 1", "Wave 2"], rows, numbers,
    )  # fmt: skip


def table_a2(study: Study) -> Table:
    """Mean scores of the first and of the late delivery."""
    printed, arms = study.printed["table_A2"], ["control", *study.arms]
    rows, numbers = [], {}
    late = pl.concat([_late(study, period) for period in ("E2", "E3")])
    seen = study.scores.drop_nulls("score").join(late, on=["phone_id", "period"], how="inner")
    check = checks.late_deliveries(
        seen["score"].cast(pl.Float64).to_numpy(),
        seen["arm"],
        seen["late"].to_numpy(),
        period=seen["period"],
        cluster=seen["school"],
    )
    for row in check.table:
        key = f"{row['period']}_{row['delivery']}"
        label = row["period"] + (" updated" if row["delivery"] == "late" else "")
        means = [row[f"mean_{arm}"] for arm in arms]
        rows.append([label, *(f"{x:.1f}" for x in means), f"{row['n_scores']:,}"])
        shown = [f"{x:.1f}" for x in printed[key]["mean"]]
        rows.append(["  printed", *shown, f"{printed[key]['n']:,}"])
        numbers[key] = {"mean": means, "n_scores": row["n_scores"]}
    numbers["check"] = check.to_dict()
    return Table(
        "A.2", "Average ORF scores from separate data deliveries", IN_KIND,
        "Which scores came late is not published but for their number; here whole schools are "
        "late, drawn at random up to the printed share, so late scores differ as schools do. In "
        "the study late scores of term 2 are 12 to 23 words above the early ones in every arm, "
        f"which schools drawn at random would not give. The check on these data: {check.text}",
        ["", "C", *study.arms, "N. students"], rows, numbers,
    )  # fmt: skip


def _mean(frame: pl.DataFrame) -> float:
    return float(frame["known"].mean())


def _late(study: Study, period: str) -> pl.DataFrame:
    """Whole schools, in random order, until the printed share of scores is late."""
    printed = study.printed["table_A2"]
    n_late = printed[f"{period}_late"]["n"]
    share = n_late / (n_late + printed[f"{period}_first"]["n"])
    mine = study.scores.filter(period=period).drop_nulls("score")
    sizes = mine.group_by("school").len().sort("school")
    order = stream(SEED, "late", period).permutation(sizes.height)
    reached = np.cumsum(sizes["len"].to_numpy()[order]) <= share * mine.height
    schools = sizes["school"].gather(order[reached])
    flag = pl.col("school").is_in(schools.implode())
    return mine.select("phone_id", "period", late=flag)
