"""Tables 1, 2, 3, A.3, A.6 and A.7: the calls."""

import numpy as np
import polars as pl
from fits import SETS, CallFits, Study
from layout import EXACT, IN_KIND, PARTLY, Table, differing, interval, percent

import wavewise as ww
from wavewise.estimate.binomial.success import over_new_clusters

HALF_CENT = 0.5000001e-4  # a share that is printed in percent with two decimals


def table_1(study: Study, fits: CallFits) -> Table:
    """Coefficients after wave 1 and after both."""
    parts = [(fits.wave_1, "wave_1"), (fits.both, "both")]
    columns, numbers = [], {}
    for post, key in parts:
        printed = study.printed["table_1"][key]
        bounds = post.cred_int()
        columns.append([interval(m, *b) for m, b in zip(post.mean, bounds, strict=True)])
        columns.append(list(map(interval, printed["mean"], printed["low"], printed["high"])))
        columns[-2].append(f"{post.cells.n_rows:,}")
        columns[-1].append(f"{printed['n_students']:,}")
        numbers[key] = {"mean": post.mean.tolist(), "cred_int": bounds.tolist()}
        numbers[key] |= {"kappa": post.kappa_mean, "n_students": post.cells.n_rows}
    return Table(
        "1", "Call engagement estimates after wave 1 and 2", IN_KIND,
        "Only each arm's total is published, not which schools and parents it came from. The "
        "numbers of students agree: one T1C phone of wave 2 has no call records, as the attempts "
        "of Table 3 imply.",
        ["", "Wave 1", "printed", "Full sample", "printed"],
        [*zip([*study.arms, "Num. students"], *columns, strict=True)], numbers,
    )  # fmt: skip


def table_2(study: Study) -> Table:
    """Shares and counts of both waves."""
    printed, names = study.printed["table_2"], [*study.arms, "control"]
    best = np.array(printed["best_draws"]) / study.printed["mcmc_draws"]
    target = ww.decide.shares(best, rule="exploration", control_share=1 / 7)
    decided = study.decided["wave-1"]["shares"]
    ours = study.decided["wave-1"]["prob_optimal"]["T1B"]
    counts = {
        wave: study.people.filter(wave=wave)["arm"].value_counts() for wave in ("wave-1", "wave-2")
    }
    people = {w: [dict(c.iter_rows()).get(a, 0) for a in names] for w, c in counts.items()}
    actual = {wave: np.array(n) / sum(n) for wave, n in people.items()}
    faults = differing("Table 2, target", target, printed["wave_2"]["target"], HALF_CENT)
    for wave, key in (("wave-1", "wave_1"), ("wave-2", "wave_2")):
        faults += differing(f"Table 2, {wave}", people[wave], printed[key]["n_students"], 0)
    rows = [
        [
            name, percent(1 / 7), percent(printed["wave_1"]["target"][k]),
            percent(actual["wave-1"][k]), str(people["wave-1"][k]),
            str(printed["wave_1"]["n_students"][k]), percent(target[k]),
            percent(printed["wave_2"]["target"][k]), percent(actual["wave-2"][k]),
            str(people["wave-2"][k]), str(printed["wave_2"]["n_students"][k]),
            percent(decided[name]),
        ]
        for k, name in enumerate(names)
    ]  # fmt: skip
    return Table(
        "2", "Treatment allocation in waves 1 and 2", EXACT,
        "The rule turns the published draw counts into the published shares, to every digit (the "
        "paper cuts 1/7 to 14.28% in wave 1). The last column is what `wavewise decide` gave after "
        f"the simulated wave 1, in which T1B is best with probability {percent(ours)}. The "
        "paper's 74.14% does not follow from its totals: spread over schools and parents in 400 "
        "ways (spreads.py) they give 89% on average, and no more than the paper's in 2 of them.",
        ["", "Target 1", "printed", "Actual 1", "Num. 1", "printed", "Target 2", "printed",
         "Actual 2", "Num. 2", "printed", "decided"],
        rows,
        {"target": target.tolist(), "decided": [decided[name] for name in names],
         "prob_optimal_T1B": ours,
         "n_students": people, "actual": {w: a.tolist() for w, a in actual.items()}},
        faults,
    )  # fmt: skip


