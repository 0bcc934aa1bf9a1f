"""Hamiltonian sampling of (beta, log kappa), cluster effects integrated out: extra `bayes`."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from wavewise.errors import UnavailableError
from wavewise.estimate.binomial_diagnostics import BinomialDiagnostics
from wavewise.estimate.binomial_importance import PointFit, quadrature_error
from wavewise.estimate.binomial_posterior import LogPosterior
from wavewise.results import FloatArray

__all__ = ["available", "fit_nuts"]

_CHAINS, _WARM = 4, 1000


def fit_nuts(posterior: LogPosterior, n_draws: int, rng: np.random.Generator) -> PointFit:
    """Posterior by the no-U-turn sampler of nutpie, with our log density and gradient.

    Raises
    ------
    UnavailableError
        nutpie is not installed.
    """
    nutpie = _nutpie()
    n_dims = posterior.counts.n_arms + 1

    def log_density(point: FloatArray) -> tuple[float, FloatArray]:
        slopes = posterior.slopes(np.asarray(point))
        return slopes.value, slopes.grad

    model = nutpie.compiled_pyfunc.from_pyfunc(
        n_dims,
        lambda: log_density,
        lambda *_: lambda point: {"point": np.asarray(point)},
        [np.dtype("float64")],
        [(n_dims,)],
        ["point"],
    )
    trace = nutpie.sample(
        model,
        draws=max(1000, -(-n_draws // _CHAINS)),
        tune=_WARM,
        chains=_CHAINS,
        cores=1,
        seed=int(rng.integers(2**31)),
        progress_bar=False,
    )
    chains = np.asarray(trace.posterior["point"].values)
    points = chains.reshape(-1, n_dims)
    weights = np.full(points.shape[0], 1 / points.shape[0])
    ess, r_hat = _mixing(chains)
    diagnostics = BinomialDiagnostics(
        method="nuts",
        n_points=points.shape[0],
        ess_share=ess / points.shape[0],
        pareto_k=None,
        n_nodes=0,
        step_sd=posterior.coarse,
        quadrature_error=quadrature_error(posterior, points, weights),
        n_broken=int((~np.isfinite(points)).sum()),
        r_hat=r_hat,
    )
    return PointFit(points, weights, diagnostics, posterior, np.zeros(n_dims - 1))


def available() -> bool:
    """Whether the sampler is installed."""
    return find_spec("nutpie") is not None


def _nutpie() -> Any:
    try:
        return import_module("nutpie")  # optional, and slow to load
    except ImportError:
        raise UnavailableError(
            "NUTS: found no nutpie; needed it for method='nuts'; install the extra 'bayes', or "
            "use method='importance'"
        ) from None


def _mixing(chains: FloatArray) -> tuple[float, float]:
    """Smallest effective sample size and largest split R-hat over coordinates.

    Geyer's initial positive sequence on the split chains' mean autocorrelation.
    """
    n = chains.shape[1] // 2
    halves = np.concatenate([chains[:, :n], chains[:, n : 2 * n]])
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    total = within * (n - 1) / n + halves.mean(axis=1).var(axis=0, ddof=1)
    r_hat = float(np.sqrt(total / within).max())
    centred = halves - halves.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, 2 * n, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum, axis=1)[:, :n].mean(axis=0) / n
    rho = 1 - (within - covariance) / total
    pairs = rho[: n // 2 * 2].reshape(n // 2, 2, -1).sum(axis=1)
    positive = np.minimum.accumulate(pairs > 0, axis=0)
    time = np.maximum(-1 + 2 * (pairs * positive).sum(axis=0), 1.0)
    return float((halves.shape[0] * n / time).min()), r_hat
