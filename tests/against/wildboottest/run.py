"""P values of the package wildboottest for the designs of ../club_sandwich/data.csv.

In an environment of its own: ``pip install wildboottest==0.3.2 pandas``, then
``python tests/against/wildboottest/run.py``, which writes ``output.json``.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm
from wildboottest.wildboottest import wildboottest

HERE = Path(__file__).parent
CASES = ("three treated clusters", "sizes 3 to 60", "few clusters", "crossed")


def main():
    """Every case with and without strata effects; signs are enumerated where they are few."""
    data = pd.read_csv(HERE.parent / "club_sandwich" / "data.csv")
    rows = []
    for case in CASES:
        d = data[data.case == case].reset_index(drop=True)
        for strata in (False, True):
            arms = pd.get_dummies(d.arm, prefix="arm", drop_first=True).astype(float)
            extra = pd.get_dummies(d.stratum, prefix="s", drop_first=True).astype(float)
            if strata and extra.shape[1] == 0:
                continue
            columns = pd.concat([arms, extra], axis=1) if strata else arms
            model = sm.OLS(d.y, sm.add_constant(columns))
            for arm in arms.columns:
                for tau in (0.0, 0.8):
                    shifted = sm.OLS(d.y - tau * arms[arm], sm.add_constant(columns))
                    found = wildboottest(
                        shifted, param=arm, cluster=d.cluster.astype(int), B=99_999,
                        weights_type="rademacher", impose_null=True, bootstrap_type="11",
                        seed=1, show=False,
                    )  # fmt: skip
                    p_value = found["p-value"].iloc[0]
                    rows.append(
                        {"case": case, "strata": strata, "arm": arm[4:5], "tau": tau,
                         "estimate": float(model.fit().params[arm]),
                         "p_value": float(np.asarray(p_value).ravel()[0])}
                    )  # fmt: skip
    names = ("wildboottest", "statsmodels", "numpy")
    versions = {name: version(name) for name in names} | {"python": platform.python_version()}
    text = json.dumps({"versions": versions, "rows": rows}, indent=1)
    (HERE / "output.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
