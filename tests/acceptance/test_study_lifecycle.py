"""A study through the command line, verb by verb, as a user would."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from study_folders import STUDY, all_the_same, assignment, call, done, events, make_study, people

PROGRAM = Path(sys.executable).parent / "wavewise"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study")


def _run_wave(study: Path, wave: str, day: str) -> None:
    done("wave", "open", study, wave)
    done("observe", study, events(study, assignment(study, wave), day, wave))
    done("wave", "close", study, wave)


def test_from_plan_to_report(study: Path) -> None:
    _run_wave(study, "one", "2024-03-10")
    analysis = done("analyze", study, "one", "--json").facts
    login = analysis["effects"][0]
    by_hand = assignment(study, "one").sort("unit_id").with_row_index("i")
    by_hand = by_hand.with_columns(
        y=pl.when(pl.col("arm") == "control")
        .then(pl.col("i") % 4 == 0)
        .otherwise(pl.col("i") % 2 == 0)
    )
    assert login["outcome"] == "login"
    assert login["registered"]
    plain = next(item for item in analysis["effects"] if item["estimator"] == "difference in means")
    means = dict(by_hand.group_by("arm").agg(pl.col("y").mean()).rows())
    for row in plain["rows"]:
        assert row["estimate"] == pytest.approx(means[row["arm"]] - means["control"])
    decided = done("decide", study, "one", "--json").facts
    assert decided["for_wave"] == "two"
    assert decided["shares"]["control"] == pytest.approx(0.25)
    assert sum(decided["shares"].values()) == pytest.approx(1.0)
    _run_wave(study, "two", "2024-04-05")
    counts = dict(assignment(study, "two")["arm"].value_counts().iter_rows())
    for arm, share in decided["shares"].items():
        assert abs(counts.get(arm, 0) - 200 * share) < 1
    choice = done("decide", study, "two", "--json").facts
    assert choice["arm"] in {"peers", "teacher"}
    done("report", study)
    page = (study / "report" / "index.html").read_text(encoding="utf-8")
    assert choice["arm"] in page
    assert "A small study" in page


def test_a_wave_needs_registration_or_says_exploratory(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    people().write_csv(folder / "people.csv")
    done("people", "import", folder, folder / "people.csv")
    refused = call("wave", "open", folder, "one")
    assert refused.code == 5
    assert "--exploratory" in refused.err
    assert done("wave", "open", folder, "one", "--exploratory", "--json").facts["exploratory"]
    done("register", folder)
    done("observe", folder, events(folder, assignment(folder, "one"), "2024-03-10", "one"))
    done("wave", "close", folder, "one")
    done("decide", folder, "one")
    later = done("wave", "open", folder, "two", "--json").facts
    assert later["exploratory"], "what comes after an exploratory wave is exploratory"
    done("report", folder)
    assert "xploratory" in (folder / "report" / "index.html").read_text(encoding="utf-8")


def test_the_spec_changes_only_by_amend_and_history_tells(study: Path) -> None:
    path = study / "study.toml"
    changed = path.read_text(encoding="utf-8").replace("window_days = 14", "window_days = 13", 1)
    path.write_text(changed, encoding="utf-8")
    refused = call("wave", "open", study, "one")
    assert refused.code == 5
    assert "amend" in refused.err
    done("amend", study, "--reason", "the holiday came earlier")
    _run_wave(study, "one", "2024-03-10")
    later = changed.replace('title = "A small study"', 'title = "A small study, renamed"')
    path.write_text(later, encoding="utf-8")
    done("amend", study, "--reason", "a better title")
    facts = done("history", study, "--export", "--json").facts
    window, title = facts["changes"]
    assert window["field"] == "waves['one'].window_days"
    assert (window["before"], window["after"], window["addendum"]) == (14, 13, "")
    assert title["addendum"] == "after data of one were seen"
    assert title["reason"] == "a better title"
    page = (study / "report" / "registry.html").read_text(encoding="utf-8")
    for heading in (
        "Trial Status",
        "Abstract",
        "Intervention",
        "Experimental Design",
        "Before",
        "After",
    ):
        assert heading.lower() in page.lower()
    assert "after data of one were seen" in page
    assert (study / "report" / "analysis-plan.html").stat().st_size > 2000


def test_registering_twice_and_amending_nothing_are_refused(study: Path) -> None:
    assert call("register", study).code == 5
    assert call("amend", study, "--reason", "nothing").code == 5
    assert call("amend", study, "--reason", " ").code in {4, 5}


def test_a_wave_is_opened_once_and_closed_after_it(study: Path) -> None:
    assert call("wave", "close", study, "one").code == 6
    assert call("analyze", study, "one").code == 6
    assert call("decide", study, "one").code == 6
    assert call("wave", "open", study, "two").code == 6, "its shares are not decided"
    done("wave", "open", study, "one")
    first = assignment(study, "one")
    again = call("wave", "open", study, "one")
    assert again.code == 6
    assert assignment(study, "one").equals(first)
    done("wave", "close", study, "one")
    assert call("wave", "close", study, "one").code == 6
    assert call("wave", "open", study, "three").code == 4


def test_events_count_once_and_only_in_the_window(study: Path) -> None:
    done("wave", "open", study, "one")
    file = events(study, assignment(study, "one"), "2024-03-10", "one")
    n = pl.read_csv(file).height
    assert done("observe", study, file, "--json").facts["n_new"] == n
    again = done("observe", study, file, "--json").facts
    assert (again["n_new"], again["n_repeated"]) == (0, n)
    late = pl.read_csv(file).with_columns(
        event_id=pl.concat_str(pl.lit("late-"), "event_id"), at=pl.lit("2024-03-25T00:00:00Z")
    )
    late.write_csv(study / "late.csv")
    done("observe", study, study / "late.csv")
    told = done("wave", "close", study, "one").out
    assert f"{n:,} in the window" in told
    assert f"{n:,} after it" in told


def test_a_wave_with_a_window_to_come_is_not_closed(tmp_path: Path) -> None:
    text = STUDY.replace("2024-03-04", "2199-03-04").replace("2024-04-01", "2199-04-01")
    study = make_study(tmp_path / "study", text=text)
    done("wave", "open", study, "one")
    refused = call("wave", "close", study, "one")
    assert refused.code == 6
    assert "not ended" in refused.err


def _bad_people(kind: str) -> bytes:
    good = people(30).write_csv().encode()
    lines = good.split(b"\n")
    match kind:
        case "missing column":
            return people(30).drop("active").write_csv().encode()
        case "repeated id":
            return b"\n".join([*lines[:-1], lines[1], b""])
        case "unknown stratum":
            return good.replace(b"p0005,yes", b"p0005,perhaps")
        case "wrong time zone":
            return good.replace(b"America/Lima", b"America/Limo", 1)
        case "Latin-1":
            return good.replace(b"Ana", "María".encode("latin-1"), 1)
        case "error value":
            return good.replace(b"p0005,yes", b"p0005,#N/A")
        case "long line":
            return good + b"x" * 5_000_000 + b"\n"
    raise ValueError(kind)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("missing column", "active"),
        ("repeated id", "row 32, column 'parent_id'"),
        ("unknown stratum", "row 7, column 'active'"),
        ("wrong time zone", "row 3, column 'zone'"),
        ("Latin-1", "row 2, column 'child_name'"),
        ("error value", "row 7, column 'active'"),
        ("long line", "line 32"),
    ],
)
def test_a_bad_people_file_is_named_and_imports_nothing(
    tmp_path: Path, kind: str, place: str
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    (folder / "people.csv").write_bytes(_bad_people(kind))
    refused = call("people", "import", folder, folder / "people.csv")
    assert refused.code == 4
    assert place in refused.err
    assert "p0005" not in refused.err, "no unit's id in a message"
    from wavewise.store import Store

    with Store.open(f"sqlite:///{folder / 'study.db'}") as store:
        assert store.units.count() == 0


def test_skip_bad_imports_the_sound_rows(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    (folder / "people.csv").write_bytes(_bad_people("wrong time zone"))
    facts = done("people", "import", folder, folder / "people.csv", "--skip-bad", "--json").facts
    assert (facts["n_imported"], facts["n_bad"]) == (29, 1)


def test_check_lists_every_fault_at_once(tmp_path: Path) -> None:
    text = (
        STUDY.replace('shares = { rule = "exploration", model = "login", learned_on = ["one"] }',
                      "shares = { peers = 0.4, teacher = 0.3 }")
        .replace("window_days = 14", "window_days = -14", 1)
        .replace('kind = "sum"', 'kind = "total"')
        .replace('units = "rest"\n', 'units = "rest"\ncontrol = "nobody"\n')
        .replace('title = ', 'titel = ')
    )  # fmt: skip
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    answer = call("check", tmp_path, "--json")
    assert answer.code == 3
    paths = {fault["path"] for fault in answer.facts["faults"]}
    assert {
        "study.titel",
        "study.title",
        "outcomes['minutes'].kind",
        "waves['one'].window_days",
        "waves['two'].shares",
    } <= paths
    assert all(fault["needed"] for fault in answer.facts["faults"])
    assert any("nobody" in str(fault) for fault in answer.facts["faults"])


def test_two_processes_open_one_wave(study: Path) -> None:
    words = [str(PROGRAM), *all_the_same(("wave", "open", str(study), "one")), "--json"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in "ab"]
    for process in both:
        process.communicate(timeout=120)
    assert sorted(process.returncode for process in both) == [0, 6]
    assert assignment(study, "one").height == 200


def test_a_killed_open_leaves_all_or_nothing(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", n=20_000)
    words = [str(PROGRAM), *all_the_same(("wave", "open", str(study), "one"))]
    seen = set()
    for delay in (0.3, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        from wavewise.store import Store

        with Store.open(f"sqlite:///{study / 'study.db'}") as store:
            row = store.waves.get("one")
            seen.add(None if row is None else store.waves.assignment("one").height)
    assert seen <= {None, 10_000}


def test_the_same_study_draws_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for name, threads in (("a", "1"), ("b", "2")):
        study = make_study(tmp_path / name, n=3000)
        env = {**os.environ, "POLARS_MAX_THREADS": threads, "NUMBA_NUM_THREADS": threads}
        if name == "b":
            people(3000).sample(fraction=1.0, shuffle=True, seed=1).write_csv(study / "people.csv")
            (study / "study.db").unlink()
            done("register", study)
            done("people", "import", study, study / "people.csv")
        words = [str(PROGRAM), *all_the_same(("wave", "open", str(study), "one"))]
        subprocess.run(words, check=True, env=env, capture_output=True, timeout=120)
        frame = assignment(study, "one").sort("unit_id")
        digests.add(hashlib.sha256(frame.write_csv().encode()).hexdigest())
    assert len(digests) == 1


def test_the_store_opens_by_url(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (study / "study.toml").write_text(STUDY, encoding="utf-8")
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    done("register", study, "--store", url)
    assert not (study / "study.db").exists()
    assert (tmp_path / "elsewhere.db").exists()


@pytest.mark.parametrize(
    "template", ["peru-school-year", "peru-summer", "kenya-ivr", "get-out-the-vote"]
)
def test_templates_are_sound_and_register(tmp_path: Path, template: str) -> None:
    folder = tmp_path / template
    done("init", folder, "--template", template)
    assert done("check", folder, "--json").facts["faults"] == []
    done("register", folder)
    done("history", folder, "--export")
    assert call("init", folder, "--template", template).code == 4


def test_version_and_unknown_template(tmp_path: Path) -> None:
    assert done("--version").out.startswith("wavewise 0.")
    refused = call("init", tmp_path / "x", "--template", "nowhere")
    assert refused.code == 4
    assert "peru-summer" in refused.err


def test_decide_weighs_the_next_wave_against_its_cost(tmp_path: Path) -> None:
    stakes = """
[planning]
n_units = 400
[planning.another_wave]
cost_per_unit = {cost}
cost_per_wave = 10
beneficiaries = 100_000
value_per_success = 1.0
"""
    verdicts = {}
    for name, cost in (("cheap", 0.01), ("dear", 1000)):
        study = make_study(tmp_path / name, text=STUDY + stakes.format(cost=cost))
        _run_wave(study, "one", "2024-03-10")
        answer = done("decide", study, "one", "--json").facts
        verdicts[name] = answer["another_wave"]["verdict"]
    assert verdicts == {"cheap": "go on", "dear": "stop"}
