"""Simulated experiments: known answers, pairing, chunks, resumption, and bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import special

import wavewise as ww
from wavewise.errors import InputError
from wavewise.evaluate.simulation.engine import Job, best_of_many, whole_counts
from wavewise.evaluate.simulation.worlds import as_truth, success_over_clusters
from wavewise.shared.results import NotEstimable
from wavewise.simulated.reading import school_sizes

E = ww.evaluate
RATES = {"rate": [0.2, 0.25, 0.3]}


def _rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def _kenya(**changes) -> E.Design:
    sizes = school_sizes(2463, 108, _rng())
    options = {"arms": 6, "clusters": sizes, "waves": (1283, 1180), "trials": 9, **changes}
    return E.Design(**options)


KENYA = {"beta": [-2.63, -2.49, -2.78, -2.89, -2.67, -3.32], "kappa": 0.5}


def test_posteriors_are_those_of_the_exact_estimator() -> None:
    rng = _rng()
    trials = rng.integers(0, 3000, (60, 5))
    rate = np.clip(rng.uniform(0.005, 0.9, (60, 1)) + rng.normal(0, 0.02, (60, 5)), 0.001, 0.99)
    successes = rng.binomial(trials, rate)
    prob, regret = best_of_many(1.0 + successes, 1.0 + trials - successes)
    for i in range(60):
        exact = ww.estimate.beta_binomial(successes[i], trials[i])
        assert prob[i] == pytest.approx(exact.prob_optimal, abs=3e-6)
        assert regret[i] == pytest.approx(exact.policy_regret, abs=1e-6)


def test_whole_counts_have_the_right_expectation() -> None:
    shares = np.array([0.1, 0.25, 0.35, 0.3])
    counts = whole_counts(np.tile(shares, (20_000, 1)), 37, _rng())
    assert (counts.sum(axis=1) == 37).all()
    assert (np.abs(counts - 37 * shares) < 1).all()
    assert counts.mean(axis=0) == pytest.approx(37 * shares, abs=4 * 0.5 / np.sqrt(20_000))


def test_two_arms_in_one_wave_match_the_exact_sum() -> None:
    """Probability of choosing the better of two arms, over all outcomes."""
    n, rates = 40, np.array([0.3, 0.45])
    found = E.simulate(
        E.Design(2, (2 * n,), rule="equal"), {"rate": rates}, n_simulations=20_000, rng=_rng()
    )
    y = np.arange(n + 1)
    first, second = (
        np.exp(special.gammaln(n + 1) - special.gammaln(y + 1) - special.gammaln(n - y + 1))
        * p**y * (1 - p) ** (n - y)
        for p in rates
    )  # fmt: skip
    exact = sum(first[i] * second[i + 1 :].sum() for i in range(n + 1))
    regret = found.realized_regret
    assert found.best_arm_found.value == pytest.approx(exact, abs=4 * found.best_arm_found.mc_error)
    assert regret.value == pytest.approx(0.15 * (1 - exact), abs=4 * regret.mc_error)


def test_coverage_and_belief_are_right_on_average_over_the_prior() -> None:
    """Truths drawn from the estimator's own prior: what it believes is what happens."""
    for rule in ("equal", "exploration", "Thompson"):
        found = E.simulate(
            E.Design(4, (100, 100), rule=rule),
            E.PriorTruth(uniform=True),
            n_simulations=8_000,
            rng=_rng(4),
        )
        assert found.coverage.value == pytest.approx(0.95, abs=4 * found.coverage.mc_error)
        gap = found.values("posterior_regret") - found.values("realized_regret")
        assert gap.mean() == pytest.approx(0, abs=4 * gap.std() / np.sqrt(gap.size))
        sure = found.values("prob_optimal") - found.values("best_arm_found")
        assert sure.mean() == pytest.approx(0, abs=4 * sure.std() / np.sqrt(sure.size))


