"""Table 5: unweighted and adaptively weighted coefficients, and the winner's intervals."""

import numpy as np
from fits import SETS, CallFits, Study
from layout import PARTLY, Table, differing, interval

import wavewise as ww

HALF_WIDTH = 3.919928  # standard errors in a 95 % interval
HALF_CENT = 0.0050001
ROUNDED = 0.0151  # two ends and a middle, each printed with two decimals
METHODS = ("projection", "hybrid", "conditional")


KEYS = {"with_school": "with_school", "Unweighted": "without_school", "Weighted": "weighted"}


def columns(study: Study, fits: CallFits) -> "ww.estimate.WinnerTable":
    """The three columns of panel A, and panel B by three kinds of interval."""
    rows, draws = study.called(), fits.both.draws
    return ww.estimate.adaptive_comparison(
        rows["engaged"].to_numpy(),
        rows["arm"].to_list(),
        rows["propensity"].to_numpy(),
        family="binomial",
        trials=np.full(rows.height, SETS),
        arms=study.arms,
        others={"with_school": (draws.mean(axis=0), np.cov(draws.T))},
    )


def from_printed(printed: dict) -> "ww.estimate.Winner":
    """The projection interval from the figures that panel A prints."""
    half = (np.array(printed["high"]) - np.array(printed["low"])) / HALF_WIDTH
    return ww.estimate.winner(printed["mean"], half**2, method="projection")


def table_5(study: Study, fits: CallFits) -> Table:
    """Panels A and B, and the two intervals that the paper does not print."""
    ours, printed = columns(study, fits), study.printed["table_5"]
    cells, numbers, faults = [], {}, []
    for column in ours.columns:
        key = KEYS[column.label]
        theirs = printed[key]
        found = {m: column.winners[m] for m in METHODS}
        again = from_printed(theirs)
        if key != "with_school":  # these follow from totals by arm and wave
            faults += differing(f"Table 5, {key}", column.estimate, theirs["mean"], HALF_CENT)
        faults += differing(
            f"Table 5, panel B from panel A, {key}", again.conf, theirs["winner"][1:], ROUNDED
        )
        winners = [interval(w.estimate, *w.conf) for w in found.values()]
        shown = map(interval, column.estimate, column.conf_low, column.conf_high)
        cells.append([*shown, "", *winners, ""])
        known = [*map(interval, theirs["mean"], theirs["low"], theirs["high"])]
        from_theirs = interval(again.estimate, *again.conf)
        cells.append([*known, "", interval(*theirs["winner"]), "", "", from_theirs])
        numbers[key] = {
            "mean": column.estimate.tolist(), "std_error": column.std_error.tolist(),
            "winner": {m: w.to_dict() for m, w in found.items()},
            "projection_from_printed": list(again.conf),
        }  # fmt: skip
    names = [*study.arms, "Winner", *METHODS, "projection from printed A"]
    return Table(
        "5", "Adaptive weights and the winner's curse", PARTLY,
        "Panel B follows from panel A's printed figures: it is the projection interval, 2.631 "
        "standard errors for six arms. Estimates without school effects, weighted and not, follow "
        "from totals by arm and wave, and agree to every digit. Their intervals are in kind, since "
        "who engaged is simulated, and so is column 1: the posterior under the model's flat "
        "prior, the Bayesian twin of the paper's mixed model. Weights are one over the root of the "
        "stored propensity; they move T2A most, which got 14 phones in wave 2.",
        ["", "With school RE", "printed", "Without", "printed", "Weighted", "printed"],
        [*zip(names, *cells, strict=True)], numbers, faults,
    )  # fmt: skip
