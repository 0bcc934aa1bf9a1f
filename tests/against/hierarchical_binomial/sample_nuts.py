"""Long NUTS references of the hierarchical binomial model, by two samplers.

    python tests/against/hierarchical_binomial/sample_nuts.py nutpie|numpyro|join [name ...]

Needs nutpie and numpyro, which the tests do not: they read `reference.json`. nutpie gets the log
density and its gradient written by hand here; NumPyro gets the model in its own words. Both sample
the whole space (beta, log kappa, cluster effects); neither knows of quadrature.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
N_CHAINS, N_WARM, N_KEPT = 4, 1500, 8000


def columns(rows):
    cluster, arm, successes, trials = np.array(rows).T
    return cluster, arm, successes.astype(float), trials.astype(float)


def log_prior_beta(prior, beta):
    """Log density up to a constant, and its slope."""
    if prior["name"] == "normal":
        return -0.5 * np.sum(beta**2) / prior["sd"] ** 2, -beta / prior["sd"] ** 2
    if prior["name"] == "student-t":
        df, ratio = prior["df"], beta / prior["scale"]
        slope = -(df + 1) * ratio / (df + ratio**2) / prior["scale"]
        return -0.5 * (df + 1) * np.sum(np.log1p(ratio**2 / df)), slope
    return 0.0, np.zeros_like(beta)


def log_prior_kappa(prior, kappa):
    if prior["name"] == "half-normal":
        return -0.5 * (kappa / prior["scale"]) ** 2, -kappa / prior["scale"] ** 2
    if prior["name"] == "half-t":
        df, ratio = prior["df"], kappa / prior["scale"]
        slope = -(df + 1) * ratio / (df + ratio**2) / prior["scale"]
        return -0.5 * (df + 1) * np.log1p(ratio**2 / df), slope
    df = prior["df"]
    power = df / 2 + 1
    return -power * np.log(kappa) - 0.5 / kappa, -power / kappa + 0.5 / kappa**2


def nutpie_draws(data, seed):
    import nutpie

    cluster, arm, y, n = columns(data["rows"])
    _, cluster = np.unique(cluster, return_inverse=True)
    n_arms, n_clusters = arm.max() + 1, cluster.max() + 1
    prior_beta, prior_kappa = data["prior"]

    def logp(x):
        beta, kappa, z = x[:n_arms], np.exp(x[n_arms]), x[n_arms + 1 :]
        eta = beta[arm] + kappa * z[cluster]
        residual = y - n / (1 + np.exp(-eta))
        by_cluster = np.bincount(cluster, residual, n_clusters)
        lb, gb = log_prior_beta(prior_beta, beta)
        lk, gk = log_prior_kappa(prior_kappa, kappa)
        value = np.sum(y * eta - n * np.logaddexp(0, eta)) - 0.5 * z @ z + lb + lk + x[n_arms]
        grad = np.concatenate(
            [
                np.bincount(arm, residual, n_arms) + gb,
                [kappa * (z @ by_cluster + gk) + 1],
                kappa * by_cluster - z,
            ]
        )
        return value, grad

    def expand(x):
        return {"beta": x[:n_arms], "kappa": np.exp(x[n_arms : n_arms + 1])}

    model = nutpie.compiled_pyfunc.from_pyfunc(
        n_arms + 1 + n_clusters,
        lambda: logp,
        lambda *_: expand,
        [np.dtype("float64")] * 2,
        [(int(n_arms),), (1,)],
        ["beta", "kappa"],
    )
    trace = nutpie.sample(
        model,
        draws=N_KEPT,
        tune=N_WARM,
        chains=N_CHAINS,
        seed=seed,
        cores=1,
        progress_bar=False,
        target_accept=0.95,
    )
    divergent = int(np.sum(trace.sample_stats.diverging))
    return trace.posterior.beta.values, trace.posterior.kappa.values[..., 0], divergent


def numpyro_draws(data, seed):
    import jax
    import numpyro
    import numpyro.distributions as dist

    jax.config.update("jax_enable_x64", True)
    cluster, arm, y, n = columns(data["rows"])
    _, cluster = np.unique(cluster, return_inverse=True)
    n_arms, n_clusters = int(arm.max()) + 1, int(cluster.max()) + 1
    on_beta, on_kappa = data["prior"]

    def beta_prior():
        if on_beta["name"] == "normal":
            return dist.Normal(0, on_beta["sd"])
        if on_beta["name"] == "student-t":
            return dist.StudentT(on_beta["df"], 0, on_beta["scale"])
        return dist.ImproperUniform(dist.constraints.real, (), ())

    def kappa_prior():
        if on_kappa["name"] == "half-normal":
            return dist.HalfNormal(on_kappa["scale"])
        if on_kappa["name"] == "half-t":
            return dist.FoldedDistribution(dist.StudentT(on_kappa["df"], 0, on_kappa["scale"]))
        return dist.InverseGamma(on_kappa["df"] / 2, 0.5)

    def model():
        beta = numpyro.sample("beta", beta_prior().expand([n_arms]).to_event(1))
        kappa = numpyro.sample("kappa", kappa_prior())
        z = numpyro.sample("z", dist.Normal(0, 1).expand([n_clusters]).to_event(1))
        log_odds = beta[arm] + kappa * z[cluster]
        numpyro.sample("y", dist.Binomial(n.astype(int), logits=log_odds), obs=y)

    kernel = numpyro.infer.NUTS(model, target_accept_prob=0.95)
    mcmc = numpyro.infer.MCMC(
        kernel,
        num_warmup=N_WARM,
        num_samples=N_KEPT,
        num_chains=N_CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.PRNGKey(seed), extra_fields=("diverging",))
    draws = mcmc.get_samples(group_by_chain=True)
    divergent = int(mcmc.get_extra_fields()["diverging"].sum())
    return np.asarray(draws["beta"]), np.asarray(draws["kappa"]), divergent


def success_prob(beta, kappa):
    """E[logistic(beta + kappa z)] over a standard normal z, by 41 Gauss-Hermite nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    out = np.zeros_like(beta)
    for z, w in zip(nodes, weights / weights.sum(), strict=True):
        out += w / (1 + np.exp(-(beta + kappa[..., None] * z)))
    return out


