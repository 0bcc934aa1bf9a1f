"""Nothing depends on the order of units, the scale of the outcome or the names of arms."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.decide.policy import personalize
from wavewise.decide.tree_search import policy_tree
from wavewise.estimate.matching.neighbours import neighbours
from wavewise.evaluate import cost_curve, doubly_robust_scores, policy_contrast, toc

SHARES = {"control": 0.5, "a": 0.25, "b": 0.25}
few = settings(deadline=None, max_examples=8)
seeds = st.integers(0, 10_000)


def draw(seed, n=300):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.integers(0, 3, n), rng.normal(size=n)])
    X[rng.random(n) < 0.05, 1] = np.nan
    arm = rng.choice(list(SHARES), n, p=list(SHARES.values()))
    return X, arm, np.round(rng.normal(size=n), 2) + X[:, 0] * (arm == "a"), rng.permutation(n)


@few
@given(seed=seeds, k=st.integers(2, 400))
def test_neighbours_do_not_depend_on_the_order_of_units(seed, k) -> None:
    X, arm, y, order = draw(seed)
    one = neighbours(X, arm, y, control="control", k=k)
    two = neighbours(X[order], arm[order], y[order], control="control", k=k)
    assert (one.effects_oob[order] == two.effects_oob).all()
    assert (one.effects(X) == two.effects(X)).all()
    assert one.provenance == two.provenance
    assert personalize(one).assign_oob()[order].tolist() == personalize(two).assign_oob().tolist()


@few
@given(seed=seeds)
def test_choice_of_k_does_not_depend_on_the_order_of_units(seed) -> None:
    X, arm, y, order = draw(seed)
    tuned = [
        neighbours(
            X[i], arm[i], y[i], control="control", n_tuning=150, rng=np.random.default_rng(1)
        )
        for i in (np.arange(300), order)
    ]
    assert tuned[0].k == tuned[1].k
    assert tuned[0].tuning.loss.tolist() == tuned[1].tuning.loss.tolist()


@few
@given(seed=seeds)
def test_a_units_effects_do_not_depend_on_its_company(seed) -> None:
    X, arm, y, order = draw(seed)
    found = neighbours(X, arm, y, control="control", k=7)
    together, alone = found.effects(X), found.effects(X[order[:1]])
    assert (together[order[0]] == alone[0]).all()


@few
@given(seed=seeds, shift=st.sampled_from([0.0, 64.0]), scale=st.sampled_from([0.5, 4.0]))
def test_covariates_in_other_units_give_the_same_neighbours(seed, shift, scale) -> None:
    X, arm, y, _ = draw(seed)
    one = neighbours(X, arm, y, control="control", k=9)
    two = neighbours(X * scale + shift, arm, y, control="control", k=9)
    np.testing.assert_allclose(one.effects_oob, two.effects_oob, atol=1e-9)


@few
@given(seed=seeds)
def test_relabelled_arms_give_relabelled_assignments(seed) -> None:
    X, arm, y, _ = draw(seed)
    names = {"control": "control", "a": "z", "b": "a"}
    renamed = np.array([names[name] for name in arm])
    one = personalize(neighbours(X, arm, y, control="control", k=20)).assign(X)
    two = personalize(neighbours(X, renamed, y, control="control", k=20)).assign(X)
    assert [names[name] for name in one] == two.tolist()


@few
@given(seed=seeds)
def test_contrasts_and_curves_do_not_depend_on_the_order_of_units(seed) -> None:
    X, arm, y, order = draw(seed)
    a, b = np.where(X[:, 0] > 0, "a", "b"), np.full(300, "a")
    results = []
    for i in (np.arange(300), order):
        contrast = policy_contrast(a[i], b[i], X[i], arm[i], y[i], propensity=SHARES)
        scores = doubly_robust_scores(X[i], arm[i], y[i], propensity=SHARES, control="control")
        curve = toc(X[i, 0], scores.effect("a"))
        spend = cost_curve(np.column_stack([X[i, 0], 0 * i + 0.5]), scores.effects).gain(0.4)
        tree = policy_tree(X[i], scores, min_leaf=20)
        numbers = [
            contrast.estimate, contrast.std_error, curve.autoc.estimate, curve.autoc.std_error,
            curve.qini.estimate, spend.estimate, spend.std_error,
        ]  # fmt: skip
        results.append((numbers, tree.describe()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-9, atol=1e-12)
    assert results[0][1] == results[1][1]


@few
@given(seed=seeds)
def test_scaled_outcomes_scale_contrasts(seed) -> None:
    X, arm, y, _ = draw(seed)
    a, b = np.where(X[:, 0] > 0, "a", "b"), np.full(300, "a")
    one, two = (
        policy_contrast(a, b, None, arm, values, propensity=SHARES) for values in (y, 4 * y)
    )
    np.testing.assert_allclose([4 * one.estimate, 4 * one.std_error], [two.estimate, two.std_error])


def test_neighbours_do_not_depend_on_threads() -> None:
    import numba

    X, arm, y, _ = draw(3)
    found, before = [], numba.get_num_threads()
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        found.append(neighbours(X, arm, y, control="control", k=9).to_bytes())
    numba.set_num_threads(before)
    assert found[0] == found[1]
