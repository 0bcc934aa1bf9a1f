"""The wild cluster bootstrap against wildboottest, and against regressions of every draw."""

import csv
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError

STORED = json.loads(
    (Path(__file__).parent / "wildboottest" / "output.json").read_text(encoding="utf-8")
)
ROWS = STORED["rows"]
with (Path(__file__).parent / "club_sandwich" / "data.csv").open(encoding="utf-8") as file:
    DATA = list(csv.DictReader(file))


def data(case):
    rows = [row for row in DATA if row["case"] == case]
    return {
        name: np.array([float(row[name]) for row in rows]) for name in DATA[0] if name != "case"
    }


def bootstrap(case, strata=False, tau=0.0, arm=1.0, **options):
    d = data(case)
    return ww.estimate.wild_bootstrap(
        d["y"] - tau * (d["arm"] == arm),
        d["arm"],
        control=0,
        cluster=d["cluster"],
        strata=d["stratum"] if strata else None,
        rng=np.random.default_rng(7),
        **options,
    )


def test_versions_that_were_run():
    assert STORED["versions"]["wildboottest"] == "0.3.2"
    assert len(ROWS) == 16


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['case']}, {r['arm']}, {r['tau']}")
def test_p_values(row):
    """Equal but for the two sets of equal signs, which tie with the data up to rounding."""
    found = bootstrap(row["case"], row["strata"], row["tau"], float(row["arm"]))
    p_value = found.p_value[found.names.index(row["arm"])]
    if found.exact:
        assert row["p_value"] <= p_value + 1e-9
        assert p_value <= row["p_value"] + 2 / found.n_draws + 1e-9
    else:
        error = np.sqrt(row["p_value"] * (1 - row["p_value"]) / found.n_draws)
        assert p_value == pytest.approx(row["p_value"], abs=4 * error)


def naive(y, x, cluster, tau, signs):
    """Share of draws at least as far out, by least squares of every draw; x has the arm first."""
    groups = [cluster == g for g in np.unique(cluster)]

    def t_value(outcome, centre):
        inverse = np.linalg.inv(x.T @ x)
        beta = inverse @ x.T @ outcome
        scores = np.array([x[g].T @ (outcome - x @ beta)[g] for g in groups])
        return (beta[0] - centre) / np.sqrt((inverse @ scores.T @ scores @ inverse)[0, 0])

    rest, imposed = x[:, 1:], y - tau * x[:, 0]
    fitted = rest @ np.linalg.lstsq(rest, imposed, rcond=None)[0]
    seen, far = abs(t_value(y, tau)), []
    for sign in signs:
        v = sum(s * g for s, g in zip(sign, groups, strict=True))
        drawn = tau * x[:, 0] + fitted + v * (imposed - fitted)
        far.append(abs(t_value(drawn, tau)) >= seen * (1 - 1e-9))
    return np.mean(far)


def test_covariates_and_strata_by_every_draw():
    rng = np.random.default_rng(3)
    n, cluster = 60, np.repeat(np.arange(8), [4, 5, 6, 7, 8, 9, 10, 11])
    arm, strata, age = rng.integers(0, 2, n), rng.integers(0, 2, n), rng.normal(size=n)
    y = rng.normal(size=n) + rng.normal(size=8)[cluster] + 0.4 * arm
    found = ww.estimate.wild_bootstrap(
        y, arm, control=0, cluster=cluster, strata=strata, covariates=age
    )
    x = np.column_stack([arm, np.ones(n), strata, age])
    signs = list(product([-1, 1], repeat=8))
    assert found.exact
    assert found.p_value[0] == pytest.approx(naive(y, x, cluster, 0.0, signs), abs=1e-12)
    assert found.std_error == pytest.approx(
        ww.estimate.ate(
            y, arm, control=0, cluster=cluster, strata=strata, covariates=age, interact=False,
            se="CR1",
        ).std_error
    )  # fmt: skip
    low, high = found.conf[0]
    for end, inwards in ((low, 1e-6), (high, -1e-6)):
        assert (
            naive(y, x, cluster, end + inwards, signs)
            > 0.05
            >= naive(y, x, cluster, end - inwards, signs)
        )


def test_one_treated_cluster_has_no_standard_error_and_two_hardly_reject():
    cluster, rng = np.repeat(np.arange(12), 10), np.random.default_rng(3)
    y = rng.normal(size=120) + rng.normal(size=12)[cluster]
    ask = ww.estimate.wild_bootstrap
    one = ask(y, (cluster < 1) * 1, control=0, cluster=cluster)
    assert "fitted exactly" in one.not_estimable["1"].reason
    two = ask(y + 3.0 * (cluster < 2), (cluster < 2) * 1, control=0, cluster=cluster)
    assert two.estimate[0] > 3.9 * two.std_error[0]
    assert two.p_value[0] > 0.1


def test_webb_and_draws_by_the_generator():
    one, other = (bootstrap("few clusters", points="webb", n_draws=499) for _ in range(2))
    assert one == other
    assert not one.exact
    assert abs(one.p_value[0] - bootstrap("few clusters", n_draws=499).p_value[0]) < 0.1


def test_refusals():
    y, arm, cluster = np.arange(12.0) ** 2, np.arange(12) % 2, np.arange(12) % 6
    ask = ww.estimate.wild_bootstrap
    with pytest.raises(InputError, match="points: found 'mammen'"):
        ask(y, arm, control=0, cluster=cluster, points="mammen")
    with pytest.raises(InputError, match="rng: found none for 6 clusters"):
        ask(y, arm, control=0, cluster=cluster, n_draws=50)
    with pytest.raises(InputError, match="n_draws"):
        ask(y, arm, control=0, cluster=cluster, n_draws=3)
    with pytest.raises(EstimationError, match="single cluster"):
        ask(y, arm, control=0, cluster=np.zeros(12, int))
