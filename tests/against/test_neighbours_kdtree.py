"""The search against scipy's k-d tree, an exact search of another make."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from wavewise.estimate.matching.neighbours import neighbours


@pytest.mark.parametrize(("n", "p", "k"), [(4000, 2, 10), (4000, 13, 50), (1500, 40, 5)])
def test_neighbours_equal_a_tree_search(n, p, k) -> None:
    rng = np.random.default_rng(p)
    X = rng.normal(size=(n, p)) * rng.uniform(0.1, 50, p)
    arm = rng.choice(["control", "a", "b"], n)
    y = rng.normal(size=n)
    new = rng.normal(size=(300, p)) * X.std(axis=0)
    found = neighbours(X, arm, y, control="control", k=k)
    scale = X.std(axis=0)
    means = {}
    for name in ("control", "a", "b"):
        tree = cKDTree(X[arm == name] / scale)
        means[name] = y[arm == name][tree.query(new / scale, k)[1]].mean(axis=1)
    expected = np.column_stack([means[name] - means["control"] for name in ("a", "b")])
    np.testing.assert_allclose(found.effects(new), expected, atol=1e-10)