def test_table_7_of_the_kenya_study() -> None:
    """Small version: 97.3 and 92.4 % best arms, .028 and .081 points of regret with 2,000 pairs."""
    design = _kenya()
    both = E.compare([design, design.with_(rule="uniform")], KENYA, n_simulations=150, rng=_rng(2))
    for one, found, regret in zip(both, (0.973, 0.924), (0.00028, 0.00081), strict=True):
        assert one.n_not_estimable == 0
        assert one.best_arm_found.value == pytest.approx(
            found, abs=4 * np.sqrt(found * (1 - found) / 150)
        )
        assert one.realized_regret.value == pytest.approx(regret, abs=0.0012)
    truth = both[0].runs["success_prob"][0]
    assert 100 * truth == pytest.approx([7.41, 8.41, 6.46, 5.84, 7.14, 3.89], abs=0.011)
    assert (both[0].runs["first_chosen"] == both[1].runs["first_chosen"]).all()
    assert (both[0].runs["units"].sum(axis=1) == 2463).all()


def test_comparison_is_paired_and_a_part_of_it_is_the_whole() -> None:
    design = E.Design(3, (200, 200, 200))
    other = design.with_(rule="Thompson")
    both = E.compare([design, other], RATES, n_simulations=700, rng=_rng())
    assert (both[0].runs["success_prob"] == both[1].runs["success_prob"]).all()
    assert (both[0].runs["first_chosen"] == both[1].runs["first_chosen"]).all()
    alone = E.simulate(other, RATES, n_simulations=700, rng=_rng())
    for name, values in alone.runs.items():
        assert np.array_equal(values, both[1].runs[name], equal_nan=True), name
    gap = both.difference("realized_regret")
    separate = np.hypot(both[0].realized_regret.mc_error, both[1].realized_regret.mc_error)
    assert gap.mc_error < separate
    assert both.to_frame().height == 2 * len(alone.to_frame())


def test_same_bytes_on_one_process_and_two(tmp_path: Path) -> None:
    design = E.Design(3, (100, 100))
    one = E.simulate(design, RATES, n_simulations=1_300, rng=_rng())
    two = E.simulate(design, RATES, n_simulations=1_300, rng=_rng(), n_jobs=2)
    assert one.provenance == two.provenance


def test_interrupted_work_goes_on_from_its_chunks(tmp_path: Path) -> None:
    design = E.Design(3, (100, 100))
    whole = E.simulate(design, RATES, n_simulations=2_000, rng=_rng())

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        E.simulate(design, RATES, n_simulations=2_000, rng=_rng(), folder=tmp_path, progress=stop)
    files = sorted(tmp_path.rglob("*.npz"))
    assert len(files) == 2
    files[0].write_bytes(b"damaged")
    seen = []
    again = E.simulate(
        design,
        RATES,
        n_simulations=2_000,
        rng=_rng(),
        folder=tmp_path,
        progress=lambda *x: seen.append(x),
    )
    assert seen[0] == (1, 4)
    assert seen[-1] == (4, 4)
    assert again.provenance == whole.provenance
    other = E.simulate(
        design, {"rate": [0.2, 0.3, 0.25]}, n_simulations=2_000, rng=_rng(), folder=tmp_path
    )
    assert other.provenance != whole.provenance


def test_control_with_outcomes_gives_power() -> None:
    design = E.Design(2, (300, 300), control_share=0.25)
    truth = {"rate": [0.2, 0.35], "control_rate": 0.2}
    found = E.simulate(design, truth, n_simulations=1_000, rng=_rng())
    assert found.power_control.value > 0.8
    assert (found.runs["units"][:, -1] == 150).all()
    silent = E.simulate(design, {"rate": [0.2, 0.35]}, n_simulations=500, rng=_rng())
    assert isinstance(silent.power_control, NotEstimable)


def test_an_arm_without_success_is_no_number() -> None:
    """Flat prior, small schools: some simulations have no posterior, and are counted."""
    design = E.Design(2, (40, 40), clusters=[20] * 4)
    found = E.simulate(design, {"rate": [0.02, 0.3]}, n_simulations=50, rng=_rng())
    assert 0 < found.n_not_estimable < 50
    assert np.isfinite(found.best_arm_found.value)
    assert "left out" in found.summary()


def test_rates_over_clusters_are_what_was_asked_for() -> None:
    truth = as_truth({"rate": [0.05, 0.4], "kappa": 0.8})
    found = success_over_clusters(truth.beta[None], np.array([0.8]))[0]
    assert found == pytest.approx([0.05, 0.4], abs=1e-9)


def test_correlated_priors() -> None:
    worlds = E.PriorTruth(mean=-1.0, sd=0.5, correlation=0.8).worlds(40_000, 3, None, _rng())
    beta = special.logit(worlds.success_prob)
    assert np.corrcoef(beta.T)[0, 1] == pytest.approx(0.8, abs=0.01)
    assert beta.std() == pytest.approx(0.5, abs=0.01)


