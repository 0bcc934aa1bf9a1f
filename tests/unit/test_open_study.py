"""A study in a notebook: what it says of itself, frames in and out, and when it is closed."""

import asyncio
import gc
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

import wavewise as ww
from set_clock import Clock
from study_folders import STUDY, people

BEFORE = datetime(2024, 2, 1, tzinfo=UTC)
AFTER = datetime(2024, 3, 20, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    return tmp_path


def _events(assigned: pl.DataFrame) -> pl.DataFrame:
    members = assigned.sort("unit_id").with_row_index("i").filter(pl.col("i") % 2 == 0)
    return members.select(
        event_id=pl.format("e{}", "i"),
        unit_id="unit_id",
        kind=pl.lit("login"),
        at=pl.lit("2024-03-05T12:00:00Z"),
    )


def _as(kind: str, frame: pl.DataFrame):
    if kind == "pandas":
        import pandas as pd

        return pd.DataFrame(frame.to_dict(as_series=False))
    return frame.to_arrow() if kind == "pyarrow" else frame


@pytest.mark.parametrize("kind", ["polars", "pandas", "pyarrow", "file"])
def test_from_plan_to_report_with_frames_of_any_kind(folder: Path, kind: str) -> None:
    def given(frame: pl.DataFrame, name: str):
        if kind != "file":
            return _as(kind, frame)
        frame.write_csv(folder / name)
        return folder / name

    clock = Clock(BEFORE)
    study = ww.open_study(folder, clock=clock)
    study.register()
    assert study.people_import(given(people(), "people.csv")).facts()["n_imported"] == 400
    opened = study.wave_open("one")
    assigned = study.assignments("one")
    counts = dict(assigned["arm"].value_counts().iter_rows())
    assert opened.facts()["counts"] == counts
    assert study.observe(given(_events(assigned), "events.csv")).facts()["n_new"] == 100
    assert study.observe(given(_events(assigned), "events.csv")).facts()["n_new"] == 0
    clock.now = AFTER
    study.wave_close("one", accept=["event-kinds", "event-dates"], reason="a test")
    assert study.outcomes("one")["login"].sum() == 100
    assert study.events().height == 100
    assert study.events()["at"].dtype == pl.Datetime("us", "UTC")
    effects = study.analyze("one")
    assert str(effects) == effects.summary()
    study.decide("one")
    study.report()
    assert (folder / "report" / "index.html").is_file()
    study.close()


def test_the_same_draw_as_by_the_command_line(folder: Path, tmp_path: Path) -> None:
    from study_folders import assignment, done

    done("register", folder)
    people().write_csv(folder / "people.csv")
    done("people", "import", folder, folder / "people.csv")
    done("wave", "open", folder, "one")
    other = tmp_path / "other"
    other.mkdir()
    (other / "study.toml").write_text(STUDY, encoding="utf-8")
    with ww.open_study(other) as study:
        study.register()
        study.people_import(people())
        study.wave_open("one", accept_late=True)
        found = study.assignments("one").sort("unit_id")
    assert found.equals(assignment(folder, "one").sort("unit_id"))


def test_frames_of_all_waves_and_of_the_kind_asked_for(folder: Path) -> None:
    import pandas as pd

    with ww.open_study(folder, clock=lambda: BEFORE) as study:
        study.register()
        study.people_import(people())
        assert study.assignments().height == 0
        study.wave_open("one", accept_late=True)
        every = study.assignments(container="pandas")
        assert isinstance(every, pd.DataFrame)
        assert list(every["wave"].unique()) == ["one"]
        assert len(every) == study.assignments("one").height == 200
        with pytest.raises(ww.errors.InputError, match="needed one of the study file: one, two"):
            study.assignments("three")


def test_a_frame_without_a_needed_column_is_named(folder: Path) -> None:
    with (
        ww.open_study(folder) as study,
        pytest.raises(ww.errors.InputError, match="the data frame") as caught,
    ):
        study.people_import(people().drop("grade"))
    assert "'grade'" in str(caught.value)
    with ww.open_study(folder) as study, pytest.raises(ww.errors.InputError, match="found a list"):
        study.people_import([1, 2])


def test_missing_values_of_pandas_are_missing(folder: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(people().to_dict(as_series=False)).astype({"grade": float})
    frame.loc[3, "grade"] = float("nan")
    with ww.open_study(folder) as study:
        study.register()
        study.people_import(frame)
        kept = study._study.store.units.all()
    assert kept.filter(unit_id="p0003")["fields_json"].str.contains('"grade":null').all()


def test_it_says_where_it_stands_and_what_comes_next(folder: Path) -> None:
    clock = Clock(BEFORE)
    study = ww.open_study(folder, clock=clock)
    assert "Not registered" in repr(study)
    assert not (folder / "study.db").exists()
    study.register()
    assert "Next: study.people_import(data)" in repr(study)
    study.people_import(people())
    assert 'Next: study.wave_open("one")' in repr(study)
    study.wave_open("one")
    assert 'study.observe(data), study.wave_close("one") from 2024-03-18' in repr(study)
    clock.now = AFTER
    study.wave_close("one", accept=["event-kinds", "event-dates"], reason="a test")
    assert 'Next: study.analyze("one")' in repr(study)
    study.analyze("one")
    assert 'Next: study.decide("one")' in repr(study)
    study.decide("one")
    assert 'Next: study.wave_open("two")' in repr(study)
    html = study._repr_html_()
    assert "A small study" in html
    assert "400 parents" in html
    study.close()


def test_the_study_file_is_read_anew_by_each_method(folder: Path) -> None:
    with ww.open_study(folder) as study:
        study.register()
        path = folder / "study.toml"
        path.write_text(STUDY.replace("window_days = 14", "window_days = 21", 1), encoding="utf-8")
        assert study.amend("the holidays").facts()["n_changes"] == 1
        assert study.spec.waves[0].window_days == 21


def test_faults_of_the_study_file_are_told_when_it_is_opened(folder: Path) -> None:
    (folder / "study.toml").write_text(STUDY.replace("seed = 5", "seed = -1\nsede = 5"))
    with pytest.raises(ww.errors.SpecError) as caught:
        ww.open_study(folder)
    assert len(caught.value.faults) >= 2
    with pytest.raises(ww.errors.InputError, match="wavewise init"):
        ww.open_study(folder / "nowhere")


def test_nothing_is_left_open_by_who_forgets_to_close(folder: Path) -> None:
    study = ww.open_study(folder)
    study.register()
    del study
    gc.collect()  # an open database that is collected is a warning, and so an error


def test_sending_works_where_a_loop_runs_already(folder: Path) -> None:
    """As in a notebook."""
    (folder / "channels.toml").write_text('[push]\nprovider = "file"\n', encoding="utf-8")
    text = STUDY.replace("levels =", "language = 'zone'\nlevels =")
    (folder / "study.toml").write_text(text.replace("language = 'zone'\n", ""), encoding="utf-8")

    async def cell() -> ww.OpenStudy:
        study = ww.open_study(folder, clock=lambda: datetime(2024, 3, 4, 22, 30, tzinfo=UTC))
        study.register()
        study.people_import(people())
        study.wave_open("one")
        sent = study.send()
        assert sum(row["n"] for row in sent.facts()["outbox"] if row["state"] == "sent") > 50
        return study

    asyncio.run(cell()).close()


def test_results_of_verbs_are_shown_in_notebooks(folder: Path) -> None:
    with ww.open_study(folder) as study:
        found = study.check()
    assert found._repr_html_().startswith("<pre>A small study")
    assert ww.schema().facts()["title"]


def test_demo_needs_enough_units(tmp_path: Path) -> None:
    with pytest.raises(ww.errors.InputError, match="units: found 5"):
        ww.demo(units=5, out=tmp_path)
