"""What must not change, or must change in a known way."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wavewise.estimate import beta_binomial
from wavewise.estimate.bayes.beta_best import best_of

ARMS = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(0, 3000)).map(sorted), min_size=2, max_size=7
)
few = settings(max_examples=40, deadline=None, derandomize=True)


def posterior_of(pairs, prior=(1.0, 1.0)):
    return beta_binomial([y for y, _ in pairs], [n for _, n in pairs], prior=prior)


@few
@given(ARMS, st.randoms(use_true_random=False))
def test_the_order_of_arms_changes_nothing_not_even_a_bit(pairs, random):
    order = list(range(len(pairs)))
    random.shuffle(order)
    first, second = posterior_of(pairs), posterior_of([pairs[k] for k in order])
    np.testing.assert_array_equal(first.log_prob_optimal[order], second.log_prob_optimal)
    np.testing.assert_array_equal(first.policy_regret[order], second.policy_regret)
    np.testing.assert_array_equal(first.cred_int()[order], second.cred_int())


@few
@given(ARMS, st.sampled_from([(1.0, 1.0), (0.5, 0.5), (2.0, 30.0)]))
def test_probabilities_sum_to_one_and_regret_is_never_negative(pairs, prior):
    posterior = posterior_of(pairs, prior)
    assert abs(posterior.prob_optimal.sum() - 1) < 1e-12
    assert (posterior.policy_regret >= 0).all()
    best = np.argmin(posterior.policy_regret)
    assert posterior.mean[best] == posterior.mean.max()
    gaps = posterior.policy_regret - posterior.policy_regret[best]
    np.testing.assert_allclose(gaps, posterior.mean[best] - posterior.mean, atol=1e-14)


@few
@given(ARMS)
def test_equal_arms_have_equal_numbers(pairs):
    posterior = posterior_of([*pairs, pairs[0]])
    np.testing.assert_allclose(
        posterior.prob_optimal[0], posterior.prob_optimal[-1], rtol=1e-9, atol=1e-300
    )
    assert posterior.policy_regret[0] == posterior.policy_regret[-1]


@few
@given(ARMS, st.integers(0, 6))
def test_one_more_success_makes_an_arm_likelier_best(pairs, which):
    k = which % len(pairs)
    more = [(y + (j == k), n + (j == k)) for j, (y, n) in enumerate(pairs)]
    before, after = posterior_of(pairs).log_prob_optimal, posterior_of(more).log_prob_optimal
    assert after[k] >= before[k] - 1e-12


@few
@given(st.tuples(*[st.integers(0, 500)] * 4).map(sorted))
def test_best_and_worst_mirror_for_two_arms(four):
    """Counting failures as successes swaps the two arms' probabilities."""
    (y1, n1), (y2, n2) = (four[0], four[2]), (four[1], four[3])
    forward = beta_binomial([y1, y2], [n1, n2])
    mirror = beta_binomial([n1 - y1, n2 - y2], [n1, n2])
    np.testing.assert_allclose(
        forward.log_prob_optimal, mirror.log_prob_optimal[::-1], rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(
        forward.policy_regret, mirror.policy_regret[::-1], rtol=1e-9, atol=1e-300
    )


@few
@given(
    *[st.floats(-2.5, 8).map(lambda e: 10**e)] * 2,
    *[st.floats(-2.5, 8).map(lambda e: 10**e)] * 2,
)
def test_regret_is_what_one_more_success_says(a1, b1, a0, b0):
    """E[(theta_1 - theta_0)^+] = m_1 P(theta_1' > theta_0) - m_0 P(theta_1 > theta_0'), where a
    prime is one more success: compared where the difference keeps its digits."""
    a, b = np.array([a1, a0]), np.array([b1, b0])
    mean = a / (a + b)
    low, high = (0, 1) if mean[0] <= mean[1] else (1, 0)
    first = mean[low] * _prob_greater(a, b, low, more=low)
    second = mean[high] * _prob_greater(a, b, low, more=high)
    assume(first - second > 1e-3 * first > 0)
    assert abs(best_of(a, b).shortfall[high] / (first - second) - 1) < 1e-6


def _prob_greater(a, b, arm, more):
    raised = a + np.eye(2)[more]
    return np.exp(best_of(raised, b).log_prob[arm])
