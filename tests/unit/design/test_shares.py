"""Planned shares and sizes."""

import math

import pytest

from wavewise.design import StudySpec, parse_spec
from wavewise.design.shares import planned_shares, planned_sizes, planned_units
from wavewise.design.templates import template_names, template_text
from wavewise.shared.results import NotEstimable

SUMMER = template_text("peru-summer")


def _first(text: str) -> object:
    spec = parse_spec(text)
    return planned_shares(spec, spec.waves[0])


def _with(shares: str, control: str = "control_share = 0.20 ") -> StudySpec:
    text = SUMMER.replace("control_share = 0.20 ", control)
    return parse_spec(text.replace('shares = "equal"    ', f"shares = {shares}    "))


def test_equal_shares_beside_a_control_share_that_is_a_fraction_are_exact() -> None:
    assert set(_first(template_text("kenya-ivr")).values()) == {1 / 7}  # type: ignore[attr-defined]


def test_equal_shares_without_a_control_share() -> None:
    spec = parse_spec(SUMMER)
    assert planned_shares(spec, spec.waves[1]) == dict.fromkeys(
        ["best", "forest", "neighbours", "random"], 0.25
    )


def test_published_shares() -> None:
    school_year = _first(template_text("peru-school-year"))
    assert isinstance(school_year, dict)
    assert school_year.pop("control") == 0.2
    assert list(school_year.values()) == [0.05] * 16
    assert set(_first(SUMMER).values()) == {0.2}  # type: ignore[attr-defined]
    vote = _first(template_text("get-out-the-vote"))
    assert isinstance(vote, dict)
    assert list(vote.values()) == [5 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 9]


def test_the_published_counts_are_those_of_the_shares() -> None:
    """Counts of the file are within rounding to blocks of nine households of the design's."""
    published = {"control": 191_243, "civic-duty": 38_218, "hawthorne": 38_204, "self": 38_218,
                 "neighbors": 38_201}  # fmt: skip
    spec = parse_spec(template_text("get-out-the-vote"))
    planned = planned_sizes(spec, spec.waves[0])
    for arm, count in published.items():
        assert planned[arm] == pytest.approx(count, abs=100)


def test_written_shares_take_the_control_share_in() -> None:
    spec = _with("{ teacher = 0.3, peers = 0.3, parent = 0.2, future = 0 }")
    assert planned_shares(spec, spec.waves[0]) == {
        "teacher": 0.3, "peers": 0.3, "parent": 0.2, "future": 0.0, "control": 0.2,
    }  # fmt: skip


def test_shares_by_stratum_fill_with_zero() -> None:
    spec = _with("{ by_stratum = { yes = { teacher = 0.8 }, no = { peers = 0.4, parent = 0.4 } } }")
    shares = planned_shares(spec, spec.waves[0])
    assert shares is not None
    assert shares["yes"] == {
        "teacher": 0.8, "peers": 0.0, "parent": 0.0, "future": 0.0, "control": 0.2,
    }  # fmt: skip
    assert isinstance(planned_sizes(spec, spec.waves[0])["teacher"], NotEstimable)


def test_a_rule_decides_later() -> None:
    spec = parse_spec(template_text("kenya-ivr"))
    assert planned_shares(spec, spec.waves[1]) is None
    sizes = planned_sizes(spec, spec.waves[1])
    assert sizes["control"] == pytest.approx(1439 / 7)
    assert isinstance(sizes["T1A"], NotEstimable)


def test_a_rule_of_equal_shares_decides_nothing() -> None:
    text = template_text("kenya-ivr").replace(
        'rule = "exploration", model = "engagement",', 'rule = "equal",'
    )
    spec = parse_spec(text)
    assert set(planned_shares(spec, spec.waves[1]).values()) == {1 / 7}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", template_names())
def test_shares_sum_to_one_and_name_every_arm_in_order(name: str) -> None:
    spec = parse_spec(template_text(name))
    for wave in spec.waves:
        shares = planned_shares(spec, wave)
        if shares is not None:
            assert list(shares) == [arm.id for arm in spec.arms_of(wave)]
            assert math.fsum(shares.values()) == pytest.approx(1.0, abs=1e-15)  # type: ignore[arg-type]


def test_units_of_waves() -> None:
    kenya = parse_spec(template_text("kenya-ivr"))
    assert [planned_units(kenya, wave) for wave in kenya.waves] == [1439.0, 1439.0]
    where = parse_spec(
        SUMMER.replace('units = "all"\nstarts = 2024-01', 'units = { where = { region = "X" } }\n'
                       "starts = 2024-01")
    )  # fmt: skip
    assert isinstance(planned_units(where, where.waves[0]), NotEstimable)
    assert set(planned_sizes(where, where.waves[0])) >= {"teacher", "control"}


def test_registered_sample_sizes() -> None:
    """Sample sizes by arm that the study's registration gives."""
    year, summer = parse_spec(template_text("peru-school-year")), parse_spec(SUMMER)
    first = planned_sizes(year, year.waves[0])
    assert first.pop("control") == 20_000
    assert set(first.values()) == {5_000}
    assert set(planned_sizes(year, year.waves[1]).values()) == {25_000}
    assert set(planned_sizes(summer, summer.waves[0]).values()) == {20_000}
