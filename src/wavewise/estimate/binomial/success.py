"""Success probabilities of the arms over clusters, new ones or the clusters of the data."""

import math

import numpy as np

from wavewise.estimate.binomial.likelihood import compiled, exp_in_place
from wavewise.estimate.binomial.posterior import LogPosterior, Nodes, at_nodes, bounded
from wavewise.shared.results import FloatArray, IntArray

__all__ = ["cluster_effects", "over_new_clusters", "over_these_clusters"]

_REACH = 6.5
_MOST_NODES = 2048
_FINE = 0.15  # of the step, for effects that are drawn


def over_new_clusters(points: FloatArray) -> FloatArray:
    """E[logistic(beta_k + kappa z)] over a standard normal z, (n_points, n_arms).

    Notes
    -----
    The mean over clusters that were not seen, as the study has it: never logistic of the mean.
    The trapezoid rule with step min(0.8, 1.1 / kappa): its error is below 1e-7, since the nearest
    pole of the logistic lies pi / kappa from the real line.
    """
    return points[:, :0] if points.shape[1] < 2 else _over_new(np.ascontiguousarray(points))


@compiled
def _over_new(points: FloatArray) -> FloatArray:
    n_points, n_arms = points.shape[0], points.shape[1] - 1
    out = np.zeros((n_points, n_arms))
    size = n_arms * _MOST_NODES
    x, power = np.empty(size), np.empty(size)
    bits = power.view(np.int64)
    for i in range(n_points):
        kappa = math.exp(points[i, n_arms])
        wanted = int(2 * _REACH / min(0.8, 1.1 / kappa)) + 2
        n_nodes = min(wanted, _MOST_NODES)
        step, total = 2 * _REACH / (n_nodes - 1), 0.0
        for k in range(n_arms):
            for q in range(n_nodes):
                x[k * n_nodes + q] = -points[i, k] - kappa * (q * step - _REACH)
        exp_in_place(x, power, bits, n_arms * n_nodes)
        for q in range(n_nodes):
            z = q * step - _REACH
            weight = math.exp(-0.5 * z * z)
            total += weight
            for k in range(n_arms):
                out[i, k] += weight / (1 + x[k * n_nodes + q])
        for k in range(n_arms):
            out[i, k] /= total
    return out


def cluster_effects(
    posterior: LogPosterior, points: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Draws of every cluster's z given beta and kappa, one a point, (n_points, n_clusters).

    A cluster without trials is drawn from the standard normal.
    """
    counts = posterior.counts
    uniforms = rng.random((points.shape[0], counts.of_cluster.size))
    out = rng.standard_normal(uniforms.shape)
    inside = bounded(points, counts.n_arms)
    places = [
        (counts.of_cluster >= a) & (counts.of_cluster < b)
        for a, b in zip(counts.starts[:-1], counts.starts[1:], strict=True)
    ]
    for i, center in enumerate(counts.centers(inside).tolist()):
        for b, block in enumerate(counts.blocks):
            nodes = at_nodes(block, inside[i], center, posterior.span[b], _FINE * posterior.coarse)
            column = counts.of_cluster[places[b]] - counts.starts[b]
            out[i, places[b]] = _inverted(nodes, column, uniforms[i, places[b]])
    return out


def _inverted(nodes: Nodes, column: IntArray, uniforms: FloatArray) -> FloatArray:
    """Effects whose cumulative weight, even around each node, is the uniform number."""
    n_nodes = nodes.weight.shape[0]
    upto = np.cumsum(nodes.weight, axis=0)[:, column]
    q = np.minimum((upto < uniforms).sum(axis=0), n_nodes - 1)
    own = nodes.weight[q, column]
    before = upto[q, np.arange(column.size)] - own
    part = np.clip((uniforms - before) / np.maximum(own, 1e-300), 0.0, 1.0)
    return np.asarray(nodes.low + nodes.step * (q - 0.5 + part))


def over_these_clusters(points: FloatArray, effects: FloatArray, sizes: FloatArray) -> FloatArray:
    """Mean success probability over the clusters by their sizes, (n_points, n_arms)."""
    shifted = effects * np.exp(points[:, -1:])
    share = sizes / sizes.sum()
    columns = [
        np.einsum("ij,j->i", _logistic(points[:, k : k + 1] + shifted), share)
        for k in range(points.shape[1] - 1)
    ]
    return np.column_stack(columns)


def _logistic(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))
