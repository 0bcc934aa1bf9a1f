"""Long NUTS runs of equation (3), every unit and cluster effect a parameter of its own.

Run in an environment with nutpie, pymc, numpyro and arviz:

    PYTHONPATH=tests/support python tests/against/hierarchical_normal_nuts/make.py

Writes reference.json beside itself: posterior means and sds with their Monte-Carlo errors,
prob_optimal and policy regret, by data set, prior and sampler, with the versions.
"""

import hashlib
import json
import sys
from pathlib import Path

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import nutpie
import pymc as pm

from normal_panels import REFERENCE, simulate

HERE = Path(__file__).resolve().parent
TUNE, DRAWS, CHAINS = 1500, 8000, 4
# centred effects mix well where the data tell much about each, the others where they do not
FREE = {"no cluster effect", "no unit effect"}
# with one score a unit, only the sum of unit effect and noise is known: chains over both do not mix
# (R-hat 1.35 after 8,000 draws), so the unit effect is added to the noise, which is exact
ONE_SCORE = {"one period"}
# with one unit a cluster the same holds of cluster and unit effects
ONE_UNIT = {"each unit its own cluster"}


def arrays(data, priors):
    keep = ~np.isnan(data["score"])
    y = data["score"][keep]
    arms = sorted(set(data["arm"][keep]) - {"control"})
    X = (data["arm"][keep][:, None] == np.array(arms)).astype(float)
    _, unit = np.unique(data["unit"][keep], return_inverse=True)
    first = np.unique(unit, return_index=True)[1]
    _, cluster = np.unique(data["cluster"][keep], return_inverse=True)
    _, period = np.unique(data["period"][keep], return_inverse=True)
    sd = y.std()
    scales = [1.0] * 4 if priors == "study" else [sd, sd, sd, 0.25 * sd]
    return y, X, unit, cluster[first], period, scales, arms


def with_pymc(y, X, unit, cluster, period, scales, name):
    with pm.Model() as model:
        sds = [pm.HalfNormal(n, s) for n, s in zip(NAMES, scales, strict=True)]
        kappa, phi, sigma, rho = sds
        constant = pm.Flat("constant", initval=y.mean())
        beta = pm.Flat("beta", shape=X.shape[1], initval=np.zeros(X.shape[1]))
        n_clusters, n_units = int(cluster.max()) + 1, int(unit.max()) + 1
        if name in ONE_SCORE:
            effect = pm.Normal("level", constant, kappa, shape=n_clusters)[cluster]
            sigma = pm.math.sqrt(phi**2 + sigma**2)
        elif name in ONE_UNIT:
            effect = pm.Normal("level", constant, pm.math.sqrt(kappa**2 + phi**2), shape=n_units)
        elif name not in FREE:
            level = pm.Normal("level", constant, kappa, shape=n_clusters)
            effect = pm.Normal("effect", level[cluster], phi, shape=n_units)
        else:
            level = constant + kappa * pm.Normal("eta", 0, 1, shape=n_clusters)
            effect = level[cluster] + phi * pm.Normal("alpha", 0, 1, shape=n_units)
        mean = effect[unit] + (X * beta).sum(axis=1)
        if period.max() > 0:
            mean = mean + (rho * pm.Normal("iota", 0, 1, shape=int(period.max()) + 1))[period]
        pm.Normal("y", mean, sigma, observed=y)
    return model


def with_numpyro(y, X, unit, cluster, period, scales, centred):
    kappa, phi, sigma, rho = [
        numpyro.sample(n, dist.HalfNormal(s)) for n, s in zip(NAMES, scales, strict=True)
    ]
    constant = numpyro.sample("constant", dist.ImproperUniform(dist.constraints.real, (), ()))
    beta = numpyro.sample(
        "beta", dist.ImproperUniform(dist.constraints.real_vector, (), (X.shape[1],))
    )
    n_clusters, n_units = int(cluster.max()) + 1, int(unit.max()) + 1
    if centred:
        level = numpyro.sample("level", dist.Normal(constant, kappa).expand([n_clusters]))
        effect = numpyro.sample("effect", dist.Normal(level[cluster], phi))
    else:
        level = constant + kappa * numpyro.sample("eta", dist.Normal(0, 1).expand([n_clusters]))
        effect = level[cluster] + phi * numpyro.sample("alpha", dist.Normal(0, 1).expand([n_units]))
    mean = effect[unit] + X @ beta
    if period.max() > 0:
        mean = (
            mean
            + (rho * numpyro.sample("iota", dist.Normal(0, 1).expand([int(period.max()) + 1])))[
                period
            ]
        )
    numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


