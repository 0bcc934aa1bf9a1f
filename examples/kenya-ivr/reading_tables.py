"""Tables 4 and A.4: reading fluency."""

from fits import ReadingFits, Study
from layout import IN_KIND, PARTLY, Table, differing, interval, percent


def table_4(study: Study, fits: ReadingFits) -> Table:
    """Effects on reading scores, by arm and pooled, in two samples."""
    columns, numbers, faults = [], {}, []
    for key in ("balanced", "unbalanced"):
        post, pooled = getattr(fits, key), getattr(fits, f"{key}_pooled")
        printed = study.printed["table_4"][key]
        terms, one = post.to_frame(), pooled.to_frame()
        keys = ("mean", "cred_low", "cred_high")
        sizes = [post.n_scores, post.n_units]
        shown = [interval(*row) for row in terms.select(keys).iter_rows()]
        shown += [interval(*row) for row in one.select(keys).iter_rows()]
        columns.append([*shown, *(f"{n:,}" for n in sizes)])
        known = [*map(interval, printed["mean"], printed["low"], printed["high"])]
        known += map(
            interval, printed["pooled_mean"], printed["pooled_low"], printed["pooled_high"]
        )
        wanted = [printed["n_observations"], printed["n_students"]]
        columns.append([*known, *(f"{n:,}" for n in wanted)])
        faults += differing(f"Table 4, {key}", sizes, wanted, 0)
        numbers[key] = {
            "terms": terms.to_dicts(), "pooled": one.to_dicts(), "n_scores": sizes[0],
            "n_students": sizes[1],
        }  # fmt: skip
    names = ["(Constant)", *study.arms, "(Constant)", "Pooled treatment"]
    raw, scaled = (float(x.cluster_sd_draws.mean()) for x in (fits.unbalanced, fits.scaled))
    numbers["cluster_sd"] = {"study priors": raw, "scaled priors": scaled}
    return Table(
        "4", "ORF scores estimates, correct words per minute", PARTLY,
        "The numbers of observations and students agree; scores are drawn with the printed "
        "effects as the truth, so that estimates agree within sampling error only. Priors as in "
        "the study: half-normal(0, 1) on standard deviations in words. It pulls the one between "
        f"schools down to {raw:.1f}; with a prior scaled to the scores it is {scaled:.1f} (the "
        "simulated schools differ by 9).",
        ["", "Balanced", "printed", "Unbalanced", "printed"],
        [*zip([*names, "Num. obs.", "Num. students"], *columns, strict=True)], numbers, faults,
    )  # fmt: skip


def table_a4(study: Study, fits: ReadingFits) -> Table:
    """Regret and probability of the highest gain."""
    columns, numbers = [], {}
    for key in ("balanced", "unbalanced"):
        post, printed = getattr(fits, key), study.printed["table_A4"][key]
        columns.append([f"{x:.3f}" for x in post.policy_regret])
        columns.append([f"{x:.3f}" for x in printed["policy_regret"]])
        columns.append([percent(x) for x in post.prob_optimal])
        columns.append([percent(x) for x in printed["prob_optimal"]])
        numbers[key] = {
            "policy_regret": post.policy_regret.tolist(),
            "prob_optimal": post.prob_optimal.tolist(),
        }
    return Table(
        "A.4", "Posterior regret and probability of highest ORF score gains", IN_KIND,
        "The arms' true gains lie within one word, the posterior standard deviations are about "
        "one word: which arm looks best is mostly chance, here as in the paper.",
        ["", "Regret, balanced", "printed", "Prob. highest", "printed", "Regret, unbalanced",
         "printed", "Prob. highest", "printed"],
        [*zip(study.arms, *columns, strict=True)], numbers,
    )  # fmt: skip
