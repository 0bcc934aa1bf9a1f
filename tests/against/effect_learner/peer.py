"""The T-, DR- and R-learner by econml over scikit-learn's pipelines, from data, folds, penalties.

    python -m venv PEER && PEER/bin/pip install econml==0.17.0 scikit-learn==1.9.1
    PEER/bin/python tests/against/effect_learner/peer.py

Reads data.csv (a row per unit: covariates, arm, outcome, fold; new units have no outcome) and
penalties.json; writes peer.json. Needs nothing of Wavewise.
"""

import json
from pathlib import Path

import econml
import numpy as np
import sklearn
from econml.dml import NonParamDML
from econml.dr import DRLearner
from econml.metalearners import TLearner
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

HERE = Path(__file__).parent
SHARE = 0.4  # of treatment, known


class Penalized(BaseEstimator, RegressorMixin):
    """Ridge with one penalty for covariates and one for squares and products."""

    def __init__(self, own=1.0, product=1.0):
        self.own, self.product = own, product

    def _scaled(self, z):
        return np.where(np.arange(z.shape[1]) < 3, 1.0, np.sqrt(self.own / self.product)) * z

    def fit(self, z, y, sample_weight=None):
        # features have mean 0 over all units, not over these: the constant is free of penalty
        self.ridge_ = Ridge(alpha=self.own).fit(self._scaled(z), y, sample_weight=sample_weight)
        return self

    def predict(self, z):
        return self.ridge_.predict(self._scaled(z))


class Arms(BaseEstimator, RegressorMixin):
    """Mean outcomes: of all arms, then what each adds; the arm is the last column."""

    def __init__(self, shared=None, own=None):
        self.shared, self.own = shared, own

    def fit(self, zt, y, sample_weight=None):
        z, t = zt[:, :-1], zt[:, -1]
        self.all_ = Penalized(*self.shared).fit(z, y)
        rest = y - self.all_.predict(z)
        self.arms_ = [Penalized(*self.own).fit(z[t == a], rest[t == a]) for a in (0, 1)]
        return self

    def predict(self, zt):
        z, t = zt[:, :-1], zt[:, -1]
        added = [arm.predict(z) for arm in self.arms_]
        return self.all_.predict(z) + np.where(t == 1, added[1], added[0])


class Known(BaseEstimator, ClassifierMixin):
    """The propensity as it was drawn."""

    def fit(self, z, t, sample_weight=None):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, z):
        return np.tile([1 - SHARE, SHARE], (len(z), 1))

    def predict(self, z):
        return np.zeros(len(z))


class LookedUp(BaseEstimator, RegressorMixin):
    """Predictions made before, found by the row's number in the first column of W."""

    def __init__(self, values=None):
        self.values = values

    def fit(self, zw, y, sample_weight=None):
        return self

    def predict(self, zw):
        return self.values[zw[:, -1].astype(int)]


def main() -> None:
    table = np.genfromtxt(HERE / "data.csv", delimiter=",", names=True)
    penalties = json.loads((HERE / "penalties.json").read_text(encoding="utf-8"))
    X = np.column_stack([table[name] for name in ("x1", "x2", "x3")])
    old = ~np.isnan(table["outcome"])
    y, t, fold = (table[name][old] for name in ("outcome", "arm", "fold"))
    features = make_pipeline(
        StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler()
    ).fit(X[old])
    z, new = features.transform(X[old]), features.transform(X[~old])
    arms = Arms(penalties["shared"], penalties["own"])
    folds = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(5)]

    whole = Penalized(*penalties["shared"]).fit(z, y)
    t_learner = TLearner(models=Penalized(*penalties["own"]))
    t_learner.fit(y - whole.predict(z), t, X=z)

    dr = DRLearner(
        model_propensity=Known(),
        model_regression=arms,
        model_final=Penalized(*penalties["effect"]),
        cv=folds,
        min_propensity=0,
    ).fit(y, t, X=z)

    mean = np.empty(len(y))
    for train, test in folds:
        fitted = Arms(penalties["shared"], penalties["own"]).fit(
            np.column_stack([z, t])[train], y[train]
        )
        by_arm = [fitted.predict(np.column_stack([z[test], np.full(test.size, a)])) for a in (0, 1)]
        mean[test] = (1 - SHARE) * by_arm[0] + SHARE * by_arm[1]
    r = NonParamDML(
        model_y=LookedUp(mean),
        model_t=Known(),
        model_final=Penalized(*penalties["residual"]),
        discrete_treatment=True,
        cv=folds,
    ).fit(y, t, X=z, W=np.arange(len(y))[:, None])

    found = {
        "t": t_learner.effect(new).tolist(),
        "dr": dr.effect(new).tolist(),
        "r": r.effect(new).tolist(),
        "versions": {"econml": econml.__version__, "scikit-learn": sklearn.__version__},
    }
    (HERE / "peer.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
