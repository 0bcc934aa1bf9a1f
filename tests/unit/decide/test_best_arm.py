"""The arm to choose, and the words beside it."""

from dataclasses import dataclass

import numpy as np
import pytest

from wavewise.decide import best_arm
from wavewise.errors import InputError
from wavewise.estimate import beta_binomial


@dataclass(frozen=True)
class Drawn:
    """A posterior that is known by draws, as another model would give it."""

    arms: tuple[str, ...]
    draws: np.ndarray

    @property
    def prob_optimal(self):
        return np.bincount(self.draws.argmax(axis=1), minlength=len(self.arms)) / len(self.draws)

    @property
    def log_prob_optimal(self):
        with np.errstate(divide="ignore"):
            return np.log(self.prob_optimal)

    @property
    def policy_regret(self):
        return self.draws.max(axis=1).mean() - self.draws.mean(axis=0)


def test_the_lowest_expected_regret_is_chosen():
    best = best_arm(beta_binomial([12, 30, 20], [100, 100, 100], arms=["a", "b", "c"]))
    assert (best.arm, best.runner_up, best.likeliest) == ("b", "c", "b")
    assert best.rule == "lowest expected regret"
    assert best.agrees_with_prob_optimal
    assert best.policy_regret < best.runner_up_regret
    assert "b has the lowest expected regret" in best.text
    assert "more often" not in best.text
    assert best.summary() == best.text
    assert best.to_dict()["version"] == 1


def test_a_little_known_arm_may_be_best_more_often_and_still_lose():
    """Right-skewed: best in 60 % of the draws by a little, in the others worse by much."""
    draws = np.array([[0.50, 0.52]] * 6 + [[0.50, 0.10]] * 4)
    best = best_arm(Drawn(("known", "new"), draws))
    assert best.arm == "known"
    assert best.likeliest == "new"
    assert not best.agrees_with_prob_optimal
    assert "new is best more often (probability 0.6)" in best.text
    assert best.policy_regret == pytest.approx(0.6 * 0.02)


def test_a_hierarchical_posterior_may_prefer_the_arm_that_is_best_less_often():
    """Success probabilities near 7 %, normal on the logit scale: the wide one is skewed upwards."""
    z = np.random.default_rng(11).standard_normal((20_000, 3))
    logits = np.array([-2.50, -2.62, -3.4]) + z * [0.06, 0.7, 0.2]
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    over_clusters = 1 / (1 + np.exp(-(logits[:, :, None] + 0.5 * nodes)))
    best = best_arm(Drawn(("known", "new", "weak"), over_clusters @ (weights / weights.sum())))
    assert best.arm == "new"
    assert best.likeliest == best.runner_up == "known"
    assert best.prob_optimal < 0.45
    assert best.policy_regret < best.runner_up_regret
    assert "known is best more often" in best.text
    assert "does not count by how much" in best.text


def test_exact_ties_are_said():
    best = best_arm(beta_binomial([5, 5], [10, 10], arms=["a", "b"]))
    assert best.arm == "a"
    assert best.agrees_with_prob_optimal
    assert "ties with it exactly" in best.text


def test_one_arm():
    best = best_arm(beta_binomial([5], [10]))
    assert best.runner_up is None
    assert best.runner_up_regret is None
    assert "only arm" in best.text


def test_what_is_no_posterior():
    with pytest.raises(InputError, match="found list"):
        best_arm([0.5, 0.5])
    with pytest.raises(InputError, match="not finite"):
        best_arm(Drawn(("a", "b"), np.array([[np.nan, 1.0]])))
