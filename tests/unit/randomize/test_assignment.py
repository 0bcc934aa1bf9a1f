"""The public function: what comes back, the published wave, and every bad input."""

import hashlib
import json
import math
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import wavewise as ww
from wavewise.errors import InputError
from wavewise.randomize import Assignment, assign

SHARES = {"control": 0.5, "peers": 0.3, "teacher": 0.2}
BYTES = "7ba6d16844697485fab87b139ee76838ecd7e8691f2a4f21d09e6910a59d1bd6"


def rng(seed=1):
    return np.random.default_rng(seed)


# --- what comes back ---


def test_assignment_is_in_the_order_of_units():
    units = [30, 10, 20, 40]
    a = assign(units, ["x", "y", "x", "y"], {"control": 0.5, "peers": 0.5}, rng())
    assert a.arm.shape == a.propensity.shape == (4,)
    assert a.arms == ("control", "peers")
    assert sorted(a.arm[[0, 2]].tolist()) == sorted(a.arm[[1, 3]].tolist()) == ["control", "peers"]
    assert (a.propensity == 0.5).all()


def test_arrays_cannot_be_changed():
    a = assign(range(10), None, SHARES, rng())
    for array in (a.arm, a.propensity, a.propensities, a.counts.drawn, a.counts.n_units, a.share):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[-1]


def test_later_changes_of_the_caller_do_not_reach_the_result():
    units = np.arange(10)
    a = assign(units, None, SHARES, rng())
    units[:] = 0
    assert a.to_frame()["unit"].to_list() == list(range(10))


def test_frame_has_one_row_a_unit():
    units = [f"u{i}" for i in range(8)]
    frame = assign(units, [1, 2] * 4, SHARES, rng(), cluster=list(range(8))).to_frame()
    assert frame.columns == ["unit", "stratum", "arm", "propensity", "cluster"]
    assert frame["unit"].to_list() == units
    assert frame["stratum"].to_list() == [1, 2] * 4


def test_counts_agree_with_the_units():
    a = assign(range(100), [i % 7 for i in range(100)], SHARES, rng())
    frame = a.counts.to_frame()
    assert frame.columns == ["stratum", "arm", "expected", "drawn", "n_units"]
    by_hand = a.to_frame().group_by("stratum", "arm").len()
    joined = frame.filter(pl.col("n_units") > 0).join(by_hand, on=["stratum", "arm"])
    assert (joined["n_units"] == joined["len"]).all()
    assert joined["len"].sum() == 100
    assert (frame["drawn"] == frame["n_units"]).all()


def test_arm_totals_without_remainder_are_exact():
    a = assign(range(1000), [i % 7 for i in range(1000)], SHARES, rng())
    assert a.counts.by_arm()["drawn"].to_list() == [500, 300, 200]


def test_dict_is_json_without_ids():
    a = assign([f"secret{i}" for i in range(6)], None, SHARES, rng())
    body = a.to_dict()
    text = json.dumps(body)
    assert body["version"] == 1
    assert "secret" not in text
    assert "secret" not in repr(a) + a.summary()


