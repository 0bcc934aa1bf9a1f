"""Checks of the data come with `analyze` and stand in the report, with what to do."""

from study_folders import assignment, done, events, make_study


def test_drift_and_missing_outcomes_of_two_waves(tmp_path) -> None:
    study = make_study(tmp_path / "study")
    for wave, starts in (("one", "2024-03-04"), ("two", "2024-04-01")):
        done("wave", "open", study, wave)
        drawn = assignment(study, wave)
        if wave == "two":  # everybody in the control logs in: the control drifts
            extra = drawn.filter(arm="control").select("unit_id", "arm")
            extra = extra.with_columns(arm=extra["arm"].str.replace("control", "all"))
            path = events(study, extra.sample(fraction=1, seed=1), starts, "extra.csv")
            done("observe", study, path)
        done("observe", study, events(study, drawn, starts, f"{wave}.csv"))
        done("wave", "close", study, wave)
        if wave == "one":
            done("decide", study, "one")
    first = {
        check["name"]: check for check in done("analyze", study, "one", "--json").facts["checks"]
    }
    assert first["missing outcomes"]["verdict"] == "pass"
    assert first["missing outcomes"]["table"]
    assert "drift of the control between waves" not in first
    second = {c["name"]: c for c in done("analyze", study, "two", "--json").facts["checks"]}
    drift = second["drift of the control between waves"]
    assert drift["verdict"] == "fail"
    assert drift["number"] > 0.2
    assert "within waves" in drift["advice"]
    assert drift["advice"] in done("analyze", study, "two").out
    done("report", study)
    page = (study / "report" / "index.html").read_text("utf-8")
    assert "rift of the control between waves" in page
    assert "Compare arms within waves only" in page