def table_3(study: Study, fits: CallFits) -> Table:
    """Raw numbers, coefficients, success probability and regret after both waves."""
    printed, post = study.printed["table_3"], fits.both
    raw = _by_arm(study, attempts=pl.len() * SETS, successes=pl.col("engaged").sum())
    share = raw["successes"] / raw["attempts"]
    point = np.log([printed["kappa"]])
    from_printed = over_new_clusters(np.concatenate([printed["beta_mean"], point])[None, :])[0]
    faults = differing("Table 3, attempts", raw["attempts"], printed["attempts"], 0)
    faults += differing("Table 3, share", share, printed["share_successful"], HALF_CENT)
    faults += differing("Table 3, success", from_printed, printed["success_prob"], 5e-4)
    rows = [
        [
            arm, f"{raw['attempts'][k]:,}", f"{printed['attempts'][k]:,}", percent(share[k]),
            percent(printed["share_successful"][k]), f"{post.mean[k]:.2f} ({post.sd[k]:.2f})",
            f"{printed['beta_mean'][k]:.2f} ({printed['beta_sd'][k]:.2f})",
            percent(post.prob_optimal[k]), percent(printed["prob_optimal"][k]),
            percent(post.success_prob[k]), percent(from_printed[k]),
            percent(printed["success_prob"][k]), percent(post.policy_regret[k]),
            percent(printed["policy_regret"][k]),
        ]
        for k, arm in enumerate(study.arms)
    ]  # fmt: skip
    return Table(
        "3", "Call engagement: treatment effect estimates after wave 2", PARTLY,
        "Attempts and shares agree to every digit. 'At printed beta' is the mean over schools, "
        "E[logistic(beta + kappa z)], at the printed coefficients with kappa = .5; it agrees with "
        "the printed success probability within .05 percentage points; logistic(beta) would be "
        ".4 to .75 points too low. Posterior columns are in kind.",
        ["", "Attempts", "printed", "Share", "printed", "Mean (SD)", "printed", "Prob. opt.",
         "printed", "Success", "at printed beta", "printed", "Regret", "printed"],
        rows,
        {"attempts": raw["attempts"].to_list(), "successes": raw["successes"].to_list(),
         "success_prob_at_printed_beta": from_printed.tolist(),
         "prob_optimal": post.prob_optimal.tolist(), "success_prob": post.success_prob.tolist(),
         "policy_regret": post.policy_regret.tolist()},
        faults,
    )  # fmt: skip


def table_a3(study: Study) -> Table:
    """Mean number of engaged sets."""
    printed = study.printed["table_A3"]
    waves = {"wave_1": ["wave-1"], "wave_2": ["wave-2"], "both": ["wave-1", "wave-2"]}
    mean = {
        key: _by_arm(study, *names, mean=pl.col("engaged").mean())["mean"].to_list()
        for key, names in waves.items()
    }
    faults = []
    for key, found in mean.items():
        known = [value for value in found if value is not None]
        faults += differing(f"Table A.3, {key}", known, printed[key], 0.5000001e-3)
    columns = []
    for key, found in mean.items():
        shown = [*printed[key], *[None] * (len(found) - len(printed[key]))]
        columns += [["-" if x is None else f"{x:.3f}" for x in part] for part in (found, shown)]
    return Table(
        "A.3", "Mean number of successful engagements by treatment arm and wave", EXACT,
        "The data were made with these totals; only one whole number fits each printed mean.",
        ["", "Wave 1", "printed", "Wave 2", "printed", "Wave 1 and 2", "printed"],
        [*zip(study.arms, *columns, strict=True)], {"mean": mean}, faults,
    )  # fmt: skip


def table_a6(study: Study, fits: CallFits) -> Table:
    """Coefficients of the two extensive margins."""
    columns, numbers = [], {}
    for key in ("any_engagement", "any_second"):
        post, printed = getattr(fits, key), study.printed["table_A6"][key]
        bounds = post.cred_int()
        columns.append([interval(m, *b) for m, b in zip(post.mean, bounds, strict=True)])
        columns.append(list(map(interval, printed["mean"], printed["low"], printed["high"])))
        numbers[key] = {"mean": post.mean.tolist(), "cred_int": bounds.tolist()}
    return Table(
        "A.6", "Extensive margin for call engagement: model coefficients", IN_KIND,
        "How many phones engaged at all, or were answered at all, is not published by arm.",
        ["", "Any successful engagement", "printed", "At least one second in call", "printed"],
        [*zip(study.arms, *columns, strict=True)], numbers,
    )  # fmt: skip


def table_a7(study: Study, fits: CallFits) -> Table:
    """Probabilities of the two extensive margins."""
    columns, numbers = [], {}
    for key in ("any_engagement", "any_second"):
        post, printed = getattr(fits, key), study.printed["table_A7"][key]
        pairs = [(post.success_prob, printed["mean"]), (post.prob_optimal, printed["prob_optimal"])]
        columns += [list(map(percent, part)) for pair in pairs for part in pair]
        numbers[key] = {
            "mean": post.success_prob.tolist(), "prob_optimal": post.prob_optimal.tolist()
        }  # fmt: skip
    return Table(
        "A.7", "Extensive margin for call engagement: probability of engagement", IN_KIND,
        "As for Table A.6. The shares come out near the printed ones since the simulated parents "
        "differ as much as the published intervals imply: were a parent's sets independent, "
        "nearly half of them would engage at least once.",
        ["", "Any engagement", "printed", "Prob. highest", "printed", "One second", "printed",
         "Prob. highest", "printed"],
        [*zip(study.arms, *columns, strict=True)], numbers,
    )  # fmt: skip


def _by_arm(study: Study, *waves: str, **columns: pl.Expr) -> pl.DataFrame:
    rows = study.called(*waves).group_by("arm").agg(**columns)
    return pl.DataFrame({"arm": study.arms}).join(rows, on="arm", how="left", maintain_order="left")
