"""A fixed number of looks: O'Brien-Fleming bounds, waves combined by their planned sizes."""

from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from wavewise.estimate.adaptive.betting import Cells
from wavewise.shared.results import FloatArray

__all__ = ["obrien_fleming", "repeated_intervals", "scores_of_waves"]

_NODES = 128  # of the quadrature, exact to 1e-9 for up to a hundred looks
_SHRUNK = 2.0  # units of the wave's common variance that an arm's own one counts with
_MOST_HALVINGS = 100

# z of every wave for one value of the contrast per look: (n_looks,) to (n_looks, n_waves)
WaveScores = Callable[[FloatArray], FloatArray]


def obrien_fleming(information: FloatArray, size: float) -> FloatArray:
    """Two-sided bounds for z at each look: ``C / sqrt(t)``, crossed with probability `size`.

    Notes
    -----
    Under no effect ``sqrt(t_k) z_k`` is Brownian motion at t_k, the bound in its units constant.
    Its density within the bounds is carried from look to look by Gauss-Legendre quadrature
    (Armitage, McPherson and Rowe 1969; Jennison and Turnbull 2000, chapter 19).
    """
    steps = np.diff(np.append(0.0, information / information[-1]))
    node, weight = np.polynomial.legendre.leggauss(_NODES)

    def crossed(bound: float) -> float:
        x = node * bound
        density = _normal(x, steps[0])
        for step in steps[1:]:
            density = (_normal(x[:, None] - x, step) * (weight * bound)) @ density
        return float(1 - size - (weight * bound) @ density)

    bound = optimize.brentq(crossed, 0.1, 12.0, xtol=1e-10)
    return np.asarray(bound / np.sqrt(np.cumsum(steps)))


