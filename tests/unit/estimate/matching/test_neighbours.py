"""The matcher: against a dense second implementation, ties, missing values, text, bad input."""

from fractions import Fraction
from io import BytesIO

import numpy as np
import polars as pl
import pytest

from wavewise.errors import EstimationError, InputError
from wavewise.estimate.matching.neighbours import Neighbours, neighbours


def dense_means(rows, weights, queries, values, k, skip=None):
    """Mean of the k nearest, one query at a time, all distances sorted; ties shared."""
    means = []
    for number, query in enumerate(queries):
        steps = np.rint((rows - query) ** 2 * weights * 2.0**24)
        distance, outcome = steps.sum(axis=1), values
        if skip is not None:
            keep = np.arange(len(rows)) != skip[number]
            distance, outcome = distance[keep], values[keep]
        last = np.sort(distance)[min(k, distance.size) - 1]
        near, tied = distance < last, distance == last
        part = Fraction(min(k, distance.size) - int(near.sum()), int(tied.sum()))
        total = outcome[near].sum() + float(part) * outcome[tied].sum()
        means.append(total / min(k, distance.size))
    return np.array(means)


def make(rng, n=600, discrete=False):
    X = rng.integers(0, 3, (n, 3)).astype(float) if discrete else rng.normal(size=(n, 5))
    arm = rng.choice(["control", "a", "b"], n, p=[0.5, 0.3, 0.2])
    y = X[:, 0] * (arm == "a") + rng.normal(size=n)
    return X, arm, y


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("k", [2, 7, 60])
def test_equals_a_dense_search(discrete, k) -> None:
    rng = np.random.default_rng(k)
    X, arm, y = make(rng, discrete=discrete)
    new = make(rng, 50, discrete)[0]
    found = neighbours(X, arm, y, control="control", k=k)
    weights = 1 / X.var(axis=0)
    by_arm = {
        name: dense_means(X[arm == name], weights, new, y[arm == name], k)
        for name in ("control", "a", "b")
    }
    expected = np.column_stack([by_arm["a"] - by_arm["control"], by_arm["b"] - by_arm["control"]])
    assert found.arms == ("a", "b")
    np.testing.assert_allclose(found.effects(new), expected, atol=1e-10)


@pytest.mark.parametrize("discrete", [False, True])
def test_units_are_left_out_of_their_own_neighbours(discrete) -> None:
    X, arm, y = make(np.random.default_rng(3), 300, discrete)
    found = neighbours(X, arm, y, control="control", k=9)
    weights, means = 1 / X.var(axis=0), {}
    for name in ("control", "a"):
        of_arm = np.flatnonzero(arm == name)
        skip = np.array([np.flatnonzero(of_arm == i)[0] if i in of_arm else -1 for i in range(300)])
        means[name] = dense_means(X[of_arm], weights, X, y[of_arm], 9, skip)
    np.testing.assert_allclose(found.effects_oob[:, 0], means["a"] - means["control"], atol=1e-10)


def test_outliers_and_far_values_stay_exact() -> None:
    rng = np.random.default_rng(4)
    X, arm, y = make(rng, 800)
    X[:5] *= 1e5
    X[:, 1] += 1e9
    new = X[rng.permutation(800)[:60]] + rng.normal(size=(60, 5)) * 1e-3
    found = neighbours(X, arm, y, control="control", k=11)
    space = found._matcher.space
    expected = [
        dense_means(X[arm == name], space.weights, new, y[arm == name], 11)
        for name in ("control", "b")
    ]
    np.testing.assert_allclose(found.effects(new)[:, 1], expected[1] - expected[0], atol=1e-9)


def test_whole_arms_give_the_difference_in_means() -> None:
    X, arm, y = make(np.random.default_rng(5))
    found = neighbours(X, arm, y, control="control", k=600)
    mean = {name: y[arm == name].mean() for name in ("control", "a", "b")}
    np.testing.assert_allclose(found.effects(X[:3])[:, 0], mean["a"] - mean["control"])
    variance = sum(y[arm == n].var(ddof=1) / (arm == n).sum() for n in ("control", "a"))
    np.testing.assert_allclose(found.std_error(X[:3])[:, 0], np.sqrt(variance))
    own = np.flatnonzero(arm == "a")[0]
    others = (y[arm == "a"].sum() - y[own]) / ((arm == "a").sum() - 1)
    assert found.effects_oob[own, 0] == pytest.approx(others - mean["control"])


