"""Intervals for winners by the package multiple-inference 1.2.0, stored beside this script.

It needs an older SciPy than Wavewise: in a virtual environment of its own,

    pip install multiple-inference==1.2.0 "scipy<1.12" "numpy<2"
    python tests/against/winner/make_output.py > tests/against/winner/output.json
"""

import json
import warnings
from importlib.metadata import version

import numpy as np
from multiple_inference.rank_condition import RankCondition

warnings.filterwarnings("ignore")
LEVEL, BETA = 0.95, 0.005
TAIL = (1 - LEVEL - BETA) / (1 - BETA) / 2


def cases():
    """Estimates, covariance and rank: independent and correlated, every rank, near ties."""
    rng = np.random.default_rng(7)
    mixed = rng.normal(size=(5, 5))
    yield "five", np.arange(5.0), np.eye(5), range(5)
    yield "correlated", rng.normal(size=5), mixed @ mixed.T + 0.3 * np.eye(5), range(5)
    shared = 0.4 + np.diag([0.3, 0.9, 0.2, 0.7])
    yield "control in common", np.array([0.2, 1.1, 0.9, -0.4]), shared, range(4)
    for gap in (1.0, 0.1, 0.01, 1e-3, 1e-5):
        yield f"tie {gap:g}", np.array([0.0, gap]), np.eye(2), range(1)


def rows():
    """One row a case and rank."""
    for name, mean, cov, ranks in cases():
        order = np.argsort(-mean)
        for rank in ranks:
            model = RankCondition(mean, cov)
            row = {"case": name, "estimate": mean.tolist(), "cov": cov.tolist(), "rank": rank}
            arm = int(order[rank])
            for kind, options, tail in (
                ("conditional", {}, (1 - LEVEL) / 2),
                ("hybrid", {"beta": BETA}, TAIL),
            ):
                law = model.get_marginal_distribution(arm, **options)
                row[kind] = [float(law.ppf(q)) for q in (tail, 0.5, 1 - tail)]
            yield row


if __name__ == "__main__":
    versions = {p: version(p) for p in ("multiple-inference", "scipy", "numpy")}
    print(json.dumps({"versions": versions, "rows": list(rows())}, indent=1))
