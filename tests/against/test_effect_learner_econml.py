"""T-, DR- and R-learner against econml over scikit-learn, with the same folds and penalties.

Data, script and output stand in tests/against/effect_learner; `python
tests/against/test_effect_learner_econml.py` writes the data and the penalties that it reads.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from wavewise.estimate.forest.shrinkage import parts_of_arms
from wavewise.estimate.learners.crossfit import CrossFit, Sample, fold_of_parts
from wavewise.estimate.learners.quadratic import learn_base

HERE = Path(__file__).parent / "effect_learner"


def read() -> tuple[np.ndarray, ...]:
    table = np.genfromtxt(HERE / "data.csv", delimiter=",", names=True)
    X = np.column_stack([table[name] for name in ("x1", "x2", "x3")])
    old = ~np.isnan(table["outcome"])
    return X[old], X[~old], *(table[name][old] for name in ("arm", "outcome", "fold"))


def fitted() -> tuple[CrossFit, np.ndarray]:
    X, new, arm, outcome, fold = read()
    base, z = learn_base(X, np.arange(len(X)))
    e = np.tile([0.6, 0.4], (len(X), 1))
    arm, fold = arm.astype(np.int64), fold.astype(np.int64)
    assert (fold == fold_of_parts(np.arange(len(X)), arm)).all()
    sample = Sample(
        z, base.is_product, arm, outcome, e, fold, parts_of_arms(None, 1), np.arange(len(X))
    )
    return CrossFit(sample), base.features(new)


def penalties(fit: CrossFit) -> dict[str, list[float]]:
    """Of covariates and of squares and products: the first and the last feature."""
    shared, own = fit._penalties
    effect = fit._effect_penalties[0]
    variance, (noise,) = fit.noise
    residual = effect * variance / noise
    held = {"shared": shared, "own": own, "effect": effect, "residual": residual}
    return {name: [float(p[1]), float(p[-1])] for name, p in held.items()}


def test_the_same_effects_as_econml() -> None:
    fit, new = fitted()
    written = json.loads((HERE / "penalties.json").read_text(encoding="utf-8"))
    for name, values in penalties(fit).items():
        assert values == pytest.approx(written[name], rel=1e-8)
    peer = json.loads((HERE / "peer.json").read_text(encoding="utf-8"))
    found = fit.without(None, ("r", "dr", "t")).coefficients
    for name in ("t", "dr", "r"):
        np.testing.assert_allclose((new @ found[name])[:, 0], peer[name], atol=1e-6)


def write() -> None:
    rng = np.random.default_rng(12)
    X = np.round(rng.uniform(-2, 2, (240, 3)), 4)
    X[200:] *= 0.9  # new units lie in the range of the others, beyond which ours hold covariates
    X = np.round(X, 4)
    arm = (rng.random(240) < 0.4).astype(np.int64)
    y = np.round(X[:, 1] ** 2 + arm * (0.5 + X[:, 0]) + rng.normal(size=240), 4)
    fold = np.full(240, -1)
    fold[:200] = fold_of_parts(np.arange(200), arm[:200])
    lines = ["x1,x2,x3,arm,outcome,fold"]
    for i in range(240):
        cells = [*X[i], arm[i], y[i] if i < 200 else "", fold[i]]
        lines.append(",".join(str(cell) for cell in cells))
    (HERE / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    held = json.dumps(penalties(fitted()[0]), indent=1)
    (HERE / "penalties.json").write_text(held + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