def test_standard_error_by_hand() -> None:
    X = {"x": [0.0, 0, 0, 0, 1, 1, 1, 1, 2, 2]}
    arm = ["control", "control", "a", "a"] * 2 + ["control", "a"]
    y = np.array([0.0, 1, 2, 4, 1, 1, 3, 3, 5, 5])
    found = neighbours(X, arm, y, control="control", k=2)
    new = found.effects({"x": [0.0]})[0, 0], found.std_error({"x": [0.0]})[0, 0]
    treated, control = np.array([2.0, 4, 3, 3, 5]), np.array([0.0, 1, 1, 1, 5])
    variance = sum(
        (2 * pair.var(ddof=1) + every.var(ddof=1)) / 3 / 2
        for pair, every in ((treated[:2], treated), (control[:2], control))
    )
    assert new == pytest.approx((2.5, np.sqrt(variance)))


def test_missing_values_and_text() -> None:
    rng = np.random.default_rng(6)
    X = pl.DataFrame(
        {
            "age": [None if rng.random() < 0.2 else float(v) for v in rng.integers(20, 60, 500)],
            "place": rng.choice(["rural", "urban", "coast"], 500),
        }
    )
    arm = rng.choice(["control", "sms"], 500)
    y = (X["place"].to_numpy() == "urban") * (arm == "sms") + rng.normal(0, 0.1, 500)
    found = neighbours(X, arm, y, control="control", k=20)
    new = pl.DataFrame({"place": ["urban", "rural", "moon"], "age": [None, 30.0, 30.0]})
    effects = found.effects(new)[:, 0]
    assert effects[0] > 0.8
    assert abs(effects[1]) < 0.2
    assert abs(effects[2]) < 1.2  # a category never seen: age alone decides
    assert found.covariates == ("age", "place")


def test_missing_value_adds_what_an_unknown_number_would() -> None:
    X = {"x": [0.0, 1, 2, 3, 4, np.nan]}
    space = neighbours(X, ["c", "a"] * 3, np.arange(6.0), control="c", k=2)._matcher.space
    rows = space.embed(X)
    gap = ((rows[0] - rows[5]) ** 2 * space.weights).sum()
    assert gap == pytest.approx((0 - 2) ** 2 / 2 + 1)  # mean and variance of the known are 2


def test_text_adds_two_on_average() -> None:
    texts = np.array(["u"] * 50 + ["v"] * 30 + ["w"] * 20, dtype=object)
    arm = np.array(["c", "a"] * 50)
    space = neighbours({"place": texts}, arm, np.arange(100.0), control="c", k=2)._matcher.space
    rows = space.embed({"place": texts})
    gaps = (((rows[:, None] - rows[None]) ** 2) * space.weights).sum(axis=2)
    assert gaps.mean() == pytest.approx(2.0)


def test_missing_outcomes_get_effects_but_are_nobodys_neighbours() -> None:
    X, arm, y = make(np.random.default_rng(7))
    gone = np.arange(600) % 10 == 0
    holed = np.where(gone, np.nan, y)
    found = neighbours(X, arm, holed, control="control", k=15)
    rest = neighbours(X[~gone], arm[~gone], y[~gone], control="control", k=15)
    assert found.n_missing == 60
    assert np.isfinite(found.effects_oob).all()
    assert sum(found.n_units.values()) == 540
    assert (rest.trained_rows == found.trained_rows[~gone]).all()


def test_k_is_small_where_effects_differ_and_whole_where_they_do_not() -> None:
    rng = np.random.default_rng(8)
    x = rng.integers(0, 2, (3000, 1)).astype(float)
    arm = rng.choice(["control", "sms"], 3000)
    noise = rng.normal(size=3000)
    steep = neighbours(x, arm, noise + 4 * (x[:, 0] - 0.5) * (arm == "sms"), control="control")
    flat = neighbours(x, arm, 0 * noise + x[:, 0], control="control", k=None)
    assert steep.k < 1500
    assert steep.tuning is not None
    assert steep.tuning.loss[-1] == 0
    assert flat.tuning is not None
    assert flat.k in flat.tuning.ks


def test_choice_of_k_needs_a_generator_only_when_it_draws() -> None:
    X, arm, y = make(np.random.default_rng(9))
    with pytest.raises(InputError, match="rng: found none"):
        neighbours(X, arm, y, control="control", n_tuning=100)
    first = neighbours(X, arm, y, control="control", n_tuning=100, rng=np.random.default_rng(1))
    again = neighbours(X, arm, y, control="control", n_tuning=100, rng=np.random.default_rng(1))
    assert first.k == again.k
    assert first.tuning is not None
    assert first.tuning.n_units == 100


