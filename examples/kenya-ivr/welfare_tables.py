"""Who got what: shares of participants in good arms, welfare during the experiment, costs; and
effects on reading in standard deviations of the baseline."""

import numpy as np
from fits import SETS, ReadingFits, Study
from layout import EXACT, PARTLY, Table, differing, percent


def participants(study: Study) -> Table:
    """Share of participants in each arm (section 5.1), and what they engaged in meanwhile."""
    printed = study.printed
    counts = np.array([printed["table_2"][wave]["n_students"] for wave in ("wave_1", "wave_2")])
    names, total = [*study.arms, "control"], int(counts.sum())
    ours = dict(study.people["arm"].value_counts().iter_rows())
    people = np.array([ours.get(name, 0) for name in names])
    best, worst = names.index("T1B"), names.index("T2C")
    shares = people / total
    faults = differing(
        "Participants",
        shares[[best, worst]],
        [printed["participants"]["T1B"], printed["participants"]["T2C"]],
        0.5000001e-4,
    )
    n = people[:-1] - np.eye(len(study.arms))[names.index("T1C")]  # one phone has no call records
    rate = np.array(printed["table_3"]["share_successful"])
    adaptive, equal = float(n @ rate / n.sum()), float(rate.mean())
    called = study.called()
    share = float(called["engaged"].sum() / (SETS * called.height))
    faults += differing("Welfare", [adaptive], [share], 1e-4)
    rows = [
        [name, f"{people[k]:,}", percent(shares[k]),
         percent({"T1B": printed["participants"]["T1B"],
                  "T2C": printed["participants"]["T2C"]}[name]) if name in ("T1B", "T2C") else "",
         percent(rate[k]) if k < len(rate) else "",
         f"{1 / rate[k]:.1f}" if k < len(rate) else ""]
        for k, name in enumerate(names)
    ]  # fmt: skip
    found = {"adaptive": adaptive, "equal": equal, "regret": float(rate.max() - adaptive),
             "regret_equal": float(rate.max() - equal)}  # fmt: skip
    return Table(
        "participants", "Share of participants by arm, engagement and sets called per engaged set",
        EXACT,
        f"Of the sets called, {percent(adaptive)} were engaged in; with equal shares of the six "
        f"formats in both waves it would have been {percent(equal)} at the same rates. The loss "
        f"against T1B for all is {100 * found['regret']:.2f} points, with equal shares "
        f"{100 * found['regret_equal']:.2f}. Prices and lengths of calls are not published: an "
        "engaged set costs the last column times the price of calling a set, if that is the same "
        "in all arms; the menu of the C formats makes their calls longer.",
        ["", "Participants", "Share", "printed", "Sets engaged in", "Sets per engaged set"],
        rows, {"share": dict(zip(names, shares.tolist(), strict=True)), "welfare": found}, faults,
    )  # fmt: skip


def table_4_scaled(study: Study, fits: ReadingFits) -> Table:
    """Effects on reading in standard deviations of the scores before the calls."""
    printed = study.printed["table_4"]["unbalanced"]
    score = study.scores.filter(period="E2")["score"].drop_nulls().to_numpy()
    ours, theirs = float(score.std(ddof=1)), printed["mean"][2] / printed["T1B_in_sd"]
    mean = fits.unbalanced.to_frame()["mean"].to_list()[1:]
    rows = [
        [arm, f"{mean[k] / ours:.3f}", f"{printed['mean'][k + 1] / theirs:.3f}"]
        for k, arm in enumerate(study.arms)
    ]
    return Table(
        "4, scaled", "ORF scores estimates in standard deviations of the baseline", PARTLY,
        f"Printed is .065 for T1B only; with its 1.68 words that makes a standard deviation of "
        f"{theirs:.1f} words, by which the other printed effects are divided. The simulated "
        f"scores of term 2 have {ours:.1f}, in whole words from 0 to 85.",
        ["", "Unbalanced", "printed"], rows,
        {"baseline_sd": ours, "printed_baseline_sd": theirs,
         "effects": {a: m / ours for a, m in zip(study.arms, mean, strict=True)}},
    )  # fmt: skip
