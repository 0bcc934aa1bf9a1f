"""Event files: times, values and faults by row and column."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavewise.errors import InputError
from wavewise.fieldwork.events import check_events
from wavewise.fieldwork.files.times import read_times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def events(at: list[str | None], **columns: list) -> pl.DataFrame:
    n = len(at)
    base = {"event_id": [f"e{i}" for i in range(n)], "unit_id": ["secret"] * n, "kind": ["x"] * n}
    return pl.DataFrame({**base, "at": at, **columns}, schema_overrides={"at": pl.String})


def us(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    "text",
    [
        "2023-10-09T17:00:00-05:00",
        "2023-10-09 17:00:00 -05:00",
        "2023-10-09T17:00-0500",
        "2023-10-09T22:00:00Z",
        "2023-10-09T17:00:00.000000-05",
        "2023-10-10T03:45:00+05:45",
    ],
)
def test_forms_of_one_moment(text: str) -> None:
    assert check_events(events([text])).events["at_utc_us"][0] == us("2023-10-09T22:00:00+00:00")


moments = st.datetimes(
    datetime(1900, 1, 1),
    datetime(2199, 1, 1),
    timezones=st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
        lambda d: __import__("datetime").timezone(timedelta(minutes=d // timedelta(minutes=1)))
    ),
)


@settings(deadline=None, max_examples=200)
@given(moments, st.sampled_from(["T", " "]))
def test_times_are_those_of_python(moment: datetime, separator: str) -> None:
    read = read_times(pl.Series([moment.isoformat(sep=separator)]), None)
    assert read.at_utc_us.to_list() == [(moment - EPOCH) // timedelta(microseconds=1)]


@settings(deadline=None, max_examples=200)
@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2025, 1, 1)),
    st.sampled_from(["Europe/Berlin", "America/Santiago", "Africa/Nairobi", "Australia/Lord_Howe"]),
)
def test_local_times_are_those_of_zoneinfo(local: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    read = read_times(pl.Series([local.isoformat()]), name)
    offsets = {local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)}
    if len(offsets) > 1:  # the clocks changed: it came twice or never
        assert read.is_ambiguous.to_list() == [True]
    else:
        moment = local.replace(tzinfo=zone)
        assert read.at_utc_us.to_list() == [(moment - EPOCH) // timedelta(microseconds=1)]


@pytest.mark.parametrize(
    "text",
    [
        "2023-13-09T17:00:00Z",
        "2023-02-29T17:00:00Z",
        "2023-10-09",
        "17:00Z",
        "2023-10-09T25:00:00Z",
        "2023-10-09T17:00:00+25:00",
        "2023-10-09T17:00:00 Lima",
        "1696888800",
        "soon",
    ],
)
def test_malformed_times(text: str) -> None:
    found = check_events(events(["2023-10-09T17:00:00Z", text]), default_time_zone="UTC")
    assert [f.path for f in found.faults] == ["row 3, column 'at'"]
    assert found.faults[0].found == repr(text)
    assert found.events.height == 1


def test_time_without_offset_needs_a_default_zone() -> None:
    frame = events(["2023-10-09T17:00:00"])
    found = check_events(frame)
    assert found.faults[0].found == "'2023-10-09T17:00:00' without an offset"
    assert found.faults[0].needed == "an offset or Z at its end"
    good = check_events(frame, default_time_zone="America/Lima")
    assert good.events["at_utc_us"][0] == us("2023-10-09T22:00:00+00:00")


@pytest.mark.parametrize("text", ["2023-10-29T02:30:00", "2023-03-26T02:30:00"])
def test_local_time_that_came_twice_or_never(text: str) -> None:
    found = check_events(events([text]), default_time_zone="Europe/Berlin")
    assert "clocks changed" in found.faults[0].found


def test_typed_times_of_parquet() -> None:
    zone = ZoneInfo("America/Lima")
    moments = [datetime(2023, 10, 9, 17, 0, 0, 5, tzinfo=zone), None]
    frame = events(["", ""]).with_columns(
        at=pl.Series(moments, dtype=pl.Datetime("ms", "America/Lima"))
    )
    found = check_events(frame, first_row=1)
    assert found.events["at_utc_us"].to_list() == [us("2023-10-09T22:00:00+00:00")]
    assert [f.path for f in found.faults] == ["row 2, column 'at'"]
    naive = events(["", ""]).with_columns(
        at=pl.Series([m and m.replace(tzinfo=None) for m in moments])
    )
    assert check_events(naive, default_time_zone="America/Lima").events["at_utc_us"][0] == us(
        "2023-10-09T22:00:00.000005+00:00"
    )


def test_faults_of_every_column_by_row() -> None:
    frame = pl.DataFrame(
        {
            "event_id": ["e1", "", "e3", " e4"],
            "unit_id": ["", "secret", "secret", "secret"],
            "event": ["x", "x", None, "x"],
            "at": ["", "2023-10-09T17:00Z", "2023-10-09T17:00Z", "2023-10-09T17:00Z"],
            "value": ["1", "two", "nan", ""],
        }
    )
    found = check_events(frame, name="events.csv")
    assert [f.path for f in found.faults] == [
        "row 2, column 'unit_id'",
        "row 2, column 'at'",
        "row 3, column 'event_id'",
        "row 3, column 'value'",
        "row 4, column 'event'",
        "row 4, column 'value'",
    ]
    with pytest.raises(InputError, match=r"events.csv: 6 errors") as caught:
        found.raise_if_bad()
    assert "secret" not in str(caught.value)
    assert found.events["event_id"].to_list() == ["e4"]


def test_values_and_items() -> None:
    at = ["2023-10-09T17:00Z"] * 3
    found = check_events(events(at, value=["1.5", " 2 ", ""], item=["set 1", "", "007"]))
    assert found.events["value"].to_list() == [1.5, 2.0, None]
    assert found.events["item"].to_list() == ["set 1", None, "007"]
    plain = check_events(events(at)).events
    assert plain["value"].null_count() == plain["item"].null_count() == 3
    assert found.events.schema == plain.schema


def test_kind_of_a_whole_file() -> None:
    frame = events(["2023-10-09T17:00Z"])
    assert check_events(frame.drop("kind"), kind="login").events["kind"].to_list() == ["login"]
    assert check_events(frame, kind="login").events["kind"].to_list() == ["x"]
    assert "no column 'kind'" in check_events(frame.drop("kind")).faults[0].found


def test_missing_columns_give_nothing() -> None:
    found = check_events(pl.DataFrame({"unit_id": ["a"]}))
    assert [f.needed for f in found.faults] == [
        "a column 'at'",
        "a column 'kind'",
    ]
    assert found.events.height == 0
