"""How a posterior of the hierarchical binomial model was reached, and the gates that it passed."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from wavewise.errors import EstimationError
from wavewise.results import CheckResult

__all__ = ["LEAST_ESS", "MOST_PARETO_K", "BinomialDiagnostics", "refused"]

LEAST_ESS, MOST_PARETO_K, MOST_QUADRATURE_ERROR, MOST_R_HAT = 300.0, 0.7, 0.05, 1.02
# where few points were asked for, this share of them instead of LEAST_ESS
_FEW_POINTS, _SHARE_OF_FEW = 500, 0.6


@dataclass(frozen=True)
class BinomialDiagnostics:
    """How the posterior was reached, and how well.

    Parameters
    ----------
    method : {"importance", "nuts"}
    n_points : int
        Points of (beta, log kappa) at which the posterior was computed, or draws.
    ess_share : float
        Equally good number of independent points, over `n_points`.
    pareto_k : float or None
        Shape of the weights' upper tail (0.7 or less is good); None for NUTS.
    n_nodes : int
        Quadrature nodes in each cluster's effect, at the posterior mode.
    step_sd : float
        Distance of the nodes, in posterior standard deviations of the narrowest cluster.
    quadrature_error : float
        Largest change of the log posterior, up to a constant, when the step is halved and the
        nodes reach further.
    n_broken : int
        Points at which the arithmetic broke down.
    n_refinements : int
        Further attempts after the first.
    failed : tuple of str
        Gates that earlier attempts did not pass.
    r_hat : float or None
        Of NUTS (1.02 or less is good).
    """

    method: str
    n_points: int
    ess_share: float
    pareto_k: float | None
    n_nodes: int
    step_sd: float
    quadrature_error: float
    n_broken: int = 0
    n_refinements: int = 0
    failed: tuple[str, ...] = ()
    r_hat: float | None = None

    @property
    def ess(self) -> float:
        """Equally good number of independent points."""
        return self.ess_share * self.n_points

    @property
    def least_ess(self) -> float:
        """Equally good number of points that is needed: 300, of fewer than 500 points 60%."""
        few = self.n_points < _FEW_POINTS
        return _SHARE_OF_FEW * self.n_points if few else LEAST_ESS

    @cached_property
    def gates(self) -> tuple[dict[str, Any], ...]:
        """Each gate: its name, what was found, what was needed, whether it was passed."""
        rows = [
            ("finite values", self.n_broken, "0 points that are not", self.n_broken == 0),
            (
                "effective sample size",
                round(self.ess, 1),
                f"{self.least_ess:g} or more",
                self.ess >= self.least_ess,
            ),
            (
                "quadrature step",
                self.quadrature_error,
                f"an error of {MOST_QUADRATURE_ERROR:g} or less",
                self.quadrature_error <= MOST_QUADRATURE_ERROR,
            ),
        ]
        if self.pareto_k is not None:
            good = self.pareto_k <= MOST_PARETO_K
            rows.append(("Pareto k", self.pareto_k, f"{MOST_PARETO_K:g} or less", good))
        if self.r_hat is not None:
            rows.append(("R-hat", self.r_hat, f"{MOST_R_HAT:g} or less", self.r_hat <= MOST_R_HAT))
        names = ("gate", "found", "needed", "passed")
        return tuple(dict(zip(names, row, strict=True)) for row in rows)

    @property
    def faults(self) -> tuple[str, ...]:
        """Gates that are not passed, with the numbers."""
        return tuple(
            f"{row['gate']}: {row['found']:.3g}, needed {row['needed']}"
            for row in self.gates
            if not row["passed"]
        )

    def check(self) -> CheckResult:
        """The gates as one check."""
        wrong = self.faults
        good = f"all passed with {self.n_points:,} points by {self.method}"
        return CheckResult(
            name="gates of the computation",
            scope="the whole posterior",
            passed=not wrong,
            text=f"Gates: {'; '.join(wrong) if wrong else good}.",
            table=self.gates,
        )

    def to_dict(self) -> dict[str, Any]:
        """The diagnostics as plain values, for JSON."""
        plain = {part.name: getattr(self, part.name) for part in fields(self)}
        return {**plain, "failed": list(self.failed), "ess": self.ess}


def refused(diagnostics: BinomialDiagnostics, advice: str) -> EstimationError:
    """The error that names the gates which failed."""
    gates = "; ".join(diagnostics.failed + diagnostics.faults)
    return EstimationError(
        f"hierarchical binomial model by {diagnostics.method}: found gates that fail ({gates}); "
        f"needed all passed; {advice}"
    )