def by_stratum(seed, n=1500):
    """No effect anywhere; shares .1 and .5 by stratum, which the outcome depends on."""
    rng = np.random.default_rng([4, seed])
    stratum = rng.integers(0, 2, n)
    share = np.where(stratum, 0.5, 0.1)
    treated = rng.random(n) < share
    X = np.column_stack([stratum, rng.normal(size=(n, 8))])
    outcome = stratum + rng.normal(size=n)
    return X, np.where(treated, "sms", "control"), outcome, np.where(treated, share, 1 - share)


@pytest.mark.parametrize("k", [None, 20])
def test_propensities_that_differ_between_units_are_weighted_out(k) -> None:
    """With equal weights the mean effect was .07, or .14 without propensities."""
    effects = []
    for seed in range(12):
        X, arm, y, drawn = by_stratum(seed)
        found = neighbours(X, arm, y, control="control", propensity=drawn, k=k)
        effects.append(found.effects_oob.mean())
    error = np.std(effects, ddof=1) / np.sqrt(len(effects))
    assert abs(np.mean(effects)) < 3 * error
    assert error < 0.03


def test_arms_that_depend_on_covariates_need_propensities() -> None:
    X, arm, y, drawn = by_stratum(1)
    with pytest.raises(InputError, match="differ by 'x1' beyond chance"):
        neighbours(X, arm, y, control="control")
    # whoever gives shares says that all units had the same
    given = {"sms": drawn[arm == "sms"].mean(), "control": drawn[arm == "control"].mean()}
    assert neighbours(X, arm, y, control="control", propensity=given, k=9).k == 9


@pytest.mark.parametrize("share", [0.02, 0.4])
def test_weighted_averages_equal_a_dense_search(share) -> None:
    """Nearest units of every arm until they hold a share of its weight, ties in equal parts."""
    rng = np.random.default_rng(15)
    n, k = 400, max(int(share * 150), 2)
    X = np.column_stack([rng.integers(0, 3, n), rng.integers(0, 4, n)]).astype(float)
    drawn = np.where(X[:, 0] > 0, 0.6, 0.2)
    treated = rng.random(n) < drawn
    drawn, arm = np.where(treated, drawn, 1 - drawn), np.where(treated, "a", "c")
    y = X[:, 1] + rng.normal(size=n)
    found = neighbours(X, arm, y, control="c", propensity=drawn, k=k)
    new, means = X[:5] + 0.1, {}
    for name in ("a", "c"):
        rows, w, values = X[arm == name], 1 / drawn[arm == name], y[arm == name]
        wanted = k / min((arm == "a").sum(), (arm == "c").sum()) * w.sum()
        means[name] = []
        for query in new:
            distance = np.rint((rows - query) ** 2 / X.var(axis=0) * 2.0**24).sum(axis=1)
            held, total = 0.0, 0.0
            for step in np.unique(distance):
                tied = distance == step
                part = min(1.0, (wanted - held) / w[tied].sum())
                held, total = held + part * w[tied].sum(), total + part * (w * values)[tied].sum()
                if part < 1:
                    break
            means[name].append(total / wanted)
    expected = np.array(means["a"]) - np.array(means["c"])
    np.testing.assert_allclose(found.effects(new)[:, 0], expected, atol=1e-10)


def test_differences_are_shrunk_by_the_noise_that_they_are_known_to_have() -> None:
    """Noise alone is mostly taken off; differences that are there are mostly kept."""
    rng = np.random.default_rng(16)
    X, names = rng.normal(size=(4000, 6)), np.array(["c", "a1", "a2", "a3", "a4"])
    code, noise = rng.integers(0, 5, 4000), rng.normal(size=4000)
    spread, left = [], []
    for size in (0.0, 1.5):
        truth = size * np.column_stack([np.tanh(X[:, 0]), np.zeros((4000, 2)), -np.tanh(X[:, 0])])
        y = noise + np.where(code > 0, truth[np.arange(4000), np.maximum(code - 1, 0)], 0)
        found = neighbours(X, names[code], y, control="c")
        raw = neighbours(X, names[code], y, control="c", k=found.k)
        spread.append(found.effects_oob.std(axis=0).mean() / raw.effects_oob.std(axis=0).mean())
        left.append(((found.effects_oob - truth) ** 2).mean())
    assert spread[0] < 0.5
    assert left[0] < 0.01
    assert left[1] < 0.25 * 1.5**2 * np.tanh(X[:, 0]).var() / 2


