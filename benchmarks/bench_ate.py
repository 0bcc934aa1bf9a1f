"""Time of `ate` with household clusters against statsmodels' cluster OLS, in the same run.

Data of the get-out-the-vote experiment's shape are generated: 344,084 people in 180,002 households
within 10,000 blocks, a control and four arms, randomized by household. Both packages get the same
raw inputs: `ate` labels of arms as text; statsmodels its design matrix, made beforehand.

Also `ate` with 13 covariates interacted with 17 arms, arm by arm against the same regression as a
whole (as it was before), in seconds of processor.

    python benchmarks/bench_ate.py [--repeats 7] [--units 100000]
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


def interacted(n_units):
    """Seconds of processor of one call as it is and as a whole, by standard error."""
    from wavewise.estimate.effects.covariance import corrected, precision
    from wavewise.estimate.effects.least_squares import collapse, fit_rows
    from wavewise.estimate.effects.sample import comparable, read_sample

    rng = np.random.default_rng(1)
    arms = np.array(["control", *(f"arm {code}" for code in range(16))], dtype=object)
    arm, x = arms[rng.integers(0, 17, n_units)], rng.normal(size=(n_units, 13))
    y = (rng.random(n_units) < 0.3) * 1.0
    options = {"strata": None, "weights": None, "arms": None, "missing_covariates": "error"}

    def whole(kind, cluster):
        read = read_sample(y, arm, "control", covariates=x, cluster=cluster, **options)
        rows = collapse(comparable(read), interact=True)
        fit = fit_rows(rows)
        found = precision(rows, fit, kind, corrected(rows, fit, kind, "identity"))
        return found, [found.df(weights) for weights in np.eye(16)]

    for kind, cluster in (("HC2", None), ("CR2", rng.integers(0, n_units // 20, n_units))):
        start = time.process_time()
        ours = ww.estimate.ate(y, arm, covariates=x, cluster=cluster, se=kind)
        middle = time.process_time()
        found, df = whole(kind, cluster)
        end = time.process_time()
        print(f"{kind}, 13 covariates x 17 arms: by arm {middle - start:6.2f} s, whole "
              f"{end - middle:6.2f} s, ratio {(end - middle) / (middle - start):5.1f}; largest "
              f"relative difference of variances {np.abs(ours.cov / found.cov - 1).max():.1e}, of "
              f"degrees of freedom {np.abs(ours.df / df - 1).max():.1e}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--units", type=int, default=100_000, help="of the interacted regression")
    options = parser.parse_args()
    repeats = options.repeats
    interacted(options.units)
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
