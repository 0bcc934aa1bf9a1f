"""Posterior of the standard deviations: importance sampling with gates, else slice sampling."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from wavewise.errors import EstimationError
from wavewise.estimate.normal.marginal import SdPosterior
from wavewise.estimate.numerics.importance import (
    Peak,
    Proposal,
    Weighted,
    find_peak,
    importance,
    pareto_k,
    quasi_random,
    split_t,
    systematic,
)
from wavewise.estimate.numerics.slice_sampler import kernels, slice_sample
from wavewise.shared.results import FloatArray, IntArray, Record

__all__ = ["METHODS", "Diagnostics", "fit_sds", "student_t_draws"]

Method = Literal["auto", "importance", "slice"]
METHODS: Final = ("auto", "importance", "slice")
LEAST_ESS: Final = 500.0
MOST_PARETO_K: Final = 0.7
MOST_R_HAT: Final = 1.02
_POINTS: Final = (2048, 8192, 32768)
_CHAINS, _WARM = 64, 60
_GOOD_SHARE: Final = 0.3
_KERNELS: Final = 128
_START = np.array([[0.3, 0.6, 0.5, 0.1]])
_FITTED_EXACTLY = 1e-5


@dataclass(frozen=True)
class Diagnostics(Record):
    """How the posterior of the standard deviations was reached, and how well."""

    method: str
    n_points: int  # Points or draws of the standard deviations.
    ess: float  # Equally good number of independent points.
    ess_share: float  # `ess` over `n_points`.
    # Shape of the weights' upper tail (below 0.7 is good); None for slice sampling.
    pareto_k: float | None
    split_r_hat: float | None = None  # Of slice sampling (1.02 or less is good).
    # Further attempts after the first: other coordinates, then more points.
    n_refinements: int = 0
    n_broken: int = 0  # Points at which the arithmetic broke down.
    # Gates that attempts in the best coordinates did not pass before the last one.
    failed: tuple[str, ...] = ()
    # Equally good number of draws under a Student t prior on the effects (2,000 is needed); None
    # with other priors, whose draws are exact given the standard deviations.
    effect_ess: float | None = None

    def faults(self) -> tuple[str, ...]:
        """Gates that are not passed, with the numbers."""
        found = []
        if self.n_broken:
            found.append(f"finite values: {self.n_broken} of {self.n_points} points are not")
        if not self.ess >= LEAST_ESS:
            found.append(f"effective sample size: {self.ess:.0f}, needed {LEAST_ESS:.0f}")
        if self.pareto_k is not None and not self.pareto_k <= MOST_PARETO_K:
            found.append(f"Pareto k: {self.pareto_k:.2f}, needed {MOST_PARETO_K} or less")
        if self.split_r_hat is not None and not self.split_r_hat <= MOST_R_HAT:
            found.append(f"split R-hat: {self.split_r_hat:.3f}, needed {MOST_R_HAT} or less")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The diagnostics as plain values, for JSON."""
        return {**vars(self), "failed": list(self.failed)}


@dataclass(frozen=True, eq=False)
class SdFit:
    """Points of the four standard deviations and which of them each draw takes."""

    sds: FloatArray  # (n_points, 4): In standard deviations of the score.
    index: IntArray  # (n_draws,): Point of each draw, never decreasing.
    diagnostics: Diagnostics


@dataclass(frozen=True, eq=False)
class _Attempt:
    """One importance sample and what it was drawn in and from."""

    posterior: SdPosterior
    proposal: Proposal
    found: Weighted

    @classmethod
    def of(
        cls, posterior: SdPosterior, proposal: Proposal, n_points: int, rng: np.random.Generator
    ) -> "_Attempt":
        """Points from the proposal, weighted."""
        uniform = quasi_random(n_points, proposal.centre.size, rng)
        return cls(posterior, proposal, importance(posterior.log_density, proposal, uniform))

    def again(self, n_points: int, rng: np.random.Generator) -> "_Attempt":
        """Points from kernels at this attempt's weighted points."""
        centres = self.found.x[systematic(self.found.weights, _KERNELS, rng)]
        proposal = kernels(centres, self.found.covariance_root())
        return self.of(self.posterior, proposal, n_points, rng)

    @property
    def good(self) -> bool:
        """Whether no other coordinates need be tried."""
        return self.found.ess_share >= _GOOD_SHARE and not _of_importance(self.found).faults()


def fit_sds(
    posterior: SdPosterior, n_draws: int, method: Method, rng: np.random.Generator
) -> SdFit:
    """Equally weighted draws of the standard deviations from their exact marginal posterior."""
    best, n_tried = _best_coordinates(posterior, rng)
    if method == "slice":
        return _slices(best, n_draws, rng, ())
    best, diagnostics = _refined(best, n_tried, rng)
    if not diagnostics.faults():
        index = systematic(best.found.weights, n_draws, rng)
        return SdFit(best.posterior.sds(best.found.x), index, diagnostics)
    if method == "importance":
        raise _refused(diagnostics, "use method='auto', which then samples by slices")
    return _slices(best, n_draws, rng, diagnostics.failed + diagnostics.faults())