def test_own_outcomes_do_not_lower_what_is_predicted_from_the_others() -> None:
    """Where nothing is there, deviations out of bag and own outcomes do not go together."""
    sums = []
    for seed in range(30):
        rng = np.random.default_rng([7, seed])
        X, treated, y = rng.normal(size=(300, 2)), rng.integers(0, 2, 300), rng.normal(size=300)
        found = neighbours(X, np.where(treated, "t", "c"), y, control="c")
        effects = found.effects_oob[:, 0] - found.effects_oob[:, 0].mean()
        products = effects * (y - y.mean()) * np.where(treated, 1, -1)
        sums.append(products.sum() / max(np.sqrt((products**2).sum()), 1e-300))
    assert abs(np.mean(sums)) < 3.5 * np.std(sums) / np.sqrt(30)


@pytest.mark.parametrize("k", [None, 30])
def test_a_matcher_with_weights_is_saved_and_loaded(k) -> None:
    X, arm, y, drawn = by_stratum(2, 400)
    found = neighbours(X, arm, y, control="control", propensity=drawn, k=k)
    loaded = Neighbours.load(BytesIO(found.to_bytes()))
    assert loaded.hash == found.hash
    assert (loaded.effects(X[:40] + 0.1) == found.effects(X[:40] + 0.1)).all()
    assert (loaded.std_error(X[:9]) == found.std_error(X[:9])).all()


def test_saved_and_loaded_matcher_is_the_same() -> None:
    X, arm, y = make(np.random.default_rng(10))
    found = neighbours(X, arm, y, control="control")
    file = BytesIO(found.to_bytes())
    loaded = Neighbours.load(file)
    assert loaded.to_bytes() == found.to_bytes()
    assert loaded.hash == found.hash
    assert (loaded.effects(X[:40] + 0.1) == found.effects(X[:40] + 0.1)).all()
    assert loaded.to_dict() == found.to_dict()


def test_changed_file_is_refused(tmp_path) -> None:
    path = tmp_path / "matcher.npz"
    X, arm, y = make(np.random.default_rng(11))
    neighbours(X, arm, y, control="control", k=5).save(path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["units_0"] = arrays["units_0"] + 1
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="changed since"):
        Neighbours.load(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(InputError, match="not a matcher's"):
        Neighbours.load(path)


def test_results_cannot_be_changed_and_speak() -> None:
    X, arm, y = make(np.random.default_rng(12))
    found = neighbours(X, arm, y, control="control", k=30)
    with pytest.raises(ValueError, match="read-only"):
        found.effects_oob[0, 0] = 1
    assert found.to_frame().columns[:2] == ["arm", "mean_effect"]
    assert found.to_dict()["version"] == 1
    assert "30 nearest units" in found.summary()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"X": np.ones((600, 2))}, "'x1' is constant at 1.0; 'x2' is constant"),
        ({"X": np.full((600, 1), np.nan)}, "'x1' is missing for all"),
        ({"X": np.full((600, 1), np.inf)}, "'x1': found 600 infinite values"),
        ({"X": {"id": [f"u{i}" for i in range(600)]}}, "text with 600 different values"),
        ({"X": np.zeros((600, 0))}, "no covariate"),
        ({"X": np.zeros(600)}, "of shape"),
        ({"arm": ["control"] * 600}, "at least one other arm"),
        ({"control": "nothing"}, "needed the control 'nothing'"),
        ({"outcome": np.zeros(5)}, r"outcome: found shape \(5,\)"),
        ({"outcome": ["yes"] * 600}, "outcome: found text"),
        ({"outcome": np.full(600, np.inf)}, "600 infinite"),
        ({"k": 1}, "k: found 1"),
        ({"k": True}, "k: found True"),
        ({"k": 2.5}, "k: found 2.5"),
        ({"k": None, "propensity": {"a": 0.5}}, "found arms a; needed exactly"),
        ({"k": None, "propensity": np.zeros(600)}, "found values missing or outside"),
    ],
)
def test_bad_input_is_named(change, text) -> None:
    X, arm, y = make(np.random.default_rng(13))
    options = {"X": X, "arm": arm, "outcome": y, "control": "control", "k": 5} | change
    with pytest.raises(InputError, match=text):
        neighbours(**options)


def test_arm_with_one_unit_is_named() -> None:
    X, arm, y = make(np.random.default_rng(14))
    with pytest.raises(EstimationError, match="'rare' 1"):
        neighbours(X, np.where(np.arange(600) == 0, "rare", arm), y, control="control", k=5)


def test_new_units_lacking_a_covariate_are_refused() -> None:
    found = neighbours({"x": [0.0, 1, 2, 3]}, ["c", "a", "c", "a"], [0, 1, 0, 1], control="c", k=2)
    with pytest.raises(InputError, match="no covariate x"):
        found.effects({"z": [1.0]})
    with pytest.raises(InputError, match="found text in 'x'"):
        found.effects({"x": ["one"]})
