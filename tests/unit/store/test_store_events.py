"""Events: each kept once, whatever is delivered how often."""

from datetime import UTC, datetime

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from wavewise.errors import InputError
from wavewise.store import AddedEvents, Store
from wavewise.store import frames as bulk

NOW = datetime(2023, 10, 9, tzinfo=UTC)
SCHEMA = {
    "event_id": pl.String,
    "unit_id": pl.String,
    "kind": pl.String,
    "at_utc_us": pl.Int64,
    "value": pl.Float64,
    "item": pl.String,
}
ROWS = [
    ("e1", "a", "login", 5, None, None),
    ("e2", "a", "session", 3, 1.5, "set, 1"),
    ("e3", "nobody", "login", 3, None, None),
]


def frame(*rows: tuple) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


def test_events_come_back_in_the_order_of_time(store: Store, units: pl.DataFrame) -> None:
    store.units.add(units, NOW)
    assert store.events.add(frame(*ROWS), NOW) == AddedEvents(3, 0, 0, n_unknown_unit=1)
    back = store.events.all()
    assert_frame_equal(back.drop("received_at_utc_us"), frame(ROWS[1], ROWS[2], ROWS[0]))
    assert store.events.count() == 3


def test_repeated_delivery_adds_nothing(store: Store) -> None:
    store.events.add(frame(*ROWS), NOW)
    assert store.events.add(frame(*ROWS), NOW) == AddedEvents(0, 3, 0)
    assert store.events.count() == 3


@pytest.mark.parametrize(
    "changed",
    [
        ("e2", "b", "session", 3, 1.5, "set, 1"),
        ("e2", "a", "login", 3, 1.5, "set, 1"),
        ("e2", "a", "session", 4, 1.5, "set, 1"),
        ("e2", "a", "session", 3, None, "set, 1"),
        ("e2", "a", "session", 3, 1.5, None),
    ],
)
def test_other_content_under_a_known_id_is_counted_and_the_first_kept(
    store: Store, changed: tuple
) -> None:
    store.events.add(frame(*ROWS), NOW)
    assert store.events.add(frame(changed, ROWS[0]), NOW) == AddedEvents(0, 1, 1)
    assert store.events.all(["session"]).row(0)[:6] == ROWS[1]


def test_within_a_file_the_first_of_an_id_is_kept(store: Store) -> None:
    other = ("e1", "b", "login", 9, None, None)
    added = store.events.add(frame(ROWS[0], ROWS[0], other), NOW)
    assert (added.n_new, added.n_repeated, added.n_conflicting) == (1, 1, 1)
    assert store.events.all().row(0)[:6] == ROWS[0]