def _best_coordinates(posterior: SdPosterior, rng: np.random.Generator) -> tuple[_Attempt, int]:
    """The first good attempt over coordinates, else the one of the largest sample; and how many."""
    tried: list[_Attempt] = []
    for variant in posterior.variants:
        proposal = split_t(variant.log_density, _peak(variant))
        tried.append(_Attempt.of(variant, proposal, _POINTS[0], rng))
        if tried[-1].good:
            break
    best = max(tried, key=lambda a: a.found.ess_share if a.found.usable else -1.0)
    return best, len(tried)


def _peak(posterior: SdPosterior) -> Peak:
    peak = find_peak(posterior.log_density, posterior.coordinates(_START)[0])
    noise_sd = float(posterior.sds(peak.mode[None, :])[0, 2])
    if noise_sd < _FITTED_EXACTLY:
        raise EstimationError(
            f"noise: found a standard deviation of {noise_sd:.1g} of the score's, so that the "
            "scores are fitted exactly; needed scores that vary within units and arms"
        )
    return peak


def _refined(
    best: _Attempt, n_tried: int, rng: np.random.Generator
) -> tuple[_Attempt, Diagnostics]:
    """Ever more points, each time from kernels at the last ones, until the gates are passed."""
    diagnostics = _of_importance(best.found, n_tried - 1)
    for n_points in _POINTS[1:]:
        if not diagnostics.faults() or not best.found.usable:
            break
        best = best.again(n_points, rng)
        failed = diagnostics.failed + diagnostics.faults()
        diagnostics = _of_importance(best.found, diagnostics.n_refinements + 1, failed)
    return best, diagnostics


def _of_importance(
    found: Weighted, n_refinements: int = 0, failed: tuple[str, ...] = ()
) -> Diagnostics:
    return Diagnostics(
        method="importance",
        n_points=found.weights.size,
        ess=found.ess,
        ess_share=found.ess_share,
        pareto_k=found.pareto_k,
        n_refinements=n_refinements,
        n_broken=found.n_broken,
        failed=failed,
    )


def _slices(
    start: _Attempt, n_draws: int, rng: np.random.Generator, failed: tuple[str, ...]
) -> SdFit:
    n_kept = max(400, -(-n_draws // _CHAINS))
    chains = slice_sample(
        start.posterior.log_density,
        start.proposal,
        n_chains=_CHAINS,
        n_warm=_WARM,
        n_kept=n_kept,
        rng=rng,
    )
    n_points = n_kept * _CHAINS
    diagnostics = Diagnostics(
        method="slice",
        n_points=n_points,
        ess=chains.ess,
        ess_share=chains.ess / n_points,
        pareto_k=None,
        split_r_hat=chains.split_r_hat,
        failed=failed,
    )
    if diagnostics.faults():
        raise _refused(diagnostics, "give narrower priors, or fewer arms and periods")
    index = systematic(np.full(n_points, 1.0 / n_points), n_draws, rng)
    return SdFit(start.posterior.sds(chains.draws), index, diagnostics)


def _refused(diagnostics: Diagnostics, advice: str) -> EstimationError:
    gates = "; ".join(diagnostics.failed + diagnostics.faults())
    return EstimationError(
        f"posterior of the standard deviations by {diagnostics.method}: found gates that fail "
        f"({gates}); needed all passed; {advice}"
    )


# Student t priors on the arm effects: the flat posterior, weighted by the prior.

LEAST_EFFECT_ESS = 2000.0
_TRIED = (80_000, 400_000)  # flat draws, then more
_MOST_PARETO_K = 0.7

Draw = Callable[[int], tuple[FloatArray, IntArray]]


def student_t_weights(effects: FloatArray, scale: float, df: float) -> FloatArray:
    """Log of the prior density at each draw's effects, (n_draws,), up to a constant."""
    return np.asarray(-(df + 1) / 2 * np.log1p((effects / scale) ** 2 / df).sum(axis=1))


def student_t_draws(
    draw: Draw, n_arms: int, n_draws: int, scale: float, df: float, rng: np.random.Generator
) -> tuple[FloatArray, IntArray, float]:
    """Equally weighted draws of the coefficients under a Student t prior on the arm effects.

    Notes
    -----
    Posterior under prior p is proportional to the flat posterior times p(effects). The weights are
    bounded, since the t density is, so that they can be few good ones but never wild. Standard
    deviations and effects are weighted together.
    """
    for n_tried in _TRIED:
        coefficients, index = draw(-(-n_tried // n_draws) * n_draws)
        log_weights = student_t_weights(coefficients[:, 1 : 1 + n_arms], scale, df)
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        ess, k = float(1 / (weights @ weights)), pareto_k(log_weights)
        if ess >= LEAST_EFFECT_ESS and k <= _MOST_PARETO_K:
            picked = systematic(weights, n_draws, rng)
            return coefficients[picked], index[picked], ess
    raise EstimationError(
        f"Student t prior on the effects: found draws that are as good as {ess:.0f} (Pareto k "
        f"{k:.2f}); needed {LEAST_EFFECT_ESS:.0f} and {_MOST_PARETO_K} or less; the prior is far "
        "from the data: give it a larger effect_sd, or leave effect_df out for a normal one"
    )
