"""Propensities that are not known: estimates, overlap, trimming, and the mark on every result."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import wavewise as ww
from wavewise.errors import EstimationError, InputError


def programme(n, seed=1, strength=1.0):
    """Arms chosen by x, an outcome that x moves too, and an effect of 1 + x of sms."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.integers(0, 2, n) * 1.0
    share = 1 / (1 + np.exp(-strength * x - 0.5 * z))
    arm = np.where(rng.random(n) < share, "sms", "none")
    outcome = 2 * x + z + (arm == "sms") * (1 + x) + rng.normal(size=n)
    return {"x": x, "z": z}, arm, outcome, share


def test_the_model_equals_newtons_method_on_the_ridge_logit() -> None:
    from wavewise.estimate.observational import _columns, _fit

    X, arm, _, _ = programme(300)
    columns, y = _columns(X, 300, np.arange(300)), (arm == "sms") * 1.0
    # two sets of slopes b and -b, each with a penalty b^2 / 2: the logit of 2 b with half of it
    theta, penalty = np.zeros(columns.shape[1]), 0.5 * (np.arange(columns.shape[1]) > 0)
    for _ in range(30):
        p = 1 / (1 + np.exp(-columns @ theta))
        hessian = (columns.T * (p * (1 - p))) @ columns + np.diag(penalty)
        theta += np.linalg.solve(hessian, columns.T @ (y - p) - penalty * theta)
    slopes = _fit(columns, y.astype(np.int64), 2)
    np.testing.assert_allclose(slopes[:, 1] - slopes[:, 0], theta, atol=2e-5)


def test_estimates_are_near_the_truth_and_no_unit_is_in_its_own_model() -> None:
    X, arm, _, share = programme(4000)
    found = ww.estimate.propensity(X, arm)
    assert np.abs(found.values[:, 1] - share).mean() < 0.03
    assert np.allclose(found.values.sum(axis=1), 1)
    order = np.random.default_rng(3).permutation(4000)
    other = ww.estimate.propensity({k: v[order] for k, v in X.items()}, arm[order])
    np.testing.assert_allclose(other.values, found.values[order], atol=1e-12)


def test_the_optimal_rule_is_that_of_crump_and_others() -> None:
    X, arm, _, _ = programme(3000, strength=3.0)
    found = ww.estimate.propensity(X, arm)
    e = found.values[:, 1]
    size = 1 / (e * (1 - e))
    # the largest cut-off c among the values with c <= 2 E[size | size <= c]
    fits = [c for c in size if c <= 2 * size[size <= c].mean()]
    assert (found.kept == (size <= max(fits) * (1 + 1e-12))).all()
    assert 0 < found.n_trimmed < 3000
    assert found.overlap["n_trimmed"].sum() == found.n_trimmed
    by_share = ww.estimate.propensity(X, arm, trim=0.1)
    assert (by_share.kept == (np.minimum(e, 1 - e) >= 0.1)).all()
    assert "probability of 0.1 or more" in by_share.summary()
    assert ww.estimate.propensity(X, arm, trim=0).n_trimmed == 0


def test_weighting_by_estimates_balances_covariates() -> None:
    X, arm, _, _ = programme(4000)
    overlap = ww.estimate.propensity(X, arm).overlap
    assert overlap["difference"].min() > 0.3
    assert overlap["weighted_difference"].max() < 0.1


def test_scores_find_the_effect_that_a_difference_of_means_misses() -> None:
    X, arm, outcome, _ = programme(6000)
    plain = outcome[arm == "sms"].mean() - outcome[arm == "none"].mean()
    scores = ww.evaluate.doubly_robust_scores(
        X, arm, outcome, propensity="estimate", control="none"
    )
    found = ww.estimate.propensity(X, arm)
    truth = (1 + X["x"])[found.kept].mean()
    effect = np.asarray(scores.effect("sms"))
    effect = effect[~np.isnan(effect)]
    assert effect.size == found.kept.sum()
    assert abs(effect.mean() - truth) < 4 * effect.std() / np.sqrt(effect.size)
    assert abs(plain - truth) > 10 * effect.std() / np.sqrt(effect.size)


