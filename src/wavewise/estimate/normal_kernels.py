"""A proposal that follows any shape: Student t kernels at weighted points of an earlier one."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from wavewise.results import FloatArray

__all__ = ["Kernels", "kernels"]

_DF = 5.0
# of four kernels three follow the shape and one covers the tails
_WIDTHS = np.array([0.6, 0.6, 0.6, 2.0])
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Kernels:
    """Equal mixture of products of Student t along common axes.

    Parameters
    ----------
    centres : (n_kernels, n_dims) array of float
    root : (n_dims, n_dims) array of float
        Lower triangle; its columns are the axes, as long as the target is wide.
    """

    centres: FloatArray
    root: FloatArray

    @property
    def centre(self) -> FloatArray:
        """Mean of the mixture, (n_dims,)."""
        return np.asarray(self.centres.mean(axis=0))

    @property
    def axes(self) -> FloatArray:
        """Directions, (n_dims, n_dims) by row, as long as the target is wide."""
        return np.asarray(self.root.T)

    @property
    def widths(self) -> FloatArray:
        """Width of each kernel in units of the axes, (n_kernels,)."""
        return np.asarray(np.resize(_WIDTHS, self.centres.shape[0]))

    def points(self, uniform: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points (n_points, n_dims) from uniform numbers, and their log density up to a constant.

        Every kernel gets the same number of points, or one more.
        """
        n_points = uniform.shape[0]
        which = np.arange(n_points) % self.centres.shape[0]
        z = special.stdtrit(_DF, uniform) * self.widths[which, None]
        x = self.centres[which] + (z[:, None, :] * self.root).sum(axis=2)
        parts = [self._log_density(x[i : i + _CHUNK]) for i in range(0, n_points, _CHUNK)]
        return x, np.concatenate(parts)

    def _log_density(self, x: FloatArray) -> FloatArray:
        """Log of the mixture's density, (n_points,), up to a constant."""
        inverse = np.linalg.inv(self.root)
        away = ((x[:, None, :] - self.centres)[:, :, None, :] * inverse).sum(axis=3)
        tail = np.log1p(away**2 / (_DF * self.widths[:, None] ** 2)).sum(axis=2)
        log_kernel = -(_DF + 1) / 2 * tail - away.shape[2] * np.log(self.widths)
        return np.asarray(special.logsumexp(log_kernel, axis=1))


def kernels(centres: FloatArray, root: FloatArray) -> Kernels:
    """Kernels at points that stand for a target whose covariance has this root.

    Notes
    -----
    Most kernels are narrower than the target, so that the mixture can bend with it; the wide ones
    keep the weights bounded where the centres are few.

    References
    ----------
    West (1993), *Journal of the Royal Statistical Society B* 55, 409-422.
    """
    return Kernels(centres, root)
