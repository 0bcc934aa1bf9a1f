"""Whole-number parts: small fractions exactly, others finely, rows that sum."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.errors import InputError
from wavewise.randomize.rounding import integer_shares, small_fractions


def row(*shares):
    return np.array([shares], dtype=np.float64)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(1, 20_000), st.data())
def test_small_fractions_are_found(denominator, data):
    exact = Fraction(data.draw(st.integers(0, denominator)), denominator)
    p, q = small_fractions(np.array([float(exact)]))
    assert (int(p[0]), int(q[0])) == (exact.numerator, exact.denominator)


def test_python_agrees_on_the_fraction():
    values = np.random.default_rng(0).integers(1, 5000, 200) / 5001
    p, q = small_fractions(values)
    slow = [Fraction(v).limit_denominator(10**6) for v in values.tolist()]
    assert [Fraction(*pair) for pair in zip(p.tolist(), q.tolist(), strict=True)] == slow


def test_other_numbers_are_no_small_fractions():
    values = np.array([np.pi / 4, np.sqrt(0.5), np.exp(-1.0), (np.sqrt(5) - 1) / 2])
    _, q = small_fractions(values)
    assert (q == 0).all()


def test_small_fractions_share_their_least_denominator():
    parts = integer_shares(row(0.2, *[0.05] * 16), 10**6)
    assert parts.whole == 20
    assert parts.part.tolist() == [[4] + [1] * 16]
    assert parts.share.tolist() == [[0.2] + [0.05] * 16]


def test_kenya_shares_are_exact():
    # A product of small whole numbers over their sum is a small fraction, control's too.
    n = np.array([302, 5931, 1334, 35, 398, 0])
    product = n * (8000 - n)
    share = np.append(6 / 7 * product / product.sum(), 1 / 7)
    parts = integer_shares(share[None, :], 1384)
    assert parts.part[0, -1] * 7 == parts.whole
    assert np.abs(parts.share[0] - share).max() < 1e-14


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20).filter(lambda v: sum(v) > 1e-6),
    st.integers(1, 2 * 10**9),
)
def test_rows_sum_and_errors_are_small(values, n_units):
    share = row(*values) / sum(values)
    parts = integer_shares(share, n_units)
    assert int(parts.part.sum()) == parts.whole
    assert (parts.part >= 0).all()
    assert parts.whole * n_units < 2**62 + 1
    bound = 1.01 / parts.whole + share.size * 1e-14 + 1e-15
    assert np.abs(parts.share - share).max() < bound
    assert (parts.part[share == 0.0] == 0).all()


def test_mixed_rows_keep_the_small_fraction_exact():
    loose = np.array([0.3, 0.2, 0.1]) * np.sqrt(2)
    share = np.append(6 / 7 * loose / loose.sum(), 1 / 7)
    parts = integer_shares(np.vstack([share, [0.25] * 4]), 10**6)
    assert parts.part[0, -1] * 7 == parts.whole
    assert (parts.part[1] * 4 == parts.whole).all()
    assert np.abs(parts.share[0] - share).max() < 1e-12


def test_denominators_that_do_not_fit_together_are_approximated():
    primes = [99991, 99989, 99971, 99961, 99929, 99923]
    share = np.array([[1 / p, 1.0 - 1 / p] for p in primes])
    parts = integer_shares(share, 10**6)
    assert (parts.part.sum(axis=1) == parts.whole).all()
    assert np.abs(parts.share - share).max() < 1e-12


def test_too_many_units_are_refused():
    with pytest.raises(InputError, match="needed fewer than"):
        integer_shares(row(0.5, 0.5), 2**31)