def test_summary_states_scope_and_guarantee():
    a = assign(range(12), [0] * 6 + [1] * 6, SHARES, rng(), cluster=[i // 2 for i in range(12)])
    text = a.summary()
    assert "12 units in 6 clusters, 2 strata, 3 arms" in text
    assert "unit counts vary with the clusters' sizes" in text


def test_provenance_has_the_seed_only_where_it_is_known():
    fresh = assign(range(6), None, SHARES, rng(42)).provenance
    used_rng = rng(42)
    used_rng.random()
    used = assign(range(6), None, SHARES, used_rng).provenance
    child = np.random.default_rng(np.random.SeedSequence(42).spawn(2)[1])
    spawned = assign(range(6), None, SHARES, child).provenance
    assert (fresh.seed, used.seed, spawned.seed) == (42, None, 42)
    assert "used before" in used.method
    assert "spawn key (1,)" in spawned.method
    assert fresh.data_hash == used.data_hash


def test_data_hash_moves_with_what_went_in():
    def of(**changes):
        given = {"units": range(6), "strata": [0, 0, 0, 1, 1, 1], "shares": SHARES, "rng": rng()}
        return assign(**(given | changes)).provenance.data_hash

    hashes = {
        of(),
        of(units=range(1, 7)),
        of(strata=[0, 0, 1, 1, 1, 1]),
        of(shares={"control": 0.5, "peers": 0.2, "teacher": 0.3}),
        of(cluster=[1, 1, 2, 3, 3, 4]),
    }
    assert len(hashes) == 5


def test_bytes_do_not_move():
    # Beside the tests of exactness: a change of this value is a change of every user's draw.
    a = assign(range(500), [i % 13 for i in range(500)], SHARES, rng(2024))
    digest = hashlib.sha256("\n".join(a.arm.tolist()).encode()).hexdigest()
    assert digest == BYTES


def test_number_of_threads_does_not_matter(tmp_path):
    script = (
        "import numpy as np, hashlib; from wavewise.randomize import assign;"
        "ids = [f'u{i:05d}' for i in np.random.default_rng(0).permutation(20000)];"
        "s = [f's{i % 97}' for i in range(20000)];"
        "a = assign(ids, s, {'a': 0.37, 'b': 0.63}, np.random.default_rng(1));"
        "print(hashlib.sha256(a.arm_code.tobytes()).hexdigest())"
    )
    seen = set()
    for n_threads in ("1", "2"):
        env = os.environ | {"POLARS_MAX_THREADS": n_threads, "OMP_NUM_THREADS": n_threads}
        done = subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
        )
        seen.add(done.stdout)
    assert len(seen) == 1


def test_names_stay_functions_after_use():
    assert callable(ww.randomize.assign)
    ww.randomize.assign(range(4), None, SHARES, rng())
    assert callable(ww.randomize.assign)
    assert isinstance(ww.randomize.assign(range(4), None, SHARES, rng()), Assignment)
    assert set(dir(ww.randomize)) >= {"assign", "balance", "sample_ratio"}
    with pytest.raises(AttributeError, match="no attribute 'assing'"):
        _ = ww.randomize.assing


# --- designs at the edges ---


def test_one_arm_gets_all():
    a = assign(range(5), None, {"only": 1.0}, rng())
    assert a.arm.tolist() == ["only"] * 5
    assert (a.propensity == 1.0).all()


def test_arm_with_share_zero_gets_nobody():
    a = assign(range(999), [i % 10 for i in range(999)], {"a": 0.0, "b": 0.4, "c": 0.6}, rng())
    assert a.arms == ("a", "b", "c")
    assert a.counts.by_arm()["drawn"].to_list()[0] == 0


def test_shares_by_stratum_with_arms_that_differ():
    shares = {"town": {"a": 0.5, "b": 0.5}, "village": {"b": 0.25, "c": 0.75}, "absent": {"d": 1.0}}
    strata = ["town"] * 10 + ["village"] * 8
    a = assign(range(18), strata, shares, rng())
    assert a.arms == ("a", "b", "c", "d")
    assert a.counts.drawn.tolist() == [[5, 5, 0, 0], [0, 2, 6, 0]]


def test_thousands_of_strata_of_one_unit():
    a = assign(range(5000), range(5000), {"control": 0.2, "a": 0.35, "b": 0.45}, rng())
    assert a.counts.by_arm()["drawn"].to_list() == [1000, 1750, 2250]


def test_many_arms():
    shares = {f"arm{k}": 1 / 100 for k in range(100)}
    a = assign(range(1234), [i % 50 for i in range(1234)], shares, rng())
    assert set(a.counts.drawn.sum(axis=0).tolist()) == {12, 13}
    assert set(a.counts.drawn.ravel().tolist()) <= {0, 1}


def test_empty_cells_take_no_unit_when_fewer_units_than_arms():
    a = assign(range(3), None, {f"arm{k}": 0.1 for k in range(10)}, rng())
    assert sorted(a.counts.drawn.ravel().tolist()) == [0] * 7 + [1] * 3


# --- the published wave ---

DRAWS = {"T1A": 302, "T1B": 5931, "T1C": 1334, "T2A": 35, "T2B": 398, "T2C": 0}


def kenya_shares():
    """Wave 2's shares: exploration sampling on 8,000 draws, with control at 1/7."""
    products = {arm: n / 8000 * (1 - n / 8000) for arm, n in DRAWS.items()}
    total = sum(products.values())
    return {arm: 6 / 7 * p / total for arm, p in products.items()} | {"control": 1 / 7}


@pytest.mark.parametrize("n_units", [1582, 1384])
def test_kenya_wave_2_is_within_one_person(n_units):
    # 108 schools of unequal size, each split by whether the opt-in call was answered. The published
    # draw gave T1A 117 of 1,384, 8.45 %, where the share was 7.44 %.
    shares = kenya_shares()
    assert [round(100 * share, 2) for share in shares.values()] == [
        7.44, 39.26, 28.45, 0.89, 9.68, 0.0, 14.29,
    ]  # fmt: skip
    school = np.sort(rng(8).integers(0, 108, n_units))
    strata = [
        f"{s}/{answered}" for s, answered in zip(school, rng(9).random(n_units) < 0.6, strict=True)
    ]
    for seed in range(20):
        a = assign(range(n_units), strata, shares, rng(seed))
        drawn = dict(zip(a.arms, a.counts.by_arm()["drawn"].to_list(), strict=True))
        for arm, share in shares.items():
            assert math.floor(n_units * share) <= drawn[arm] <= math.ceil(n_units * share)
        assert drawn["T2C"] == 0
        assert (np.abs(a.counts.drawn - a.counts.expected) < 1).all()
        assert abs(drawn["T1A"] / n_units - shares["T1A"]) < 1 / n_units


# --- clusters ---


def test_units_of_a_cluster_share_their_arm():
    cluster = np.repeat([f"h{i}" for i in range(30)], rng().integers(1, 6, 30))
    strata = [int(c[1:]) % 3 for c in cluster.tolist()]
    a = assign(range(cluster.size), strata, SHARES, rng(), cluster=cluster)
    by_cluster = a.to_frame().group_by("cluster").agg(pl.col("arm").n_unique())
    assert (by_cluster["arm"] == 1).all()
    assert a.counts.drawn.sum() == 30
    assert a.counts.n_units.sum() == cluster.size
    assert a.counts.by_arm()["drawn"].to_list() == [15, 9, 6]


def test_ids_do_not_matter_to_clusters():
    cluster = np.repeat(np.arange(20), 3)
    a = assign(range(60), None, SHARES, rng(), cluster=cluster)
    b = assign(range(59, -1, -1), None, SHARES, rng(), cluster=cluster)
    assert (a.arm == b.arm).all()


# --- bad input ---

BAD = {
    "repeated ids": ({"units": [1, 2, 2, 2, 3]}, "found 2 repeats among 5"),
    "repeated text ids": ({"units": list("abcba")}, "found 2 repeats among 5"),
    "no units": ({"units": [], "strata": None}, "units: found none"),
    "float ids": ({"units": [1.0, 2.0, 3.0, 4.0, np.nan]}, "found 1 missing labels of 5"),
    "durations": ({"units": np.arange(5).astype("m8[D]")}, "type timedelta64"),
    "mixed ids": ({"units": [1, "b", 3, 4, 5]}, "mixed types"),
    "missing ids": ({"units": ["a", None, "c", "d", None]}, "found 2 missing labels of 5"),
    "huge ids": ({"units": [2**70, 1, 2, 3, 4]}, "beyond 64 bits"),
    "huge unsigned ids": (
        {"units": np.array([2**63, 1, 2, 3, 4], dtype=np.uint64)},
        r"needed at most 2\^63 - 1",
    ),
    "huge unsigned series": (
        {"units": pl.Series([2**63, 1, 2, 3, 4], dtype=pl.UInt64)},
        "beyond 64 bits",
    ),
    "one text": ({"units": "abcde"}, "found one text"),
    "matrix of ids": ({"units": np.arange(10).reshape(5, 2)}, r"shape \(5, 2\)"),
    "strata too short": ({"strata": ["x"] * 4}, "strata: found 4 labels for 5 units"),
    "cluster too long": ({"cluster": [1] * 6}, "cluster: found 6 labels for 5 units"),
    "missing strata": (
        {"strata": ["x", None, "x", "x", "x"]},
        "strata: found 1 missing labels of 5",
    ),
    "cluster crosses": (
        {"strata": list("xxyyy"), "cluster": [1, 1, 1, 2, 2]},
        "1 of 2 clusters with units in more than one stratum",
    ),
    "not a generator": ({"rng": 7}, "rng: found int, needed a numpy.random.Generator"),
    "old generator": ({"rng": np.random.RandomState(1)}, "needed a numpy.random.Generator"),
    "sum below one": ({"shares": {"a": 0.5, "b": 0.47}}, "a sum of 0.97 over 2 arms"),
    "percent": ({"shares": {"a": 50, "b": 50}}, "fractions, not percent"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    changes, message = BAD[name]
    given = {"units": list("abcde"), "strata": list("xxxyy"), "shares": SHARES, "rng": rng()}
    with pytest.raises(InputError, match=message):
        assign(**(given | changes))


def test_whole_floats_and_booleans_are_labels():
    """As whole numbers and as two strata, with the same draws."""
    strata = np.array([True, False, True, False, True])
    found = assign(np.arange(5.0), strata, SHARES, rng())
    same = assign(range(5), strata.astype(int).tolist(), SHARES, rng())
    assert found.arm.tolist() == same.arm.tolist()
    assert found.to_frame()["unit"].to_list() == list(range(5))
    shares = {True: {"a": 1.0}, False: {"b": 1.0}}
    assert assign(range(5), strata, shares, rng()).arm.tolist() == list("ababa")


def test_errors_hold_no_ids():
    with pytest.raises(InputError) as caught:
        assign(["secret"] * 3, None, SHARES, rng())
    assert "secret" not in str(caught.value)