def with_error(values):
    """Mean over all draws and its Monte-Carlo error; values are (chain, draw, ...)."""
    import arviz

    flat = values.reshape(*values.shape[:2], -1)
    columns = [flat[..., j] for j in range(flat.shape[2])]
    error = [float(np.ravel(arviz.mcse(c))[0]) if np.ptp(c) else 0.0 for c in columns]
    return flat.mean((0, 1)).tolist(), error


def summary(beta, kappa, divergent):
    import arviz

    prob = success_prob(beta, kappa)
    best = (beta == beta.max(-1, keepdims=True)).astype(float)
    mean = beta.mean((0, 1))
    sd = beta.std((0, 1))
    quantities = {
        "beta": beta,
        "beta_variance": (beta - mean) ** 2,
        "kappa": kappa[..., None],
        "log_kappa": np.log(kappa)[..., None],
        "kappa_variance": ((kappa - kappa.mean()) ** 2)[..., None],
        "prob_optimal": best,
        "success_prob": prob,
        "policy_regret": prob.max(-1, keepdims=True) - prob,
    }
    out = {"divergent": divergent, "sd": sd.tolist()}
    out["rhat"] = max(float(arviz.rhat(beta[..., j])) for j in range(beta.shape[2]))
    for name, values in quantities.items():
        out[name], out[name + "_mcse"] = with_error(values)
    return json.loads(json.dumps(out), parse_float=lambda s: float(f"{float(s):.6g}"))


def main():
    sampler, *names = sys.argv[1:]
    data = json.loads((HERE / "data.json").read_text())
    if sampler == "join":
        join(data)
        return
    draw = {"nutpie": nutpie_draws, "numpyro": numpyro_draws}[sampler]
    for seed, (name, one) in enumerate(data.items(), start=1):
        part = HERE / f"part-{sampler}-{seed:02}.json"
        if (names and name not in names) or part.exists():
            continue
        result = summary(*draw(one, seed))
        part.write_text(json.dumps(result))
        print(sampler, name, result["rhat"], result["divergent"], flush=True)


def join(data):
    packages = ("nutpie", "numpyro", "jax", "arviz", "numpy")
    about = {"chains": N_CHAINS, "warm_up": N_WARM, "kept": N_KEPT, "target_accept": 0.95}
    about["versions"] = {p: version(p) for p in packages}
    lines = [f'"about":{json.dumps(about)}']
    for seed, name in enumerate(data, start=1):
        parts = {s: HERE / f"part-{s}-{seed:02}.json" for s in ("nutpie", "numpyro")}
        both = {s: json.loads(p.read_text()) for s, p in parts.items() if p.exists()}
        if both:
            lines.append(f"{json.dumps(name)}:{json.dumps(both, separators=(',', ':'))}")
    (HERE / "reference.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
