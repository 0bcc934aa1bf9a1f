"""Files as people bring them, and steps that cannot be undone: what a user expects of each."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import wavewise as ww
from wavewise.errors import InputError, StateError
from wavewise.study import OpenStudy

STUDY = """
[study]
id = "s"
title = "S"
seed = 1
time_zone = "UTC"
[units]
id = "id"
UNITS
[[messages]]
id = "a"
channel = "sms"
text.en = "HELLO A"
[[messages]]
id = "b"
channel = "sms"
text.en = "Hello B"
[schedules.s]
days = ["mon"]
at = "10:00"
weeks = 1
[[outcomes]]
id = "y"
OUTCOME
[[waves]]
id = "w1"
starts = 2024-01-08
window_days = 14
schedule = "s"
control_share = "1/3"
arms = ["a", "b"]
"""
LOGIN = 'kind = "any"\nevent = "login"'
BEFORE, AFTER = datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
Made = Callable[..., OpenStudy]


class Clock:
    """A clock that a test turns."""

    now = BEFORE

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def made(tmp_path: Path, clock: Clock) -> Iterator[Made]:
    """A registered study with these lines of units and of its outcome."""
    opened: list[OpenStudy] = []

    def make(units: str = "", outcome: str = LOGIN, more: str = "") -> OpenStudy:
        text = STUDY.replace("UNITS", units).replace("OUTCOME", outcome) + more
        folder = tmp_path / "study"
        folder.mkdir()
        (folder / "study.toml").write_text(text, encoding="utf-8")
        opened.append(ww.open_study(folder, clock=clock))
        opened[-1].register()
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def file(folder: Path, name: str, *lines: str, encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return folder / name


def people(study: OpenStudy, n: int = 60, id_of: Callable[[int], str] = "{:04d}".format) -> None:
    study.people_import(file(study.folder, "people.csv", "id", *(id_of(i) for i in range(n))))


def logins(study: OpenStudy, ids: list[str], *, kind: str = "login", day: str = "2024-01-10",
           value: str = "", name: str = "events.csv") -> Path:  # fmt: skip
    rows = [f"{name}{i},{one},{kind},{day}T12:00:00Z,{value}" for i, one in enumerate(ids)]
    return file(study.folder, name, "event_id,unit_id,kind,at,value", *rows)


def findings(study: OpenStudy) -> dict[str, str]:
    return {row["check"]: row["verdict"] for row in study.data_check().facts()["checks"]}


def opened(study: OpenStudy, clock: Clock) -> OpenStudy:
    """The wave is drawn, and its window is over."""
    study.wave_open("w1")
    clock.now = AFTER
    return study


# Events without their value.


@pytest.mark.parametrize("n_lacking", [1, 7, 60])
@pytest.mark.parametrize("way", ["corrected", "withdrawn"])
def test_events_without_a_value_have_a_way_back(
    made: Made, clock: Clock, n_lacking: int, way: str
) -> None:
    study = made(outcome='kind = "sum"\nevent = "session"\nvalue = "minutes"')
    people(study)
    opened(study, clock)
    ids = [f"{i:04d}" for i in range(60)]
    study.observe(logins(study, ids[n_lacking:], kind="session", value="3", name="whole.csv"))
    study.observe(logins(study, ids[:n_lacking], kind="session", name="e.csv"))
    assert findings(study)["event-values"] == "fail"
    with pytest.raises(InputError, match=f"found {n_lacking} 'session' events"):
        study.wave_close("w1")
    if way == "corrected":
        again = logins(study, ids[:n_lacking], kind="session", value="7", name="e.csv")
        study.observe(again, correct=True, reason="the server left them out")
    else:
        study.observe(logins(study, ids[:1], kind="session", value="1", name="later.csv"))
        study.withdraw("no minutes", data=study.folder / "e.csv")
    assert findings(study)["event-values"] == "pass"
    assert study.wave_close("w1").facts()["n_units"] == 60


# Ids that are not as the people have them.


@pytest.mark.parametrize(
    ("written", "cause"),
    [
        (lambda i: f"{i}", "leading zeros"),
        (lambda i: f"s{i:04d}", "case"),
        (lambda i: f"S-{i:04d}"[:1] + f"{i:04d}x", None),
    ],
)
def test_ids_of_another_form_are_refused_or_judged(
    made: Made, clock: Clock, written: Callable[[int], str], cause: str | None
) -> None:
    study = made()
    people(study, id_of=(lambda i: f"S{i:04d}") if cause != "leading zeros" else "{:04d}".format)
    opened(study, clock)
    path = logins(study, [written(i) for i in range(20, 40)])
    if cause is None:
        study.observe(path)
    else:
        with pytest.raises(InputError, match="--match-ids"):
            study.observe(path)
        assert study.events().height == 0
        study.observe(path, keep_unmatched=True)
    with pytest.raises(InputError, match="unmatched-ids"):
        study.wave_close("w1")
    assert study.status().facts()["waves"][0]["state"] == "open"


@pytest.mark.parametrize(
    ("form", "encoding"),
    [
        ("{:04d}\u00a0", "utf-8"),
        (" {:04d} ", "utf-8"),
        ("{:04d}", "utf-8-sig"),
        ("{:04d}", "utf-16"),
    ],
)
def test_blanks_and_marks_around_ids_change_nothing(
    made: Made, clock: Clock, form: str, encoding: str
) -> None:
    study = made()
    people(study)
    opened(study, clock)
    rows = [f"{form.format(i)},login,2024-01-10T12:00:00Z" for i in range(60)]
    study.observe(file(study.folder, "e.csv", "unit_id,kind,at", *rows, encoding=encoding))
    assert findings(study)["unmatched-ids"] == "pass"
    assert study.wave_close("w1").facts()["arms"][0]["mean"] == 1.0


@pytest.mark.parametrize("first", ["1001", "2"])
def test_floats_made_of_whole_ids(made: Made, clock: Clock, first: str) -> None:
    study = made()
    start = int(first)
    people(study, id_of=lambda i: str(start + i))
    opened(study, clock)
    path = logins(study, [f"{start + i}.0" for i in range(60)])
    try:
        study.observe(path)
    except InputError as error:
        assert "--match-ids" in str(error)
        study.observe(path, match_ids=True)
    assert study.wave_close("w1").facts()["arms"][0]["mean"] == 1.0


def test_an_outcome_whose_events_all_name_nobody(made: Made, clock: Clock) -> None:
    second = LOGIN + '\nprimary = true\n[[outcomes]]\nid = "z"\nkind = "any"\nevent = "visit"'
    study = made(outcome=second)
    people(study, 600)
    opened(study, clock)
    study.observe(logins(study, [f"{i:04d}" for i in range(600)] * 2))
    study.observe(logins(study, ["nobody"] * 9, kind="visit", name="visits.csv"))
    with pytest.raises(InputError, match="Of kind 'visit' they are a large part"):
        study.wave_close("w1")


# Kinds and dates.


@pytest.mark.parametrize("kind", ["Login", "LOGIN", "log-in", "lgoin"])
def test_kinds_that_are_nearly_right_do_not_freeze_zeros(
    made: Made, clock: Clock, kind: str
) -> None:
    study = made()
    people(study)
    opened(study, clock)
    ids = [f"{i:04d}" for i in range(60)]
    study.observe(logins(study, ids, kind=kind))
    with pytest.raises(InputError, match=f"nearest kind seen is '{kind}'"):
        study.wave_close("w1")


def test_half_of_the_events_with_another_capital(made: Made, clock: Clock) -> None:
    study = made()
    people(study)
    opened(study, clock)
    ids = [f"{i:04d}" for i in range(60)]
    study.observe(logins(study, ids[:30]))
    study.observe(logins(study, ids[30:], kind="Login", name="second.csv"))
    with pytest.raises(InputError, match="30 of 60 events are left out"):
        study.wave_close("w1")
    study.observe(logins(study, ids[30:], name="second.csv"), correct=True, reason="one word")
    assert study.wave_close("w1").facts()["arms"][0]["mean"] == 1.0


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("year", [2023, 2025])
def test_dates_a_year_off(made: Made, clock: Clock, share: float, year: int) -> None:
    study = made()
    people(study)
    opened(study, clock)
    ids, n = [f"{i:04d}" for i in range(60)], round(60 * share)
    study.observe(logins(study, ids[:n], day=f"{year}-01-10", name="wrong.csv"))
    if n < 60:
        study.observe(logins(study, ids[n:], name="right.csv"))
    with pytest.raises(InputError, match=f"Moved by a year, {n} more would be in it"):
        study.wave_close("w1")
    study.observe(logins(study, ids[:n], name="wrong.csv"), correct=True, reason="year")
    assert study.wave_close("w1").facts()["arms"][0]["mean"] == 1.0


# Covariates: added, measured again, written with a comma.


def test_a_covariate_added_between_waves(made: Made, clock: Clock) -> None:
    study = made('covariates = ["x"]')
    rows = [f"{i},{i % 5},{i % 3}" for i in range(30)]
    study.people_import(file(study.folder, "p.csv", "id,x,z", *rows))
    opened(study, clock)
    text = (study.folder / "study.toml").read_text()
    (study.folder / "study.toml").write_text(text.replace('["x"]', '["x", "z"]'))
    with ww.open_study(study.folder, clock=clock) as again:
        again.amend("asked again")
        told = again.people_import(study.folder / "p.csv", replace=True)
        assert "z" in told.facts()["covariates"]
        assert again.check().facts()["n_units"] == 30


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["12,5", "7,25", "10"], "number"),
        (["1.234,5", "2.000,0", "987,6"], "number"),
        (["1 234,5", "2 000,0", "987,6"], "number"),
        (["12.5", "7.25", "10"], "number"),
        (["12,5 kg", "7,25 kg", "10 kg"], "text"),
    ],
)
def test_numbers_as_they_are_written(made: Made, cells: list[str], kind: str) -> None:
    study = made('covariates = ["score"]')
    rows = [f"{i};{cells[i % 3]}" for i in range(30)]
    told = study.people_import(file(study.folder, "p.csv", "id;score", *rows))
    assert told.facts()["covariates"] == {"score": kind}
    assert study.data_check().facts()["verdict"] == "pass"


def test_numbers_with_a_word_among_them_are_named_before_the_wave(made: Made) -> None:
    study = made('covariates = ["score"]')
    rows = [f"{i};{i},5" for i in range(29)] + ["99;absent"]
    study.people_import(file(study.folder, "p.csv", "id;score", *rows))
    assert "numbers-as-text: warn" in study.wave_open("w1").summary()


# Labels that look alike.


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I.E. 7", "I.E. 7 "),
        ("I.E. 7", "I.E.\u00a07"),
        ("Lima", "LIMA"),
        ("North  gate", "North gate"),
        ("ＡＢＣ", "ABC"),
    ],
)
def test_labels_that_look_alike_are_named(made: Made, one: str, other: str) -> None:
    study = made('strata = ["school"]')
    rows = [f'{i},"{one if i % 2 else other}"' for i in range(30)]
    told = study.people_import(file(study.folder, "p.csv", "id,school", *rows))
    opening = study.wave_open("w1").summary()
    is_one = "1 stratum" in opening  # blanks around a label are dropped
    assert is_one or ("may be the same" in told.summary() and "near-equal-labels" in opening)


def test_both_forms_of_an_accent_are_one_label(made: Made) -> None:
    study = made('strata = ["school"]')
    forms = ["José", "Jose\u0301"]
    rows = [f"{i},{forms[i % 2]}" for i in range(30)]
    study.people_import(file(study.folder, "p.csv", "id,school", *rows))
    assert "in 1 stratum" in study.wave_open("w1").summary()


# Files of a spreadsheet.


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_text_files_of_a_spreadsheet(made: Made, encoding: str, separator: str) -> None:
    study = made('fields = ["nombre"]')
    rows = ["1;José", '2;"Peña, Ríos"', '3;"Colegio ""Túpac"""']
    lines = [row.replace(";", separator) for row in ["id;nombre", *rows]]
    path = file(study.folder, "p.csv", *lines, encoding=encoding)
    if encoding in ("cp1252", "latin-1"):
        with pytest.raises(InputError, match="pass --encoding cp1252"):
            study.people_import(path)
        assert study.data_check().facts()["n_units"] == 0
        told = study.people_import(path, encoding="cp1252")
    else:
        told = study.people_import(path)
    read = {row["column"]: row["examples"] for row in told.facts()["columns"]}
    assert list(read["nombre"]) == ["José", "Peña, Ríos", 'Colegio "Túpac"']