def test_waves_draw_people_of_schools_without_replacement() -> None:
    design = _kenya()
    job = Job((design,), as_truth(KENYA), 2, (1, 2))
    from wavewise.evaluate.simulation.engine import _people

    people = _people(design, 2, job.entropy)
    assert (people.sum(axis=1) == design.cluster_sizes).all()
    more = _people(design.with_(waves=(2463, 2463)), 2, job.entropy)
    assert (more == design.cluster_sizes).all()


def test_a_past_experiment_as_if_it_had_been_adaptive() -> None:
    """Outcomes resampled by arm: their means are the truth, adaptive waves earn more."""
    rng = _rng(6)
    arm = np.repeat(["a", "b", "c"], 300)
    success = rng.binomial(1, np.repeat([0.1, 0.2, 0.35], 300))
    truth = E.BootstrapTruth.from_rows(success, np.ones(900, int), arm)
    design = E.Design(arms=truth.arms, waves=(150, 150, 150), rule="Thompson")
    both = E.compare([design, design.with_(rule="equal")], truth, n_simulations=1_000, rng=rng)
    rates = [success[arm == name].mean() for name in "abc"]
    assert both[0].runs["success_prob"][0] == pytest.approx(rates)
    gain = both.difference("in_sample_outcome", 0, 1)
    assert gain.value > 10 * gain.mc_error
    observed = both[1].runs["posterior_mean"].mean(axis=0)
    # the posterior of 150 units shrinks by the uniform prior
    assert observed == pytest.approx((150 * np.array(rates) + 1) / 152, abs=0.004)
    with pytest.raises(InputError, match="in sorted order"):
        E.simulate(design.with_(clusters=[100, 100]), truth, n_simulations=10, rng=rng)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: E.Design(6, (5, 100)), "take 5 arms or fewer"),
        (lambda: E.Design(3, (100, 1)), "a wave of 1"),
        (lambda: E.Design(3, (100, 100), rule="best"), "needed one of"),
        (lambda: E.Design(3, (100,), floor=0.5), "lower the floor"),
        (lambda: E.Design(3, (100,), trials=0), "trials"),
        (lambda: E.Design(3, (100.5,)), "whole numbers"),
        (lambda: E.Design(["a", "a"], (100,)), "different names"),
        (lambda: E.Design(1, (100,)), "two or more"),
        (lambda: E.Design(3, (100,), clusters=[0, 0]), "no units"),
        (lambda: E.Design(3, (100,), prior=(0.0, 1.0)), "above 0"),
        (lambda: E.Design(3, (100,)).with_(wave=3), "with_"),
        (lambda: E.PriorTruth(sd=0.0), "no variance"),
        (lambda: E.PriorTruth(correlation=1.0), "such as 0.9"),
        (
            lambda: E.simulate(
                E.Design(3, (99,)), {"rate": [0.1, 0.2]}, n_simulations=10, rng=_rng()
            ),
            "one each",
        ),
        (
            lambda: E.simulate(E.Design(3, (99,)), {"x": 1}, n_simulations=10, rng=_rng()),
            "needed beta",
        ),
        (
            lambda: E.simulate(E.Design(3, (99,)), RATES, n_simulations=0, rng=_rng()),
            "n_simulations",
        ),
        (lambda: E.simulate(E.Design(3, (99,)), RATES, n_simulations=10, rng=7), "default_rng"),
        (
            lambda: E.compare(
                [E.Design(3, (99,)), E.Design(4, (99,))], RATES, n_simulations=9, rng=_rng()
            ),
            "worlds",
        ),
    ],
)
def test_bad_input_is_named(make, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_results_as_frame_dict_and_words() -> None:
    found = E.simulate(E.Design(3, (99,)), RATES, n_simulations=100, rng=_rng())
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    frame = found.to_frame()
    assert frame["metric"].to_list() == [row["metric"] for row in values["metrics"]]
    assert tuple(found.best_arm_found) == (found.best_arm_found[0], found.best_arm_found.mc_error)
    assert "truly best arm chosen" in found.summary()
    with pytest.raises(ValueError, match="read-only"):
        found.runs["chosen"][0] = 1
