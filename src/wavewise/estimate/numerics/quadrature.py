"""Integrals over panels by the 7-point Gauss and 15-point Kronrod pair."""

from collections.abc import Callable
from typing import Final

import numpy as np

from wavewise.errors import EstimationError
from wavewise.shared.results import FloatArray, read_only

__all__ = [
    "GAUSS_WEIGHTS",
    "KRONROD_NODES",
    "KRONROD_WEIGHTS",
    "MAX_HALVINGS",
    "halves",
    "integrate",
    "not_settled",
    "panel_nodes",
]

MAX_HALVINGS: Final = 60
# abscissa in (0, 1], Kronrod weight, Gauss weight (0 where only Kronrod's rule has a node)
_HALF: Final = (
    (0.991455371120812639206854697526329, 0.022935322010529224963732008058970, 0.0),
    (
        0.949107912342758524526189684047851,
        0.063092092629978553290700663189204,
        0.129484966168869693270611432679082,
    ),
    (0.864864423359769072789712788640926, 0.104790010322250183839876322541518, 0.0),
    (
        0.741531185599394439863864773280788,
        0.140653259715525918745189590510238,
        0.279705391489276667901467771423780,
    ),
    (0.586087235467691130294144691693200, 0.169004726639267902826583426598550, 0.0),
    (
        0.405845151377397166906606412076961,
        0.190350578064785409913256402421014,
        0.381830050505118944950369775488975,
    ),
    (0.207784955007898467600689403773245, 0.204432940075298892414161999234649, 0.0),
    (0.0, 0.209482141084727828012999174891714, 0.417959183673469387755102040816327),
)


def _mirrored(column: int, sign: float) -> FloatArray:
    half = np.array([row[column] for row in _HALF])
    return np.concatenate([sign * half, half[-2::-1]])


KRONROD_NODES: Final[FloatArray] = read_only(_mirrored(0, -1.0))
KRONROD_WEIGHTS: Final[FloatArray] = read_only(_mirrored(1, 1.0))
GAUSS_WEIGHTS: Final[FloatArray] = read_only(_mirrored(2, 1.0))


def panel_nodes(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Kronrod nodes and half-widths of panels.

    Notes
    -----
    The Kronrod rule integrates polynomials up to degree 22 exactly, the Gauss rule on every second
    node up to degree 13. Their difference bounds the error of the Gauss rule, so it is a very
    cautious bound for the Kronrod value that is kept.

    References
    ----------
    Kronrod (1965), *Nodes and Weights of Quadrature Formulas*. Piessens, de Doncker-Kapenga,
    Uberhuber and Kahaner (1983), *QUADPACK*, rule QK15.

    Examples
    --------
    >>> nodes, half = panel_nodes(np.array([0.0]), np.array([1.0]))
    >>> round(float(half[0] * KRONROD_WEIGHTS @ np.exp(nodes[0])), 12)
    1.718281828459
    """
    half = 0.5 * (right - left)
    middle = 0.5 * (right + left)
    return middle[:, None] + half[:, None] * KRONROD_NODES, half


def halves(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ends of the panels cut in two: first all left halves, then all right halves."""
    middle = 0.5 * (left + right)
    return np.concatenate([left, middle]), np.concatenate([middle, right])


def integrate(
    integrand: Callable[[FloatArray], FloatArray],
    edges: FloatArray,
    relative: float,
    floor: FloatArray,
) -> FloatArray:
    """Integrals of several functions at once, on shared panels halved until two rules agree.

    Examples
    --------
    >>> def powers(x):
    ...     return np.column_stack([x, np.sqrt(x)])
    >>> integrate(powers, np.array([0.0, 1.0]), 1e-10, np.zeros(2)).round(9).tolist()
    [0.5, 0.666666667]
    """
    left, right = edges[:-1], edges[1:]
    settled = np.zeros(floor.size)
    for _ in range(MAX_HALVINGS):
        nodes, half = panel_nodes(left, right)
        values = integrand(nodes.ravel()).reshape(*nodes.shape, -1)
        kronrod = np.einsum("pnk,n,p->pk", values, KRONROD_WEIGHTS, half)
        gauss = np.einsum("pnk,n,p->pk", values, GAUSS_WEIGHTS, half)
        total = settled + kronrod.sum(axis=0)
        allowed = relative * np.maximum(np.abs(total), floor)
        rough = (np.abs(kronrod - gauss) > allowed).any(axis=1)
        if not rough.any():
            return np.asarray(total)
        settled = settled + kronrod[~rough].sum(axis=0)
        left, right = halves(left[rough], right[rough])
    raise not_settled(int(rough.sum()))


def not_settled(n_panels: int) -> EstimationError:
    """The error for panels on which the two rules still disagree after the last halving."""
    return EstimationError(
        f"quadrature: {n_panels} panels did not settle in {MAX_HALVINGS} halvings; the counts or "
        "the prior lie outside the range that it was made for (prior from 0.001, trials up to 1e8)"
    )
