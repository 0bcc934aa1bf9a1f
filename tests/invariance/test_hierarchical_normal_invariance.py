"""What must not matter: the order of rows, names, the unit and origin of the score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normal_panels import Shape, simulate
from wavewise.estimate.normal.model import hierarchical_normal
from wavewise.estimate.normal.priors import NormalPriors, SdPrior

FEW = settings(max_examples=8, deadline=None)
SHAPES = st.builds(
    Shape,
    n_units=st.integers(20, 60),
    n_clusters=st.integers(1, 12),
    n_periods=st.integers(2, 4),
    effects=st.sampled_from([(1.0,), (1.0, 4.0), (0.0, 2.0, 5.0)]),
    missing=st.sampled_from([0.0, 0.2, 0.4]),
    seed=st.integers(0, 1000),
    control_share=st.just(0.4),
)


def fit(rows, **options):
    return hierarchical_normal(**rows, rng=np.random.default_rng(7), n_draws=2000, **options)


@FEW
@given(SHAPES, st.integers(0, 2**32 - 1))
def test_order_of_rows_changes_no_byte(shape, seed):
    rows = simulate(shape)
    order = np.random.default_rng(seed).permutation(rows["score"].size)
    one, two = fit(rows), fit({name: column[order] for name, column in rows.items()})
    for name in ("draws", "constant_draws", "period_draws", "cluster_sd_draws", "unit_sd_draws"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert one.provenance == two.provenance


@FEW
@given(SHAPES)
def test_rows_without_a_score_carry_nothing(shape):
    rows = simulate(shape)
    seen = ~np.isnan(rows["score"])
    one, two = fit(rows), fit({name: column[seen] for name, column in rows.items()})
    np.testing.assert_array_equal(one.draws, two.draws)
    assert two.n_missing.sum() == 0


@FEW
@given(SHAPES)
def test_names_of_units_and_clusters_do_not_matter(shape):
    rows = simulate(shape)
    renamed = {
        **rows,
        "unit": np.array([f"u{999 - u}" for u in rows["unit"]]),
        "cluster": np.array([f"school {99 - c}" for c in rows["cluster"]]),
        "period": rows["period"] + 2020,
    }
    one, two = fit(rows), fit(renamed)
    np.testing.assert_allclose(one.draws, two.draws, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(one.cluster_sd_draws, two.cluster_sd_draws, rtol=1e-6, atol=1e-6)


@FEW
@given(SHAPES, st.floats(0.01, 1000), st.floats(-1000, 1000))
def test_scores_in_other_units(shape, scale, shift):
    rows = simulate(shape)
    one, two = fit(rows), fit({**rows, "score": shift + scale * rows["score"]})
    np.testing.assert_allclose(two.draws, scale * one.draws, rtol=1e-5, atol=1e-5 * scale)
    np.testing.assert_allclose(two.noise_sd_draws, scale * one.noise_sd_draws, rtol=1e-5)
    np.testing.assert_allclose(two.prob_optimal, one.prob_optimal, atol=0.001)


@FEW
@given(SHAPES)
def test_arms_in_another_order(shape):
    """Draws differ, since the arms take other random numbers; their distribution does not."""
    rows = simulate(shape)
    names = sorted(set(rows["arm"]) - {"control"})
    swap = dict(zip(names, reversed(names), strict=True)) | {"control": "control"}
    other = {**rows, "arm": np.array([swap[a] for a in rows["arm"]])}
    one, two = fit(rows), fit(other)
    error = 6 * one.sd / np.sqrt(2000)
    assert (np.abs(one.mean - two.mean[::-1]) < error).all()
    np.testing.assert_allclose(one.cluster_sd_draws.mean(), two.cluster_sd_draws.mean(), rtol=1e-4)


@pytest.mark.parametrize("s", [0.1, 25.0])
def test_raw_priors_follow_the_scores_unit(s):
    """A prior of scale a on scores is a prior of scale a s on scores times s."""
    rows = simulate(Shape(60, 6, effects=(2.0,), seed=3))
    one, two = (
        NormalPriors(*(SdPrior(scale=a * by) for a in (2.0, 3.0, 4.0, 1.0)), relative=False)
        for by in (1.0, s)
    )
    a, b = fit(rows, prior=one), fit({**rows, "score": s * rows["score"]}, prior=two)
    np.testing.assert_allclose(b.draws, s * a.draws, rtol=1e-6, atol=1e-6 * s)