def observational_results():
    X, arm, outcome, _ = programme(800)
    options = {"propensity": "estimate"}
    scores = ww.evaluate.doubly_robust_scores(X, arm, outcome, control="none", **options)
    worth = scores.effect("sms")
    rng = np.random.default_rng(1)
    everybody, nobody = np.full(800, "sms"), np.full(800, "none")
    yield scores
    yield ww.evaluate.toc(X["x"], worth)
    yield ww.evaluate.cost_curve(1 + X["x"], worth)
    yield ww.evaluate.calibration(1 + X["x"], worth).line
    yield ww.evaluate.best_linear_projection(X, worth)
    yield ww.evaluate.policy_value(everybody, X, arm, outcome, **options)
    yield ww.evaluate.policy_contrast(everybody, nobody, X, arm, outcome, **options)
    yield ww.estimate.causal_forest(X, arm, outcome, control="none", n_trees=50, rng=rng, **options)
    yield ww.estimate.neighbours(X, arm, outcome, control="none", k=20, rng=rng, **options)


def test_every_result_says_that_it_is_observational() -> None:
    for result in observational_results():
        text = result.summary()
        assert text.count("Observational: arms were not randomized") == 1, type(result)
        assert "experiment" not in text.lower(), type(result)
        assert result.facts()["provenance"]["observational"].startswith("Observational")
        assert type(result).from_dict(result.to_dict()).provenance == result.provenance


def test_policies_learned_from_it_say_so_in_their_file_too(tmp_path: Path) -> None:
    X, arm, outcome, share = programme(800)
    known = pl.DataFrame({"none": 1 - share, "sms": share})
    for propensity, marked in (("estimate", True), (known, False)):
        options = {"propensity": propensity, "control": "none"}
        scores = ww.evaluate.doubly_robust_scores(X, arm, outcome, **options)
        rng = np.random.default_rng(1)
        forest = ww.estimate.causal_forest(X, arm, outcome, n_trees=50, rng=rng, **options)
        tree = ww.decide.policy_tree({"x": X["x"]}, scores, depth=1)
        for policy in (tree, ww.decide.personalize(forest), ww.decide.safe_policy(forest)):
            policy.save(tmp_path / "policy")
            again = ww.decide.load_policy(tmp_path / "policy")
            assert ("Observational: arms were not" in again.summary()) is marked
            assert again.hash == policy.hash


def test_known_propensities_leave_no_mark() -> None:
    X, arm, outcome, share = programme(400)
    known = pl.DataFrame({"none": 1 - share, "sms": share})
    scores = ww.evaluate.doubly_robust_scores(X, arm, outcome, propensity=known, control="none")
    assert "bservational" not in scores.summary()
    assert "observational" not in scores.provenance.to_dict()


def test_an_estimate_may_be_given_with_another_rule() -> None:
    X, arm, outcome, _ = programme(1000, strength=2.0)
    found = ww.estimate.propensity(X, arm, trim=0.2)
    value = ww.evaluate.policy_value(np.full(1000, "sms"), X, arm, outcome, propensity=found)
    assert value.n_units == found.kept.sum()
    assert f"{found.n_trimmed:,} of 1,000 units are left out" in value.summary()


def test_methods_for_waves_refuse_to_estimate() -> None:
    X, arm, outcome, _ = programme(100)
    with pytest.raises(InputError, match="needed the stored probabilities"):
        ww.estimate.adaptive_aipw(outcome, arm, propensity="estimate", wave=np.ones(100))
    with pytest.raises(InputError, match="needed the stored probabilities"):
        ww.estimate.weighted_m(outcome, arm, propensity="estimate")
    with pytest.raises(InputError, match="found 'guess'"):
        ww.evaluate.doubly_robust_scores(X, arm, outcome, propensity="guess")


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"X": None}, InputError, "X: found none"),
        ({"X": {"one": np.ones(100)}}, EstimationError, "no covariate that varies"),
        ({"trim": 0.6}, InputError, "trim: found 0.6"),
        ({"trim": "most"}, InputError, "trim: found 'most'"),
        ({"n_folds": 1}, InputError, "n_folds: found 1"),
        ({"arm": ["a"] * 100}, EstimationError, "smallest of 1 arms"),
        ({"arm": ["a"] * 95 + ["b"] * 5}, EstimationError, "found 5 units in the smallest"),
    ],
)
def test_bad_input_is_named(changed, error, text) -> None:
    X, arm, _, _ = programme(100)
    given = {"X": X, "arm": arm} | changed
    with pytest.raises(error, match=text):
        ww.estimate.propensity(given.pop("X"), given.pop("arm"), **given)