def test_batches_do_not_matter(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavewise.store.observations.BATCH_ROWS", 2)
    other = ("e1", "b", "login", 9, None, None)
    added = store.events.add(frame(*ROWS, other, ROWS[1]), NOW)
    assert (added.n_new, added.n_repeated, added.n_conflicting) == (3, 1, 1)
    assert bulk.BATCH_ROWS > 2


def test_events_by_kind_and_time(store: Store) -> None:
    store.events.add(frame(*ROWS), NOW)
    assert store.events.all(["login"])["event_id"].to_list() == ["e3", "e1"]
    assert store.events.all(start_us=4)["event_id"].to_list() == ["e1"]
    assert store.events.all(end_us=5)["event_id"].to_list() == ["e2", "e3"]
    assert store.events.all(["login"], 3, 5)["event_id"].to_list() == ["e3"]
    assert store.events.all([]).height == 0


def test_optional_columns_may_be_left_out(store: Store) -> None:
    store.events.add(frame(*ROWS).drop("value", "item"), NOW)
    assert store.events.all()["value"].null_count() == 3


def test_empty_delivery(store: Store) -> None:
    assert store.events.add(frame(), NOW) == AddedEvents(0, 0, 0)


def test_event_without_a_time_is_refused_with_all_others(store: Store) -> None:
    with pytest.raises(InputError, match="at_utc_us"):
        store.events.add(frame(*ROWS, ("e9", "a", "login", None, None, None)), NOW)
    assert store.events.count() == 0


events_drawn = st.lists(
    st.tuples(
        st.sampled_from(["e1", "e2", "e3"]),
        st.sampled_from(["a", "b"]),
        st.just("login"),
        st.integers(0, 2),
        st.sampled_from([None, 0.5]),
        st.none(),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=40)
@given(st.lists(events_drawn, max_size=3))
def test_counts_are_those_of_a_dictionary(deliveries: list[list[tuple]]) -> None:
    """Against a plain dictionary that keeps the first content of each id."""
    kept: dict[str, tuple] = {}
    with Store.open("sqlite://") as store:
        for rows in deliveries:
            n_new = n_repeated = n_conflicting = 0
            for row in rows:
                n_new += row[0] not in kept
                n_repeated += kept.get(row[0]) == row
                n_conflicting += kept.get(row[0], row) != row
                kept.setdefault(row[0], row)
            added = store.events.add(frame(*rows), NOW)
            assert (added.n_new, added.n_repeated, added.n_conflicting) == (
                n_new,
                n_repeated,
                n_conflicting,
            )
        assert sorted(row[:6] for row in store.events.all().iter_rows()) == sorted(kept.values())


def test_batches_hold_every_event_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavewise.store.frames.BATCH_ROWS", 7)
    frame = pl.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(23)],
            "unit_id": ["u"] * 23,
            "kind": ["k"] * 23,
            "at_utc_us": list(range(23)),
            "value": [None, *map(float, range(22))],
        }
    )
    store.events.add(frame, NOW)
    parts = list(store.events.batches(["at_utc_us", "value", "item"]))
    assert [part.height for part in parts] == [7, 7, 7, 2]
    whole = pl.concat(parts).sort("at_utc_us")
    assert whole.columns == ["at_utc_us", "value", "item"]
    assert whole["value"].to_list() == frame["value"].to_list()
    assert whole["item"].null_count() == 23


def test_large_deliveries_count_alike_whether_or_not_some_are_known(
    store: Store, units: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short way for deliveries that are all new, and the long one, batch by batch."""
    monkeypatch.setattr("wavewise.store.observations.MANY_ROWS", 10)
    monkeypatch.setattr("wavewise.store.observations.BATCH_ROWS", 20)
    store.units.add(units, NOW)

    def rows(first: int, last: int, unit: str) -> pl.DataFrame:
        n = last - first
        return pl.DataFrame(
            {
                "event_id": [f"e{i:03d}" for i in range(first, last)],
                "unit_id": [unit] * n,
                "kind": ["k"] * n,
                "at_utc_us": list(range(first, last)),
            }
        )

    assert store.events.add(rows(0, 50, "a"), NOW) == AddedEvents(50, 0, 0, 0)
    assert store.events.add(rows(30, 90, "a"), NOW) == AddedEvents(40, 20, 0, 0)
    assert store.events.add(rows(80, 100, "nobody"), NOW) == AddedEvents(10, 0, 10, 10)
    twice = pl.concat([rows(100, 115, "b"), rows(100, 105, "a")])
    assert store.events.add(twice, NOW) == AddedEvents(15, 0, 5, 0)
    assert store.events.count() == 115
    assert store.events.all().filter(event_id="e101")["unit_id"].to_list() == ["b"]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(*map(st.sampled_from, ([1, 2], [None, 3], [None, "x"]))),
        min_size=1,
        max_size=4,
    )
)
def test_frames_go_in_whole_whatever_their_columns_share(rows: list[tuple]) -> None:
    """Columns that are all one number, or all empty, are written another way than the others."""
    table = sa.Table(
        "plain", sa.MetaData(), *(sa.Column(c, sa.Integer) for c in "ab"), sa.Column("c", sa.Text)
    )
    schema = {"a": pl.Int64, "b": pl.Int64, "c": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    with Store.open("sqlite://") as store, store.writing() as connection:
        table.create(connection)
        bulk.append(connection, table, frame)
        back = bulk.scan(connection, sa.select(table), schema)
        table.drop(connection)
    assert_frame_equal(back, frame)
