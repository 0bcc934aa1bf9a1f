"""Table 5: unweighted and adaptively weighted coefficients, and the winner's intervals."""

from dataclasses import dataclass

import numpy as np
from fits import SETS, CallFits, Study
from layout import PARTLY, Table, differing, interval

import wavewise as ww

HALF_WIDTH = 3.919928  # standard errors in a 95 % interval
HALF_CENT = 0.0050001
ROUNDED = 0.0151  # two ends and a middle, each printed with two decimals
METHODS = ("projection", "hybrid", "conditional")


@dataclass(frozen=True)
class Column:
    """Coefficients of one column, with their covariance."""

    mean: np.ndarray
    cov: np.ndarray

    def shown(self) -> list[str]:
        """Estimates with normal intervals."""
        half = 0.5 * HALF_WIDTH * np.sqrt(np.diag(self.cov))
        return [interval(m, m - h, m + h) for m, h in zip(self.mean, half, strict=True)]


def columns(study: Study, fits: CallFits) -> dict[str, Column]:
    """The three columns of panel A."""
    rows = study.called()
    given = {
        "outcome": rows["engaged"].to_numpy(),
        "arm": rows["arm"].to_list(),
        "propensity": rows["propensity"].to_numpy(),
        "family": "binomial",
        "trials": np.full(rows.height, SETS),
        "arms": study.arms,
    }
    plain = ww.estimate.weighted_m(**given, stabilizer="none")
    weighted = ww.estimate.weighted_m(**given)
    draws = fits.both.draws
    return {
        "with_school": Column(draws.mean(axis=0), np.cov(draws.T)),
        "without_school": Column(plain.arm_estimate, plain.arm_cov),
        "weighted": Column(weighted.arm_estimate, weighted.arm_cov),
    }


def from_printed(printed: dict) -> "ww.estimate.Winner":
    """The projection interval from the figures that panel A prints."""
    half = (np.array(printed["high"]) - np.array(printed["low"])) / HALF_WIDTH
    return ww.estimate.winner(printed["mean"], half**2, "projection")


def table_5(study: Study, fits: CallFits) -> Table:
    """Panels A and B, and the two intervals that the paper does not print."""
    ours, printed = columns(study, fits), study.printed["table_5"]
    cells, numbers, faults = [], {}, []
    for key, column in ours.items():
        theirs = printed[key]
        found = {m: ww.estimate.winner(column.mean, column.cov, m) for m in METHODS}
        again = from_printed(theirs)
        if key != "with_school":  # these follow from totals by arm and wave
            faults += differing(f"Table 5, {key}", column.mean, theirs["mean"], HALF_CENT)
        faults += differing(
            f"Table 5, panel B from panel A, {key}", again.conf, theirs["winner"][1:], ROUNDED
        )
        winners = [interval(w.estimate, *w.conf) for w in found.values()]
        cells.append([*column.shown(), "", *winners, ""])
        known = [*map(interval, theirs["mean"], theirs["low"], theirs["high"])]
        from_theirs = interval(again.estimate, *again.conf)
        cells.append([*known, "", interval(*theirs["winner"]), "", "", from_theirs])
        numbers[key] = {
            "mean": column.mean.tolist(), "cov": column.cov.tolist(),
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
