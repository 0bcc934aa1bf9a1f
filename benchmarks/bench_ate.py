"""Time of `ate` with household clusters against statsmodels' cluster OLS, in the same run.

Data of the get-out-the-vote experiment's shape are generated: 344,084 people in 180,002 households
within 10,000 blocks, a control and four arms, randomized by household. Both packages get the same
raw inputs: `ate` labels of arms as text; statsmodels its design matrix, made beforehand.

    python benchmarks/bench_ate.py [--repeats 7]
"""

import argparse
import time
import warnings

import numpy as np

import wavewise as ww

N_UNITS, N_HOUSEHOLDS, N_BLOCKS = 344_084, 180_002, 10_000
ARMS = np.array(["Control", "Civic Duty", "Hawthorne", "Neighbors", "Self"], dtype=object)


def make_data(seed=0):
    rng = np.random.default_rng(seed)
    extra = rng.integers(0, N_HOUSEHOLDS, N_UNITS - N_HOUSEHOLDS)
    household = np.sort(np.concatenate([np.arange(N_HOUSEHOLDS), extra]))
    block = household * N_BLOCKS // N_HOUSEHOLDS
    code = rng.choice(5, N_HOUSEHOLDS, p=[5 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 9])[household]
    lift = np.array([0.0, 0.018, 0.026, 0.081, 0.049])[code]
    voted = rng.random(N_UNITS) < 0.3 + lift + rng.normal(0, 0.1, N_HOUSEHOLDS)[household]
    return voted.astype(float), ARMS[code], code, household, block


def median_seconds(functions, repeats):
    """Median time of each function, the functions alternating."""
    times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import statsmodels.api as sm

    y, arm, code, household, block = make_data()
    design = np.column_stack([np.ones(y.size), code[:, None] == np.arange(1, 5)])
    ate = ww.estimate.ate

    def peer():
        options = {"cov_type": "cluster", "cov_kwds": {"groups": household}}
        fit = sm.OLS(y, design).fit(**options)
        return fit.params[1:], fit.bse[1:]

    ours = {
        "ate CR2": lambda: ate(y, arm, control="Control", cluster=household),
        "ate CR1": lambda: ate(y, arm, control="Control", cluster=household, se="CR1"),
        "ate CR2, 10,000 strata": lambda: ate(
            y, arm, control="Control", strata=block, cluster=household
        ),
        "ate HC2": lambda: ate(y, arm, control="Control"),
    }
    result = ours["ate CR1"]()  # warm: imports are done
    estimate, std_error = peer()
    times = median_seconds({"statsmodels CR1": peer} | ours, repeats)
    for name, seconds in times.items():
        ratio = seconds / times["statsmodels CR1"]
        print(f"{name:24} {1000 * seconds:8.1f} ms   ratio to statsmodels {ratio:5.2f}")
    print(f"largest difference of estimates       {np.abs(result.estimate - estimate).max():.1e}")
    print(f"largest difference of standard errors {np.abs(result.std_error - std_error).max():.1e}")


if __name__ == "__main__":
    main()