NAMES = ("cluster_sd", "unit_sd", "noise_sd", "period_sd")


def run_nutpie(parts, name, seed):
    model = with_pymc(*parts, name)
    compiled = nutpie.compile_pymc_model(model)
    trace = nutpie.sample(
        compiled, tune=TUNE, draws=DRAWS, chains=CHAINS, cores=1, seed=seed,
        target_accept=0.95, progress_bar=False, save_warmup=False,
        low_rank_modified_mass_matrix=True,
    )  # fmt: skip
    post = trace.posterior
    return {n: np.asarray(post[n]) for n in ("constant", "beta", *NAMES) if n in post}


def run_numpyro(parts, name, seed):
    kernel = numpyro.infer.NUTS(
        lambda *a: with_numpyro(*a, name not in FREE),
        target_accept_prob=0.99,
        dense_mass=[("beta", "constant", "iota", "level")],
        init_strategy=numpyro.infer.init_to_value(
            values={"constant": parts[0].mean(), "beta": jnp.zeros(parts[1].shape[1])}
        ),
    )
    mcmc = numpyro.infer.MCMC(
        kernel, num_warmup=TUNE, num_samples=DRAWS, num_chains=CHAINS,
        chain_method="sequential", progress_bar=False,
    )  # fmt: skip
    mcmc.run(jax.random.key(seed), *parts)
    got = mcmc.get_samples(group_by_chain=True)
    return {n: np.asarray(got[n]) for n in ("constant", "beta", *NAMES)}


def error(x):
    return 0.0 if x.std() == 0 else float(np.squeeze(az.mcse(x, method="mean")))


def digest(draws):
    beta = draws["beta"]
    columns = {"constant": draws["constant"], **{n: draws[n] for n in NAMES}}
    columns |= {f"beta[{k}]": beta[..., k] for k in range(beta.shape[-1])}
    top = beta.max(axis=-1, keepdims=True)
    out = {}
    for name, column in columns.items():
        x = np.asarray(column, dtype=np.float64)
        out[name] = {
            "mean": float(x.mean()), "sd": float(x.std()),
            "mean_error": error(x),
            # by the delta method, from the mean of squares
            "sd_error": error((x - x.mean()) ** 2) / (2 * float(x.std())),
            "rhat": float(np.squeeze(az.rhat(x))),
        }  # fmt: skip
    best = (beta == top).astype(np.float64)
    loss = np.asarray(top - beta, dtype=np.float64)
    return {
        "parameters": out,
        "prob_optimal": best.mean(axis=(0, 1)).tolist(),
        "prob_optimal_error": [error(best[..., k]) for k in range(beta.shape[-1])],
        "policy_regret": loss.mean(axis=(0, 1)).tolist(),
        "policy_regret_error": [error(loss[..., k]) for k in range(beta.shape[-1])],
    }


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def main():
    jax.config.update("jax_enable_x64", True)
    path = HERE / "reference.json"
    stored = json.loads(path.read_text()) if path.exists() else {"runs": []}
    done = {(r["data"], r["priors"], r["sampler"]) for r in stored["runs"]}
    plan = [(n, "scaled", "nutpie") for n in REFERENCE]
    plan += [("plain", "study", "nutpie"), ("half missing", "study", "nutpie")]
    plan += [(n, "scaled", "numpyro") for n in ("plain", "half missing", "twenty units")]
    for name, priors, sampler in plan:
        if (name, priors, sampler) in done:
            continue
        data = simulate(REFERENCE[name])
        *parts, arms = arrays(data, priors)
        run = run_nutpie if sampler == "nutpie" else run_numpyro
        result = digest(run(parts, name, seed=20))
        stored["versions"] = {m.__name__: m.__version__ for m in (nutpie, pm, numpyro, jax, az)}
        stored["settings"] = {"tune": TUNE, "draws": DRAWS, "chains": CHAINS}
        record = {
            "data": name, "priors": priors, "sampler": sampler, "arms": arms,
            "score_sha256": hashlib.sha256(np.nan_to_num(data["score"]).tobytes()).hexdigest(),
            **rounded(result),
        }  # fmt: skip
        stored["runs"].append(record)
        path.write_text(json.dumps(stored, indent=1) + "\n")
        worst = max(p["rhat"] for p in record["parameters"].values())
        print(name, priors, sampler, "worst R-hat", worst, file=sys.stderr)


if __name__ == "__main__":
    main()