def _normal(x: FloatArray, variance: float) -> FloatArray:
    return np.asarray(np.exp(-(x**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance))


def repeated_intervals(
    scores: WaveScores, planned: FloatArray, bound: FloatArray, reach: float
) -> tuple[FloatArray, FloatArray]:
    """Estimates (n_waves,) and intervals (n_waves, 2) at the looks that have bounds.

    Notes
    -----
    ``Z_k(delta) = sum_{w <= k} sqrt(n_w) z_w(delta) / sqrt(sum_{w <= k} n_w)`` with the planned
    sizes n_w is standard normal where delta is true, whatever waves before said of wave w's shares;
    the interval holds the delta with ``|Z_k|`` below the bound (Jennison and Turnbull 1989;
    Lehmacher and Wassmer 1999). The estimate has ``Z_k = 0``. `reach` is the largest delta tried.
    """
    n_waves = bound.size
    weight = np.sqrt(planned[:n_waves])
    scale = np.sqrt(np.cumsum(planned))[:n_waves]
    looks = np.arange(n_waves)

    def combined(delta: FloatArray) -> FloatArray:
        return np.asarray((np.cumsum(scores(delta) * weight, axis=1)[looks, looks]) / scale)

    def root(target: FloatArray) -> FloatArray:
        low, high = np.full(n_waves, -reach), np.full(n_waves, reach)
        beyond = combined(low) < target, combined(high) > target
        for _ in range(_MOST_HALVINGS):
            half = (low + high) / 2
            larger = combined(half) > target
            low, high = np.where(larger, half, low), np.where(larger, high, half)
            if (high - low <= 1e-12 + 1e-12 * np.abs(half)).all():
                break
        found = np.where(beyond[0], -np.inf, np.where(beyond[1], np.inf, (low + high) / 2))
        return np.asarray(found)

    return root(np.zeros(n_waves)), np.stack([root(bound), root(-bound)], axis=1)


def scores_of_waves(cells: Cells, arms: tuple[int, ...], is_binary: bool) -> WaveScores:
    """Z of each wave for a mean (one arm) or a difference (second less first).

    Notes
    -----
    Binary outcomes: the score statistic of Miettinen and Nurminen (1985), by strata, whose variance
    is that of the rates nearest to those found which differ by delta; for one arm Wilson's. Others:
    Welch's t with Satterthwaite's degrees of freedom, turned into z at the same tail; each arm's
    variance counts with two further units of the variance within all arms of the wave, so that
    waves with one unit of an arm say something. A wave without both arms has z = 0.
    """
    n, total, squares = (one[:, list(arms)] for one in cells.sums())
    told = (n > 0).all(axis=1)
    size = np.where(told, cells.sums()[0].sum(axis=1), 0.0)
    of_wave = np.bincount(cells.wave, size)
    part = np.divide(size, of_wave[cells.wave], out=np.zeros(size.size), where=told)
    n = np.where(told[:, None], n, 1.0)
    mean = np.where(told[:, None], total / n, 0.0)
    sign = np.array([-1.0, 1.0]) if len(arms) == 2 else np.array([1.0])
    found = np.bincount(cells.wave, part * (mean @ sign))
    lacking = of_wave == 0
    starts = np.searchsorted(cells.wave, np.arange(found.size))
    if is_binary:
        variance_at = _score_variance(n, mean)
        df = np.full(found.size, np.inf)
    else:
        variance, df = _welch(cells, n, np.maximum(squares - n * mean**2, 0.0), part)
        variance_at = lambda _: variance  # noqa: E731
        lacking |= np.bincount(cells.wave, part**2 * variance) == 0  # outcomes do not vary

    def scores(delta: FloatArray) -> FloatArray:
        noise = np.atleast_2d(part**2 * variance_at(delta[:, None]))
        per_wave = np.add.reduceat(noise, starts, axis=1)
        gap = found - delta[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(per_wave > 0, gap / np.sqrt(per_wave), np.sign(gap) * np.inf)
        z = np.where(lacking | (gap == 0), 0.0, z)
        if not is_binary:
            z = -np.sign(z) * special.ndtri(special.stdtr(df, -np.abs(z)))
        return np.asarray(np.clip(z, -35, 35))

    return scores


def _welch(
    cells: Cells, n: FloatArray, squares: FloatArray, part: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Variance of each block's mean or difference, and degrees of freedom of each wave."""
    numbers, total, all_squares = cells.sums()
    within = all_squares - np.divide(total**2, numbers, out=np.zeros_like(total), where=numbers > 0)
    spare = np.bincount(cells.wave, np.maximum(numbers - 1, 0).sum(axis=1))
    common = np.bincount(cells.wave, np.maximum(within, 0).sum(axis=1)) / np.maximum(spare, 1)
    of_arm = (squares + _SHRUNK * common[cells.wave, None]) / (n - 1 + _SHRUNK)
    noise = of_arm / n
    variance = noise.sum(axis=1)
    top = np.bincount(cells.wave, part**2 * variance) ** 2
    bottom = np.bincount(cells.wave, part**4 * (noise**2 / (n - 1 + _SHRUNK)).sum(axis=1))
    df = np.divide(top, bottom, out=np.ones_like(top), where=bottom > 0)
    return variance, np.clip(df, 1.0, np.maximum(spare, 1.0))


def _score_variance(n: FloatArray, mean: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Variance of each block's difference or mean where delta is true, by delta."""
    if n.shape[1] == 1:
        return lambda delta: np.clip(delta * (1 - delta), 0, None) / n[:, 0]

    def of_difference(delta: FloatArray) -> FloatArray:
        first, second = nearest_rates(n, mean, delta)
        plain = first * (1 - first) / n[:, 0] + second * (1 - second) / n[:, 1]
        return np.asarray(plain * n.sum(axis=1) / (n.sum(axis=1) - 1))

    return of_difference


def nearest_rates(
    n: FloatArray, mean: FloatArray, delta: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Maximum likelihood rates of two arms whose difference (second less first) is delta.

    The root of a cubic in closed form (Miettinen and Nurminen 1985, appendix; Farrington and
    Manning 1990).
    """
    ratio = n[:, 0] / n[:, 1]
    a = 1 + ratio
    b = -(1 + ratio + mean[:, 1] + ratio * mean[:, 0] + delta * (ratio + 2))
    c = delta**2 + delta * (2 * mean[:, 1] + ratio + 1) + mean[:, 1] + ratio * mean[:, 0]
    d = -mean[:, 1] * delta * (1 + delta)
    v = b**3 / (27 * a**3) - b * c / (6 * a**2) + d / (2 * a)
    root = np.sqrt(np.maximum(b**2 / (9 * a**2) - c / (3 * a), 0.0))
    u = np.where(v < 0, -root, root)
    cosine = np.clip(np.divide(v, u**3, out=np.ones_like(v), where=u != 0), -1, 1)
    angle = (np.pi + np.arccos(cosine)) / 3
    low, high = np.maximum(delta, 0.0), np.minimum(1 + delta, 1.0)
    second = np.clip(2 * u * np.cos(angle) - b / (3 * a), low, high)
    return np.clip(second - delta, 0.0, 1.0), second
