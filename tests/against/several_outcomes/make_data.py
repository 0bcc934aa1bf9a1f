"""Outcomes of units in three arms, some missing (data.csv), and families of p values and times."""

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def main() -> None:
    rng = np.random.default_rng(20081)
    n = 300
    arm = rng.permutation(np.repeat(["control", "call", "sms"], n // 3))
    common = rng.normal(size=n)
    logins = rng.poisson(np.exp(0.4 * common + 0.3 * (arm == "sms"))).astype(float)
    minutes = 30 + 12 * common + rng.normal(0, 9, n) + 4 * (arm == "call")
    complaints = (rng.random(n) < 0.1 + 0.1 * (arm == "call")).astype(float)
    score = 50 + 6 * common + rng.normal(0, 10, n)
    score[rng.random(n) < 0.2] = np.nan
    minutes[rng.random(n) < 0.05] = np.nan
    rows = ["arm,logins,minutes,complaints,score"]
    columns = (logins, minutes, complaints, score)
    for k in range(n):
        cells = ["" if np.isnan(c[k]) else repr(float(c[k])) for c in columns]
        rows.append(",".join([arm[k], *cells]))
    (HERE / "data.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    families = {
        "few": [0.001, 0.012, 0.014, 0.19, 0.35],
        "ties": [0.02, 0.02, 0.02, 0.5],
        "none": [0.4, 0.7, 0.9],
        "all": [0.0001, 0.0002, 0.0003],
        "zero": [0.0, 0.04, 1.0],
        "one": [0.03],
        "half": [*(rng.random(10) ** 6).tolist(), *rng.random(10).tolist()],
        "many": [*(rng.random(40) ** 4).tolist(), *rng.random(60).tolist()],
    }
    lines = ["family,p_value", *(f"{f},{p!r}" for f, values in families.items() for p in values)]
    rate = np.where(arm == "sms", 0.12, 0.08)
    days = rng.exponential(1 / rate)
    rows = ["arm,days,event"]
    rows += [f"{a},{min(d, 14.0)!r},{int(d < 14)}" for a, d in zip(arm, days.tolist(), strict=True)]
    (HERE / "times.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (HERE / "p_values.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
