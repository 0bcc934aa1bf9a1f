"""A draw that takes names with values does not depend on the order in which they are named."""

import numpy as np
import polars as pl
import pytest

import wavewise as ww
from wavewise.design import parse_spec, planned_shares
from wavewise.design.templates import template_text
from wavewise.errors import InputError

N = 300
SHARES = {"control": 0.31, "teacher": 0.22, "peers": 0.3, "call": 0.17}
STRATA = {"region": np.arange(N) % 3, "sex": np.array(["f", "m"])[np.arange(N) // 7 % 2]}


def rng():
    return np.random.default_rng(4)


def turned(mapping):
    """The same mapping, and those within it, named from the last to the first."""
    return {
        key: turned(value) if isinstance(value, dict) else value
        for key, value in reversed(mapping.items())
    }


def drawn(a):
    by_arm = a.counts.by_arm().sort("arm")
    return a.arm.tolist(), a.propensity.tolist(), by_arm.rows(), a.provenance


@pytest.mark.parametrize("cluster", [None, np.arange(N) // 21])
def test_shares(cluster):
    one, two = (
        ww.randomize.assign(range(N), None, s, rng(), cluster=cluster)
        for s in (SHARES, turned(SHARES))
    )
    assert drawn(one) == drawn(two)
    assert one.arms == tuple(SHARES)
    assert two.arms == tuple(reversed(SHARES))


def test_shares_by_stratum():
    by = {"a": SHARES, "b": {"control": 0.5, "text": 0.5}, "c": {"text": 0.7, "call": 0.3}}
    strata = np.array(["a", "b", "c"])[np.arange(N) % 3]
    one, two = (ww.randomize.assign(range(N), strata, s, rng()) for s in (by, turned(by)))
    assert drawn(one) == drawn(two)


def test_columns_of_strata():
    one, two = (ww.randomize.assign(range(N), s, SHARES, rng()) for s in (STRATA, turned(STRATA)))
    assert drawn(one) == drawn(two)
    assert one.strata == two.strata
    table = ww.randomize.assign(range(N), pl.DataFrame(STRATA), SHARES, rng())
    assert table.strata == one.strata  # here the frame's columns stand in the order of names


def test_the_order_of_a_plan_is_kept_where_it_is_given():
    plan = list(SHARES)
    one, two = (
        ww.randomize.assign(range(N), None, s, rng(), arms=plan) for s in (SHARES, turned(SHARES))
    )
    assert one.arm.tolist() == two.arm.tolist()
    assert one.arm.tolist() != ww.randomize.assign(range(N), None, SHARES, rng()).arm.tolist()
    with pytest.raises(InputError, match="each once"):
        ww.randomize.assign(range(N), None, SHARES, rng(), arms=["control"])


@pytest.mark.parametrize("shares", [{"sms": 0.25, "call": 0.75}, {"b": 0.5, "a": 0.5}, SHARES])
def test_random_policies(shares):
    one, two = (ww.decide.random_policy(s).assign(np.zeros((N, 1)), rng()) for s in (
        shares, turned(shares)
    ))  # fmt: skip
    assert one.tolist() == two.tolist()


def test_shares_of_a_simulated_second_wave():
    arm, cluster = np.arange(N) % 4, np.arange(N) // 10
    names = [str(k) for k in range(4)]
    shares = dict(zip(names, (0.1, 0.2, 0.3, 0.4), strict=True))
    found = [
        ww.evaluate.ex_post(
            np.arange(N) % 3, np.full(N, 3), arm, cluster, first_wave=np.arange(N) < N // 2,
            shares=s, n_second=80, n_simulations=20, rng=rng(),
        ).to_frame()
        for s in (shares, turned(shares))
    ]  # fmt: skip
    assert found[0].equals(found[1])


def test_shares_in_a_study_file():
    """Planned shares come in the plan's order of arms, which is a list and part of the plan."""
    given = {"teacher": 0.1, "peers": 0.2, "parent": 0.3, "future": 0.2}
    both = []
    for shares in (given, turned(given)):
        table = ", ".join(f"{arm} = {share}" for arm, share in shares.items())
        text = template_text("peru-summer").replace(
            'shares = "equal"', f"shares = {{ {table} }}", 1
        )
        spec = parse_spec(text)
        both.append(planned_shares(spec, spec.waves[0]))
    assert list(both[0].items()) == list(both[1].items())
    assert both[0] == given | {"control": 0.2}