@pytest.mark.parametrize("cell", ["#N/A", "#REF!", "NULL", "nan", "#¡VALOR!", "#DIV/0!"])
@pytest.mark.parametrize("column", ["id", "school", "name"])
def test_error_values_never_become_a_label_or_a_greeting(
    made: Made, cell: str, column: str
) -> None:
    study = made('strata = ["school"]\nfields = ["name"]')
    row = {"id": "7", "school": "A", "name": "Ana"} | {column: cell}
    path = file(study.folder, "p.csv", "id,school,name", "1,A,Eva", ",".join(row.values()))
    with pytest.raises(InputError, match=f"row 3, column '{column}'"):
        study.people_import(path)
    assert study.data_check().facts()["n_units"] == 0


# One phone of several people.


@pytest.mark.parametrize("second", ["+51987654321", "0051987654321", "whatsapp:+51 987-654-321"])
def test_two_children_on_one_phone(made: Made, tmp_path: Path, second: str) -> None:
    study = made('address = { sms = "phone" }')
    ww.contacts_make_key(tmp_path / "key")
    rows = ["1,+51 987 654 321", f"2,{second}", "3,+51987654322"]
    path = file(tmp_path, "p.csv", "id,phone", *rows)
    told = study.people_import(path, key_file=tmp_path / "key")
    assert "they may fall into different arms" in told.summary()
    assert "they may fall into different arms" in study.wave_open("w1").summary()


def test_children_who_are_drawn_by_their_phone(made: Made, tmp_path: Path) -> None:
    study = made('address = { sms = "phone" }\nrandomize_by = "home"')
    ww.contacts_make_key(tmp_path / "key")
    rows = [f"{i},+5198765432{i // 2},{i // 2}" for i in range(10)]
    path = file(tmp_path, "p.csv", "id,phone,home", *rows)
    study.people_import(path, key_file=tmp_path / "key")
    assert "may fall into different arms" not in study.wave_open("w1").summary()
    arms = study.assignments("w1").sort("unit_id")["arm"].to_list()
    assert arms[::2] == arms[1::2]


# Nothing was sent.


@pytest.mark.parametrize("days", [14, 60, 400])
def test_a_wave_that_is_late_asks(made: Made, clock: Clock, days: int) -> None:
    study = made()
    people(study)
    clock.now = BEFORE + timedelta(days=days)
    with pytest.raises(StateError, match="late already"):
        study.wave_open("w1")
    assert study.status().facts()["waves"] == [] or "open" not in study.status().summary()
