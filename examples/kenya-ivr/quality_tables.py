"""Tables A.1 and A.2: which scores are missing, and which came late."""

import polars as pl
from fits import Study
from layout import IN_KIND, PARTLY, Table
from make_data import LATE

from wavewise.evaluate import checks

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
    seen = study.scores.drop_nulls("score").filter(pl.col("period").is_in(["E2", "E3"]))
    seen = seen.with_columns(late=pl.col("delivered") == LATE)
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
        "As many scores came late as in print; which ones is not published: here that hangs on the "
        "score, alike in all arms, late ones of term 2 higher and of term 3 lower as in print. "
        f"The check on these data: {check.text}",
        ["", "C", *study.arms, "N. students"], rows, numbers,
    )  # fmt: skip


def _mean(frame: pl.DataFrame) -> float:
    return float(frame["known"].mean())
